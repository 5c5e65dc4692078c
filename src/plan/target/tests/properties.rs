//! What holds for every pool, however its readings, logins and past look.

use proptest::prelude::*;

use super::*;

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

prop_compose! {
    fn reading()(
        used in prop_oneof![0.0..=120.0_f64, Just(70.0), Just(85.0), Just(95.0), Just(100.0)],
        resets in prop::option::of(-60_i64..6_000),
        age in prop_oneof![3 => 0_i64..15, 1 => -600_i64..2_000],
        record in prop::bool::weighted(0.1),
    ) -> (f64, Option<i64>, i64, ReadingSource) {
        (used, resets, -age, if record { ReadingSource::LimitRecord } else { ReadingSource::Cli })
    }
}

fn login() -> impl Strategy<Value = LoginView> {
    prop_oneof![
        8 => Just(LoginView::Valid { expires_at: None }),
        1 => (-100_i64..3_000).prop_map(|minute| LoginView::Valid { expires_at: Some(at(minute)) }),
        1 => Just(LoginView::Unknown),
        1 => Just(LoginView::Missing),
        1 => Just(LoginView::Dead { reason: "revoked".to_owned() }),
    ]
}

fn links() -> impl Strategy<Value = LinksState> {
    prop_oneof![
        8 => Just(LinksState::Right),
        2 => Just(LinksState::Repairable),
        1 => Just(LinksState::Wrong { why: "a directory".to_owned() }),
        1 => Just(LinksState::Unknown { why: "no answer".to_owned() }),
    ]
}

prop_compose! {
    /// Three accounts. The windows for which they were left in the past are those of their readings, as in a real pool.
    fn pools()(
        windows in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, reading()), 3), 3),
        logins in prop::collection::vec(login(), 3),
        links in prop::collection::vec(links(), 3),
        past in prop::collection::vec((0_usize..3, 0_usize..3, 0_u8..4, 1_i64..300), 0..5),
        headroom in prop_oneof![Just(0_u8), Just(15), 0_u8..100],
        dwell in 0_u64..90,
        failback: bool,
    ) -> Pool {
        let mut pool = Pool::new(&ACCOUNTS);
        let kinds = [WindowKind::FiveHour, WindowKind::Weekly, WindowKind::Model("Fable".to_owned())];
        for (account, readings) in ACCOUNTS.iter().zip(windows) {
            for (kind, (used, resets, measured, source)) in kinds.iter().zip(readings).filter_map(|(kind, reading)| Some((kind, reading?))) {
                pool.minute = measured;
                pool.set(account, kind.clone(), used, resets, source);
            }
        }
        pool.minute = 0;
        for ((account, login), links) in ACCOUNTS.iter().zip(logins).zip(links) {
            *pool.home(account) = Readiness { login, links };
        }
        let mut minute = -past.iter().map(|(_, _, _, apart)| apart).sum::<i64>();
        let verdicts = [SwapVerdict::Committed, SwapVerdict::Committed, SwapVerdict::RolledBack, SwapVerdict::Abandoned];
        for (from, to, verdict, apart) in past {
            minute += apart;
            if from != to {
                pool.swapped(ACCOUNTS[from], ACCOUNTS[to], verdicts[usize::from(verdict)], minute);
            }
        }
        for account in &mut pool.spec.accounts {
            account.thresholds.headroom = Percent::whole(headroom);
        }
        pool.spec.swap.min_dwell = Duration::from_mins(dwell);
        pool.spec.swap.failback = if failback { Failback::OnReset } else { Failback::Never };
        pool
    }
}

/// The target's rules, told a second time and straight from the readings.
fn has_headroom(pool: &Pool, to: &AccountName) -> bool {
    let Some(usage) = pool.usage.get(to) else { return false };
    let thresholds = &pool.spec.account(to).expect("declared").thresholds;
    let fits = |window: &WindowKind, reading: &WindowReading| {
        let minutes = at(pool.minute).duration_since(reading.measured_at).as_secs() / 60;
        let runs = reading.resets_at.is_none_or(|resets| resets > at(pool.minute));
        let line = thresholds.of(window);
        let is_low = reading.used <= line.saturating_sub(thresholds.headroom) && reading.used < line;
        (-5..=15).contains(&minutes) && runs && is_low && reading.source != ReadingSource::LimitRecord
    };
    [WindowKind::FiveHour, WindowKind::Weekly].iter().all(|window| usage.windows.get(window).is_some_and(|reading| fits(window, reading)))
}

/// Whether a fresh reading, a limit or a dead login speaks for leaving.
fn may_leave(pool: &Pool, from: &AccountName) -> bool {
    let thresholds = &pool.spec.account(from).expect("declared").thresholds;
    let over = |(window, reading): (&WindowKind, &WindowReading)| {
        let minutes = at(pool.minute).duration_since(reading.measured_at).as_secs() / 60;
        let record = reading.source == ReadingSource::LimitRecord;
        minutes >= -5 && (minutes <= 15 || record) && (record || reading.used >= thresholds.of(window))
    };
    let dead = matches!(pool.homes[from].login, LoginView::Missing | LoginView::Dead { .. });
    dead || pool.usage.get(from).is_some_and(|usage| usage.windows.iter().any(over))
}

