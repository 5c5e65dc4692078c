//! The agents as they were last seen, so that a look has to read only what may have changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    agent_files::{Files, Wanted},
    early::Early,
    status_files::StatusFiles,
    turns::{Heard, Told, Turns},
};
use crate::{
    host::{
        agent::{
            AgentError,
            activity::{Judgement, Register, Signs, Word, judge},
            tail::TailFacts,
        },
        process::{self, DeathWatch, Exit, ProcessState},
    },
    model::{AccountUsage, Activity, ClaimId, Now, Pid, ProcessId, SessionName, error_line},
    observed::{AgentView, Death, PaneView, RegisterView, Seen, StartReport, Unseen},
};

/// Everything known of agent processes.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    by_session: BTreeMap<SessionName, Track>,
    /// The session of each process that was looked at; its track has the last word.
    sessions: BTreeMap<ProcessId, SessionName>,
    /// Processes that ended and that a pane may still name, with how they ended.
    ended: BTreeMap<ProcessId, Option<Death>>,
    /// What start hooks reported, by process: a report may come before the process was first looked at.
    starts: BTreeMap<ProcessId, StartReport>,
    /// What is known of the turns of processes; for the same reason.
    turns: BTreeMap<ProcessId, Turns>,
    /// Where processes said that their transcripts are, and how large their context is. A status line says it once, perhaps before its process
    /// was first looked at.
    told: BTreeMap<ProcessId, Told>,
    /// What hooks said last of what their agents do, by process.
    words: BTreeMap<ProcessId, Word>,
    /// What the status files say, in the start directories and in the registered projects.
    pub status_files: StatusFiles,
    /// Processes whose register or transcript is to be read again.
    dirty: BTreeSet<Pid>,
    /// Whether ends are waited for. A host that only looks once opens no handles.
    pub watches: bool,
    /// Agents that were read while tmux made its list, within the same look.
    pub early: BTreeMap<ProcessId, Early>,
    /// Sessions whose facts are not complete yet; they are looked at again in a moment.
    pub unsettled: BTreeSet<SessionName>,
    /// Limits that agents ran into, by the home under which they did, that nobody has taken over yet.
    pub limits: Vec<(PathBuf, AccountUsage)>,
}

/// One agent.
#[derive(Debug, Clone)]
struct Track {
    pane_pid: Option<Pid>,
    process: Option<ProcessId>,
    home: Option<PathBuf>,
    limit_until: Option<Timestamp>,
    login_dead: bool,
    context_tokens: Option<u64>,
    view: AgentView,
    /// The activity may change with the clock alone: at start-up, and while a limit lasts.
    timed: bool,
}

/// What a look at one agent brought.
pub(super) enum Looked {
    /// Nothing can have changed since it was last read.
    AsBefore,
    /// It was read.
    Read(Box<Seen<AgentView>>),
    /// It lives, and its files are to be read: see [`Tracks::finish`].
    Living(Box<Living>),
}

/// An agent that lives, before its files were read.
pub(super) struct Living {
    track: Track,
    process: ProcessId,
    /// Where it said that its transcript is.
    transcript: Option<PathBuf>,
}

impl Living {
    /// Whose files are to be read, and under which home; `None` while its home is not known.
    pub fn wanted(&self) -> Option<(PathBuf, Wanted)> {
        Some((self.track.home.clone()?, (self.process, self.transcript.clone())))
    }

    /// Its process.
    pub const fn process(&self) -> ProcessId {
        self.process
    }
}

/// How long a process may be without an environment of its own before it is looked at again.
pub(super) const UNSETTLED_PAUSE: Duration = Duration::from_millis(100);

/// How many ends and start reports are remembered.
const REMEMBERED: usize = 20_000;
/// How long a process that cannot be made out is looked at again and again; then the regular looks have to do.
const SETTLES: Duration = Duration::from_mins(2);

impl Tracks {
    /// Notes processes that ended.
    pub fn died(&mut self, exits: &[Exit]) {
        for exit in exits {
            self.ended.insert(exit.process, exit.death);
            self.told.remove(&exit.process);
            self.dirty.insert(exit.process.pid);
        }
        while self.ended.len() > REMEMBERED {
            self.ended.pop_first();
        }
    }

    /// Notes that a register entry changed.
    pub fn register_changed(&mut self, pid: Pid) {
        self.dirty.insert(pid);
    }

    /// Notes what a start hook said.
    pub fn started(&mut self, process: ProcessId, report: StartReport) {
        self.dirty.insert(process.pid);
        self.starts.insert(process, report);
        while self.starts.len() > REMEMBERED {
            self.starts.pop_first();
        }
    }

    /// Notes what a hook said of the agent's activity. Hooks may be heard late: the newest word counts.
    pub fn said(&mut self, process: ProcessId, word: Word) {
        if self.words.get(&process).is_none_or(|held| held.at <= word.at) {
            self.words.insert(process, word);
        }
        while self.words.len() > REMEMBERED {
            self.words.pop_first();
        }
    }

