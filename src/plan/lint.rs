//! An independent check of a finished plan against the safety rules. It shares no code with the planners on purpose; a finding is our bug.

mod tasks;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Action, Disruption, Effect, Launch, LinkNeed, MAX_FACT_AGE, Memory, Plan};
use crate::{
    model::{AccountName, ConversationId, Now, SessionName, TmuxSessionId},
    observed::{AgentView, Mark, PaneView, Seen, Snapshot},
    spec::Spec,
};

/// A safety rule that a plan breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {rule}")]
pub struct Finding {
    /// The action's object.
    pub object: String,
    /// The rule, as a sentence.
    pub rule: &'static str,
}

/// Re-derives the safety rules from the plan and the facts alone. What is older than [`MAX_FACT_AGE`] is no fact here.
///
/// # Errors
/// Every rule that is broken; a plan with a finding must not be acted on.
pub fn lint(plan: &Plan, spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> Result<(), Vec<Finding>> {
    let facts = Facts { spec, seen, memory, now };
    let open = OnceCell::new();
    let active = active_account(plan, memory);
    let mut findings = Vec::new();
    let mut started: BTreeSet<&SessionName> = BTreeSet::new();
    let mut conversations = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for (_, action) in &plan.actions {
        let Some(effect) = &action.effect else { continue };
        let mut check = |holds: bool, rule: &'static str| {
            if !holds {
                findings.push(Finding { object: action.object.to_string(), rule });
            }
        };
        match effect {
            Effect::CreateSession { launch, mark } | Effect::RespawnAgent { launch, mark, .. } => {
                check(started.insert(&launch.session), "a session is started twice in one plan");
                check(conversations.insert(launch.conversation), "a conversation is opened twice in one plan");
                check(
                    !open
                        .get_or_init(|| facts.open_conversations())
                        .get(&launch.conversation)
                        .is_some_and(|sessions| sessions.iter().any(|session| **session != launch.session)),
                    "a conversation is opened that another session has open",
                );
                check(mark.pool == memory.pool && mark.session == launch.session, "a mark must name its bearer");
                check(facts.no_agent(launch), "an agent is started while none is known to have ended");
                check(facts.needs_all_links(launch), "a start must need every shared link of its account");
                check(active == Some(&launch.account), "a session is started under an account that is not the active one");
                check(memory.swap.is_none(), "something is begun while a swap is open");
                match effect {
                    Effect::RespawnAgent { session_id, .. } => {
                        check(facts.carries(&launch.session, session_id), "a pane without our mark is touched");
                    }
                    _ => check(facts.pane(&launch.session).is_none(), "a session is created where one of its name exists"),
                }
            }
            Effect::StopAgent { session, process, .. } => {
                check(action.disruption != Disruption::None, "a stop must say that it disturbs");
                check(!facts.in_swap(session), "a session of an open swap belongs to the swap");
                check(facts.is_ours(session), "an agent that is not ours is stopped");
                let agent = facts.agent(session);
                check(agent.is_some_and(|agent| agent.process == Some(*process)), "a process is stopped that was not seen in its session");
                let quiet = agent.is_some_and(|agent| agent.activity.is_quiet());
                // An agent without a pane cannot be worked with any more.
                check(quiet || (facts.pane(session).is_none() && says_so(action)), "a working agent is stopped");
                if !spec.sessions.contains_key(session) {
                    removed.insert(session);
                    check(facts.may_prune(session), "an undeclared session is stopped that was not seen twice, or while prune is off");
                }
            }
            Effect::ReleaseSession { session_id, mark } | Effect::CloseSession { session_id, mark } => {
                check(facts.carries(&mark.session, session_id), "a pane without our mark is touched");
                check(!spec.sessions.contains_key(&mark.session), "a declared session is removed");
                check(memory.removal_seen.contains(&mark.session), "a removal must be seen twice");
                check(!facts.in_swap(&mark.session), "a session of an open swap belongs to the swap");
                if let Effect::CloseSession { .. } = effect {
                    removed.insert(&mark.session);
                    check(spec.prune, "a session is closed although prune is off");
                    let ended = facts.agent(&mark.session).is_some_and(|agent| agent.process.is_none());
                    check(ended, "a session is closed while its agent is not known to have ended");
                }
            }
            Effect::AdoptSession { session_id, mark, .. } => {
                let wanted = spec.sessions.get(&mark.session).is_some_and(|session| session.adopt);
                check(wanted && mark.pool == memory.pool, "a session is adopted without being asked for");
                let pane = facts.pane(&mark.session);
                let free = pane.is_some_and(|pane| pane.mark.is_none() && pane.session_id == *session_id);
                check(free, "a session is adopted that bears a mark, or was not seen");
            }
            Effect::CreateLink { path, target } | Effect::RepointLink { path, target, .. } => {
                check(link_is_declared(path, target, spec), "a link is made that the spec does not declare");
                let is_active = spec.active_link.as_ref() == Some(path);
                check(!is_active || memory.swap.is_none(), "the active link is changed while a swap is open");
            }
            Effect::MergeDirectory { path, target, quarantine } => {
                check(link_is_declared(path, target, spec), "a link is made that the spec does not declare");
                check(quarantine.starts_with(&spec.shared.root), "a quarantine lies outside the shared root");
                let quiet = path.parent().is_some_and(|home| facts.is_quiet_home(home));
                check(quiet, "a home is changed while an agent may run in it");
            }
            Effect::CreateTarget { root, target, .. } => {
                check(*root == spec.shared.root && target.parent() == Some(root.as_path()), "a target lies outside the shared root");
            }
            Effect::InitSharedRoot { root, pool } | Effect::AdoptSharedRoot { root, pool } => {
                check(*root == spec.shared.root && *pool == memory.pool, "a foreign root is marked");
            }
            Effect::PrepareHome { account, home, .. } => {
                check(spec.account(account).is_some_and(|known| known.home == *home), "a foreign home is written");
                check(facts.is_quiet_home(home), "a home is changed while an agent may run in it");
            }
            Effect::RecordActive { account, needs } => {
                let complete = spec.account(account).is_some_and(|known| covers_all_links(needs, &known.home, spec));
                check(complete, "an account is declared active without all its links");
                check(memory.swap.is_none(), "the active account is changed while a swap is open");
            }
            Effect::RemoveCheckpoints { session, checkpoints } => {
                let taken = seen.checkpoints.get(session).and_then(Seen::value).map_or(&[][..], |view| &view.taken);
                check(checkpoints.iter().all(|id| taken.contains(id)), "a checkpoint is removed that was not seen");
                let returns = spec.sessions.contains_key(session) || memory.sessions.contains_key(session);
                let newest = taken.last().is_some_and(|newest| checkpoints.contains(newest));
                check(!returns || !newest, "the newest checkpoint of a session is removed");
            }
            // Of these there is a check of its own.
            Effect::StartServer | Effect::RestoreSession { .. } | Effect::TypePrompt { .. } | Effect::Queue { .. } => {}
        }
    }
    if removed.iter().filter(|session| !memory.prune_confirmed.contains(**session)).count() > spec.max_prune {
        findings.push(Finding { object: "pool".to_owned(), rule: "more sessions are pruned in one pass than maxPrune allows" });
    }
    findings.extend(tasks::lint_tasks(plan, facts));
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// The account that sessions run under once the plan was carried out.
fn active_account<'a>(plan: &'a Plan, memory: &'a Memory) -> Option<&'a AccountName> {
    let recorded = plan.actions.iter().find_map(|(_, action)| match &action.effect {
        Some(Effect::RecordActive { account, .. }) => Some(account),
        _ => None,
    });
    recorded.or_else(|| memory.active.as_ref().map(|active| &active.account))
}

fn says_so(action: &Action) -> bool {
    action.disruption == Disruption::Working
}

/// What the rules are checked against.
#[derive(Clone, Copy)]
struct Facts<'a> {
    spec: &'a Spec,
    seen: &'a Snapshot,
    memory: &'a Memory,
    now: Now,
}

