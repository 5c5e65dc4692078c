//! A private tmux server for one test, and what the tests say again and again.

use std::{
    collections::BTreeMap,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use claude_failover::{
    host::{
        process::{Exec, ProcessTable, identity},
        tmux::{Launcher, RuntimeDirectory, Socket, TmuxConfig, TmuxOp, TmuxServer},
    },
    model::{Pid, PoolId, ProcessId, SessionName, StartDigest},
    observed::{Mark, PaneView, TmuxView},
    plan::{Failure, Outcome},
    spec::SocketSpec,
};
use nix::{
    sys::signal::{Signal, kill},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
use tempfile::TempDir;
use uuid::Uuid;

/// No condition takes this long on a machine that works at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server, its directory, and their end.
pub struct Playground {
    pub directory: TempDir,
    pub socket: PathBuf,
}

impl Playground {
    /// A directory without a server.
    pub fn empty() -> Self {
        let directory = tempfile::Builder::new().prefix("tmux").tempdir().expect("a directory");
        let socket = directory.path().join("s");
        Self { directory, socket }
    }

    /// A directory with a server that was started as in production.
    pub async fn started() -> (Self, TmuxServer) {
        let playground = Self::empty();
        let mut server = playground.server();
        assert_eq!(start(&mut server).await, Outcome::Changed);
        (playground, server)
    }

    pub fn config(&self) -> TmuxConfig {
        let socket = SocketSpec::Path(self.socket.clone());
        TmuxConfig {
            binary: "tmux".into(),
            socket: Socket::resolve(&socket, &RuntimeDirectory::of_this_process()).expect("a path"),
            size: (120, 40),
            history_limit: 1234,
            deadline: Duration::from_secs(15),
        }
    }

    /// Another view of the same server.
    pub fn server(&self) -> TmuxServer {
        TmuxServer::new(self.config())
    }

    /// A stand-in for the tmux program: `case` is a shell case that may do something else for some arguments.
    pub fn wrapper(&self, before: &str) -> PathBuf {
        let path = self.path("tmux");
        std::fs::write(&path, format!("#!/bin/sh\n{before}\nexec tmux \"$@\"\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a person at a terminal would do.
    pub fn person(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).stdin(Stdio::null()).output().expect("tmux");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// How many commands the server has run, for whomever; to ask is one of them, and one more for the asker to come in.
    pub fn commands(&self) -> u64 {
        // `%begin TIME NUMBER FLAGS`, tmux(1), section CONTROL MODE.
        let answer = self.person(&["-C", "display-message", "-p", ""]);
        answer.split_whitespace().nth(2).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// The process that listens on the socket.
    pub fn server_pid(&self) -> Option<Pid> {
        let stream = UnixStream::connect(&self.socket).ok()?;
        Some(Pid(getsockopt(&stream, PeerCredentials).ok()?.pid()))
    }

    pub fn signal_server(&self, signal: Signal) {
        send(self.server_pid().expect("a server"), signal);
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let Some(server) = self.server_pid() else { return };
        let mut everybody = ProcessTable::scan().map(|table| table.descendants(server)).unwrap_or_default();
        everybody.extend(identity(server).ok().flatten());
        for process in everybody {
            if lives(process) {
                let _ = kill(nix::unistd::Pid::from_raw(process.pid.0), Signal::SIGKILL);
            }
        }
    }
}

/// Starts a server as it is done outside of a service, wherever the tests run.
pub async fn start(server: &mut TmuxServer) -> Outcome {
    server.start_server_through(Launcher::Direct).await
}

pub fn send(pid: Pid, signal: Signal) {
    kill(nix::unistd::Pid::from_raw(pid.0), signal).expect("it lives");
}

pub fn lives(process: ProcessId) -> bool {
    identity(process.pid).expect("readable") == Some(process)
}

pub fn pool() -> PoolId {
    PoolId(Uuid::from_u128(0x0bad_cafe))
}

pub fn mark(session: &str) -> Mark {
    Mark { pool: pool(), session: SessionName::new(session).expect("a name"), digest: StartDigest("0123456789ab".into()) }
}

/// A program that costs nothing.
pub fn sleeper() -> Exec {
    exec("/bin/sleep", &["infinity"])
}

pub fn shell(script: &str) -> Exec {
    exec("/bin/sh", &["-c", script])
}

pub fn exec(program: &str, arguments: &[&str]) -> Exec {
    Exec {
        program: program.into(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        workdir: "/".into(),
        environment: BTreeMap::from([("CLAUDE_CONFIG_DIR".to_owned(), "/home/first".to_owned())]),
    }
}

pub fn create(session: &str, exec: Exec) -> TmuxOp {
    TmuxOp::Create { exec, size: (100, 30), mark: mark(session) }
}

pub fn respawn(pane: &PaneView, session: &str, exec: Exec) -> TmuxOp {
    TmuxOp::Respawn { session_id: pane.session_id.clone(), pane: pane.pane.clone(), expect_pid: pane.pid, exec, mark: mark(session) }
}

/// Carries out one operation.
pub async fn perform(server: &mut TmuxServer, op: TmuxOp) -> Outcome {
    server.perform(&[op]).await.pop().expect("one outcome for each")
}

/// The failure of an outcome, or a panic.
pub fn failure(outcome: &Outcome) -> &Failure {
    outcome.failure().unwrap_or_else(|| panic!("no failure: {outcome:?}"))
}

/// Creates a session and waits until its program runs.
pub async fn running(server: &mut TmuxServer, session: &str, exec: Exec) -> PaneView {
    let program = exec.program.clone();
    assert_eq!(perform(server, create(session, exec)).await, Outcome::Changed);
    let pane = pane(server, session).await;
    until(|| runs(&pane, &program)).await;
    pane
}

/// Whether the pane's process has executed its program.
pub fn runs(pane: &PaneView, program: &Path) -> bool {
    let wanted = std::fs::canonicalize(program).expect("a program");
    pane.pid.is_some_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|found| found == wanted))
}

pub async fn pane(server: &mut TmuxServer, session: &str) -> PaneView {
    server.list().await.expect("a list").panes.get(session).unwrap_or_else(|| panic!("no session {session}")).clone()
}

/// The process of a pane, alive.
pub fn process_of(pane: &PaneView) -> ProcessId {
    identity(pane.pid.expect("a process")).expect("readable").expect("alive")
}

/// Kills a pane's process and waits until it is gone, which may be before tmux notices.
pub async fn end(pane: &PaneView) {
    let process = process_of(pane);
    send(process.pid, Signal::SIGKILL);
    until(|| !lives(process)).await;
}

/// Waits for a condition.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until the list shows something.
pub async fn until_listed(server: &mut TmuxServer, mut shows: impl FnMut(&TmuxView) -> bool) -> TmuxView {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = server.list().await.expect("a list");
        if shows(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "it was never listed: {view:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a future that must not wait for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}
