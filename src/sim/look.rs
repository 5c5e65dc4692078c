//! What a look shows.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    World,
    act::MARKER,
    files::{DEVICE, Node},
    process::{Agent, Phase, Process},
    world::Source,
};
use crate::{
    host::Look,
    model::{Activity, Now, PoolId, SessionName, sha256_hex},
    observed::{
        AgentView, HomeView, LinkView, PaneView, RegisterStatus, RegisterView, RootView, Seen, ServerView, Snapshot, TargetView, TmuxView,
        TranscriptMark, TranscriptView, Unseen,
    },
    plan::{LinkNeed, Memory, TargetKind, link_need},
    spec::Spec,
};

/// How long a look that is not answered lasts.
const TIME_OUT: Duration = Duration::from_secs(5);
/// A process that lived so long and does not register is taken to wait for a person.
const START_UP: Duration = Duration::from_secs(30);
/// How much of a transcript's end its mark covers.
const TAIL: usize = 64 * 1_024;

impl World {
    /// Refreshes the parts of `seen` that `look` names.
    pub(super) fn show(&mut self, memory: &Memory, look: &Look, seen: &mut Snapshot) {
        let Some(spec) = self.spec.clone() else { return };
        let now = self.now();
        if look.tmux {
            let blind = self.is_blind(Source::Tmux) || self.tmux.hung;
            seen.tmux = if blind { timed_out("tmux") } else { Seen::known(self.tmux_view(), now) };
        }
        if look.agents || look.everything {
            self.show_agents(memory, now, seen);
        }
        if !look.transcripts.is_empty() {
            let blind = self.is_blind(Source::Transcripts);
            for (session, mark) in &look.transcripts {
                let fact = if blind { timed_out("transcripts") } else { self.transcript(&spec, memory, session, mark.as_ref(), now) };
                seen.transcripts.insert(session.clone(), fact);
            }
        }
        if look.homes {
            self.show_homes(&spec, now, seen);
        }
        if look.links {
            self.show_links(&spec, now, seen);
        }
        if look.queues {
            let blind = self.is_blind(Source::Queues);
            for project in &spec.projects {
                let fact = if blind { timed_out("queues") } else { Seen::known(self.queue_view(&project.path), now) };
                seen.queues.insert(project.name.clone(), fact);
            }
        }
        if look.checkpoints {
            self.show_checkpoints(&spec, memory, now, seen);
        }
        if look.usage || look.everything {
            for (account, usage) in std::mem::take(&mut self.readings) {
                seen.usage.entry(account).or_default().merge(&usage);
            }
        }
    }

    /// Counts a look at a source, and whether it sees nothing.
    fn is_blind(&mut self, source: Source) -> bool {
        match self.blind.get_mut(&source) {
            Some(looks) if *looks > 0 => {
                *looks -= 1;
                true
            }
            _ => false,
        }
    }

    fn tmux_view(&self) -> TmuxView {
        let server =
            self.tmux.server.map(|pid| ServerView { pid, version: "3.3a".to_owned(), descriptor_limit: self.tmux.descriptor_limit });
        let pane = |(name, session): (&String, &super::tmux::Session)| {
            let death = self.processes.get(&session.pid).and_then(|process| process.death);
            let view = PaneView {
                session_id: session.id.clone(),
                pane: session.pane.clone(),
                pid: Some(session.pid),
                dead: death.map(|death| if self.tmux.loses_status { crate::observed::Death::default() } else { death }),
                mark: session.own_mark(name).cloned(),
                attached: session.attached,
            };
            (name.clone(), view)
        };
        TmuxView { server, panes: self.tmux.sessions.iter().map(pane).collect() }
    }

