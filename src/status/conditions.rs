//! The conditions of every object.

use std::collections::BTreeMap;

use crate::{
    model::{AccountName, Activity, Condition, ConditionKind, Now, ObjectRef, SessionName, Truth},
    observed::{LoginView, Seen, Snapshot},
    plan::{Action, Drift, Finding, Memory, Planned, Waiting},
    spec::{Account, Spec},
    swap::Place,
};

/// Conditions by object and kind.
pub type Conditions = BTreeMap<(ObjectRef, ConditionKind), Condition>;

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

/// Computes all conditions. `previous` gives the time of the last flip; a condition whose status is the same keeps it.
pub fn conditions(inputs: &Inputs<'_>, previous: &Conditions) -> Conditions {
    let mut waiting = BTreeMap::new();
    for entry in inputs.planned.report.waiting.iter().chain(&inputs.planned.report.warnings) {
        waiting.entry(&entry.object).or_insert(entry);
    }
    let actions = inputs.planned.plan.actions.iter().map(|(_, action)| (&action.object, action)).collect();
    let drift = inputs.planned.report.drift.iter().map(|drift| (&drift.object, drift)).collect();
    let mut maker = Maker { inputs, previous, waiting, actions, drift, made: Conditions::new() };
    maker.pool();
    for account in &inputs.spec.accounts {
        maker.account(account);
    }
    for name in inputs.spec.sessions.keys() {
        maker.session(name);
    }
    maker.links();
    maker.made
}

struct Maker<'a> {
    inputs: &'a Inputs<'a>,
    previous: &'a Conditions,
    waiting: BTreeMap<&'a ObjectRef, &'a Waiting>,
    actions: BTreeMap<&'a ObjectRef, &'a Action>,
    drift: BTreeMap<&'a ObjectRef, &'a Drift>,
    made: Conditions,
}

