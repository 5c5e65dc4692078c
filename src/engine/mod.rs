//! Observe, plan, lint, execute, record, publish: in that order, and nowhere else.
//!
//! # Guarantees
//! The only place that causes effects. Every effect has an intent in the store before it and an outcome behind it. `plan`, `apply`, the daemon
//! and the tests run the same [`Engine::pass`]; dry run is [`Engine::preview`], which stops before the first write.
//!
//! # Assumes
//! It is the only engine on its state directory: the store's lock sees to that.
//!
//! # Does not
//! Decide: that is done by the pure layers. Talk to people: that is done by `control` and `cli`.

mod choice;
mod command;
pub mod daemon;
mod error;
mod execute;
mod explain;
mod observe;
mod operate;
mod pass;
mod poll;
mod publish;
mod record;
mod transition;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use command::{Answer, Command, Request};
pub use daemon::{Asked, Channels, Signal, Witness};
pub use error::EngineError;
pub use pass::{Pass, Preview};

use crate::{
    host::{Host, Look},
    model::{AccountName, AccountUsage, Event, EventReason, ObjectRef, Severity},
    observed::Snapshot,
    plan::{Finding, Memory, MemoryChange, Planned, poll::PollState},
    spec::Spec,
    status::{Conditions, SpecState},
    store::{AcceptedSpec, Batch, Store},
    swap::{SwapCause, SwapRecord},
};

/// The reconciler of one pool.
pub struct Engine<H> {
    host: H,
    store: Store,
    spec: Spec,
    spec_state: SpecState,
    memory: Memory,
    seen: Snapshot,
    /// What the last pass left to do, with its report.
    planned: Planned,
    findings: Vec<Finding>,
    conditions: Conditions,
    /// Whether and why each account could be a target, and whether its readings are fresh: from the last pass.
    standing: BTreeMap<AccountName, (bool, String)>,
    quota: BTreeMap<AccountName, (bool, String)>,
    /// The swap that the last plan proposed.
    proposed: Option<(AccountName, SwapCause)>,
    /// What the open swap waits for, in words.
    swap_waits: Option<String>,
    /// Since when this process looks: time in which nobody looked counts for no deadline of a swap.
    looking_since: Timestamp,
    polls: BTreeMap<AccountName, PollState>,
    /// When each account reaches a threshold at its present rate, as of its newest readings.
    reaches: BTreeMap<AccountName, Timestamp>,
    /// The readings as they were last recorded.
    recorded_usage: BTreeMap<AccountName, AccountUsage>,
}

impl<H: Host> Engine<H> {
    /// Takes up the work where the store says that it stands. `accepted` is the spec that `spec` was made of; a new one becomes a generation.
    ///
    /// Intents without an outcome are those that a crash cut off: each is said in an event, and what really happened is looked up by the first
    /// pass before anything else is done.
    ///
    /// # Errors
    /// [`EngineError`] when the store cannot be read or written, or the open swap's journal makes no sense.
    pub fn start(mut host: H, store: Store, spec: Spec, accepted: &AcceptedSpec) -> Result<Self, EngineError> {
        let mut memory = store.memory().map_err(EngineError::store("read the memory"))?;
        let journal = store.open_swap_events().map_err(EngineError::store("read the open swap"))?;
        memory.swap = SwapRecord::replay(&journal).map_err(EngineError::Journal)?;
        host.configure(&spec, memory.pool);
        let seen_usage = store.usage().unwrap_or_default();
        let seen = Snapshot { usage: seen_usage.clone(), ..Snapshot::default() };
        let polls = poll::remembered(&store);
        let looking_since = host.now().wall;
        let conditions = publish::remembered(&store);
        let mut engine = Self {
            host,
            store,
            spec,
            spec_state: SpecState::default(),
            memory,
            seen,
            planned: Planned::default(),
            findings: Vec::new(),
            conditions,
            standing: BTreeMap::new(),
            quota: BTreeMap::new(),
            proposed: None,
            swap_waits: None,
            looking_since,
            polls,
            reaches: BTreeMap::new(),
            recorded_usage: seen_usage,
        };
        engine.accept(accepted)?;
        engine.settle_intents()?;
        Ok(engine)
    }

    /// Puts another valid spec in force.
    ///
    /// # Errors
    /// [`EngineError::Store`]; the former spec stays in force.
    pub fn replace_spec(&mut self, spec: Spec, accepted: &AcceptedSpec) -> Result<(), EngineError> {
        self.accept(accepted)?;
        self.host.configure(&spec, self.memory.pool);
        self.spec = spec;
        self.spec_state = SpecState::default();
        Ok(())
    }

    /// Notes that the spec on disk is not valid. The last good one stays in force.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub fn reject_spec(&mut self, diagnostic: String) -> Result<(), EngineError> {
        if self.spec_state.rejected.as_ref() == Some(&diagnostic) {
            return Ok(());
        }
        let event = self.event(ObjectRef::Pool, EventReason::SpecRejected, Severity::Warning, diagnostic.clone());
        self.spec_state.rejected = Some(diagnostic);
        self.commit("record a refused spec", &Batch { events: vec![event], ..Batch::default() })
    }

    /// A new generation gives every object a new chance: failures and quarantines are forgotten, latches are not.
    fn accept(&mut self, accepted: &AcceptedSpec) -> Result<(), EngineError> {
        let at = self.host.now().wall;
        let changes: Vec<_> = self.memory.attempts.keys().cloned().map(MemoryChange::ClearAttempts).collect();
        let message = format!("digest {}", accepted.digest);
        let event = self.event(ObjectRef::Pool, EventReason::SpecAccepted, Severity::Normal, message);
        let with = Batch { changes: changes.clone(), events: vec![event], ..Batch::default() };
        let generation = self.store.accept_spec(accepted, at, &with).map_err(EngineError::store("record the spec"))?;
        if generation != self.memory.generation {
            for change in &changes {
                self.memory.apply(change);
            }
        }
        self.memory.accept_spec(&accepted.digest);
        Ok(())
    }

    /// What is known at present, for `status`, `explain` and the tests.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What was last seen.
    pub const fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// The spec in force.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What the last pass left to do and waits for.
    pub const fn planned(&self) -> &Planned {
        &self.planned
    }

    /// The store, for reading.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The host, for the loop that waits for it and for the tests that own it.
    pub const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// Gives the host and the store back.
    pub fn into_parts(self) -> (H, Store) {
        (self.host, self.store)
    }

    fn event(&self, object: ObjectRef, reason: EventReason, severity: Severity, message: String) -> Event {
        Event { at: self.host.now().wall, object, reason, severity, message }
    }

    /// Writes a batch and takes its changes over.
    fn commit(&mut self, what: &'static str, batch: &Batch) -> Result<(), EngineError> {
        if *batch == Batch::default() {
            return Ok(());
        }
        for event in &batch.events {
            tracing::info!(object = %event.object, reason = %event.reason, "{}", event.message);
        }
        self.store.commit(batch).map_err(EngineError::store(what))?;
        for change in &batch.changes {
            self.memory.apply(change);
        }
        Ok(())
    }

    async fn look(&mut self, look: &Look) {
        self.host.observe(&self.memory, look, &mut self.seen).await;
    }

    fn wall(&self) -> Timestamp {
        self.host.now().wall
    }
}
