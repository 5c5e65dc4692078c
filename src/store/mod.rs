//! Durable memory: SQLite in the state directory, one writer. Nothing is true until it is committed.
//!
//! Two files, since they are not equally dear. `state.db` holds what decisions rest on: the journal of intents and of the swap, the
//! memory, the accepted specs, the commands that were carried out. If it is damaged, or was written by a newer version, it cannot be
//! opened, and nothing may be done. `history.db` holds what people look back at: events, readings, when conditions flipped. If it is
//! damaged it is set aside under a dated name and made anew; if it cannot be written it is off, and everything else goes on.
//!
//! A third file, `identity`, only says who we are, should `state.db` be lost.
//!
//! One transaction cannot span two files over a loss of power (SQLite, "Atomic Commit", section 5, excludes the write-ahead log). So
//! events are first written into `state.db`, together with what they tell of, and the history takes them over from there.
//!
//! # Guarantees
//! A write that returned is on disk (`synchronous=FULL`), whole; a write that failed left nothing. What [`Store::memory`] loads is what
//! [`Memory::apply`] made of the same changes. Directory 0700, files 0600, whatever the umask.
//!
//! # Assumes
//! A local file system with working locks and syncs.
//!
//! # Does not
//! Decide, or retry: a write that failed is the caller's to repeat. It blocks for the time of a sync, which is about a millisecond.

mod database;
mod directory;
mod error;
mod events;
mod flips;
mod generations;
mod history;
mod identity;
mod journal;
mod lock;
mod memory;
mod readings;
mod requests;
mod schema;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;

use self::{database::Database, history::History, schema::STATE};
use crate::{
    model::{AccountName, AccountUsage, ConditionKind, Event, Generation, ObjectRef, PoolId, SwapId, WindowKind, WindowReading},
    plan::{Memory, MemoryChange, Outcome},
    swap::SwapEvent,
};

pub use directory::StateDir;
pub use error::StoreError;
pub use events::{EventQuery, StoredEvent};
pub use flips::Flips;
pub use generations::{AcceptedSpec, GenerationEntry};
pub use journal::{Intent, IntentId};
pub use lock::Lock;
pub use requests::Handled;

/// What is kept of what only grows: ended intents, closed swaps, generations, events, and the course of readings.
const KEEP_INTENTS: u32 = 2_000;
const KEEP_SWAPS: u32 = 200;
const KEEP_GENERATIONS: u32 = 50;
const KEEP_EVENTS: u32 = 20_000;
const KEEP_READINGS: Duration = Duration::from_hours(30 * 24);

/// The state of one pool. With [`Writing`] it is the one that may change it; with [`Reading`] it may be open beside that one.
#[derive(Debug)]
pub struct Store<Access = Writing> {
    state: Database,
    history: History,
    access: Access,
}

/// A store that is only looked at: for `status`, `events` and `plan`, beside a daemon or without one.
pub type Reader = Store<Reading>;

/// The right to write, which is the lock.
#[derive(Debug)]
pub struct Writing {
    lock: Lock,
    pool: PoolId,
    /// The last event in the outbox that the history has.
    sent: i64,
}

/// The right to read.
#[derive(Debug)]
pub struct Reading;

/// What is written at once, in one transaction with one sync: all of it, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// What became of intents.
    pub ended: Vec<(IntentId, Outcome)>,
    /// The next entries of the open swap's journal.
    pub swap: Vec<SwapEvent>,
    /// Changes of the memory.
    pub changes: Vec<MemoryChange>,
    /// What to tell.
    pub events: Vec<Event>,
    /// The command that this carries out.
    pub handled: Option<Handled>,
}

impl Store<Writing> {
    /// Opens the store, makes it if there is none, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Newer`] mean that nothing may be done but looking; the file is left as it was.
    pub fn open(lock: Lock) -> Result<Self, StoreError> {
        let directory = lock.directory();
        let is_new = !database::is_there(directory, &STATE)?;
        // Beside a state that is there, it says nothing.
        let former = if is_new { identity::read(directory)? } else { None };
        let state = Database::open(directory, &STATE, former)?;
        let history = History::open(directory);
        let pool = state.read("read the identity in", memory::pool)?;
        identity::keep(directory, pool)?;
        let mut store = Self { state, history, access: Writing { lock, pool, sent: 0 } };
        store.deliver();
        Ok(store)
    }

    /// The lock that this store holds.
    pub const fn lock(&self) -> &Lock {
        &self.access.lock
    }

    /// Why the history is off at present, if it is: one line with the whole error chain. Events wait meanwhile.
    pub fn history_fault(&self) -> Option<&str> {
        self.history.fault()
    }

    /// Where a damaged history was put since this store was opened, if one was.
    pub fn history_set_aside(&self) -> Option<&Path> {
        self.history.set_aside()
    }

    /// Writes what is about to be done, before any of it is done: one sync for all.
    ///
    /// # Errors
    /// [`StoreError`]; then none of it may be done.
    pub fn begin_intents(&mut self, intents: &[Intent]) -> Result<Vec<IntentId>, StoreError> {
        self.state.write("write intents into", |transaction| journal::begin(transaction, intents))
    }

