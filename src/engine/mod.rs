//! Observe, plan, lint, execute, record, publish: in that order, and nowhere else.
//!
//! # Guarantees
//! The only place that causes effects. Every effect has an intent in the store before it and an outcome behind it. `plan`, `apply`, the daemon
//! and the tests run the same [`Engine::pass`]; dry run is [`View::preview`], which stops before the first write.
//!
//! # Assumes
//! It is the only engine on its state directory: the store's lock sees to that.
//!
//! # Does not
//! Decide: that is done by the pure layers. Talk to people: that is done by `control` and `cli`.

mod adopt;
mod blind;
mod checkpoint;
mod choice;
mod command;
pub mod daemon;
mod error;
mod execute;
mod existence;
mod explain;
mod observe;
mod operate;
mod orders;
mod pass;
mod poll;
mod publish;
mod record;
mod restore;
mod transition;
mod view;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use blind::{Watched, unusable};
pub use command::{Answer, Command, Request};
pub use daemon::{Asked, Channels, Signal, SpecRead, Witness};
pub use error::EngineError;
pub use existence::Missing;
pub use operate::{Begun, Ticket};
pub use pass::Pass;
pub use view::View;

use crate::{
    host::Host,
    model::{AccountName, AccountUsage, Event, EventReason, ObjectRef, Severity},
    observed::Snapshot,
    plan::{Memory, MemoryChange, poll::PollState},
    spec::Spec,
    status::SpecState,
    store::{AcceptedSpec, Batch, Intent, IntentId, Store},
    swap::SwapRecord,
};

/// The reconciler of one pool: a view with the right to write.
pub struct Engine<H> {
    view: View<H>,
    store: Store,
    /// Since when this process looks: time in which nobody looked counts for no deadline of a swap.
    looking_since: Timestamp,
    polls: BTreeMap<AccountName, PollState>,
    /// The readings as they were last recorded.
    recorded_usage: BTreeMap<AccountName, AccountUsage>,
    /// What was learnt from the last look. It is taken over already, and written with the next intents or at the end of the pass: one sync less
    /// between the end of an agent and the start of its successor.
    learnt: Batch,
    unwritten_flips: publish::UnwrittenFlips,
    checkpointing: checkpoint::Checkpointing,
}

impl<H: Host> Engine<H> {
    /// Takes up the work where the store says that it stands. `accepted` is the spec that `spec` was made of; a new one becomes a generation.
    ///
    /// Intents without an outcome are those that a crash cut off: each is said in an event, and what really happened is looked up by the first
    /// pass before anything else is done.
    ///
    /// # Errors
    /// [`EngineError`] when the store cannot be read or written, or the open swap's journal makes no sense.
    pub fn start(host: H, store: Store, spec: Spec, accepted: &AcceptedSpec) -> Result<Self, EngineError> {
        let memory = recall(&store)?;
        let recorded_usage = store.usage().unwrap_or_default();
        let seen = Snapshot { usage: recorded_usage.clone(), ..Snapshot::default() };
        let polls = poll::remembered(&store);
        let conditions = publish::remembered(&store);
        let view = View { conditions, ..View::new(host, spec, memory, seen) };
        let begun = view.host.now();
        let mut engine = Self {
            view,
            store,
            looking_since: begun.wall,
            polls,
            recorded_usage,
            learnt: Batch::default(),
            unwritten_flips: publish::UnwrittenFlips::default(),
            checkpointing: checkpoint::Checkpointing::new(begun),
        };
        engine.tell_of_renewal()?;
        engine.accept(accepted)?;
        engine.settle_intents()?;
        Ok(engine)
    }

    /// What was lost with the state and cannot be seen is said: somebody may have relied on it. It goes before the first spec that the new one
    /// takes up, and by that spec it is known to have been said.
    fn tell_of_renewal(&mut self) -> Result<(), EngineError> {
        if !self.view.memory.renewed || self.view.memory.spec.is_some() {
            return Ok(());
        }
        let message = "state.db was gone and was made anew; the active account, sessions, tasks and links are taken up from what is seen, and a \
                       suspension, cordons, a latch, an open swap and failures, if there were any, are forgotten";
        let event = self.view.event(ObjectRef::StateDir, EventReason::StateRenewed, Severity::Critical, message.to_owned());
        self.commit("record that the state was lost", &Batch { events: vec![event], ..Batch::default() })
    }

    /// Takes the memory from the store anew, after something could not be recorded: what was done in between is found by looking, as after a
    /// crash.
    ///
    /// # Errors
    /// [`EngineError`] while the store still cannot be used.
    pub fn recover(&mut self) -> Result<(), EngineError> {
        self.view.memory = recall(&self.store)?;
        self.settle_intents()
    }

