use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::{
    model::{Monotonic, Percent, PoolId, ReadingSource, SwapId, WindowKind, WindowReading},
    plan::{Active, Cordon, Latch, Suspension, SwapSummary},
    spec::fixture,
    swap::SwapVerdict,
};

mod properties;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).expect("in range")
}

fn name(text: &str) -> AccountName {
    AccountName::new(text).expect("a name")
}

fn spec(accounts: &[&str]) -> Spec {
    let mut spec = fixture::agents(1);
    let account = |text: &&str| Account { name: name(text), home: format!("/homes/{text}").into(), ..spec.accounts[0].clone() };
    spec.accounts = accounts.iter().map(account).collect();
    spec
}

/// A pool with everything that a choice rests on.
#[derive(Debug, Clone)]
struct Pool {
    spec: Spec,
    memory: Memory,
    usage: BTreeMap<AccountName, AccountUsage>,
    homes: BTreeMap<AccountName, Readiness>,
    minute: i64,
}

impl Pool {
    /// Accounts in order of preference, all with a working login and right links and nothing known of their usage; the first is active.
    fn new(accounts: &[&str]) -> Self {
        let mut memory = Memory::new(PoolId(Uuid::from_u128(7)));
        memory.active = Some(Active { account: name(accounts[0]), since: at(-600) });
        let ready = Readiness { login: LoginView::Valid { expires_at: None }, links: LinksState::Right };
        Self {
            spec: spec(accounts),
            memory,
            usage: BTreeMap::new(),
            homes: accounts.iter().map(|account| (name(account), ready.clone())).collect(),
            minute: 0,
        }
    }

    /// Both main windows of an account, read now.
    fn reads(mut self, account: &str, five_hour: f64, weekly: f64) -> Self {
        self.set(account, WindowKind::FiveHour, five_hour, Some(120), ReadingSource::Cli);
        self.set(account, WindowKind::Weekly, weekly, Some(4_000), ReadingSource::Cli);
        self
    }

    fn set(&mut self, account: &str, window: WindowKind, used: f64, resets: Option<i64>, source: ReadingSource) {
        let used = Percent::new(used).expect("a percentage");
        let reading = WindowReading { used, resets_at: resets.map(at), measured_at: at(self.minute), source };
        self.usage.entry(name(account)).or_default().windows.insert(window, reading);
    }

    fn home(&mut self, account: &str) -> &mut Readiness {
        self.homes.get_mut(&name(account)).expect("declared")
    }

    /// A swap that was closed; when it was committed, the pool is on its target since then.
    fn swapped(&mut self, from: &str, to: &str, verdict: SwapVerdict, minute: i64) {
        let reading = self.usage.get(&name(from)).and_then(|usage| usage.windows.get(&WindowKind::FiveHour));
        self.memory.swaps.push(SwapSummary {
            id: SwapId(self.memory.swaps.len() as u64 + 1),
            from: name(from),
            to: name(to),
            window: Some(WindowKind::FiveHour),
            from_resets_at: reading.and_then(|reading| reading.resets_at),
            verdict,
            closed_at: at(minute),
        });
        if verdict == SwapVerdict::Committed {
            self.memory.active = Some(Active { account: name(to), since: at(minute) });
        }
    }

    fn grounds(&self) -> Grounds<'_> {
        let Self { spec, memory, usage, homes, minute } = self;
        let since_boot = Duration::from_secs(u64::try_from(*minute).unwrap_or_default() * 60);
        Grounds { spec, memory, usage, homes, now: Now { wall: at(*minute), mono: Monotonic(since_boot) } }
    }

    fn decision(&self) -> Decision {
        choose(&self.grounds())
    }

    fn choice(&self) -> Choice {
        self.decision().choice
    }

    /// Where it swaps to, if it does.
    fn goes_to(&self) -> Option<AccountName> {
        match self.choice() {
            Choice::Swap { to, .. } => Some(to),
            _ => None,
        }
    }

    /// Why it is blocked, if it is.
    fn blocked(&self) -> Option<BlockReason> {
        match self.choice() {
            Choice::Blocked { reason, .. } => Some(reason),
            _ => None,
        }
    }

    fn standing(&self, account: &str) -> String {
        self.decision().standings[&name(account)].to_string()
    }
}

/// `a` is over its threshold, `b` has room.
fn crossed() -> Pool {
    Pool::new(&["a", "b"]).reads("a", 85.0, 40.0).reads("b", 10.0, 20.0)
}

