//! Processes: agents that start, register, work, ask, run into limits and end, each in its manner.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Violation, World, files::Node, queue::Job};
use crate::{
    host::Wake,
    model::{AccountName, ConversationId, Monotonic, Pid, ProcessId, SessionName},
    observed::{Death, LoginView, PromptView, StartReport},
    plan::LaunchMode,
};

/// SIGHUP, SIGKILL and SIGTERM (signal(7)).
const HANG_UP: i32 = 1;
const KILL: i32 = 9;
/// The exit code of an agent that was asked to end (facts/claude-code.md, section 6).
const TERMINATED: Death = Death { code: Some(143), signal: None };

/// How an agent behaves. The default is the CLI in good health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// From its start until it registers.
    pub start_up: Duration,
    /// Whether it ever appears in the register.
    pub registers: bool,
    /// Whether its start hook reports.
    pub reports_start: bool,
    /// From SIGTERM to its end.
    pub stop_delay: Duration,
    /// Whether SIGTERM does nothing.
    pub ignores_terminate: bool,
    /// Whether it lives on when its terminal goes.
    pub ignores_hang_up: bool,
    /// It ends by itself with this exit code, so long after its start.
    pub exits: Option<(Duration, i32)>,
    /// It opens this conversation whatever it is told.
    pub opens: Option<ConversationId>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            start_up: Duration::from_millis(1_500),
            registers: true,
            reports_start: true,
            stop_delay: Duration::from_millis(600),
            ignores_terminate: false,
            ignores_hang_up: false,
            exits: None,
            opens: None,
        }
    }
}

/// Whose manner: of a session, under an account, of both at once, or of everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Only of this session.
    pub session: Option<SessionName>,
    /// Only under this account.
    pub account: Option<AccountName>,
}

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number and start time.
    pub id: ProcessId,
    /// The tmux session that it was started in.
    pub session: String,
    /// `CLAUDE_CONFIG_DIR` in its environment.
    pub home: PathBuf,
    /// Whether we started it, or took it over.
    pub ours: bool,
    /// How it ended, once it has.
    pub death: Option<Death>,
    /// When and how it will end.
    pub(super) ending: Option<(Monotonic, Death)>,
    /// The agent; `None` for another program.
    pub agent: Option<Agent>,
}

/// An agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The conversation that it has open.
    pub conversation: ConversationId,
    /// Its start directory.
    pub workdir: PathBuf,
    /// Whether it was told to begin the conversation or to go on with it.
    pub mode: LaunchMode,
    /// What it does.
    pub phase: Phase,
    /// Since when.
    pub since: Monotonic,
    /// What its start hook reported.
    pub started: Option<StartReport>,
    /// When a turn of it last ended.
    pub turn_ended: Option<Monotonic>,
    /// When an error of the API last cut a turn of it off.
    pub turn_cut_off: Option<Monotonic>,
}

/// What an agent does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It starts until then.
    Starting(Monotonic),
    /// A dialog at start-up is open, and it does not register before a person has answered.
    Dialog,
    /// It waits for a prompt.
    Idle,
    /// A turn runs until then.
    Busy(Monotonic),
    /// A turn waits for a person; so much of it is left.
    Asking(Duration),
    /// A turn waits for a window to begin anew; so much of it is left.
    Limited(Duration),
    /// Its login is not accepted.
    LoggedOut,
}

/// What a conversation remembers over its agents.
#[derive(Debug, Clone, Default)]
pub(super) struct Talk {
    /// Turns that were begun.
    turns: u32,
    /// What is left of a turn that was interrupted.
    pub(super) left: Option<Duration>,
    /// The newest prompts with a claim.
    pub(super) prompts: Vec<PromptView>,
    /// The task that the present turn is at.
    pub(super) job: Option<Job>,
}

/// What is started.
pub(super) struct Start {
    pub session: String,
    pub home: PathBuf,
    pub workdir: PathBuf,
    pub conversation: ConversationId,
    pub mode: LaunchMode,
    pub ours: bool,
}

impl Process {
    /// Whether it lives.
    pub const fn is_alive(&self) -> bool {
        self.death.is_none()
    }

    /// Whether a turn runs.
    pub(super) fn is_working(&self) -> bool {
        self.is_alive() && self.agent.as_ref().is_some_and(|agent| matches!(agent.phase, Phase::Busy(_)))
    }
}

impl World {
    /// Every process that ever was, by its number.
    pub const fn processes(&self) -> &BTreeMap<Pid, Process> {
        &self.processes
    }

