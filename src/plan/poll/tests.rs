use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{AccountName, Monotonic, ReadingSource, WindowKind, WindowReading},
    spec::Thresholds,
};

const MINUTE: Duration = Duration::from_mins(1);

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).expect("in range")
}

fn now(minute: i64) -> Now {
    Now { wall: at(minute), mono: Monotonic(Duration::from_secs(7)) }
}

fn account() -> Account {
    Account {
        name: AccountName::new("primary").expect("a name"),
        home: "/homes/primary".into(),
        thresholds: Thresholds { five_hour: Percent::whole(85), weekly: Percent::whole(95), headroom: Percent::whole(15) },
    }
}

fn quota(sources: &[QuotaSource]) -> Quota {
    Quota { sources: sources.to_vec(), poll_every: MINUTE * 5, stale_after: MINUTE * 15, file: None, command: Vec::new() }
}

fn five_hour(used: u8, measured: i64, resets: i64) -> AccountUsage {
    let reading =
        WindowReading { used: Percent::whole(used), resets_at: Some(at(resets)), measured_at: at(measured), source: ReadingSource::Cli };
    AccountUsage { windows: BTreeMap::from([(WindowKind::FiveHour, reading)]) }
}

/// One account with everything that its schedule follows from.
struct Case {
    quota: Quota,
    account: Account,
    active: bool,
    usage: AccountUsage,
    reaches: Option<Timestamp>,
    state: PollState,
}

impl Case {
    fn new(sources: &[QuotaSource]) -> Self {
        let (account, usage, state) = (account(), AccountUsage::default(), PollState::default());
        Self { quota: quota(sources), account, active: true, usage, reaches: None, state }
    }

    fn next(&self, minute: i64) -> NextPoll {
        self.try_next(minute, 1).expect("a source is polled")
    }

    fn try_next(&self, minute: i64, seed: u64) -> Option<NextPoll> {
        let Self { quota, account, active, usage, reaches, state } = self;
        next_poll(&PollInput { quota, account, active: *active, usage, reaches: *reaches, state, seed }, now(minute))
    }

    /// A reading that began and ended in the given minute.
    fn polled(&mut self, source: QuotaSource, minute: i64, outcome: PollOutcome) {
        self.state.started(source, now(minute));
        self.state.ended(source, outcome, now(minute));
    }

    /// Minutes from `minute` to the next reading, rounded down.
    fn minutes_to_next(&self, minute: i64) -> (i64, PollReason) {
        let next = self.next(minute);
        (next.at.duration_since(at(minute)).as_secs() / 60, next.reason)
    }
}

#[test]
fn the_first_reading_is_due_at_once_and_the_status_line_is_not_polled() {
    let next = Case::new(&[QuotaSource::Statusline, QuotaSource::Cli]).next(0);
    assert_eq!(next, NextPoll { source: QuotaSource::Cli, at: at(0), reason: PollReason::First });
    assert_eq!(Case::new(&[QuotaSource::Statusline]).try_next(0, 1), None);
}

#[test]
fn the_interval_follows_how_near_the_account_is() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Read);
    case.usage = five_hour(20, 0, 200);
    assert!(matches!(case.minutes_to_next(0), (5, PollReason::Regular)), "{:?}", case.next(0));
    case.usage = five_hour(75, 0, 200);
    assert!(matches!(case.minutes_to_next(0), (3, PollReason::NearThreshold)), "{:?}", case.next(0));
    case.active = false;
    assert!(matches!(case.minutes_to_next(0), (5, PollReason::Regular)), "an account at rest does not move");
    case.usage = five_hour(85, 0, 200);
    assert!(matches!(case.minutes_to_next(0), (10 | 11, PollReason::Exhausted)), "{:?}", case.next(0));
    case.usage = five_hour(85, 0, 4);
    assert!(matches!(case.minutes_to_next(0), (5, PollReason::ResetDue)), "{:?}", case.next(0));
    case.usage = five_hour(85, 0, 1);
    assert!(matches!(case.minutes_to_next(0), (3, PollReason::ResetDue)), "never under three minutes");
}

#[test]
fn a_projected_crossing_brings_the_next_reading_forward() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Read);
    case.usage = five_hour(20, 0, 200);
    case.reaches = Some(at(9));
    assert_eq!(case.minutes_to_next(0), (3, PollReason::NearThreshold));
    case.reaches = Some(at(60));
    assert_eq!(case.minutes_to_next(0).1, PollReason::Regular);
}

#[test]
fn a_source_that_asks_to_wait_is_left_alone_for_an_hour_or_longer() {
    for (retry_after, least) in [(None, 60), (Some(Duration::ZERO), 60), (Some(MINUTE * 90), 90), (Some(Duration::MAX), 120)] {
        let mut case = Case::new(&[QuotaSource::Cli, QuotaSource::Api]);
        case.polled(QuotaSource::Cli, 0, PollOutcome::RateLimited { retry_after });
        let (minutes, reason) = case.minutes_to_next(0);
        assert!((least..least + 20).contains(&minutes), "{retry_after:?} gave {minutes}");
        assert_eq!(reason, PollReason::RateLimited);
    }
}

