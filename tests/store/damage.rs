//! Files that are damaged, of another version, or held by somebody else.

use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use claude_failover::{
    model::EventReason,
    plan::MemoryChange,
    store::{Batch, EventQuery, Reader, StoreError},
};

use crate::samples::{Place, event};

/// A place whose store was used and closed.
fn used() -> Place {
    let place = Place::new();
    let mut store = place.store();
    let changes = (0..200).map(|number| MemoryChange::PutLink(format!("/links/number-{number}").into())).collect();
    let events = (0..200).map(|number| event(number, EventReason::LinkCreated, &format!("made number {number}"))).collect();
    store.commit(&Batch { changes, events, ..Batch::default() }).expect("written");
    drop(store);
    place
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start(at)).expect("there");
    file.write_all(bytes).expect("overwritten");
}

fn version(path: &Path, version: i64) {
    rusqlite::Connection::open(path).expect("the file").pragma_update(None, "user_version", version).expect("another version");
}

fn damaged(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.state()).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.to_string_lossy().contains("history.db.damaged-")).collect()
}

#[test]
fn a_damaged_state_file_stops_everything_and_is_left_as_it_is() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("no database", |path| overwrite(path, 0, &[0xa5; 100])),
        ("a torn page", |path| overwrite(path, 3 * 4_096, &[0x5a; 4_096])),
        ("cut", |path| OpenOptions::new().write(true).open(path).expect("the file").set_len(4_096 * 5).expect("cut")),
        ("emptied", |path| OpenOptions::new().write(true).open(path).expect("the file").set_len(0).expect("cut")),
        ("another program's", |path| {
            rusqlite::Connection::open(path).expect("the file").pragma_update(None, "application_id", 7).expect("another mark");
        }),
    ];
    for (what, harm) in harms {
        let place = used();
        let path = place.state().join("state.db");
        harm(&path);
        let before = fs::read(&path).expect("the file");
        let error = place.try_store().expect_err(what);
        assert!(matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path), "{what}: {error:?}");
        assert!(error.to_string().contains("state.db is damaged"), "{error}");
        assert!(matches!(Reader::attach(&place.state()), Err(StoreError::Corrupt { .. })), "{what}: read");
        assert_eq!(fs::read(&path).expect("the file"), before, "{what}: it was changed");
    }
}

#[test]
fn a_log_without_its_file_is_not_played_into_a_new_one() {
    let place = used();
    fs::write(place.state().join("state.db-wal"), "frames").expect("a log");
    fs::remove_file(place.state().join("state.db")).expect("gone");
    assert!(matches!(place.try_store(), Err(StoreError::Corrupt { .. })));
    assert!(!place.state().join("state.db").exists());
}

