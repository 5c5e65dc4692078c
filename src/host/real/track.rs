//! The agents as they were last seen, so that a look has to read only what may have changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    host::{
        agent::{
            AgentError,
            activity::{Register, Signs, activity},
            register, tail,
        },
        process::{self, DeathWatch, Exit, ProcessState},
    },
    model::{AccountUsage, Activity, Now, Pid, ProcessId, SessionName, error_line},
    observed::{AgentView, Death, PaneView, RegisterView, Seen, StartReport, Unseen},
};

/// Everything known of agent processes.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    by_session: BTreeMap<SessionName, Track>,
    /// Processes that ended and that a pane may still name, with how they ended.
    ended: BTreeMap<ProcessId, Option<Death>>,
    /// What start hooks reported, by process: a report may come before the process was first looked at.
    starts: BTreeMap<ProcessId, StartReport>,
    /// Processes whose register or transcript is to be read again.
    dirty: BTreeSet<Pid>,
    /// Sessions whose facts are not complete yet; they are looked at again in a moment.
    pub unsettled: BTreeSet<SessionName>,
    /// What the registers said last. It is shared with the checks before a start, which run on a thread of their own.
    pub shelf: Arc<Mutex<register::Shelf>>,
    /// Limits that agents ran into, by the home under which they did, that nobody has taken over yet.
    pub limits: Vec<(PathBuf, AccountUsage)>,
}

/// One agent.
#[derive(Debug, Clone)]
struct Track {
    pane_pid: Option<Pid>,
    process: Option<ProcessId>,
    home: Option<PathBuf>,
    transcript: Option<PathBuf>,
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
}

/// How long a process may be without an environment of its own before it is looked at again.
pub(super) const UNSETTLED_PAUSE: Duration = Duration::from_millis(100);

/// How many ends and start reports are remembered.
const REMEMBERED: usize = 20_000;

