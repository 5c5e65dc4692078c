//! The safety rules of tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Facts, Finding};
use crate::{
    model::{Activity, ClaimId, ObjectRef, SessionName, TaskId},
    observed::{Marker, QueueView},
    plan::{Action, Effect, MAX_FACT_AGE, Plan, QueueChange, TaskAttempt, TaskRecord},
};

/// Checks what a plan does about tasks.
pub(super) fn lint_tasks(plan: &Plan, facts: Facts<'_>) -> Vec<Finding> {
    let open = facts.memory.tasks.iter().filter_map(|(task, record)| record.open().map(|attempt| (task, attempt))).collect();
    let mut lint = Lint { facts, open, claimed: BTreeSet::new(), prompted: BTreeSet::new(), findings: Vec::new() };
    for (_, action) in &plan.actions {
        lint.action(action);
    }
    lint.findings
}

struct Lint<'a> {
    facts: Facts<'a>,
    /// The attempts that are under way.
    open: BTreeMap<&'a TaskId, &'a TaskAttempt>,
    claimed: BTreeSet<&'a TaskId>,
    prompted: BTreeSet<&'a SessionName>,
    findings: Vec<Finding>,
}

impl<'a> Lint<'a> {
    fn action(&mut self, action: &'a Action) {
        match &action.effect {
            Some(Effect::Queue { project, change }) => self.queue(action, project, change),
            Some(Effect::TypePrompt { session, process, claim, .. }) => {
                let facts = self.facts;
                self.check(action, facts.memory.swap.is_none(), "a task is given out while a swap is open");
                let alone = self.prompted.insert(session);
                self.check(action, alone, "a session is given two prompts in one plan");
                let idle = |agent: &crate::observed::AgentView| agent.process == Some(*process) && agent.activity == Activity::Idle;
                self.check(action, facts.agent(session).is_some_and(idle), "a prompt is typed into an agent that is not known to be idle");
                self.check(action, facts.mark(session).is_some(), "a prompt is typed into a pane that is not ours");
                let is_next = |attempt: &TaskAttempt| {
                    let present = attempt.prompt_claim();
                    present == *claim || present.again() == *claim
                };
                let holds = self.attempt(action).is_some_and(|attempt| attempt.session == *session && is_next(attempt));
                self.check(action, holds, "a prompt carries a claim that its session does not hold");
            }
            _ => {}
        }
    }

    fn queue(&mut self, action: &'a Action, project: &Path, change: &'a QueueChange) {
        match change {
            QueueChange::Create => {
                let declared = self.facts.spec.projects.iter().any(|known| known.path == *project);
                self.check(action, declared, "a queue is made that the spec does not declare");
            }
            QueueChange::Claim { marker, .. } => self.claim(action, marker),
            QueueChange::Release { claim: Some(claim), .. } | QueueChange::Fail { claim: Some(claim), .. } => {
                let held = self.holds(action, claim);
                self.check(action, !held, "a claim is taken away while its attempt is open");
            }
            QueueChange::Fail { claim: None, .. } => {
                let open = self.attempt(action).is_some();
                self.check(action, !open, "a task is put aside while an attempt at it is open");
            }
            QueueChange::Finish { claim, .. } => {
                let taken = self.holds(action, claim) && self.attempt(action).is_some_and(|attempt| attempt.taken_at.is_some());
                self.check(action, taken, "a task is marked done that no agent took");
            }
            _ => {}
        }
    }

    fn claim(&mut self, action: &'a Action, marker: &'a Marker) {
        let facts = self.facts;
        self.check(action, facts.memory.swap.is_none(), "a task is given out while a swap is open");
        let alone = self.prompted.insert(&marker.session);
        self.check(action, alone, "a session is given two prompts in one plan");
        let ObjectRef::Task(task) = &action.object else { return self.check(action, false, "a claim is not about a task") };
        let once = self.claimed.insert(task);
        self.check(action, once, "a task is claimed twice in one plan");
        // The marker of an attempt that is under way may be put back; nothing else is claimed for its session, or of its task.
        let free = self.open.iter().all(|(_, attempt)| attempt.session != marker.session || attempt.claim == marker.claim);
        self.check(action, free, "a session is given a task while it has one");
        let unattempted = self.open.get(task).is_none_or(|attempt| attempt.claim == marker.claim);
        self.check(action, unattempted, "a task is claimed while an attempt at it is open");
        let waits = |queue: &QueueView| queue.inbox.contains_key(&task.name) && !queue.markers.contains_key(&task.name);
        let queue = facts.seen.queues.get(&task.project).and_then(|queue| queue.fresh(facts.now, MAX_FACT_AGE));
        self.check(action, queue.is_some_and(waits), "a task is claimed that is not known to wait");
    }

    fn attempt(&self, action: &Action) -> Option<&'a TaskAttempt> {
        let ObjectRef::Task(task) = &action.object else { return None };
        self.facts.memory.tasks.get(task).and_then(TaskRecord::open)
    }

    fn holds(&self, action: &Action, claim: &ClaimId) -> bool {
        self.attempt(action).is_some_and(|attempt| attempt.claim == *claim)
    }

    fn check(&mut self, action: &Action, holds: bool, rule: &'static str) {
        if !holds {
            self.findings.push(Finding { object: action.object.to_string(), rule });
        }
    }
}
