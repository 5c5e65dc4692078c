//! Checkpoints in the world: kept without delay, and as the real host keeps them.

use std::path::Path;

use super::{
    World,
    act::{Tried, refused},
};
use crate::{
    host::Wake,
    model::{ConversationId, Now, SessionName},
    observed::{
        Checkpoint, CheckpointCause, CheckpointEnd, CheckpointId, CheckpointsView, EndedCheckpoint, FoundCheckpoint, Seen, Snapshot,
    },
    plan::{Memory, Outcome},
    spec::Spec,
};

impl World {
    /// The checkpoints of a session, oldest first.
    pub fn checkpoints(&self, session: &SessionName) -> &[(CheckpointId, Checkpoint)] {
        self.checkpoints.get(session).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no room for checkpoints from now on.
    pub const fn set_disk_full(&mut self, full: bool) {
        self.disk_full = full;
    }

    pub(super) fn take_checkpoint(&mut self, mut draft: Checkpoint) {
        let root = self.spec.as_ref().map(|spec| spec.shared.root.clone()).unwrap_or_default();
        let path = Self::transcript_path(&root, &draft.workdir, draft.conversation);
        draft.transcript = self.transcript_mark(&path, usize::MAX);
        if draft.transcript.is_none() && draft.why != CheckpointCause::ByHand {
            self.ended_checkpoints.push(EndedCheckpoint { checkpoint: draft, how: CheckpointEnd::Nothing, refused: Vec::new() });
            self.wakes.insert(Wake::Checkpoints);
            return;
        }
        let taken = self.checkpoints.entry(draft.session.clone()).or_default();
        let digest = draft.digest();
        let how = match taken.last() {
            Some((id, newest)) if newest.digest() == digest => CheckpointEnd::Unchanged(id.clone()),
            _ if self.disk_full => CheckpointEnd::Failed("no room".to_owned()),
            newest => {
                let after = newest.and_then(|(id, _)| id.taken_at().checked_add(std::time::Duration::from_millis(1)).ok());
                let id = CheckpointId::new(after.map_or(draft.taken_at, |after| after.max(draft.taken_at)), &digest);
                taken.push((id.clone(), draft.clone()));
                CheckpointEnd::Written(id)
            }
        };
        self.ended_checkpoints.push(EndedCheckpoint { checkpoint: draft, how, refused: Vec::new() });
        self.wakes.insert(Wake::Checkpoints);
    }

    pub(super) fn remove_checkpoints(&mut self, session: &SessionName, ids: &[CheckpointId]) -> Outcome {
        let Some(taken) = self.checkpoints.get_mut(session) else { return Outcome::Unchanged };
        let before = taken.len();
        taken.retain(|(id, _)| !ids.contains(id));
        if taken.len() == before { Outcome::Unchanged } else { Outcome::Changed }
    }

    pub(super) fn check_restore(&self, conversation: ConversationId, workdir: &Path) -> Tried {
        let root = self.spec.as_ref().map(|spec| spec.shared.root.clone()).unwrap_or_default();
        if self.transcript_mark(&Self::transcript_path(&root, workdir, conversation), usize::MAX).is_none() {
            return Err(refused("the conversation has no transcript"));
        }
        let open = self.processes.values().filter(|process| process.is_alive()).filter_map(|process| process.agent.as_ref());
        if open.into_iter().any(|agent| agent.conversation == conversation) {
            return Err(refused("the conversation is open in another process"));
        }
        Ok(Outcome::Changed)
    }

    pub(super) fn show_checkpoints(&self, spec: &Spec, memory: &Memory, now: Now, seen: &mut Snapshot) {
        let is_asked = |name: &SessionName| memory.active.is_none() || !memory.sessions.contains_key(name);
        let unknown = spec.sessions.keys().filter(|name| is_asked(name));
        let names: std::collections::BTreeSet<_> = self.checkpoints.keys().chain(unknown).cloned().collect();
        let at_a_task: std::collections::BTreeSet<_> = memory.open_attempts().map(|(_, attempt)| &attempt.session).collect();
        let view = |name: &SessionName| {
            let taken = self.checkpoints(name);
            let newest = taken.last().filter(|_| is_asked(name) || at_a_task.contains(name)).map(|(id, checkpoint)| {
                let path = Self::transcript_path(&spec.shared.root, &checkpoint.workdir, checkpoint.conversation);
                let resumable = self.transcript_mark(&path, usize::MAX).is_some();
                FoundCheckpoint { id: id.clone(), checkpoint: checkpoint.clone(), resumable, refused: Vec::new() }
            });
            CheckpointsView { taken: taken.iter().map(|(id, _)| id.clone()).collect(), newest }
        };
        seen.checkpoints = names.into_iter().map(|name| (name.clone(), Seen::known(view(&name), now))).collect();
    }
}
