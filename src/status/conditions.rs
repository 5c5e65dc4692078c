//! The conditions of every object.

use std::{collections::BTreeMap, ffi::OsStr};

use crate::{
    model::{AccountName, Activity, Condition, ConditionKind, Now, ObjectRef, SessionName, StartDigest, Truth},
    observed::{Abreast, AgentView, LinkView, LoginView, Seen, Snapshot, TmuxView},
    plan::{
        ACTIVE_UNKNOWN, Action, Drift, Finding, MAX_FACT_AGE, Memory, Phase, Planned, Refused, Waiting, ends_in, login_of, login_stage,
    },
    spec::{Account, Spec},
    swap::Place,
};

/// Conditions by object and kind.
pub type Conditions = BTreeMap<(ObjectRef, ConditionKind), Condition>;

/// The word under which it stands in the report that the memory cannot be used.
pub const STATE_UNREADABLE: &str = "StateUnreadable";

/// Whether the spec on disk is the one that is acted on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecState {
    /// The diagnostic of a spec that was refused; the last good one stays in force.
    pub rejected: Option<String>,
}

/// What conditions are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What was seen.
    pub seen: &'a Snapshot,
    /// What is remembered.
    pub memory: &'a Memory,
    /// What is left to do, after the filter, with its report.
    pub planned: &'a Planned,
    /// What the lint found.
    pub findings: &'a [Finding],
    /// For each account whether it could be a swap's target, and why or why not, in words.
    pub standing: &'a BTreeMap<AccountName, (bool, String)>,
    /// Whether every account's windows are known and fresh, with words.
    pub quota: &'a BTreeMap<AccountName, (bool, String)>,
    /// Whether the spec on disk was accepted.
    pub spec_state: &'a SpecState,
    /// Now.
    pub now: Now,
}

impl<'a> Inputs<'a> {
    /// The panes, if what is known of them is not too old to count.
    fn tmux(&self) -> Option<&'a TmuxView> {
        self.seen.tmux.fresh(self.now, MAX_FACT_AGE)
    }
}

/// Computes all conditions. `previous` gives the time of the last flip; a condition whose status is the same keeps it.
pub fn conditions(inputs: &Inputs<'_>, previous: &Conditions) -> Conditions {
    let mut waiting = BTreeMap::new();
    for entry in inputs.planned.report.waiting.iter().chain(&inputs.planned.report.warnings) {
        waiting.entry(&entry.object).or_insert(entry);
    }
    let actions = inputs.planned.plan.actions.iter().map(|(_, action)| (&action.object, action)).collect();
    let drift = inputs.planned.report.drift.iter().map(|drift| (&drift.object, drift)).collect();
    let mut digests = BTreeMap::new();
    for session in inputs.spec.sessions.values() {
        digests.entry(session.workdir.as_os_str()).or_insert_with(|| inputs.spec.start_digest(session));
    }
    let room = inputs.spec.sessions.len() * OF_A_SESSION;
    let mut maker = Maker { inputs, waiting, actions, drift, digests, made: Vec::with_capacity(room) };
    let mut agents = Abreast::of(&inputs.seen.agents);
    let ready: Vec<_> = inputs.spec.sessions.keys().map(|name| readiness(agents.get(name), inputs)).collect();
    // In the order in which they are kept: there may be thousands, and what is sorted already is sorted at once.
    maker.pool(&ready);
    for account in &inputs.spec.accounts {
        maker.account(account);
    }
    maker.links();
    for (name, ready) in inputs.spec.sessions.keys().zip(ready) {
        maker.session(name, ready);
    }
    let mut made: Conditions = maker.made.into_iter().collect();
    // Both are sorted: there may be thousands, and they are compared in every pass.
    let mut previous = previous.iter().peekable();
    for (key, condition) in &mut made {
        while previous.next_if(|(before, _)| *before < key).is_some() {}
        if let Some((_, before)) = previous.next_if(|(before, old)| *before == key && old.status == condition.status) {
            condition.last_transition_time = before.last_transition_time;
        }
    }
    made
}

/// How many conditions a session has.
const OF_A_SESSION: usize = 6;

