//! Hooks and the status line, as the CLI's settings name them (facts/claude-code.md, section 4).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Error, signals::Signals};

/// How long a hook that is waited for may take, unless it says so itself.
const HOOK_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the hooks at the end may take together.
pub(super) const END_TIMEOUT: Duration = Duration::from_millis(1500);

/// The part of a settings file that matters here; the rest is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Settings {
    hooks: BTreeMap<String, Vec<Matcher>>,
    status_line: Option<StatusLine>,
}

#[derive(Debug, Deserialize)]
struct Matcher {
    /// Alternatives with `|` between them; empty, `*` or absent matches everything.
    #[serde(default)]
    matcher: String,
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    command: String,
    /// Whether nothing waits for it.
    #[serde(default, rename = "async")]
    detached: bool,
    /// Seconds.
    timeout: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusLine {
    command: String,
    /// Seconds; absent means that only events refresh it.
    refresh_interval: Option<u64>,
}

impl Settings {
    /// Reads a settings file; an absent one is empty.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Malformed { path: path.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Io { what: format!("read {}", path.display()), source }),
        }
    }

    /// What `--settings` names: a file that must be there, or the JSON itself.
    pub(super) fn given(argument: &str) -> Result<Self, Error> {
        let path = PathBuf::from(argument);
        if argument.trim_start().starts_with('{') {
            serde_json::from_str(argument).map_err(|source| Error::Malformed { path, source })
        } else if path.is_file() {
            Self::read(&path)
        } else {
            Err(Error::NoSettings(path))
        }
    }

    /// Lays `over` on top: hooks are added, a status line is replaced.
    pub(super) fn merge(mut self, over: Self) -> Self {
        for (event, matchers) in over.hooks {
            self.hooks.entry(event).or_default().extend(matchers);
        }
        Self { hooks: self.hooks, status_line: over.status_line.or(self.status_line) }
    }

    /// How many hooks there are for an event.
    pub(super) fn count(&self, event: &str) -> usize {
        self.hooks.get(event).map_or(0, |matchers| matchers.iter().map(|matcher| matcher.hooks.len()).sum())
    }

    /// How often the status line is refreshed.
    pub(super) fn refresh_interval(&self) -> Option<Duration> {
        self.status_line.as_ref()?.refresh_interval.map(|seconds| Duration::from_secs(seconds.max(1)))
    }
}

