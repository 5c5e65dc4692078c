//! A pool of its own: two accounts with stand-in logins, a private tmux server, and the real program on it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use claude_failover::{
    engine::Engine,
    host::{
        Host as _,
        real::{RealHost, Station},
    },
    spec::{LoadPlace, SourceText, Spec, load, render_effective},
    store::{AcceptedSpec, Lock, StateDir, Store},
};
use rustix::process::Signal;

use crate::{Fallible, agent::Starts, raw, waiting::found_within};

/// The program that is measured.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-failover");
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Which accounts there are.
pub const ACCOUNTS: [&str; 2] = ["primary", "backup"];

/// Who plays the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// [`crate::agent`].
    Sleeper,
    /// The stand-in, which behaves as the CLI does; it burns so many milliseconds of processor time at its start.
    StandIn(u64),
}

/// A pool in a directory of its own. Nothing of it outlives this value.
pub struct Pool {
    pub size: usize,
    agent: Agent,
    has_project: bool,
    directory: tempfile::TempDir,
    daemon: Option<Child>,
    /// What the sleepers say.
    pub starts: Starts,
    generation: u32,
}

impl Pool {
    /// Writes the spec and the homes. Nothing runs yet.
    pub fn new(size: usize, agent: Agent) -> Fallible<Self> {
        Self::made(size, agent, false)
    }

    /// The same, with a registered project whose tasks all sessions take.
    pub fn with_project(size: usize, agent: Agent) -> Fallible<Self> {
        Self::made(size, agent, true)
    }

