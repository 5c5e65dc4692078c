//! The frame of the decisions about tasks: what they share, and their order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gate, GroundTruth, Records, TaskGrounds, TaskWait};
use crate::{
    model::{ObjectRef, ProjectName, SessionName, TaskId, TaskName},
    observed::{PaneView, QueueView, Seen},
    plan::{Action, Attempts, Disruption, Effect, MAX_FACT_AGE, Phase, Planned, QueueChange, TaskRecord, Verb, Waiting},
    spec::Project,
};

/// Adds to a plan what is to be done about tasks, and says what they wait for. `planned` is what was planned before: a session that waits for
/// something, or with which something is to be done, is given nothing.
pub fn plan_tasks(grounds: &TaskGrounds<'_>, gate: &Gate, truth: &GroundTruth, planned: &mut Planned) {
    if grounds.spec.projects.is_empty() {
        return;
    }
    let Tasks { actions, waiting, warnings, .. } = go_through(grounds, gate, truth, planned, None);
    let idle = actions.is_empty();
    planned.plan.actions.extend(actions);
    planned.report.waiting.extend(waiting);
    planned.report.warnings.extend(warnings);
    if !idle {
        // Stable: inside a phase the planners' own order is kept.
        planned.plan.actions.sort_by_key(|(phase, _)| *phase);
    }
}

/// What each task in an inbox waits for that nobody has. `planned` is what was planned, with or without the tasks.
pub fn task_waits(grounds: &TaskGrounds<'_>, gate: &Gate, planned: &Planned) -> BTreeMap<TaskId, TaskWait> {
    go_through(grounds, gate, &GroundTruth::new(), planned, Some(BTreeMap::new())).waits.unwrap_or_default()
}

fn go_through<'a>(
    grounds: &'a TaskGrounds<'a>,
    gate: &'a Gate,
    truth: &'a GroundTruth,
    planned: &Planned,
    waits: Option<BTreeMap<TaskId, TaskWait>>,
) -> Tasks<'a> {
    let mut tasks = Tasks { waits, ..Tasks::new(grounds, gate, truth, planned) };
    let mut candidates = Vec::new();
    for (index, project) in grounds.spec.projects.iter().enumerate() {
        if let Some(queue) = tasks.plan_queue(project) {
            tasks.settle(project, queue);
            tasks.deliver(project, queue);
            tasks.sift(index, project, queue, &mut candidates);
        }
    }
    tasks.claim(candidates);
    tasks
}

/// The inputs, and what has been planned so far.
pub(super) struct Tasks<'a> {
    pub grounds: &'a TaskGrounds<'a>,
    pub gate: &'a Gate,
    pub truth: &'a GroundTruth,
    pub records: BTreeMap<&'a ProjectName, Records<'a>>,
    /// Sessions that have a task.
    pub engaged: BTreeSet<&'a SessionName>,
    /// Sessions with which something else is to be done, or that wait for something.
    unsettled: BTreeSet<SessionName>,
    /// Tasks whose last action failed a short while ago.
    pub backing_off: BTreeMap<&'a TaskId, &'a Attempts>,
    /// What each task waits for, if somebody wants to know.
    pub waits: Option<BTreeMap<TaskId, TaskWait>>,
    actions: Vec<(Phase, Action)>,
    waiting: Vec<Waiting>,
    warnings: Vec<Waiting>,
}