    /// As [`Self::begin_intents`], with what was learnt before: one sync for both. Events wait for the next [`Self::commit`] to be told, so that
    /// nothing stands between the intents and their effects.
    ///
    /// # Errors
    /// As [`Self::begin_intents`] and [`Self::commit`]; then nothing is written.
    pub fn begin_intents_with(&mut self, learnt: &Batch, intents: &[Intent]) -> Result<Vec<IntentId>, StoreError> {
        let sent = self.access.sent;
        self.state.write("write intents into", |transaction| {
            write(transaction, learnt, sent)?;
            journal::begin(transaction, intents)
        })
    }

    /// Writes what became of intents, with what follows from it.
    ///
    /// # Errors
    /// [`StoreError::NoSuchIntent`] if one of them has ended before.
    pub fn end_intents(&mut self, ended: &[(IntentId, Outcome)], changes: &[MemoryChange], events: &[Event]) -> Result<(), StoreError> {
        self.commit(&Batch { ended: ended.to_vec(), changes: changes.to_vec(), events: events.to_vec(), ..Batch::default() })
    }

    /// Appends to the journal of the open swap, or opens one.
    ///
    /// # Errors
    /// [`StoreError::SwapOpen`], [`StoreError::NoSwapOpen`].
    pub fn append_swap(&mut self, events: &[SwapEvent]) -> Result<(), StoreError> {
        self.commit(&Batch { swap: events.to_vec(), ..Batch::default() })
    }

    /// Writes a batch. The history's troubles are not among its errors: see [`Self::history_fault`].
    ///
    /// # Errors
    /// Those of the parts; nothing of the batch is written then.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let sent = self.access.sent;
        self.state.write("write to", |transaction| write(transaction, batch, sent))?;
        self.deliver();
        Ok(())
    }

    /// Takes over a valid spec; the number of its generation. If its digest is not the present one's, it becomes a new generation and
    /// `with` is written along; otherwise nothing is written.
    ///
    /// # Errors
    /// [`StoreError`]; then the present generation stays.
    pub fn accept_spec(&mut self, spec: &AcceptedSpec, at: Timestamp, with: &Batch) -> Result<Generation, StoreError> {
        let sent = self.access.sent;
        let generation = self.state.write("write the spec into", |transaction| {
            let before = generations::newest(transaction)?.map(|(generation, _)| generation);
            let generation = generations::accept(transaction, spec, at)?;
            if before != Some(generation) {
                write(transaction, with, sent)?;
            }
            Ok(generation)
        })?;
        self.deliver();
        Ok(generation)
    }

    /// Keeps readings of an account.
    ///
    /// # Errors
    /// [`StoreError`]; the readings are then not kept, which only a restart would notice.
    pub fn record_usage(&mut self, account: &AccountName, usage: &AccountUsage) -> Result<(), StoreError> {
        self.history.write("write readings into", |transaction| readings::record(transaction, account, usage))
    }

    /// Keeps what an account's poller must know after a restart.
    ///
    /// # Errors
    /// As [`Self::record_usage`].
    pub fn put_poll_state(&mut self, account: &AccountName, state: &serde_json::Value) -> Result<(), StoreError> {
        self.history.write("write a poller's state into", |transaction| readings::put_poll(transaction, account, state))
    }

    /// Keeps since when conditions have been as they are: those that flipped since the last call, and those that are no longer told of.
    ///
    /// # Errors
    /// As [`Self::record_usage`].
    pub fn record_flips(&mut self, flipped: &Flips, gone: &BTreeSet<(ObjectRef, ConditionKind)>) -> Result<(), StoreError> {
        self.history.write("write conditions into", |transaction| flips::record(transaction, flipped, gone))
    }

    /// Forgets what is older or more than is kept. Nothing that is open, and nothing that the memory holds, is ever forgotten.
    ///
    /// # Errors
    /// [`StoreError`]; the two files are pruned one after the other.
    pub fn prune(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.state.write("prune", |transaction| {
            journal::prune(transaction, KEEP_INTENTS, KEEP_SWAPS)?;
            generations::prune(transaction, KEEP_GENERATIONS)
        })?;
        let oldest = now.saturating_sub(KEEP_READINGS).unwrap_or(Timestamp::MIN);
        self.history.write("prune", |transaction| {
            events::prune(transaction, KEEP_EVENTS)?;
            readings::prune(transaction, oldest)
        })
    }

    /// Hands events over to the history. When that fails they wait, and the history says why.
    fn deliver(&mut self) {
        let sent = self.access.sent;
        let Ok(mut waiting) = self.state.read("read events in", events::on_their_way) else { return };
        waiting.retain(|(number, _)| *number > sent);
        let Some(&(last, _)) = waiting.last() else { return };
        let pool = self.access.pool;
        if self.history.write("write events into", |transaction| events::take_over(transaction, pool, &waiting)).is_ok() {
            self.access.sent = last;
        }
    }
}

