//! What the engine knows and plans, without the right to write: all that a dry run needs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    host::{Host, Look},
    model::{AccountName, Activity, Condition, Event, EventReason, Now, ObjectRef, SessionName, Severity},
    observed::{Seen, Snapshot},
    plan::{
        Finding, Memory, Planned, absorb, filter, lint, plan,
        tasks::{Gate, GroundTruth, Hold},
        undeclared_sessions, wanted_transcripts,
    },
    spec::Spec,
    status::{Conditions, Inputs, SpecState, Status, conditions, status},
    store::Store,
    swap::SwapCause,
};

/// One pool as seen, remembered and planned by this process.
pub struct View<H> {
    pub(super) host: H,
    pub(super) spec: Spec,
    pub(super) spec_state: SpecState,
    pub(super) memory: Memory,
    pub(super) seen: Snapshot,
    /// What the last pass left to do, with its report.
    pub(super) planned: Planned,
    pub(super) findings: Vec<Finding>,
    pub(super) conditions: Conditions,
    /// Whether and why each account could be worked under, and whether its readings are fresh: from the last plan.
    pub(super) standing: BTreeMap<AccountName, (bool, String)>,
    pub(super) quota: BTreeMap<AccountName, (bool, String)>,
    /// The swap that the last plan proposed.
    pub(super) proposed: Option<(AccountName, SwapCause)>,
    /// What the open swap waits for, in words.
    pub(super) swap_waits: Option<String>,
    /// When each account reaches a threshold at its present rate, as of its newest readings.
    pub(super) reaches: BTreeMap<AccountName, Timestamp>,
    /// When the tasks are to be looked at again by the clock alone.
    pub(super) tasks_due: Option<Timestamp>,
    /// Why this process gives out no tasks, if it does not.
    pub(super) tasks_held: Option<Hold>,
    /// Whether tasks are given out, as of the last plan.
    pub(super) gate: Gate,
    /// Whether it was for lack of room that nothing was given out, and there has been none since.
    pub(super) awaits_room: bool,
    /// Words on what sessions last did, for a prompt that asks once more.
    pub(super) ground_truth: GroundTruth,
    /// Why the memory cannot be used, while it cannot.
    pub(super) blind: Option<String>,
}

impl<H: Host> View<H> {
    /// A view that has seen nothing yet. `memory` is a copy: what the view learns stays in it.
    pub fn new(mut host: H, spec: Spec, memory: Memory, seen: Snapshot) -> Self {
        host.configure(&spec, memory.pool);
        Self {
            host,
            spec,
            spec_state: SpecState::default(),
            memory,
            seen,
            planned: Planned::default(),
            findings: Vec::new(),
            conditions: Conditions::new(),
            standing: BTreeMap::new(),
            quota: BTreeMap::new(),
            proposed: None,
            swap_waits: None,
            reaches: BTreeMap::new(),
            tasks_due: None,
            tasks_held: None,
            gate: Gate::OPEN,
            awaits_room: false,
            ground_truth: GroundTruth::new(),
            blind: None,
        }
    }

    /// Gives out no tasks. Who gives one out must stay to see that it arrived.
    pub fn hold_tasks(&mut self, hold: Hold) {
        self.tasks_held = Some(hold);
    }

    /// The same, with the times at which conditions flipped, as `store` remembers them.
    #[must_use]
    pub fn remembering<Access>(mut self, store: &Store<Access>) -> Self {
        self.conditions = super::publish::remembered(store);
        self
    }

    /// Looks and plans, and writes nothing. A removal counts as confirmed: somebody is looking at it.
    pub async fn preview(&mut self) -> Planned {
        self.look(&Look::all()).await;
        if let Some(why) = &self.blind {
            self.planned = Self::plan_blind(why);
            return self.planned.clone();
        }
        let now = self.host.now();
        let absorbed = absorb(&self.spec, &self.seen, &self.memory, now);
        for change in &absorbed.changes {
            self.memory.apply(change);
        }
        self.look_at_transcripts().await;
        self.confirm_removals();
        let planned = self.plan_now();
        self.planned = planned.clone();
        planned
    }

    /// Plans anew as if an operator had confirmed that every undeclared session may be stopped. Answers the plan and which sessions they are.
    pub fn preview_confirmed(&mut self) -> (Planned, BTreeSet<SessionName>) {
        self.memory.prune_confirmed.clone_from(&self.memory.removal_seen);
        self.planned = self.plan_now();
        (self.planned.clone(), self.memory.prune_confirmed.clone())
    }

