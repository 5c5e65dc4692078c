//! The host of this machine: puts the modules for tmux, processes, links, the agent's CLI, readings and watching together.
//!
//! # Guarantees
//! What a look does not name keeps its value and its age. A part that fails makes its own facts unknown and no others. Blocking work on files
//! runs on a thread of its own with a deadline, so that a file system that hangs holds up nothing but itself.
//!
//! # Assumes
//! A tokio runtime with a thread pool for blocking work.
//!
//! # Does not
//! Decide. It remembers only what spares it a look: which processes it has seen, and what they said.

mod agent_files;
mod early;
mod ground;
mod hear;
mod observe;
mod perform;
mod queues;
mod readings;
mod screens;
mod status_files;
mod track;
mod turns;
mod typing;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;

use self::{agent_files::AgentFiles, ground::Ground, queues::Queues, readings::Readings, screens::Screens, track::Tracks};
use super::{
    Host, Look, Wake,
    checkpoint::{Checkpoints, files::Shelf},
    intake::{Intake, at_work::AtWork},
    process::{DeathWatch, ProcessError},
    tmux::{RuntimeDirectory, Socket, TmuxConfig, TmuxError, TmuxServer},
    watch::Watch,
};
use crate::{
    model::{AccountName, Monotonic, Now, PollOutcome, PoolId},
    observed::{Checkpoint, EndedCheckpoint, Snapshot},
    plan::{Effect, Memory, Outcome},
    spec::{QuotaSource, Spec, Tmux},
};

/// Where this program stands on its machine.
#[derive(Debug, Clone)]
pub struct Station {
    /// Our own program, absolute: hooks and status lines call it.
    pub program: PathBuf,
    /// The directory of our sockets, 0700.
    pub runtime: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The environment that we were started with.
    pub environment: BTreeMap<OsString, OsString>,
}

impl Station {
    /// The socket that hooks and status lines report to.
    pub fn intake_socket(&self) -> PathBuf {
        self.runtime.join("intake.sock")
    }

    /// Where it is noted who our control client at the tmux server is.
    pub fn control_record(&self) -> PathBuf {
        self.runtime.join("control-client.json")
    }

    /// Where their reports wait while nobody listens.
    pub fn spool(&self) -> PathBuf {
        self.state.join("spool")
    }

    /// The settings file that every agent gets.
    pub fn settings(&self) -> PathBuf {
        self.state.join("agent-settings.json")
    }
}

/// Why the host cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The ends of processes cannot be waited for.
    #[error("cannot watch processes")]
    Processes(#[source] ProcessError),
    /// The tmux server cannot be addressed.
    #[error("cannot use the pool's tmux server")]
    Tmux(#[source] TmuxError),
}

/// Where the pool's server is, and how it is set up.
///
/// # Errors
/// [`TmuxError`] for a socket that cannot be addressed.
pub fn tmux_config(tmux: &Tmux) -> Result<TmuxConfig, TmuxError> {
    Ok(TmuxConfig {
        binary: "tmux".into(),
        socket: Socket::resolve(&tmux.socket, &RuntimeDirectory::of_this_process())?,
        size: (tmux.width, tmux.height),
        history_limit: tmux.history_limit,
        deadline: TmuxConfig::DEADLINE,
    })
}

/// How long changes are gathered. A register is written in one go; more would only make proofs slower.
const SETTLE: Duration = Duration::from_millis(2);

/// What a watched directory is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Home,
    Register,
    /// The shared root.
    Links,
    /// The directory that the active link stands in.
    ActiveLink,
    /// The directory that the file with the readings stands in.
    Readings,
    /// A directory of a project's queue.
    Queue,
    /// The directory that a queue stands in.
    Project,
}

/// This machine.
pub struct RealHost {
    station: Arc<Station>,
    ground: Option<Arc<Ground>>,
    tmux: Option<TmuxServer>,
    /// The server that was asked before anything was configured.
    ahead: Option<Tmux>,
    deaths: DeathWatch,
    intake: Option<Intake>,
    watch: Option<Watch<Place>>,
    tracks: Tracks,
    agent_files: AgentFiles,
    screens: Screens,
    readings: Readings,
    checkpoints: Checkpoints,
    checkpoint_shelf: Arc<Mutex<Shelf>>,
    queues: Queues,
    /// When the list of panes was last read, or found to be the same.
    listed_at: Option<Now>,
    /// The words on the pool that status lines are to show.
    pool_words: String,
    /// The same as they were last written.
    pool_line: String,
    /// Which project each session has a task of, as hooks were last told; read back at the first look.
    at_work: Option<AtWork>,
    /// What was heard and not yet told, because whoever waited for it went away.
    heard: BTreeSet<Wake>,
}

