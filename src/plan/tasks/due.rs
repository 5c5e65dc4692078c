//! When the tasks are to be looked at again without anything having woken us.

use jiff::Timestamp;

use super::{
    GONE, Gate, PROOF, TRUTH, TaskGrounds, UNSETTLED, UNTYPED,
    holder::{Holder, turn},
    later, timeout,
};
use crate::{
    observed::{MarkerView, QueueView},
    plan::TaskRecord,
    spec::Project,
};

/// The first time at which something about a task may be due: a prompt unproven, a lease at its end, a pause over. `None` when nothing waits for time.
pub fn next_task_deadline(grounds: &TaskGrounds<'_>, gate: &Gate) -> Option<Timestamp> {
    let now = grounds.now.wall;
    let mut times = Vec::new();
    let records = grounds.records();
    for project in &grounds.spec.projects {
        let Some((queue, seen_at)) = grounds.queue(&project.name) else { continue };
        if queue.unsettled {
            times.push(later(seen_at, UNSETTLED));
        }
        times.extend(stale_markers(grounds, project, queue));
        for (name, record) in records.get(&project.name).into_iter().flatten() {
            times.extend(record.not_before);
            times.extend(record.gone_since.map(|since| later(since, GONE)));
            let limit = timeout(project, queue.inbox.get(*name));
            of_attempt(grounds, project, record, limit, &mut times);
        }
    }
    if grounds.spec.projects.iter().any(|project| grounds.queue(&project.name).is_some_and(|(queue, _)| !queue.inbox.is_empty())) {
        times.extend(gate.more_at);
        times.extend(grounds.memory.untyped.values().map(|untyped| untyped.until));
        times.extend(gate.hold.as_ref().and_then(|hold| hold.until));
    }
    times.into_iter().filter(|at| *at > now).min()
}

fn of_attempt(grounds: &TaskGrounds<'_>, project: &Project, record: &TaskRecord, limit: std::time::Duration, times: &mut Vec<Timestamp>) {
    let Some(attempt) = record.open() else { return };
    times.push(later(attempt.claimed_at, limit));
    times.push(attempt.lease_until);
    if attempt.typed == 0 {
        times.push(later(attempt.claimed_at, UNTYPED));
    }
    if attempt.taken_at.is_none() {
        times.extend(attempt.typed_at.map(|at| later(at, PROOF)));
    } else if let Ok(half) = attempt.lease_until.checked_sub(project.lease / 2) {
        times.push(half);
    }
    if let Holder::Idle(agent) = grounds.holder(attempt) {
        let calm = turn(attempt, agent).calm_at();
        times.extend(calm);
        times.extend(calm.map(|calm| later(calm, TRUTH)));
    }
}

fn stale_markers(grounds: &TaskGrounds<'_>, project: &Project, queue: &QueueView) -> Vec<Timestamp> {
    let after = grounds.spec.janitor.stale_marker_after;
    let ours = |name, claim: &crate::model::ClaimId| {
        let task = crate::model::TaskId { project: project.name.clone(), name };
        let record = grounds.memory.tasks.get(&task);
        record.is_some_and(|record| record.attempts.iter().any(|attempt| attempt.claim == *claim))
    };
    let stale = queue.markers.iter().filter_map(|(name, marker)| match marker {
        MarkerView::Marker(marker) if ours(name.clone(), &marker.claim) => None,
        MarkerView::Marker(marker) => Some(later(marker.claimed_at, after).max(marker.lease_until)),
        MarkerView::Unreadable { modified_at, .. } => Some(later(*modified_at, after)),
    });
    stale.collect()
}