    /// The agents of all panes that were seen, and those of remembered sessions whose pane is gone: one that ignores the hang-up lives on.
    fn show_agents(&mut self, memory: &Memory, now: Now, seen: &mut Snapshot) {
        let blind = self.is_blind(Source::Agents);
        let Some(tmux) = seen.tmux.value() else {
            // Without the panes nobody can say which process belongs to which session.
            seen.agents.values_mut().for_each(|agent| *agent = timed_out("tmux"));
            return;
        };
        let panes = tmux.panes.iter().filter_map(|(name, pane)| Some((SessionName::new(name.as_str()).ok()?, pane.pid)));
        let mut processes: BTreeMap<_, _> = panes.map(|(name, pid)| (name, pid.and_then(|pid| self.processes.get(&pid)))).collect();
        for (name, record) in &memory.sessions {
            if let (false, Some(id)) = (processes.contains_key(name), record.process) {
                processes.insert(name.clone(), self.processes.get(&id.pid).filter(|process| process.id == id));
            }
        }
        let fact = |process| if blind { timed_out("processes") } else { Seen::known(self.agent_view(process), now) };
        seen.agents = processes.into_iter().map(|(name, process)| (name, fact(process))).collect();
    }

    fn agent_view(&self, process: Option<&Process>) -> AgentView {
        let gone = AgentView { activity: Activity::Exited, ..AgentView::default() };
        match process {
            None => gone,
            Some(process) if !process.is_alive() => AgentView { death: process.death.filter(|_| !self.tmux.loses_status), ..gone },
            Some(process) => {
                let agent = process.agent.as_ref();
                let registered = agent.filter(|agent| agent.is_registered());
                AgentView {
                    process: Some(process.id),
                    home: Some(process.home.clone()),
                    register: registered.map(|agent| self.register(agent)),
                    started: agent.and_then(|agent| agent.started.clone()),
                    activity: self.activity(process),
                    activity_since: registered.map(|agent| self.host_wall_at(agent.since)),
                    context_tokens: agent.and_then(|agent| self.context_tokens(agent.conversation)),
                    prompts: agent
                        .and_then(|agent| self.talks.get(&agent.conversation))
                        .map(|talk| talk.prompts.clone())
                        .unwrap_or_default(),
                    turn_ended_at: agent.and_then(|agent| agent.turn_ended).map(|at| self.host_wall_at(at)),
                    turn_cut_off_at: agent.and_then(|agent| agent.turn_cut_off).map(|at| self.host_wall_at(at)),
                    ..gone
                }
            }
        }
    }

    fn activity(&self, process: &Process) -> Activity {
        let started = process.agent.as_ref().map_or(self.now, |agent| agent.since);
        match process.agent.as_ref().map(|agent| &agent.phase) {
            Some(Phase::Idle) => Activity::Idle,
            Some(Phase::Busy(_)) => Activity::Working,
            Some(Phase::Limited(_)) => Activity::LimitHit,
            Some(Phase::LoggedOut) => Activity::LoggedOut,
            Some(Phase::Starting(_) | Phase::Dialog) | None if self.now.since(started) < START_UP => Activity::Starting,
            Some(Phase::Asking(_) | Phase::Starting(_) | Phase::Dialog) | None => Activity::NeedsInput,
        }
    }

    fn register(&self, agent: &Agent) -> RegisterView {
        let (status, waiting_for) = match agent.phase {
            Phase::Busy(_) => (RegisterStatus::Busy, None),
            Phase::Asking(_) => (RegisterStatus::Waiting, Some("permission prompt".to_owned())),
            // Also shown while it waits for a reset, and after the login died (facts/claude-code.md, section 4).
            _ => (RegisterStatus::Idle, None),
        };
        RegisterView {
            conversation: agent.conversation,
            status,
            waiting_for,
            cwd: agent.workdir.clone(),
            version: "2.1.330".to_owned(),
            status_since: Some(self.host_wall_at(agent.since)),
        }
    }

    fn transcript(
        &self,
        spec: &Spec,
        memory: &Memory,
        session: &SessionName,
        mark: Option<&TranscriptMark>,
        now: Now,
    ) -> Seen<TranscriptView> {
        let Some(record) = memory.sessions.get(session) else { return Seen::known(TranscriptView { mark: None, keeps: None }, now) };
        let root = spec.shared.root.join("projects");
        if !matches!(self.files.target(&root), Some(Node::Directory)) {
            let message = format!("{} is not there", root.display());
            return Seen::Unknown(Unseen::Failed { source_name: "transcripts".to_owned(), message });
        }
        let path = Self::transcript_path(&spec.shared.root, &record.workdir, record.conversation);
        let found = self.transcript_mark(&path, usize::MAX);
        let keeps = mark.map(|mark| {
            let length = usize::try_from(mark.length).unwrap_or(usize::MAX);
            self.transcript_mark(&mark.path, length).as_ref() == Some(mark)
        });
        Seen::known(TranscriptView { mark: found, keeps }, now)
    }