#[test]
fn at_the_threshold_the_pool_leaves_for_the_first_account_with_room() {
    let cause = SwapCause::Threshold { window: WindowKind::FiveHour, used: Percent::whole(85), threshold: Percent::whole(85) };
    assert_eq!(crossed().choice(), Choice::Swap { to: name("b"), cause });
    assert_eq!(crossed().decision().why, "a is left for b: fiveHour is at 85%, its threshold is 85%");
    assert_eq!(Pool::new(&["a", "b"]).reads("a", 84.99, 94.99).reads("b", 1.0, 1.0).choice(), Choice::Stay);
    let third = Pool::new(&["a", "b", "c"]).reads("a", 90.0, 40.0).reads("b", 71.0, 20.0).reads("c", 69.0, 79.0);
    assert_eq!(third.goes_to(), Some(name("c")));
}

#[test]
fn a_window_of_one_model_counts_like_a_weekly_one() {
    let mut pool = Pool::new(&["a", "b", "c"]).reads("a", 10.0, 40.0).reads("b", 10.0, 20.0).reads("c", 10.0, 20.0);
    let fable = WindowKind::Model("Fable".to_owned());
    pool.set("a", fable.clone(), 96.0, Some(900), ReadingSource::Cli);
    pool.set("b", fable.clone(), 81.0, Some(900), ReadingSource::Cli);
    assert_eq!(pool.goes_to(), Some(name("c")));
    assert!(pool.standing("b").starts_with("model:Fable is at 81%, the limit is 80%"), "{}", pool.standing("b"));
}

#[test]
fn what_is_unknown_or_stale_causes_nothing() {
    assert_eq!(Pool::new(&["a", "b"]).choice(), Choice::Stay);
    let mut pool = crossed();
    pool.minute = 16;
    pool = pool.reads("b", 10.0, 20.0);
    assert_eq!(pool.choice(), Choice::Stay, "the reading of a is 16 minutes old");
    assert!(pool.decision().why.contains("nothing fresh speaks for leaving it (fiveHour is at 85% or more"), "{}", pool.decision().why);
    pool.minute = 15;
    assert_eq!(pool.goes_to(), Some(name("b")));
}

#[test]
fn what_is_unknown_or_stale_is_no_target() {
    let mut pool = crossed();
    pool.usage.get_mut(&name("b")).expect("read").windows.remove(&WindowKind::Weekly);
    assert!(matches!(pool.choice(), Choice::Exhausted { .. }), "{:?}", pool.choice());
    assert_eq!(pool.standing("b"), "weekly is unknown (never read)");
    let mut pool = crossed();
    pool.minute = 40;
    pool = pool.reads("a", 90.0, 40.0);
    assert!(matches!(pool.choice(), Choice::Exhausted { .. }), "{:?}", pool.choice());
    assert!(pool.standing("b").starts_with("fiveHour was last read 40m ago (10% or more), too long to act on"), "{}", pool.standing("b"));
}

#[test]
fn an_old_reading_of_a_full_window_keeps_an_account_out_until_the_reset() {
    let mut pool = Pool::new(&["a", "b"]).reads("a", 40.0, 40.0).reads("b", 90.0, 20.0);
    pool.minute = 60;
    assert!(pool.standing("b").contains("fiveHour is at 90% or more, the limit is 70%"), "{}", pool.standing("b"));
    pool.minute = 120;
    assert!(
        pool.standing("b").contains("fiveHour is unknown (begun anew at 2027-01-15T10:00:00Z, not read since)"),
        "{}",
        pool.standing("b")
    );
}

#[test]
fn a_window_that_has_not_begun_is_room() {
    let mut pool = crossed();
    for window in [WindowKind::FiveHour, WindowKind::Weekly] {
        pool.set("b", window, 0.0, None, ReadingSource::Cli);
    }
    assert_eq!(pool.goes_to(), Some(name("b")));
}

