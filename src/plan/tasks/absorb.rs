//! What the facts teach about attempts: that a prompt arrived, that a session lives, and how an attempt ended.

use std::time::Duration;

use super::{
    EXITS_AT_IT, GONE, MAX_EXITS, MAX_FOLLOW_UPS, MAX_REFUSALS, MAX_TYPED, PROOF, TaskGrounds, UNTYPED,
    holder::{Holder, Turn, may_be_at_it, turn},
    is_used_up, later,
    past::{close_task, forget_past},
    recognise::recognise,
    timeout,
    untyped::absorb_untyped,
};
use crate::{
    model::{Activity, EventReason, ObjectRef, Severity, TaskId, doubled},
    observed::{InboxView, QueueView},
    plan::{Absorbed, AttemptEnd, AttemptVerdict, MemoryChange, TaskAttempt, TaskRecord},
    spec::{Completion, Project, format_duration},
};

/// The pause after an attempt that ended, doubled with each one up to [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(10);
const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Compares what is remembered of tasks with the facts. Unknown facts change nothing.
pub fn absorb_tasks(grounds: &TaskGrounds<'_>, absorbed: &mut Absorbed) {
    for (task, record) in &grounds.memory.tasks {
        let mut learner = Learner { grounds, task, record: record.clone(), absorbed: &mut *absorbed };
        let stays = match grounds.spec.project(&task.project) {
            Some(project) => learner.learn(project),
            None => learner.drop_unregistered(),
        };
        let next = learner.record;
        if !stays {
            forget(grounds, task, &next, absorbed);
        } else if next != *record {
            absorbed.changes.push(MemoryChange::PutTask(task.clone(), next));
        }
    }
    recognise(grounds, absorbed);
    forget_failures(grounds, absorbed);
    forget_past(grounds, absorbed);
    absorb_untyped(grounds, absorbed);
}

fn forget(grounds: &TaskGrounds<'_>, task: &TaskId, record: &TaskRecord, absorbed: &mut Absorbed) {
    absorbed.changes.push(match grounds.spec.project(&task.project) {
        Some(_) => close_task(task, record, grounds.now.wall, AttemptVerdict::Vanished, "it is over"),
        None => MemoryChange::RemoveTask(task.clone()),
    });
    let object = ObjectRef::Task(task.clone());
    if grounds.memory.attempts.contains_key(&object) {
        absorbed.changes.push(MemoryChange::ClearAttempts(object));
    }
}

/// A task that is nowhere any more fails no more.
fn forget_failures(grounds: &TaskGrounds<'_>, absorbed: &mut Absorbed) {
    for object in grounds.memory.attempts.keys() {
        let ObjectRef::Task(task) = object else { continue };
        if grounds.memory.tasks.contains_key(task) {
            continue;
        }
        let gone = match grounds.spec.project(&task.project) {
            None => true,
            Some(_) => grounds
                .queue(&task.project)
                .is_some_and(|(queue, _)| queue.exists && !queue.stands(&task.name) && !queue.markers.contains_key(&task.name)),
        };
        if gone {
            absorbed.changes.push(MemoryChange::ClearAttempts(object.clone()));
        }
    }
}

/// One record and what is learnt of it.
struct Learner<'a, 'b> {
    grounds: &'b TaskGrounds<'a>,
    task: &'a TaskId,
    record: TaskRecord,
    absorbed: &'b mut Absorbed,
}

impl Learner<'_, '_> {
    /// Answers whether the record is still needed.
    fn learn(&mut self, project: &Project) -> bool {
        self.bound_times(project);
        self.learn_delivery();
        self.learn_cut_off();
        self.learn_exits();
        let Some((queue, seen_at)) = self.grounds.queue(&self.task.project).filter(|(queue, _)| queue.exists) else { return true };
        let name = &self.task.name;
        let file = queue.inbox.get(name);
        if !queue.stands(name) {
            return if self.record.open().is_some() { self.learn_place(queue) } else { self.stays_ended(queue) };
        }
        self.record.gone_since = None;
        if self.record.open().is_some() {
            self.learn_before(queue);
            self.learn_end(project, file, seen_at);
            self.learn_life(project);
            return true;
        }
        // What somebody writes into is known once it has come to rest. A file of that name came after the end of the last one: it is another task.
        file.is_none() || queue.markers.contains_key(name) || !self.record.last_verdict().is_some_and(AttemptVerdict::ends_task)
    }