struct Maker<'a> {
    inputs: &'a Inputs<'a>,
    waiting: BTreeMap<&'a ObjectRef, &'a Waiting>,
    actions: BTreeMap<&'a ObjectRef, &'a Action>,
    drift: BTreeMap<&'a ObjectRef, &'a Drift>,
    /// What sessions are to be started with, by start directory: all that differs between them.
    digests: BTreeMap<&'a OsStr, StartDigest>,
    /// The last one of a kind counts.
    made: Vec<((ObjectRef, ConditionKind), Condition)>,
}

impl Maker<'_> {
    fn set(&mut self, object: &ObjectRef, kind: ConditionKind, status: Truth, reason: &str, message: impl Into<String>) {
        let condition = Condition {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: self.inputs.memory.generation,
            last_transition_time: self.inputs.now.wall,
        };
        self.made.push(((object.clone(), kind), condition));
    }

    fn set_if(&mut self, object: &ObjectRef, kind: ConditionKind, holds: bool, reasons: (&str, &str), message: impl Into<String>) {
        let (status, reason) = if holds { (Truth::True, reasons.0) } else { (Truth::False, reasons.1) };
        self.set(object, kind, status, reason, message);
    }

    fn pool(&mut self, ready: &[Readiness]) {
        let Inputs { spec, memory, planned, findings, spec_state, now, .. } = *self.inputs;
        let object = &ObjectRef::Pool;
        match &spec_state.rejected {
            None => {
                self.set(
                    object,
                    ConditionKind::SpecAccepted,
                    Truth::True,
                    "Valid",
                    format!("generation {} is in force", memory.generation),
                );
            }
            Some(diagnostic) => {
                let message = format!("the spec on disk is refused and generation {} stays in force: {diagnostic}", memory.generation);
                self.set(object, ConditionKind::SpecAccepted, Truth::False, "Invalid", message);
            }
        }
        let report = &planned.report;
        // What is old and about to be cleaned away makes nothing differ from the spec, and neither does a task on its way, or one that waits.
        let pending =
            planned.plan.actions.iter().filter(|(phase, _)| !matches!(phase, Phase::Settle | Phase::Dispatch | Phase::Tidy)).count();
        let is_task = |entry: &&Waiting| matches!(entry.object, ObjectRef::Task(_));
        let is_work = |entry: &&Waiting| is_task(entry) || matches!(entry.object, ObjectRef::Project(_));
        let waits = report.waiting.iter().find(|entry| !is_work(entry)).or_else(|| report.warnings.iter().find(|entry| !is_task(entry)));
        let (status, reason, message) = if self.inputs.tmux().is_none() {
            (Truth::Unknown, "ServerUnknown", "tmux cannot be looked at".to_owned())
        } else if memory.swap.is_some() {
            (Truth::False, "Swapping", "a swap is open".to_owned())
        } else if pending > 0 {
            (Truth::False, "ChangesPending", format!("changes to be made: {pending}"))
        } else if let Some(first) = waits {
            (Truth::False, first.reason.as_str(), format!("{}: {}", first.object, first.message))
        } else {
            (Truth::True, "InSync", "everything is as declared".to_owned())
        };
        self.set(object, ConditionKind::Synced, status, reason, message);
        let swapping = memory.swap.as_ref().map(|swap| format!("a swap from {} to {} is under way", swap.plan.from, swap.plan.to));
        self.set_if(object, ConditionKind::Progressing, swapping.is_some(), ("Swapping", "Quiet"), swapping.unwrap_or_default());
        let suspended = memory.suspended.as_ref().filter(|suspension| suspension.until.is_none_or(|until| until > now.wall));
        let message = suspended.map(|suspension| format!("by {}: {}", suspension.actor, suspension.reason)).unwrap_or_default();
        self.set_if(object, ConditionKind::Suspended, suspended.is_some(), ("OperatorAsked", "NotSuspended"), message);
        let latch = memory.latches.get(object);
        let message = latch.map(|latch| latch.causes.join("; then: ")).unwrap_or_default();
        self.set_if(object, ConditionKind::PartialSwap, latch.is_some(), ("RollbackFailed", "NotLatched"), message);
        let exhausted = memory.exhausted_since.is_some();
        let message = if exhausted { "no account has room; nothing is stopped, and the accounts are looked at each minute" } else { "" };
        self.set_if(object, ConditionKind::Exhausted, exhausted, ("NoViableAccount", "AccountAvailable"), message);
        let finding = findings.first().map(ToString::to_string).unwrap_or_default();
        self.set_if(object, ConditionKind::PlanRejected, !findings.is_empty(), ("SafetyRule", "PlanSafe"), finding);
        self.pool_rollup(spec, ready, latch.is_some(), exhausted);
    }

    fn pool_rollup(&mut self, spec: &Spec, ready: &[Readiness], latched: bool, exhausted: bool) {
        let memory = self.inputs.memory;
        let degraded = spec.sessions.keys().filter(|name| is_degraded(name, self.inputs)).count();
        let report = &self.inputs.planned.report;
        let is_of_pool =
            |entry: &&Waiting| matches!(entry.reason.as_str(), STATE_UNREADABLE | ACTIVE_UNKNOWN) && entry.object == ObjectRef::Pool;
        match report.waiting.iter().chain(&report.warnings).find(is_of_pool) {
            Some(entry) => self.set(&ObjectRef::Pool, ConditionKind::Degraded, Truth::True, &entry.reason, entry.message.clone()),
            None => {
                let message = format!("{degraded} of {} sessions", spec.sessions.len());
                self.set_if(&ObjectRef::Pool, ConditionKind::Degraded, degraded > 0, ("SessionsDegraded", "NoneDegraded"), message);
            }
        }
        let count = |truth| ready.iter().filter(|(found, ..)| *found == truth).count();
        let (ready, not_ready, unknown) = (count(Truth::True), count(Truth::False), count(Truth::Unknown));
        let (status, reason) = if latched {
            (Truth::False, "Latched")
        } else if exhausted {
            (Truth::False, "Exhausted")
        } else if not_ready > 0 {
            (Truth::False, "SessionsNotReady")
        } else if unknown > 0 {
            (Truth::Unknown, "SessionsNotSeen")
        } else if memory.active.is_none() {
            (Truth::False, "NoActiveAccount")
        } else {
            (Truth::True, "AllReady")
        };
        let rest = if unknown > 0 { format!(", of {unknown} it is not known") } else { String::new() };
        let message = format!("{ready} of {} sessions are ready{rest}", spec.sessions.len());
        self.set(&ObjectRef::Pool, ConditionKind::Ready, status, reason, message);
    }

    fn account(&mut self, account: &Account) {
        let Inputs { seen, memory, standing, quota, now, .. } = *self.inputs;
        let object = &ObjectRef::Account(account.name.clone());
        let refused = memory.refused_logins.get(&account.name).is_some_and(|login| login.state == Refused::Confirmed);
        let (status, reason, message) = match &login_of(seen, memory, &account.name) {
            LoginView::Valid { expires_at: Some(until) } if *until <= now.wall => {
                let message = format!("it ended at {until:.0}; run `{}`", account.login_command());
                (Truth::False, "LoginEnded", message)
            }
            LoginView::Valid { expires_at: Some(until) } if login_stage(*until, now.wall).is_some() => {
                let message = format!("ends {}, at {until:.0}; run `{}` before", ends_in(*until, now.wall), account.login_command());
                (Truth::True, "EndsSoon", message)
            }
            LoginView::Valid { expires_at: Some(until) } => (Truth::True, "LoggedIn", format!("until {until:.0}")),
            LoginView::Valid { expires_at: None } => (Truth::True, "LoggedIn", String::new()),
            LoginView::Missing => (Truth::False, "LoginMissing", format!("run `{}`", account.login_command())),
            LoginView::Dead { reason } => {
                let message = format!("{reason}; run `{}`", account.login_command());
                (Truth::False, if refused { "LoginRefused" } else { "LoginDead" }, message)
            }
            LoginView::Unknown => (Truth::Unknown, "LoginUnknown", "it has not been looked at".to_owned()),
        };
        self.set(object, ConditionKind::LoginValid, status, reason, message);
        match quota.get(&account.name) {
            Some((known, words)) => self.set_if(object, ConditionKind::QuotaKnown, *known, ("Fresh", "NotFresh"), words.clone()),
            None => self.set(object, ConditionKind::QuotaKnown, Truth::Unknown, "NoReading", "no source has answered yet"),
        }
        match standing.get(&account.name) {
            Some((viable, words)) => self.set_if(object, ConditionKind::Available, *viable, ("HasRoom", "NotViable"), words.clone()),
            None => {
                self.set(object, ConditionKind::Available, Truth::Unknown, "NotDecided", "it has not been compared with the others yet");
            }
        }
    }

    fn session(&mut self, name: &SessionName, ready: Readiness) {
        let Inputs { seen, memory, .. } = *self.inputs;
        let object = &ObjectRef::Session(name.clone());
        let waiting = self.waiting.get(object).copied();
        let action = self.actions.get(object).copied();
        let moving = memory.swap.as_ref().is_some_and(|swap| swap.moves.get(name).is_some_and(|moved| !swap.is_settled(moved)));
        let (status, reason, message) = match (action, waiting) {
            _ if moving => (Truth::False, "Swapping", "the open swap moves it".to_owned()),
            (Some(action), _) => (Truth::False, "ChangePending", action.what.clone()),
            (None, Some(waiting)) => (Truth::False, waiting.reason.as_str(), waiting.message.clone()),
            (None, None) if self.inputs.tmux().is_none() => (Truth::Unknown, "ServerUnknown", "tmux cannot be looked at".to_owned()),
            (None, None) => (Truth::True, "InSync", String::new()),
        };
        self.set(object, ConditionKind::Synced, status, reason, message);
        let (status, reason, message) = ready;
        self.set(object, ConditionKind::Ready, status, reason, message);
        self.degraded(name, object);
        self.drifted(name, object);
        let is_seen = status != Truth::Unknown || reason == ACTIVITY_UNKNOWN;
        match seen.agents.get(name).and_then(Seen::value).filter(|_| is_seen).and_then(AgentView::asks) {
            Some((need, words)) => self.set(object, ConditionKind::NeedsInput, Truth::True, need.reason(), words),
            None if status == Truth::Unknown => {
                self.set(object, ConditionKind::NeedsInput, Truth::Unknown, reason, "what it does is not known");
            }
            None => self.set(object, ConditionKind::NeedsInput, Truth::False, "NothingAsked", ""),
        }
        let conflict = waiting.filter(|waiting| waiting.reason == "Conflicted");
        let message = conflict.map(|conflict| conflict.message.clone()).unwrap_or_default();
        self.set_if(object, ConditionKind::Conflicted, conflict.is_some(), ("NotOurs", "NoConflict"), message);
    }

    fn degraded(&mut self, name: &SessionName, object: &ObjectRef) {
        let memory = self.inputs.memory;
        let degraded = is_degraded(name, self.inputs);
        let attempts = memory.attempts.get(object);
        let message = attempts.and_then(|attempts| attempts.last_error.clone()).unwrap_or_default();
        let (reason, message) = if is_given_up(name, memory) {
            ("GivenUp", "the open swap could not move it and has left it as it is".to_owned())
        } else if attempts.is_some_and(|attempts| attempts.quarantined) {
            ("Quarantined", message)
        } else {
            ("FailsRepeatedly", message)
        };
        self.set_if(object, ConditionKind::Degraded, degraded, (reason, "Healthy"), message);
    }

    fn drifted(&mut self, name: &SessionName, object: &ObjectRef) {
        let pane = self.inputs.tmux().map(|tmux| tmux.panes.get(name.as_str()));
        let wanted = self.inputs.spec.sessions.get(name).and_then(|session| self.digests.get(session.workdir.as_os_str()));
        let ours = |mark: &&crate::observed::Mark| mark.pool == self.inputs.memory.pool;
        let mark = pane.flatten().and_then(|pane| pane.mark.as_ref()).filter(ours);
        let other = mark.zip(wanted).filter(|(mark, wanted)| mark.digest != **wanted);
        let (status, reason, message) = if let Some((mark, wanted)) = other {
            (Truth::True, "SettingsChanged", format!("it was started with settings {} and not {wanted}", mark.digest))
        } else if let Some(drift) = self.drift.get(object) {
            (Truth::True, "ChangedOutside", drift.message.clone())
        } else if pane.is_none() {
            (Truth::Unknown, "ServerUnknown", "tmux cannot be looked at".to_owned())
        } else {
            (Truth::False, "AsStarted", String::new())
        };
        self.set(object, ConditionKind::Drifted, status, reason, message);
    }

    fn links(&mut self) {
        let Inputs { spec, seen, .. } = *self.inputs;
        for account in &spec.accounts {
            for link in &spec.shared.links {
                let object = &ObjectRef::Link(account.name.clone(), link.clone());
                let conflict = self.waiting.get(object).copied().filter(|waiting| waiting.reason == "Conflicted");
                let message = conflict.map(|warning| warning.message.clone()).unwrap_or_default();
                self.set_if(object, ConditionKind::Conflicted, conflict.is_some(), ("NotOurs", "NoConflict"), message);
                let target = spec.shared.root.join(link.as_str());
                let (status, reason) = match seen.links.get(&(account.name.clone(), link.clone())) {
                    Some(Seen::Known(fact)) if crate::plan::link_is_right(&fact.value, &target) => (Truth::True, "Right"),
                    // Before the first convergence nothing has gone wrong.
                    Some(Seen::Known(fact)) if fact.value == LinkView::Absent => (Truth::False, "NotMade"),
                    Some(Seen::Known(_)) => (Truth::False, "Wrong"),
                    _ => (Truth::Unknown, "NotSeen"),
                };
                self.set(object, ConditionKind::Synced, status, reason, String::new());
            }
        }
    }
}