#[test]
fn a_login_that_does_not_work_is_no_target_and_leaves_at_once() {
    let cases = [
        (LoginView::Unknown, "it is not known whether its login works"),
        (LoginView::Missing, "its home has no login; log in there with the official CLI"),
        (LoginView::Dead { reason: "revoked".to_owned() }, "its login no longer works (revoked); log in there with the official CLI"),
        (LoginView::Valid { expires_at: Some(at(0)) }, "its login ended at 2027-01-15T08:00:00Z; log in there with the official CLI"),
    ];
    for (login, words) in cases {
        let mut pool = crossed();
        pool.home("b").login = login.clone();
        assert!(matches!(pool.choice(), Choice::Exhausted { .. }), "{login:?}");
        assert_eq!(pool.standing("b"), words);
        let mut pool = Pool::new(&["a", "b"]).reads("a", 1.0, 1.0).reads("b", 10.0, 20.0);
        pool.home("a").login = login.clone();
        let leaves = matches!(login, LoginView::Missing | LoginView::Dead { .. });
        assert_eq!(pool.goes_to().is_some(), leaves, "{login:?}");
    }
    let mut pool = crossed();
    pool.homes.remove(&name("b"));
    assert!(matches!(pool.choice(), Choice::Exhausted { .. }), "a home that was not looked at is no target");
}

#[test]
fn links_that_are_not_ours_to_repair_are_no_target() {
    let mut pool = crossed();
    pool.home("b").links = LinksState::Wrong { why: "projects is a directory".to_owned() };
    assert_eq!(pool.standing("b"), "its shared links are wrong and need a person (projects is a directory)");
    assert_eq!(pool.goes_to(), None);
    pool.home("b").links = LinksState::Unknown { why: "the share is not mounted".to_owned() };
    assert_eq!(pool.goes_to(), None);
    pool.home("b").links = LinksState::Repairable;
    assert_eq!(pool.goes_to(), Some(name("b")));
}

#[test]
fn a_cordoned_or_latched_account_is_no_target() {
    let mut pool = crossed();
    let object = ObjectRef::Account(name("b"));
    let cordon = Cordon { reason: "billing".to_owned(), actor: "kim".to_owned(), since: at(-5) };
    pool.memory.cordoned.insert(object.clone(), cordon);
    assert_eq!(pool.standing("b"), "cordoned by kim (billing); uncordon it to use it again");
    assert_eq!(pool.goes_to(), None);
    pool.memory.cordoned.clear();
    pool.memory.latches.insert(object, latch());
    assert_eq!(pool.goes_to(), None);
}

fn latch() -> Latch {
    Latch { reason: "PartialSwap".to_owned(), causes: Vec::new(), evidence: String::new(), since: at(-5) }
}

#[test]
fn latch_suspension_and_cordon_of_the_pool_forbid_every_swap() {
    let hard = || {
        let mut pool = crossed();
        pool.set("a", WindowKind::FiveHour, 100.0, Some(60), ReadingSource::LimitRecord);
        pool
    };
    let refused = |pool: &Pool, reason| {
        assert_eq!(pool.blocked(), Some(reason));
        assert!(guard_operator(&pool.grounds(), &name("b")).is_err());
    };
    for object in [ObjectRef::Pool, ObjectRef::SharedRoot, ObjectRef::ActiveLink] {
        let mut pool = hard();
        pool.memory.latches.insert(object, latch());
        refused(&pool, BlockReason::Latched);
    }
    let mut pool = hard();
    let cordon = Cordon { reason: "audit".to_owned(), actor: "kim".to_owned(), since: at(-5) };
    pool.memory.cordoned.insert(ObjectRef::Pool, cordon);
    refused(&pool, BlockReason::Cordoned);
    let mut pool = hard();
    let suspension = Suspension { reason: "upgrade".to_owned(), actor: "kim".to_owned(), since: at(-5), until: Some(at(10)) };
    pool.memory.suspended = Some(suspension);
    refused(&pool, BlockReason::Suspended);
    pool.minute = 10;
    assert_eq!(pool.goes_to(), Some(name("b")), "it ended by itself");
}

#[test]
fn the_dwell_time_holds_soft_causes_only() {
    let mut pool = Pool::new(&["c", "a", "b"]).reads("c", 90.0, 20.0);
    pool.swapped("c", "a", SwapVerdict::Committed, -10);
    pool = pool.reads("a", 90.0, 40.0).reads("b", 10.0, 20.0);
    assert_eq!(pool.blocked(), Some(BlockReason::MinDwell));
    assert!(matches!(pool.choice(), Choice::Blocked { until: Some(until), .. } if until == at(35)), "{:?}", pool.choice());
    let mut hard = pool.clone();
    hard.set("a", WindowKind::FiveHour, 100.0, Some(60), ReadingSource::Statusline);
    assert_eq!(hard.choice(), Choice::Swap { to: name("b"), cause: SwapCause::LimitHit { window: WindowKind::FiveHour } });
    let mut dead = pool.clone();
    dead.home("a").login = LoginView::Dead { reason: "revoked".to_owned() };
    assert_eq!(dead.goes_to(), Some(name("b")));
    pool.minute = 35;
    pool = pool.reads("a", 90.0, 40.0).reads("b", 10.0, 20.0);
    assert_eq!(pool.goes_to(), Some(name("b")));
}

