//! Cuts the snapshot down to what a swap and the choice of an account ask. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use jiff::Timestamp;

use crate::{
    host::Look,
    model::{AccountName, Activity, Now, ObjectRef, SessionName},
    observed::{LinkView, RootView, Seen, Snapshot, TargetView, TmuxView},
    plan::{Memory, link_is_right, link_needs, login_of, target},
    spec::{Account, Restart, Spec},
    swap::{ActiveLinkState, AgentFact, Expected, LinksState, Place, Proof, ProofState, SessionFacts, SwapFacts, SwapRecord, prove},
};

/// What a swap must have looked at before it is asked for its next step.
pub(super) fn look_for_swap(record: &SwapRecord, seen: &Snapshot) -> Look {
    let ended = |name: &SessionName| seen.agents.get(name).and_then(Seen::value).is_none_or(|agent| agent.process.is_none());
    let transcripts = record
        .moves
        .iter()
        .filter(|(name, moved)| match moved.place {
            Place::Waiting => ended(name),
            Place::Proven(_) | Place::Lost => false,
            _ => true,
        })
        .map(|(name, moved)| (name.clone(), moved.transcript.clone()))
        .collect();
    Look { tmux: true, agents: true, links: true, transcripts, ..Look::default() }
}

/// The facts of a swap.
pub(super) fn swap_facts(
    spec: &Spec,
    seen: &Snapshot,
    record: &SwapRecord,
    at_tasks: &BTreeSet<&SessionName>,
    looking_since: Timestamp,
    now: Now,
) -> SwapFacts {
    let links = |name: &AccountName| {
        spec.account(name).map_or_else(
            || LinksState::Wrong(format!("account {name} is not declared any more")),
            |account| links_state(spec, seen, account),
        )
    };
    let facts = |name| SessionFacts { at_task: at_tasks.contains(name), ..session_facts(spec, seen, record, name) };
    let sessions = record.moves.keys().map(|name| (name.clone(), facts(name))).collect();
    SwapFacts {
        now: now.wall,
        looking_since,
        abort: None,
        target_links: links(&record.plan.to),
        from_links: links(&record.plan.from),
        active_link: active_link_state(spec, seen),
        sessions,
    }
}

fn links_state(spec: &Spec, seen: &Snapshot, account: &Account) -> LinksState {
    let mut state = LinksState::Right;
    for (name, need) in spec.shared.links.iter().zip(link_needs(spec, account)) {
        match seen.links.get(&(account.name.clone(), name.clone())) {
            Some(Seen::Known(fact)) if link_is_right(&fact.value, &need.target) => {}
            Some(Seen::Known(fact)) => {
                return LinksState::Wrong(format!("{} {}", need.path.display(), link_words(&fact.value, &need.target)));
            }
            Some(Seen::Unknown(_)) | None => state = LinksState::Unknown,
        }
    }
    state
}

/// What is wrong with a link, behind its path.
fn link_words(view: &LinkView, target: &Path) -> String {
    match view {
        LinkView::Absent => "is absent".to_owned(),
        LinkView::Link { target: found, target_ok: false } if found == target => format!("points to {}, which is missing", found.display()),
        LinkView::Link { target: found, .. } => format!("points to {} instead of {}", found.display(), target.display()),
        LinkView::Directory { .. } => "is a real directory".to_owned(),
        LinkView::File => "is a regular file".to_owned(),
        LinkView::Other => "is neither link, file nor directory".to_owned(),
    }
}

fn active_link_state(spec: &Spec, seen: &Snapshot) -> ActiveLinkState {
    let Some(path) = &spec.active_link else { return ActiveLinkState::Absent };
    match &seen.active_link {
        Seen::Unknown(_) => ActiveLinkState::Unknown,
        Seen::Known(fact) => match &fact.value {
            LinkView::Absent => ActiveLinkState::Absent,
            LinkView::Link { target, .. } => {
                let account = spec.account_at(target);
                account.map_or_else(|| ActiveLinkState::Foreign(target.clone()), |account| ActiveLinkState::At(account.name.clone()))
            }
            LinkView::Directory { .. } | LinkView::File | LinkView::Other => ActiveLinkState::Foreign(path.clone()),
        },
    }
}

fn session_facts(spec: &Spec, seen: &Snapshot, record: &SwapRecord, name: &SessionName) -> SessionFacts {
    let Some(tmux) = seen.tmux.value() else { return SessionFacts::default() };
    let pane = tmux.panes.get(name.as_str());
    let attached = pane.map_or(0, |pane| pane.attached);
    let agent = match seen.agents.get(name) {
        Some(Seen::Known(fact)) => &fact.value,
        None if pane.is_none() => {
            return SessionFacts { agent: AgentFact::None, activity: Activity::Exited, attached, ..SessionFacts::default() };
        }
        Some(Seen::Unknown(_)) | None => return SessionFacts { attached, ..SessionFacts::default() },
    };
    let agent_fact = if agent.process.is_some() {
        let account = agent.home.as_deref().and_then(|home| spec.account_at(home));
        let conversation = agent.register.as_ref().map(|register| register.conversation);
        AgentFact::Running { account: account.map(|account| account.name.clone()), conversation }
    } else {
        AgentFact::None
    };
    let bound = record.plan.sessions.get(name);
    let goal = spec.account(record.goal());
    let proof = match (bound, goal, seen.transcripts.get(name)) {
        (Some(bound), Some(goal), Some(Seen::Known(transcript))) => {
            let had_transcript = record.moves.get(name).is_some_and(|moved| moved.transcript.is_some());
            let going_back = record.goal() == &record.plan.from;
            let expected = Expected { conversation: bound.conversation, home: &goal.home, had_transcript, going_back };
            match prove(expected, agent, &transcript.value) {
                Proof::Proven => ProofState::Proven,
                Proof::Pending(missing) => ProofState::Pending(Proof::Pending(missing).to_string()),
                Proof::Refuted(why) => ProofState::Refuted(why.to_string()),
            }
        }
        _ => ProofState::Unknown,
    };
    SessionFacts { agent: agent_fact, activity: agent.activity, proof, attached, at_task: false }
}

