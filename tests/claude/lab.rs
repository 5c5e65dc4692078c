//! A laboratory for the real CLI: homes with fake logins, a terminal, the played API, and nothing of this machine.
//!
//! # Guarantees
//! What runs here has an environment of its own (`env -i`), its `HOME`, `CLAUDE_CONFIG_DIR` and scratch below one temporary directory, and
//! every way out is a proxy that connects to nowhere. Under `.ci/contained` there is no network but loopback at all. When a session ends it is checked that it was connected to loopback only, and when a
//! lab ends, that every request carried one of our tokens or none. All that was started in a lab ends with it, also after a failed test.
//!
//! # Assumes
//! `CLAUDE_FAILOVER_REAL_CLI` names the CLI's binary (`.ci/install-claude` prints it). Without it every test says so and passes.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    api::{Api, PLAYED, Reply, now},
    waiting::{DEADLINE, found_within, wait_for, wait_until},
};

/// A laboratory.
pub struct Lab {
    /// Everything lies below it, and goes with it.
    _root: TempDir,
    /// The resolved path of `root`.
    directory: PathBuf,
    cli: PathBuf,
    /// The API that the CLI talks to.
    pub api: Api,
}

impl Lab {
    /// A lab with the homes `a` and `b`, logged in, onboarded, the start directory trusted, and only `projects` shared. `None`, with a
    /// line that says so, when there is no CLI to test.
    pub fn open() -> Option<Self> {
        let lab = Self::open_bare()?;
        fs::create_dir_all(lab.directory.join("shared/projects")).expect("made");
        for name in ["a", "b"] {
            lab.make_ready(name);
        }
        Some(lab)
    }

    /// A lab with the homes `a` and `b` as a person leaves them: logged in, and nothing else. `None` as for [`Self::open`].
    pub fn open_bare() -> Option<Self> {
        let Some(cli) = env::var_os("CLAUDE_FAILOVER_REAL_CLI") else {
            // Past the test runner, which would keep it to itself.
            let _ = writeln!(io::stderr(), "skipped: CLAUDE_FAILOVER_REAL_CLI does not name the CLI; see .ci/install-claude");
            return None;
        };
        let cli = fs::canonicalize(&cli).expect("CLAUDE_FAILOVER_REAL_CLI names a file");
        let root = tempfile::Builder::new().prefix("claude-lab-").tempdir().expect("a temporary directory");
        let directory = fs::canonicalize(root.path()).expect("it exists");
        for name in ["user", "scratch", "work"] {
            fs::create_dir_all(directory.join(name)).expect("made");
        }
        let lab = Self { api: Api::start(&directory), _root: root, directory, cli };
        for name in ["a", "b"] {
            lab.log_in(name);
        }
        Some(lab)
    }

    /// Onboards a home, trusts the start directory, and links its transcripts to the shared ones.
    fn make_ready(&self, name: &str) {
        let home = self.home(name);
        let trust = json!({self.workdir().to_string_lossy(): {"hasTrustDialogAccepted": true}});
        fs::write(home.join(".claude.json"), json!({"hasCompletedOnboarding": true, "projects": trust}).to_string()).expect("written");
        fs::write(home.join("settings.json"), json!({"skipDangerousModePermissionPrompt": true}).to_string()).expect("written");
        symlink(self.directory.join("shared/projects"), home.join("projects")).expect("linked");
    }