#[test]
fn a_limit_record_counts_until_its_reset_however_old_it_is() {
    let mut pool = Pool::new(&["a", "b"]).reads("a", 40.0, 40.0);
    pool.set("a", WindowKind::FiveHour, 0.0, Some(60), ReadingSource::LimitRecord);
    pool.minute = 50;
    pool = pool.reads("b", 10.0, 20.0);
    assert_eq!(pool.goes_to(), Some(name("b")));
    pool.minute = 60;
    assert_eq!(pool.choice(), Choice::Stay);
}

#[test]
fn two_accounts_over_their_thresholds_stop_nothing() {
    let mut pool = Pool::new(&["a", "b", "c"]).reads("a", 90.0, 97.0).reads("b", 99.0, 20.0).reads("c", 1.0, 1.0);
    pool.set("b", WindowKind::FiveHour, 99.0, Some(30), ReadingSource::Cli);
    pool.home("c").login = LoginView::Missing;
    let Choice::Exhausted { until, why } = pool.choice() else { panic!("{:?}", pool.choice()) };
    assert_eq!(until, Some(at(30)), "b is the first to have room again");
    assert_eq!(why[&name("a")].len(), 2);
    assert_eq!(why[&name("b")], ["fiveHour is at 99%, the limit is 70%, it begins anew at 2027-01-15T08:30:00Z"]);
    pool.set("b", WindowKind::Weekly, 99.0, None, ReadingSource::Cli);
    let Choice::Exhausted { until, .. } = pool.choice() else { panic!("{:?}", pool.choice()) };
    assert_eq!(until, Some(at(4_000)), "a: the later of its two; nobody knows of b");
}

#[test]
fn a_pair_that_failed_rests() {
    for verdict in [SwapVerdict::RolledBack, SwapVerdict::Abandoned] {
        let mut pool = crossed();
        pool.swapped("a", "b", verdict, -10);
        assert_eq!(pool.blocked(), Some(BlockReason::CoolingDown));
        assert!(guard_operator(&pool.grounds(), &name("b")).is_err());
        pool.memory.swaps_cleared_at = Some(at(-1));
        assert_eq!(pool.goes_to(), Some(name("b")));
        pool.memory.swaps_cleared_at = None;
        pool.minute = 20;
        pool = pool.reads("a", 85.0, 40.0).reads("b", 10.0, 20.0);
        assert_eq!(pool.goes_to(), Some(name("b")));
    }
}

#[test]
fn going_back_within_half_an_hour_opens_the_breaker() {
    let mut pool = Pool::new(&["a", "b", "c"]).reads("a", 90.0, 40.0);
    pool.swapped("a", "b", SwapVerdict::Committed, -10);
    pool = pool.reads("a", 10.0, 40.0).reads("b", 100.0, 40.0);
    assert_eq!(pool.blocked(), Some(BlockReason::BreakerOpen));
    assert_eq!(guard_operator(&pool.grounds(), &name("a")), Ok(()), "a person may");
    let with_c = pool.clone().reads("c", 10.0, 10.0);
    assert_eq!(with_c.goes_to(), Some(name("c")), "onward is not back");
    pool.minute = 20;
    pool = pool.reads("a", 10.0, 40.0).reads("b", 100.0, 40.0);
    assert_eq!(pool.goes_to(), Some(name("a")));
}

#[test]
fn after_there_and_back_automatic_swaps_pause() {
    let mut pool = Pool::new(&["a", "b", "c"]);
    pool.swapped("a", "b", SwapVerdict::Committed, -20);
    pool.swapped("b", "a", SwapVerdict::Committed, -5);
    pool = pool.reads("a", 100.0, 40.0).reads("b", 10.0, 10.0).reads("c", 10.0, 10.0);
    assert!(matches!(pool.choice(), Choice::Blocked { reason: BlockReason::BreakerOpen, until: Some(until), .. } if until == at(25)));
    assert_eq!(guard_operator(&pool.grounds(), &name("c")), Ok(()));
    let mut cleared = pool.clone();
    cleared.memory.swaps_cleared_at = Some(at(-1));
    assert_eq!(cleared.goes_to(), Some(name("b")));
    pool.minute = 25;
    pool = pool.reads("a", 100.0, 40.0).reads("b", 10.0, 10.0).reads("c", 10.0, 10.0);
    assert_eq!(pool.goes_to(), Some(name("b")));
}