    /// Puts another valid spec in force.
    ///
    /// # Errors
    /// [`EngineError::Store`]; the former spec stays in force.
    pub fn replace_spec(&mut self, spec: Spec, accepted: &AcceptedSpec) -> Result<(), EngineError> {
        self.accept(accepted)?;
        self.view.host.configure(&spec, self.view.memory.pool);
        self.view.spec = spec;
        self.view.spec_state = SpecState::default();
        Ok(())
    }

    /// Notes that the spec on disk is not valid. The last good one stays in force.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub fn reject_spec(&mut self, diagnostic: String) -> Result<(), EngineError> {
        if self.view.spec_state.rejected.as_ref() == Some(&diagnostic) {
            return Ok(());
        }
        let event = self.view.event(ObjectRef::Pool, EventReason::SpecRejected, Severity::Warning, diagnostic.clone());
        self.view.spec_state.rejected = Some(diagnostic);
        self.commit("record a refused spec", &Batch { events: vec![event], ..Batch::default() })
    }

    /// A new generation gives every object a new chance: failures and quarantines are forgotten, latches are not.
    fn accept(&mut self, accepted: &AcceptedSpec) -> Result<(), EngineError> {
        let at = self.view.host.now().wall;
        let changes: Vec<_> = self.view.memory.attempts.keys().cloned().map(MemoryChange::ClearAttempts).collect();
        let message = format!("digest {}", accepted.digest);
        let event = self.view.event(ObjectRef::Pool, EventReason::SpecAccepted, Severity::Normal, message);
        let with = Batch { changes: changes.clone(), events: vec![event], ..Batch::default() };
        let generation = self.store.accept_spec(accepted, at, &with).map_err(EngineError::store("record the spec"))?;
        if generation != self.view.memory.generation {
            for change in &changes {
                self.view.memory.apply(change);
            }
        }
        self.view.memory.accept_spec(&accepted.digest);
        Ok(())
    }

    /// What this engine knows, for `status`, `explain` and the tests.
    pub const fn view(&self) -> &View<H> {
        &self.view
    }

    /// The same, for the tests that own the host.
    pub const fn view_mut(&mut self) -> &mut View<H> {
        &mut self.view
    }

    /// The store, for reading.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Gives the host and the store back.
    pub fn into_parts(self) -> (H, Store) {
        (self.view.host, self.store)
    }

    /// Writes a batch, behind what was learnt before it, and takes its changes over.
    fn commit(&mut self, what: &'static str, batch: &Batch) -> Result<(), EngineError> {
        self.write_learnt()?;
        if *batch == Batch::default() {
            return Ok(());
        }
        tell(&batch.events);
        self.store.commit(batch).map_err(EngineError::store(what))?;
        for change in &batch.changes {
            self.view.memory.apply(change);
        }
        Ok(())
    }

    /// Takes over what a look taught, and leaves its writing to the next [`Self::begin`] or [`Self::commit`]. A loss in between is learnt again
    /// by the next look: nothing rests on it outside of this process before it is written.
    fn learn(&mut self, changes: Vec<MemoryChange>, events: Vec<Event>) {
        tell(&events);
        for change in &changes {
            self.view.memory.apply(change);
        }
        self.learnt.changes.extend(changes);
        self.learnt.events.extend(events);
    }

    /// Writes intents, with what was learnt before them.
    fn begin_intents(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, EngineError> {
        let learnt = std::mem::take(&mut self.learnt);
        self.store.begin_intents_with(&learnt, intents).map_err(EngineError::store("record what is about to be done"))
    }

    fn write_learnt(&mut self) -> Result<(), EngineError> {
        let learnt = std::mem::take(&mut self.learnt);
        if learnt == Batch::default() {
            return Ok(());
        }
        self.store.commit(&learnt).map_err(EngineError::store("record what was seen"))
    }
}

fn tell(events: &[Event]) {
    for event in events {
        match event.severity {
            Severity::Normal => tracing::info!(object = %event.object, reason = %event.reason, "{}", event.message),
            Severity::Warning => tracing::warn!(object = %event.object, reason = %event.reason, "{}", event.message),
            Severity::Critical => tracing::error!(object = %event.object, reason = %event.reason, "{}", event.message),
        }
    }
}

/// The memory with the open swap, which is the fold of its journal.
///
/// # Errors
/// [`EngineError`] when it cannot be read, or the journal makes no sense.
pub fn recall<Access>(store: &Store<Access>) -> Result<Memory, EngineError> {
    let mut memory = store.memory().map_err(EngineError::store("read the memory"))?;
    let journal = store.open_swap_events().map_err(EngineError::store("read the open swap"))?;
    memory.swap = SwapRecord::replay(&journal).map_err(EngineError::Journal)?;
    Ok(memory)
}
