//! Markers of ours that nothing is remembered of: the state was lost, or a crash came between marker and record.
//!
//! A claim is made of what stands beside it in the marker, and of the pool's identity. So a marker shows by itself whether it is ours.

use jiff::Timestamp;

use super::{MAX_TYPED, TaskGrounds};
use crate::{
    model::{ClaimId, EventReason, ObjectRef, PoolId, ProjectName, SessionName, Severity, TaskId, TaskName},
    observed::{Marker, MarkerView, QueueView},
    plan::{Absorbed, MemoryChange, TaskAttempt, TaskRecord},
};

/// More prompts than an attempt has: most of them come [`super::MAX_OUTAGE`] apart.
const MAX_PROMPTS: u32 = 256;

/// The claim of an attempt of a pool. Another attempt at a task of the same name is never taken for it, however much is forgotten in between.
pub(super) fn claim_of(pool: PoolId, task: &TaskId, session: &SessionName, attempt: u32, at: Timestamp) -> ClaimId {
    ClaimId::of(task, session, attempt, &format!("{pool}\n{}", at.as_nanosecond()))
}

/// Whether a marker is of an attempt of this pool.
pub(super) fn is_ours(pool: PoolId, task: &TaskId, marker: &Marker) -> bool {
    claim_of(pool, task, &marker.session, marker.attempt, marker.claimed_at) == marker.claim
}

/// Takes up attempts by their markers. One whose session is declared waits until it is known which conversation that session has.
pub(super) fn recognise(grounds: &TaskGrounds<'_>, absorbed: &mut Absorbed) {
    for project in &grounds.spec.projects {
        let Some((queue, _)) = grounds.queue(&project.name).filter(|(queue, _)| queue.exists) else { continue };
        for (name, marker) in &queue.markers {
            let MarkerView::Marker(marker) = marker else { continue };
            take_up(grounds, &project.name, queue, name, marker, absorbed);
        }
    }
}

fn take_up(grounds: &TaskGrounds<'_>, project: &ProjectName, queue: &QueueView, name: &TaskName, marker: &Marker, absorbed: &mut Absorbed) {
    let task = TaskId { project: project.clone(), name: name.clone() };
    let TaskGrounds { memory, spec, seen, .. } = *grounds;
    if memory.tasks.contains_key(&task) || !is_ours(memory.pool, &task, marker) {
        return;
    }
    let Marker { session, claim, claimed_at, .. } = marker;
    let conversation = match memory.sessions.get(session) {
        Some(record) => record.conversation,
        None if spec.sessions.contains_key(session) => return,
        // Nobody will go on with it.
        None => memory.pool.conversation(session, 1),
    };
    let prompts = seen.agents.get(session).and_then(|agent| agent.value()).map(|agent| agent.prompts.as_slice()).unwrap_or_default();
    // The newest one of its own that the agent took: only the last few are kept, so the first ones may be gone.
    let taken = claim.prompts().zip(0..MAX_PROMPTS).filter(|(known, _)| prompts.iter().any(|prompt| prompt.claim == *known));
    let number = taken.last().map_or(0, |(_, number)| number);
    // What stands there beside the task's own file is of an earlier task.
    let (done_before, failed_before) =
        if queue.stands(name) { (queue.done.get(name).copied(), queue.failed.get(name).copied()) } else { (None, None) };
    let message =
        format!("session {session} has it since {claimed_at:.0}, as its marker says (claim {claim}); nothing else is remembered of it");
    absorbed.event(grounds.now, ObjectRef::Task(task.clone()), EventReason::TaskClaimed, Severity::Warning, message);
    let attempt = TaskAttempt {
        // Whether it was typed is not known. Typing it again could have it done twice, so only the agent's own word, or the lease, tells more.
        typed: MAX_TYPED,
        // One of them may have asked once more about a task that was left undone; that is not done twice.
        follow_ups: number.min(1),
        resumed: number.saturating_sub(1),
        done_before,
        failed_before,
        ..TaskAttempt::begun(marker, conversation)
    };
    absorbed.changes.push(MemoryChange::PutTask(task, TaskRecord { attempts: vec![attempt], ..TaskRecord::default() }));
}