/// `a` was left for `b` two hours ago; its window begins anew at minute 0.
fn away() -> Pool {
    let mut pool = Pool::new(&["a", "b"]);
    pool.minute = -120;
    pool.set("a", WindowKind::FiveHour, 90.0, Some(0), ReadingSource::Cli);
    pool.swapped("a", "b", SwapVerdict::Committed, -120);
    pool.minute = 0;
    pool.reads("a", 5.0, 20.0).reads("b", 60.0, 20.0)
}

#[test]
fn the_pool_goes_back_once_the_blocking_window_has_begun_anew() {
    assert_eq!(away().choice(), Choice::Swap { to: name("a"), cause: SwapCause::Failback });
    let mut early = away();
    early.minute = -1;
    early = early.reads("a", 5.0, 20.0).reads("b", 60.0, 20.0);
    assert_eq!(early.choice(), Choice::Stay, "the reset is still to come");
    assert_eq!(away().reads("a", 71.0, 20.0).choice(), Choice::Stay, "no headroom");
    let mut never = away();
    never.spec.swap.failback = Failback::Never;
    assert_eq!(never.choice(), Choice::Stay);
    let mut dwells = away();
    dwells.memory.active = Some(Active { account: name("b"), since: at(-40) });
    assert_eq!(dwells.choice(), Choice::Stay);
    assert!(
        dwells.decision().why.contains("a is preferred and has room again, but the pool stays on b until"),
        "{}",
        dwells.decision().why
    );
    let mut by_hand = away();
    by_hand.memory.swaps[0].window = None;
    assert_eq!(by_hand.choice(), Choice::Stay, "an operator's choice is not undone");
    let mut silent = away();
    silent.memory.swaps[0].from_resets_at = None;
    assert_eq!(silent.choice(), Choice::Stay, "the window lasts five hours");
}

#[test]
fn of_two_full_windows_the_one_that_lasts_longer_is_the_cause() {
    let pool = Pool::new(&["a", "b"]).reads("a", 90.0, 96.0).reads("b", 1.0, 1.0);
    let Choice::Swap { cause: SwapCause::Threshold { window, .. }, .. } = pool.choice() else { panic!("{:?}", pool.choice()) };
    assert_eq!(window, WindowKind::Weekly);
}

#[test]
fn without_headroom_the_threshold_itself_is_no_target() {
    let mut pool = Pool::new(&["a", "b"]).reads("a", 85.0, 1.0).reads("b", 85.0, 1.0);
    for account in &mut pool.spec.accounts {
        account.thresholds.headroom = Percent::ZERO;
    }
    assert!(matches!(pool.choice(), Choice::Exhausted { .. }));
    assert_eq!(pool.reads("b", 84.0, 1.0).goes_to(), Some(name("b")));
}

#[test]
fn the_operators_guard_says_everything_at_once() {
    let mut pool = crossed();
    assert_eq!(guard_operator(&pool.grounds(), &name("b")), Ok(()));
    let of = |pool: &Pool, to: &str| guard_operator(&pool.grounds(), &name(to)).expect_err("refused").to_string();
    assert_eq!(of(&pool, "a"), "the pool cannot go to a: the pool is there already");
    assert_eq!(of(&pool, "x"), "the pool cannot go to x: the spec has no account of that name");
    pool.home("b").login = LoginView::Missing;
    pool = pool.reads("b", 80.0, 20.0);
    assert_eq!(
        of(&pool, "b"),
        "the pool cannot go to b: its home has no login; log in there with the official CLI; \
         fiveHour is at 80%, the limit is 70%, it begins anew at 2027-01-15T10:00:00Z"
    );
}

#[test]
fn a_pool_without_an_account_or_with_an_undeclared_one_waits() {
    let mut pool = crossed();
    pool.memory.active = Some(Active { account: name("gone"), since: at(-600) });
    assert_eq!(pool.blocked(), Some(BlockReason::NotDeclared));
    assert_eq!(guard_operator(&pool.grounds(), &name("b")), Ok(()));
    pool.memory.active = None;
    assert_eq!(pool.choice(), Choice::Stay);
}