    /// The wall clock may have been set back. What is said to come has come just now, and no wait is longer than any can be.
    fn bound_times(&mut self, project: &Project) {
        let now = self.grounds.now.wall;
        let record = &mut self.record;
        record.gone_since = record.gone_since.map(|since| since.min(now));
        record.not_before = record.not_before.map(|until| until.min(later(now, MAX_PAUSE)));
        let Some(attempt) = self.open() else { return };
        attempt.claimed_at = attempt.claimed_at.min(now);
        attempt.lease_until = attempt.lease_until.min(later(now, project.lease));
        for at in [&mut attempt.typed_at, &mut attempt.delivered_at, &mut attempt.taken_at, &mut attempt.cut_off_at] {
            *at = at.map(|at| at.min(now));
        }
    }

    fn open(&mut self) -> Option<&mut TaskAttempt> {
        self.record.attempts.last_mut().filter(|attempt| attempt.end.is_none())
    }

    fn tell(&mut self, reason: EventReason, severity: Severity, message: String) {
        self.absorbed.event(self.grounds.now, ObjectRef::Task(self.task.clone()), reason, severity, message);
    }

    /// The agent's own word shows which prompts it took.
    fn learn_delivery(&mut self) {
        let grounds = self.grounds;
        let Some(attempt) = self.open() else { return };
        let Some(agent) = grounds.seen.agents.get(&attempt.session).and_then(|agent| agent.value()) else { return };
        let claim = attempt.prompt_claim();
        let Some(prompt) = agent.prompts.iter().rev().find(|prompt| prompt.claim == claim) else { return };
        if attempt.taken_at.is_some() {
            return;
        }
        let taken = prompt.at.min(grounds.now.wall);
        attempt.taken_at = Some(taken);
        if attempt.delivered_at.is_none() {
            attempt.delivered_at = Some(taken);
            let message = format!("session {} took it (claim {})", attempt.session, attempt.claim);
            self.tell(EventReason::TaskDelivered, Severity::Normal, message);
        }
    }

    /// A turn that a limit or an error of the API cut off is neither done nor left undone. It stays so until a turn comes to its end.
    fn learn_cut_off(&mut self) {
        let grounds = self.grounds;
        let Some(attempt) = self.open() else { return };
        let Some(taken) = attempt.taken_at else { return };
        let Some(agent) = grounds.seen.agents.get(&attempt.session).and_then(|agent| agent.value()) else { return };
        let last = attempt.cut_off_at.max(agent.turn_cut_off_at);
        attempt.cut_off_at = last.filter(|cut| *cut > taken && agent.turn_ended_at.is_none_or(|ended| ended < *cut));
    }

    /// An agent that ended by itself while it was at the task may have ended because of it.
    fn learn_exits(&mut self) {
        let grounds = self.grounds;
        let Some(attempt) = self.open() else { return };
        let Some(begun) = attempt.delivered_at else { return };
        let Some(attempts) = grounds.memory.attempts.get(&ObjectRef::Session(attempt.session.clone())) else { return };
        let known = attempt.exits.last().copied().unwrap_or(begun);
        attempt.exits.extend(attempts.exits.iter().filter(|exit| **exit > known));
        attempt.exits.drain(..attempt.exits.len().saturating_sub(MAX_EXITS));
    }

    /// Why nobody else is to have a task at which an agent ended again and again.
    fn crashed(&self, attempt: &TaskAttempt) -> Option<String> {
        let times = attempt.exits.len();
        let enough = if self.grounds.is_quarantined(&attempt.session) { EXITS_AT_IT } else { MAX_EXITS };
        let exits: Vec<_> = attempt.exits.iter().map(|exit| format!("{exit:.0}")).collect();
        let message =
            || format!("the agent of session {} ended {times} times by itself while it was at it: {}", attempt.session, exits.join(", "));
        (times >= enough).then(message)
    }

    /// What stands under the task's name in the other places before its prompt is typed, is of an earlier task.
    fn learn_before(&mut self, queue: &QueueView) {
        let (done, failed) = (queue.done.get(&self.task.name).copied(), queue.failed.get(&self.task.name).copied());
        if let Some(attempt) = self.open().filter(|attempt| attempt.typed == 0) {
            (attempt.done_before, attempt.failed_before) = (done, failed);
        }
    }