    /// The status files to read before this look: they are asked only where a register is silent.
    pub fn wanted_status_files(&mut self, everything: bool, now: Now) -> Option<Vec<PathBuf>> {
        let is_wanted = self.has_silent() || (everything && self.by_session.is_empty());
        if is_wanted { self.status_files.due(now) } else { None }
    }

    /// Whether there is to be another look in a moment: facts are not complete yet, or a status file changed too soon behind the last look.
    pub fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty() || (self.status_files.has_news() && self.has_silent())
    }

    /// Notes that a status file changed. Answers whether anybody is asked about by it.
    pub fn status_file_changed(&mut self) -> bool {
        self.status_files.change();
        self.has_silent()
    }

    /// Whether an agent lives that its register says nothing of.
    fn has_silent(&self) -> bool {
        self.by_session.values().any(|track| track.process.is_some() && track.view.register.is_none())
    }

    /// Takes what the status files say. Whoever has another word now than before is looked at again.
    pub fn status_files_said(&mut self, said: Vec<(SessionName, Word)>) {
        for name in self.status_files.take(said) {
            let silent = self.by_session.get(&name).filter(|track| track.view.register.is_none());
            self.dirty.extend(silent.and_then(|track| track.process).map(|process| process.pid));
        }
    }

    /// Notes what a hook said of a prompt that its process took.
    pub fn prompted(&mut self, process: ProcessId, prompt: &str, at: Timestamp) {
        let claims = ClaimId::all_in(prompt);
        if !claims.is_empty() {
            self.dirty.insert(process.pid);
            self.turns_of(process).take(claims, at);
        }
    }

    /// Notes that a hook said that a turn is over.
    pub fn turn_ended(&mut self, process: ProcessId, at: Timestamp) {
        self.dirty.insert(process.pid);
        self.turns_of(process).end(at);
    }

    /// Notes that a hook said that a turn was cut off.
    pub fn turn_cut_off(&mut self, process: ProcessId, at: Timestamp) {
        self.dirty.insert(process.pid);
        self.turns_of(process).cut_off(at);
    }

    fn turns_of(&mut self, process: ProcessId) -> &mut Turns {
        if !self.turns.contains_key(&process) && self.turns.len() >= REMEMBERED {
            self.turns.pop_first();
        }
        self.turns.entry(process).or_default()
    }

    /// Notes where a process keeps its transcript and how large its context is. Answers whether it is worth a look: always behind a hook, and
    /// behind a status line only when it said something new.
    pub fn spoke(&mut self, process: ProcessId, transcript: Option<&Path>, context_tokens: Option<u64>, hook: bool) -> bool {
        if !self.told.contains_key(&process) && self.told.len() >= REMEMBERED {
            self.told.pop_first();
        }
        let told = self.told.entry(process).or_default();
        if transcript.is_some() && transcript != told.transcript.as_deref() {
            told.transcript = transcript.map(Path::to_owned);
        }
        told.context_tokens = context_tokens.or(told.context_tokens);
        let track = self.sessions.get(&process).and_then(|name| self.by_session.get_mut(name));
        let Some(track) = track.filter(|track| track.process == Some(process)) else { return hook };
        let news = context_tokens.is_some() && context_tokens != track.context_tokens;
        track.context_tokens = context_tokens.or(track.context_tokens);
        if hook || news {
            self.dirty.insert(process.pid);
        }
        hook || news
    }

    /// The home of a process that is tracked, as its own environment says.
    pub fn home_of(&self, process: ProcessId) -> Option<&Path> {
        let track = self.sessions.get(&process).and_then(|name| self.by_session.get(name));
        track.filter(|track| track.process == Some(process)).and_then(|track| track.home.as_deref())
    }

    /// Forgets sessions that are neither seen nor remembered any more.
    pub fn retain(&mut self, keep: impl Fn(&SessionName) -> bool) {
        self.by_session.retain(|name, _| keep(name));
        self.sessions.retain(|process, name| self.by_session.get(name).is_some_and(|track| track.process == Some(*process)));
        self.unsettled.retain(keep);
    }

    /// All that was changed has been looked at.
    pub fn clean(&mut self) {
        self.dirty.clear();
    }

    /// Looks at the agent of a session. `pane` is its pane, if it has one; `recorded` the process that the memory has for it.
    pub fn look(
        &mut self,
        name: &SessionName,
        pane: Option<&PaneView>,
        recorded: Option<ProcessId>,
        everything: bool,
        deaths: &mut DeathWatch,
        now: Now,
    ) -> Looked {
        let pid = pane.map_or(recorded.map(|process| process.pid), |pane| pane.pid);
        let death = pane.and_then(|pane| pane.dead);
        if let Some(track) = self.by_session.get(name)
            && !everything
            && track.pane_pid == pid
            && !track.timed
            && (death.is_none() || track.process.is_none())
            && pid.is_none_or(|pid| !self.dirty.contains(&pid))
        {
            return Looked::AsBefore;
        }
        self.unsettled.remove(name);
        match self.begin(name, pid, pane.is_some(), death, recorded, deaths) {
            Ok(track) => match track.process {
                Some(process) => {
                    let transcript = self.told.get(&process).and_then(|told| told.transcript.clone());
                    Looked::Living(Box::new(Living { track, process, transcript }))
                }
                None => Looked::Read(Box::new(self.keep(name, track, now))),
            },
            Err(why) => {
                self.by_session.remove(name);
                Looked::Read(Box::new(Seen::Unknown(why)))
            }
        }
    }

    fn keep(&mut self, name: &SessionName, track: Track, now: Now) -> Seen<AgentView> {
        let view = track.view.clone();
        self.sessions.extend(track.process.map(|process| (process, name.clone())));
        self.by_session.insert(name.clone(), track);
        Seen::known(view, now)
    }

    /// All agents as they were last read.
    pub fn views(&self) -> impl Iterator<Item = (&SessionName, &AgentView)> {
        self.by_session.iter().map(|(name, track)| (name, &track.view))
    }

    /// The agent of a session as it was last read.
    pub fn view(&self, name: &SessionName) -> Option<&AgentView> {
        self.by_session.get(name).map(|track| &track.view)
    }

    /// All that can be told of the agent of a session without a file.
    fn begin(
        &mut self,
        name: &SessionName,
        pid: Option<Pid>,
        has_pane: bool,
        death: Option<Death>,
        recorded: Option<ProcessId>,
        deaths: &mut DeathWatch,
    ) -> Result<Track, Unseen> {
        let failed = |error: process::ProcessError| Unseen::Failed { source_name: "process".to_owned(), message: error_line(&error) };
        let Some(pid) = pid else { return Ok(Track::ended(None, death)) };
        let process = match self.living(name, pid, has_pane, death, recorded, deaths).map_err(failed)? {
            Ok(process) => process,
            Err(ended) => return Ok(*ended),
        };
        let known = recorded == Some(process) || self.by_session.get(name).is_some_and(|track| track.process == Some(process));
        if death.is_some() && has_pane && !known {
            // A dead pane only says that nobody has its terminal open. The process that we know may live on without one; any other that
            // bears its number is somebody else.
            return Ok(Track::ended(Some(pid), death));
        }
        if self.watches && !deaths.watch(process).map_err(failed)? {
            return Ok(Track::ended(Some(pid), None));
        }
        let before = self.by_session.get(name).filter(|track| track.process == Some(process));
        let early = || self.early.get(&process).map(|early| early.home.clone());
        let home = match before.and_then(|track| track.home.clone()).or_else(early) {
            Some(home) => Some(home),
            None => process::environment_value(process, crate::host::agent::launch::HOME_VARIABLE).map_err(failed)?.map(PathBuf::from),
        };
        let told = self.told.get(&process);
        Ok(Track {
            pane_pid: Some(pid),
            process: Some(process),
            limit_until: before.and_then(|track| track.limit_until),
            login_dead: before.is_some_and(|track| track.login_dead),
            context_tokens: before.map_or_else(|| told.and_then(|told| told.context_tokens), |track| track.context_tokens),
            view: AgentView {
                process: Some(process),
                home: home.clone(),
                started: self.starts.get(&process).cloned(),
                ..AgentView::default()
            },
            home,
            timed: false,
        })
    }

    /// Looks at an agent that lives by what its files say; `None` while its home is not known. What cannot be read in time is read again with the
    /// next look.
    pub fn finish(&mut self, name: &SessionName, living: Living, files: Option<Result<Files, Unseen>>, now: Now) -> Seen<AgentView> {
        let Living { mut track, process, .. } = living;
        let (entry, tail) = match files {
            Some(Ok(files)) => (Some(files.entry), files.tail),
            Some(Err(why)) => {
                self.dirty.insert(process.pid);
                return Seen::Unknown(why);
            }
            None => (None, None),
        };
        let (limit, heard) = track.take_transcript(tail, process, now);
        self.limits.extend(limit);
        // A second proof: the report of a hook may be lost.
        if let Some((claims, at)) = heard.prompt {
            self.turns_of(process).learn(claims, at);
        }
        if let Some(at) = heard.cut_off {
            self.turns_of(process).cut_off(at);
        }
        if let Some(turns) = self.turns.get(&process) {
            track.view.prompts.clone_from(&turns.prompts);
            track.view.turn_ended_at = turns.ended_at;
            track.view.turn_cut_off_at = turns.cut_off_at;
        }
        let silent = !matches!(entry, Some(Ok(Some(_))));
        let status_file = self.status_files.word(name).filter(|_| silent);
        track.take_register(entry, self.words.get(&process), status_file, process, now);
        let unclear = track.home.is_none() || matches!(track.view.activity, Activity::Starting | Activity::Unknown);
        if unclear && age(process, now) < SETTLES {
            self.unsettled.insert(name.clone());
        }
        self.keep(name, track, now)
    }

    /// The living process behind a number, or the track of one that has ended.
    fn living(
        &self,
        name: &SessionName,
        pid: Pid,
        has_pane: bool,
        death: Option<Death>,
        recorded: Option<ProcessId>,
        deaths: &DeathWatch,
    ) -> Result<Result<ProcessId, Box<Track>>, process::ProcessError> {
        // The handle of a process that was read before speaks for it, at a fraction of the price of `/proc`.
        let before = self.by_session.get(name).and_then(|track| track.process);
        if let Some(process) = before.filter(|process| process.pid == pid && deaths.lives(*process)) {
            return Ok(Ok(process));
        }
        // What a dead pane says counts for more than what was seen a moment before it.
        if let Some(process) = recorded.filter(|process| process.pid == pid && death.is_none() && self.early.contains_key(process)) {
            return Ok(Ok(process));
        }
        let remembered = |process: ProcessId| self.ended.get(&process).copied().flatten();
        let ended = |death: Option<Death>| Ok(Err(Box::new(Track::ended(Some(pid), death))));
        match process::state(pid)? {
            // A number without a pane says who only together with the start time that we recorded.
            ProcessState::Alive { process, .. } if has_pane || recorded == Some(process) => Ok(Ok(process)),
            ProcessState::Alive { .. } | ProcessState::Gone => ended(death.or(recorded.and_then(remembered))),
            ProcessState::Zombie { process, death: how } => {
                ended(death.filter(|death| *death != Death::default()).or(how).or(remembered(process)))
            }
        }
    }
}