#[test]
fn failures_back_off_and_success_forgives() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        case.polled(QuotaSource::Cli, 0, PollOutcome::NotRefreshed);
        waits.push(case.minutes_to_next(0).0);
    }
    assert!(waits.iter().zip([5, 10, 20, 40, 60, 60]).all(|(wait, least)| (least..=least * 6 / 5).contains(wait)), "{waits:?}");
    case.polled(QuotaSource::Cli, 0, PollOutcome::Failed);
    assert!((30..=36).contains(&case.minutes_to_next(0).0), "a plain failure is tried again sooner");
    case.state.forget_failures();
    assert_eq!(case.minutes_to_next(0).0, 5);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Failed);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Read);
    assert_eq!(case.minutes_to_next(0), (5, PollReason::Regular));
}

#[test]
fn an_account_that_was_never_read_is_tried_again_soon() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Failed);
    let (minutes, reason) = case.minutes_to_next(0);
    assert!((3..4).contains(&minutes) && reason == PollReason::BackingOff, "{minutes} {reason:?}");
    case.usage = five_hour(20, 0, 300);
    assert!(case.minutes_to_next(0).0 >= 5, "something is known of this one");
}

#[test]
fn the_second_source_steps_in_only_when_the_first_keeps_failing() {
    let mut case = Case::new(&[QuotaSource::Cli, QuotaSource::Api]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Failed);
    assert_eq!(case.next(0).source, QuotaSource::Cli);
    for minute in [10, 20] {
        case.polled(QuotaSource::Cli, minute, PollOutcome::Failed);
    }
    let next = case.next(20);
    assert_eq!((next.source, next.at), (QuotaSource::Api, at(23)), "and it shares the budget");
}

#[test]
fn the_file_is_read_often_beside_the_others() {
    let mut case = Case::new(&[QuotaSource::Cli, QuotaSource::File]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::RateLimited { retry_after: None });
    case.polled(QuotaSource::File, 0, PollOutcome::Failed);
    let next = case.next(0);
    assert_eq!((next.source, next.at), (QuotaSource::File, at(0) + FILE_INTERVAL));
}

#[test]
fn a_clock_that_goes_back_never_silences_an_account() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 10_000, PollOutcome::RateLimited { retry_after: None });
    assert_eq!(case.next(0), NextPoll { source: QuotaSource::Cli, at: at(0), reason: PollReason::ClockChanged });
    case.state.started(QuotaSource::Cli, now(0));
    assert!(case.next(0).at >= at(3), "and costs one reading only");
}

#[test]
fn hosts_and_accounts_are_set_apart_and_the_answer_is_the_same_each_time() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::Read);
    let of_seed: Vec<_> = (0..20).map(|seed| case.try_next(0, seed).expect("polled").at).collect();
    assert_eq!(of_seed, (0..20).map(|seed| case.try_next(0, seed).expect("polled").at).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<_> = of_seed.iter().collect();
    assert!(distinct.len() > 15, "{of_seed:?}");
}

#[test]
fn the_state_survives_a_restart() {
    let mut case = Case::new(&[QuotaSource::Cli]);
    case.polled(QuotaSource::Cli, 0, PollOutcome::RateLimited { retry_after: Some(MINUTE) });
    let text = serde_json::to_string(&case.state).expect("serialises");
    assert_eq!(serde_json::from_str::<PollState>(&text).expect("reads back"), case.state);
}

fn outcomes() -> impl Strategy<Value = PollOutcome> {
    prop_oneof![
        Just(PollOutcome::Read),
        Just(PollOutcome::NotRefreshed),
        Just(PollOutcome::Failed),
        prop::option::of(0_u64..100_000).prop_map(|seconds| PollOutcome::RateLimited { retry_after: seconds.map(Duration::from_secs) }),
    ]
}

proptest! {
    /// Whatever comes of each reading: the budget holds, a wait that was asked for is kept, and no wait is longer than about two hours.
    #[test]
    fn the_budget_holds(
        results in prop::collection::vec((outcomes(), 0_u8..=120, 0_i64..400), 1..60),
        every in 0_u64..3_600,
        active: bool,
        seed: u64,
    ) {
        let mut case = Case::new(&[QuotaSource::Statusline, QuotaSource::Cli, QuotaSource::Api]);
        case.quota.poll_every = Duration::from_secs(every);
        case.active = active;
        let mut clock = now(0);
        let mut previous: Option<(Timestamp, PollOutcome)> = None;
        for (outcome, used, resets) in results {
            let input = PollInput {
                quota: &case.quota, account: &case.account, active, usage: &case.usage, reaches: None, state: &case.state, seed,
            };
            let next = next_poll(&input, clock).expect("polled");
            prop_assert_eq!(Some(next), next_poll(&input, clock));
            let wait = Duration::try_from(next.at.duration_since(clock.wall)).unwrap_or_default();
            prop_assert!(wait <= Duration::from_hours(3), "{wait:?}");
            clock = clock.plus(wait);
            if let Some((before, came)) = previous {
                let least = if matches!(came, PollOutcome::RateLimited { .. }) { RATE_LIMIT_WAIT } else { MIN_INTERVAL };
                prop_assert!(clock.wall.duration_since(before).unsigned_abs() >= least, "{before} then {}", clock.wall);
            }
            previous = Some((clock.wall, outcome));
            case.state.started(next.source, clock);
            case.state.ended(next.source, outcome, clock);
            let minute = clock.wall.duration_since(at(0)).as_secs() / 60;
            case.usage = five_hour(used, minute, minute + resets);
        }
    }
}