    /// The file of an open attempt is not in the inbox any more.
    fn learn_place(&mut self, queue: &QueueView) -> bool {
        let now = self.grounds.now.wall;
        let held = self.record.open().map(|attempt| self.grounds.holder(attempt));
        let is_held = matches!(held, Some(Holder::Unknown | Holder::Busy(_) | Holder::Down));
        let (done, failed) = (queue.done.get(&self.task.name).copied(), queue.failed.get(&self.task.name).copied());
        let Some(attempt) = self.open() else { return true };
        let session = format!("session {} (claim {})", attempt.session, attempt.claim);
        if done.is_some() && done != attempt.done_before {
            self.end(AttemptVerdict::Done, "its file is in done/".to_owned());
            self.tell(EventReason::TaskDone, Severity::Normal, format!("done by {session}: its file is in done/"));
        } else if failed.is_some() && failed != attempt.failed_before {
            self.end(AttemptVerdict::GivenUp, "its file is in failed/".to_owned());
            self.tell(EventReason::TaskFailed, Severity::Warning, format!("{session} put it into failed/"));
        } else {
            match self.record.gone_since {
                None => self.record.gone_since = Some(now),
                // A queue that is gone for a while, with a share or a branch, takes no task from a session that may be at it.
                Some(since) if later(since, GONE) <= now && !is_held => {
                    self.end(AttemptVerdict::Vanished, "its file is gone".to_owned());
                    let message = format!("its file is gone from the inbox, and is neither in done/ nor in failed/; {session} had it");
                    self.tell(EventReason::TaskVanished, Severity::Warning, message);
                }
                Some(_) => {}
            }
        }
        true
    }

    /// An ended attempt is remembered until its marker is gone; the file is not in the inbox.
    fn stays_ended(&mut self, queue: &QueueView) -> bool {
        if queue.markers.contains_key(&self.task.name) {
            return true;
        }
        let last = self.record.attempts.last();
        let how = self.record.last_verdict();
        if how == Some(AttemptVerdict::Cancelled) {
            // Nobody interrupts its session: until that has ended, the task is not offered again.
            return last.is_some_and(|attempt| may_be_at_it(self.grounds, attempt));
        }
        let told = how.is_none_or(AttemptVerdict::ends_task);
        let failed = queue.failed.get(&self.task.name);
        if !told && failed.is_some() && last.is_some_and(|attempt| failed != attempt.failed_before.as_ref()) {
            self.tell(EventReason::TaskFailed, Severity::Warning, "it is in failed/".to_owned());
        }
        false
    }

