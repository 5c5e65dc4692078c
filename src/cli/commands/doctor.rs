//! `doctor`: what of this host could keep the pool from working, before it does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use super::block_on;
use crate::{
    cli::{CliError, Context, Exit, args::OutputArgs, render},
    engine::{EngineError, recall},
    host::{
        Host as _, Look,
        agent::{launch, leftover, login},
        links, process,
        real::{RealHost, Station},
        tmux::TmuxError,
    },
    model::{PoolId, SessionName, error_line},
    observed::{LoginView, Snapshot},
    plan::{Memory, RESERVED_DESCRIPTORS},
    spec::Spec,
    store::{Reader, StateDir, StoreError},
};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not for long or not well.
    Warning,
    /// It does not work.
    Error,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, and what to do.
    pub message: String,
}

/// What one idle agent needs (facts/claude-code.md, section 1).
const AGENT_MEMORY_MIB: u64 = 300;
/// The oldest version that carries a conversation over to another organisation without losing it (section 6).
const LEAST_CLI: (u32, u32, u32) = (2, 1, 234);
/// Logins that end within this time are worth a word.
const LOGIN_WARNING: Duration = Duration::from_hours(7 * 24);

/// Exit code 1 when something does not work.
pub fn run(context: &Context, args: OutputArgs) -> Result<Exit, CliError> {
    let found = context.spec()?;
    let spec = &found.loaded.spec;
    let station = context.station(&spec.pool)?;
    let mut findings = Findings::default();
    check_files(spec, &station, &mut findings);
    check_state(&station, &mut findings);
    Machine::look().judge(spec, &mut findings);
    block_on(async {
        check_tmux(spec, &station, &mut findings).await;
        check_agent(context, spec, &mut findings).await;
    })?;
    let worst = findings.0.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    context.out.show(args.output, &findings.0, |_| table(&findings.0))?;
    Ok(if worst == Verdict::Error { Exit::Error } else { Exit::Ok })
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: impl Into<String>, verdict: Verdict, message: impl Into<String>) {
        self.0.push(Finding { check: check.into(), verdict, message: message.into() });
    }
}

fn table(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let (style, word) = match finding.verdict {
            Verdict::Ok => (render::style::GOOD, "ok"),
            Verdict::Warning => (render::style::WARN, "warning"),
            Verdict::Error => (render::style::BAD, "error"),
        };
        vec![render::paint(style, word), finding.check.clone(), render::escape(&finding.message)]
    });
    render::table(&["", "CHECK", "FOUND"], rows)
}

/// Whether the pool's memory can be read: without it nothing is done.
fn check_state(station: &Station, findings: &mut Findings) {
    match Reader::attach(&station.state).map_err(EngineError::store("open the memory")).and_then(|reader| recall(&reader)) {
        Ok(_) => findings.add("state", Verdict::Ok, format!("{} reads", station.state.display())),
        Err(EngineError::Store { source: StoreError::Missing { .. }, .. }) => {
            findings.add("state", Verdict::Ok, "none yet; `apply` or `run` makes it");
        }
        Err(error) => findings.add("state", Verdict::Error, error_line(&error)),
    }
}

async fn check_tmux(spec: &Spec, station: &Station, findings: &mut Findings) {
    let mut host = match RealHost::new(station.clone()) {
        Ok(host) => host,
        Err(error) => return findings.add("tmux", Verdict::Error, error_line(&error)),
    };
    crate::host::Host::configure(&mut host, spec, crate::model::PoolId(uuid::Uuid::nil()));
    let Some(tmux) = host.tmux() else {
        return findings.add("tmux", Verdict::Error, "the pool's server cannot be set up; see above");
    };
    match program_version(Path::new("tmux"), &["-V".to_owned()]).await {
        Some(line) => {
            let version = line.trim_start_matches("tmux ");
            let (verdict, note) = judge_tmux(version);
            findings.add("tmux version", verdict, format!("{version}{note}"));
        }
        None => return findings.add("tmux version", Verdict::Error, "tmux cannot be run; install it (Debian: apt-get install tmux)"),
    }
    if let Ok(Some(orphan)) = tmux.orphan() {
        let (client, owner) = (orphan.client.pid, orphan.owner.pid);
        let message = format!(
            "process {client} was left behind by process {owner} of ours, which was killed; the tmux server cannot end before it does; the next \
             daemon ends it, and so does `kill {client}`"
        );
        findings.add("tmux control client", Verdict::Warning, message);
    }
    check_leftovers(spec, &mut host, findings).await;
    let Some(tmux) = host.tmux() else { return };
    match tmux.check().await {
        Err(TmuxError::NoServer { .. }) => findings.add("tmux server", Verdict::Ok, "none runs yet; it is started with the first session"),
        Ok(check) => {
            if check.ends_with_us() {
                let message = "it lives in the control group of this process: a restart of that service would end the sessions; start it with `claude-failover service install`";
                findings.add("tmux server", Verdict::Error, message);
            } else {
                findings.add(
                    "tmux server",
                    Verdict::Ok,
                    format!("process {} in {}", check.pid, check.cgroup.as_deref().unwrap_or("no control group")),
                );
            }
            if let Some(limit) = check.descriptor_limit {
                let room = limit.saturating_sub(RESERVED_DESCRIPTORS);
                let verdict = if (spec.sessions.len() as u64) <= room { Verdict::Ok } else { Verdict::Error };
                findings.add("tmux descriptors", verdict, format!("room for {room} panes, {} sessions declared", spec.sessions.len()));
            }
        }
        Err(error) => findings.add("tmux server", Verdict::Error, error_line(&error)),
    }
}

