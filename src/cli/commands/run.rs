//! `run`: the daemon.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use super::block_on;
use crate::{
    cli::{
        CliError, Context, Exit,
        args::RunArgs,
        context::{SpecAtHand, control_socket, read_spec},
        times,
    },
    control::Server,
    engine::{Channels, Engine, Signal, SpecRead, View, Watched, Witness, recall, unusable},
    host::{
        real::{RealHost, Station},
        specfile::{SpecFiles, Surroundings, directories_to_watch},
        watch::Watch,
    },
    model::error_line,
    observed::Snapshot,
    plan::MAX_FACT_AGE,
    spec::Spec,
    store::Store,
};

/// Runs until it is told to stop. Sessions outlive it.
pub fn run(context: &Context, args: &RunArgs) -> Result<Exit, CliError> {
    let resync = times::duration(&args.resync)?;
    // Facts that are older than MAX_FACT_AGE support no decision: looking more rarely would stop the pool between two looks.
    if resync < Duration::from_secs(1) || resync > MAX_FACT_AGE / 2 {
        return Err(CliError::Usage(format!("--resync must be between 1s and {}s", MAX_FACT_AGE.as_secs() / 2)));
    }
    let path = crate::cli::context::absolute(&context.spec_path()?);
    let around = context.surroundings()?;
    let first = read(&path, &around);
    let (state, spec, accepted, refused) = match first {
        Ok((spec, accepted)) => (context.state_dir(&spec.pool)?, spec, accepted, None),
        Err(diagnostic) => {
            let Some((state, last)) = context.last_good(&path)? else {
                context.out.tell(diagnostic.trim_end());
                return Err(CliError::SpecInvalid);
            };
            tracing::error!("the spec is refused, the last good one stays in force:\n{diagnostic}");
            (state, last.loaded.spec, last.accepted, Some(diagnostic))
        }
    };
    let station = context.station_in(state)?;
    let store = match open(context, &station) {
        Err(error) if !leaves_sight(&error) => return Err(error),
        opened => opened,
    };
    block_on(async {
        let mut host = RealHost::new(station.clone()).map_err(CliError::Host)?;
        host.listen();
        let (commands, receiver) = mpsc::channel(64);
        let (signals, signal_receiver) = mpsc::channel(16);
        let (status, _) = watch::channel(None);
        let server = Server::bind(&control_socket(&station)).map_err(|error| CliError::Internal(error_line(&error)))?;
        let serving = tokio::spawn(server.serve(commands));
        listen_for_signals(&signals)?;
        tokio::spawn(watch_spec(path.clone(), around.clone(), signals));
        let mut channels =
            Channels { commands: receiver, signals: signal_receiver, status, read_spec: Box::new(move || read(&path, &around)) };
        tracing::info!(state = %station.state.display(), socket = %control_socket(&station).display(), "running");
        let mut systemd = Systemd::default();
        let (host, store) = match store {
            Ok(store) => (host, store),
            Err(problem) => match watch_until_open(context, &station, host, &spec, problem, &mut channels, &mut systemd).await? {
                Some(found) => found,
                None => return Ok(()),
            },
        };
        let mut engine = Engine::start(host, store, spec, &accepted).map_err(CliError::Engine)?;
        if let Some(diagnostic) = refused {
            engine.reject_spec(diagnostic).map_err(CliError::Engine)?;
        }
        let result = engine.run(channels, resync, &mut systemd).await;
        serving.abort();
        // Awaited so that the socket is gone when we are.
        let _ = serving.await;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        result.map_err(CliError::Engine)
    })??;
    Ok(Exit::Ok)
}

/// The store, with a memory that reads.
fn open(context: &Context, station: &Station) -> Result<Store, CliError> {
    let store = context.store(station)?;
    recall(&store).map_err(CliError::Engine)?;
    Ok(store)
}

const fn leaves_sight(error: &CliError) -> bool {
    match error {
        CliError::Store(error) => error.leaves_sight(),
        CliError::Engine(error) => error.leaves_sight(),
        _ => false,
    }
}

/// Watches the pool until its state can be used, which is tried every few seconds. `None` when it was told to stop.
async fn watch_until_open(
    context: &Context,
    station: &Station,
    host: RealHost,
    spec: &Spec,
    problem: CliError,
    channels: &mut Channels,
    systemd: &mut Systemd,
) -> Result<Option<(RealHost, Store)>, CliError> {
    let why = unusable(&problem);
    tracing::error!("{why}; the pool is only watched until it can");
    let mut view = View::blind(host, spec.clone(), why, Snapshot::default());
    loop {
        if view.watch(channels, systemd).await == Watched::Stopped {
            return Ok(None);
        }
        match open(context, station) {
            Ok(store) => return Ok(Some((view.into_host(), store))),
            Err(error) if leaves_sight(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn read(path: &std::path::Path, around: &Surroundings) -> SpecRead {
    match read_spec(path, around) {
        Ok(Ok(SpecAtHand { loaded, accepted, .. })) => Ok((loaded.spec, accepted)),
        Ok(Err(diagnostics)) => Err(diagnostics.render(false)),
        Err(error) => Err(error_line(&error)),
    }
}

fn listen_for_signals(signals: &mpsc::Sender<Signal>) -> Result<(), CliError> {
    let failed = |source| CliError::File { what: "listen for", path: "signals".into(), source };
    let listen = |kind: SignalKind, make: fn() -> Signal| -> Result<(), CliError> {
        let mut stream = signal(kind).map_err(failed)?;
        let signals = signals.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if signals.send(make()).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    };
    listen(SignalKind::hangup(), || Signal::SpecChanged)?;
    listen(SignalKind::user_defined1(), || Signal::Reconcile)?;
    listen(SignalKind::terminate(), || Signal::Stop)?;
    listen(SignalKind::interrupt(), || Signal::Stop)
}

/// An editor or a checkout writes several files; they are taken together.
const SPEC_SETTLE: Duration = Duration::from_millis(200);
/// How often its text is compared although nothing was heard of a change: network mounts tell nothing.
const SPEC_RESCAN: Duration = Duration::from_secs(30);

/// Says when the spec may have changed. Directories are watched, since editors put a new file in the place of the old one.
async fn watch_spec(path: std::path::PathBuf, around: Surroundings, signals: mpsc::Sender<Signal>) {
    let mut watch = Watch::new(SPEC_SETTLE).ok();
    // What was read last, or is being read.
    let mut told = None;
    loop {
        if let Some(watch) = &mut watch {
            for directory in directories_to_watch(&path, &around) {
                // One that cannot be watched is covered by the rescan.
                let _ = watch.add(&directory, ());
            }
        }
        let changed = async {
            match &mut watch {
                Some(watch) => drop(watch.changed().await),
                None => std::future::pending().await,
            }
        };
        // Cancel-safe: what is missed is found by the rescan.
        let heard = tokio::time::timeout(SPEC_RESCAN, changed).await.is_ok();
        let text = SpecFiles::read(&path, &around).ok().map(|files| files.sources);
        if !heard && text.is_some() && text == told {
            continue;
        }
        told = text;
        if signals.send(Signal::SpecChanged).await.is_err() {
            return;
        }
    }
}

/// systemd, if it started us: ready after the first pass, fed by progress.
#[derive(Default)]
struct Systemd {
    ready: bool,
}

impl Witness for Systemd {
    fn ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            tracing::info!("ready");
        }
    }

    fn progress(&mut self, line: &str) {
        let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(line)]);
    }
}