impl<'a> Tasks<'a> {
    fn new(grounds: &'a TaskGrounds<'a>, gate: &'a Gate, truth: &'a GroundTruth, planned: &Planned) -> Self {
        let acted = planned.plan.actions.iter().map(|(_, action)| &action.object);
        let report = &planned.report;
        let waits = report.waiting.iter().chain(&report.warnings).map(|entry| &entry.object);
        let session = |object: &ObjectRef| if let ObjectRef::Session(name) = object { Some(name.clone()) } else { None };
        let engaged = grounds.memory.open_attempts().map(|(_, attempt)| &attempt.session).collect();
        let failing = grounds.memory.attempts.iter().filter(|(_, attempts)| attempts.waits_until(grounds.now).is_some());
        let backing_off = failing
            .filter_map(|(object, attempts)| if let ObjectRef::Task(task) = object { Some((task, attempts)) } else { None })
            .collect();
        Self {
            grounds,
            gate,
            truth,
            records: grounds.records(),
            engaged,
            unsettled: acted.chain(waits).filter_map(session).collect(),
            backing_off,
            waits: None,
            actions: Vec::new(),
            waiting: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn act(&mut self, phase: Phase, task: TaskId, verb: Verb, what: impl Into<String>, why: impl Into<String>, effect: Effect) {
        let (object, disruption) = (ObjectRef::Task(task), Disruption::None);
        // What is given to an agent relies on the account that it works under.
        let active = self.grounds.memory.active.as_ref().map(|active| active.account.clone());
        let relies_on = active.filter(|_| verb == Verb::Dispatch);
        self.actions
            .push((phase, Action { object, verb, what: what.into(), why: why.into(), disruption, effect: Some(effect), relies_on }));
    }

    pub fn wait(&mut self, object: ObjectRef, reason: &str, message: impl Into<String>) {
        self.waiting.push(Waiting { object, reason: reason.to_owned(), message: message.into() });
    }

    pub fn warn(&mut self, object: ObjectRef, reason: &str, message: impl Into<String>) {
        self.warnings.push(Waiting { object, reason: reason.to_owned(), message: message.into() });
    }

    pub fn record(&self, project: &ProjectName, task: &TaskName) -> Option<&'a TaskRecord> {
        self.records.get(project)?.get(task).copied()
    }

    /// Notes what a task waits for.
    pub fn note(&mut self, project: &Project, task: &TaskName, wait: TaskWait) {
        if let Some(waits) = &mut self.waits {
            waits.insert(TaskId { project: project.name.clone(), name: task.clone() }, wait);
        }
    }

    /// The queue to work on, if it is known and complete; what is missing is made.
    fn plan_queue(&mut self, project: &Project) -> Option<&'a QueueView> {
        let object = || ObjectRef::Project(project.name.clone());
        let Some((queue, _)) = self.grounds.queue(&project.name) else {
            let why = match self.grounds.seen.queues.get(&project.name) {
                Some(Seen::Known(_)) => "it was last looked at too long ago".to_owned(),
                Some(Seen::Unknown(why)) => why.to_string(),
                None => "it has not been looked at".to_owned(),
            };
            self.wait(object(), "QueueUnknown", format!("its queue cannot be looked at: {why}"));
            return None;
        };
        if !queue.project_exists {
            self.warn(object(), "ProjectMissing", format!("its directory {} does not exist", project.path.display()));
            return None;
        }
        if !queue.exists && self.records.get(&project.name).is_some_and(|records| records.values().any(|record| record.open().is_some())) {
            let message = "its queue is gone while tasks of it are under way; is it mounted, and is it the right branch?";
            self.warn(object(), "QueueMissing", message);
            return None;
        }
        if !queue.exists {
            let effect = QueueChange::Create.at(&project.path);
            let action = Action {
                object: object(),
                verb: Verb::Create,
                what: "make its queue".to_owned(),
                why: format!("{} lacks directories of it", project.path.join(".agent-queue").display()),
                disruption: Disruption::None,
                effect: Some(effect),
                relies_on: None,
            };
            self.actions.push((Phase::Homes, action));
            return None;
        }
        Some(queue)
    }

    /// The pane of a session into which something may be typed, or the word for why not. Whether its agent is idle is not asked here.
    pub fn pane(&self, session: &SessionName) -> Result<&'a PaneView, &'static str> {
        let grounds = self.grounds;
        let object = ObjectRef::Session(session.clone());
        if grounds.memory.cordoned.contains_key(&object) {
            return Err("cordoned");
        }
        if grounds.memory.attempts.get(&object).is_some_and(|attempts| attempts.quarantined) {
            return Err("quarantined");
        }
        let tmux = grounds.seen.tmux.fresh(grounds.now, MAX_FACT_AGE).ok_or("not to be seen")?;
        let pane = tmux.panes.get(session.as_str()).ok_or("not running")?;
        if !pane.is_of(grounds.memory.pool, session) {
            return Err("not ours");
        }
        if self.unsettled.contains(session) {
            return Err("waiting for something else");
        }
        if grounds.untyped(session).is_some() {
            return Err("not to be typed into");
        }
        // Somebody may be about to type there.
        if pane.attached > 0 { Err("attached to by a person") } else { Ok(pane) }
    }
}
