//! What is known of one object, as lines: what is wanted, what was seen and when, what is remembered.

use jiff::Timestamp;

use super::View;
use crate::{
    host::Host,
    model::{AccountName, LinkName, ObjectRef, ProjectName, SessionName, TaskId},
    observed::{AgentView, HomeView, LinkView, LoginView, MarkerView, RootView, Seen, Snapshot},
    plan::{Memory, link_need, login_of, target},
    spec::{Spec, format_duration},
};

impl<H: Host> View<H> {
    /// Evidence about `object`, one fact a line.
    pub fn evidence(&self, object: &ObjectRef) -> Vec<String> {
        let mut lines = Vec::new();
        match object {
            ObjectRef::Pool => self.pool_evidence(&mut lines),
            ObjectRef::Server => lines.push(format!(
                "seen: {}",
                seen_words(&self.seen.tmux, |tmux| tmux.server.as_ref().map_or_else(
                    || "no server".to_owned(),
                    |server| format!("server {} of tmux {}, {} sessions", server.pid, server.version, tmux.panes.len())
                ))
            )),
            ObjectRef::SharedRoot => lines.push(format!("seen: {}", seen_words(&self.seen.shared_root, root_words))),
            ObjectRef::ActiveLink => lines.push(format!("seen: {}", seen_words(&self.seen.active_link, link_words))),
            ObjectRef::StateDir => {
                let known = self.seen.checkpoints.values().filter_map(Seen::value);
                let count: usize = known.map(|view| view.taken.len()).sum();
                lines.push(format!("seen: {count} checkpoints of {} sessions", self.seen.checkpoints.len()));
            }
            ObjectRef::Account(name) => self.account_evidence(name, &mut lines),
            ObjectRef::Link(account, link) => self.link_evidence(account, link, &mut lines),
            ObjectRef::Session(name) => self.session_evidence(name, &mut lines),
            ObjectRef::Project(name) => self.project_evidence(name, &mut lines),
            ObjectRef::Task(task) => self.task_evidence(task, &mut lines),
        }
        if let Some(latch) = self.memory.latches.get(object) {
            lines.push(format!("latched: {} since {:.0}", latch.reason, latch.since));
            lines.extend(
                latch
                    .causes
                    .iter()
                    .enumerate()
                    .map(|(at, cause)| if at == 0 { format!("cause: {cause}") } else { format!("then: {cause}") }),
            );
            lines.push(format!("evidence then: {}", latch.evidence));
        }
        if let Some(attempts) = self.memory.attempts.get(object) {
            lines.push(format!(
                "attempts: {} failures in a row, {} exits lately{}{}",
                attempts.failures,
                attempts.exits.len(),
                if attempts.quarantined { ", quarantined" } else { "" },
                attempts.not_before.map(|at| format!(", not before {at:.0}")).unwrap_or_default()
            ));
            lines.extend(attempts.last_error.iter().map(|error| format!("last error: {error}")));
        }
        if let Some(cordon) = self.memory.cordoned.get(object) {
            lines.push(format!("cordoned: by {} since {:.0}: {}", cordon.actor, cordon.since, cordon.reason));
        }
        lines
    }

    /// What a session does, and under which account.
    pub(super) fn whereabouts(&self, name: &SessionName) -> String {
        let agent = match self.seen.agents.get(name) {
            Some(Seen::Known(fact)) if fact.value.process.is_some() => &fact.value,
            Some(Seen::Unknown(why)) => return format!("cannot be looked at: {why}"),
            _ => return "no agent runs".to_owned(),
        };
        let account = agent.home.as_deref().and_then(|home| self.spec.account_at(home));
        let account = account.map_or_else(|| "no account of the pool".to_owned(), |account| account.name.to_string());
        format!("{} under {account}", agent.told_activity())
    }

    fn pool_evidence(&self, lines: &mut Vec<String>) {
        let active = self.memory.active.as_ref();
        lines.push(active.map_or_else(
            || "active account: none".to_owned(),
            |active| format!("active account: {} since {:.0}", active.account, active.since),
        ));
        if self.spec.active_link.is_some() {
            lines.push(format!("active link: {}", seen_words(&self.seen.active_link, link_words)));
        }
        for account in &self.spec.accounts {
            lines.push(format!("links of {}: {}", account.name, links_words(&self.spec, &self.seen, &self.memory, &account.name)));
        }
        for name in self.spec.sessions.keys() {
            lines.push(format!("session {name}: {}", self.whereabouts(name)));
        }
        if let Some(swap) = &self.memory.swap {
            lines.push(format!(
                "swap {}: {} -> {}, {}, stage {:?}",
                swap.plan.id, swap.plan.from, swap.plan.to, swap.plan.cause, swap.stage
            ));
            lines.extend(self.swap_waits.iter().map(|why| format!("the swap waits: {why}")));
        }
        if let Some(last) = self.memory.swaps.last() {
            lines.push(format!("last swap: {} -> {}, {:?} at {:.0}", last.from, last.to, last.verdict, last.closed_at));
        }
    }