    /// Makes a home with a fake login.
    fn log_in(&self, name: &str) {
        let home = self.home(name);
        fs::create_dir_all(&home).expect("made");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("ours");
        let login = json!({"claudeAiOauth": {
            "accessToken": format!("fake-at-{name}"), "refreshToken": format!("fake-rt-{name}"), "expiresAt": (now() + 25_200) * 1000,
            "refreshTokenExpiresAt": (now() + 30 * 86_400) * 1000, "scopes": ["user:inference", "user:profile", "user:sessions:claude_code"],
            "subscriptionType": "max", "rateLimitTier": "default_claude_max_20x"}});
        let file = home.join(".credentials.json");
        fs::write(&file, login.to_string()).expect("written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("ours");
    }

    /// The directory that everything lies in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// An account's home.
    pub fn home(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where sessions start.
    pub fn workdir(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// The CLI's binary.
    pub fn cli(&self) -> &Path {
        &self.cli
    }

    /// The variables that keep an agent inside the lab, without a home: what a pool's spec would set for its agents.
    pub fn agent_environment(&self) -> BTreeMap<String, String> {
        let proxy = self.api.proxy_url();
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut variables: BTreeMap<String, String> = [
            ("HOME", path(&self.directory.join("user"))),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "tmux-256color".to_owned()),
            ("TMPDIR", path(&self.directory.join("scratch"))),
            ("CLAUDE_CODE_TMPDIR", path(&self.directory.join("scratch"))),
            ("ANTHROPIC_BASE_URL", self.api.base_url()),
            ("NODE_EXTRA_CA_CERTS", path(self.api.authority())),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
            ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1".to_owned()),
            // The CLI refuses to skip permissions for root outside of a sandbox.
            ("IS_SANDBOX", "1".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
            variables.insert(name.to_owned(), proxy.clone());
        }
        variables
    }

    /// The same for one account.
    fn environment(&self, home: &str) -> BTreeMap<String, String> {
        let mut variables = self.agent_environment();
        variables.insert("CLAUDE_CONFIG_DIR".to_owned(), self.home(home).to_string_lossy().into_owned());
        for name in ["HOME", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_TMPDIR"] {
            assert!(Path::new(&variables[name]).starts_with(&self.directory), "{name} would leave the lab");
        }
        variables
    }

    /// Runs the CLI without a terminal, to its end.
    pub fn run(&self, home: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.cli());
        command.args(arguments).current_dir(self.workdir()).env_clear().envs(self.environment(home)).stdin(Stdio::null());
        command.output().expect("it runs")
    }

    /// Starts an interactive session in a terminal of its own.
    pub fn start(&self, home: &str, arguments: &[&str]) -> Session<'_> {
        self.start_with(home, arguments, &[])
    }

    /// The same with more variables.
    pub fn start_with(&self, home: &str, arguments: &[&str], more: &[(&str, &str)]) -> Session<'_> {
        let mut variables = self.environment(home);
        variables.extend(more.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let workdir = self.workdir().to_string_lossy().into_owned();
        let cli = self.cli().to_string_lossy().into_owned();
        let assignments: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // A dead pane keeps what it showed.
        let mut words = vec!["start-server", ";", "set-option", "-gw", "remain-on-exit", "on", ";"];
        words.extend(["new-session", "-d", "-P", "-F", "#{pane_id} #{pane_pid}", "-x", "150", "-y", "45", "-c", &workdir, "env", "-i"]);
        words.extend(assignments.iter().map(String::as_str));
        words.push(&cli);
        words.extend_from_slice(arguments);
        let told = self.tmux(&words);
        let (pane, pid) = told.trim().split_once(' ').expect("a pane and a process");
        Session { lab: self, home: self.home(home), pane: pane.to_owned(), pid: pid.parse().expect("a number") }
    }

    /// One call of tmux, on the lab's own server.
    pub fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.tmux_command().args(arguments).output().expect("tmux is installed");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The socket of the lab's own server.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("tmux.sock")
    }

