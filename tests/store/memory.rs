//! The memory in the store is the memory in the engine.

use std::collections::BTreeSet;

use claude_failover::{
    model::{Generation, ObjectRef, Pid, ProcessId, SwapId, TaskId},
    observed::LoginView,
    plan::{Active, Attempts, Cordon, Latch, MemoryChange, Refused, RefusedLogin, ServerRecord, Suspension, TaskRecord, tasks::Untyped},
    store::{Batch, Handled, Reader, StoreError},
    swap::SwapEvent,
};
use proptest::prelude::*;

use crate::samples::{Place, account, at, event, intent, record, session, spec, summary, swap_plan};

fn object() -> impl Strategy<Value = ObjectRef> {
    prop_oneof![
        Just(ObjectRef::Pool),
        Just(ObjectRef::Account(account("primary"))),
        prop::sample::select(vec!["a", "b"]).prop_map(|name| ObjectRef::Session(session(name))),
    ]
}

fn change() -> impl Strategy<Value = MemoryChange> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let path = || prop::sample::select(vec!["/x", "/x/é", "/x y/'\"\\"]).prop_map(Into::into);
    let text = || "\\PC{0,12}";
    prop_oneof![
        (name(), 0..9_i64).prop_map(|(name, since)| MemoryChange::SetActive(Active { account: account(name), since: at(since) })),
        (name(), 0..9_i64).prop_map(|(name, second)| MemoryChange::PutSession(session(name), record(second))),
        name().prop_map(|name| MemoryChange::RemoveSession(session(name))),
        path().prop_map(MemoryChange::PutLink),
        path().prop_map(MemoryChange::RemoveLink),
        (object(), text(), text()).prop_map(|(object, reason, evidence)| {
            MemoryChange::PutLatch(object, Latch { reason, causes: vec![evidence.clone()], evidence, since: at(1) })
        }),
        object().prop_map(MemoryChange::ClearLatch),
        (object(), 0..9_u32, any::<bool>()).prop_map(|(object, failures, quarantined)| {
            let exits = (0..i64::from(failures)).map(at).collect();
            let last_error = quarantined.then(|| "an error\nof two lines".to_owned());
            MemoryChange::PutAttempts(object, Attempts { failures, not_before: Some(at(5)), last_error, exits, quarantined })
        }),
        object().prop_map(MemoryChange::ClearAttempts),
        prop::option::of(text()).prop_map(|reason| {
            MemoryChange::SetSuspension(reason.map(|reason| Suspension { reason, actor: String::new(), since: at(0), until: None }))
        }),
        (object(), text()).prop_map(|(object, reason)| {
            MemoryChange::PutCordon(object, Cordon { reason, actor: "somebody".to_owned(), since: at(2) })
        }),
        object().prop_map(MemoryChange::RemoveCordon),
        prop::collection::btree_set(name(), 0..3)
            .prop_map(|names| MemoryChange::SetRemovalSeen(names.into_iter().map(session).collect::<BTreeSet<_>>())),
        // Down to the nanosecond, before and after the epoch.
        prop::option::of(any::<i64>()).prop_map(|nanoseconds| {
            MemoryChange::SetExhausted(nanoseconds.map(|count| jiff::Timestamp::from_nanosecond(count.into()).expect("a time")))
        }),
        (1..40_u64).prop_map(|id| MemoryChange::CloseSwap(summary(id))),
        prop::collection::btree_set(name(), 0..3)
            .prop_map(|names| MemoryChange::SetPruneConfirmed(names.into_iter().map(session).collect::<BTreeSet<_>>())),
        (prop::option::of(1..9), 0..9_i64).prop_map(|(pid, since)| {
            MemoryChange::SetServer(ServerRecord { pid: pid.map(claude_failover::model::Pid), since: at(since) })
        }),
        prop::collection::btree_map(name().prop_map(account), 0..9_i64, 0..3).prop_map(|logins| {
            let login = LoginView::Valid { expires_at: None };
            let refused = |since| RefusedLogin { since: at(since), login: login.clone(), state: Refused::Suspected };
            MemoryChange::SetRefusedLogins(logins.into_iter().map(|(name, since)| (name, refused(since))).collect())
        }),
        prop::collection::btree_map(name().prop_map(session), 0..9_u32, 0..3).prop_map(|sessions| {
            let process = ProcessId { pid: Pid(7), started: 9 };
            let untyped = |times| Untyped { message: "a draft".to_owned(), times, until: at(3), process, idle_since: Some(at(1)) };
            MemoryChange::SetUntyped(sessions.into_iter().map(|(name, times)| (name, untyped(times))).collect())
        }),
        (0..9_i64).prop_map(|second| MemoryChange::ClearSwaps(at(second))),
        (name(), 0..9_i64).prop_map(|(name, second)| MemoryChange::PutTask(task(name), task_record(second))),
        (name(), 0..9_i64).prop_map(|(name, second)| MemoryChange::CloseTask(task(name), task_record(second))),
        name().prop_map(|name| MemoryChange::RemoveTask(task(name))),
        name().prop_map(|name| MemoryChange::ForgetTask(task(name))),
    ]
}

fn task(name: &str) -> TaskId {
    format!("api/{name}.md").parse().expect("a task")
}