    /// The living agents that have a conversation open.
    pub fn agents_on(&self, conversation: ConversationId) -> Vec<Pid> {
        let open = |process: &&Process| process.agent.as_ref().is_some_and(|agent| agent.conversation == conversation);
        self.processes.values().filter(|process| process.is_alive()).filter(open).map(|process| process.id.pid).collect()
    }

    /// Sets the manner of agents that are started from now on.
    pub fn set_manner(&mut self, who: Who, manner: Manner) {
        self.manners.insert(who, manner);
    }

    /// The path of a conversation's transcript below a home (facts/claude-code.md, section 2).
    pub fn transcript_path(home: &Path, workdir: &Path, conversation: ConversationId) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let directory: String = workdir.to_string_lossy().chars().map(plain).collect();
        home.join("projects").join(directory).join(format!("{conversation}.jsonl"))
    }

    pub(super) fn alive(&self, pid: Pid) -> Option<&Process> {
        self.processes.get(&pid).filter(|process| process.is_alive())
    }

    /// How many agents work under a home.
    pub(super) fn working_under(&self, home: &Path) -> usize {
        self.processes.values().filter(|process| process.home == home && process.is_working()).count()
    }

    pub(super) fn spawn_agent(&mut self, start: Start) -> Pid {
        let manner = self.manner(&start.session, &start.home);
        let conversation = manner.opens.unwrap_or(start.conversation);
        if start.ours {
            self.judge_start(&start, conversation);
        }
        let trusts = self.homes.get(&start.home).is_some_and(|home| home.onboarded && home.trusted.contains(&start.workdir));
        let phase = if trusts { Phase::Starting(self.now.plus(manner.start_up)) } else { Phase::Dialog };
        let agent = Agent {
            conversation,
            workdir: start.workdir,
            mode: start.mode,
            phase,
            since: self.now,
            started: None,
            turn_ended: None,
            turn_cut_off: None,
        };
        let pid = self.spawn(start.session, start.home, start.ours, Some(agent));
        if let (Some((after, code)), Some(process)) = (manner.exits, self.processes.get_mut(&pid)) {
            process.ending = Some((self.now.plus(after), Death { code: Some(code), signal: None }));
        }
        pid
    }

    pub(super) fn spawn(&mut self, session: String, home: PathBuf, ours: bool, agent: Option<Agent>) -> Pid {
        self.last_pid += 1;
        let pid = Pid(self.last_pid);
        // Clock ticks are hundredths of a second.
        let started = u64::try_from(self.now.0.as_millis() / 10).unwrap_or(u64::MAX);
        let id = ProcessId { pid, started };
        self.processes.insert(pid, Process { id, session, home, ours, death: None, ending: None, agent });
        self.wakes.extend([Wake::Tmux, Wake::Agents]);
        pid
    }

    fn manner(&self, session: &str, home: &Path) -> Manner {
        let session = SessionName::new(session).ok();
        let account = self.account_of(home);
        let keys = [(session.clone(), account.clone()), (session, None), (None, account), (None, None)];
        let found = keys.into_iter().find_map(|(session, account)| self.manners.get(&Who { session, account }));
        found.cloned().unwrap_or_default()
    }

    /// Notes what must not be true when an agent of ours starts.
    fn judge_start(&mut self, start: &Start, conversation: ConversationId) {
        let (at, session) = (self.now, start.session.clone());
        let same = |process: &&Process| {
            let on = process.agent.as_ref().is_some_and(|agent| agent.conversation == conversation);
            process.ours && process.is_alive() && (on || process.session == session)
        };
        let others: Vec<_> = self.processes.values().filter(same).map(|process| process.id.pid).collect();
        if !others.is_empty() {
            self.noticed.push(Violation::SecondAgent { at, session: session.clone(), conversation, others });
        }
        if let Some(link) = self.bad_link(&start.home) {
            self.noticed.push(Violation::StartedOverBadLink { at, session, link });
        }
        let visible = self.files.resolve(&Self::transcript_path(&start.home, &start.workdir, conversation)).is_some();
        let name = format!("{conversation}.jsonl");
        let elsewhere =
            self.files.all().find(|(path, _, bytes)| !bytes.is_empty() && path.ends_with(&name)).map(|(path, ..)| path.to_owned());
        if start.mode == LaunchMode::Fresh
            && !visible
            && let Some(transcript) = elsewhere
        {
            self.noticed.push(Violation::Blanked { at, conversation, transcript });
        }
    }

    /// Asks a process to end.
    pub(super) fn terminate(&mut self, pid: Pid) {
        let Some(process) = self.alive(pid) else { return };
        let manner = self.manner(&process.session.clone(), &process.home.clone());
        if !manner.ignores_terminate {
            self.end_later(pid, manner.stop_delay, TERMINATED);
        }
    }

    /// Takes a process's terminal away.
    pub(super) fn hang_up(&mut self, pid: Pid) {
        let Some(process) = self.alive(pid) else { return };
        let manner = self.manner(&process.session.clone(), &process.home.clone());
        if !manner.ignores_hang_up {
            self.end_later(pid, manner.stop_delay, Death { code: Some(128 + HANG_UP), signal: None });
        }
    }

    /// Kills a process: it has no time to do anything.
    pub(super) fn kill(&mut self, pid: Pid) {
        self.end(pid, Death { code: None, signal: Some(KILL) });
    }

    fn end_later(&mut self, pid: Pid, delay: Duration, death: Death) {
        let at = self.now.plus(delay);
        if let Some(process) = self.processes.get_mut(&pid)
            && process.ending.is_none_or(|(earlier, _)| earlier > at)
        {
            process.ending = Some((at, death));
        }
    }

    /// Ends a process now.
    pub(super) fn end(&mut self, pid: Pid, death: Death) {
        let Some(process) = self.alive(pid) else { return };
        let (home, session) = (process.home.clone(), process.session.clone());
        let left = process.agent.as_ref().and_then(|agent| match agent.phase {
            Phase::Busy(until) => Some(until.since(self.now)),
            Phase::Asking(left) | Phase::Limited(left) => Some(left),
            _ => None,
        });
        let conversation = process.agent.as_ref().map(|agent| agent.conversation);
        if let (Some(left), Some(conversation)) = (left, conversation) {
            self.talks.entry(conversation).or_default().left = Some(left);
            if death.signal.is_none() {
                self.write_transcript(pid, "interrupted");
            }
        }
        self.settle(&home);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.death = Some(death);
            process.ending = None;
        }
        self.pane_ended(&session, pid);
        self.wakes.insert(Wake::Agents);
    }

    /// Lets an agent do what is due.
    pub(super) fn step(&mut self, pid: Pid) {
        let Some(process) = self.alive(pid) else { return };
        if let Some((at, death)) = process.ending
            && at <= self.now
        {
            self.end(pid, death);
            return;
        }
        match process.agent.as_ref().map(|agent| agent.phase.clone()) {
            Some(Phase::Starting(ready)) if ready <= self.now => self.open(pid),
            Some(Phase::Busy(until)) if until <= self.now => self.finish_turn(pid),
            _ => {}
        }
    }

    /// When something is due for a process.
    pub(super) fn due(process: &Process) -> Option<Monotonic> {
        let phase = process.agent.as_ref().and_then(|agent| match agent.phase {
            Phase::Starting(at) | Phase::Busy(at) => Some(at),
            _ => None,
        });
        process.is_alive().then(|| [phase, process.ending.map(|(at, _)| at)].into_iter().flatten().min()).flatten()
    }

    /// The end of the start-up: the conversation is opened, or the agent gives up.
    fn open(&mut self, pid: Pid) {
        let Some(process) = self.alive(pid) else { return };
        let manner = self.manner(&process.session.clone(), &process.home.clone());
        let Some(agent) = process.agent.clone() else { return };
        let transcript = Self::transcript_path(&process.home, &agent.workdir, agent.conversation);
        let there = self.files.read(&transcript).is_some();
        // "No conversation found" and "already in use" (facts/claude-code.md, section 1).
        if manner.opens.is_none() && there == (agent.mode == LaunchMode::Fresh) {
            self.end(pid, Death { code: Some(1), signal: None });
            return;
        }
        let phase = match (manner.registers, self.accepts(&process.home)) {
            (false, _) => Phase::Dialog,
            (true, false) => Phase::LoggedOut,
            (true, true) => Phase::Idle,
        };
        self.set_phase(pid, phase.clone());
        let source = if agent.mode == LaunchMode::Fresh { "startup" } else { "resume" };
        if manner.reports_start
            && phase != Phase::Dialog
            && let Some(agent) = self.processes.get_mut(&pid).and_then(|process| process.agent.as_mut())
        {
            agent.started = Some(StartReport { pid, conversation: agent.conversation, source: source.to_owned() });
        }
        let left = self.talks.get_mut(&agent.conversation).and_then(|talk| talk.left.take());
        if let (Phase::Idle, Some(left)) = (phase, left) {
            self.work(pid, left);
        }
    }

    /// Begins a turn, or goes on with one.
    pub(super) fn begin_turn(&mut self, pid: Pid, length: Duration) {
        let Some(agent) = self.alive(pid).and_then(|process| process.agent.as_ref()) else { return };
        if agent.phase != Phase::Idle {
            return;
        }
        let talk = self.talks.entry(agent.conversation).or_default();
        talk.turns += 1;
        let line = format!("user {}", talk.turns);
        self.write_transcript(pid, &line);
        self.work(pid, length);
    }

    pub(super) fn work(&mut self, pid: Pid, length: Duration) {
        let Some(process) = self.alive(pid) else { return };
        let home = process.home.clone();
        if !self.accepts(&home) {
            self.refuse_login(pid, length);
        } else if self.is_exhausted(&home) {
            self.hit_limit(pid, length);
        } else {
            self.set_phase(pid, Phase::Busy(self.now.plus(length)));
            self.begin_windows(&home);
        }
    }

    /// Whether a home's login is accepted.
    fn accepts(&self, home: &Path) -> bool {
        !self.homes.get(home).is_some_and(|home| home.refused || matches!(home.login, LoginView::Missing | LoginView::Dead { .. }))
    }

    /// Stops a turn because the login is not accepted.
    pub(super) fn refuse_login(&mut self, pid: Pid, left: Duration) {
        self.write_transcript(pid, "login");
        if let Some(agent) = self.alive(pid).and_then(|process| process.agent.as_ref()) {
            self.talks.entry(agent.conversation).or_default().left = Some(left);
        }
        self.set_phase(pid, Phase::LoggedOut);
    }

    /// Stops a turn at the limit of the account.
    pub(super) fn hit_limit(&mut self, pid: Pid, left: Duration) {
        self.write_transcript(pid, "limit");
        self.set_phase(pid, Phase::Limited(left));
        let now = self.now;
        if let Some(agent) = self.processes.get_mut(&pid).and_then(|process| process.agent.as_mut()) {
            agent.turn_cut_off = Some(now);
        }
        if let Some(process) = self.alive(pid) {
            self.report_limit(&process.home.clone());
        }
    }

    fn finish_turn(&mut self, pid: Pid) {
        if self.is_cut_off(pid) {
            self.cut_turn_off(pid);
            return;
        }
        self.write_transcript(pid, "assistant");
        self.set_phase(pid, Phase::Idle);
        let now = self.now;
        let agent = self.processes.get_mut(&pid).and_then(|process| process.agent.as_mut());
        let conversation = agent.map(|agent| {
            agent.turn_ended = Some(now);
            agent.conversation
        });
        if let Some(process) = self.alive(pid) {
            self.report_statusline(&process.home.clone());
        }
        if let Some(conversation) = conversation {
            self.end_job(pid, conversation);
        }
    }

    /// An error of the API ends a turn before it is done: the agent is idle, and goes on only when it is told to.
    pub(super) fn cut_turn_off(&mut self, pid: Pid) {
        self.write_transcript(pid, "error");
        self.set_phase(pid, Phase::Idle);
        let now = self.now;
        if let Some(agent) = self.processes.get_mut(&pid).and_then(|process| process.agent.as_mut()) {
            agent.turn_cut_off = Some(now);
        }
    }

    /// Puts an agent into another phase; what its account has used until now is settled first.
    pub(super) fn set_phase(&mut self, pid: Pid, phase: Phase) {
        let Some(process) = self.alive(pid) else { return };
        let (home, now) = (process.home.clone(), self.now);
        self.settle(&home);
        if let Some(agent) = self.processes.get_mut(&pid).and_then(|process| process.agent.as_mut()) {
            agent.phase = phase;
            agent.since = now;
            self.wakes.insert(Wake::Agents);
        }
    }

    /// Appends a line as the CLI does: by path, and making the directories that are missing, also where a link should be.
    fn write_transcript(&mut self, pid: Pid, line: &str) {
        let Some(process) = self.processes.get(&pid) else { return };
        let Some(agent) = &process.agent else { return };
        let path = Self::transcript_path(&process.home, &agent.workdir, agent.conversation);
        let now = self.wall();
        if let Some(directory) = path.parent() {
            self.files.make_directories(directory);
        }
        if self.files.target(&path).is_none() {
            self.files.put(&path, Node::File { bytes: Vec::new(), modified: now });
        }
        self.write(&path, |bytes| bytes.extend_from_slice(format!("{line}\n").as_bytes()));
    }

    /// Tokens in a conversation's context.
    pub(super) fn context_tokens(&self, conversation: ConversationId) -> Option<u64> {
        self.talks.get(&conversation).map(|talk| u64::from(talk.turns) * 10_000)
    }
}
