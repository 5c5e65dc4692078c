//! The frame that the planners of the object kinds share.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{Action, Disruption, Drift, Effect, Memory, Phase, Plan, Planned, Report, Verb, Waiting};
use crate::{
    model::{AccountName, Now, ObjectRef, StartDigest},
    observed::{LinkView, Seen, Snapshot},
    spec::{Account, Session, Spec},
};

/// The oldest facts that anything disruptive may rest on. The loop looks at everything again well within this time.
pub const MAX_FACT_AGE: Duration = Duration::from_mins(3);

/// Makes the plan: what must be done so that the world matches the spec, and what that waits for.
///
/// A swap is planned by [`choose`](super::target) and driven by [`crate::swap`]; while one is open, its sessions and the active link are left to it.
pub fn plan(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> Planned {
    let mut planner = Planner::new(spec, seen, memory, now);
    planner.plan_shared_root();
    planner.plan_homes();
    planner.plan_links();
    planner.plan_active();
    planner.plan_sessions();
    planner.plan_removals();
    planner.finish()
}

/// The inputs, and what has been planned so far.
pub(super) struct Planner<'a> {
    pub spec: &'a Spec,
    pub seen: &'a Snapshot,
    pub memory: &'a Memory,
    pub now: Now,
    /// The account that sessions are to run under; `None` when none is fit to begin with.
    pub account: Option<&'a Account>,
    /// Accounts whose home or links are wrong in a way that this plan does not put right, with the reason.
    pub unfit: BTreeMap<AccountName, String>,
    digests: BTreeMap<&'a Path, StartDigest>,
    actions: Vec<(Phase, Action)>,
    report: Report,
}

impl<'a> Planner<'a> {
    fn new(spec: &'a Spec, seen: &'a Snapshot, memory: &'a Memory, now: Now) -> Self {
        let mut digests = BTreeMap::new();
        for session in spec.sessions.values() {
            digests.entry(session.workdir.as_path()).or_insert_with(|| spec.start_digest(session));
        }
        Self { spec, seen, memory, now, account: None, unfit: BTreeMap::new(), digests, actions: Vec::new(), report: Report::default() }
    }

    /// [`Spec::start_digest`], computed once per start directory: it is all that differs between the sessions of one pool.
    pub fn digest(&self, session: &Session) -> StartDigest {
        self.digests.get(session.workdir.as_path()).cloned().unwrap_or_else(|| self.spec.start_digest(session))
    }

    pub fn act(&mut self, phase: Phase, action: Action) {
        self.actions.push((phase, action));
    }

    pub fn drift(&mut self, object: ObjectRef, message: impl Into<String>) {
        self.report.drift.push(Drift { object, message: message.into() });
    }

    pub fn wait(&mut self, object: ObjectRef, reason: &str, message: impl Into<String>) {
        self.report.waiting.push(Waiting { object, reason: reason.to_owned(), message: message.into() });
    }

    pub fn warn(&mut self, object: ObjectRef, reason: &str, message: impl Into<String>) {
        self.report.warnings.push(Waiting { object, reason: reason.to_owned(), message: message.into() });
    }

    /// Marks an account as one that nothing can be started under, and says why.
    pub fn mark_unfit(&mut self, account: &AccountName, reason: &str, message: impl Into<String>) {
        let message = message.into();
        self.unfit.entry(account.clone()).or_insert_with(|| message.clone());
        self.warn(ObjectRef::Account(account.clone()), reason, message);
    }

    /// Whether an agent is known or feared to run under `home`. Unknown counts as running.
    pub fn home_in_use(&self, home: &Path) -> bool {
        if self.seen.tmux.value().is_none() {
            return true;
        }
        self.seen.agents.values().any(|agent| match agent {
            Seen::Unknown(_) => true,
            Seen::Known(fact) => fact.value.process.is_some() && fact.value.home.as_deref().is_none_or(|running| running == home),
        })
    }

    fn finish(mut self) -> Planned {
        // The sort is stable: inside a phase the planners' own order, which follows the spec, is kept.
        self.actions.sort_by_key(|(phase, _)| *phase);
        Planned {
            plan: Plan { generation: self.memory.generation, spec: self.memory.spec.clone(), actions: self.actions },
            report: self.report,
        }
    }
}

/// An action that disturbs nothing.
pub(super) fn action(object: ObjectRef, verb: Verb, what: impl Into<String>, why: impl Into<String>, effect: Effect) -> Action {
    Action { object, verb, what: what.into(), why: why.into(), disruption: Disruption::None, effect: Some(effect), relies_on: None }
}

impl Action {
    pub(super) fn relying_on(mut self, account: &AccountName) -> Self {
        self.relies_on = Some(account.clone());
        self
    }

    pub(super) const fn disturbing(mut self, disruption: Disruption) -> Self {
        self.disruption = disruption;
        self
    }
}

/// Whether a link is exactly as it must be.
pub fn link_is_right(view: &LinkView, target: &Path) -> bool {
    matches!(view, LinkView::Link { target: found, target_ok: true } if found == target)
}
