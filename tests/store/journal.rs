//! Intents and the journal of the swap.

use claude_failover::{
    model::{EventReason, SwapId},
    plan::{MemoryChange, Outcome},
    store::{Batch, StoreError},
    swap::{Step, SwapEvent},
};

use crate::samples::{Place, at, closed, event, intent, record, session, summary, swap_plan};

#[test]
fn an_intent_is_open_until_it_has_an_outcome() {
    let place = Place::new();
    let mut store = place.store();
    let ids = store.begin_intents(&[intent(1), intent(2), intent(3)]).expect("written");
    assert!(ids.is_sorted() && ids.len() == 3);
    store
        .end_intents(
            &[(ids[0], Outcome::Changed), (ids[2], Outcome::Unchanged)],
            &[MemoryChange::PutSession(session("a"), record(1))],
            &[event(1, EventReason::SessionStarted, "started")],
        )
        .expect("written");
    drop(store);
    let store = place.store();
    assert_eq!(store.unfinished_intents().expect("intents"), [(ids[1], intent(2))]);
    assert!(store.memory().expect("a memory").sessions.contains_key(&session("a")));
}

#[test]
fn an_intent_ends_once_and_its_number_is_never_used_again() {
    let place = Place::new();
    let mut store = place.store();
    let first = store.begin_intents(&[intent(1)]).expect("written")[0];
    store.end_intents(&[(first, Outcome::Changed)], &[], &[]).expect("written");
    let again = store.end_intents(&[(first, Outcome::Unchanged)], &[MemoryChange::PutLink("/x".into())], &[]);
    assert!(matches!(again, Err(StoreError::NoSuchIntent(id)) if id == first), "{again:?}");
    assert!(store.memory().expect("a memory").links.is_empty(), "nothing of it was written");
    drop(store);
    let second = place.store().begin_intents(&[intent(2)]).expect("written")[0];
    assert!(second > first);
}

#[test]
fn the_open_swap_is_found_again_in_order() {
    let place = Place::new();
    let mut store = place.store();
    assert_eq!(store.open_swap_events().expect("events"), []);
    let events = [
        SwapEvent::Opened(swap_plan(1)),
        SwapEvent::Began { step: Step::Hold, at: at(1) },
        SwapEvent::TurnedBack { at: at(2), why: "an error: with its cause".to_owned() },
    ];
    store.append_swap(&events[..1]).expect("opened");
    store.append_swap(&events[1..]).expect("appended");
    drop(store);
    let mut store = place.store();
    assert_eq!(store.open_swap_events().expect("events"), events);
    store.commit(&Batch { swap: vec![closed(3)], changes: vec![MemoryChange::CloseSwap(summary(1))], ..Batch::default() }).expect("closed");
    assert_eq!(store.open_swap_events().expect("events"), []);
    assert_eq!(store.swap_events(SwapId(1)).expect("events").len(), 4, "a closed journal can still be read");
    assert_eq!(store.memory().expect("a memory").swaps, [summary(1)]);
}

#[test]
fn there_is_one_swap_at_a_time() {
    let place = Place::new();
    let mut store = place.store();
    assert!(matches!(store.append_swap(&[closed(0)]), Err(StoreError::NoSwapOpen)));
    store.append_swap(&[SwapEvent::Opened(swap_plan(1))]).expect("opened");
    assert!(matches!(store.append_swap(&[SwapEvent::Opened(swap_plan(2))]), Err(StoreError::SwapOpen { open: SwapId(1) })));
    assert_eq!(store.open_swap_events().expect("events").len(), 1);
    store.commit(&Batch { changes: vec![MemoryChange::CloseSwap(summary(1))], ..Batch::default() }).expect("closed");
    assert!(store.append_swap(&[SwapEvent::Opened(swap_plan(1))]).is_err(), "a number is used once");
    store.append_swap(&[SwapEvent::Opened(swap_plan(2))]).expect("opened");
}