    fn account_evidence(&self, name: &AccountName, lines: &mut Vec<String>) {
        let Some(account) = self.spec.account(name) else {
            lines.push("the spec has no account of that name".to_owned());
            return;
        };
        lines.push(format!("wanted: home {}", account.home.display()));
        lines.push(format!(
            "thresholds: 5 hours {}, week {}, headroom {}",
            account.thresholds.five_hour, account.thresholds.weekly, account.thresholds.headroom
        ));
        let home = self.seen.homes.get(name).map_or_else(
            || "not looked at".to_owned(),
            |seen| seen_words(seen, |home| home_words(home, &login_of(&self.seen, &self.memory, name))),
        );
        lines.push(format!("seen: {home}"));
        lines.push(format!("links: {}", links_words(&self.spec, &self.seen, &self.memory, name)));
        for (window, reading) in self.seen.usage.get(name).into_iter().flat_map(|usage| &usage.windows) {
            let reset = reading.resets_at.map_or_else(|| "reset not known".to_owned(), |at| format!("resets {at:.0}"));
            lines.push(format!("{window}: {} used, {reset}, measured {} by {}", reading.used, reading.measured_at, reading.source));
        }
        if let Some((_, words)) = self.standing.get(name) {
            lines.push(format!("standing: {words}"));
        }
    }

    fn link_evidence(&self, account: &AccountName, link: &LinkName, lines: &mut Vec<String>) {
        let Some(known) = self.spec.account(account) else {
            lines.push("the spec has no account of that name".to_owned());
            return;
        };
        let need = link_need(&self.spec, known, link);
        lines.push(format!("wanted: {} -> {}", need.path.display(), need.target.display()));
        let seen = self.seen.links.get(&(account.clone(), link.clone()));
        lines.push(format!("seen: {}", seen.map_or_else(|| "not looked at".to_owned(), |seen| seen_words(seen, link_words))));
        lines.push(format!("made by us: {}", if self.memory.links.contains(&need.path) { "yes" } else { "no" }));
    }

    fn project_evidence(&self, name: &ProjectName, lines: &mut Vec<String>) {
        let Some(project) = self.spec.project(name) else {
            lines.push("the spec does not register it".to_owned());
            return;
        };
        lines.push(format!(
            "wanted: the tasks of {}, {} attempts of {} each",
            project.path.display(),
            project.attempts,
            format_duration(project.timeout)
        ));
        let serving: Vec<&str> =
            self.spec.sessions.values().filter(|session| self.spec.serves(session, project)).map(|session| session.name.as_str()).collect();
        lines.push(if serving.is_empty() {
            "no session serves it; declare one with `dispatch: true`".to_owned()
        } else {
            format!("served by {}", serving.join(", "))
        });
        let queue = self.seen.queues.get(name);
        lines.push(match queue {
            None => "its queue has not been looked at".to_owned(),
            Some(queue) => format!(
                "seen: {}",
                seen_words(queue, |queue| format!(
                    "{} in the inbox, {} markers, {} failed, {} done",
                    queue.inbox.len(),
                    queue.markers.len(),
                    queue.failed.len(),
                    queue.done.len()
                ))
            ),
        });
        if let Some(queue) = queue.and_then(Seen::value) {
            lines.extend(queue.ignored.iter().map(|(file, why)| format!("not taken: {file}: {why}")));
        }
        for (task, record) in self.memory.tasks.iter().filter(|(task, _)| task.project == *name) {
            if let Some(attempt) = record.open() {
                lines.push(format!("{} has {} since {:.0}", attempt.session, task.name, attempt.claimed_at));
            }
        }
    }

