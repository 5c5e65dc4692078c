//! What operators say about single tasks (offer it again, take it back, move it), and how one effect at an operator's word is carried out.

use std::path::PathBuf;

use super::{
    Answer, Engine, EngineError, Request, View,
    operate::{done, refused},
};
use crate::{
    host::{Host, Look, queue::MOVING_ENDING},
    model::{EventReason, ObjectRef, ProjectName, Severity, TaskId},
    observed::{QueueView, Seen},
    plan::{
        AttemptEnd, AttemptVerdict, Effect, MemoryChange, Outcome, QueueChange, TaskRecord, Verb,
        tasks::{TaskGrounds, may_be_at_it, task_waits},
    },
    spec::Project,
    status::{TaskDetail, TaskState, record_of, task_rows},
};

impl<H: Host> View<H> {
    /// The tasks of all projects as of the last look.
    pub fn tasks(&self, all: bool) -> Vec<TaskDetail> {
        let grounds = TaskGrounds { spec: &self.spec, seen: &self.seen, memory: &self.memory, now: self.host.now() };
        let waits = task_waits(&grounds, &self.gate, &self.planned);
        let rows = task_rows(&self.spec, &self.seen, &self.memory, &self.planned.report, &waits, all);
        rows.into_iter()
            .map(|row| {
                let directory = match row.state {
                    TaskState::Working | TaskState::Claimed | TaskState::Waiting => "inbox",
                    TaskState::Failed => "failed",
                    TaskState::Done => "done",
                };
                let project = self.spec.project(&row.task.project).map_or_else(PathBuf::new, |project| project.path.clone());
                TaskDetail {
                    path: project.join(crate::host::queue::QUEUE).join(directory).join(row.task.name.as_str()),
                    record: record_of(&self.memory, &row.task, row.state).cloned().unwrap_or_default(),
                    reason: None,
                    row,
                }
            })
            .collect()
    }
}

/// What an order does, once it was found to be possible.
pub(super) struct Order {
    pub object: ObjectRef,
    pub verb: Verb,
    pub effect: Effect,
    /// What is remembered from then on.
    pub changes: Vec<MemoryChange>,
    pub reason: EventReason,
    /// How it is told to everybody, once it is done.
    pub message: String,
    /// What is answered to who asked for it.
    pub answer: String,
}