impl Track {
    fn ended(pane_pid: Option<Pid>, death: Option<Death>) -> Self {
        Self {
            pane_pid,
            process: None,
            home: None,
            limit_until: None,
            login_dead: false,
            context_tokens: None,
            view: AgentView { death, activity: Activity::Exited, ..AgentView::default() },
            timed: false,
        }
    }

    /// Limits and refusals count only when they are of this very process: a transcript outlives accounts. The claims of the last prompt count
    /// whoever took it.
    fn take_transcript(&mut self, facts: Option<TailFacts>, process: ProcessId, now: Now) -> (Option<(PathBuf, AccountUsage)>, Heard) {
        let Some(facts) = facts else { return (None, Heard::default()) };
        let since = now.wall.saturating_sub(age(process, now)).unwrap_or(Timestamp::MIN);
        let limit = facts.limit.filter(|limit| limit.at >= since);
        self.limit_until = limit.as_ref().and_then(|limit| limit.resets_at);
        self.login_dead = facts.login_refused.is_some_and(|at| at >= since);
        self.context_tokens = facts.context_tokens.or(self.context_tokens);
        let usage = limit.and_then(|limit| Some((self.home.clone()?, limit.usage()?)));
        let claims = facts.prompt.as_deref().map(ClaimId::all_in).filter(|claims| !claims.is_empty());
        (usage, Heard { prompt: claims.zip(facts.prompt_at), cut_off: facts.cut_off.filter(|at| *at >= since) })
    }