    /// The mark of the first `length` bytes of a transcript; `None` when it has none or fewer.
    pub(super) fn transcript_mark(&self, path: &Path, length: usize) -> Option<TranscriptMark> {
        let bytes = self.files.read(path).filter(|bytes| !bytes.is_empty())?;
        let kept = if length == usize::MAX { bytes } else { bytes.get(..length)? };
        Some(TranscriptMark {
            path: self.files.resolve(path)?,
            device: DEVICE,
            inode: self.files.inode(path)?,
            length: kept.len() as u64,
            tail: sha256_hex(&kept[kept.len().saturating_sub(TAIL)..]),
        })
    }

    fn show_homes(&mut self, spec: &Spec, now: Now, seen: &mut Snapshot) {
        let blind = self.is_blind(Source::Homes);
        for account in &spec.accounts {
            let state = self.homes.get(&account.home).cloned().unwrap_or_default();
            let exists = matches!(self.files.target(&account.home), Some(Node::Directory));
            let declared = spec.sessions.values().map(|session| &session.workdir);
            let view = HomeView {
                exists,
                identity: self.files.inode(&account.home).filter(|_| exists).map(|inode| (DEVICE, inode)),
                unsafe_mode: state.unsafe_mode,
                onboarded: state.onboarded,
                trusted: declared.filter(|workdir| state.trusted.contains(*workdir)).cloned().collect(),
                bypass_accepted: state.bypass_accepted,
                login: state.login,
            };
            let fact = if blind { timed_out("homes") } else { Seen::known(view, now) };
            seen.homes.insert(account.name.clone(), fact);
        }
    }

    fn show_links(&mut self, spec: &Spec, now: Now, seen: &mut Snapshot) {
        let blind = self.is_blind(Source::Links);
        for name in &spec.shared.links {
            for account in &spec.accounts {
                let need = link_need(spec, account, name);
                let fact = if blind { timed_out("links") } else { Seen::known(self.link(&need), now) };
                seen.links.insert((account.name.clone(), name.clone()), fact);
            }
            let target = match self.files.node(&spec.shared.root.join(name.as_str())) {
                None => TargetView::Absent,
                Some(Node::Directory) => TargetView::Directory,
                Some(Node::File { .. }) => TargetView::File,
                Some(Node::Link(_)) => TargetView::Other,
            };
            seen.targets.insert(name.clone(), if blind { timed_out("links") } else { Seen::known(target, now) });
        }
        seen.shared_root = if blind { timed_out("shared root") } else { Seen::known(self.root(&spec.shared.root), now) };
        let active = spec.active_link.as_ref().map_or(LinkView::Absent, |path| {
            self.link(&LinkNeed { path: path.clone(), target: path.clone(), kind: TargetKind::Directory })
        });
        seen.active_link = if blind { timed_out("active link") } else { Seen::known(active, now) };
    }

    fn link(&self, need: &LinkNeed) -> LinkView {
        match self.files.node(&need.path) {
            None => LinkView::Absent,
            Some(Node::Link(target)) => LinkView::Link { target: target.clone(), target_ok: self.is_of_kind(target, need.kind) },
            Some(Node::Directory) => LinkView::Directory { entries: self.files.names(&need.path).len() },
            Some(Node::File { .. }) => LinkView::File,
        }
    }

    fn root(&self, root: &Path) -> RootView {
        let marker = self.files.read(&root.join(MARKER)).and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok());
        match (self.files.target(root), marker) {
            (None, _) => RootView::Absent,
            (Some(_), Some(pool)) => RootView::Marked(PoolId(pool)),
            (Some(_), None) if self.files.names(root).is_empty() => RootView::Empty,
            (Some(_), None) => RootView::Unmarked,
        }
    }
}

fn timed_out<T>(source: &str) -> Seen<T> {
    Seen::Unknown(Unseen::TimedOut { source_name: source.to_owned(), after: TIME_OUT })
}
