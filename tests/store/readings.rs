//! Readings, pollers' states, and when conditions flipped.

use std::collections::BTreeSet;

use claude_failover::{
    model::{AccountUsage, ConditionKind, ObjectRef, Percent, ReadingSource, Truth, WindowKind, WindowReading},
    store::Flips,
};

use crate::samples::{Place, account, at};

fn usage(window: WindowKind, used: f64, second: i64) -> AccountUsage {
    let used = Percent::new(used).expect("a percentage");
    let reading = WindowReading { used, resets_at: Some(at(9_000)), measured_at: at(second), source: ReadingSource::Cli };
    AccountUsage { windows: [(window, reading)].into() }
}

#[test]
fn the_newest_reading_of_each_window_comes_back() {
    let place = Place::new();
    let mut store = place.store();
    let mut merged = AccountUsage::default();
    let model = WindowKind::Model("Opus 4".to_owned());
    for reading in [
        usage(WindowKind::FiveHour, 42.5, 10),
        usage(WindowKind::FiveHour, 12.25, 5),
        usage(WindowKind::Weekly, 99.99, 7),
        usage(model, 0.01, 8),
        usage(WindowKind::FiveHour, 43.0, 11),
    ] {
        store.record_usage(&account("primary"), &reading).expect("written");
        merged.merge(&reading);
    }
    drop(store);
    assert_eq!(place.store().usage().expect("usage"), [(account("primary"), merged)].into());
}

#[test]
fn the_course_keeps_changes_and_not_repetitions() {
    let place = Place::new();
    let mut store = place.store();
    for (used, second) in [(10.0, 0), (10.0, 30), (11.0, 60), (11.0, 90), (11.0, 360), (12.0, 420)] {
        store.record_usage(&account("a"), &usage(WindowKind::FiveHour, used, second)).expect("written");
    }
    let course = |since, limit| {
        let readings = store.usage_course(&account("a"), &WindowKind::FiveHour, at(since), limit).expect("readings");
        readings.into_iter().map(|reading| (reading.used.value(), reading.measured_at)).collect::<Vec<_>>()
    };
    assert_eq!(course(0, 100), [(10.0, at(0)), (11.0, at(60)), (11.0, at(360)), (12.0, at(420))]);
    assert_eq!(course(60, 2), [(11.0, at(360)), (12.0, at(420))], "the newest of them");
    assert_eq!(store.usage_course(&account("b"), &WindowKind::FiveHour, at(0), 9).expect("readings"), []);
}

#[test]
fn the_course_is_forgotten_after_thirty_days_and_the_newest_is_not() {
    let place = Place::new();
    let mut store = place.store();
    let day = 24 * 3_600;
    store.record_usage(&account("a"), &usage(WindowKind::Weekly, 5.0, 0)).expect("written");
    store.record_usage(&account("a"), &usage(WindowKind::FiveHour, 5.0, 2 * day)).expect("written");
    store.prune(at(31 * day)).expect("pruned");
    let left = |window| store.usage_course(&account("a"), &window, at(0), 9).expect("readings").len();
    assert_eq!((left(WindowKind::Weekly), left(WindowKind::FiveHour)), (0, 1));
    assert_eq!(store.usage().expect("usage")[&account("a")].windows.len(), 2);
}

#[test]
fn what_a_poller_keeps_comes_back() {
    let place = Place::new();
    let mut store = place.store();
    let state = serde_json::json!({ "notBefore": "2027-01-01T00:00:00Z", "failures": 3 });
    store.put_poll_state(&account("a"), &serde_json::json!(1)).expect("written");
    store.put_poll_state(&account("a"), &state).expect("written");
    drop(store);
    assert_eq!(place.store().poll_states().expect("states"), [(account("a"), state)].into());
}

#[test]
fn what_flipped_is_replaced_and_what_is_gone_is_forgotten() {
    let place = Place::new();
    let mut store = place.store();
    let (ready, synced, degraded) = (
        (ObjectRef::Pool, ConditionKind::Ready),
        (ObjectRef::ActiveLink, ConditionKind::Synced),
        (ObjectRef::Pool, ConditionKind::Degraded),
    );
    let first =
        [(ready.clone(), (Truth::True, at(1))), (synced.clone(), (Truth::Unknown, at(2))), (degraded.clone(), (Truth::False, at(2)))];
    store.record_flips(&Flips::from(first), &BTreeSet::new()).expect("written");
    let second = Flips::from([(synced.clone(), (Truth::True, at(3)))]);
    store.record_flips(&second, &BTreeSet::from([ready])).expect("written");
    drop(store);
    let expected = Flips::from([(synced, (Truth::True, at(3))), (degraded, (Truth::False, at(2)))]);
    assert_eq!(place.store().flips().expect("flips"), expected);
}
