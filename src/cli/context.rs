//! What most commands need first: the spec, the pool's directories, the store, and the daemon if one runs.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{CliError, args::Global, output::Printer};
use crate::{
    control::{Client, ClientError},
    engine::{Engine, View, recall, unusable},
    host::{
        real::{HostError, RealHost, Station},
        specfile::{self, SpecFileError, SpecFiles, Surroundings},
        tmux::RuntimeDirectory,
    },
    model::{PoolId, PoolName, sha256_hex},
    observed::Snapshot,
    plan::{Memory, tasks::Hold},
    spec::{LoadPlace, Loaded, SourceText, Spec, load, render_effective},
    store::{AcceptedSpec, Lock, Reader, StateDir, Store, StoreError, former_identity},
};

/// The command's surroundings.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where data goes.
    pub out: Printer,
    /// The environment that we were started with.
    pub environment: BTreeMap<OsString, OsString>,
}

/// A spec that was read and found valid.
#[derive(Clone)]
pub struct SpecAtHand {
    /// Where it stands.
    pub path: PathBuf,
    /// With its origins and warnings.
    pub loaded: Loaded,
    /// As the store keeps it.
    pub accepted: AcceptedSpec,
}

impl Context {
    /// Takes the options and the environment.
    pub fn new(global: Global) -> Self {
        let out = Printer::new(global.color);
        Self { global, out, environment: env::vars_os().collect() }
    }

    /// What decides where a spec is looked for.
    ///
    /// # Errors
    /// [`CliError::Spec`].
    pub fn surroundings(&self) -> Result<Surroundings, CliError> {
        Surroundings::of_process().map_err(CliError::Spec)
    }

    /// Where the spec is.
    ///
    /// # Errors
    /// [`CliError::Spec`] when there is none.
    pub fn spec_path(&self) -> Result<PathBuf, CliError> {
        specfile::find(self.global.spec.as_deref(), &self.surroundings()?).map_err(CliError::Spec)
    }

    /// Reads the spec. Its findings are printed on stderr, errors and warnings alike.
    ///
    /// # Errors
    /// [`CliError::SpecInvalid`], [`CliError::Spec`].
    pub fn spec(&self) -> Result<SpecAtHand, CliError> {
        let path = self.spec_path()?;
        let around = self.surroundings()?;
        match read_spec(&path, &around).map_err(CliError::Spec)? {
            Ok(found) => {
                if !found.loaded.warnings.is_empty() {
                    self.out.tell(found.loaded.warnings.render(self.colour()).trim_end());
                }
                Ok(found)
            }
            Err(diagnostics) => {
                self.out.tell(diagnostics.render(self.colour()).trim_end());
                Err(CliError::SpecInvalid)
            }
        }
    }

    /// The spec for a command that works on a pool that exists: the one on disk, or the last good one while that is refused. Its findings are
    /// printed all the same.
    ///
    /// # Errors
    /// [`CliError::SpecInvalid`] when no pool was ever made of it, [`CliError::Spec`].
    pub fn spec_in_force(&self) -> Result<SpecAtHand, CliError> {
        let refused = match self.spec() {
            Err(CliError::SpecInvalid) => CliError::SpecInvalid,
            other => return other,
        };
        let path = self.spec_path()?;
        let Some((_, last)) = self.last_good(&path)? else { return Err(refused) };
        self.out.tell(&format!("the last good spec of pool {} is used instead", last.loaded.spec.pool));
        Ok(last)
    }

    /// The state directory of the pool whose last good spec stood at `path`, with that spec. With `--state-dir` it is looked for there only.
    ///
    /// # Errors
    /// [`CliError::Spec`] when the user has no home directory.
    pub fn last_good(&self, path: &Path) -> Result<Option<(PathBuf, SpecAtHand)>, CliError> {
        let around = self.surroundings()?;
        let path = absolute(path);
        if let Some(given) = &self.global.state_dir {
            let state = absolute(given);
            return Ok(last_good_in(&state, &path, &around).map(|(found, _)| (state, found)));
        }
        let pools = std::fs::read_dir(self.states(&around)).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut found: Vec<_> = pools
            .filter_map(|state| {
                let (found, sources) = last_good_in(&state, &path, &around)?;
                // The spec may be a directory, of which the files are the sources.
                sources.iter().any(|source| source.starts_with(&path)).then_some((state, found))
            })
            .collect();
        // With two pools of one path nobody can say which is meant.
        Ok(found.pop().filter(|_| found.is_empty()))
    }