    fn task_evidence(&self, task: &TaskId, lines: &mut Vec<String>) {
        let Some(detail) = self.tasks(true).into_iter().find(|detail| detail.row.task == *task) else {
            lines.push("it is in no queue of this pool".to_owned());
            return;
        };
        lines.push(format!("{}, in {}", detail.row.state.as_str(), detail.path.display()));
        lines.extend(detail.row.why.map(|why| format!("why: {why}")));
        let queue = self.seen.queues.get(&task.project).and_then(Seen::value);
        if let Some(marker) = queue.and_then(|queue| queue.markers.get(&task.name)) {
            lines.push(match marker {
                MarkerView::Marker(marker) => format!(
                    "its marker names session {}, attempt {}, claim {}, lease until {:.0}",
                    marker.session, marker.attempt, marker.claim, marker.lease_until
                ),
                MarkerView::Unreadable { why, .. } => format!("its marker cannot be read: {why}"),
            });
        }
        for (at, attempt) in detail.record.attempts.iter().enumerate() {
            let delivered = match (attempt.delivered_at, attempt.typed) {
                (Some(at), _) => format!("taken by the agent at {at:.0}"),
                (None, 0) => "not typed yet".to_owned(),
                (None, typed) => format!("typed {typed} times, not seen to arrive"),
            };
            let end = attempt.end.as_ref().map_or_else(|| "under way".to_owned(), |end| format!("{} at {:.0}", end.message, end.at));
            lines.push(format!("attempt {} by {} ({}): {delivered}; {end}", at + 1, attempt.session, attempt.claim));
        }
        lines.extend(detail.record.not_before.map(|at| format!("not offered again before {at:.0}")));
    }

    fn session_evidence(&self, name: &SessionName, lines: &mut Vec<String>) {
        match self.spec.sessions.get(name) {
            Some(session) => lines.push(format!("wanted: in {}, settings {}", session.workdir.display(), self.spec.start_digest(session))),
            None => lines.push("the spec does not declare it".to_owned()),
        }
        let pane = self.seen.tmux.value().map(|tmux| tmux.panes.get(name.as_str()));
        lines.push(match pane {
            None => "tmux: cannot be looked at".to_owned(),
            Some(None) => "tmux: no session of that name".to_owned(),
            Some(Some(pane)) => {
                let mark = pane
                    .mark
                    .as_ref()
                    .map_or_else(|| "without our mark".to_owned(), |mark| format!("started with settings {}", mark.digest));
                format!("tmux: {} pane {}, {mark}, {} attached", pane.session_id, pane.pane, pane.attached)
            }
        });
        match self.seen.agents.get(name) {
            Some(Seen::Known(fact)) => {
                let agent = &fact.value;
                let process = agent.process.map_or_else(|| "none".to_owned(), |process| process.pid.to_string());
                lines.push(format!("agent: process {process}, {}", agent.told_activity()));
                activity_evidence(agent, self.wall(), lines);
                lines.extend(agent.home.iter().map(|home| format!("its environment names the home {}", home.display())));
                if let Some(register) = &agent.register {
                    lines.push(format!("its register names conversation {} and version {}", register.conversation, register.version));
                }
                if let Some(screen) = &agent.screen {
                    lines.push(format!("its screen at {:.0}: {}", screen.seen_at, screen.shows));
                    lines.extend(screen.lines.iter().map(|line| format!("  | {line}")));
                }
                if let Some(started) = &agent.started {
                    lines.push(format!("its start hook said {} of conversation {}", started.source, started.conversation));
                }
            }
            Some(Seen::Unknown(why)) => lines.push(format!("agent: cannot be looked at: {why}")),
            None => lines.push("agent: none seen".to_owned()),
        }
        if let Some(record) = self.memory.sessions.get(name) {
            lines.push(format!("bound to conversation {} begun in {}", record.conversation, record.workdir.display()));
            lines.push(format!("last started under {} at {:.0}", record.account, record.started_at));
        }
        if let Some(moved) = self.memory.swap.as_ref().and_then(|swap| swap.moves.get(name)) {
            lines.push(format!("in the open swap: {:?}", moved.place));
        }
    }
}

/// Who says what of its activity: first the source that decided, then the others, and whether they agree.
fn activity_evidence(agent: &AgentView, now: Timestamp, lines: &mut Vec<String>) {
    for (at, sign) in agent.evidence.iter().enumerate() {
        let age = |at| now.duration_since(at).as_secs().max(0);
        let age = sign.at.map_or_else(String::new, |at| format!(" at {at:.0}, {} s ago", age(at)));
        let verdict = match at {
            0 if sign.activity == agent.activity => "decides",
            0 => "too weak to act on",
            _ if sign.activity == agent.told_activity() => "agrees",
            _ => "disagrees",
        };
        lines.push(format!("its {} says \"{}\"{age}: {} ({verdict})", sign.source, sign.says.escape_debug(), sign.activity));
    }
}

/// A link as people say it.
pub(super) fn link_words(view: &LinkView) -> String {
    match view {
        LinkView::Absent => "absent".to_owned(),
        LinkView::Link { target, target_ok: true } => format!("-> {}", target.display()),
        LinkView::Link { target, target_ok: false } => format!("-> {}, which is missing or of the wrong kind", target.display()),
        LinkView::Directory { entries } => format!("a real directory with {entries} entries"),
        LinkView::File => "a regular file".to_owned(),
        LinkView::Other => "neither link, file nor directory".to_owned(),
    }
}