    fn take_register(
        &mut self,
        entry: Option<Result<Option<RegisterView>, AgentError>>,
        hook: Option<&Word>,
        status_file: Option<&Word>,
        process: ProcessId,
        now: Now,
    ) {
        let register = match &entry {
            Some(Ok(Some(view))) => Register::Entry(view),
            Some(Ok(None)) | None => Register::Absent,
            Some(Err(_)) => Register::Unreadable,
        };
        let signs =
            Signs { age: age(process, now), register, hook, status_file, limit_until: self.limit_until, login_dead: self.login_dead };
        let Judgement { activity, since, evidence, timed } = judge(&signs, now.wall);
        self.view.activity = activity;
        self.view.activity_since = since;
        self.view.evidence = evidence;
        self.view.context_tokens = self.context_tokens;
        self.timed = timed;
        self.view.register = entry.and_then(Result::ok).flatten();
    }
}

/// How long a process has lived: its start time counts in ticks since boot (proc(5)).
pub(super) fn age(process: ProcessId, now: Now) -> Duration {
    // Linux reports these ticks at 100 a second on every architecture that we build for (proc(5), sysconf(3)).
    const TICKS_A_SECOND: u64 = 100;
    let started = Duration::from_millis(process.started * (1000 / TICKS_A_SECOND));
    now.mono.0.saturating_sub(started)
}
