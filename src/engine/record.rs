//! What an effect that took place means for the memory, and how it is told. Pure.

mod tasks;

use jiff::Timestamp;

pub(super) use tasks::{after_doubt, changes as task_changes, untyped};

use crate::{
    model::{Event, EventReason, SessionName, Severity},
    observed::Mark,
    plan::{Action, Active, Effect, Failure, Happened, Launch, LaunchMode, Memory, MemoryChange, Outcome, QueueChange, SessionRecord},
};

/// The changes that follow from a successful effect on anything but a task.
pub(super) fn changes(effect: &Effect, memory: &Memory, at: Timestamp) -> Vec<MemoryChange> {
    match effect {
        Effect::CreateSession { launch, mark } | Effect::RespawnAgent { launch, mark, .. } => vec![started(launch, mark, memory, at)],
        Effect::StopAgent { session, .. } => stopped(session, memory).into_iter().collect(),
        Effect::ReleaseSession { mark, .. } | Effect::CloseSession { mark, .. } => vec![MemoryChange::RemoveSession(mark.session.clone())],
        Effect::RecordActive { account, .. } => vec![MemoryChange::SetActive(Active { account: account.clone(), since: at })],
        // What we made is ours: only that is repaired later, and only by it an unmounted share is told from a new one.
        Effect::CreateLink { path, .. } | Effect::RepointLink { path, .. } | Effect::MergeDirectory { path, .. } => {
            vec![MemoryChange::PutLink(path.clone())]
        }
        Effect::StartServer
        | Effect::InitSharedRoot { .. }
        | Effect::AdoptSharedRoot { .. }
        | Effect::CreateTarget { .. }
        | Effect::PrepareHome { .. }
        | Effect::AdoptSession { .. }
        | Effect::RemoveCheckpoints { .. }
        | Effect::RestoreSession { .. }
        | Effect::TypePrompt { .. }
        | Effect::Queue { .. } => Vec::new(),
    }
}

/// A session was started: it is bound to the conversation from now on, and transcripts are found by the directory in which it began.
pub(super) fn started(launch: &Launch, mark: &Mark, memory: &Memory, at: Timestamp) -> MemoryChange {
    let before = memory.sessions.get(&launch.session);
    let workdir = match (launch.mode, before) {
        (LaunchMode::Resume, Some(record)) => record.workdir.clone(),
        _ => launch.workdir.clone(),
    };
    let record = SessionRecord {
        incarnation: before.map_or(1, |record| record.incarnation),
        spoken: launch.mode == LaunchMode::Resume,
        ..SessionRecord::bound(launch.conversation, launch.account.clone(), mark.digest.clone(), workdir, at)
    };
    MemoryChange::PutSession(launch.session.clone(), record)
}

/// We stopped it: that it is gone is no exit of its own.
pub(super) fn stopped(session: &SessionName, memory: &Memory) -> Option<MemoryChange> {
    let record = memory.sessions.get(session).filter(|record| !record.ended)?;
    Some(MemoryChange::PutSession(session.clone(), SessionRecord { process: None, ended: true, stopped: true, ..record.clone() }))
}

/// A swap has left it without an agent: the swap's doing, and no end of its own.
pub(super) fn stopped_for_swap(session: &SessionName, memory: &Memory) -> Option<MemoryChange> {
    let record = memory.sessions.get(session).filter(|record| !record.stopped)?;
    Some(MemoryChange::PutSession(session.clone(), SessionRecord { process: None, ended: true, stopped: true, ..record.clone() }))
}

/// What only an interrupted intent knows: that a conversation may have begun. Without it, the next start would begin it a second time.
pub(super) fn after_crash(effect: &Effect, memory: &Memory, at: Timestamp) -> Option<MemoryChange> {
    match effect {
        Effect::CreateSession { launch, mark } if !memory.sessions.contains_key(&launch.session) => Some(started(launch, mark, memory, at)),
        _ => None,
    }
}

/// The outcome that is written for an interrupted intent.
pub(super) fn interrupted() -> Outcome {
    Outcome::Failed(Failure { happened: Happened::CannotTell, chain: vec!["the process ended while this was under way".to_owned()] })
}

/// How a change is told; `None` when what it follows from was told already.
pub(super) fn event(action: &Action, effect: &Effect, memory: &Memory, at: Timestamp) -> Option<Event> {
    let (reason, severity) = tell(action, effect, memory)?;
    let message = tasks::told(action, effect, memory).unwrap_or_else(|| format!("{} ({})", action.what, action.why));
    Some(Event { at, object: action.object.clone(), reason, severity, message })
}

fn tell(action: &Action, effect: &Effect, memory: &Memory) -> Option<(EventReason, Severity)> {
    let reason = match effect {
        Effect::StartServer => EventReason::ServerStarted,
        Effect::InitSharedRoot { .. } | Effect::AdoptSharedRoot { .. } | Effect::CreateTarget { .. } | Effect::CreateLink { .. } => {
            EventReason::LinkCreated
        }
        Effect::RepointLink { .. } => EventReason::LinkRepaired,
        Effect::MergeDirectory { .. } => EventReason::DirectoryMerged,
        Effect::PrepareHome { .. } => EventReason::HomePrepared,
        Effect::CreateSession { .. } => EventReason::SessionStarted,
        Effect::RespawnAgent { .. } => EventReason::SessionRestarted,
        Effect::StopAgent { .. } => EventReason::SessionStopped,
        Effect::AdoptSession { .. } => EventReason::SessionAdopted,
        Effect::ReleaseSession { .. } => EventReason::SessionReleased,
        Effect::CloseSession { .. } => EventReason::SessionPruned,
        Effect::RecordActive { .. } => EventReason::AccountActivated,
        Effect::Queue { change: QueueChange::Create, .. } => EventReason::QueueCreated,
        Effect::RestoreSession { .. } => EventReason::CheckpointRestored,
        Effect::RemoveCheckpoints { .. } | Effect::Queue { change: QueueChange::Archive { .. }, .. } => EventReason::Tidied,
        Effect::TypePrompt { .. } | Effect::Queue { .. } => return tasks::tell(action, effect, memory),
    };
    Some((reason, Severity::Normal))
}
