//! A pool of its own for each test: real binary, real tmux, real links, the stand-in agent. Nothing of it outlives the test.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::waiting::{found_within, wait_for, wait_until};

mod sights;
mod terminal;

pub use terminal::Terminal;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_claude-failover");
/// The links that every home must have.
pub const LINKS: [&str; 3] = ["projects", "file-history", "tasks"];

/// Asserts that `look` becomes true, and within `deadline`: for what would also come later by another way.
#[track_caller]
pub fn wait_until_within(deadline: Duration, what: &str, mut look: impl FnMut() -> bool) {
    assert!(found_within(deadline, || look().then_some(())).is_some(), "{what} did not come within {deadline:?}");
}

/// Seconds since the epoch.
pub fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its words.
    pub stderr: String,
}

impl Ended {
    /// Asserts on the exit code and shows everything when it is another one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that a text was said, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "no {text:?} in\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

impl Ended {
    /// Asserts that a text was not said.
    #[track_caller]
    pub fn lacks(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{text:?} in\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A stand-in that lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agent {
    pub pid: i32,
    /// `CLAUDE_CONFIG_DIR`, from its environment.
    pub home: PathBuf,
    /// The conversation that it was told to open.
    pub conversation: String,
}

/// A pool with homes `a` (primary) and `b` (backup), below one short temporary directory: socket paths are limited to 107 bytes.
pub struct Pool {
    dir: TempDir,
    /// Resolved.
    pub root: PathBuf,
    /// The spec as it stands on disk, when a test has not broken it.
    pub spec: Value,
    /// What the daemon is started with besides.
    pub daemon_environ: BTreeMap<&'static str, PathBuf>,
    daemon: Option<Child>,
}

impl Pool {
    /// A pool with `sessions` sessions `s-0`, `s-1`, …, readings with much room, and nothing applied yet.
    pub fn new(sessions: usize) -> Self {
        let dir = tempfile::Builder::new().prefix("cf-").tempdir_in("/tmp").expect("a temporary directory");
        let root = fs::canonicalize(dir.path()).expect("it exists");
        for name in ["home", "run", "state", "work", "a", "b"] {
            fs::DirBuilder::new().mode(0o700).create(root.join(name)).expect("made");
        }
        let path = |name: &str| root.join(name).to_string_lossy().into_owned();
        let spec = json!({
            "apiVersion": "claude-failover/v1",
            "kind": "Pool",
            "metadata": {"name": "try"},
            "spec": {
                "accounts": [{"name": "primary", "home": path("a")}, {"name": "backup", "home": path("b")}],
                "activeLink": path("active"),
                "shared": {"root": path("shared")},
                "quota": {"sources": ["file"], "file": path("quota.json")},
                "agent": {"command": [BINARY, "stand-in"], "stopGrace": "5s"},
                "swap": {"drain": "30s", "proveWithin": "20s"},
                "sessions": [{"names": format!("s-{{0..{}}}", sessions - 1), "workdir": path("work")}],
            },
        });
        let pool = Self { dir, root, spec, daemon_environ: BTreeMap::new(), daemon: None };
        pool.log_in("a");
        pool.log_in("b");
        pool.write_spec();
        pool.usage(10.0, 10.0);
        pool
    }

    /// The same, applied.
    pub fn applied(sessions: usize) -> Self {
        let pool = Self::new(sessions);
        pool.cli(&["apply", "--yes"]).expect(0);
        assert_eq!(pool.agents().len(), sessions, "every session has one agent");
        pool
    }

    /// The same, with a daemon that has looked once.
    pub fn running(sessions: usize) -> Self {
        let mut pool = Self::applied(sessions);
        pool.start_daemon();
        pool
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where the store is.
    pub fn state_dir(&self) -> PathBuf {
        self.path("state/claude-failover/try")
    }

    /// Puts a login that is valid into a home.
    pub fn log_in(&self, home: &str) {
        let file = self.path(home).join(".credentials.json");
        let ends = 4_000_000_000_000_u64;
        let login = json!({"claudeAiOauth":
            {"accessToken": "x", "refreshToken": "y", "expiresAt": ends, "refreshTokenExpiresAt": ends, "scopes": []}});
        fs::write(&file, login.to_string()).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("protected");
    }

    /// Changes the spec and writes it.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.spec["spec"]);
        self.write_spec();
    }

    /// Writes the spec in one step. JSON is YAML.
    pub fn write_spec(&self) {
        self.put("pool.yaml", &serde_json::to_string_pretty(&self.spec).expect("it is JSON"));
    }

    /// Puts a file in place in one step.
    pub fn put(&self, name: &str, text: &str) {
        let (file, temporary) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&temporary, text).expect("written");
        fs::rename(temporary, file).expect("renamed");
    }

    /// Says how much of the 5-hour windows is used, as of now.
    pub fn usage(&self, primary: f64, backup: f64) {
        self.usage_until(primary, backup, epoch() + 3600);
    }

    /// The same; the primary's 5-hour window begins anew at `resets_at`.
    pub fn usage_until(&self, primary: f64, backup: f64, resets_at: u64) {
        let now = epoch();
        // To the microsecond: of two readings of one second, the second would be no newer.
        let measured = jiff::Timestamp::now().to_string();
        let of = |used: f64, resets_at: u64| {
            json!({
                "measuredAt": measured,
                "fiveHour": {"usedPercent": used, "resetsAt": resets_at},
                "weekly": {"usedPercent": 10, "resetsAt": now + 86_400},
            })
        };
        self.put("quota.json", &json!({"primary": of(primary, resets_at), "backup": of(backup, now + 3600)}).to_string());
    }

    /// Replaces a home's behaviour.
    pub fn behave(&self, home: &str, behaviour: &Value) {
        self.put(&format!("{home}/stand-in.json"), &behaviour.to_string());
    }

    /// The environment in which everything of the pool runs, and nothing else of ours.
    pub fn environ(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("LANG", "C.UTF-8")
            .current_dir(&self.root);
    }

    /// Runs a command of the CLI to its end.
    pub fn cli(&self, arguments: &[&str]) -> Ended {
        // A command that hangs is a failure like any other.
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "180", BINARY, "-f", "pool.yaml"]).args(arguments);
        self.end(command)
    }