/// What agents left behind is named, and nobody ends it but a person: it may have been left on purpose.
async fn check_leftovers(spec: &Spec, host: &mut RealHost, findings: &mut Findings) {
    let mut seen = Snapshot::default();
    host.observe(&Memory::new(PoolId(uuid::Uuid::nil())), &Look { tmux: true, ..Look::default() }, &mut seen).await;
    // While the panes are not known, every agent would look as if it had been left behind.
    let Some(tmux) = seen.tmux.value() else { return };
    let running = tmux.panes.iter().filter(|(_, pane)| pane.dead.is_none());
    let agents = running.filter_map(|(name, pane)| Some((SessionName::new(name.as_str()).ok()?, process::identity(pane.pid?).ok()??)));
    let homes = spec.accounts.iter().map(|account| account.home.clone()).collect();
    for leftover in leftover::leftovers(&homes, &agents.collect()).unwrap_or_default() {
        let message = format!(
            "process {pid} ({program}) was started by an agent of session {session} that has ended; look at it, and end it with `kill {pid}` if it \
             was not left on purpose",
            pid = leftover.process.pid,
            program = leftover.program,
            session = leftover.session,
        );
        findings.add("left behind", Verdict::Warning, message);
    }
}

/// Below 3.2 there is no `new-session -e`; below 3.6 deaths are lost and running out of descriptors is fatal (facts/tmux.md, section 10).
fn judge_tmux(version: &str) -> (Verdict, &'static str) {
    let number: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts = number.split('.').filter_map(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), minor) if (major, minor.unwrap_or(0)) < (3, 2) => (Verdict::Error, ": too old, 3.2a is the least"),
        (Some(major), minor) if (major, minor.unwrap_or(0)) < (3, 6) => {
            (Verdict::Warning, ": works; 3.6 or newer loses no exit codes and survives running out of descriptors")
        }
        (Some(_), _) => (Verdict::Ok, ""),
        (None, _) => (Verdict::Warning, ": the version is not understood"),
    }
}

async fn check_agent(context: &Context, spec: &Spec, findings: &mut Findings) {
    let path = context.environment.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
    let program = match launch::resolve_program(&spec.agent.command, &path) {
        Ok(program) => program,
        Err(error) => return findings.add("agent", Verdict::Error, error_line(&error)),
    };
    let arguments: Vec<_> = spec.agent.command.iter().skip(1).cloned().chain(["--version".to_owned()]).collect();
    match program_version(&program, &arguments).await {
        Some(line) => {
            let version = line.split_whitespace().next().unwrap_or_default().to_owned();
            let old = parse_version(&version).is_some_and(|version| version < LEAST_CLI);
            let verdict = if old { Verdict::Warning } else { Verdict::Ok };
            let note = if old { "; resuming under another account is safe from 2.1.234 on" } else { "" };
            findings.add("agent", verdict, format!("{} {version}{note}", program.display()));
        }
        None => findings.add("agent", Verdict::Warning, format!("{} did not say its version", program.display())),
    }
    for account in &spec.accounts {
        let check = format!("login of {}", account.name);
        let environment = launch::probe_environment(context.environment.clone(), &spec.agent.environment, &account.home);
        let asked = if spec.agent.command.len() == 1 {
            login::ask(&program, &account.home, &environment).await
        } else {
            login::read(&account.home, Timestamp::now())
        };
        match asked {
            Ok(LoginView::Valid { expires_at }) => {
                let soon = expires_at
                    .filter(|at| at.duration_since(Timestamp::now()) < jiff::SignedDuration::try_from(LOGIN_WARNING).unwrap_or_default());
                let verdict = if soon.is_some() { Verdict::Warning } else { Verdict::Ok };
                findings.add(check, verdict, expires_at.map_or_else(|| "valid".to_owned(), |at| format!("valid until {at:.0}")));
            }
            Ok(LoginView::Missing) => {
                findings.add(check, Verdict::Error, format!("none; run `{}`", account.login_command()));
            }
            Ok(LoginView::Dead { reason }) => {
                findings.add(check, Verdict::Error, format!("{reason}; run `{}`", account.login_command()));
            }
            Ok(LoginView::Unknown) => findings.add(check, Verdict::Warning, "not known"),
            Err(error) => findings.add(check, Verdict::Warning, error_line(&error)),
        }
    }
}

