//! A session that nothing is remembered of, although checkpoints of it are there: its state was lost, and it goes on with its conversation
//! instead of beginning a blank one.

use super::{Absorbed, Memory, MemoryChange, SessionRecord};
use crate::{
    model::{Event, EventReason, Now, ObjectRef, SessionName, Severity},
    observed::{FoundCheckpoint, Seen, Snapshot, TmuxView},
    spec::{Session, Spec},
};

/// Binds such sessions to the conversation of their newest good checkpoint, when that has a transcript and no other session has it. What runs
/// in a tmux session of that name is left alone.
pub fn absorb_checkpoints(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> Absorbed {
    let mut absorbed = Absorbed::default();
    let (Some(tmux), None) = (seen.tmux.value(), &memory.swap) else { return absorbed };
    let free = |name: &SessionName| !memory.sessions.contains_key(name) && is_empty(name, tmux, seen, memory);
    let lost = |name: &SessionName| {
        let found = seen.checkpoints.get(name).and_then(Seen::value)?.newest.as_ref()?;
        (free(name) && found.resumable).then_some(found)
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
    let restored: Vec<_> = absorbed
        .changes
        .iter()
        .filter_map(|change| if let MemoryChange::PutSession(name, _) = change { Some(name.clone()) } else { None })
        .collect();
    for session in spec.sessions.values().filter(|session| free(&session.name) && !restored.contains(&session.name)) {
        if let Some(record) = begun_before(spec, seen, memory, session, now) {
            absorbed.changes.push(MemoryChange::PutSession(session.name.clone(), record));
        }
    }
    absorbed
}

/// Whether nothing runs in a session, as far as is known: it has no pane, or one of ours whose agent has ended.
fn is_empty(name: &SessionName, tmux: &TmuxView, seen: &Snapshot, memory: &Memory) -> bool {
    let Some(pane) = tmux.panes.get(name.as_str()) else { return true };
    pane.is_of(memory.pool, name) && seen.agents.get(name).and_then(Seen::value).is_some_and(|agent| agent.process.is_none())
}

/// What a session without a checkpoint began with under the same identity, before the state was lost: its first conversation. If that has a
/// transcript it goes on with it; the CLI would refuse to begin it a second time.
fn begun_before(spec: &Spec, seen: &Snapshot, memory: &Memory, session: &Session, now: Now) -> Option<SessionRecord> {
    let active = memory.active.as_ref().filter(|_| memory.renewed)?;
    seen.checkpoints.get(&session.name).and_then(Seen::value)?;
    let conversation = memory.pool.conversation(&session.name, 1);
    let bound = SessionRecord::bound(conversation, active.account.clone(), spec.start_digest(session), session.workdir.clone(), now.wall);
    Some(SessionRecord { ended: true, ..bound })
}

/// Whether a session may be begun anew: not while what is left of it cannot be looked at, nor before it was looked for.
pub(super) fn may_begin(seen: &Snapshot, memory: &Memory, session: &SessionName) -> Result<(), String> {
    match seen.checkpoints.get(session) {
        Some(Seen::Known(_)) | None if memory.renewed => Err("the state was lost; what it began with is looked for first".to_owned()),
        Some(Seen::Unknown(why)) => {
            Err(format!("nothing is remembered of it, and whether it left a checkpoint cannot be looked at: {why}"))
        }
        Some(Seen::Known(_)) | None => Ok(()),
    }
}

#[cfg(test)]
#[path = "tests/restoring.rs"]
mod tests;