    fn made(size: usize, agent: Agent, has_project: bool) -> Fallible<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let root = directory.path();
        fs::DirBuilder::new().mode(0o700).create(root.join("run"))?;
        for name in ["work", "project", "spec", "link", "log"] {
            fs::create_dir(root.join(name))?;
        }
        let now = jiff::Timestamp::now();
        let mut readings = serde_json::Map::new();
        for account in ACCOUNTS {
            let home = root.join(account);
            fs::DirBuilder::new().mode(0o700).create(&home)?;
            let ends = now.as_millisecond() + 30 * 86_400_000;
            let login = serde_json::json!({ "claudeAiOauth": {
                "accessToken": "none", "refreshToken": "none", "expiresAt": ends, "refreshTokenExpiresAt": ends } });
            fs::write(home.join(".credentials.json"), login.to_string())?;
            fs::set_permissions(home.join(".credentials.json"), fs::Permissions::from_mode(0o600))?;
            if let Agent::StandIn(cpu) = agent {
                fs::write(home.join("stand-in.json"), serde_json::json!({ "cpuMillis": cpu }).to_string())?;
            }
            let window = |days: i64| serde_json::json!({ "usedPercent": 10, "resetsAt": now.as_second() + days * 86_400 });
            readings.insert(
                account.to_owned(),
                serde_json::json!({ "measuredAt": now.as_second(), "fiveHour": window(0), "weekly": window(5) }),
            );
            readings[account]["fiveHour"]["resetsAt"] = (now.as_second() + 4 * 3600).into();
        }
        fs::write(root.join("quota.json"), serde_json::Value::from(readings).to_string())?;
        let starts = Starts::make(&root.join("log/starts"))?;
        let pool = Self { size, agent, has_project, directory, daemon: None, starts, generation: 0 };
        pool.write_spec()?;
        Ok(pool)
    }

    fn write_spec(&self) -> Fallible<()> {
        let root = self.root().display();
        let command = match self.agent {
            Agent::Sleeper => format!("[{}, agent, {root}/log/starts]", std::env::current_exe()?.display()),
            Agent::StandIn(_) => format!("[{PROGRAM:?}, stand-in]"),
        };
        let (size, last) = (self.size, self.size - 1);
        // Only so that the text differs: a new generation forgets exits, and with them the back-off that would be measured otherwise.
        let drain = 60 + self.generation;
        let has_project = self.has_project;
        let projects = if has_project { format!("[{{ path: {root}/project }}]") } else { "[]".to_owned() };
        let text = format!(
            "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: {{ name: bench }}\nspec:\n  accounts:\n    - {{ name: primary, home: \
             {root}/primary }}\n    - {{ name: backup, home: {root}/backup }}\n  activeLink: {root}/link/active\n  shared: {{ root: {root}/shared \
             }}\n  quota: {{ sources: [file], file: {root}/quota.json }}\n  swap: {{ canary: 1, batch: {size}, drain: {drain}s, failback: never \
             }}\n  agent: {{ command: {command} }}\n  sessions:\n    - {{ names: \"s{{0..{last}}}\", workdir: {root}/work, dispatch: {has_project} }}\n  projects: {projects}\n  tmux: {{ \
             socket: {root}/tmux.sock, historyLimit: 100 }}\n"
        );
        Ok(fs::write(self.root().join("spec/pool.yaml"), text)?)
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The tmux server's socket.
    pub fn socket(&self) -> PathBuf {
        self.root().join("tmux.sock")
    }

    /// The directory of the program's own sockets.
    pub fn runtime(&self) -> PathBuf {
        self.root().join("run/claude-failover")
    }

    /// The queue of the registered project.
    pub fn queue(&self) -> PathBuf {
        self.root().join("project/.agent-queue")
    }

    /// How many sessions have a checkpoint.
    pub fn checkpointed(&self) -> usize {
        let of = |session: usize| fs::read_dir(self.root().join(format!("state/checkpoints/s{session}")));
        (0..self.size).filter(|session| of(*session).is_ok_and(|found| found.flatten().any(|entry| is_checkpoint(&entry)))).count()
    }

    /// What the accounts share.
    pub fn shared(&self) -> PathBuf {
        self.root().join("shared")
    }

    /// The home of an account.
    pub fn home(&self, account: &str) -> PathBuf {
        self.root().join(account)
    }

    /// A call of the program on this pool.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root())
            .env("XDG_RUNTIME_DIR", self.root().join("run"))
            .arg("--spec")
            .arg(self.root().join("spec/pool.yaml"))
            .arg("--state-dir")
            .arg(self.root().join("state"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What a call prints; its exit code is 0, or 5 for a pool that is degraded.
    pub fn output(&self, arguments: &[&str]) -> Fallible<String> {
        let output = self.program(arguments).output()?;
        match output.status.code() {
            Some(0 | 5) => Ok(String::from_utf8(output.stdout)?),
            _ => Err(format!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// Starts the daemon and waits until every session runs.
    pub fn start(&mut self) -> Fallible<()> {
        self.launch()?;
        self.settle()
    }

    /// Starts the daemon.
    pub fn launch(&mut self) -> Fallible<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root().join("log/daemon.log"))?;
        let mut command = self.program(&["run"]);
        if let Ok(more) = std::env::var("BENCH_VERBOSE") {
            command.arg(more);
        }
        self.daemon = Some(command.stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// Waits until the daemon has nothing left to do.
    pub fn settle(&self) -> Fallible<()> {
        let converged =
            || self.program(&["reconcile"]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|ended| ended.success());
        if found_within(PATIENCE, || converged().then_some(())).is_none() {
            let log = fs::read_to_string(self.root().join("log/daemon.log"))?;
            return Err(format!("the daemon does not converge:\n{log}").into());
        }
        Ok(())
    }

    /// Puts another generation of the same pool in force, which forgets what ended before.
    pub fn next_generation(&mut self) -> Fallible<()> {
        self.generation += 1;
        self.write_spec()?;
        self.settle()?;
        self.output(&["apply", "--yes"]).map(drop)
    }

    /// The daemon's process.
    pub fn daemon(&self) -> Fallible<i32> {
        Ok(i32::try_from(self.daemon.as_ref().ok_or("no daemon runs")?.id())?)
    }

    /// Ends the daemon; the sessions run on.
    pub fn stop(&mut self) -> Fallible<()> {
        self.end(Signal::TERM)
    }

    /// Ends the daemon where it stands.
    pub fn kill(&mut self) -> Fallible<()> {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> Fallible<()> {
        if let Some(mut daemon) = self.daemon.take() {
            raw::signal(&[raw::open(i32::try_from(daemon.id())?)?], signal)?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// A connection to the tmux server.
    pub fn control(&self) -> Fallible<raw::Control> {
        raw::Control::attach(&self.socket())
    }

    /// The spec, read as the program reads it.
    pub fn spec(&self) -> Fallible<(Spec, AcceptedSpec)> {
        let name = self.root().join("spec/pool.yaml");
        let text = SourceText { name: name.display().to_string(), text: fs::read_to_string(&name)? };
        let place = LoadPlace { home: self.root().to_owned(), base: self.root().to_owned() };
        let loaded = load(std::slice::from_ref(&text), &place).map_err(|rejected| rejected.diagnostics.render(false))?;
        let accepted = AcceptedSpec {
            digest: loaded.spec.digest(),
            canonical: render_effective(&loaded, false),
            sources: BTreeMap::from([(name, text.text)]),
            revision: None,
        };
        Ok((loaded.spec, accepted))
    }

    /// The engine of the program in this process, on this pool's own state. No daemon may run.
    pub async fn engine(&self) -> Fallible<Engine<RealHost>> {
        let (spec, accepted) = self.spec()?;
        let station = Station {
            program: PROGRAM.into(),
            runtime: self.root().join("run"),
            state: self.root().join("state"),
            environment: std::env::vars_os().collect(),
        };
        let store = Store::open(Lock::acquire(StateDir::open(&station.state)?)?)?;
        let mut engine = Engine::start(RealHost::new(station)?, store, spec, &accepted)?;
        let host = engine.view_mut().host_mut();
        host.listen();
        // The connection is made when somebody first waits for what it says.
        let until = host.now().mono.plus(Duration::from_millis(200));
        host.wake(until).await;
        Ok(engine)
    }

    /// Ends the tmux server, and with it the agents, and waits for its end.
    pub fn end_server(&self) -> Fallible<()> {
        let Ok(mut control) = self.control() else { return Ok(()) };
        let server = raw::open(control.server()?)?;
        let mut agents = Vec::new();
        for (_, pid) in control.panes()? {
            agents.extend(raw::open(pid).ok());
        }
        raw::signal(&agents, Signal::KILL).ok();
        control.send(&["kill-server".to_owned()])?;
        raw::wait(vec![server])
    }
}

/// Whether it is whole; one that is being written has another name.
fn is_checkpoint(entry: &fs::DirEntry) -> bool {
    entry.path().extension().is_some_and(|ending| ending == "json")
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.stop();
        let _ = self.end_server();
    }
}