    /// Whether the attempt is over although its file stands where it stood.
    fn learn_end(&mut self, project: &Project, file: Option<&InboxView>, seen_at: jiff::Timestamp) {
        let now = self.grounds.now.wall;
        let limit = timeout(project, file);
        let Some(attempt) = self.record.open() else { return };
        let timed_out = later(attempt.claimed_at, limit) <= now;
        let lease_over = attempt.lease_until <= now;
        let unasked = attempt.typed == 0 && later(attempt.claimed_at, UNTYPED) <= now;
        let crashed = self.crashed(attempt);
        let refused = self.grounds.untyped(&attempt.session).filter(|untyped| attempt.typed == 0 && untyped.times >= MAX_REFUSALS);
        let end = match self.grounds.holder(attempt) {
            Holder::Unknown => None,
            Holder::Busy(Activity::Working) if crashed.is_some() => None,
            _ if crashed.is_some() => crashed.map(|message| (AttemptVerdict::Crashed, message)),
            Holder::Lost(why) => Some((AttemptVerdict::SessionLost, format!("session {} is lost: {why}", attempt.session))),
            _ if refused.is_some() => {
                refused.map(|why| (AttemptVerdict::Undelivered, format!("session {} could not be asked: {}", attempt.session, why.message)))
            }
            _ if unasked => Some((AttemptVerdict::Undelivered, format!("session {} could not be asked within a minute", attempt.session))),
            // A session that took it comes back with its conversation, and goes on with it by itself.
            Holder::Down if attempt.typed > 0 && lease_over && attempt.delivered_at.is_none() => {
                let message =
                    format!("session {} has no agent, never showed that it took the prompt, and the lease is over", attempt.session);
                Some((AttemptVerdict::SessionLost, message))
            }
            Holder::Busy(Activity::Working) | Holder::Down => None,
            Holder::Busy(activity) => (lease_over && attempt.taken_at.is_none()).then(|| {
                let message = format!("session {} never showed that it took the prompt, and is {activity}", attempt.session);
                (AttemptVerdict::Undelivered, message)
            }),
            Holder::Idle(agent) => {
                let turn = turn(attempt, agent);
                let asked_again = attempt.follow_ups >= MAX_FOLLOW_UPS;
                match turn {
                    Turn::NotTaken => {
                        let tried = attempt.typed >= MAX_TYPED && attempt.typed_at.is_some_and(|at| later(at, PROOF) <= now);
                        (tried || (attempt.typed > 0 && lease_over)).then(|| {
                            let message = format!("session {} never showed that it took the prompt", attempt.session);
                            (if attempt.prompts_before() > 0 { AttemptVerdict::Undone } else { AttemptVerdict::Undelivered }, message)
                        })
                    }
                    // By the turn's end the task is done; its file is moved for the agent.
                    Turn::Over(_) if project.completion == Completion::Turn => None,
                    Turn::Over(_) | Turn::Interrupted(_) if asked_again && turn.is_calm(now, seen_at) => {
                        let message = format!("session {} was asked once more, and left it undone again", attempt.session);
                        Some((AttemptVerdict::Undone, message))
                    }
                    _ => timed_out.then(|| (AttemptVerdict::TimedOut, format!("it was not done within {}", format_duration(limit)))),
                }
            }
        };
        if let Some((how, message)) = end {
            let session = format!("session {} (claim {})", attempt.session, attempt.claim);
            let used_up = self.end_and_check(how, message.clone(), project, file);
            let then = match (how, used_up) {
                (AttemptVerdict::Crashed, _) => "nobody else gets it",
                (_, true) => "it has had all its attempts",
                (_, false) => "it is offered again",
            };
            let text = format!("attempt {} by {session} ended: {message}; {then}", self.record.attempts.len());
            self.tell(EventReason::TaskReleased, Severity::Warning, text);
        }
    }

    fn end_and_check(&mut self, how: AttemptVerdict, message: String, project: &Project, file: Option<&InboxView>) -> bool {
        self.end(how, message);
        is_used_up(project, file, &self.record)
    }

    /// A session that lives with the task keeps its lease.
    fn learn_life(&mut self, project: &Project) {
        let now = self.grounds.now.wall;
        let Some(attempt) = self.record.open() else { return };
        let lives = match self.grounds.holder(attempt) {
            Holder::Busy(Activity::Working) => attempt.typed > 0,
            Holder::Busy(_) | Holder::Idle(_) => attempt.taken_at.is_some(),
            Holder::Unknown | Holder::Lost(_) | Holder::Down => false,
        };
        if lives && later(now, project.lease / 2) >= attempt.lease_until {
            let lease_until = later(now, project.lease);
            if let Some(attempt) = self.open() {
                attempt.lease_until = lease_until;
            }
        }
    }

    fn end(&mut self, how: AttemptVerdict, message: String) {
        let now = self.grounds.now.wall;
        let attempts = u32::try_from(self.record.attempts.len()).unwrap_or(u32::MAX);
        let Some(attempt) = self.open() else { return };
        attempt.end = Some(AttemptEnd { at: now, how, message });
        self.record.gone_since = None;
        let pause = doubled(PAUSE, attempts.saturating_sub(1), MAX_PAUSE);
        self.record.not_before = match how {
            AttemptVerdict::Undelivered | AttemptVerdict::Undone | AttemptVerdict::TimedOut => Some(later(now, pause)),
            _ => None,
        };
    }

    /// Its project is not registered any more: its files are none of our business.
    fn drop_unregistered(&mut self) -> bool {
        if let Some(attempt) = self.record.open() {
            let message = format!("its project is not registered any more; session {} (claim {}) had it", attempt.session, attempt.claim);
            self.tell(EventReason::TaskReleased, Severity::Warning, message);
        }
        false
    }
}
