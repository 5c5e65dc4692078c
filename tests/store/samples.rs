//! Values to store, and the directories to store them in.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use claude_failover::{
    model::{
        AccountName, ConversationId, Event, EventReason, Generation, ObjectRef, Pid, ProcessId, SessionName, Severity, SpecDigest,
        StartDigest, SwapId,
    },
    plan::{Effect, SessionRecord, SwapSummary, Verb},
    store::{AcceptedSpec, Intent, Lock, StateDir, Store, StoreError},
    swap::{SwapCause, SwapEvent, SwapPlan, SwapVerdict},
};
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

/// A place for one state directory that goes with the test.
pub struct Place {
    root: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { root: TempDir::new().expect("a temporary directory") }
    }

    /// The state directory; it is not there before the first [`Self::store`].
    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn try_store(&self) -> Result<Store, StoreError> {
        open(&self.state())
    }

    pub fn store(&self) -> Store {
        self.try_store().expect("a store")
    }
}

pub fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(Lock::acquire(StateDir::open(path)?)?)
}

/// Writes a line to the standard output at once, for another process that reads it.
pub fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("somebody reads");
}

/// Seconds after an instant that all samples count from.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

pub fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

pub fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a name")
}

pub fn event(second: i64, reason: EventReason, message: &str) -> Event {
    Event { at: at(second), object: ObjectRef::Session(session("a")), reason, severity: Severity::Normal, message: message.to_owned() }
}

pub fn record(second: i64) -> SessionRecord {
    SessionRecord {
        conversation: ConversationId(Uuid::from_u128(7)),
        incarnation: 1,
        account: account("primary"),
        digest: StartDigest("0123456789ab".to_owned()),
        workdir: "/work".into(),
        process: Some(ProcessId { pid: Pid(12), started: u64::MAX }),
        started_at: at(second),
        ended: false,
        stopped: false,
        spoken: false,
        asked: None,
    }
}

pub fn intent(second: i64) -> Intent {
    Intent {
        at: at(second),
        generation: Generation(1),
        object: ObjectRef::Link(account("primary"), claude_failover::model::LinkName::new("projects").expect("a name")),
        verb: Verb::Create,
        effect: Effect::CreateLink { path: "/home/primary/projects".into(), target: "/shared/projects".into() },
    }
}

pub fn spec(text: &str) -> AcceptedSpec {
    AcceptedSpec {
        digest: SpecDigest(claude_failover::model::sha256_hex(text.as_bytes())),
        canonical: format!("{{\"pool\":{text:?}}}"),
        sources: [(PathBuf::from("pool.yaml"), text.to_owned())].into(),
        revision: None,
    }
}

pub fn swap_plan(id: u64) -> SwapPlan {
    SwapPlan {
        id: SwapId(id),
        from: account("primary"),
        to: account("backup"),
        cause: SwapCause::Operator { actor: "somebody".to_owned() },
        opened_at: at(0),
        drain_until: at(60),
        canary: 1,
        batch: 4,
        prove_within: std::time::Duration::from_mins(1),
        has_active_link: true,
        sessions: [].into(),
    }
}

pub fn closed(second: i64) -> SwapEvent {
    SwapEvent::Closed { at: at(second), verdict: SwapVerdict::Committed, rollback_error: None }
}

pub fn summary(id: u64) -> SwapSummary {
    SwapSummary {
        id: SwapId(id),
        from: account("primary"),
        to: account("backup"),
        window: Some(claude_failover::model::WindowKind::FiveHour),
        from_resets_at: Some(at(500)),
        verdict: SwapVerdict::Committed,
        closed_at: at(100),
    }
}