    /// Diagnostics are rendered with colour and stripped where it does not belong.
    const fn colour(&self) -> bool {
        !matches!(self.global.color, super::args::Color::Never)
    }

    /// Where the pool's memory is kept.
    ///
    /// # Errors
    /// [`CliError::Spec`] when the user has no home directory.
    pub fn state_dir(&self, pool: &PoolName) -> Result<PathBuf, CliError> {
        if let Some(given) = &self.global.state_dir {
            return Ok(absolute(given));
        }
        Ok(self.states(&self.surroundings()?).join(pool.as_str()))
    }

    /// Where the states of all pools are by default.
    fn states(&self, around: &Surroundings) -> PathBuf {
        self.absolute_variable("XDG_STATE_HOME").unwrap_or_else(|| around.home.join(".local/state")).join("claude-failover")
    }

    fn absolute_variable(&self, name: &str) -> Option<PathBuf> {
        self.environment.get(std::ffi::OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Where this program stands, for one pool.
    ///
    /// # Errors
    /// [`CliError::File`] when our own path or the runtime directory cannot be had.
    pub fn station(&self, pool: &PoolName) -> Result<Station, CliError> {
        self.station_in(self.state_dir(pool)?)
    }

    /// The same, for the state directory `state`.
    ///
    /// # Errors
    /// As [`Self::station`].
    pub fn station_in(&self, state: PathBuf) -> Result<Station, CliError> {
        let program = env::current_exe().map_err(|source| CliError::File { what: "find", path: "our own program".into(), source })?;
        // Two pools of one name with different state directories must not meet in one socket.
        let key = sha256_hex(state.as_os_str().as_encoded_bytes());
        let runtime = RuntimeDirectory::of_this_process().make(&key[..12]).map_err(|error| CliError::Host(HostError::Tmux(error)))?;
        Ok(Station { program, runtime, state, environment: self.environment.clone() })
    }

    /// The daemon of the pool, if one runs.
    ///
    /// # Errors
    /// [`CliError::Daemon`] when there is one and it cannot be reached.
    pub fn daemon(&self, station: &Station) -> Result<Option<Client>, CliError> {
        match Client::connect(&control_socket(station)) {
            Ok(client) => Ok(Some(client)),
            Err(ClientError::NotRunning { .. }) => Ok(None),
            Err(error) => Err(CliError::Daemon(error)),
        }
    }

    /// Takes the pool's lock and opens its store.
    ///
    /// # Errors
    /// [`CliError::Store`], with the holder's process when another one has the lock.
    pub fn store(&self, station: &Station) -> Result<Store, CliError> {
        let directory = StateDir::open(&station.state).map_err(CliError::Store)?;
        let lock = Lock::acquire(directory).map_err(CliError::Store)?;
        Store::open(lock).map_err(CliError::Store)
    }

    /// A look at the pool without the right to write: with what its store says, if it has one, but without the times at which conditions flipped.
    ///
    /// # Errors
    /// [`CliError::Store`], [`CliError::Engine`], [`CliError::Host`].
    pub fn view(&self, spec: &Spec, station: &Station) -> Result<View<RealHost>, CliError> {
        self.viewed(spec, station, false)
    }

    /// The same with these times, for whoever shows conditions: there are several for each session.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn view_with_times(&self, spec: &Spec, station: &Station) -> Result<View<RealHost>, CliError> {
        self.viewed(spec, station, true)
    }

    fn viewed(&self, spec: &Spec, station: &Station, with_times: bool) -> Result<View<RealHost>, CliError> {
        let mut view = self.view_alone(spec, station, with_times)?;
        if matches!(self.daemon(station), Ok(None)) {
            view.hold_tasks(no_daemon());
        }
        Ok(view)
    }

    fn view_alone(&self, spec: &Spec, station: &Station, with_times: bool) -> Result<View<RealHost>, CliError> {
        let mut host = RealHost::new(station.clone()).map_err(CliError::Host)?;
        host.look_ahead(spec);
        let reader = match Reader::attach(&station.state) {
            Ok(reader) => reader,
            Err(error) if error.leaves_sight() => return Ok(self.blind(host, spec, &error)),
            // The identity is given with the store. Until then one that is the same for every look: a saved plan is compared with a second one.
            Err(StoreError::Missing { .. }) => {
                let former = former_identity(&station.state);
                let memory = Memory { renewed: former.is_some(), ..Memory::new(former.unwrap_or(PoolId(uuid::Uuid::nil()))) };
                return Ok(View::new(host, spec.clone(), memory, Snapshot::default()));
            }
            Err(error) => return Err(CliError::Store(error)),
        };
        let memory = match recall(&reader) {
            Ok(memory) => memory,
            Err(error) if error.leaves_sight() => return Ok(self.blind(host, spec, &error)),
            Err(error) => return Err(CliError::Engine(error)),
        };
        let seen = Snapshot { usage: reader.usage().unwrap_or_default(), ..Snapshot::default() };
        let view = View::new(host, spec.clone(), memory, seen);
        Ok(if with_times { view.remembering(&reader) } else { view })
    }

    /// What can be seen without a memory, and a word that it is only that.
    fn blind(&self, host: RealHost, spec: &Spec, error: &dyn std::error::Error) -> View<RealHost> {
        let why = unusable(error);
        self.out
            .tell(&format!("{why}\nonly what can be seen is shown, and nothing will be done until it can be used (see docs/recovery.md)"));
        View::blind(host, spec.clone(), why, Snapshot::default())
    }
}

/// An engine that carries out one command and then ends. It gives out no tasks.
///
/// # Errors
/// [`CliError::Engine`].
pub fn engine_for_once(host: RealHost, store: Store, found: SpecAtHand) -> Result<Engine<RealHost>, CliError> {
    let mut engine = Engine::start(host, store, found.loaded.spec, &found.accepted).map_err(CliError::Engine)?;
    engine.view_mut().hold_tasks(no_daemon());
    Ok(engine)
}

/// Why a command gives out no tasks: it does not stay to see that they arrive.
fn no_daemon() -> Hold {
    let message = "tasks are given out by the daemon, and none runs; start it with `claude-failover run`".to_owned();
    Hold { reason: "NoDaemon".to_owned(), message, until: None }
}

/// The daemon's socket.
pub fn control_socket(station: &Station) -> PathBuf {
    station.runtime.join("control.sock")
}

/// Reads and checks the spec at `path`.
///
/// # Errors
/// [`SpecFileError`] when a file cannot be read; the inner error holds what is wrong with the content.
pub fn read_spec(path: &Path, around: &Surroundings) -> Result<Result<SpecAtHand, crate::spec::Diagnostics>, SpecFileError> {
    let files = SpecFiles::read(path, around)?;
    let loaded = match files.load() {
        Ok(loaded) => loaded,
        Err(rejected) => return Ok(Err(rejected.diagnostics)),
    };
    let accepted = AcceptedSpec {
        digest: loaded.spec.digest(),
        canonical: render_effective(&loaded, false),
        sources: files.sources.iter().map(|source| (absolute(Path::new(&source.name)), source.text.clone())).collect(),
        revision: None,
    };
    Ok(Ok(SpecAtHand { path: path.to_owned(), loaded, accepted }))
}

/// The spec of the newest generation of a state directory, from its canonical text, with the files that it was made of.
fn last_good_in(state: &Path, path: &Path, around: &Surroundings) -> Option<(SpecAtHand, Vec<PathBuf>)> {
    let (_, accepted) = Reader::attach(state).ok()?.last_good_spec().ok()??;
    let text = SourceText { name: "last good spec".to_owned(), text: accepted.canonical.clone() };
    let place = LoadPlace { home: around.home.clone(), base: around.current.clone() };
    let loaded = load(&[text], &place).ok()?;
    let sources = accepted.sources.keys().cloned().collect();
    Some((SpecAtHand { path: path.to_owned(), loaded, accepted }, sources))
}

/// A path that does not depend on the working directory.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