impl Maker<'_> {
    fn set(&mut self, object: &ObjectRef, kind: ConditionKind, status: Truth, reason: &str, message: impl Into<String>) {
        let key = (object.clone(), kind);
        let before = self.previous.get(&key).filter(|before| before.status == status);
        let condition = Condition {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: self.inputs.memory.generation,
            last_transition_time: before.map_or(self.inputs.now.wall, |before| before.last_transition_time),
        };
        self.made.insert(key, condition);
    }

    fn set_if(&mut self, object: &ObjectRef, kind: ConditionKind, holds: bool, reasons: (&str, &str), message: impl Into<String>) {
        let (status, reason) = if holds { (Truth::True, reasons.0) } else { (Truth::False, reasons.1) };
        self.set(object, kind, status, reason, message);
    }

    fn pool(&mut self) {
        let Inputs { spec, seen, memory, planned, findings, spec_state, now, .. } = *self.inputs;
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
        let (status, reason, message) = if seen.tmux.value().is_none() {
            (Truth::Unknown, "ServerUnknown", "tmux cannot be looked at".to_owned())
        } else if !planned.plan.is_empty() {
            (Truth::False, "ChangesPending", format!("{} changes are to be made", planned.plan.actions.len()))
        } else if let Some(first) = report.waiting.first().or(report.warnings.first()) {
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
        self.pool_rollup(spec, latch.is_some(), exhausted);
    }

    fn pool_rollup(&mut self, spec: &Spec, latched: bool, exhausted: bool) {
        let Inputs { seen, memory, .. } = *self.inputs;
        let degraded = spec.sessions.keys().filter(|name| is_degraded(name, self.inputs)).count();
        let message = format!("{degraded} of {} sessions", spec.sessions.len());
        self.set_if(&ObjectRef::Pool, ConditionKind::Degraded, degraded > 0, ("SessionsDegraded", "NoneDegraded"), message);
        let ready = spec.sessions.keys().filter(|name| readiness(name, seen).0 == Truth::True).count();
        let all = spec.sessions.len();
        let message = format!("{ready} of {all} sessions are ready");
        let reason = match (latched, exhausted, ready == all) {
            (true, ..) => "Latched",
            (_, true, _) => "Exhausted",
            (_, _, false) => "SessionsNotReady",
            _ => "AllReady",
        };
        let holds = !latched && !exhausted && ready == all && memory.active.is_some();
        self.set_if(&ObjectRef::Pool, ConditionKind::Ready, holds, (reason, reason), message);
    }

    fn account(&mut self, account: &Account) {
        let Inputs { seen, standing, quota, .. } = *self.inputs;
        let object = &ObjectRef::Account(account.name.clone());
        let login = seen.homes.get(&account.name).and_then(Seen::value).map(|home| &home.login);
        let (status, reason, message) = match login {
            Some(LoginView::Valid { expires_at: Some(until) }) => (Truth::True, "LoggedIn", format!("until {until}")),
            Some(LoginView::Valid { expires_at: None }) => (Truth::True, "LoggedIn", String::new()),
            Some(LoginView::Missing) => {
                (Truth::False, "LoginMissing", format!("run `CLAUDE_CONFIG_DIR={} claude auth login`", account.home.display()))
            }
            Some(LoginView::Dead { reason }) => {
                let message = format!("{reason}; run `CLAUDE_CONFIG_DIR={} claude auth login`", account.home.display());
                (Truth::False, "LoginDead", message)
            }
            Some(LoginView::Unknown) | None => (Truth::Unknown, "LoginUnknown", "it has not been looked at".to_owned()),
        };
        self.set(object, ConditionKind::LoginValid, status, reason, message);
        match quota.get(&account.name) {
            Some((known, words)) => self.set_if(object, ConditionKind::QuotaKnown, *known, ("Fresh", "NotFresh"), words.clone()),
            None => self.set(object, ConditionKind::QuotaKnown, Truth::Unknown, "NoReading", "no source has answered yet"),
        }
        if let Some((viable, words)) = standing.get(&account.name) {
            self.set_if(object, ConditionKind::Available, *viable, ("HasRoom", "NotViable"), words.clone());
        }
    }

    fn session(&mut self, name: &SessionName) {
        let Inputs { seen, memory, .. } = *self.inputs;
        let object = &ObjectRef::Session(name.clone());
        let waiting = self.waiting.get(object).copied();
        let action = self.actions.get(object).copied();
        let (status, reason, message) = match (action, waiting) {
            (Some(action), _) => (Truth::False, "ChangePending", action.what.clone()),
            (None, Some(waiting)) => (Truth::False, waiting.reason.as_str(), waiting.message.clone()),
            (None, None) if seen.tmux.value().is_none() => (Truth::Unknown, "ServerUnknown", "tmux cannot be looked at".to_owned()),
            (None, None) => (Truth::True, "InSync", String::new()),
        };
        self.set(object, ConditionKind::Synced, status, reason, message);
        let conflict = waiting.filter(|waiting| waiting.reason == "Conflicted");
        if let Some(conflict) = conflict {
            self.set(object, ConditionKind::Conflicted, Truth::True, "NotOurs", conflict.message.clone());
        }
        let (status, reason, message) = readiness(name, seen);
        self.set(object, ConditionKind::Ready, status, reason, message);
        let drift = self.drift.get(object);
        let message = drift.map(|drift| drift.message.clone()).unwrap_or_default();
        self.set_if(object, ConditionKind::Drifted, drift.is_some(), ("ChangedOutside", "AsStarted"), message);
        let asks = seen.activity(name) == Activity::NeedsInput;
        let what = seen.agents.get(name).and_then(Seen::value).and_then(|agent| agent.register.as_ref()?.waiting_for.clone());
        self.set_if(object, ConditionKind::NeedsInput, asks, ("WaitsForPerson", "NothingAsked"), what.unwrap_or_default());
        let degraded = is_degraded(name, self.inputs);
        let attempts = memory.attempts.get(object);
        let message = attempts.and_then(|attempts| attempts.last_error.clone()).unwrap_or_default();
        let quarantined = attempts.is_some_and(|attempts| attempts.quarantined);
        let reason = if quarantined { "Quarantined" } else { "FailsRepeatedly" };
        self.set_if(object, ConditionKind::Degraded, degraded, (reason, "Healthy"), message);
    }

    fn links(&mut self) {
        let Inputs { spec, seen, .. } = *self.inputs;
        for account in &spec.accounts {
            for link in &spec.shared.links {
                let object = &ObjectRef::Link(account.name.clone(), link.clone());
                let conflict = self.waiting.get(object).copied();
                let message = conflict.map(|warning| warning.message.clone()).unwrap_or_default();
                self.set_if(object, ConditionKind::Conflicted, conflict.is_some(), ("NotOurs", "NoConflict"), message);
                let target = spec.shared.root.join(link.as_str());
                let (status, reason) = match seen.links.get(&(account.name.clone(), link.clone())) {
                    Some(Seen::Known(fact)) if crate::plan::link_is_right(&fact.value, &target) => (Truth::True, "Right"),
                    Some(Seen::Known(_)) => (Truth::False, "Wrong"),
                    _ => (Truth::Unknown, "NotSeen"),
                };
                self.set(object, ConditionKind::Synced, status, reason, String::new());
            }
        }
    }
}

/// Whether a session is usable now.
fn readiness(name: &SessionName, seen: &Snapshot) -> (Truth, &'static str, String) {
    match seen.agents.get(name) {
        Some(Seen::Known(fact)) => match (fact.value.process, fact.value.activity) {
            (None, _) => (Truth::False, "NotRunning", "no agent runs".to_owned()),
            (Some(_), Activity::Idle | Activity::Working) => (Truth::True, "Running", fact.value.activity.to_string()),
            (Some(_), Activity::Unknown) => (Truth::Unknown, "ActivityUnknown", "it runs, and what it does is not known".to_owned()),
            (Some(_), activity) => (Truth::False, "NotUsable", activity.to_string()),
        },
        Some(Seen::Unknown(why)) => (Truth::Unknown, "NotSeen", why.to_string()),
        None if seen.tmux.value().is_some() => (Truth::False, "NotRunning", "no agent runs".to_owned()),
        None => (Truth::Unknown, "NotSeen", "it has not been looked at".to_owned()),
    }
}

/// Failures in a row from which an object counts as degraded.
const DEGRADED_FAILURES: u32 = 3;

fn is_degraded(name: &SessionName, inputs: &Inputs<'_>) -> bool {
    let attempts = inputs.memory.attempts.get(&ObjectRef::Session(name.clone()));
    let lost = inputs.memory.swap.as_ref().and_then(|swap| swap.moves.get(name)).is_some_and(|moved| moved.place == Place::Lost);
    lost || attempts.is_some_and(|attempts| attempts.quarantined || attempts.failures >= DEGRADED_FAILURES)
}
