//! A pool in a laboratory: our own program, from its binary, over the real CLI.
//!
//! # Guarantees
//! The daemon and every command of ours gets an environment of its own, like all else in the lab: its `HOME`, its state and its sockets lie in
//! the lab, and its way out is the proxy that connects to nowhere. When a pool ends it is checked that nothing of it was connected to
//! anything but loopback and that no agent has a home outside of the lab. The daemon ends with it, also after a failed test.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, foreign_connections},
    waiting::found_within,
};

/// How long a pool may take for anything; a whole swap has several starts of the CLI in it, on a machine that may be busy.
const DEADLINE: Duration = Duration::from_mins(3);

/// A pool with its daemon.
pub struct Pool<'lab> {
    lab: &'lab Lab,
    daemon: Child,
}

impl<'lab> Pool<'lab> {
    /// Starts the daemon of a pool over the accounts `a` and `b` with these sessions. `change` may change the spec.
    pub fn start(lab: &'lab Lab, sessions: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        for name in ["run", "state"] {
            fs::create_dir_all(lab.directory().join(name)).expect("made");
            fs::set_permissions(lab.directory().join(name), Permissions::from_mode(0o700)).expect("ours");
        }
        let sessions: Vec<Value> = sessions.iter().map(|name| json!({"names": name, "workdir": lab.workdir()})).collect();
        let mut spec = json!({
            "accounts": [{"name": "a", "home": lab.home("a")}, {"name": "b", "home": lab.home("b")}],
            "shared": {"root": lab.directory().join("shared")},
            "activeLink": lab.directory().join("active"),
            // The played usage has 91 % of one model's week.
            "thresholds": {"fiveHour": 85, "weekly": 98, "headroom": 5},
            "quota": {"sources": ["statusline", "cli"]},
            "swap": {"drain": "1s", "hardDrain": "1s", "minDwell": "0s"},
            "agent": {"command": [lab.cli()], "permissionMode": "bypassPermissions", "environment": lab.agent_environment()},
            "sessions": sessions,
            "tmux": {"socket": lab.socket()},
        });
        change(&mut spec);
        // JSON is YAML.
        let document = json!({"apiVersion": "claude-failover/v1", "kind": "Pool", "metadata": {"name": "lab"}, "spec": spec});
        fs::write(lab.directory().join("pool.yaml"), document.to_string()).expect("written");
        let log = File::create(lab.directory().join("daemon.log")).expect("made");
        let daemon = command(lab).args(["-v", "run"]).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        Self { lab, daemon }
    }

    /// Runs a command of ours to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.lab).args(arguments).output().expect("it runs")
    }

    /// Runs one that prints JSON.
    fn ask(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(&[arguments, &["--output", "json"]].concat()).stdout).unwrap_or_default()
    }

    /// The pool's status; null while there is none.
    pub fn status(&self) -> Value {
        self.ask(&["status"])
    }

    /// The messages of the events with this reason, oldest first.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let events = self.ask(&["events", "-n", "1000"]);
        let events =
            events.as_array().into_iter().flatten().map(|stored| if stored["event"].is_object() { &stored["event"] } else { stored });
        events.filter(|event| event["reason"] == reason).map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What `doctor` finds, by check: the verdict and the message.
    pub fn doctor(&self) -> BTreeMap<String, (String, String)> {
        let word = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let findings = self.ask(&["doctor"]);
        let findings = findings.as_array().into_iter().flatten();
        findings.map(|finding| (word(finding, "check"), (word(finding, "verdict"), word(finding, "message")))).collect()
    }

    /// Waits until the status is as wanted; when it never is, everything that is known is shown.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(DEADLINE, what, wanted)
    }

    /// The same with a patience of one's own.
    pub fn wait_within(&self, patience: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = || Some(self.status()).filter(|status| wanted(status));
        found_within(patience, look).unwrap_or_else(|| panic!("waited in vain for {what}\n{}", self.account()))
    }

    /// Waits until `look` finds something; when it never does, everything that is known is shown.
    pub fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        found_within(DEADLINE, look).unwrap_or_else(|| panic!("waited in vain for {what}\n{}", self.account()))
    }

    /// Waits until the pool is ready and its sessions do what is said.
    pub fn wait_ready(&self, account: &str, activities: &[(&str, &str)]) -> Value {
        self.wait(&format!("a ready pool on {account} with {activities:?}"), |status| {
            let ready = truth(&status["conditions"], "Ready") == "True" && status["swap"].is_null() && status["active"] == account;
            ready && activities.iter().all(|(name, activity)| of(status, "sessions", name)["activity"] == *activity)
        })
    }

    /// Types a prompt into a session and submits it.
    pub fn say(&self, session: &str, prompt: &str) {
        self.lab.say(&format!("={session}:"), prompt);
    }

    /// What a session's pane shows.
    pub fn screen(&self, session: &str) -> String {
        self.lab.tmux(&["capture-pane", "-p", "-t", &format!("={session}:")])
    }

    /// Waits until a session's pane shows a text.
    pub fn wait_screen(&self, session: &str, text: &str) {
        self.wait_for(&format!("{text:?} in {session}"), || self.screen(session).contains(text).then_some(()));
    }

    /// Ends the daemon as systemd does. Its sessions run on.
    pub fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.daemon.id()).expect("a number"));
        kill(pid, Signal::SIGTERM).expect("it lives");
        let ended = found_within(DEADLINE, || self.daemon.try_wait().expect("ours"));
        assert!(ended.is_some_and(|ended| ended.success()), "the daemon's end: {ended:?}\n{}", self.account());
    }

    /// All that is known, for a failed test.
    fn account(&self) -> String {
        let text = |arguments: &[&str]| String::from_utf8_lossy(&self.run(arguments).stdout).into_owned();
        let log = fs::read_to_string(self.lab.directory().join("daemon.log")).unwrap_or_default();
        let mut account = format!("{}\n{}\n{log}", text(&["status", "-o", "wide"]), text(&["events", "-n", "100"]));
        for session in of_pool(&self.status(), "sessions").map(|row| row["name"].as_str().unwrap_or_default().to_owned()) {
            account.extend(["--- ", &session, "\n", &self.screen(&session)]);
        }
        account
    }

    /// Checks that nothing of the pool has left the lab.
    fn assert_contained(&self) {
        for (pid, name) in self.lab.processes() {
            let elsewhere = foreign_connections(pid);
            assert!(elsewhere.is_empty(), "{name} ({pid}) is connected to {elsewhere:?}");
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            for variable in environment.split(|byte| *byte == 0).map(String::from_utf8_lossy) {
                let Some((name, value)) = variable.split_once('=') else { continue };
                let leads_out = ["HOME", "CLAUDE_CONFIG_DIR"].contains(&name) && !Path::new(value).starts_with(self.lab.directory());
                assert!(!leads_out, "process {pid} has {name}={value}, outside of the lab");
            }
        }
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        // While the daemon lives. Should the check fail, the lab ends the daemon with all else.
        if !thread::panicking() {
            self.assert_contained();
        }
        // It may have ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Our program in the lab.
fn command(lab: &Lab) -> Command {
    let inside = |name: &str| -> PathBuf { lab.directory().join(name) };
    let mut environment: BTreeMap<String, String> = lab.agent_environment();
    for (name, directory) in
        [("HOME", "user"), ("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "user/.config")]
    {
        environment.insert(name.to_owned(), inside(directory).to_string_lossy().into_owned());
    }
    // What an agent needs comes from the spec, and only from there.
    environment.retain(|name, _| {
        !["ANTHROPIC_BASE_URL", "NODE_EXTRA_CA_CERTS", "IS_SANDBOX"].contains(&name.as_str()) && !name.starts_with("CLAUDE_CODE_")
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-failover"));
    command.arg("--spec").arg(inside("pool.yaml")).env_clear().envs(environment).current_dir(inside("user")).stdin(Stdio::null());
    command
}

/// The rows of a kind of objects in a status.
pub fn of_pool<'a>(status: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    status[kind].as_array().into_iter().flatten()
}

/// The row of one object; null when there is none.
pub fn of<'a>(status: &'a Value, kind: &str, name: &str) -> &'a Value {
    of_pool(status, kind).find(|row| row["name"] == name).unwrap_or(&Value::Null)
}

/// The status of a condition; empty when it is not there.
pub fn truth<'a>(conditions: &'a Value, kind: &str) -> &'a str {
    word_of(conditions, kind, "status")
}

/// The reason of a condition; empty when it is not there.
pub fn reason<'a>(conditions: &'a Value, kind: &str) -> &'a str {
    word_of(conditions, kind, "reason")
}

fn word_of<'a>(conditions: &'a Value, kind: &str, field: &str) -> &'a str {
    let condition = conditions.as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
    condition.and_then(|condition| condition[field].as_str()).unwrap_or_default()
}

/// A line for whoever watches the test with `--nocapture`.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
