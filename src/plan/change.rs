//! Changes of the memory, as values: the store writes them and the copy in memory takes them over, so that the two cannot differ.

use std::{collections::BTreeSet, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Active, Attempts, Cordon, Latch, Memory, SessionRecord, Suspension, SwapSummary};
use crate::model::{Generation, ObjectRef, SessionName, SpecDigest};

/// How many closed swaps are remembered for dwell, cooldown and the breaker.
pub const REMEMBERED_SWAPS: usize = 20;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemoryChange {
    /// A spec was accepted as a generation.
    SetSpec(Generation, SpecDigest),
    /// The pool works under this account.
    SetActive(Active),
    /// A session was started, or is bound to another conversation or process.
    PutSession(SessionName, SessionRecord),
    /// A session is no longer ours.
    RemoveSession(SessionName),
    /// A link was made or taken over.
    PutLink(PathBuf),
    /// A link is no longer ours.
    RemoveLink(PathBuf),
    /// Something is latched.
    PutLatch(ObjectRef, Latch),
    /// An operator cleared a latch.
    ClearLatch(ObjectRef),
    /// An object failed or its agent ended.
    PutAttempts(ObjectRef, Attempts),
    /// An object's failures are forgotten.
    ClearAttempts(ObjectRef),
    /// The pool was suspended or resumed.
    SetSuspension(Option<Suspension>),
    /// An object was cordoned.
    PutCordon(ObjectRef, Cordon),
    /// An object was uncordoned.
    RemoveCordon(ObjectRef),
    /// The sessions that the spec does not declare, as of this pass.
    SetRemovalSeen(BTreeSet<SessionName>),
    /// Since when no account has room.
    SetExhausted(Option<Timestamp>),
    /// A swap was closed.
    CloseSwap(SwapSummary),
}

impl Memory {
    /// Takes over one change.
    pub fn apply(&mut self, change: &MemoryChange) {
        match change.clone() {
            MemoryChange::SetSpec(generation, digest) => {
                self.generation = generation;
                self.spec = Some(digest);
            }
            MemoryChange::SetActive(active) => self.active = Some(active),
            MemoryChange::PutSession(name, record) => {
                self.sessions.insert(name, record);
            }
            MemoryChange::RemoveSession(name) => {
                self.sessions.remove(&name);
            }
            MemoryChange::PutLink(path) => {
                self.links.insert(path);
            }
            MemoryChange::RemoveLink(path) => {
                self.links.remove(&path);
            }
            MemoryChange::PutLatch(object, latch) => {
                self.latches.insert(object, latch);
            }
            MemoryChange::ClearLatch(object) => {
                self.latches.remove(&object);
            }
            MemoryChange::PutAttempts(object, attempts) => {
                self.attempts.insert(object, attempts);
            }
            MemoryChange::ClearAttempts(object) => {
                self.attempts.remove(&object);
            }
            MemoryChange::SetSuspension(suspension) => self.suspended = suspension,
            MemoryChange::PutCordon(object, cordon) => {
                self.cordoned.insert(object, cordon);
            }
            MemoryChange::RemoveCordon(object) => {
                self.cordoned.remove(&object);
            }
            MemoryChange::SetRemovalSeen(sessions) => self.removal_seen = sessions,
            MemoryChange::SetExhausted(since) => self.exhausted_since = since,
            MemoryChange::CloseSwap(summary) => {
                self.swap = None;
                self.swaps.push(summary);
                let surplus = self.swaps.len().saturating_sub(REMEMBERED_SWAPS);
                self.swaps.drain(..surplus);
            }
        }
    }
}
