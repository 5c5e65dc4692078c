//! A session that nothing is remembered of, although checkpoints of it are there: its state was lost, and it goes on with its conversation
//! instead of beginning a blank one.

use super::{Absorbed, Memory, MemoryChange, SessionRecord};
use crate::{
    model::{Event, EventReason, Now, ObjectRef, SessionName, Severity},
    observed::{FoundCheckpoint, Seen, Snapshot},
    spec::Spec,
};

/// Binds such sessions to the conversation of their newest good checkpoint, when that has a transcript and no other session has it. What runs
/// in a tmux session of that name is left alone.
pub fn absorb_checkpoints(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> Absorbed {
    let mut absorbed = Absorbed::default();
    let (Some(tmux), None) = (seen.tmux.value(), &memory.swap) else { return absorbed };
    let lost = |name: &SessionName| {
        let found = seen.checkpoints.get(name).and_then(Seen::value)?.newest.as_ref()?;
        let free = !memory.sessions.contains_key(name) && !tmux.panes.contains_key(name.as_str()) && found.resumable;
        free.then_some(found)
    };
    let found: Vec<_> = spec.sessions.values().filter_map(|session| Some((session, lost(&session.name)?))).collect();
    for (session, FoundCheckpoint { id, checkpoint, refused, .. }) in &found {
        let conversation = checkpoint.conversation;
        let rivals = found.iter().filter(|(_, other)| other.checkpoint.conversation == conversation).count();
        if rivals > 1 || memory.sessions.values().any(|record| record.conversation == conversation) {
            continue;
        }
        let object = ObjectRef::Session(session.name.clone());
        let mut tell =
            |reason, severity, message| absorbed.events.push(Event { at: now.wall, object: object.clone(), reason, severity, message });
        for why in refused {
            tell(EventReason::CheckpointRefused, Severity::Warning, why.clone());
        }
        let message = format!("nothing else is known of it: bound to conversation {conversation} of checkpoint {id}");
        tell(EventReason::CheckpointRestored, Severity::Warning, message);
        let (account, workdir) = (checkpoint.account.clone(), checkpoint.workdir.clone());
        let record = SessionRecord {
            ended: true,
            spoken: true,
            ..SessionRecord::bound(conversation, account, spec.start_digest(session), workdir, now.wall)
        };
        absorbed.changes.push(MemoryChange::PutSession(session.name.clone(), record));
    }
    absorbed
}

/// Whether a session may be begun anew: not while what is left of it cannot be looked at.
pub(super) fn may_begin(seen: &Snapshot, session: &SessionName) -> Result<(), String> {
    match seen.checkpoints.get(session) {
        Some(Seen::Unknown(why)) => {
            Err(format!("nothing is remembered of it, and whether it left a checkpoint cannot be looked at: {why}"))
        }
        Some(Seen::Known(_)) | None => Ok(()),
    }
}

#[cfg(test)]
#[path = "tests/restoring.rs"]
mod tests;
