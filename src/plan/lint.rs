//! An independent check of a finished plan against the safety rules. It shares no code with the planners on purpose; a finding is our bug.

use std::{collections::BTreeSet, path::Path};

use super::{Disruption, Effect, Launch, LinkNeed, Memory, Plan};
use crate::{
    model::SessionName,
    observed::{Mark, Seen, Snapshot},
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

/// Re-derives the safety rules from the plan and the facts alone.
///
/// # Errors
/// Every rule that is broken; a plan with a finding must not be acted on.
pub fn lint(plan: &Plan, spec: &Spec, seen: &Snapshot, memory: &Memory) -> Result<(), Vec<Finding>> {
    let mut findings = Vec::new();
    let mut started: BTreeSet<&SessionName> = BTreeSet::new();
    let mut conversations = BTreeSet::new();
    let mut stopped = 0_usize;
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
                check(mark.pool == memory.pool && mark.session == launch.session, "a mark must name its bearer");
                check(no_agent(launch, seen, memory), "an agent is started while none is known to have ended");
                check(needs_all_links(launch, spec), "a start must need every shared link of its account");
                check(!in_swap(&launch.session, memory), "a session of an open swap belongs to the swap");
                if let Effect::RespawnAgent { .. } = effect {
                    check(carries_our_mark(&launch.session, seen, memory), "a pane without our mark is touched");
                }
            }
            Effect::StopAgent { session, process, .. } => {
                check(action.disruption != Disruption::None, "a stop must say that it disturbs");
                check(!in_swap(session, memory), "a session of an open swap belongs to the swap");
                check(is_ours(session, seen, memory), "an agent that is not ours is stopped");
                let known = seen.agents.get(session).and_then(Seen::value).is_some_and(|agent| agent.process == Some(*process));
                check(known, "a process is stopped that was not seen in its session");
                let quiet = seen.activity(session).is_quiet();
                check(quiet || action.disruption == Disruption::Working, "a working agent is stopped as if it were idle");
                stopped += usize::from(!spec.sessions.contains_key(session));
            }
            Effect::ReleaseSession { mark, .. } | Effect::CloseSession { mark, .. } => {
                check(mark.pool == memory.pool, "a session of another pool is touched");
                check(!spec.sessions.contains_key(&mark.session), "a declared session is removed");
                check(memory.removal_seen.contains(&mark.session), "a removal must be seen twice");
                if let Effect::CloseSession { .. } = effect {
                    check(spec.prune, "a session is closed although prune is off");
                    stopped += 1;
                }
            }
            Effect::AdoptSession { mark, .. } => {
                let wanted = spec.sessions.get(&mark.session).is_some_and(|session| session.adopt);
                check(wanted, "a session is adopted without being asked for");
            }
            Effect::CreateLink { path, target } | Effect::RepointLink { path, target, .. } => {
                check(link_is_declared(path, target, spec), "a link is made that the spec does not declare");
            }
            Effect::MergeDirectory { path, target, quarantine } => {
                check(link_is_declared(path, target, spec), "a link is made that the spec does not declare");
                check(quarantine.starts_with(&spec.shared.root), "a quarantine lies outside the shared root");
            }
            Effect::CreateTarget { root, target, .. } => {
                check(*root == spec.shared.root && target.parent() == Some(root.as_path()), "a target lies outside the shared root");
            }
            Effect::InitSharedRoot { root, pool } => check(*root == spec.shared.root && *pool == memory.pool, "a foreign root is marked"),
            Effect::PrepareHome { account, home, .. } => {
                check(spec.account(account).is_some_and(|known| known.home == *home), "a foreign home is written");
            }
            Effect::RecordActive { account, needs } => {
                let complete = spec.account(account).is_some_and(|known| covers_all_links(needs, &known.home, spec));
                check(complete, "an account is declared active without all its links");
            }
            Effect::StartServer => {}
        }
    }
    if stopped > spec.max_prune {
        findings.push(Finding { object: "pool".to_owned(), rule: "more sessions are pruned in one pass than maxPrune allows" });
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

fn in_swap(session: &SessionName, memory: &Memory) -> bool {
    memory.swap.as_ref().is_some_and(|swap| swap.moves.contains_key(session))
}

fn mark_of<'a>(session: &SessionName, seen: &'a Snapshot) -> Option<&'a Mark> {
    seen.tmux.value()?.panes.get(session.as_str())?.mark.as_ref()
}

fn carries_our_mark(session: &SessionName, seen: &Snapshot, memory: &Memory) -> bool {
    mark_of(session, seen).is_some_and(|mark| mark.pool == memory.pool && mark.session == *session)
}

fn is_ours(session: &SessionName, seen: &Snapshot, memory: &Memory) -> bool {
    carries_our_mark(session, seen, memory) || memory.sessions.contains_key(session)
}

/// Known: tmux was seen, and no process that we know of belongs to the session.
fn no_agent(launch: &Launch, seen: &Snapshot, memory: &Memory) -> bool {
    let Some(tmux) = seen.tmux.value() else { return false };
    match seen.agents.get(&launch.session) {
        Some(Seen::Known(fact)) => fact.value.process.is_none(),
        Some(Seen::Unknown(_)) => false,
        None => {
            let never_ran = memory.sessions.get(&launch.session).is_none_or(|record| record.process.is_none());
            never_ran && !tmux.panes.contains_key(launch.session.as_str())
        }
    }
}

fn needs_all_links(launch: &Launch, spec: &Spec) -> bool {
    spec.account(&launch.account).is_some_and(|account| account.home == launch.home) && covers_all_links(&launch.needs, &launch.home, spec)
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
