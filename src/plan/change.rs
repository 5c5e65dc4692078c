//! Changes of the memory, as values: the engine applies one to its copy, the store writes the same one, and so the two cannot differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::Timestamp;

use super::{
    Active, Attempts, Cordon, Latch, LoginWarning, Memory, RefusedLogin, ServerRecord, SessionRecord, Suspension, SwapSummary, TaskRecord,
    tasks::Untyped,
};
use crate::model::{AccountName, Generation, ObjectRef, SessionName, SpecDigest, TaskId};

/// One change of the [`Memory`]. Each one says what is so afterwards, never by how much: applied twice, it changes nothing the second time.
///
/// Two parts of the memory have ways of their own: the spec's generation ([`Memory::accept_spec`]), since its texts go with it, and the
/// open swap, which is the fold of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryChange {
    /// The pool works under an account.
    SetActive(Active),
    /// A session was started, taken over, or has another process.
    PutSession(SessionName, SessionRecord),
    /// A session was released, or stopped for good.
    RemoveSession(SessionName),
    /// A link is ours.
    PutLink(PathBuf),
    /// A link is no longer ours.
    RemoveLink(PathBuf),
    /// An object is latched.
    PutLatch(ObjectRef, Latch),
    /// An operator cleared a latch.
    ClearLatch(ObjectRef),
    /// An object failed, or its agent ended.
    PutAttempts(ObjectRef, Attempts),
    /// An object succeeded, or a new spec gives it a new chance.
    ClearAttempts(ObjectRef),
    /// The pool is suspended, or no longer.
    SetSuspension(Option<Suspension>),
    /// An operator took an object out of use.
    PutCordon(ObjectRef, Cordon),
    /// An operator brought an object back into use.
    RemoveCordon(ObjectRef),
    /// The sessions that this pass found missing from the spec, all of them.
    SetRemovalSeen(BTreeSet<SessionName>),
    /// The undeclared sessions that may be stopped at an operator's word, all of them.
    SetPruneConfirmed(BTreeSet<SessionName>),
    /// No account has room since then, or one has room again.
    SetExhausted(Option<Timestamp>),
    /// Room came back then.
    SetRoomSince(Option<Timestamp>),
    /// Another tmux server than before was seen, or none any more.
    SetServer(ServerRecord),
    /// The logins that agents say are refused, all of them.
    SetRefusedLogins(BTreeMap<AccountName, RefusedLogin>),
    /// A task was claimed, or its attempt went on.
    PutTask(TaskId, TaskRecord),
    /// A task is over; what became of it is kept for people.
    CloseTask(TaskId, TaskRecord),
    /// A task is none of our business any more, with all that became of it.
    RemoveTask(TaskId),
    /// What became of a task that is over is of no interest any more.
    ForgetTask(TaskId),
    /// The sessions that could not be typed into, all of them.
    SetUntyped(BTreeMap<SessionName, Untyped>),
    /// These logins were warned of, and no others.
    SetLoginsWarned(BTreeMap<AccountName, LoginWarning>),
    /// The swap of that id ended; it is no longer open.
    CloseSwap(SwapSummary),
    /// An operator cleared the pool: swaps that were closed before this count no more.
    ClearSwaps(Timestamp),
}

impl Memory {
    /// How many closed swaps are remembered.
    pub const CLOSED_SWAPS: usize = 20;

