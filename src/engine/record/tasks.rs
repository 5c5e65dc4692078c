//! What an effect on a task means for its record. Pure.

use jiff::Timestamp;

use crate::{
    model::{EventReason, Now, ObjectRef, Severity, TaskId},
    observed::{Marker, Snapshot},
    plan::{
        Action, AttemptVerdict, Effect, Happened, Memory, MemoryChange, Outcome, QueueChange, TaskAttempt, TaskRecord, Verb, count,
        tasks::{Untyped, close_task},
    },
};

/// Attempts of a task that are remembered; the oldest go first.
const MAX_ATTEMPTS: usize = 50;

/// The changes that follow from a successful effect on a task.
pub(crate) fn changes(object: &ObjectRef, effect: &Effect, memory: &Memory, at: Timestamp) -> Vec<MemoryChange> {
    let ObjectRef::Task(task) = object else { return Vec::new() };
    let record = memory.tasks.get(task);
    match effect {
        Effect::Queue { change: QueueChange::Finish { .. }, .. } => forget(task, memory, at, AttemptVerdict::Done, "its turn ended"),
        Effect::Queue { change: QueueChange::Fail { .. }, .. } => {
            forget(task, memory, at, AttemptVerdict::Undone, "it was put into failed/")
        }
        Effect::Queue { change: QueueChange::Release { .. }, .. } => {
            match record.and_then(TaskRecord::last_verdict).filter(|how| how.ends_task()) {
                Some(how) => forget(task, memory, at, how, "it is over"),
                None => Vec::new(),
            }
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

fn forget(task: &TaskId, memory: &Memory, at: Timestamp, how: AttemptVerdict, message: &str) -> Vec<MemoryChange> {
    memory.tasks.get(task).map(|record| close_task(task, record, at, how, message)).into_iter().collect()
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

/// What an effect on a queue was, as an event says it: what happened, not what was to be done.
pub(super) fn told(action: &Action, effect: &Effect, memory: &Memory) -> Option<String> {
    let why = &action.why;
    let record = if let ObjectRef::Task(task) = &action.object { memory.tasks.get(task) } else { None };
    let open = record.and_then(TaskRecord::open);
    Some(match effect {
        Effect::RemoveCheckpoints { session, checkpoints } => {
            let oldest = checkpoints.first().map(|id| format!(", the oldest of {:.0}", id.taken_at())).unwrap_or_default();
            format!("{} of {session} removed{oldest} ({why})", count(checkpoints.len(), "checkpoint"))
        }
        Effect::TypePrompt { session, claim, .. } => format!("session {session} was asked once more, claim {claim} ({why})"),
        Effect::Queue { change, .. } => match change {
            QueueChange::Create => format!("its queue was made ({why})"),
            QueueChange::Claim { marker, .. } => {
                let again = if open.is_some_and(|open| open.claim == marker.claim) { "marked again" } else { "claimed" };
                let Marker { session, attempt, claim, lease_until, .. } = marker;
                format!("{again} for session {session}: attempt {attempt}, claim {claim}, until {lease_until:.0}")
            }
            QueueChange::Release { .. } => format!("its marker was taken away ({why})"),
            QueueChange::Finish { claim, .. } => {
                let by = open.map_or_else(|| "(".to_owned(), |open| format!("session {} (", open.session));
                format!("done by {by}claim {claim}): its turn ended, and its file was moved to done/")
            }
            QueueChange::Fail { .. } if record.is_none() => format!("refused, and put into failed/ ({why})"),
            QueueChange::Fail { .. } => format!("put into failed/ ({why})"),
            QueueChange::Archive { month, tasks } => format!("{} done in {month} archived ({why})", count(tasks.len(), "task")),
            QueueChange::Renew { .. } | QueueChange::Retry { .. } | QueueChange::Move { .. } => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::record::event,
        model::EventReason,
        observed::FileIdentity,
        plan::{
            Disruption,
            tests::{
                tasks::{task, with_tasks},
                world::{at, session},
            },
        },
    };

    fn told(name: &str, verb: Verb, change: QueueChange) -> (EventReason, String) {
        let memory = with_tasks().memory;
        let effect = change.at("/src/api".as_ref());
        let action = Action {
            object: ObjectRef::Task(task(name)),
            verb,
            what: "do it".to_owned(),
            why: "so it is".to_owned(),
            disruption: Disruption::None,
            effect: Some(effect.clone()),
            relies_on: None,
        };
        let event = event(&action, &effect, &memory, at(0).wall).expect("it is told");
        (event.reason, event.message)
    }

    #[test]
    fn each_attempt_is_told_as_one_of_its_own() {
        let claimed = |attempt: u32| {
            let claim = crate::model::ClaimId(format!("c{attempt}"));
            let marker = Marker { session: session("s-0"), attempt, claim, claimed_at: at(0).wall, lease_until: at(600).wall };
            let expect = FileIdentity { device: 1, inode: 1, length: 1, modified: 0 };
            told("two words.md", Verb::Dispatch, QueueChange::Claim { task: task("two words.md").name, expect, marker })
        };
        let (first, second) = (claimed(1), claimed(2));
        assert_ne!(first, second, "the second is not counted as the first once more");
        assert_eq!(
            first,
            (EventReason::TaskClaimed, "claimed for session s-0: attempt 1, claim c1, until 2027-01-15T08:10:00Z".to_owned())
        );
    }

    #[test]
    fn events_tell_what_happened() {
        let name = |text: &str| task(text).name;
        let fail = |text: &str| QueueChange::Fail { task: name(text), claim: None, reason: String::new() };
        let finish = QueueChange::Finish { task: name("login.md"), claim: crate::model::ClaimId("c2".to_owned()) };
        assert_eq!(
            told("login.md", Verb::Settle, finish),
            (EventReason::TaskDone, "done by session s-0 (claim c2): its turn ended, and its file was moved to done/".to_owned())
        );
        assert_eq!(
            told("x.md", Verb::Settle, fail("x.md")),
            (EventReason::TaskRejected, "refused, and put into failed/ (so it is)".to_owned())
        );
        assert_eq!(told("login.md", Verb::Settle, fail("login.md")), (EventReason::TaskFailed, "put into failed/ (so it is)".to_owned()));
        let release = QueueChange::Release { task: name("x.md"), claim: None };
        assert_eq!(told("x.md", Verb::Tidy, release), (EventReason::Tidied, "its marker was taken away (so it is)".to_owned()));
    }
}
