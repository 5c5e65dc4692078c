//! Who the pool is, when the state is gone and the directory is not.

use std::fs;

use claude_failover::{
    model::EventReason,
    plan::{Active, MemoryChange},
    store::{Batch, EventQuery, Lock, StateDir, Store, StoreError, former_identity, past_events},
};

use crate::samples::{Place, account, at, event};

fn messages(place: &Place) -> Vec<String> {
    let events = past_events(&place.state(), &EventQuery::default()).expect("events");
    events.into_iter().map(|stored| stored.event.message).collect()
}

fn lose_state(place: &Place) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(place.state().join(name));
    }
}

#[test]
fn a_state_that_is_made_anew_has_the_former_identity_and_nothing_else() {
    let place = Place::new();
    let mut store = place.store();
    let before = store.memory().expect("a memory");
    assert!(!before.renewed);
    let told = |second, text: &str| Batch { events: vec![event(second, EventReason::SwapCommitted, text)], ..Batch::default() };
    for number in 0..5 {
        store.commit(&told(number, &format!("before {number}"))).expect("written");
    }
    let active = Active { account: account("backup"), since: at(4) };
    store.commit(&Batch { changes: vec![MemoryChange::SetActive(active)], ..Batch::default() }).expect("written");
    drop(store);
    assert_eq!(former_identity(&place.state()), Some(before.pool));

    lose_state(&place);
    let mut store = place.store();
    let after = store.memory().expect("a memory");
    assert_eq!((after.pool, after.renewed, after.active), (before.pool, true, None));
    // The history goes on: it must not take the new events for those that it has.
    store.commit(&told(5_000, "after")).expect("written");
    assert_eq!(messages(&place).last().map(String::as_str), Some("after"));
    assert_eq!(messages(&place).len(), 6);
    drop(store);
    let store = place.store();
    assert!(store.memory().expect("a memory").renewed, "it is remembered");
}

#[test]
fn the_state_goes_before_the_file() {
    let place = Place::new();
    let pool = place.store().memory().expect("a memory").pool;
    let file = place.state().join("identity");
    for content in ["nonsense", "00000000-0000-0000-0000-000000000001\n"] {
        fs::write(&file, content).expect("written");
        assert_eq!(place.store().memory().expect("a memory").pool, pool);
        assert_eq!(fs::read_to_string(&file).expect("readable").trim(), pool.to_string(), "it is written anew");
    }
    fs::remove_file(&file).expect("removed");
    assert!(!place.store().memory().expect("a memory").renewed);
    assert_eq!(former_identity(&place.state()), Some(pool));
}

#[test]
fn an_identity_that_does_not_read_is_not_replaced_by_another() {
    let place = Place::new();
    drop(place.store());
    lose_state(&place);
    fs::write(place.state().join("identity"), "nonsense").expect("written");
    let lock = Lock::acquire(StateDir::existing(&place.state()).expect("there")).expect("locked");
    assert!(matches!(Store::open(lock), Err(StoreError::Corrupt { .. })));
    assert!(!place.state().join("state.db").exists());
}
