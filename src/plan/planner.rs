//! The frame that the planners of the object kinds share.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
    time::Duration,
};

use super::{Action, Disruption, Drift, Effect, Memory, Phase, Plan, Planned, Report, Verb, Waiting};
use crate::{
    model::{AccountName, ConversationId, Now, ObjectRef, SessionName, StartDigest},
    observed::{AgentView, LinkView, Mark, Seen, Snapshot},
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
    planner.plan_tidying();
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
    /// Whether that is so because nobody can tell which account is active.
    pub undecided: bool,
    /// Accounts whose home or links are wrong in a way that this plan does not put right, with the reason.
    pub unfit: BTreeMap<AccountName, String>,
    /// Which sessions have a conversation open, or may have; what this plan starts is added. Only a start asks.
    open: Option<Open>,
    digests: BTreeMap<&'a OsStr, StartDigest>,
    actions: Vec<(Phase, Action)>,
    report: Report,
}

impl<'a> Planner<'a> {
    fn new(spec: &'a Spec, seen: &'a Snapshot, memory: &'a Memory, now: Now) -> Self {
        let mut digests = BTreeMap::new();
        for session in spec.sessions.values() {
            digests.entry(session.workdir.as_os_str()).or_insert_with(|| spec.start_digest(session));
        }
        Self {
            spec,
            seen,
            memory,
            now,
            account: None,
            undecided: false,
            unfit: BTreeMap::new(),
            open: None,
            digests,
            actions: Vec::new(),
            report: Report::default(),
        }
    }

    /// [`Spec::start_digest`], computed once per start directory: it is all that differs between the sessions of one pool.
    pub fn digest(&self, session: &Session) -> Cow<'_, StartDigest> {
        self.digests.get(session.workdir.as_os_str()).map_or_else(|| Cow::Owned(self.spec.start_digest(session)), Cow::Borrowed)
    }

    /// The mark that a session is to bear.
    pub fn mark(&self, session: &Session) -> Mark {
        Mark { pool: self.memory.pool, session: session.name.clone(), digest: self.digest(session).into_owned() }
    }

    /// The sessions that have a conversation open, or may have, to be added to.
    pub fn open(&mut self, conversation: ConversationId) -> &mut BTreeSet<SessionName> {
        let open = self.open.get_or_insert_with(|| open_conversations(self.seen, self.memory));
        open.entry(conversation).or_default()
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

    /// What is known of a session's agent at this moment.
    pub fn agent(&self, session: &SessionName) -> AgentNow<'a> {
        self.agent_now(self.seen.agents.get(session))
    }

    /// What a look at an agent is worth at this moment.
    pub fn agent_now(&self, agent: Option<&'a Seen<AgentView>>) -> AgentNow<'a> {
        match agent {
            Some(Seen::Known(fact)) => match self.now.since(fact.at) {
                age if age <= MAX_FACT_AGE => AgentNow::Seen(&fact.value),
                age => AgentNow::Unknown(format!("it was last looked at {} seconds ago", age.as_secs())),
            },
            Some(Seen::Unknown(why)) => AgentNow::Unknown(why.to_string()),
            None => AgentNow::NotLooked,
        }
    }

    /// Whether an agent is known or feared to run under `home`. Unknown and stale count as running.
    pub fn home_in_use(&self, home: &Path) -> bool {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return true };
        let agents = &self.seen.agents;
        let recorded = self.memory.sessions.iter().filter(|(_, record)| record.process.is_some()).map(|(name, _)| name.as_str());
        let shown = tmux.panes.keys().map(String::as_str).chain(recorded);
        // A pane whose name is no session's is not looked at: nobody declares it, and nothing of ours runs there.
        let unlooked = shown.filter_map(|name| SessionName::new(name).ok()).any(|name| !agents.contains_key(&name));
        unlooked
            || agents.keys().any(|name| match self.agent(name) {
                AgentNow::Seen(agent) => agent.process.is_some() && agent.home.as_deref().is_none_or(|running| running == home),
                AgentNow::Unknown(_) | AgentNow::NotLooked => true,
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

/// What is known of an agent, for a decision that may disturb.
pub(super) enum AgentNow<'a> {
    /// Seen within [`MAX_FACT_AGE`].
    Seen(&'a AgentView),
    /// It cannot be told, or was told too long ago.
    Unknown(String),
    /// There is no fact: it had neither pane nor recorded process when agents were looked at.
    NotLooked,
}

type Open = BTreeMap<ConversationId, BTreeSet<SessionName>>;

/// The conversations that agents have open, or may have. Two agents on one conversation would mix in one file.
fn open_conversations(seen: &Snapshot, memory: &Memory) -> Open {
    let mut open = Open::new();
    let mut add = |conversation, session: &SessionName| {
        open.entry(conversation).or_default().insert(session.clone());
    };
    for (name, agent) in &seen.agents {
        if let Some(register) = agent.value().filter(|agent| agent.process.is_some()).and_then(|agent| agent.register.as_ref()) {
            add(register.conversation, name);
        }
    }
    for (name, record) in &memory.sessions {
        let may_run = match seen.agents.get(name) {
            Some(Seen::Known(fact)) => fact.value.process.is_some(),
            Some(Seen::Unknown(_)) => true,
            None => record.process.is_some(),
        };
        let moves = memory.is_moving(name);
        if may_run || moves {
            add(record.conversation, name);
        }
    }
    open
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