impl RealHost {
    /// A host that only looks: it takes no reports and watches no files.
    ///
    /// # Errors
    /// [`HostError::Processes`].
    pub fn new(station: Station) -> Result<Self, HostError> {
        Ok(Self {
            station: Arc::new(station),
            ground: None,
            tmux: None,
            ahead: None,
            deaths: DeathWatch::new().map_err(HostError::Processes)?,
            intake: None,
            watch: None,
            tracks: Tracks::default(),
            agent_files: AgentFiles::default(),
            screens: Screens::default(),
            readings: Readings::default(),
            checkpoints: Checkpoints::default(),
            checkpoint_shelf: Arc::default(),
            queues: Queues::default(),
            listed_at: None,
            pool_words: String::new(),
            pool_line: String::new(),
            at_work: None,
            heard: BTreeSet::new(),
        })
    }

    /// Begins to listen: to the reports of agents, and to changes in the homes. Only the holder of the state's lock may.
    pub fn listen(&mut self) {
        self.tracks.watches = true;
        match Intake::bind(&self.station.intake_socket(), &self.station.spool()) {
            Ok(intake) => self.intake = Some(intake),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot take reports of agents; looks have to do"),
        }
        match Watch::new(SETTLE) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot watch files; the resync has to do"),
        }
        self.watch_places();
    }

    /// Asks the tmux server of a spec for its list now, for a host that looks once: the answer is on its way while the memory is read. It belongs
    /// into the runtime of the look.
    pub fn look_ahead(&mut self, spec: &Spec) {
        if let Ok(config) = tmux_config(&spec.tmux) {
            self.tmux.insert(TmuxServer::new(config).recording(self.station.control_record())).ask_ahead();
            self.ahead = Some(spec.tmux.clone());
        }
    }

    /// The tmux server, for `attach` and `doctor`.
    pub const fn tmux(&mut self) -> Option<&mut TmuxServer> {
        self.tmux.as_mut()
    }

    fn watch_places(&mut self) {
        let (Some(watch), Some(ground)) = (&mut self.watch, &self.ground) else { return };
        let mut wanted: Vec<(PathBuf, Place)> = Vec::new();
        for (path, place) in [(&ground.file, Place::Readings), (&ground.active_link, Place::ActiveLink)] {
            wanted.extend(path.as_deref().and_then(Path::parent).map(|directory| (directory.to_owned(), place)));
        }
        wanted.push((ground.root.clone(), Place::Links));
        wanted.extend(queues::places(ground));
        for (_, home) in &ground.homes {
            wanted.push((super::agent::register::directory(home), Place::Register));
            wanted.push((home.clone(), Place::Home));
        }
        for (directory, place) in wanted {
            // One that does not exist yet is added again at the next regular look.
            if let Err(error) = watch.add(&directory, place) {
                tracing::debug!(error = &error as &dyn std::error::Error, "not watched");
            }
        }
    }
}

impl Host for RealHost {
    fn configure(&mut self, spec: &Spec, pool: PoolId) {
        let ground = Ground::new(spec, pool, &self.station);
        let is_ahead = self.ahead.take().is_some_and(|ahead| ahead == ground.tmux);
        if !is_ahead && self.ground.as_ref().is_none_or(|before| before.tmux != ground.tmux || before.pool != pool) {
            match tmux_config(&spec.tmux) {
                Ok(config) => self.tmux = Some(TmuxServer::new(config).recording(self.station.control_record())),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot use the pool's tmux server");
                    self.tmux = None;
                }
            }
        }
        self.tracks.status_files.look_in(ground.queues.iter().map(|(_, path)| path).chain(&ground.workdirs).cloned());
        self.ground = Some(Arc::new(ground));
        self.watch_places();
    }

    fn now(&self) -> Now {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let mono = Duration::new(u64::try_from(boot.tv_sec).unwrap_or(0), u32::try_from(boot.tv_nsec).unwrap_or(0));
        Now { wall: Timestamp::now(), mono: Monotonic(mono) }
    }

    async fn observe(&mut self, memory: &Memory, look: &Look, seen: &mut Snapshot) {
        self.look(memory, look, seen).await;
    }

    async fn perform(&mut self, effects: &[Effect]) -> Vec<Outcome> {
        self.carry_out(effects).await
    }

    fn start_poll(&mut self, account: &AccountName, source: QuotaSource) {
        if let Some(ground) = &self.ground {
            self.readings.start(ground, account, source);
        }
    }

    fn ended_polls(&mut self) -> Vec<(AccountName, QuotaSource, PollOutcome)> {
        self.readings.take_ended()
    }

    fn start_checkpoints(&mut self, drafts: Vec<Checkpoint>) {
        if let Some(ground) = &self.ground {
            self.checkpoints.start(drafts, &ground.root.join("projects"), &self.station.state);
        }
    }

    fn ended_checkpoints(&mut self) -> Vec<EndedCheckpoint> {
        self.checkpoints.take_ended()
    }

    async fn finish_checkpoints(&mut self, within: Duration) {
        self.checkpoints.finish(within).await;
    }

    async fn wake(&mut self, deadline: Monotonic) -> BTreeSet<Wake> {
        self.hear(deadline).await
    }
}
