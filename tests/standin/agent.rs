//! A place with two homes that share their transcripts, and agents that run in it.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::symlink, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::waiting::{DEADLINE, wait_for};

/// Homes `a` and `b`, their shared transcripts, and a start directory, all below one temporary directory.
pub struct Place {
    root: TempDir,
    /// Resolved, as the agent sees it.
    pub workdir: PathBuf,
}

impl Place {
    /// Two homes that are ready: onboarded, the start directory trusted, hooks that write down what they are told.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let workdir = fs::canonicalize(root.path()).expect("it exists").join("work");
        fs::create_dir_all(&workdir).expect("made");
        fs::create_dir_all(root.path().join("shared/projects")).expect("made");
        let place = Self { root, workdir };
        for name in ["a", "b"] {
            let home = place.home(name);
            fs::create_dir_all(&home).expect("made");
            symlink(place.root.path().join("shared/projects"), home.join("projects")).expect("linked");
            let projects = json!({place.workdir.to_string_lossy(): {"hasTrustDialogAccepted": true}});
            place.configure(name, &json!({"hasCompletedOnboarding": true, "projects": projects}));
        }
        place.set_hooks(false);
        place
    }

    /// Writes the settings file; the hooks append to a log, one line each.
    pub fn set_hooks(&self, refreshing: bool) {
        let log = self.root.path().join("hooks.log");
        let command = |name: &str| {
            let line = format!(
                r#"input=$(cat); printf '%s\t%s\t%s\t%s\n' {name} "$CLAUDE_PID" "$CLAUDE_CONFIG_DIR" "$input" >> '{}'"#,
                log.display()
            );
            json!({"type": "command", "command": line, "async": name != "SessionEnd"})
        };
        let names =
            ["SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "PermissionRequest", "Stop", "StopFailure", "SessionEnd"];
        let hooks: serde_json::Map<String, Value> =
            names.into_iter().map(|name| (name.to_owned(), json!([{"hooks": [command(name)]}]))).collect();
        let mut line = command("StatusLine");
        if refreshing {
            line["refreshInterval"] = json!(1);
        }
        fs::write(self.settings(), json!({"hooks": hooks, "statusLine": line}).to_string()).expect("written");
    }

    pub fn settings(&self) -> PathBuf {
        self.root.path().join("settings.json")
    }

    pub fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces a home's `.claude.json`.
    pub fn configure(&self, name: &str, config: &Value) {
        fs::write(self.home(name).join(".claude.json"), config.to_string()).expect("written");
    }

    /// Replaces a home's behaviour, in one step.
    pub fn behave(&self, name: &str, behaviour: &Value) {
        let file = self.home(name).join("stand-in.json");
        let temporary = self.home(name).join("stand-in.new");
        fs::write(&temporary, behaviour.to_string()).expect("written");
        fs::rename(temporary, file).expect("renamed");
    }

    /// The stand-in under a home, with nothing else from the environment.
    pub fn command(&self, home: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-failover"));
        command.arg("stand-in").args(arguments).current_dir(&self.workdir);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("CLAUDE_CONFIG_DIR", self.home(home));
        command
    }

    /// Runs the stand-in to its end.
    pub fn run(&self, home: &str, arguments: &[&str]) -> Output {
        self.command(home, arguments).stdin(Stdio::null()).output().expect("it runs")
    }

    /// Starts an interactive session on pipes, with the place's hooks.
    pub fn start(&self, home: &str, arguments: &[&str]) -> Agent {
        self.start_with(home, arguments, &[])
    }

    /// The same with more variables.
    pub fn start_with(&self, home: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Agent {
        let mut command = self.session(home, arguments);
        command.envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let keys: OwnedFd = child.stdin.take().expect("piped").into();
        Agent { home: self.home(home), child, keys: Some(File::from(keys)) }
    }

    /// Starts an interactive session whose keys come from a terminal of its own.
    pub fn start_on_terminal(&self, home: &str, arguments: &[&str]) -> Agent {
        self.on_terminal(home, arguments, false)
    }

    /// The same, and the terminal also shows what it writes: somebody must read that.
    pub fn start_on_screen(&self, home: &str, arguments: &[&str]) -> Agent {
        self.on_terminal(home, arguments, true)
    }

    fn on_terminal(&self, home: &str, arguments: &[&str], shown: bool) -> Agent {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a usable terminal");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("opened");
        let mut command = self.session(home, arguments);
        if shown {
            command.stdout(terminal.try_clone().expect("cloned"));
        }
        let child = command.stdin(terminal).spawn().expect("it starts");
        Agent { home: self.home(home), child, keys: Some(File::from(master)) }
    }

    fn session(&self, home: &str, arguments: &[&str]) -> Command {
        let settings = self.settings().to_string_lossy().into_owned();
        let mut command = self.command(home, arguments);
        command.args(["--settings", &settings, "--permission-mode", "acceptEdits"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What the hooks were told, oldest first.
    pub fn told(&self) -> Vec<Told> {
        let text = fs::read_to_string(self.root.path().join("hooks.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let mut parts = line.splitn(4, '\t');
                let (event, pid, home, input) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
                Some(Told {
                    event: event.to_owned(),
                    pid: pid.parse().ok()?,
                    home: PathBuf::from(home),
                    input: serde_json::from_str(input).ok()?,
                })
            })
            .collect()
    }

    /// Waits for the `count`-th call of a hook and gives what it was told.
    pub fn wait_told(&self, event: &str, count: usize) -> Told {
        wait_for(&format!("call {count} of {event}"), || self.told().into_iter().filter(|told| told.event == event).nth(count - 1))
    }

    /// Whether a hook was called at all.
    pub fn was_told(&self, event: &str) -> bool {
        self.told().iter().any(|told| told.event == event)
    }

    /// The records of a conversation; empty when it has no transcript.
    pub fn transcript(&self, conversation: &str) -> Vec<Value> {
        let folders = fs::read_dir(self.root.path().join("shared/projects")).expect("it exists");
        let path = folders.flatten().map(|folder| folder.path().join(format!("{conversation}.jsonl"))).find(|path| path.exists());
        let text = path.map(|path| fs::read_to_string(path).expect("readable")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
    }
}

/// One call of a hook.
#[derive(Debug)]
pub struct Told {
    pub event: String,
    /// `CLAUDE_PID` in its environment.
    pub pid: u32,
    /// `CLAUDE_CONFIG_DIR` in its environment.
    pub home: PathBuf,
    /// Its standard input.
    pub input: Value,
}

/// A running stand-in; it is killed with everything that it has started when the test ends.
pub struct Agent {
    home: PathBuf,
    child: Child,
    keys: Option<File>,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The register entry, if there is one.
    pub fn entry(&self) -> Option<Value> {
        let text = fs::read(self.entry_path()).ok()?;
        Some(serde_json::from_slice(&text).expect("an entry is always whole"))
    }

    pub fn entry_path(&self) -> PathBuf {
        self.home.join("sessions").join(format!("{}.json", self.pid()))
    }

    /// Waits until the register says so.
    pub fn wait_status(&self, status: &str) -> Value {
        wait_for(&format!("status {status}"), || self.entry().filter(|entry| entry["status"] == status))
    }

    /// Types bytes as they are.
    pub fn press(&mut self, keys: &str) {
        self.keys.as_mut().expect("still open").write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Types a prompt and submits it.
    pub fn say(&mut self, prompt: &str) {
        self.press(&format!("{prompt}\n"));
    }

    /// Closes the agent's end of the terminal or the pipe.
    pub fn hang_up(&mut self) {
        self.keys = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.raw_pid()), signal).expect("it lives");
    }

    /// Whether it has blocked a signal.
    pub fn blocks(&self, signal: Signal) -> bool {
        self.status("SigBlk:").is_some_and(|mask| has(&mask, signal))
    }

    /// Whether it has taken a signal that was sent, has done what it does at once, and waits again.
    pub fn has_taken(&self, signal: Signal) -> bool {
        // In this order: it may be sent while somebody looks, and never the other way round.
        self.status("ShdPnd:").is_some_and(|mask| !has(&mask, signal)) && self.status("State:").is_some_and(|state| state.starts_with('S'))
    }

    /// A field of proc_pid_status(5).
    fn status(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for its end and gives its exit code, or minus the signal that ended it.
    pub fn wait_end(&mut self) -> i32 {
        let status = wait_for("the end of the agent", || self.child.try_wait().expect("our child"));
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    /// Ends it as a controller does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_end(), 143);
    }

    /// Processes that it has started and that still run.
    pub fn children(&self) -> Vec<i32> {
        let listed = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Waits until its tool runs, a `sleep`, and gives its number. The other children are hooks.
    pub fn wait_tool(&self) -> i32 {
        let is_sleep = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
        wait_for("the tool", || self.children().into_iter().find(is_sleep))
    }

    fn raw_pid(&self) -> i32 {
        i32::try_from(self.pid()).expect("a process number")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let children = self.children();
        // Both may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in children {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Reads what a terminal shows until `found` is in it.
pub fn read_until(terminal: &Agent, found: &str) -> String {
    let mut master = terminal.keys.as_ref().expect("still open").try_clone().expect("cloned");
    let mut seen = Vec::new();
    let until = Instant::now() + DEADLINE;
    loop {
        let mut buffer = [0; 4096];
        let count = master.read(&mut buffer).expect("readable");
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if text.contains(found) {
            return text;
        }
        assert!(Instant::now() < until, "never shown: {found:?} in {text:?}");
    }
}

/// Whether a mask of signals, as /proc shows it, has one.
fn has(mask: &str, signal: Signal) -> bool {
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Whether a process of that number lives and is no zombie.
pub fn lives(pid: i32) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