/// Starts hooks and the status line, and keeps track of what it has started.
pub(super) struct Runner {
    settings: Settings,
    workdir: PathBuf,
    /// On top of the inherited variables.
    environment: Vec<(&'static str, String)>,
    running: Vec<Child>,
    /// A new call of the status line ends the one before.
    status_line: Option<Child>,
}

impl Runner {
    pub(super) fn new(settings: Settings, workdir: PathBuf, conversation: &str) -> Self {
        let environment = vec![
            ("AI_AGENT", "claude-failover_stand-in".to_owned()),
            ("CLAUDECODE", "1".to_owned()),
            ("CLAUDE_CODE_CHILD_SESSION", "1".to_owned()),
            ("CLAUDE_CODE_ENTRYPOINT", "cli".to_owned()),
            ("CLAUDE_CODE_SESSION_ID", conversation.to_owned()),
            ("CLAUDE_PID", std::process::id().to_string()),
            ("CLAUDE_PROJECT_DIR", workdir.to_string_lossy().into_owned()),
        ];
        Self { settings, workdir, environment, running: Vec::new(), status_line: None }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The start directory.
    pub(super) fn workdir(&self) -> &Path {
        &self.workdir
    }

    /// Runs the hooks of an event, and waits for those that are not marked `async`. `subject` is what their matcher is compared with.
    /// A signal that asks for the end stops the waiting, not the hooks.
    pub(super) fn fire(&mut self, event: &str, subject: &str, input: &Value, signals: &Signals) {
        let mut waited_for = Vec::new();
        for matcher in self.settings.hooks.get(event).into_iter().flatten().filter(|matcher| matcher.covers(subject)) {
            for hook in matcher.hooks.iter().filter(|hook| hook.kind == "command") {
                // A hook that cannot be started is the business of who wrote it; the CLI goes on as well.
                let Ok(child) = self.shell(&hook.command, input) else { continue };
                if hook.detached {
                    self.running.push(child);
                } else {
                    waited_for.push((child, hook.timeout.map_or(HOOK_TIMEOUT, Duration::from_secs)));
                }
            }
        }
        for (child, timeout) in waited_for {
            self.wait_for(child, Instant::now() + timeout, Some(signals));
        }
    }

    /// Runs the hooks of the session's end, all of them waited for, within [`END_TIMEOUT`].
    pub(super) fn fire_at_end(&mut self, event: &str, subject: &str, input: &Value) {
        let until = Instant::now() + END_TIMEOUT;
        let matchers = self.settings.hooks.get(event).into_iter().flatten().filter(|matcher| matcher.covers(subject));
        let started: Vec<Child> = matchers
            .flat_map(|matcher| &matcher.hooks)
            .filter(|hook| hook.kind == "command")
            .filter_map(|hook| self.shell(&hook.command, input).ok())
            .collect();
        for child in started {
            self.wait_for(child, until, None);
        }
    }

    /// Runs the status line with `input`.
    pub(super) fn show_status(&mut self, input: &Value) {
        if let Some(mut last) = self.status_line.take() {
            // It may have ended by itself.
            let _ = last.kill();
            self.running.push(last);
        }
        if let Some(line) = &self.settings.status_line {
            self.status_line = self.shell(&line.command, input).ok();
        }
    }

    /// Collects what has ended.
    pub(super) fn reap(&mut self) {
        self.running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if self.status_line.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None))) {
            self.status_line = None;
        }
    }

    /// A process that sleeps, as a tool or a background shell would work. It has a process group of its own.
    pub(super) fn sleeper(&self, duration: Duration) -> io::Result<Child> {
        let mut command = Command::new("sleep");
        command.arg(duration.as_secs_f64().to_string()).process_group(0);
        self.prepare(&mut command).stdin(Stdio::null()).spawn()
    }

    /// A command line of the settings, with JSON on its standard input. The input is a file in memory, not a pipe: nobody must be there
    /// to feed it.
    fn shell(&self, line: &str, input: &Value) -> io::Result<Child> {
        let mut file = File::from(memfd_create("hook-input", MemfdFlags::CLOEXEC)?);
        writeln!(file, "{input}")?;
        file.rewind()?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(line);
        self.prepare(&mut command).stdin(file).spawn()
    }

    fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.workdir).stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }

    /// Waits for a child, and kills it when its time is over. With `signals` it stops waiting when the end is asked for.
    fn wait_for(&mut self, mut child: Child, until: Instant, signals: Option<&Signals>) {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            // No descriptor, no deadline: give it up to the collector.
            self.running.push(child);
            return;
        };
        while matches!(child.try_wait(), Ok(None)) {
            let ended = match signals {
                Some(signals) => match signals.wait(&[std::os::fd::AsFd::as_fd(&descriptor)], false, Some(until)) {
                    Ok(woken) if woken.end => {
                        self.running.push(child);
                        return;
                    }
                    Ok(woken) => woken.other,
                    Err(_) => false,
                },
                None => wait_readable(&descriptor, until),
            };
            if !ended {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
        }
    }
}

impl Matcher {
    fn covers(&self, subject: &str) -> bool {
        matches!(self.matcher.as_str(), "" | "*") || self.matcher.split('|').any(|one| one == subject)
    }
}

/// Whether `descriptor` becomes readable before `until`.
fn wait_readable(descriptor: &impl std::os::fd::AsFd, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = rustix::event::Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: i64::from(left.subsec_nanos()) };
    let mut watched = [rustix::event::PollFd::new(descriptor, rustix::event::PollFlags::IN)];
    matches!(rustix::event::poll(&mut watched, Some(&timeout)), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_add_up_and_the_status_line_is_replaced() {
        let own: Settings = serde_json::from_str(
            r#"{"model":"x","hooks":{"Stop":[{"hooks":[{"type":"command","command":"a"}]}]},"statusLine":{"type":"command","command":"own"}}"#,
        )
        .expect("valid");
        let given = Settings::given(
            r#"{"hooks":{"Stop":[{"matcher":"","hooks":[{"type":"command","command":"b","async":true}]}]},
                "statusLine":{"type":"command","command":"given","refreshInterval":2}}"#,
        )
        .expect("valid");
        let merged = own.merge(given);
        assert_eq!(merged.count("Stop"), 2);
        assert_eq!(merged.refresh_interval(), Some(Duration::from_secs(2)));
        assert_eq!(merged.status_line.expect("one").command, "given");
    }

    #[test]
    fn a_matcher_lists_alternatives() {
        let matcher = Matcher { matcher: "startup|resume".to_owned(), hooks: Vec::new() };
        assert!(matcher.covers("resume"));
        assert!(!matcher.covers("clear"));
    }

    #[test]
    fn a_settings_file_that_is_missing_is_told() {
        assert!(matches!(Settings::given("/no/such/file.json"), Err(Error::NoSettings(_))));
    }
}
