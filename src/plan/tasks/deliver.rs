//! What is done about attempts that are under way: their prompts, and the end of a turn.

use super::{
    AHEAD, MAX_TYPED, PROOF, TRUTH, follow_up_text,
    holder::{Holder, Turn, turn},
    later,
    planner::Tasks,
    prompt_text, timeout,
};
use crate::{
    model::{ObjectRef, TaskId, TaskName},
    observed::{AgentView, InboxView, Marker, MarkerView, QueueView},
    plan::{Effect, Phase, QueueChange, TaskAttempt, Verb},
    spec::{Completion, Project},
};

/// Which prompt is due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The present one, for the first time or because it did not arrive.
    Present,
    /// The one that asks once more.
    FollowUp,
    /// The one that lets it go on where it was cut off.
    GoOn,
    /// None; the turn is over and with it the task.
    Finish,
}

impl Tasks<'_> {
    pub fn deliver(&mut self, project: &Project, queue: &QueueView) {
        let records: Vec<_> = self.records.get(&project.name).into_iter().flatten().map(|(name, record)| (*name, *record)).collect();
        for (name, record) in records {
            if let (Some(attempt), Some(file)) = (record.open(), queue.inbox.get(name)) {
                let number = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
                self.deliver_one(project, queue, name, file, attempt, number);
            }
        }
    }

    fn deliver_one(&mut self, project: &Project, queue: &QueueView, name: &TaskName, file: &InboxView, attempt: &TaskAttempt, number: u32) {
        let task = TaskId { project: project.name.clone(), name: name.clone() };
        match queue.markers.get(name) {
            None => {
                self.put_marker_back(project, task, file, attempt, number);
                return;
            }
            Some(MarkerView::Marker(marker)) if marker.claim == attempt.claim => {}
            Some(_) => {
                let message = format!("it is under way in session {}, and its marker is not the one that was made for it", attempt.session);
                self.warn(ObjectRef::Task(task), "ForeignMarker", message);
                return;
            }
        }
        let now = self.grounds.now.wall;
        let overdue = later(attempt.claimed_at, timeout(project, Some(file))) <= now;
        let holder = self.grounds.holder(attempt);
        let does = match &holder {
            Holder::Busy(activity) => Some(format!("is {activity}")),
            Holder::Down => Some("has no agent now".to_owned()),
            Holder::Unknown => Some("cannot be looked at".to_owned()),
            Holder::Idle(_) | Holder::Lost(_) => None,
        };
        if let Some(does) = does.filter(|_| overdue && attempt.typed > 0) {
            let message = format!("session {} has it since {:.0} and {does}", attempt.session, attempt.claimed_at);
            self.warn(ObjectRef::Task(task), "TaskOverdue", format!("{message}; it is offered again once that has ended"));
            return;
        }
        let Holder::Idle(agent) = holder else { return };
        match self.due(project, attempt, agent, overdue) {
            None => {
                if let turn @ Turn::CutOff(..) = turn(attempt, agent) {
                    let at = turn.calm_at().filter(|at| *at > now);
                    let when = at.map_or_else(|| "once what it did was looked at".to_owned(), |at| format!("at {at:.0}"));
                    let message = format!("session {} was cut off in its turn by a limit or an error of the API", attempt.session);
                    self.wait(ObjectRef::Task(task), "TurnCutOff", format!("{message}; it is told to go on {when}"));
                }
            }
            Some(Due::Finish) => {
                let effect = QueueChange::Finish { task: name.clone(), claim: attempt.claim.clone() }.at(&project.path);
                let why = format!("the turn of session {} has ended, claim {}", attempt.session, attempt.claim);
                self.act(Phase::Settle, task, Verb::Settle, "move it to done/", why, effect);
            }
            Some(due) => self.type_prompt(project, task, attempt, agent, due),
        }
    }

    fn due(&self, project: &Project, attempt: &TaskAttempt, agent: &AgentView, overdue: bool) -> Option<Due> {
        let now = self.grounds.now.wall;
        let (_, seen_at) = self.grounds.queue(&project.name)?;
        let turn = turn(attempt, agent);
        match turn {
            Turn::NotTaken => {
                let unproven = attempt.typed_at.is_none_or(|at| later(at, PROOF) <= now);
                (attempt.typed == 0 || (unproven && attempt.typed < MAX_TYPED)).then_some(Due::Present)
            }
            Turn::Over(_) | Turn::Interrupted(_) | Turn::CutOff(..) if !turn.is_calm(now, seen_at) => None,
            Turn::Over(_) if project.completion == Completion::Turn => Some(Due::Finish),
            Turn::Over(_) | Turn::Interrupted(_) | Turn::CutOff(..) if !self.is_truth_known(attempt, turn) => None,
            Turn::Over(_) | Turn::Interrupted(_) => (attempt.follow_ups == 0 && !overdue).then_some(Due::FollowUp),
            Turn::CutOff(..) => (!overdue).then_some(Due::GoOn),
            Turn::Unclear => None,
        }
    }

    /// Whether what is known of a session is of behind the end of its turn, or has been waited for long enough.
    fn is_truth_known(&self, attempt: &TaskAttempt, turn: Turn) -> bool {
        let now = self.grounds.now.wall;
        let is_new = |at| at > later(now, AHEAD) || self.truth.get(&attempt.session).is_some_and(|truth| truth.at >= at);
        turn.ended_at().is_none_or(is_new) || turn.calm_at().is_none_or(|calm| later(calm, TRUTH) <= now)
    }

    fn type_prompt(&mut self, project: &Project, task: TaskId, attempt: &TaskAttempt, agent: &AgentView, due: Due) {
        // Once claimed, a task is asked for whatever the room; a hold stops it all the same.
        if self.gate.hold.is_some() || self.grounds.memory.swap.is_some() {
            return;
        }
        let pane = match self.pane(&attempt.session) {
            Ok(pane) => pane.pane.clone(),
            Err(why) => {
                let why = self.grounds.untyped(&attempt.session).map_or_else(
                    || format!("it is {why}"),
                    |untyped| format!("{}; it is tried again at {:.0}", untyped.message, untyped.until),
                );
                let message = format!("session {} has it and cannot be asked now: {why}", attempt.session);
                self.wait(ObjectRef::Task(task), "SessionNotFree", message);
                return;
            }
        };
        let (Some(process), Some(home)) = (agent.process, agent.home.clone()) else { return };
        let truth = self.truth.get(&attempt.session).map(|truth| truth.text.as_str());
        let number = attempt.prompts_before() + u32::from(due != Due::Present);
        let asks_again = number > 0;
        let claim = attempt.claim.prompt(number);
        let text = if asks_again {
            follow_up_text(project, &task.name, (&attempt.claim, &claim), truth)
        } else {
            prompt_text(project, &task.name, &claim)
        };
        let why = match (due, attempt.typed) {
            (Due::FollowUp, _) => "its turn ended and the task is not done".to_owned(),
            (Due::GoOn, _) => "its turn was cut off".to_owned(),
            (_, 0) => format!("claim {}", attempt.claim),
            (_, typed) => format!("typed {typed} times, and the agent does not show that it took it"),
        };
        let what = match due {
            Due::GoOn => format!("tell session {} to go on", attempt.session),
            _ if asks_again => format!("ask session {} once more", attempt.session),
            _ => format!("ask session {}", attempt.session),
        };
        let effect = Effect::TypePrompt { session: attempt.session.clone(), pane, process, home, text, claim };
        self.act(Phase::Dispatch, task, Verb::Dispatch, what, why, effect);
    }

    /// The record is the truth about an attempt: somebody took its marker away, or a crash came before it was made.
    fn put_marker_back(&mut self, project: &Project, task: TaskId, file: &InboxView, attempt: &TaskAttempt, number: u32) {
        if self.grounds.memory.swap.is_some() {
            return;
        }
        let marker = Marker {
            session: attempt.session.clone(),
            attempt: number,
            claim: attempt.claim.clone(),
            claimed_at: attempt.claimed_at,
            lease_until: attempt.lease_until,
        };
        let effect = QueueChange::Claim { task: task.name.clone(), expect: file.identity, marker }.at(&project.path);
        let what = format!("mark it for session {} again", attempt.session);
        self.act(Phase::Dispatch, task, Verb::Dispatch, what, "it is under way and has no marker", effect);
    }
}