fn task_record(second: i64) -> TaskRecord {
    TaskRecord { not_before: Some(at(second)), ..TaskRecord::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_loaded_is_what_was_applied(
        batches in prop::collection::vec(prop::collection::vec(change(), 0..8), 0..12),
        specs in prop::collection::vec(0..3_u8, 0..4),
    ) {
        let place = Place::new();
        let mut store = place.store();
        let mut memory = store.memory().expect("a memory");
        for number in specs {
            let accepted = spec(&number.to_string());
            let generation = store.accept_spec(&accepted, at(0), &Batch::default()).expect("accepted");
            prop_assert_eq!(generation, memory.accept_spec(&accepted.digest));
        }
        for changes in batches {
            store.commit(&Batch { changes: changes.clone(), ..Batch::default() }).expect("written");
            for change in &changes {
                memory.apply(change);
            }
        }
        prop_assert_eq!(&store.memory().expect("a memory"), &memory);
        drop(store);
        prop_assert_eq!(&place.store().memory().expect("a memory"), &memory, "after a restart");
    }
}

#[test]
fn the_identity_is_made_once() {
    let place = Place::new();
    let pool = place.store().memory().expect("a memory").pool;
    assert_eq!(place.store().memory().expect("a memory").pool, pool);
    assert_ne!(Place::new().store().memory().expect("a memory").pool, pool);
}

#[test]
fn a_reader_sees_what_is_committed_beside_the_writer() {
    let place = Place::new();
    let mut store = place.store();
    let reader = Reader::attach(&place.state()).expect("a reader");
    assert!(reader.memory().expect("a memory").links.is_empty());
    store.commit(&Batch { changes: vec![MemoryChange::PutLink("/x".into())], ..Batch::default() }).expect("written");
    assert_eq!(reader.memory().expect("a memory"), store.memory().expect("a memory"));
    drop(store);
    assert_eq!(reader.memory().expect("a memory").links.len(), 1, "also when the writer has gone");
}

#[test]
fn the_same_spec_is_not_a_new_generation() {
    let place = Place::new();
    let mut store = place.store();
    assert_eq!(store.last_good_spec().expect("a spec"), None);
    let told = Batch { events: vec![event(0, claude_failover::model::EventReason::SpecAccepted, "new")], ..Batch::default() };
    let accept = |store: &mut claude_failover::store::Store, text: &str| store.accept_spec(&spec(text), at(3), &told).expect("accepted");
    assert_eq!(accept(&mut store, "one"), Generation(1));
    assert_eq!(accept(&mut store, "one"), Generation(1));
    assert_eq!(accept(&mut store, "two"), Generation(2));
    assert_eq!(accept(&mut store, "one"), Generation(3), "going back is a change too");
    let events = store.events(&claude_failover::store::EventQuery::default()).expect("events");
    assert_eq!(events[0].count, 3, "told once for each new generation");
    drop(store);
    let store = place.store();
    let (entry, good) = store.last_good_spec().expect("a spec").expect("there is one");
    assert_eq!((entry.generation, good), (Generation(3), spec("one")));
    let numbers: Vec<_> = store.generations().expect("generations").into_iter().map(|entry| entry.generation.0).collect();
    assert_eq!(numbers, [3, 2, 1]);
    let (_, second) = store.spec_of(Generation(2)).expect("a spec").expect("there is one");
    assert_eq!(second.sources, spec("two").sources);
}

#[test]
fn a_command_is_remembered_with_its_answer() {
    let place = Place::new();
    let mut store = place.store();
    let handled = |number: i64| Handled { id: format!("id-{number}"), at: at(number), answer: format!("{{\"n\":{number}}}") };
    for number in 0..1_003 {
        store.commit(&Batch { handled: Some(handled(number)), ..Batch::default() }).expect("written");
    }
    assert_eq!(store.handled("id-1002").expect("a look"), Some(handled(1_002)));
    assert_eq!(store.handled("id-3").expect("a look"), Some(handled(3)));
    assert_eq!(store.handled("id-2").expect("a look"), None, "the oldest go");
}

#[test]
fn pruning_keeps_what_is_open_and_what_is_remembered() {
    let place = Place::new();
    let mut store = place.store();
    let open = store.begin_intents(&[intent(0)]).expect("written");
    for id in 1..=205 {
        let swap = vec![SwapEvent::Opened(swap_plan(id)), crate::samples::closed(1)];
        store.commit(&Batch { swap, changes: vec![MemoryChange::CloseSwap(summary(id))], ..Batch::default() }).expect("written");
    }
    store.append_swap(&[SwapEvent::Opened(swap_plan(206))]).expect("opened");
    for second in 0..5 {
        store.accept_spec(&spec(&second.to_string()), at(second), &Batch::default()).expect("accepted");
    }
    let before = store.memory().expect("a memory");
    store.prune(at(0)).expect("pruned");
    assert_eq!(store.memory().expect("a memory"), before);
    assert_eq!(store.unfinished_intents().expect("intents").len(), open.len());
    assert_eq!(store.open_swap_events().expect("events").len(), 1);
    assert_eq!(store.swap_events(SwapId(5)).expect("events"), []);
    assert_eq!(store.swap_events(SwapId(6)).expect("events").len(), 2);
}

#[test]
fn a_refused_part_refuses_the_whole_batch() {
    let place = Place::new();
    let mut store = place.store();
    let batch = Batch {
        changes: vec![MemoryChange::PutLink("/x".into())],
        events: vec![event(0, claude_failover::model::EventReason::LinkCreated, "made")],
        swap: vec![crate::samples::closed(0)],
        ..Batch::default()
    };
    assert!(matches!(store.commit(&batch), Err(StoreError::NoSwapOpen)));
    assert!(store.memory().expect("a memory").links.is_empty());
    assert!(store.events(&claude_failover::store::EventQuery::default()).expect("events").is_empty());
}