/// What the choice of an account rests on, beside the readings.
pub(super) fn readiness(spec: &Spec, seen: &Snapshot, memory: &Memory) -> BTreeMap<AccountName, target::Readiness> {
    let root_problem = root_problem(seen, memory);
    let of = |account: &Account| {
        let home = seen.homes.get(&account.name).and_then(Seen::value);
        let links = match (home, &root_problem) {
            (None, _) => target::LinksState::Unknown { why: "its home has not been looked at".to_owned() },
            (Some(home), _) if !home.exists => {
                target::LinksState::Wrong { why: format!("its home {} does not exist", account.home.display()) }
            }
            (Some(home), _) if home.unsafe_mode.is_some() => target::LinksState::Wrong { why: "its home is not safe".to_owned() },
            (_, Some(why)) => target::LinksState::Wrong { why: why.clone() },
            _ => links_of(spec, seen, memory, account),
        };
        target::Readiness { login: login_of(seen, memory, &account.name), links }
    };
    spec.accounts.iter().map(|account| (account.name.clone(), of(account))).collect()
}

fn root_problem(seen: &Snapshot, memory: &Memory) -> Option<String> {
    match seen.shared_root.value() {
        Some(RootView::Marked(pool)) if *pool == memory.pool => None,
        // Before the first convergence it is still to be made; later an empty one is a share that is not mounted.
        Some(RootView::Absent | RootView::Empty) if memory.links.is_empty() => None,
        Some(_) => Some("the shared root does not carry this pool's marker".to_owned()),
        None => Some("the shared root cannot be looked at".to_owned()),
    }
}

/// The shared links of an account, and whether what is wrong with them is ours to put right.
pub(super) fn links_of(spec: &Spec, seen: &Snapshot, memory: &Memory, account: &Account) -> target::LinksState {
    let mut state = target::LinksState::Right;
    for (name, need) in spec.shared.links.iter().zip(link_needs(spec, account)) {
        match seen.links.get(&(account.name.clone(), name.clone())) {
            Some(Seen::Known(fact)) => match &fact.value {
                found if link_is_right(found, &need.target) => {}
                LinkView::Absent => state = target::LinksState::Repairable,
                LinkView::Link { target, .. } if *target == need.target || memory.links.contains(&need.path) => {
                    state = target::LinksState::Repairable;
                }
                other => return target::LinksState::Wrong { why: format!("{} {}", need.path.display(), link_words(other, &need.target)) },
            },
            Some(Seen::Unknown(why)) => return target::LinksState::Unknown { why: why.to_string() },
            None => return target::LinksState::Unknown { why: format!("{} has not been looked at", need.path.display()) },
        }
        if matches!(seen.targets.get(name), Some(Seen::Known(fact)) if fact.value == TargetView::Other) {
            return target::LinksState::Wrong { why: format!("{} is not what the link needs", need.target.display()) };
        }
    }
    state
}

/// The sessions that a swap carries: those that are ours, by their mark or their record, and that run or would be started anyway.
pub(super) fn swap_sessions<'a>(
    spec: &'a Spec,
    seen: &'a Snapshot,
    tmux: &'a TmuxView,
    memory: &'a Memory,
) -> impl Iterator<Item = &'a SessionName> {
    spec.sessions.keys().filter(move |name| {
        let runs = seen.agents.get(*name).is_some_and(|agent| agent.value().is_none_or(|agent| agent.process.is_some()));
        if !runs && !is_startable(spec, memory, name) {
            return false;
        }
        let free = tmux.panes.get(name.as_str()).is_none_or(|pane| pane.is_of(memory.pool, name));
        memory.sessions.contains_key(*name) && free
    })
}

/// Whether a session without an agent is to have one: a swap must not start what an operator or the spec keeps down.
fn is_startable(spec: &Spec, memory: &Memory, name: &SessionName) -> bool {
    let object = ObjectRef::Session(name.clone());
    let quarantined = memory.attempts.get(&object).is_some_and(|attempts| attempts.quarantined);
    let stopped = memory.sessions.get(name).is_some_and(|record| record.stopped);
    let never = !stopped && spec.sessions.get(name).is_some_and(|session| session.restart == Restart::Never);
    !quarantined && !never && !memory.cordoned.contains_key(&object)
}

/// The account that the active link leads to, if its links are known to be right.
pub(super) fn active_by_link(spec: &Spec, seen: &Snapshot) -> Option<AccountName> {
    let ActiveLinkState::At(name) = active_link_state(spec, seen) else { return None };
    let account = spec.account(&name)?;
    (links_state(spec, seen, account) == LinksState::Right).then_some(name)
}
