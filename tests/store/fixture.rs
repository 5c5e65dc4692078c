//! Files of every version that was ever released still open, with what stood in them.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use claude_failover::{
    model::{ConditionKind, EventReason, ObjectRef, Truth, WindowKind},
    plan::{Active, Attempts, Cordon, Latch, Memory, MemoryChange, Outcome, Suspension},
    store::{Batch, EventQuery, Flips, Handled, StoredEvent},
    swap::SwapEvent,
};

use crate::samples::{Place, account, at, closed, event, intent, open, record, session, spec, summary, swap_plan};

fn frozen(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/store/v{version}"))
}

/// One of everything.
fn fill(place: &Place) {
    let mut store = place.store();
    store.accept_spec(&spec("first"), at(0), &Batch::default()).expect("accepted");
    store.accept_spec(&spec("second"), at(1), &Batch::default()).expect("accepted");
    let ids = store.begin_intents(&[intent(2), intent(3)]).expect("written");
    let object = ObjectRef::Session(session("b"));
    let changes = vec![
        MemoryChange::SetActive(Active { account: account("backup"), since: at(4) }),
        MemoryChange::PutSession(session("a"), record(5)),
        MemoryChange::PutLink("/home/primary/projects".into()),
        MemoryChange::PutLatch(
            ObjectRef::Pool,
            Latch { reason: "PartialSwap".to_owned(), causes: vec!["one".to_owned()], evidence: "two".to_owned(), since: at(6) },
        ),
        MemoryChange::PutAttempts(
            object.clone(),
            Attempts { failures: 2, not_before: Some(at(9)), last_error: Some("three".to_owned()), exits: vec![at(7)], quarantined: true },
        ),
        MemoryChange::SetSuspension(Some(Suspension {
            reason: "four".to_owned(),
            actor: "somebody".to_owned(),
            since: at(8),
            until: Some(at(99)),
        })),
        MemoryChange::PutCordon(object, Cordon { reason: "five".to_owned(), actor: "somebody".to_owned(), since: at(9) }),
        MemoryChange::SetRemovalSeen([session("c")].into()),
        MemoryChange::SetExhausted(Some(at(10))),
        MemoryChange::CloseSwap(summary(1)),
        MemoryChange::ClearSwaps(at(11)),
    ];
    store
        .commit(&Batch {
            ended: vec![(ids[0], Outcome::Changed)],
            swap: vec![SwapEvent::Opened(swap_plan(1)), closed(11)],
            changes,
            events: vec![event(12, EventReason::SwapCommitted, "six")],
            handled: Some(Handled { id: "request".to_owned(), at: at(13), answer: "done".to_owned() }),
        })
        .expect("written");
    store.append_swap(&[SwapEvent::Opened(swap_plan(2))]).expect("opened");
    let usage = serde_json::from_value(serde_json::json!({
        "windows": { "fiveHour": { "used": 42.5, "resetsAt": at(50), "measuredAt": at(14), "source": "cli" } }
    }));
    store.record_usage(&account("primary"), &usage.expect("a reading")).expect("written");
    store.put_poll_state(&account("primary"), &serde_json::json!({ "failures": 1 })).expect("written");
    store
        .record_flips(&Flips::from([((ObjectRef::Pool, ConditionKind::Ready), (Truth::False, at(15)))]), &BTreeSet::new())
        .expect("written");
}

#[test]
#[ignore = "writes the frozen files of the present version; run it once, when a version of the schema is released"]
fn freeze_the_present_version() {
    let place = Place::new();
    fill(&place);
    let memory = place.store().memory().expect("a memory");
    let directory = frozen(1);
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("memory.json"), serde_json::to_string_pretty(&memory).expect("JSON") + "\n").expect("written");
    for name in ["state.db", "history.db"] {
        assert!(!place.state().join(format!("{name}-wal")).exists(), "the last one to close brings the log into the file");
        fs::copy(place.state().join(name), directory.join(name)).expect("copied");
    }
}

#[test]
fn the_first_version_still_opens() {
    let place = Place::new();
    fs::create_dir(place.state()).expect("a directory");
    fs::set_permissions(place.state(), Permissions::from_mode(0o700)).expect("a mode");
    for name in ["state.db", "history.db"] {
        fs::copy(frozen(1).join(name), place.state().join(name)).expect("copied");
    }
    let expected: Memory = serde_json::from_str(&fs::read_to_string(frozen(1).join("memory.json")).expect("text")).expect("a memory");
    let mut store = open(&place.state()).expect("it opens");
    assert_eq!(store.history_fault(), None);
    assert_eq!(store.history_set_aside(), None);
    assert_eq!(store.memory().expect("a memory"), expected);
    assert_eq!(store.unfinished_intents().expect("intents").into_iter().map(|(_, intent)| intent).collect::<Vec<_>>(), [intent(3)]);
    assert_eq!(store.open_swap_events().expect("events"), [SwapEvent::Opened(swap_plan(2))]);
    assert_eq!(store.last_good_spec().expect("a spec").expect("there is one").1, spec("second"));
    assert_eq!(store.handled("request").expect("a look").expect("there is one").answer, "done");
    let events = store.events(&EventQuery::default()).expect("events");
    let told = event(12, EventReason::SwapCommitted, "six");
    assert_eq!(events, [StoredEvent { sequence: 1, last_at: told.at, event: told, count: 1 }]);
    assert_eq!(store.usage().expect("usage")[&account("primary")].windows.len(), 1);
    assert_eq!(store.usage_course(&account("primary"), &WindowKind::FiveHour, at(0), 9).expect("readings").len(), 1);
    assert_eq!(store.poll_states().expect("states").len(), 1);
    assert_eq!(store.flips().expect("flips").len(), 1);
    store.commit(&Batch { changes: vec![MemoryChange::ClearLatch(ObjectRef::Pool)], ..Batch::default() }).expect("it can be written");
}