    fn tmux_command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.directory.join("user")).env("LANG", "C.UTF-8");
        command.arg("-S").arg(self.socket()).args(["-f", "/dev/null"]).stdin(Stdio::null());
        command
    }

    /// Types a prompt into a pane as a paste, and submits it.
    pub fn say(&self, pane: &str, prompt: &str) {
        let file = self.directory.join("scratch/prompt");
        fs::write(&file, prompt).expect("written");
        self.tmux(&["load-buffer", "-b", "prompt", &file.to_string_lossy()]);
        self.tmux(&["paste-buffer", "-p", "-d", "-b", "prompt", "-t", pane]);
        self.tmux(&["send-keys", "-t", pane, "Enter"]);
    }

    /// Writes a settings file whose hooks and status line report to [`Self::told`], and gives its path. `detached` marks them `async`.
    pub fn write_settings(&self, detached: bool) -> String {
        let log = self.directory.join("hooks.log");
        let command = |name: &str, detached: bool| {
            let line = format!(
                r#"input=$(cat); printf '%s\t%s\t%s\t%s\n' {name} "$CLAUDE_PID" "$CLAUDE_CONFIG_DIR" "$input" >> '{}'"#,
                log.display()
            );
            let mut hook = json!({"type": "command", "command": line});
            if detached {
                hook["async"] = json!(true);
            }
            hook
        };
        let names = ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure", "PostToolUse"];
        let mut hooks: serde_json::Map<String, Value> =
            names.into_iter().map(|name| (name.to_owned(), json!([{"hooks": [command(name, detached)]}]))).collect();
        // Nothing detached outlives the session.
        hooks.insert("SessionEnd".to_owned(), json!([{"hooks": [command("SessionEnd", false)]}]));
        let mut line = command("StatusLine", false);
        line["refreshInterval"] = json!(1);
        let path = self.directory.join("settings-of-the-pool.json");
        fs::write(&path, json!({"hooks": hooks, "statusLine": line}).to_string()).expect("written");
        path.to_string_lossy().into_owned()
    }

    /// What the hooks and the status line were told, oldest first.
    pub fn told(&self) -> Vec<Told> {
        let text = fs::read_to_string(self.directory.join("hooks.log")).unwrap_or_default();
        let parse = |line: &str| {
            let mut parts = line.splitn(4, '\t');
            let (event, pid, home, input) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            Some(Told {
                event: event.to_owned(),
                pid: pid.parse().ok()?,
                home: PathBuf::from(home),
                input: serde_json::from_str(input).ok()?,
            })
        };
        text.lines().filter_map(parse).collect()
    }

    /// Waits for a report of `event` that `wanted` accepts.
    pub fn wait_told(&self, event: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        wait_for(&format!("a report of {event}"), || self.told().into_iter().find(|told| told.event == event && wanted(told)))
    }

    /// The transcript of a conversation, wherever it lies.
    pub fn transcript_path(&self, conversation: &str) -> Option<PathBuf> {
        let folders = fs::read_dir(self.directory.join("shared/projects")).expect("it exists");
        folders.flatten().map(|folder| folder.path().join(format!("{conversation}.jsonl"))).find(|path| path.exists())
    }

    /// The records of a conversation; empty when it has no transcript.
    pub fn transcript(&self, conversation: &str) -> Vec<Value> {
        let text = self.transcript_path(conversation).map(|path| fs::read_to_string(path).expect("readable")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What runs in the lab, by number and name: the processes whose environment lies in it.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let directory = self.directory.to_string_lossy();
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter(|pid| {
                let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                String::from_utf8_lossy(&environment).contains(&*directory)
            })
            .map(|pid: i32| (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()))
            .collect()
    }

    /// Has an account answer with a tool call that takes longer than any test.
    pub fn answer_with_long_tool(&self, account: &str) {
        // The CLI's shell tool refuses a bare `sleep`.
        let command = "python3 -c 'import time; time.sleep(300)'".to_owned();
        self.api.change(account, |account| account.reply = Reply::Tool { command });
    }

    /// Whether that tool runs.
    pub fn has_long_tool(&self) -> bool {
        self.processes().iter().any(|(_, name)| name == "python3")
    }

    /// Checks that nothing has left the lab.
    fn assert_contained(&self) {
        for exchange in self.api.exchanges() {
            let asked = format!("{} {}{}", exchange.method, exchange.host, exchange.path);
            assert!(!exchange.foreign_token, "a request carried a token that is not ours: {asked}");
            assert!(exchange.host.is_empty() || PLAYED.contains(&exchange.host.as_str()), "a request was meant for another host: {asked}");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A lab in which no session was started has no server.
        let _ = self.tmux_command().arg("kill-server").output();
        for (pid, _) in self.processes() {
            // It may have ended with its terminal.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !thread::panicking() {
            self.assert_contained();
        }
    }
}

/// One report of a hook or of the status line.
#[derive(Debug, Clone)]
pub struct Told {
    pub event: String,
    /// `CLAUDE_PID` in its environment.
    pub pid: i32,
    /// `CLAUDE_CONFIG_DIR` in its environment.
    pub home: PathBuf,
    /// Its standard input.
    pub input: Value,
}

/// A running CLI in a pane.
pub struct Session<'lab> {
    lab: &'lab Lab,
    home: PathBuf,
    pane: String,
    /// Its process, which is the pane's own.
    pub pid: i32,
}

impl Session<'_> {
    /// The register entry, if there is one.
    pub fn entry(&self) -> Option<Value> {
        let text = fs::read(self.home.join("sessions").join(format!("{}.json", self.pid))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Waits until the register says so.
    pub fn wait_status(&self, status: &str) -> Value {
        let found = found_within(DEADLINE, || self.entry().filter(|entry| entry["status"] == status));
        found.unwrap_or_else(|| panic!("never {status}; the screen shows:\n{}", self.screen()))
    }

    /// Types a prompt as a paste, and submits it.
    pub fn say(&self, prompt: &str) {
        self.lab.say(&self.pane, prompt);
    }

    /// Presses a key, as tmux names it.
    pub fn press(&self, key: &str) {
        self.lab.tmux(&["send-keys", "-t", &self.pane, key]);
    }

    /// What the pane shows.
    pub fn screen(&self) -> String {
        self.lab.tmux(&["capture-pane", "-p", "-t", &self.pane])
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("it lives");
    }

    /// Whether the process lives. A zombie does not: tmux may miss the end of its child (facts/tmux.md, finding 4).
    pub fn is_alive(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
    }

    /// Ends it as the controller does, and gives how long that took.
    pub fn stop(&self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        wait_until("the end of the CLI", || !self.is_alive());
        begun.elapsed()
    }
}

/// Addresses other than loopback that a process is connected to.
pub fn foreign_connections(pid: i32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets: Vec<String> = descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    // proc_pid_net(5): the third field is the remote address in hexadecimal, the tenth the socket's inode.
    rows.filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (remote, inode) = (fields.get(2)?, fields.get(9)?);
        let address = remote.split(':').next()?;
        let local = address.ends_with("0100007F") || address.ends_with("01000000") || address.chars().all(|digit| digit == '0');
        (sockets.iter().any(|socket| socket == inode) && !local).then(|| (*remote).to_owned())
    })
    .collect()
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !thread::panicking() && self.is_alive() {
            let elsewhere = foreign_connections(self.pid);
            assert!(elsewhere.is_empty(), "the CLI is connected to {elsewhere:?}");
        }
    }
}