    /// Notes the undeclared sessions in the copy of the memory that this process holds, as a first pass would have done.
    pub fn confirm_removals(&mut self) {
        if let Some(tmux) = self.seen.tmux.value() {
            self.memory.removal_seen = undeclared_sessions(&self.spec, tmux, &self.memory);
        }
    }

    pub(super) async fn look_at_transcripts(&mut self) {
        let transcripts = wanted_transcripts(&self.spec, &self.seen, &self.memory);
        if !transcripts.is_empty() {
            self.look(&Look { transcripts, ..Look::default() }).await;
        }
    }

    /// The plan that is left after lint and filter.
    pub(super) fn plan_now(&mut self) -> Planned {
        let now = self.host.now();
        let mut planned = plan(&self.spec, &self.seen, &self.memory, now);
        let choice = self.plan_swap(&mut planned, now);
        self.plan_tasks(&choice, &mut planned, now);
        self.findings = lint(&planned.plan, &self.spec, &self.seen, &self.memory, now).err().unwrap_or_default();
        filter(planned, &self.memory, now)
    }

    /// When the first object that backs off may be tried again, or a suspension ends.
    pub(super) fn next_retry(&self) -> Option<Timestamp> {
        let now = self.host.now();
        let retries = self.memory.attempts.values().filter_map(|attempts| attempts.waits_until(now));
        retries.chain(suspension_end(&self.memory)).filter(|at| *at > now.wall).min()
    }
    /// Whether an agent that was just started has not said anything yet.
    pub(super) fn is_starting(&self) -> bool {
        self.spec.sessions.keys().any(|name| self.seen.activity(name) == Activity::Starting)
    }

    /// Whether something is latched, quarantined, failing, or in need of a person.
    pub fn is_degraded(&self) -> bool {
        let failing = self.memory.attempts.values().any(|attempts| attempts.quarantined || attempts.failures > 0);
        failing || !self.memory.latches.is_empty() || !self.findings.is_empty() || !self.planned.report.warnings.is_empty()
    }

    /// The pool as of the last pass.
    pub fn status(&self) -> Status {
        status(&self.inputs(&self.planned, self.host.now()), &self.conditions)
    }

    /// All conditions as of the last pass.
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub(super) fn inputs<'a>(&'a self, planned: &'a Planned, now: Now) -> Inputs<'a> {
        Inputs {
            spec: &self.spec,
            seen: &self.seen,
            memory: &self.memory,
            planned,
            findings: &self.findings,
            standing: &self.standing,
            quota: &self.quota,
            spec_state: &self.spec_state,
            now,
        }
    }
    /// One line for `systemctl status`.
    pub(super) fn status_line(&self) -> String {
        let running = self
            .spec
            .sessions
            .keys()
            .filter(|name| self.seen.agents.get(*name).and_then(Seen::value).is_some_and(|agent| agent.process.is_some()))
            .count();
        let active = self.memory.active.as_ref().map_or("no account", |active| active.account.as_str());
        let state = match (&self.memory.swap, self.memory.latches.is_empty()) {
            (_, false) => "LATCHED",
            (Some(_), _) => "swapping",
            (None, _) if self.memory.suspended.is_some() => "suspended",
            _ => "converging",
        };
        format!("{state}: {running} of {} sessions run on {active}", self.spec.sessions.len())
    }

    /// Computes the conditions on what was last seen and planned. Answers the former ones.
    pub fn refresh_conditions(&mut self) -> Conditions {
        let now = self.host.now();
        let conditions = conditions(&self.inputs(&self.planned, now), &self.conditions);
        std::mem::replace(&mut self.conditions, conditions)
    }

    /// The conditions of one object.
    pub fn conditions_of(&self, object: &ObjectRef) -> Vec<Condition> {
        self.conditions.iter().filter(|((of, _), _)| of == object).map(|(_, condition)| condition.clone()).collect()
    }

    /// What is remembered.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What was last seen.
    pub const fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// The spec in force.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What the last pass left to do and waits for.
    pub const fn planned(&self) -> &Planned {
        &self.planned
    }

    /// The host, for the loop that waits for it and for the tests that own it.
    pub const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    pub(super) fn event(&self, object: ObjectRef, reason: EventReason, severity: Severity, message: String) -> Event {
        Event { at: self.host.now().wall, object, reason, severity, message }
    }

    pub(super) async fn look(&mut self, look: &Look) {
        self.host.observe(&self.memory, look, &mut self.seen).await;
    }

    /// Both clocks of the host.
    pub fn now(&self) -> Now {
        self.host.now()
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.host.now().wall
    }
}

fn suspension_end(memory: &Memory) -> Option<Timestamp> {
    memory.suspended.as_ref().and_then(|suspension| suspension.until)
}
