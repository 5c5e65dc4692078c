//! Starts the server.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{
    process::Command,
    time::{Instant, timeout},
};

use super::{
    TmuxError, TmuxServer,
    client::{finish, prepare},
    launch::{Launcher, Surroundings},
    script::{Reply, Request},
    server::HELLO,
};
use crate::{
    host::process::DeathWatch,
    plan::{Failure, Happened, Outcome},
};

/// The soft limit of descriptors that a server gets, if the hard one allows it: one for each pane.
const DESCRIPTORS: u64 = 65_536;

/// How long the start may take, and how long the former server may take to be gone: with 1,000 sessions, 2.2 s (`facts/tmux.md`, section 1).
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What `set-option` is told on every server of ours.
///
/// The options hold for all sessions to come, which makes each creation cheaper than to set them one by one. The size of the history is
/// taken when a pane is made. Nobody's `DISPLAY` or `SSH_AUTH_SOCK` shall come into a session because a person attaches to it.
fn options(history_limit: u32) -> [[String; 3]; 4] {
    [
        ["-g", "history-limit", &history_limit.to_string()],
        ["-gw", "remain-on-exit", "on"],
        ["-s", "default-terminal", "tmux-256color"],
        ["-g", "update-environment", ""],
    ]
    .map(|option| option.map(ToOwned::to_owned))
}

/// The same as a file of tmux, for a server that somebody else starts. Such a one has no session at first, and must not end for that.
pub fn config_file(history_limit: u32) -> String {
    let line = |[flag, name, value]: [String; 3]| {
        let value = if value.is_empty() { "''" } else { &value };
        format!("set-option {flag} {name} {value}\n")
    };
    let options: String = options(history_limit).into_iter().map(line).collect();
    format!("set-option -s exit-empty off\n{options}")
}

impl TmuxServer {
    /// Starts the server with our anchor session, outside of our cgroup, with a scrubbed environment and room for many panes. Unchanged when
    /// one answers on the socket already; that one gets an anchor if it has none, and is left as it is otherwise.
    pub async fn start_server(&mut self) -> Outcome {
        self.start_server_through(Launcher::choose(&Surroundings::here())).await
    }

    /// The same, for a caller that knows better how a server is to be started.
    pub async fn start_server_through(&mut self, launcher: Launcher) -> Outcome {
        match self.start(launcher).await {
            Ok(true) => Outcome::Changed,
            Ok(false) => Outcome::Unchanged,
            Err((happened, error)) => Outcome::Failed(Failure::from_error(happened, &error)),
        }
    }

    async fn start(&mut self, launcher: Launcher) -> Result<bool, (Happened, TmuxError)> {
        let not_done = |error| (Happened::No, error);
        self.config.socket.prepare().map_err(not_done)?;
        match self.greet().await {
            Ok(reply) => return self.ensure_anchor(&reply).await.map_err(not_done),
            Err(TmuxError::NoServer { .. }) => {}
            Err(error) => return Err((Happened::No, error)),
        }
        // A server that shuts down would wait for it for ever. It listens no more, so it cannot be brought down by it.
        self.end_former(Duration::ZERO).await;
        self.await_former().await.map_err(not_done)?;
        self.forget();

        let line = launcher.command(descriptors(), self.start_line());
        let program = PathBuf::from(line.first().cloned().unwrap_or_default());
        let mut command = Command::new(&program);
        command.args(&line[1..]);
        prepare(&mut command);
        let finished = finish(&mut command, &program, &self.client.socket, START_DEADLINE).await;
        // Whatever the command said: done is what can be seen. Another process may also have been faster.
        match self.greet().await {
            Ok(reply) => {
                let was_made = self.ensure_anchor(&reply).await.map_err(|error| (Happened::Yes, error))?;
                // Without an anchor it is asked again.
                self.greeting = (!was_made).then(|| (reply, Instant::now()));
                Ok(true)
            }
            Err(TmuxError::NoServer { .. }) => Err((Happened::No, not_started(launcher, &program, finished))),
            Err(error) => Err((Happened::CannotTell, error)),
        }
    }

    fn start_line(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![self.client.binary.clone().into(), "-u".into(), "-S".into(), self.client.socket.clone().into()];
        line.extend(["-f", "/dev/null", "start-server", ";"].map(OsString::from));
        for option in options(self.config.history_limit) {
            line.push("set-option".into());
            line.extend(option.into_iter().map(OsString::from));
            line.push(";".into());
        }
        line.extend(self.anchor().split(' ').map(OsString::from));
        line
    }

    async fn greet(&mut self) -> Result<Reply, TmuxError> {
        self.greet_within(self.config.deadline).await
    }

    /// Makes the anchor, if it is missing; answers whether it was.
    async fn ensure_anchor(&mut self, hello: &Reply) -> Result<bool, TmuxError> {
        if hello.word(HELLO).is_some_and(|id| !id.is_empty()) {
            return Ok(false);
        }
        let request = Request::line(self.anchor());
        let exchange = self.run_client(&[request], self.config.deadline).await;
        self.one(exchange).map(|_| true)
    }

    /// A server that shuts down holds the socket's lock until its end, and a start in the meantime fails.
    async fn await_former(&mut self) -> Result<(), TmuxError> {
        let Some(former) = self.server else { return Ok(()) };
        let mut watch = DeathWatch::new()?;
        if watch.watch(former)? {
            match timeout(START_DEADLINE, watch.next()).await {
                Ok(ended) => drop(ended?),
                Err(_) => return Err(TmuxError::StillEnding { socket: self.client.socket.clone(), pid: former.pid.0 }),
            }
        }
        self.server = None;
        Ok(())
    }
}

/// Why there is no server although it was started.
fn not_started(launcher: Launcher, program: &Path, finished: Result<(ExitStatus, String), TmuxError>) -> TmuxError {
    let hint = match launcher {
        Launcher::UserScope => "; the user's own systemd must run, also without a login: `loginctl enable-linger`",
        Launcher::Direct | Launcher::SystemScope => "",
    };
    match finished {
        Ok((_, said)) => TmuxError::NotStarted { command: program.display().to_string(), said, hint },
        Err(error) => error,
    }
}

/// What the hard limit allows, and never less than we have ourselves.
fn descriptors() -> u64 {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(DESCRIPTORS, |(soft, hard)| DESCRIPTORS.min(hard).max(soft))
}