impl<'a> Facts<'a> {
    fn in_swap(self, session: &SessionName) -> bool {
        self.memory.swap.as_ref().is_some_and(|swap| swap.moves.contains_key(session))
    }

    fn pane(self, session: &SessionName) -> Option<&'a PaneView> {
        self.seen.tmux.fresh(self.now, MAX_FACT_AGE)?.panes.get(session.as_str())
    }

    fn agent(self, session: &SessionName) -> Option<&'a AgentView> {
        self.seen.agents.get(session)?.fresh(self.now, MAX_FACT_AGE)
    }

    fn mark(self, session: &SessionName) -> Option<&'a Mark> {
        self.pane(session)?.mark.as_ref().filter(|mark| mark.pool == self.memory.pool && mark.session == *session)
    }

    fn carries(self, session: &SessionName, session_id: &TmuxSessionId) -> bool {
        self.mark(session).is_some() && self.pane(session).is_some_and(|pane| pane.session_id == *session_id)
    }

    fn is_ours(self, session: &SessionName) -> bool {
        self.mark(session).is_some() || (self.pane(session).is_none() && self.memory.sessions.contains_key(session))
    }

    fn may_prune(self, session: &SessionName) -> bool {
        self.spec.prune && self.memory.removal_seen.contains(session)
    }

    /// Known: tmux was seen, and no process that we know of belongs to the session.
    fn no_agent(self, launch: &Launch) -> bool {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return false };
        if self.seen.agents.contains_key(&launch.session) {
            return self.agent(&launch.session).is_some_and(|agent| agent.process.is_none());
        }
        let never_ran = self.memory.sessions.get(&launch.session).is_none_or(|record| record.process.is_none());
        never_ran && !tmux.panes.contains_key(launch.session.as_str())
    }

    /// Known: every agent that was looked at runs elsewhere or has ended.
    fn is_quiet_home(self, home: &Path) -> bool {
        let elsewhere = |agent: &AgentView| agent.process.is_none() || agent.home.as_deref().is_some_and(|other| other != home);
        self.seen.tmux.fresh(self.now, MAX_FACT_AGE).is_some()
            && self.seen.agents.values().all(|agent| agent.fresh(self.now, MAX_FACT_AGE).is_some_and(elsewhere))
    }

    fn open_conversations(self) -> BTreeMap<ConversationId, BTreeSet<&'a SessionName>> {
        let mut open: BTreeMap<ConversationId, BTreeSet<&SessionName>> = BTreeMap::new();
        for (session, agent) in &self.seen.agents {
            if let Some(register) = agent.value().filter(|agent| agent.process.is_some()).and_then(|agent| agent.register.as_ref()) {
                open.entry(register.conversation).or_default().insert(session);
            }
        }
        open
    }

    fn needs_all_links(self, launch: &Launch) -> bool {
        let home = self.spec.account(&launch.account).map(|account| &account.home);
        home == Some(&launch.home) && covers_all_links(&launch.needs, &launch.home, self.spec)
    }
}

fn covers_all_links(needs: &[LinkNeed], home: &Path, spec: &Spec) -> bool {
    spec.shared.links.iter().all(|name| {
        let (path, target) = (home.join(name.as_str()), spec.shared.root.join(name.as_str()));
        needs.iter().any(|need| need.path == path && need.target == target)
    })
}

fn link_is_declared(path: &Path, target: &Path, spec: &Spec) -> bool {
    if spec.active_link.as_deref() == Some(path) {
        return spec.accounts.iter().any(|account| account.home == target);
    }
    let shared_link = |name: &str| spec.shared.links.iter().any(|link| link.as_str() == name);
    let (Some(home), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return false };
    spec.accounts.iter().any(|account| account.home == home) && shared_link(name) && target == spec.shared.root.join(name)
}