impl Tracks {
    /// Notes processes that ended.
    pub fn died(&mut self, exits: &[Exit]) {
        for exit in exits {
            self.ended.insert(exit.process, exit.death);
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

    /// Notes where a process keeps its transcript and how large its context is. Answers whether it is worth a look: always behind a hook, and
    /// behind a status line only when it said something new.
    pub fn spoke(&mut self, process: ProcessId, transcript: Option<&Path>, context_tokens: Option<u64>, hook: bool) -> bool {
        let Some(track) = self.by_session.values_mut().find(|track| track.process == Some(process)) else { return hook };
        let news = context_tokens.is_some() && context_tokens != track.context_tokens;
        if let Some(path) = transcript {
            track.transcript = Some(path.to_owned());
        }
        track.context_tokens = context_tokens.or(track.context_tokens);
        if hook || news {
            self.dirty.insert(process.pid);
        }
        hook || news
    }

    /// The home of a process that is tracked, as its own environment says.
    pub fn home_of(&self, process: ProcessId) -> Option<&Path> {
        self.by_session.values().find(|track| track.process == Some(process)).and_then(|track| track.home.as_deref())
    }

    /// Forgets sessions that are neither seen nor remembered any more.
    pub fn retain(&mut self, keep: impl Fn(&SessionName) -> bool) {
        self.by_session.retain(|name, _| keep(name));
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
        match self.read(name, pid, pane.is_some(), death, recorded, deaths, now) {
            Ok(track) => {
                let view = track.view.clone();
                self.by_session.insert(name.clone(), track);
                Looked::Read(Box::new(Seen::known(view, now)))
            }
            Err(why) => {
                self.by_session.remove(name);
                Looked::Read(Box::new(Seen::Unknown(why)))
            }
        }
    }

    /// The agent of a session as it was last read.
    pub fn view(&self, name: &SessionName) -> Option<&AgentView> {
        self.by_session.get(name).map(|track| &track.view)
    }

    #[expect(clippy::too_many_arguments, reason = "the facts that bear on one agent; a struct would only rename them")]
    fn read(
        &mut self,
        name: &SessionName,
        pid: Option<Pid>,
        has_pane: bool,
        death: Option<Death>,
        recorded: Option<ProcessId>,
        deaths: &mut DeathWatch,
        now: Now,
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
        if !deaths.watch(process).map_err(failed)? {
            return Ok(Track::ended(Some(pid), None));
        }
        let before = self.by_session.get(name).filter(|track| track.process == Some(process));
        let home = match before.and_then(|track| track.home.clone()) {
            Some(home) => Some(home),
            None => process::environment_value(process, crate::host::agent::launch::HOME_VARIABLE).map_err(failed)?.map(PathBuf::from),
        };
        let mut track = Track {
            pane_pid: Some(pid),
            process: Some(process),
            transcript: before.and_then(|track| track.transcript.clone()),
            limit_until: before.and_then(|track| track.limit_until),
            login_dead: before.is_some_and(|track| track.login_dead),
            context_tokens: before.and_then(|track| track.context_tokens),
            view: AgentView {
                process: Some(process),
                death: None,
                home: home.clone(),
                register: None,
                started: self.starts.get(&process).cloned(),
                activity: Activity::Unknown,
                activity_since: None,
                context_tokens: None,
                prompts: Vec::new(),
                turn_ended_at: None,
            },
            home,
            timed: false,
        };
        self.limits.extend(track.read_transcript(process, now));
        let entry = track.home.as_deref().map(|home| lock(&self.shelf).read(home, process));
        track.take_register(entry, process, now);
        if track.home.is_none() || matches!(track.view.activity, Activity::Starting | Activity::Unknown) {
            self.unsettled.insert(name.clone());
        }
        Ok(track)
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
            transcript: None,
            limit_until: None,
            login_dead: false,
            context_tokens: None,
            view: AgentView {
                process: None,
                death,
                home: None,
                register: None,
                started: None,
                activity: Activity::Exited,
                activity_since: None,
                context_tokens: None,
                prompts: Vec::new(),
                turn_ended_at: None,
            },
            timed: false,
        }
    }

    /// Limits and refusals count only when they are of this very process: a transcript outlives accounts.
    fn read_transcript(&mut self, process: ProcessId, now: Now) -> Option<(PathBuf, AccountUsage)> {
        let facts = tail::tail(self.transcript.as_ref()?).ok().flatten()?;
        let since = now.wall.saturating_sub(age(process, now)).unwrap_or(Timestamp::MIN);
        let limit = facts.limit.filter(|limit| limit.at >= since);
        self.limit_until = limit.as_ref().and_then(|limit| limit.resets_at);
        self.login_dead = facts.login_refused.is_some_and(|at| at >= since);
        self.context_tokens = facts.context_tokens.or(self.context_tokens);
        Some((self.home.clone()?, limit?.usage()?))
    }

    fn take_register(&mut self, entry: Option<Result<Option<RegisterView>, AgentError>>, process: ProcessId, now: Now) {
        let found = match &entry {
            Some(Ok(Some(view))) => Register::Entry(view),
            Some(Ok(None)) | None => Register::Absent,
            Some(Err(_)) => Register::Unreadable,
        };
        let signs = Signs {
            alive: Some(true),
            age: age(process, now),
            register: found,
            limit_until: self.limit_until,
            login_dead: self.login_dead,
        };
        let (what, since) = activity(&signs, now.wall);
        self.view.activity = what;
        self.view.activity_since = since;
        self.view.context_tokens = self.context_tokens;
        self.timed = matches!(what, Activity::Starting | Activity::LimitHit | Activity::Unknown);
        self.view.register = entry.and_then(Result::ok).flatten();
    }
}

/// What is on the shelf is whole at any time, also after a panic elsewhere.
pub(super) fn lock<T>(shelf: &Mutex<T>) -> MutexGuard<'_, T> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a process has lived: its start time counts in ticks since boot (proc(5)).
fn age(process: ProcessId, now: Now) -> Duration {
    // Linux reports these ticks at 100 a second on every architecture that we build for (proc(5), sysconf(3)).
    const TICKS_A_SECOND: u64 = 100;
    let started = Duration::from_millis(process.started * (1000 / TICKS_A_SECOND));
    now.mono.0.saturating_sub(started)
}