/// The identity that a state would be made under if there is none, when that is known: the one of a state that was lost.
pub fn former_identity(path: &Path) -> Option<PoolId> {
    identity::read(&StateDir::existing(path).ok()?).ok()?
}

/// Whether the state at `path` is an older version's, which [`Store::open`] brings up to date.
pub fn is_older(path: &Path) -> bool {
    StateDir::existing(path).is_ok_and(|directory| Database::is_older(&directory, &STATE))
}

/// Past events of the state directory at `path`, also while its `state.db` is gone or cannot be read. What had not been handed over to the
/// history is missing then.
///
/// # Errors
/// [`StoreError::HistoryOff`] when there is no history to read, and those of the directory.
pub fn past_events(path: &Path, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
    let history = History::open_read_only(&StateDir::existing(path)?);
    history.read("read events in", |connection| events::query(connection, query))
}

impl Store<Reading> {
    /// Opens the store of the directory at `path`, and makes nothing.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none; [`StoreError::Older`] and [`StoreError::Newer`] for another version's.
    pub fn attach(path: &Path) -> Result<Self, StoreError> {
        let directory = StateDir::existing(path)?;
        let state = Database::open_read_only(&directory, &STATE)?;
        Ok(Self { state, history: History::open_read_only(&directory), access: Reading })
    }
}

impl<Access> Store<Access> {
    /// Everything that decisions rest on, but for the open swap, which is the fold of [`Self::open_swap_events`].
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a row that does not read.
    pub fn memory(&self) -> Result<Memory, StoreError> {
        self.state.read("read", memory::load)
    }

    /// What was begun and has no outcome, oldest first: found at start, it is what a crash interrupted.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn unfinished_intents(&self) -> Result<Vec<(IntentId, Intent)>, StoreError> {
        self.state.read("read intents in", journal::unfinished)
    }

    /// The journal of the open swap, oldest first; empty when none is open.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn open_swap_events(&self) -> Result<Vec<SwapEvent>, StoreError> {
        self.state.read("read the swap in", journal::open_swap_events)
    }

    /// The journal of a swap, open or closed, oldest first; empty when it is not known.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn swap_events(&self, swap: SwapId) -> Result<Vec<SwapEvent>, StoreError> {
        self.state.read("read a swap in", |connection| journal::swap_events(connection, swap))
    }

    /// The newest accepted spec.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn last_good_spec(&self) -> Result<Option<(GenerationEntry, AcceptedSpec)>, StoreError> {
        self.state.read("read the spec in", |connection| generations::spec(connection, None))
    }

    /// The accepted spec of a generation, if it is still kept.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn spec_of(&self, generation: Generation) -> Result<Option<(GenerationEntry, AcceptedSpec)>, StoreError> {
        self.state.read("read a spec in", |connection| generations::spec(connection, Some(generation)))
    }

    /// The generations that are kept, newest first.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn generations(&self) -> Result<Vec<GenerationEntry>, StoreError> {
        self.state.read("read generations in", generations::list)
    }

    /// The command of that id, if it was carried out before.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn handled(&self, id: &str) -> Result<Option<Handled>, StoreError> {
        self.state.read("read requests in", |connection| requests::find(connection, id))
    }

    /// Events in their order.
    ///
    /// # Errors
    /// [`StoreError::HistoryOff`] while there is no history to read.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.history.read("read events in", |connection| events::query(connection, query))
    }

    /// The newest reading of each window, by account.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn usage(&self) -> Result<BTreeMap<AccountName, AccountUsage>, StoreError> {
        self.history.read("read readings in", readings::newest)
    }

    /// The newest `limit` readings of a window since a time, oldest first. A figure that did not change stands there every five minutes.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn usage_course(
        &self,
        account: &AccountName,
        window: &WindowKind,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<WindowReading>, StoreError> {
        self.history.read("read readings in", |connection| readings::course(connection, account, window, since, limit))
    }

    /// What the pollers kept, by account.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn poll_states(&self) -> Result<BTreeMap<AccountName, serde_json::Value>, StoreError> {
        self.history.read("read the pollers' states in", readings::polls)
    }

    /// Since when each condition has been as it is.
    ///
    /// # Errors
    /// As [`Self::events`].
    pub fn flips(&self) -> Result<Flips, StoreError> {
        self.history.read("read conditions in", flips::load)
    }
}

/// Writes the parts of a batch in the order in which they depend on each other.
fn write(transaction: &rusqlite::Transaction<'_>, batch: &Batch, sent: i64) -> Result<(), database::WriteError> {
    journal::end(transaction, &batch.ended)?;
    journal::append_swap(transaction, &batch.swap)?;
    for change in &batch.changes {
        memory::apply(transaction, change)?;
    }
    if let Some(handled) = &batch.handled {
        requests::record(transaction, handled)?;
    }
    events::sent(transaction, sent)?;
    events::send(transaction, &batch.events)
}