impl<H: Host> Engine<H> {
    pub(super) async fn retry_task(&mut self, request: &Request, task: &TaskId) -> Result<Answer, EngineError> {
        let (project, queue) = match self.look_at_queue(&task.project).await {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        if !queue.failed.contains_key(&task.name) {
            return Ok(refused(format!("{task} is not among the failed tasks of its project; see `claude-failover task ls`")));
        }
        let last = self.view.memory.tasks.get(task).and_then(|record| record.attempts.last());
        let grounds = TaskGrounds { spec: &self.view.spec, seen: &self.view.seen, memory: &self.view.memory, now: self.view.host.now() };
        if let Some(attempt) = last.filter(|attempt| may_be_at_it(&grounds, attempt)) {
            let session = &attempt.session;
            return Ok(refused(format!(
                "session {session} may still be at {task}; wait until its turn has ended, so that it is not done twice"
            )));
        }
        let message = format!("offered again by {}", request.actor);
        let order = Order {
            object: ObjectRef::Task(task.clone()),
            verb: Verb::Settle,
            effect: QueueChange::Retry { task: task.name.clone() }.at(&project.path),
            // What it went through before is in the history; it begins anew.
            changes: vec![MemoryChange::RemoveTask(task.clone()), MemoryChange::ClearAttempts(ObjectRef::Task(task.clone()))],
            reason: EventReason::TaskRetried,
            answer: format!("{task}: {message}"),
            message,
        };
        self.carry_out(request, order).await
    }

    pub(super) async fn cancel_task(&mut self, request: &Request, task: &TaskId, reason: &str) -> Result<Answer, EngineError> {
        let (project, queue) = match self.look_at_queue(&task.project).await {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        if !queue.inbox.contains_key(&task.name) {
            return Ok(refused(format!("{task} is not in the inbox of its project; see `claude-failover task ls`")));
        }
        let open = self.view.memory.tasks.get(task).and_then(TaskRecord::open).cloned();
        let reason = format!("cancelled by {}: {reason}", request.actor);
        let message = match &open {
            Some(attempt) => format!("{reason}; session {} is not interrupted", attempt.session),
            None => reason.clone(),
        };
        let order = Order {
            object: ObjectRef::Task(task.clone()),
            verb: Verb::Settle,
            effect: QueueChange::Fail {
                task: task.name.clone(),
                claim: open.as_ref().map(|attempt| attempt.claim.clone()),
                reason: reason.clone(),
            }
            .at(&project.path),
            changes: vec![self.cancelled(task, &reason)],
            reason: EventReason::TaskCancelled,
            answer: format!("{task}: {message}"),
            message,
        };
        self.carry_out(request, order).await
    }

    /// What is remembered of a task that was taken back: who had it, until that session has ended its turn.
    fn cancelled(&self, task: &TaskId, reason: &str) -> MemoryChange {
        let mut record = self.view.memory.tasks.get(task).cloned().unwrap_or_default();
        match record.attempts.last_mut().filter(|attempt| attempt.end.is_none()) {
            Some(attempt) => {
                let end = AttemptEnd { at: self.view.wall(), how: AttemptVerdict::Cancelled, message: reason.to_owned() };
                attempt.end = Some(end);
                MemoryChange::PutTask(task.clone(), record)
            }
            None => MemoryChange::RemoveTask(task.clone()),
        }
    }

    pub(super) async fn move_task(&mut self, request: &Request, task: &TaskId, to: &ProjectName) -> Result<Answer, EngineError> {
        let (project, queue) = match self.look_at_queue(&task.project).await {
            Ok(found) => found,
            Err(refused) => return Ok(refused),
        };
        let Some(target) = self.view.spec.project(to) else {
            return Ok(refused(format!("the spec declares no project {to}")));
        };
        // A move to another file system that was cut off is taken to its end.
        let cut_off = queue.ignored.contains_key(&format!("{}{MOVING_ENDING}", task.name));
        if !queue.inbox.contains_key(&task.name) && !cut_off {
            return Ok(refused(format!("{task} is not in the inbox of its project; see `claude-failover task ls`")));
        }
        if let Some(attempt) = self.view.memory.tasks.get(task).and_then(TaskRecord::open) {
            return Ok(refused(format!("session {} has {task}; cancel it, or wait until it is done", attempt.session)));
        }
        let message = format!("moved to project {to} by {}", request.actor);
        let order = Order {
            object: ObjectRef::Task(task.clone()),
            verb: Verb::Settle,
            effect: QueueChange::Move { to: target.path.clone(), task: task.name.clone() }.at(&project.path),
            changes: vec![MemoryChange::RemoveTask(task.clone())],
            reason: EventReason::TaskMoved,
            answer: format!("{task}: {message}"),
            message,
        };
        self.carry_out(request, order).await
    }

    /// A fresh look at the queue of a declared project.
    async fn look_at_queue(&mut self, name: &ProjectName) -> Result<(Project, QueueView), Answer> {
        let Some(project) = self.view.spec.project(name).cloned() else {
            return Err(refused(format!("the spec declares no project {name}")));
        };
        self.view.look(&Look { queues: true, tmux: true, agents: true, ..Look::default() }).await;
        match self.view.seen.queues.get(name) {
            Some(Seen::Known(fact)) => Ok((project, fact.value.clone())),
            Some(Seen::Unknown(why)) => Err(refused(format!("the queue of {name} cannot be looked at: {why}"))),
            None => Err(refused(format!("the queue of {name} was not looked at"))),
        }
    }

    /// One effect at an operator's word: intent, effect, and in one write its outcome, what follows from it and the answer.
    pub(super) async fn carry_out(&mut self, request: &Request, order: Order) -> Result<Answer, EngineError> {
        let (mut batch, outcome) = self.perform_ordered(&order.object, order.verb, order.effect).await?;
        let answer = match &outcome {
            Outcome::Failed(failure) => refused(format!("{}: {}", order.object, failure.message())),
            Outcome::Changed | Outcome::Unchanged => {
                batch.events.push(self.view.event(order.object, order.reason, Severity::Normal, order.message));
                batch.changes = order.changes;
                done(order.answer, outcome == Outcome::Changed)
            }
        };
        batch.handled = Some(self.handled(request, &answer));
        self.commit("record an order", &batch)?;
        Ok(answer)
    }
}
