//! What ends: markers of attempts that ended, tasks that had all their attempts, and markers that are nobody's.

use jiff::Timestamp;

use super::{MAX_FACT_AGE, is_used_up, later, planner::Tasks, recognise::is_ours};
use crate::{
    model::{Activity, ClaimId, ObjectRef, TaskId, TaskName},
    observed::{Marker, MarkerView, QueueView},
    plan::{AttemptVerdict, Effect, Phase, QueueChange, TaskRecord, Verb},
    spec::Project,
};

impl Tasks<'_> {
    pub fn settle(&mut self, project: &Project, queue: &QueueView) {
        for (name, marker) in &queue.markers {
            match marker {
                MarkerView::Marker(marker) => self.settle_marker(project, queue, name, marker),
                MarkerView::Unreadable { why, modified_at } => self.settle_unreadable(project, name, why, *modified_at),
            }
        }
        let records: Vec<_> = self.records.get(&project.name).into_iter().flatten().map(|(name, record)| (*name, *record)).collect();
        for (name, record) in records {
            if record.open().is_none() && !queue.markers.contains_key(name) {
                self.give_up(project, queue, name, record, None);
            }
        }
    }

    fn settle_marker(&mut self, project: &Project, queue: &QueueView, name: &TaskName, marker: &Marker) {
        let task = TaskId { project: project.name.clone(), name: name.clone() };
        let record = self.record(&project.name, name);
        let attempt = record.and_then(|record| record.attempts.iter().rev().find(|attempt| attempt.claim == marker.claim));
        let (Some(record), Some(attempt)) = (record, attempt) else {
            self.settle_orphan(project, task, marker);
            return;
        };
        match &attempt.end {
            None if marker.lease_until < attempt.lease_until => {
                let marker = Marker { lease_until: attempt.lease_until, ..marker.clone() };
                let what = format!("renew the lease of session {} until {:.0}", marker.session, marker.lease_until);
                let effect = QueueChange::Renew { task: name.clone(), marker }.at(&project.path);
                self.act(Phase::Settle, task, Verb::Settle, what, "its session lives", effect);
            }
            None => {}
            Some(end) => {
                let given_up = record.open().is_none() && self.give_up(project, queue, name, record, Some(&marker.claim));
                if !given_up {
                    let what = if end.how.ends_task() { "take its marker away" } else { "offer it again" };
                    let effect = release(project, name, Some(marker.claim.clone()));
                    self.act(Phase::Settle, task, Verb::Settle, what, end.message.clone(), effect);
                }
            }
        }
    }

    /// Puts a task aside that had all its attempts. Answers whether it did.
    fn give_up(&mut self, project: &Project, queue: &QueueView, name: &TaskName, record: &TaskRecord, claim: Option<&ClaimId>) -> bool {
        if !queue.inbox.get(name).is_some_and(|file| is_used_up(project, Some(file), record)) {
            return false;
        }
        let Some(end) = record.attempts.last().and_then(|attempt| attempt.end.as_ref()) else { return false };
        if end.how.ends_task() || end.how == AttemptVerdict::Cancelled {
            return false;
        }
        let tried = record.attempts.iter().enumerate().filter_map(|(number, attempt)| {
            let end = attempt.end.as_ref()?;
            Some(format!("attempt {} by session {}, {:.0}: {}", number + 1, attempt.session, end.at, end.message))
        });
        let said = if record.ends_agents() {
            format!(
                "session {} lost its agent again and again while it was at it",
                record.attempts.last().map_or("", |last| last.session.as_str())
            )
        } else {
            format!("it was not done in {} attempts", record.used())
        };
        let reason = format!("{said}\n{}", tried.collect::<Vec<_>>().join("\n"));
        let why = format!("{said}; the last one: {}", end.message);
        let effect = QueueChange::Fail { task: name.clone(), claim: claim.cloned(), reason }.at(&project.path);
        let task = TaskId { project: project.name.clone(), name: name.clone() };
        self.act(Phase::Settle, task, Verb::Settle, "put it into failed/", why, effect);
        true
    }

    /// A marker of a claim that we know nothing of: of another pool, or of a state directory that is lost as a whole.
    fn settle_orphan(&mut self, project: &Project, task: TaskId, marker: &Marker) {
        if self.record(&project.name, &task.name).is_none() && is_ours(self.grounds.memory.pool, &task, marker) {
            let message =
                format!("its marker names session {} of ours; it is taken up once it is known what that session does", marker.session);
            self.wait(ObjectRef::Task(task), "SessionNotFree", message);
            return;
        }
        let stale_at = self.stale_at(marker.claimed_at).max(marker.lease_until);
        if stale_at > self.grounds.now.wall {
            let message = format!("its marker names session {} and no claim of ours; it is taken away after {stale_at:.0}", marker.session);
            self.wait(ObjectRef::Task(task), "ForeignMarker", message);
            return;
        }
        let agent = self.grounds.seen.agents.get(&marker.session);
        let is_busy = agent.is_some_and(|agent| {
            agent.fresh(self.grounds.now, MAX_FACT_AGE).is_none_or(|agent| agent.process.is_some() && agent.activity != Activity::Idle)
        });
        if is_busy {
            let message = format!("its marker names session {} and no claim of ours, and that session may still be at it", marker.session);
            self.wait(ObjectRef::Task(task), "ForeignMarker", message);
            return;
        }
        let why = format!("its marker of {:.0} is of no claim of ours, and its lease is over", marker.claimed_at);
        let effect = release(project, &task.name, Some(marker.claim.clone()));
        self.act(Phase::Tidy, task, Verb::Tidy, "take its marker away", why, effect);
    }

    fn settle_unreadable(&mut self, project: &Project, name: &TaskName, why: &str, modified_at: Timestamp) {
        let task = TaskId { project: project.name.clone(), name: name.clone() };
        let stale_at = self.stale_at(modified_at);
        if stale_at > self.grounds.now.wall {
            let message = format!("its marker cannot be read ({why}); it is taken away after {stale_at:.0}");
            self.wait(ObjectRef::Task(task), "UnreadableMarker", message);
            return;
        }
        // The record is the truth about an attempt of ours: with the marker gone, it is written anew.
        let effect = release(project, name, None);
        self.act(Phase::Tidy, task, Verb::Tidy, "take its marker away", format!("it cannot be read: {why}"), effect);
    }

    fn stale_at(&self, since: Timestamp) -> Timestamp {
        later(since, self.grounds.spec.janitor.stale_marker_after)
    }
}

fn release(project: &Project, task: &TaskName, claim: Option<ClaimId>) -> Effect {
    QueueChange::Release { task: task.clone(), claim }.at(&project.path)
}