#[test]
fn a_row_that_does_not_read_is_damage_and_no_default() {
    let place = used();
    let shell = rusqlite::Connection::open(place.state().join("state.db")).expect("the file");
    shell.execute("INSERT INTO latch (object, latch) VALUES ('pool', '{\"reason\":1}')", []).expect("a bad row");
    let store = place.store();
    let error = store.memory().expect_err("a bad row");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_newer_state_file_is_not_touched() {
    let place = used();
    let path = place.state().join("state.db");
    version(&path, 99);
    let before = fs::read(&path).expect("the file");
    assert!(matches!(place.try_store(), Err(StoreError::Newer { found: 99, supported: 3, .. })));
    assert!(matches!(Reader::attach(&place.state()), Err(StoreError::Newer { found: 99, .. })));
    assert_eq!(fs::read(&path).expect("the file"), before);
}

#[test]
fn a_damaged_history_is_set_aside_and_everything_goes_on() {
    let place = used();
    let path = place.state().join("history.db");
    overwrite(&path, 2 * 4_096, &[0x5a; 8_192]);
    let harmed = fs::read(&path).expect("the file");
    let mut store = place.store();
    let aside = store.history_set_aside().expect("set aside").to_owned();
    assert_eq!(damaged(&place), std::slice::from_ref(&aside));
    assert_eq!(fs::read(aside).expect("kept"), harmed);
    assert_eq!(store.history_fault(), None);
    assert_eq!(store.memory().expect("a memory").links.len(), 200);
    store.commit(&Batch { events: vec![event(0, EventReason::LinkCreated, "after")], ..Batch::default() }).expect("written");
    let newest = store.events(&EventQuery { limit: 1, ..EventQuery::default() }).expect("events");
    assert_eq!(newest[0].event.message, "after");
}

#[test]
fn a_history_that_is_damaged_while_it_is_open_is_set_aside_too() {
    let place = used();
    let mut store = place.store();
    store.commit(&Batch { events: vec![event(0, EventReason::LinkCreated, "before")], ..Batch::default() }).expect("written");
    let path = place.state().join("history.db");
    // A checkpoint brings the log into the file; then the file's pages are overwritten under the open store.
    rusqlite::Connection::open(&path).expect("a shell").query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    let length = fs::metadata(&path).expect("the file").len();
    overwrite(&path, 4_096, &vec![0x5a; usize::try_from(length - 4_096).expect("small")]);
    // Whatever SQLite still had in memory goes with the next change that it sees from outside.
    let shell = rusqlite::Connection::open(&path).expect("a shell");
    let _ = shell.execute_batch("PRAGMA user_version = 1");
    drop(shell);
    store.commit(&Batch { events: vec![event(1, EventReason::LinkRepaired, "after")], ..Batch::default() }).expect("written");
    assert!(store.history_set_aside().is_some());
    assert_eq!(store.history_fault(), None);
    let messages: Vec<_> = store.events(&EventQuery::default()).expect("events").into_iter().map(|stored| stored.event.message).collect();
    assert_eq!(messages, ["after"]);
}

#[test]
fn a_newer_history_is_left_off_and_left_alone() {
    let place = used();
    let path = place.state().join("history.db");
    version(&path, 99);
    let before = fs::read(&path).expect("the file");
    let mut store = place.store();
    assert!(store.history_fault().expect("a fault").contains("schema version 99"));
    assert!(matches!(store.events(&EventQuery::default()), Err(StoreError::HistoryOff { .. })));
    store.commit(&Batch { events: vec![event(0, EventReason::LinkCreated, "x")], ..Batch::default() }).expect("the rest goes on");
    assert_eq!(fs::read(&path).expect("the file"), before);
    assert_eq!(damaged(&place), Vec::<PathBuf>::new());
}

#[test]
fn a_shell_that_holds_the_state_file_is_told_of_and_waited_for() {
    let place = used();
    let mut store = place.store();
    let shell = rusqlite::Connection::open(place.state().join("state.db")).expect("a person's shell");
    shell.execute_batch("BEGIN IMMEDIATE").expect("held");
    let batch = Batch { changes: vec![MemoryChange::RemoveLink("/links/number-0".into())], ..Batch::default() };
    let error = store.commit(&batch).expect_err("held");
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    assert_eq!(store.memory().expect("reading goes on").links.len(), 200);
    shell.execute_batch("ROLLBACK").expect("let go");
    store.commit(&batch).expect("written");
    assert_eq!(store.memory().expect("a memory").links.len(), 199);
}

#[test]
fn a_first_start_that_was_cut_short_leaves_no_half_made_file() {
    let place = Place::new();
    fs::create_dir(place.state()).expect("a directory");
    fs::set_permissions(place.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    fs::write(place.state().join("state.db.new"), "half of it").expect("a leftover");
    fs::write(place.state().join("state.db.new-journal"), "half of it").expect("a leftover");
    assert!(matches!(Reader::attach(&place.state()), Err(StoreError::Missing { .. })));
    place.store().memory().expect("a memory");
    assert!(!place.state().join("state.db.new").exists());
}