    /// Makes one change.
    pub fn apply(&mut self, change: &MemoryChange) {
        match change {
            MemoryChange::SetActive(active) => self.active = Some(active.clone()),
            MemoryChange::PutSession(name, record) => drop(self.sessions.insert(name.clone(), record.clone())),
            MemoryChange::RemoveSession(name) => drop(self.sessions.remove(name)),
            MemoryChange::PutLink(path) => drop(self.links.insert(path.clone())),
            MemoryChange::RemoveLink(path) => drop(self.links.remove(path)),
            MemoryChange::PutLatch(object, latch) => drop(self.latches.insert(object.clone(), latch.clone())),
            MemoryChange::ClearLatch(object) => drop(self.latches.remove(object)),
            MemoryChange::PutAttempts(object, attempts) => drop(self.attempts.insert(object.clone(), attempts.clone())),
            MemoryChange::ClearAttempts(object) => drop(self.attempts.remove(object)),
            MemoryChange::SetSuspension(suspension) => self.suspended.clone_from(suspension),
            MemoryChange::PutCordon(object, cordon) => drop(self.cordoned.insert(object.clone(), cordon.clone())),
            MemoryChange::RemoveCordon(object) => drop(self.cordoned.remove(object)),
            MemoryChange::SetRemovalSeen(sessions) => self.removal_seen.clone_from(sessions),
            MemoryChange::SetPruneConfirmed(sessions) => self.prune_confirmed.clone_from(sessions),
            MemoryChange::SetExhausted(since) => self.exhausted_since = *since,
            MemoryChange::SetRoomSince(at) => self.room_since = *at,
            MemoryChange::SetServer(server) => self.server = Some(server.clone()),
            MemoryChange::SetRefusedLogins(logins) => self.refused_logins.clone_from(logins),
            MemoryChange::PutTask(task, record) => drop(self.tasks.insert(task.clone(), record.clone())),
            MemoryChange::CloseTask(task, record) => {
                self.tasks.remove(task);
                self.past_tasks.insert(task.clone(), record.clone());
            }
            MemoryChange::RemoveTask(task) => {
                self.tasks.remove(task);
                self.past_tasks.remove(task);
            }
            MemoryChange::ForgetTask(task) => drop(self.past_tasks.remove(task)),
            MemoryChange::SetUntyped(sessions) => self.untyped.clone_from(sessions),
            MemoryChange::SetLoginsWarned(warned) => self.logins_warned.clone_from(warned),
            MemoryChange::CloseSwap(summary) => self.close_swap(summary),
            MemoryChange::ClearSwaps(at) => self.swaps_cleared_at = Some(*at),
        }
    }

    /// Takes over the digest of the effective spec. The generation counts only real changes: the same digest keeps it.
    pub fn accept_spec(&mut self, digest: &SpecDigest) -> Generation {
        if self.spec.as_ref() != Some(digest) {
            self.generation = Generation(self.generation.0 + 1);
            self.spec = Some(digest.clone());
        }
        self.generation
    }

    /// Swap ids only grow, so their order is that in which the swaps were closed.
    fn close_swap(&mut self, summary: &SwapSummary) {
        if self.swap.as_ref().is_some_and(|open| open.plan.id == summary.id) {
            self.swap = None;
        }
        self.swaps.retain(|closed| closed.id != summary.id);
        self.swaps.push(summary.clone());
        self.swaps.sort_by_key(|closed| closed.id);
        let surplus = self.swaps.len().saturating_sub(Self::CLOSED_SWAPS);
        self.swaps.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{PoolId, SwapId},
        swap::SwapVerdict,
    };

    fn summary(id: u64) -> SwapSummary {
        SwapSummary {
            id: SwapId(id),
            from: AccountName::new("a").expect("a name"),
            to: AccountName::new("b").expect("a name"),
            window: None,
            from_resets_at: None,
            verdict: SwapVerdict::Committed,
            closed_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_the_newest_closed_swaps_are_kept() {
        let mut memory = Memory::new(PoolId(Uuid::nil()));
        for id in 1..=25 {
            memory.apply(&MemoryChange::CloseSwap(summary(id)));
        }
        assert_eq!(memory.swaps.iter().map(|swap| swap.id.0).collect::<Vec<_>>(), (6..=25).collect::<Vec<_>>());
        memory.apply(&MemoryChange::CloseSwap(summary(25)));
        assert_eq!(memory.swaps.len(), Memory::CLOSED_SWAPS, "closed twice is closed once");
    }

    #[test]
    fn a_generation_counts_changes_and_not_acceptances() {
        let mut memory = Memory::new(PoolId(Uuid::nil()));
        let (a, b) = (SpecDigest("a".to_owned()), SpecDigest("b".to_owned()));
        let seen = [&a, &a, &b, &a].map(|digest| memory.accept_spec(digest).0);
        assert_eq!(seen, [1, 1, 2, 3]);
    }
}