    /// Starts a command of the CLI and does not wait for it.
    pub fn start_cli(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(BINARY);
        self.environ(&mut command);
        command.args(["-f", "pool.yaml"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }

    /// Runs any command in the pool's surroundings to its end.
    pub fn end(&self, mut command: Command) -> Ended {
        self.environ(&mut command);
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.cli(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}\n{}", ended.stdout, ended.stderr))
    }

    /// The status: from the daemon if one runs.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// The account that the store names.
    #[track_caller]
    pub fn active(&self) -> String {
        self.status()["active"].as_str().expect("an account is active").to_owned()
    }

    /// The status word of a pool's condition.
    #[track_caller]
    pub fn condition(&self, kind: &str) -> String {
        condition(&self.status(), kind)
    }

    /// Every event, oldest first, as its object, reason and message.
    #[track_caller]
    pub fn events(&self) -> Vec<(String, String, String)> {
        let events = self.json(&["events", "-n", "100000"]);
        let text = |event: &Value, key: &str| event["event"][key].as_str().unwrap_or_default().to_owned();
        let told = |event: &Value| (text(event, "object"), text(event, "reason"), text(event, "message"));
        events.as_array().expect("a list").iter().map(told).collect()
    }

    /// How often a reason was told.
    #[track_caller]
    pub fn count(&self, reason: &str) -> usize {
        let events = self.json(&["events", "-n", "100000"]);
        // One that repeats itself is kept once, with how often it was told.
        let told = events.as_array().expect("a list").iter().filter(|event| event["event"]["reason"] == reason);
        told.map(|event| usize::try_from(event["count"].as_u64().expect("a number")).expect("a small one")).sum()
    }

    /// The message of the newest event of a reason.
    #[track_caller]
    pub fn told(&self, reason: &str) -> String {
        self.events()
            .into_iter()
            .rfind(|(_, found, _)| found == reason)
            .map_or_else(|| panic!("no event {reason}; the daemon said:\n{}", self.log()), |(_, _, message)| message)
    }

    /// Starts the daemon and waits until it has looked once.
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "one daemon is enough");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).expect("opened");
        let mut command = Command::new(BINARY);
        self.environ(&mut command);
        command.envs(&self.daemon_environ).args(["-f", "pool.yaml", "run"]);
        let ready = self.log().matches("ready").count();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        self.daemon = Some(child);
        wait_until("the daemon's first pass", || {
            let over = self.daemon.as_mut().expect("started").try_wait().expect("it is ours");
            assert!(
                over.is_none(),
                "the daemon ended with {over:?}:\n{}",
                fs::read_to_string(self.root.join("daemon.log")).unwrap_or_default()
            );
            fs::read_to_string(self.root.join("daemon.log")).unwrap_or_default().matches("ready").count() > ready
        });
    }

    /// The daemon's process.
    pub fn daemon_pid(&self) -> i32 {
        self.daemon.as_ref().expect("it runs").id().try_into().expect("a pid")
    }

    /// Sends the daemon a signal.
    pub fn signal_daemon(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemon_pid()), signal).expect("it runs");
    }

    /// Ends the daemon with a signal and waits for it.
    pub fn stop_daemon(&mut self, signal: Signal) -> std::process::ExitStatus {
        self.signal_daemon(signal);
        let mut child = self.daemon.take().expect("it runs");
        wait_for("the daemon's end", || child.try_wait().expect("it is ours"))
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Pool {
    #[expect(clippy::print_stderr, reason = "what the daemon said explains a failed test")]
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if thread::panicking() {
            eprintln!("--- the daemon's log:\n{}", self.log());
        }
        // Every process of the pool names its directory in its arguments or its environment: the tmux server, the agents, their tools.
        let mark = format!("{}/", self.dir.path().display());
        found_within(Duration::from_secs(10), || {
            let left: Vec<_> = processes().filter(|pid| belongs(*pid, &mark)).collect();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }
}

/// Whether a process that is not this one names `mark`. A process that has ended names nothing.
fn belongs(pid: i32, mark: &str) -> bool {
    let names = |file: &str| fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| contains(&bytes, mark));
    u32::try_from(pid).is_ok_and(|pid| pid != std::process::id()) && (names("cmdline") || names("environ"))
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether bytes hold a text.
pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// How many turns have ended, as a transcript says.
pub fn turns(transcript: &[u8]) -> usize {
    transcript.windows(8).filter(|window| window == b"end_turn").count()
}

/// The status word of one of the conditions of something that has conditions.
#[track_caller]
pub fn condition(of: &Value, kind: &str) -> String {
    let conditions = of["conditions"].as_array().expect("it has conditions");
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map_or_else(|| "absent".to_owned(), |condition| condition["status"].as_str().expect("a word").to_owned())
}

/// A session's row, or an account's.
#[track_caller]
pub fn row<'a>(status: &'a Value, name: &str) -> &'a Value {
    let rows = ["sessions", "accounts"].into_iter().flat_map(|key| status[key].as_array().expect("a list"));
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}"))
}
