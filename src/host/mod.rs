//! The outside: tmux, files, processes, the agent's CLI, the network, the clock. One module for each.
//!
//! # Guarantees
//! Everything is bounded in time and size. An error is classified and carries what it was about. A look that fails makes its facts
//! [`Unknown`](crate::observed::Seen::Unknown); it never makes them absent.
//!
//! # Does not
//! Decide or retry: the loop does both.

pub mod agent;
pub mod checkpoint;
pub mod intake;
pub mod links;
pub mod process;
pub mod queue;
mod ready;
pub mod real;
pub mod specfile;
pub mod tmux;
pub mod usage;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    model::{AccountName, Monotonic, Now, PollOutcome, PoolId, SessionName},
    observed::{Checkpoint, EndedCheckpoint, Snapshot, TranscriptMark},
    plan::{Effect, Memory, Outcome},
    spec::{QuotaSource, Spec},
};

/// What the engine is given: one implementation is the real host, one the simulated.
#[expect(async_fn_in_trait, reason = "the engine awaits it in place and never sends it to another thread")]
pub trait Host {
    /// Takes over a new spec: sockets, homes, directories to watch.
    fn configure(&mut self, spec: &Spec, pool: PoolId);

    /// Both clocks.
    fn now(&self) -> Now;

    /// Refreshes the parts of `seen` that `look` names, side by side, each within its own deadline. What cannot be seen becomes unknown.
    /// `memory` tells which conversation each session is bound to.
    async fn observe(&mut self, memory: &Memory, look: &Look, seen: &mut Snapshot);

    /// Carries out effects that are independent of each other, as much at the same time as it can, and answers one outcome for each, in
    /// order. Not cancelled half-way: the caller awaits it to its end, which its deadlines bound.
    async fn perform(&mut self, effects: &[Effect]) -> Vec<Outcome>;

    /// Starts to read an account's usage; the readings come with a later look, announced by [`Wake::Readings`].
    fn start_poll(&mut self, account: &AccountName, source: QuotaSource);

    /// What came of the readings that ended since the last call.
    fn ended_polls(&mut self) -> Vec<(AccountName, QuotaSource, PollOutcome)>;

    /// Starts to take checkpoints of which `drafts` hold what is known already; what came of them is announced by [`Wake::Checkpoints`].
    fn start_checkpoints(&mut self, drafts: Vec<Checkpoint>);

    /// What came of the checkpoints that ended since the last call.
    fn ended_checkpoints(&mut self) -> Vec<EndedCheckpoint>;

    /// Waits until no checkpoint is under way, at most for `within`.
    async fn finish_checkpoints(&mut self, within: Duration);

    /// Waits until something may have changed, or until `deadline`. Cancel-safe: nothing is lost when the future is dropped.
    async fn wake(&mut self, deadline: Monotonic) -> BTreeSet<Wake>;
}

/// What to look at. Facts that are not named keep their value and their age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// List the tmux server.
    pub tmux: bool,
    /// Processes, register and hooks of the agents that changed since the last look.
    pub agents: bool,
    /// The homes: identity, keys, login.
    pub homes: bool,
    /// Shared root, links and the active link.
    pub links: bool,
    /// The queues of the projects.
    pub queues: bool,
    /// Which checkpoints there are.
    pub checkpoints: bool,
    /// Readings that came in.
    pub usage: bool,
    /// Trust no cache: read all agents again.
    pub everything: bool,
    /// Transcripts of these sessions, each with the mark whose bytes must be kept, if one was taken.
    pub transcripts: BTreeMap<SessionName, Option<TranscriptMark>>,
}

impl Look {
    /// Everything but transcripts.
    pub fn all() -> Self {
        Self {
            tmux: true,
            agents: true,
            homes: true,
            links: true,
            queues: true,
            checkpoints: true,
            usage: true,
            everything: true,
            transcripts: BTreeMap::new(),
        }
    }
}

/// Why the engine was woken. It only says where to look again, never what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// tmux said that something was made or closed, or its connection broke.
    Tmux,
    /// An agent's process ended, its register changed, or a hook reported.
    Agents,
    /// Something changed in a home.
    Homes,
    /// Something changed among the links or in the shared root.
    Links,
    /// Something changed in a queue.
    Queues,
    /// Readings came in.
    Readings,
    /// Checkpoints ended.
    Checkpoints,
    /// A reading that was started has ended, and said nothing new.
    Polls,
    /// The deadline passed.
    Timer,
}