/// Carries the choice out as the engine would, then lets time pass. With `again`, every source repeats its figure.
fn step(pool: &mut Pool, minutes: i64, again: bool) -> Option<(AccountName, AccountName)> {
    let moved = pool.goes_to().map(|to| (pool.memory.active.as_ref().expect("active").account.clone(), to));
    if let Some((from, to)) = &moved {
        pool.swapped(from.as_str(), to.as_str(), SwapVerdict::Committed, pool.minute);
    }
    pool.minute += minutes;
    if again {
        for reading in pool.usage.values_mut().flat_map(|usage| usage.windows.values_mut()) {
            reading.measured_at = at(pool.minute);
        }
    }
    moved
}

/// Whether the last swap away from an account was for a window whose reset has come since the pool is where it is.
fn left_for_a_window_that_is_over(pool: &Pool, account: &AccountName) -> bool {
    let left = pool.memory.swaps.iter().rev().find(|swap| swap.from == *account && swap.verdict == SwapVerdict::Committed);
    let since = pool.memory.active.as_ref().expect("active").since;
    left.and_then(|swap| Some(swap.from_resets_at.unwrap_or(swap.closed_at + swap.window.as_ref()?.length())))
        .is_some_and(|reset| since < reset && reset <= at(pool.minute))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_same_grounds_give_the_same_choice_with_words_for_each_account(pool in pools()) {
        let decision = pool.decision();
        prop_assert_eq!(&decision, &pool.decision());
        prop_assert!(!decision.why.is_empty());
        prop_assert_eq!(decision.standings.len(), 3);
        if let Choice::Exhausted { until, why } = &decision.choice {
            prop_assert!(until.is_none_or(|until| until > at(pool.minute)));
            prop_assert!(why.values().all(|reasons| !reasons.is_empty()), "{why:?}");
        }
    }

    #[test]
    fn a_swap_has_a_cause_and_a_target_with_room(pool in pools()) {
        if let Choice::Swap { to, cause } = pool.choice() {
            let from = &pool.memory.active.as_ref().expect("active").account;
            prop_assert!(to != *from && has_headroom(&pool, &to), "{to} has no room: {:?}", pool.usage.get(&to));
            prop_assert!(cause == SwapCause::Failback || may_leave(&pool, from));
            let login_works = matches!(pool.homes[&to].login, LoginView::Valid { expires_at } if expires_at.is_none_or(|end| end > at(0)));
            prop_assert!(login_works);
            prop_assert!(matches!(pool.homes[&to].links, LinksState::Right | LinksState::Repairable));
            prop_assert_eq!(guard_operator(&pool.grounds(), &to), Ok(()), "what is done by itself may be asked for");
        }
    }

    /// A window that begins anew on the way is no constant reading: for it the pool may go back once, to the account that it left for that
    /// window. Of the five-hour and the weekly one a new reading would have to come first; of a model's nothing need be known.
    #[test]
    fn on_constant_readings_the_pool_moves_at_most_once(
        pool in pools(),
        steps in prop::collection::vec(prop_oneof![0_i64..20, 20_i64..400], 1..30),
        again: bool,
    ) {
        let mut pool = pool;
        // A reading of the future is unknown until its time has come, and one that is old until it is repeated: neither is constant.
        for reading in pool.usage.values_mut().flat_map(|usage| usage.windows.values_mut()) {
            reading.measured_at = if again { at(0) } else { reading.measured_at.min(at(0)) };
        }
        let (mut moves, mut returns) = (Vec::new(), Vec::new());
        for minutes in steps {
            let (choice, minute) = (pool.choice(), pool.minute);
            let reset = match &choice {
                Choice::Swap { to, cause: SwapCause::Failback } => Some(left_for_a_window_that_is_over(&pool, to)),
                _ => None,
            };
            let Some(moved) = step(&mut pool, minutes, again) else { continue };
            match reset {
                None => moves.push(moved),
                Some(is_over) => {
                    prop_assert!(is_over, "{moved:?} at {minute} without a reset");
                    returns.push(moved);
                }
            }
        }
        prop_assert!(moves.len() <= 1 && returns.len() <= 1, "{moves:?}, back {returns:?}");
    }

    #[test]
    fn nothing_is_done_while_nothing_is_known(pool in pools()) {
        let mut pool = pool;
        pool.usage.clear();
        for home in pool.homes.values_mut() {
            home.login = LoginView::Unknown;
        }
        prop_assert_eq!(pool.choice(), Choice::Stay);
    }

    /// Figures that jump as they please: still never there and back within half an hour, and never more than one soft swap per dwell time.
    #[test]
    fn on_wild_readings_the_pool_never_goes_there_and_back(
        pool in pools(),
        figures in prop::collection::vec((0_i64..20, prop::collection::vec(0_u8..=110, 6)), 1..40),
    ) {
        let mut pool = pool;
        let mut moves: Vec<(i64, AccountName, AccountName)> = Vec::new();
        for (minutes, used) in figures {
            for (account, pair) in ACCOUNTS.iter().zip(used.chunks(2)) {
                let (five_hour, weekly) = (f64::from(pair[0]), f64::from(pair[1]));
                pool = pool.reads(account, five_hour, weekly);
                let reset = Some(pool.minute + 200);
                pool.set(account, WindowKind::FiveHour, five_hour, reset, ReadingSource::Cli);
            }
            let minute = pool.minute;
            if let Some((from, to)) = step(&mut pool, minutes, false) {
                if let Some((before, last_from, last_to)) = moves.last() {
                    let back = *last_from == to && *last_to == from;
                    prop_assert!(!back || minute - before >= 30, "{moves:?} then {from} to {to} at {minute}");
                }
                moves.push((minute, from, to));
            }
        }
    }
}
