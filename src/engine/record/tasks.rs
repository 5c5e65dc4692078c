//! What an effect on a task means for its record. Pure.

use jiff::Timestamp;

use crate::{
    model::{EventReason, Now, ObjectRef, Severity, TaskId},
    observed::{Marker, Snapshot},
    plan::{
        Action, AttemptVerdict, Effect, Happened, Memory, MemoryChange, Outcome, QueueChange, TaskAttempt, TaskRecord, Verb, tasks::Untyped,
    },
};

/// Attempts of a task that are remembered; the oldest go first.
const MAX_ATTEMPTS: usize = 50;

/// The changes that follow from a successful effect on a task.
pub(crate) fn changes(object: &ObjectRef, effect: &Effect, memory: &Memory, at: Timestamp) -> Vec<MemoryChange> {
    let ObjectRef::Task(task) = object else { return Vec::new() };
    let record = memory.tasks.get(task);
    match effect {
        Effect::Queue { change: QueueChange::Finish { .. } | QueueChange::Fail { .. }, .. } => forget(task, memory),
        Effect::Queue { change: QueueChange::Release { .. }, .. } => {
            let is_over = record.and_then(TaskRecord::last_verdict).is_some_and(AttemptVerdict::ends_task);
            if is_over { forget(task, memory) } else { Vec::new() }
        }
        _ => after_doubt(object, effect, memory, at),
    }
}

/// The changes that follow from an effect that may have taken place: a marker may stand, a prompt may have been typed. What is remembered too much is
/// put right by looking; what is forgotten would be done twice.
pub(crate) fn after_doubt(object: &ObjectRef, effect: &Effect, memory: &Memory, at: Timestamp) -> Vec<MemoryChange> {
    let ObjectRef::Task(task) = object else { return Vec::new() };
    let record = memory.tasks.get(task);
    match effect {
        Effect::Queue { change: QueueChange::Claim { marker, .. }, .. } => {
            claimed(record, marker, memory).map(|record| MemoryChange::PutTask(task.clone(), record)).into_iter().collect()
        }
        Effect::TypePrompt { claim, .. } => {
            let Some(mut record) = record.filter(|record| record.open().is_some()).cloned() else { return Vec::new() };
            let Some(attempt) = record.attempts.last_mut() else { return Vec::new() };
            let present = attempt.prompt_claim();
            if *claim == present.again() {
                // Only a turn that came to its end by itself uses the question up.
                let asked = if attempt.cut_off_at.take().is_some() { &mut attempt.resumed } else { &mut attempt.follow_ups };
                *asked = asked.saturating_add(1);
                (attempt.typed, attempt.taken_at) = (0, None);
            } else if *claim != present {
                return Vec::new();
            }
            attempt.typed = attempt.typed.saturating_add(1);
            attempt.typed_at = Some(at);
            vec![MemoryChange::PutTask(task.clone(), record)]
        }
        _ => Vec::new(),
    }
}

/// Which sessions could not be typed into, after a batch of prompts; `None` when nothing changed.
pub(crate) fn untyped<'a>(
    done: impl Iterator<Item = (&'a Effect, &'a Outcome)>,
    memory: &Memory,
    seen: &Snapshot,
    now: Now,
) -> Option<MemoryChange> {
    let mut next = memory.untyped.clone();
    for (effect, outcome) in done {
        let Effect::TypePrompt { session, process, .. } = effect else { continue };
        match outcome.failure().filter(|failure| failure.happened == Happened::No) {
            Some(failure) => {
                let untyped = Untyped::after(memory, seen, session, *process, failure.message(), now);
                drop(next.insert(session.clone(), untyped));
            }
            None => drop(next.remove(session)),
        }
    }
    (next != memory.untyped).then_some(MemoryChange::SetUntyped(next))
}

/// The record with the attempt that a marker begins; `None` when it is there already.
fn claimed(record: Option<&TaskRecord>, marker: &Marker, memory: &Memory) -> Option<TaskRecord> {
    let mut record = record.cloned().unwrap_or_default();
    if record.attempts.iter().any(|attempt| attempt.claim == marker.claim) {
        return None;
    }
    let conversation = memory.sessions.get(&marker.session)?.conversation;
    // An attempt that was never asked for says nothing about the task.
    record.attempts.retain(|attempt| attempt.typed > 0 || attempt.end.is_none());
    let surplus = (record.attempts.len() + 1).saturating_sub(MAX_ATTEMPTS);
    record.attempts.drain(..surplus);
    record.not_before = None;
    record.gone_since = None;
    record.attempts.push(TaskAttempt::begun(marker, conversation));
    Some(record)
}

fn forget(task: &TaskId, memory: &Memory) -> Vec<MemoryChange> {
    if memory.tasks.contains_key(task) { vec![MemoryChange::RemoveTask(task.clone())] } else { Vec::new() }
}

/// How an effect on a task is told. The end of an attempt is told when it is learnt, not when its marker goes.
pub(super) fn tell(action: &Action, effect: &Effect, memory: &Memory) -> Option<(EventReason, Severity)> {
    let ObjectRef::Task(task) = &action.object else { return None };
    let record = memory.tasks.get(task);
    let told = match effect {
        Effect::TypePrompt { claim, .. } => {
            let attempt = record.and_then(TaskRecord::open)?;
            let reason = if attempt.cut_off_at.is_some() { EventReason::TaskResumed } else { EventReason::TaskFollowedUp };
            return (*claim == attempt.prompt_claim().again()).then_some((reason, Severity::Normal));
        }
        Effect::Queue { change, .. } => match change {
            QueueChange::Claim { .. } => (EventReason::TaskClaimed, Severity::Normal),
            QueueChange::Release { .. } if action.verb == Verb::Tidy => (EventReason::Tidied, Severity::Normal),
            QueueChange::Finish { .. } => (EventReason::TaskDone, Severity::Normal),
            QueueChange::Fail { .. } if record.is_none() => (EventReason::TaskRejected, Severity::Warning),
            QueueChange::Fail { .. } => (EventReason::TaskFailed, Severity::Warning),
            QueueChange::Retry { .. } => (EventReason::TaskRetried, Severity::Normal),
            QueueChange::Move { .. } => (EventReason::TaskReleased, Severity::Normal),
            QueueChange::Create | QueueChange::Renew { .. } | QueueChange::Release { .. } | QueueChange::Archive { .. } => return None,
        },
        _ => return None,
    };
    Some(told)
}