fn root_words(root: &RootView) -> String {
    match root {
        RootView::Absent => "absent".to_owned(),
        RootView::Empty => "an empty directory without a marker".to_owned(),
        RootView::Unmarked => "a directory with content and without a marker".to_owned(),
        RootView::Marked(pool) => format!("carries the marker of pool {pool}"),
    }
}

fn home_words(home: &HomeView, login: &LoginView) -> String {
    if !home.exists {
        return "absent".to_owned();
    }
    let login = match login {
        LoginView::Unknown => "its login is not known".to_owned(),
        LoginView::Missing => "nobody is logged in".to_owned(),
        LoginView::Valid { expires_at: None } => "logged in".to_owned(),
        LoginView::Valid { expires_at: Some(at) } => format!("logged in until {at:.0}"),
        LoginView::Dead { reason } => format!("its login is dead: {reason}"),
    };
    format!("{}, {login}", if home.onboarded { "onboarded" } else { "not onboarded yet" })
}

fn seen_words<T>(seen: &Seen<T>, words: impl Fn(&T) -> String) -> String {
    match seen {
        Seen::Known(fact) => words(&fact.value),
        Seen::Unknown(why) => format!("cannot be looked at: {why}"),
    }
}

fn links_words(spec: &Spec, seen: &Snapshot, memory: &Memory, name: &AccountName) -> String {
    let Some(account) = spec.account(name) else { return "not declared".to_owned() };
    match super::observe::links_of(spec, seen, memory, account) {
        target::LinksState::Right => "right".to_owned(),
        target::LinksState::Repairable => "not right, ours to put right".to_owned(),
        target::LinksState::Wrong { why } => format!("wrong: {why}"),
        target::LinksState::Unknown { why } => format!("not known: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::Activity,
        observed::{ActivitySign, ActivitySource},
        plan::tests::{
            tasks::{task, with_tasks},
            world::{World, at},
        },
        sim::SimHost,
    };

    #[test]
    fn who_says_what_is_told_with_its_age_and_whether_it_agrees() {
        let (mut world, now) = (World::converged(1), at(0).wall);
        let sign = |source, activity, says: &str, ago: Option<i64>| ActivitySign {
            source,
            activity,
            says: says.to_owned(),
            at: ago.map(|ago| now - jiff::SignedDuration::from_secs(ago)),
        };
        let lines = |agent: &AgentView| {
            let mut lines = Vec::new();
            activity_evidence(agent, now, &mut lines);
            lines
        };
        let agent = world.agent("s-0");
        assert_eq!(lines(agent), Vec::<String>::new());
        agent.activity = Activity::Working;
        agent.evidence = vec![
            sign(ActivitySource::Hook, Activity::Working, "it took a \u{1b}[prompt", Some(12)),
            sign(ActivitySource::Register, Activity::Starting, "no entry", None),
            // A clock that was set back.
            sign(ActivitySource::StatusFile, Activity::Working, "working on x.md", Some(-1)),
        ];
        let (then, soon) = (now - Duration::from_secs(12), now + Duration::from_secs(1));
        let expected = [
            format!("its hook says \"it took a \\u{{1b}}[prompt\" at {then:.0}, 12 s ago: working (decides)"),
            "its register says \"no entry\": starting (disagrees)".to_owned(),
            format!("its status file says \"working on x.md\" at {soon:.0}, 0 s ago: working (agrees)"),
        ];
        assert_eq!(lines(agent), expected);

        agent.activity = Activity::Unknown;
        agent.evidence = vec![
            sign(ActivitySource::Pane, Activity::Idle, "its input box is empty", Some(0)),
            sign(ActivitySource::Register, Activity::Idle, "idle", None),
        ];
        let expected = [
            format!("its pane says \"its input box is empty\" at {now:.0}, 0 s ago: idle (too weak to act on)"),
            "its register says \"idle\": idle (agrees)".to_owned(),
        ];
        assert_eq!(lines(agent), expected);
    }

    fn explained(object: &ObjectRef) -> String {
        let World { spec, seen, memory, .. } = with_tasks();
        let host = SimHost::new(crate::sim::World::shared(&spec));
        View::new(host, spec, memory, seen).evidence(object).join("\n")
    }

    #[test]
    fn a_project_and_its_tasks() {
        let project = task("login.md").project;
        insta::assert_snapshot!("explain-project", explained(&ObjectRef::Project(project)));
        insta::assert_snapshot!("explain-task-working", explained(&ObjectRef::Task(task("login.md"))));
        insta::assert_snapshot!("explain-task-failed", explained(&ObjectRef::Task(task("bad.md"))));
        insta::assert_snapshot!("explain-task-unknown", explained(&ObjectRef::Task(task("no-such.md"))));
    }
}