/// It was seen, and that says nothing.
const ACTIVITY_UNKNOWN: &str = "ActivityUnknown";

/// Whether a session is usable, with reason and message.
type Readiness = (Truth, &'static str, String);

/// Whether a session is usable now.
fn readiness(agent: Option<&Seen<AgentView>>, inputs: &Inputs<'_>) -> Readiness {
    match agent {
        Some(Seen::Known(fact)) if inputs.now.since(fact.at) > MAX_FACT_AGE => {
            (Truth::Unknown, "NotSeen", "it was last looked at too long ago".to_owned())
        }
        Some(Seen::Known(fact)) => match (fact.value.process, fact.value.activity) {
            (None, _) => (Truth::False, "NotRunning", "no agent runs".to_owned()),
            (Some(_), Activity::Idle | Activity::Working) => (Truth::True, "Running", fact.value.activity.to_string()),
            (Some(_), Activity::Unknown) => {
                let message = match fact.value.told_activity() {
                    Activity::Unknown => "it runs, and what it does is not known".to_owned(),
                    told => format!("it runs, and only its screen says what it does: {told}"),
                };
                (Truth::Unknown, ACTIVITY_UNKNOWN, message)
            }
            (Some(_), activity) => (Truth::False, "NotUsable", activity.to_string()),
        },
        Some(Seen::Unknown(why)) => (Truth::Unknown, "NotSeen", why.to_string()),
        None if inputs.tmux().is_some() => (Truth::False, "NotRunning", "no agent runs".to_owned()),
        None => (Truth::Unknown, "NotSeen", "it has not been looked at".to_owned()),
    }
}

/// Failures in a row from which an object counts as degraded.
const DEGRADED_FAILURES: u32 = 3;

fn is_degraded(name: &SessionName, inputs: &Inputs<'_>) -> bool {
    let attempts = inputs.memory.attempts.get(&ObjectRef::Session(name.clone()));
    is_given_up(name, inputs.memory) || attempts.is_some_and(|attempts| attempts.quarantined || attempts.failures >= DEGRADED_FAILURES)
}

fn is_given_up(name: &SessionName, memory: &Memory) -> bool {
    memory.swap.as_ref().and_then(|swap| swap.moves.get(name)).is_some_and(|moved| moved.place == Place::Lost)
}
