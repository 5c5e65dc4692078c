//! The bench of the real host: a private tmux server, real files, and the stand-in for the agent's CLI.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use claude_failover::{
    host::{
        process::{ProcessTable, identity},
        real::{RealHost, Station},
    },
    model::Pid,
    spec::{SocketSpec, Spec},
};
use nix::{
    sys::signal::{Signal, kill},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    bench::{Bench, conversation},
    waiting::wait_until,
};

/// The accounts of every bench.
const ACCOUNTS: [&str; 2] = ["primary", "backup"];

pub struct Real {
    directory: TempDir,
}

/// No process outlives its test: not the server, and nothing that it started.
impl Drop for Real {
    fn drop(&mut self) {
        let Some(server) = self.server() else { return };
        let mut everybody = ProcessTable::scan().map(|table| table.descendants(server)).unwrap_or_default();
        everybody.extend(identity(server).ok().flatten());
        for process in everybody {
            if identity(process.pid).ok().flatten() == Some(process) {
                let _ = kill(nix::unistd::Pid::from_raw(process.pid.0), Signal::SIGKILL);
            }
        }
    }
}

impl Real {
    fn socket(&self) -> PathBuf {
        self.ground().join("s")
    }

    fn home(&self, account: &str) -> PathBuf {
        self.ground().join("accounts").join(account)
    }

    /// The process that listens on the socket.
    fn server(&self) -> Option<Pid> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        Some(Pid(getsockopt(&stream, PeerCredentials).ok()?.pid()))
    }

    fn signal_server(&self, signal: Signal) {
        let server = self.server().expect("a server");
        kill(nix::unistd::Pid::from_raw(server.0), signal).expect("it lives");
    }

    /// What a person at a terminal would type.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(self.socket()).args(arguments).stdin(Stdio::null()).output().expect("tmux");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until a line of a session's screen ends with a text.
    pub fn wait_shown(&self, session: &str, text: &str) {
        let target = format!("={session}:");
        let shown = || self.tmux(&["capture-pane", "-p", "-t", &target]).lines().any(|line| line.trim_end().ends_with(text));
        wait_until("the screen to show it", shown);
    }

    /// The conversation's records of that type, by all its agents.
    pub fn records(&self, session: &str, kind: &str) -> usize {
        let name = format!("{}.jsonl", conversation(session));
        let directories = fs::read_dir(self.ground().join("shared/projects")).into_iter().flatten().flatten();
        let texts = directories.filter_map(|directory| fs::read_to_string(directory.path().join(&name)).ok());
        let records = |text: String| text.lines().filter(|line| is_of_type(line, kind)).count();
        texts.map(records).sum()
    }

    /// Waits until the conversation has so many records of that type.
    pub fn wait_records(&self, session: &str, kind: &str, count: usize) {
        wait_until("the record to be written", || self.records(session, kind) >= count);
    }

    /// Whether the register shows a living agent of the conversation as idle.
    fn is_idle(&self, session: &str) -> bool {
        let conversation = conversation(session).to_string();
        let files =
            ACCOUNTS.into_iter().flat_map(|account| fs::read_dir(self.home(account).join("sessions")).into_iter().flatten().flatten());
        let entries = files.filter_map(|file| serde_json::from_slice::<Value>(&fs::read(file.path()).ok()?).ok());
        entries.into_iter().any(|entry| entry["sessionId"] == conversation.as_str() && entry["status"] == "idle")
    }
}

fn is_of_type(line: &str, kind: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|record| record["type"] == kind)
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

fn make_private(directory: &Path) {
    fs::create_dir_all(directory).expect("made");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("ours");
}

impl Bench for Real {
    type Host = RealHost;

    fn new() -> Self {
        let bench = Self { directory: tempfile::Builder::new().prefix("bench").tempdir().expect("a directory") };
        for account in ACCOUNTS {
            make_private(&bench.home(account));
            // The shape of a login, with nothing in it that is one.
            let login = json!({ "claudeAiOauth": { "accessToken": "none", "refreshToken": "none", "expiresAt": 4_000_000_000_000_u64 } });
            fs::write(bench.home(account).join(".credentials.json"), login.to_string()).expect("written");
        }
        fs::create_dir_all(bench.ground().join("work")).expect("made");
        bench
    }

    fn ground(&self) -> PathBuf {
        fs::canonicalize(self.directory.path()).expect("it is there")
    }

    fn equip(&self, spec: &mut Spec) {
        spec.agent.command = vec![env!("CARGO_BIN_EXE_claude-failover").to_owned(), "stand-in".to_owned()];
        spec.tmux.socket = SocketSpec::Path(self.socket());
    }

    fn host(&mut self) -> RealHost {
        let (runtime, state) = (self.ground().join("runtime"), self.ground().join("state"));
        make_private(&runtime);
        make_private(&state);
        let mut environment = BTreeMap::new();
        environment.insert("PATH".into(), std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        environment.insert("HOME".into(), self.ground().into_os_string());
        let program = env!("CARGO_BIN_EXE_claude-failover").into();
        let mut host = RealHost::new(Station { program, runtime, state, environment }).expect("a host");
        host.listen();
        host
    }

    fn kill(&mut self, pid: Pid) {
        kill(nix::unistd::Pid::from_raw(pid.0), Signal::SIGKILL).expect("it lives");
    }

    fn lives(&self, pid: Pid) -> bool {
        identity(pid).expect("readable").is_some()
    }

    fn prompt(&mut self, session: &str) {
        let before = self.records(session, "assistant");
        let target = format!("={session}:");
        self.tmux(&["send-keys", "-t", &target, "-l", "hello"]);
        self.tmux(&["send-keys", "-t", &target, "Enter"]);
        wait_until("the answer to the prompt", || self.records(session, "assistant") > before && self.is_idle(session));
    }

    fn make_agents_stubborn(&mut self) {
        for account in ACCOUNTS {
            fs::write(self.home(account).join("stand-in.json"), json!({ "stubborn": true }).to_string()).expect("written");
        }
    }

    fn start_foreign_session(&mut self, name: &str) {
        self.tmux(&["new-session", "-d", "-s", name, "sleep infinity"]);
    }

    fn rename_session(&mut self, from: &str, to: &str) {
        self.tmux(&["rename-session", "-t", &format!("={from}"), to]);
    }

    fn kill_server(&mut self) {
        self.tmux(&["kill-server"]);
    }

    fn hang_server(&mut self, hung: bool) {
        self.signal_server(if hung { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    fn put_directory(&mut self, path: &Path, files: &[(&str, &str)]) {
        remove(path);
        fs::create_dir_all(path).expect("made");
        for (name, text) in files {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("below the directory")).expect("made");
            fs::write(file, text).expect("written");
        }
    }

    fn put_file(&mut self, path: &Path, text: &str) {
        remove(path);
        fs::write(path, text).expect("written");
    }

    fn put_link(&mut self, path: &Path, target: &Path) {
        remove(path);
        symlink(target, path).expect("linked");
    }

    fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn read_link(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(path).ok()
    }

    fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok()
    }
}
