//! What the facts teach the memory: which links are ours, which process and conversation a session has, which agents ended, what left the spec.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Attempts, EXIT_SPAN, Memory, MemoryChange, ServerRecord, SessionRecord, absorb_checkpoints, death_words, link_is_right, link_needs,
    login_ends::absorb_logins,
    logins::learn_logins,
    tasks::{TaskGrounds, absorb_tasks},
};
use crate::{
    model::{Activity, Event, EventReason, Now, ObjectRef, SessionName, Severity},
    observed::{Abreast, AgentView, Need, RootView, Seen, Snapshot, TmuxView, TranscriptMark},
    spec::{Spec, login_command},
};

/// Changes of the memory with the events that tell of them.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Absorbed {
    /// To be written in one transaction.
    pub changes: Vec<MemoryChange>,
    /// To be written with them.
    pub events: Vec<Event>,
}

impl Absorbed {
    pub(super) fn event(&mut self, now: Now, object: ObjectRef, reason: EventReason, severity: Severity, message: String) {
        self.events.push(Event { at: now.wall, object, reason, severity, message });
    }

    /// Whether nothing was learnt.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.events.is_empty()
    }
}

/// Compares the facts with the memory. A converged pool gives nothing. Unknown facts change nothing.
pub fn absorb(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> Absorbed {
    let mut absorbed = Absorbed::default();
    let in_swap = |name: &SessionName| memory.is_moving(name);
    absorb_links(spec, seen, memory, &mut absorbed);
    absorb_logins(spec, seen, memory, now, &mut absorbed);
    if let Some(tmux) = seen.tmux.value() {
        let lost = absorb_server(tmux, memory, now, &mut absorbed);
        let mut agents = Abreast::of(&seen.agents);
        for (name, record) in &memory.sessions {
            if lost {
                take_back_exit(name, record, memory, now, &mut absorbed);
            }
            if let Some(Seen::Known(fact)) = agents.get(name)
                && !in_swap(name)
            {
                absorb_agent(spec, seen, name, record, &fact.value, tmux, memory, now, &mut absorbed);
            }
        }
        absorb_adopted(spec, seen, tmux, memory, now, &mut absorbed);
    }
    let restored = absorb_checkpoints(spec, seen, memory, now);
    absorbed.changes.extend(restored.changes);
    absorbed.events.extend(restored.events);
    for (object, attempts) in &memory.attempts {
        if let Some(bounded) = attempts.bounded(now)
            && !absorbed.changes.iter().any(|change| touches(change, object))
        {
            absorbed.changes.push(MemoryChange::PutAttempts(object.clone(), bounded));
        }
    }
    let (refused, told) = learn_logins(spec, seen, memory, now);
    absorbed.changes.extend(refused);
    absorbed.events.extend(told);
    if let Some(until) = memory.suspended.as_ref().and_then(|suspension| suspension.until)
        && until <= now.wall
    {
        absorbed.changes.push(MemoryChange::SetSuspension(None));
        absorbed.event(now, ObjectRef::Pool, EventReason::Resumed, Severity::Normal, format!("the suspension ended at {until:.0}"));
    }
    absorb_tasks(&TaskGrounds { spec, seen, memory, now }, &mut absorbed);
    absorbed
}

fn touches(change: &MemoryChange, object: &ObjectRef) -> bool {
    matches!(change, MemoryChange::PutAttempts(changed, _) | MemoryChange::ClearAttempts(changed) if changed == object)
}

/// A link that is exactly as declared is ours from then on, whoever made it: what changes it later is drift, and a shared root without its
/// marker is one that was lost. Learnt by looking, so that no crash between making a link and noting it can lose it.
fn absorb_links(spec: &Spec, seen: &Snapshot, memory: &Memory, absorbed: &mut Absorbed) {
    if seen.shared_root.value() != Some(&RootView::Marked(memory.pool)) {
        return;
    }
    for account in &spec.accounts {
        for (name, need) in spec.shared.links.iter().zip(link_needs(spec, account)) {
            let view = seen.links.get(&(account.name.clone(), name.clone())).and_then(Seen::value);
            if view.is_some_and(|view| link_is_right(view, &need.target)) && !memory.links.contains(&need.path) {
                absorbed.changes.push(MemoryChange::PutLink(need.path));
            }
        }
    }
    if let (Some(path), Some(view)) = (&spec.active_link, seen.active_link.value())
        && spec.accounts.iter().any(|account| link_is_right(view, &account.home))
        && !memory.links.contains(path)
    {
        absorbed.changes.push(MemoryChange::PutLink(path.clone()));
    }
}

#[expect(clippy::too_many_arguments, reason = "all that bears on one agent; a struct would only rename it")]
fn absorb_agent(
    spec: &Spec,
    seen: &Snapshot,
    name: &SessionName,
    record: &SessionRecord,
    agent: &AgentView,
    tmux: &TmuxView,
    memory: &Memory,
    now: Now,
    absorbed: &mut Absorbed,
) {
    let object = ObjectRef::Session(name.clone());
    let mut next = record.clone();
    next.process = agent.process;
    if let Some(account) = agent.process.and(agent.home.as_deref()).and_then(|home| spec.account_at(home)) {
        next.account = account.name.clone();
    }
    next.ended = agent.process.is_none();
    next.stopped &= agent.process.is_none();
    // A look may still be about the conversation before this one: the file's name tells.
    let transcript = seen.transcripts.get(name).and_then(Seen::value).and_then(|transcript| transcript.mark.as_ref());
    let is_of = |mark: &TranscriptMark| mark.path.file_stem().is_some_and(|stem| *stem == *record.conversation.to_string());
    next.spoken |= transcript.is_some_and(is_of);
    if agent.process.is_some()
        && let Some(register) = &agent.register
        && register.conversation != record.conversation
    {
        let message = format!("conversation {} was left for {} inside the agent", record.conversation, register.conversation);
        absorbed.event(now, object.clone(), EventReason::ConversationChanged, Severity::Normal, message);
        next.conversation = register.conversation;
        next.spoken = false;
        next.workdir.clone_from(&register.cwd);
    }
    next.asked = asked(record, agent, now);
    if next.asked.is_some()
        && next.asked != record.asked
        && let Some((need, asks)) = agent.asks()
    {
        let message = match (need, &agent.home) {
            (Need::Answer | Need::LimitMenu, _) => format!("it waits for a person: {asks}; answer with `claude-failover attach {name}`"),
            (Need::Login, Some(home)) => format!("it waits for a login: {asks}; run `{}`", login_command(home)),
            (Need::Login, None) => format!("it waits for a login: {asks}; log in with the CLI under its account"),
        };
        absorbed.event(now, object.clone(), EventReason::InputNeeded, Severity::Warning, message);
    }
    let attempts = memory.attempts.get(&object);
    // One that ended before it was ever seen counts too: otherwise an agent that cannot even start is started again and again without a pause.
    if agent.process.is_none() && !record.ended && went_with_server(name, record, tmux, memory) {
        let message = "its agent ended with the tmux server".to_owned();
        absorbed.event(now, object, EventReason::SessionExited, Severity::Normal, message);
    } else if agent.process.is_none() && !record.ended {
        let death = agent.death.or_else(|| tmux.panes.get(name.as_str()).and_then(|pane| pane.dead)).unwrap_or_default();
        let message = format!("its agent ended ({})", death_words(death));
        absorbed.event(now, object.clone(), EventReason::SessionExited, Severity::Warning, message);
        let after = attempts.cloned().unwrap_or_default().after_exit(now);
        if after.quarantined && !attempts.is_some_and(|before| before.quarantined) {
            let at_task = memory.open_attempts().find(|(_, attempt)| attempt.session == *name);
            let at_task = at_task.map_or_else(String::new, |(task, _)| format!(", at last while it had task {task}"));
            let message = format!("its agent ended {} times within {} minutes{at_task}", after.exits.len(), EXIT_SPAN.as_secs() / 60);
            absorbed.event(now, object.clone(), EventReason::SessionQuarantined, Severity::Critical, message);
        }
        absorbed.changes.push(MemoryChange::PutAttempts(object, after));
    } else if agent.process.is_some() && attempts.is_some_and(outlived(record, now)) {
        absorbed.changes.push(MemoryChange::ClearAttempts(object));
    }
    if next != *record {
        absorbed.changes.push(MemoryChange::PutSession(name.clone(), next));
    }
}

/// Agents end a moment before or behind their server, and their handles may tell first: what ended so shortly before its loss was seen ended
/// because of it.
const LOSS_SPAN: Duration = Duration::from_secs(10);

/// Notes which server there is. Answers whether the one before was lost.
fn absorb_server(tmux: &TmuxView, memory: &Memory, now: Now, absorbed: &mut Absorbed) -> bool {
    let pid = tmux.server.as_ref().map(|server| server.pid);
    let Some(before) = &memory.server else {
        // A memory of before servers were noted has only its processes to tell.
        let lost = pid.is_none() && memory.sessions.values().any(|record| record.process.is_some());
        if lost {
            absorbed.event(now, ObjectRef::Server, EventReason::ServerLost, Severity::Warning, LOST.to_owned());
        }
        if lost || pid.is_some() {
            absorbed.changes.push(MemoryChange::SetServer(ServerRecord { pid, since: now.wall }));
        }
        return lost;
    };
    if before.pid == pid {
        return false;
    }
    absorbed.changes.push(MemoryChange::SetServer(ServerRecord { pid, since: now.wall }));
    if before.pid.is_some() {
        absorbed.event(now, ObjectRef::Server, EventReason::ServerLost, Severity::Warning, LOST.to_owned());
    }
    before.pid.is_some()
}

const LOST: &str = "the tmux server is gone, and with it every pane";

/// Whether an agent that has ended was started in a server that is no more: the end is the server's, not its own.
fn went_with_server(name: &SessionName, record: &SessionRecord, tmux: &TmuxView, memory: &Memory) -> bool {
    let pid = tmux.server.as_ref().map(|server| server.pid);
    let earlier = memory.server.as_ref().is_some_and(|server| server.pid != pid || record.started_at < server.since);
    !tmux.panes.contains_key(name.as_str()) && (pid.is_none() || earlier)
}

/// Takes back what was counted before it was known that the server had gone.
fn take_back_exit(name: &SessionName, record: &SessionRecord, memory: &Memory, now: Now, absorbed: &mut Absorbed) {
    let object = ObjectRef::Session(name.clone());
    let Some(attempts) = memory.attempts.get(&object).filter(|_| record.ended) else { return };
    let Some(last) = attempts.exits.last().filter(|exit| now.since_wall(**exit) <= LOSS_SPAN) else { return };
    let mut before = attempts.clone();
    before.exits.retain(|exit| exit < last);
    before.quarantined = false;
    if before.failures == 0 {
        before.not_before = None;
    }
    absorbed.changes.push(if before.is_clean() { MemoryChange::ClearAttempts(object) } else { MemoryChange::PutAttempts(object, before) });
}

/// How long a limit or a refused login has to stand before a person is called: until then the pool may have left the account by itself.
const LEAVES_BY_ITSELF: Duration = Duration::from_mins(2);

/// What the agent asks, as far as it tells one dialog from the next: since when, and the words that are known. What else stands on a screen may
/// change at any time.
fn asked(record: &SessionRecord, agent: &AgentView, now: Now) -> Option<String> {
    agent.process?;
    let since = agent.register.as_ref().and_then(|register| register.status_since);
    let is_early = |need| need != Need::Answer && since.is_some_and(|since| now.since_wall(since) < LEAVES_BY_ITSELF);
    match (agent.asks(), &agent.screen) {
        (Some((need, _)), Some(screen)) if screen.at_rest && !is_early(need) => {
            let since = since.map_or_else(|| "its start".to_owned(), |since| since.to_string());
            Some(format!("since {since}: {}", screen.shows))
        }
        // Not knowing what is asked, or whether, ends no dialog.
        (Some(_), _) => record.asked.clone(),
        (None, _) if agent.activity == Activity::Unknown => record.asked.clone(),
        (None, _) => None,
    }
}

/// An agent that has run for the whole span has left its exits behind.
fn outlived(record: &SessionRecord, now: Now) -> impl Fn(&Attempts) -> bool {
    let steady = now.since_wall(record.started_at) > EXIT_SPAN;
    move |attempts| steady && !attempts.quarantined
}

/// A session that carries our mark and has no record was adopted: it is bound to the conversation that its agent has open.
fn absorb_adopted(spec: &Spec, seen: &Snapshot, tmux: &TmuxView, memory: &Memory, now: Now, absorbed: &mut Absorbed) {
    for pane in tmux.panes.values() {
        let Some(mark) = pane.mark.as_ref().filter(|mark| mark.pool == memory.pool && !memory.sessions.contains_key(&mark.session)) else {
            continue;
        };
        let Some(agent) = seen.agents.get(&mark.session).and_then(Seen::value) else { continue };
        let (Some(process), Some(register)) = (agent.process, &agent.register) else { continue };
        let account = agent
            .home
            .as_deref()
            .and_then(|home| spec.account_at(home).map(|account| &account.name))
            .or_else(|| memory.active.as_ref().map(|active| &active.account));
        let Some(account) = account else { continue };
        let record = SessionRecord {
            process: Some(process),
            ..SessionRecord::bound(register.conversation, account.clone(), mark.digest.clone(), register.cwd.clone(), now.wall)
        };
        absorbed.changes.push(MemoryChange::PutSession(mark.session.clone(), record));
    }
}

/// Notes which sessions of ours the spec does not declare, and forgets those that are gone. Called after the plan was made: a removal is acted
/// on only when an earlier pass has noted it.
pub fn absorb_removals(spec: &Spec, seen: &Snapshot, memory: &Memory) -> Absorbed {
    let mut absorbed = Absorbed::default();
    let Some(tmux) = seen.tmux.value() else { return absorbed };
    let undeclared = undeclared_sessions(spec, tmux, memory);
    for name in &undeclared {
        let has_pane = tmux.panes.get(name.as_str()).is_some_and(|pane| pane.is_of(memory.pool, name));
        let has_process = match seen.agents.get(name) {
            Some(Seen::Known(fact)) => fact.value.process.is_some(),
            _ => memory.sessions.get(name).is_some_and(|record| record.process.is_some()),
        };
        if !has_pane && !has_process && memory.sessions.contains_key(name) {
            absorbed.changes.push(MemoryChange::RemoveSession(name.clone()));
            absorbed.changes.push(MemoryChange::ClearAttempts(ObjectRef::Session(name.clone())));
        }
    }
    let confirmed: BTreeSet<_> = memory.prune_confirmed.intersection(&undeclared).cloned().collect();
    if confirmed != memory.prune_confirmed {
        absorbed.changes.push(MemoryChange::SetPruneConfirmed(confirmed));
    }
    if undeclared != memory.removal_seen {
        absorbed.changes.push(MemoryChange::SetRemovalSeen(undeclared));
    }
    absorbed
}

/// The sessions of ours that the spec does not declare.
pub fn undeclared_sessions(spec: &Spec, tmux: &TmuxView, memory: &Memory) -> BTreeSet<SessionName> {
    let marked =
        tmux.panes.values().filter_map(|pane| pane.mark.as_ref()).filter(|mark| mark.pool == memory.pool).map(|mark| &mark.session);
    let (mut beside_marked, mut beside_remembered) = (Abreast::of(&spec.sessions), Abreast::of(&spec.sessions));
    let marked = marked.filter(|name| beside_marked.get(*name).is_none());
    let remembered = memory.sessions.keys().filter(|name| beside_remembered.get(*name).is_none());
    marked.chain(remembered).cloned().collect()
}

/// The sessions whose agents run and whose conversations were never seen to have a transcript: looked at now and then, so that it is known once
/// there is something to lose.
pub fn unspoken_transcripts(seen: &Snapshot, memory: &Memory) -> BTreeMap<SessionName, Option<TranscriptMark>> {
    let runs = |name: &SessionName| seen.agents.get(name).and_then(Seen::value).is_some_and(|agent| agent.process.is_some());
    memory.sessions.iter().filter(|(name, record)| !record.spoken && runs(name)).map(|(name, _)| (name.clone(), None)).collect()
}

/// The sessions whose transcripts must be looked at before a plan can say how they are started: bound to a conversation, and without an agent.
pub fn wanted_transcripts(spec: &Spec, seen: &Snapshot, memory: &Memory) -> BTreeMap<SessionName, Option<TranscriptMark>> {
    let in_swap = |name: &SessionName| memory.is_moving(name);
    let (mut remembered, mut agents) = (Abreast::of(&memory.sessions), Abreast::of(&seen.agents));
    spec.sessions
        .keys()
        .filter(|name| remembered.get(*name).is_some() && !in_swap(name))
        .filter(|name| match agents.get(*name) {
            Some(Seen::Known(fact)) => fact.value.process.is_none(),
            Some(Seen::Unknown(_)) => false,
            None => true,
        })
        .map(|name| (name.clone(), None))
        .collect()
}
