//! What needs the connection itself: limits that SQLite is told to keep, and settings that nobody sees from outside.

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::model::{Event, EventReason, ObjectRef, Severity};

fn store(directory: &TempDir) -> Store {
    let directory = StateDir::open(&directory.path().join("state")).expect("a state directory");
    Store::open(Lock::acquire(directory).expect("nobody else has it")).expect("a new store")
}

fn event(message: String) -> Event {
    Event { at: Timestamp::UNIX_EPOCH, object: ObjectRef::Pool, reason: EventReason::ActionFailed, severity: Severity::Warning, message }
}

fn limit_to_present_size(database: &Database) {
    let pages: i64 = database.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
    database.connection.pragma_update(None, "max_page_count", pages).expect("a limit");
}

#[test]
fn the_files_are_written_as_promised() {
    let home = TempDir::new().expect("a directory");
    let store = store(&home);
    let state = &store.state.connection;
    let number = |pragma| state.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).expect("a number");
    assert_eq!(state.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).expect("a word"), "wal");
    assert_eq!((number("synchronous"), number("foreign_keys")), (2, 1), "FULL, on");
    assert_eq!(number("busy_timeout"), 2_000);
}

#[test]
fn a_full_state_file_takes_nothing_of_a_batch() {
    let home = TempDir::new().expect("a directory");
    let mut store = store(&home);
    limit_to_present_size(&store.state);
    let before = store.memory().expect("a memory");
    let link = "/".to_owned() + &"x".repeat(20_000);
    let batch = Batch {
        changes: vec![MemoryChange::PutLink("/a".into()), MemoryChange::PutLink(link.into())],
        events: vec![event("told".to_owned())],
        ..Batch::default()
    };
    let error = store.commit(&batch).expect_err("there is no room");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.memory().expect("a memory"), before);
    assert_eq!(store.events(&EventQuery::default()).expect("events"), []);
    store.state.connection.pragma_update(None, "max_page_count", 1_000_000).expect("a limit");
    store.commit(&batch).expect("there is room again");
    assert_eq!(store.memory().expect("a memory").links.len(), 2);
}

#[test]
fn a_full_history_stops_nothing_and_loses_no_event() {
    let home = TempDir::new().expect("a directory");
    let mut store = store(&home);
    limit_to_present_size(store.history.database.as_ref().expect("a history"));
    let long = "x".repeat(200_000);
    store
        .commit(&Batch { events: vec![event(long.clone())], changes: vec![MemoryChange::PutLink("/a".into())], ..Batch::default() })
        .expect("the state file has room");
    assert!(store.history_fault().expect("a fault").contains("no room"), "{:?}", store.history_fault());
    assert_eq!(store.memory().expect("a memory").links.len(), 1);
    drop(store);
    let mut store = super::tests::store(&home);
    assert_eq!(store.history_fault(), None);
    store.commit(&Batch { events: vec![event("short".to_owned())], ..Batch::default() }).expect("room");
    let messages: Vec<_> = store.events(&EventQuery::default()).expect("events").into_iter().map(|stored| stored.event.message).collect();
    assert_eq!(messages, [long, "short".to_owned()], "each one once, in order");
}