/// The first line that a program prints.
async fn program_version(program: &Path, arguments: &[String]) -> Option<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(10), command.output()).await.ok()?.ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(ToOwned::to_owned)
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

fn check_files(spec: &Spec, station: &Station, findings: &mut Findings) {
    match StateDir::existing(&station.state) {
        Ok(_) => findings.add("state directory", Verdict::Ok, station.state.display().to_string()),
        Err(crate::store::StoreError::Missing { .. }) => {
            findings.add("state directory", Verdict::Ok, format!("{} is made at the first start", station.state.display()));
        }
        Err(error) => findings.add("state directory", Verdict::Error, error_line(&error)),
    }
    for account in &spec.accounts {
        let check = format!("home of {}", account.name);
        match links::observe_home(&account.home) {
            Ok(home) if !home.exists => findings.add(
                check,
                Verdict::Error,
                format!("{} does not exist; `claude-failover init` makes homes", account.home.display()),
            ),
            Ok(home) => match home.unsafe_mode {
                Some(problem) => findings.add(check, Verdict::Error, problem),
                None => findings.add(check, Verdict::Ok, account.home.display().to_string()),
            },
            Err(error) => findings.add(check, Verdict::Error, error_line(&error)),
        }
    }
    let missing: Vec<_> = spec.sessions.values().map(|session| &session.workdir).filter(|workdir| !workdir.is_dir()).collect();
    for workdir in missing.iter().collect::<std::collections::BTreeSet<_>>() {
        findings.add("start directory", Verdict::Error, format!("{} does not exist", workdir.display()));
    }
}

/// What is known of the machine; `None` where it does not say.
#[derive(Debug, Clone, Default)]
struct Machine {
    inotify_watches: Option<u64>,
    inotify_instances: Option<u64>,
    pseudo_terminals: Option<u64>,
    available_mib: Option<u64>,
    now: Timestamp,
    /// When this program was written to disk.
    installed: Option<Timestamp>,
}

impl Machine {
    fn look() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let written = PathBuf::from("/proc/self/exe").metadata().and_then(|metadata| metadata.modified()).ok();
        Self {
            inotify_watches: number("/proc/sys/fs/inotify/max_user_watches"),
            inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
            pseudo_terminals: number("/proc/sys/kernel/pty/max"),
            available_mib: memory_mib(),
            now: Timestamp::now(),
            installed: written.and_then(|written| Timestamp::try_from(written).ok()),
        }
    }

    fn judge(&self, spec: &Spec, findings: &mut Findings) {
        let sessions = spec.sessions.len() as u64;
        // Each home, its register, each queue's directories, and some for spec, readings, shared root and active link.
        let watches = 32 + 4 * spec.accounts.len() as u64 + 8 * spec.projects.len() as u64;
        judge_inotify("inotify watches", self.inotify_watches, watches, findings);
        // One for the spec, one for everything else; other programs of the user have some as well.
        judge_inotify("inotify instances", self.inotify_instances, 16, findings);
        match self.available_mib {
            Some(available) => {
                let needs = sessions * AGENT_MEMORY_MIB;
                let verdict = if needs > available { Verdict::Warning } else { Verdict::Ok };
                findings.add("memory", verdict, format!("{available} MiB available; {sessions} agents need about {needs} MiB"));
            }
            None => findings.add("memory", Verdict::Warning, "cannot be read"),
        }
        if let Some(ptys) = self.pseudo_terminals {
            let verdict = if sessions + 16 > ptys { Verdict::Error } else { Verdict::Ok };
            findings.add("pseudo-terminals", verdict, format!("{ptys} allowed, {sessions} declared"));
        }
        // A clock that is off makes resets come early or late; what can be told without asking anybody is whether it is nonsense.
        let behind = self.installed.is_some_and(|installed| self.now < installed);
        let verdict = if behind { Verdict::Error } else { Verdict::Ok };
        let note = if behind { ", which is before this program was installed; set the clock" } else { "" };
        findings.add("clock", verdict, format!("{:.0}{note}", self.now));
    }
}

fn judge_inotify(check: &'static str, limit: Option<u64>, needed: u64, findings: &mut Findings) {
    match limit {
        Some(limit) if limit < needed => {
            let message = format!(
                "{limit} are allowed, {needed} are needed; changes are then found at the resync. Raise the limit: `sysctl fs.inotify.max_user_{}=…`",
                check.trim_start_matches("inotify ")
            );
            findings.add(check, Verdict::Warning, message);
        }
        Some(limit) => findings.add(check, Verdict::Ok, format!("{limit} allowed")),
        None => findings.add(check, Verdict::Warning, "the limit cannot be read"),
    }
}

fn memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[cfg(test)]
mod tests;
