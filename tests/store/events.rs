//! Events: their order, their pages, their repeats.

use claude_failover::{
    model::{Event, EventReason, ObjectRef, Severity},
    store::{Batch, EventQuery, Reader, Store, StoredEvent},
};

use crate::samples::{Place, at, event, session};

fn tell(store: &mut Store, events: &[Event]) {
    store.commit(&Batch { events: events.to_vec(), ..Batch::default() }).expect("written");
}

fn read(store: &Store, query: &EventQuery) -> Vec<StoredEvent> {
    store.events(query).expect("events")
}

fn messages(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|stored| stored.event.message.as_str()).collect()
}

#[test]
fn what_is_read_is_what_was_told() {
    let place = Place::new();
    let mut store = place.store();
    let told = Event {
        at: "2027-01-01T00:00:00.123456789Z".parse().expect("a time"),
        object: ObjectRef::Pool,
        reason: EventReason::SwapLatched,
        severity: Severity::Critical,
        message: "two\nlines, \u{1b}[31m and a quote '".to_owned(),
    };
    tell(&mut store, std::slice::from_ref(&told));
    let read = read(&store, &EventQuery::default());
    assert_eq!(read, [StoredEvent { sequence: 1, count: 1, last_at: told.at, event: told }]);
}

#[test]
fn a_repeat_within_ten_minutes_only_counts() {
    let place = Place::new();
    let mut store = place.store();
    let failed = |second| event(second, EventReason::ActionFailed, "no room");
    tell(&mut store, &[failed(0), event(1, EventReason::ActionFailed, "another")]);
    for second in [300, 800, 1_400] {
        tell(&mut store, &[failed(second)]);
    }
    let events = read(&store, &EventQuery::default());
    assert_eq!(messages(&events), ["no room", "another"]);
    assert_eq!((events[0].count, events[0].event.at, events[0].last_at), (4, at(0), at(1_400)));
    tell(&mut store, &[failed(2_001)]);
    assert_eq!(messages(&read(&store, &EventQuery::default())), ["no room", "another", "no room"], "later it is news again");
}

#[test]
fn another_object_or_reason_is_no_repeat() {
    let place = Place::new();
    let mut store = place.store();
    let one = event(0, EventReason::ActionFailed, "x");
    tell(&mut store, &[one.clone(), Event { object: ObjectRef::Session(session("b")), ..one.clone() }]);
    tell(&mut store, &[Event { reason: EventReason::SessionExited, ..one }]);
    assert_eq!(read(&store, &EventQuery::default()).len(), 3);
}

#[test]
fn a_clock_that_was_far_ahead_swallows_nothing_later() {
    let place = Place::new();
    let mut store = place.store();
    tell(&mut store, &[event(400_000_000, EventReason::ActionFailed, "x"), event(0, EventReason::ActionFailed, "x")]);
    tell(&mut store, &[event(5, EventReason::ActionFailed, "x")]);
    let counts: Vec<_> = read(&store, &EventQuery::default()).iter().map(|event| event.count).collect();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn pages_join_without_gaps_in_both_directions() {
    let place = Place::new();
    let mut store = place.store();
    let all: Vec<_> = (0..25).map(|second| event(second, EventReason::SessionExited, &second.to_string())).collect();
    tell(&mut store, &all);
    let mut forward = Vec::new();
    let mut after = 0;
    loop {
        let page = read(&store, &EventQuery { after: Some(after), limit: 10, ..EventQuery::default() });
        let Some(last) = page.last() else { break };
        after = last.sequence;
        forward.extend(page);
    }
    assert_eq!(forward.iter().map(|stored| stored.event.clone()).collect::<Vec<_>>(), all);
    let newest = read(&store, &EventQuery { limit: 10, ..EventQuery::default() });
    assert_eq!(newest, forward[15..]);
    let before = read(&store, &EventQuery { before: Some(newest[0].sequence), limit: 10, ..EventQuery::default() });
    assert_eq!(before, forward[5..15]);
}

#[test]
fn events_are_found_by_object_and_time() {
    let place = Place::new();
    let mut store = place.store();
    let of = |name: &str, second| Event { object: ObjectRef::Session(session(name)), ..event(second, EventReason::SessionExited, name) };
    tell(&mut store, &[of("a", 0), of("b", 10), of("a", 700), of("b", 2_000)]);
    let about_b = EventQuery { object: Some(ObjectRef::Session(session("b"))), ..EventQuery::default() };
    assert_eq!(messages(&read(&store, &about_b)), ["b", "b"]);
    let late = EventQuery { since: Some(at(700)), ..EventQuery::default() };
    assert_eq!(messages(&read(&store, &late)), ["a", "b"]);
}

#[test]
fn events_wait_while_the_history_is_off_and_arrive_once() {
    let place = Place::new();
    let mut store = place.store();
    tell(&mut store, &[event(0, EventReason::SessionStarted, "first")]);
    let shell = rusqlite::Connection::open(place.state().join("history.db")).expect("a person's shell");
    shell.execute_batch("BEGIN IMMEDIATE").expect("held");
    tell(&mut store, &[event(1, EventReason::SessionExited, "second")]);
    assert!(store.history_fault().expect("a fault").contains("locked by another program"), "{:?}", store.history_fault());
    drop(store);
    shell.execute_batch("ROLLBACK").expect("let go");
    let mut store = place.store();
    tell(&mut store, &[event(2, EventReason::SessionStarted, "third")]);
    assert_eq!(store.history_fault(), None);
    assert_eq!(messages(&read(&store, &EventQuery::default())), ["first", "second", "third"]);
    let reader = Reader::attach(&place.state()).expect("a reader");
    assert_eq!(reader.events(&EventQuery::default()).expect("events").len(), 3);
}

#[test]
fn a_history_that_lies_beside_another_state_takes_its_events_too() {
    let place = Place::new();
    let mut store = place.store();
    tell(&mut store, &[event(0, EventReason::SessionStarted, "old"), event(0, EventReason::SessionExited, "old")]);
    drop(store);
    std::fs::remove_file(place.state().join("state.db")).expect("an operator begins anew");
    let mut store = place.store();
    tell(&mut store, &[event(5_000, EventReason::SessionStarted, "new")]);
    assert_eq!(messages(&read(&store, &EventQuery::default())), ["old", "old", "new"]);
}
