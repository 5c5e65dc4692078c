//! A program that is run for its answer, in a process group of its own.
//!
//! # Guarantees
//! It ends within the deadline and its grace, with all that it started in its group, also when the future is dropped. It gets no input, and
//! of our environment only what [`KEPT`] names.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use super::UsageError;

/// How long a program may take to end after SIGTERM. It may be refreshing a login at that moment, and a login that is lost between the
/// answer and the file needs a person; so it is asked first, and killed only when it does not listen.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What a program inherits: enough to find itself, its home, its certificates and its proxy. Everything else stays out, first of all the
/// variables of an agent that may have started us: with them the CLI would use another login, or save nothing (facts/claude-code.md,
/// section 1).
const KEPT: [&str; 26] = [
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "ALL_PROXY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
];

/// What is kept of `inherited`, with `extra` over it.
pub(super) fn environment<K: AsRef<OsStr>, V: AsRef<OsStr>>(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    extra: impl IntoIterator<Item = (K, V)>,
) -> BTreeMap<OsString, OsString> {
    let kept = inherited.filter(|(name, _)| KEPT.iter().any(|kept| OsStr::new(kept) == name));
    let extra = extra.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()));
    kept.chain(extra).collect()
}

/// What becomes of a program's output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output {
    /// It goes to `/dev/null`.
    Discard,
    /// It is read, up to so many bytes.
    Read {
        /// The bound.
        limit: usize,
    },
}

/// A program to run.
pub(super) struct Run<'a> {
    /// The program, and its first arguments.
    pub(super) command: &'a [String],
    /// The rest of its arguments.
    pub(super) arguments: &'a [&'a str],
    /// All of its environment.
    pub(super) environment: BTreeMap<OsString, OsString>,
    /// Where it starts.
    pub(super) workdir: &'a Path,
    /// When it is stopped.
    pub(super) deadline: Duration,
    /// How long it may then take before it is killed: [`GRACE`].
    pub(super) grace: Duration,
    /// What becomes of its output.
    pub(super) output: Output,
}

/// Runs it to a successful end and answers its output.
pub(super) async fn run(run: Run<'_>) -> Result<Vec<u8>, UsageError> {
    let program = run.command.first().cloned().unwrap_or_default();
    let start = |source| UsageError::Start { program: program.clone(), source };
    let mut command = Command::new(&program);
    command.args(run.command.iter().skip(1)).args(run.arguments).env_clear().envs(&run.environment).current_dir(run.workdir);
    let (stdout, limit) = match run.output {
        Output::Discard => (Stdio::null(), 0),
        Output::Read { limit } => (Stdio::piped(), limit),
    };
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(start)?;
    // Declared after the child, so dropped before it: the number is still the child's own when the group is killed.
    let mut group = Group::of(&child);
    let what = || format!("{program:?}");
    let ended = timeout(run.deadline, async {
        let output = read_output(&mut child, limit).await?;
        Ok((child.wait().await?, output))
    });
    match ended.await {
        Ok(Ok((_, output))) if output.len() > limit => {
            group.stop(&mut child, run.grace).await;
            Err(UsageError::TooLarge { what: format!("the output of {program:?}"), limit })
        }
        Ok(Ok((status, output))) => {
            group.disarm();
            if status.success() { Ok(output) } else { Err(UsageError::Exited { program: program.clone(), ended: describe(status) }) }
        }
        Ok(Err(source)) => {
            group.stop(&mut child, run.grace).await;
            Err(start(source))
        }
        Err(_elapsed) => {
            group.stop(&mut child, run.grace).await;
            Err(UsageError::TimedOut { what: what(), after: run.deadline })
        }
    }
}

/// What it prints, and no more than one byte over the bound.
async fn read_output(child: &mut Child, limit: usize) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        stdout.take(bound).read_to_end(&mut output).await?;
    }
    Ok(output)
}

/// How a program ended, for people.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// The process group of a child. Killed on drop, unless the child has ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may have ended in between, which is what is wanted.
            let _ended = killpg(group, signal);
        }
    }

    /// Asks the group to end, then makes it.
    async fn stop(&mut self, child: &mut Child, grace: Duration) {
        self.signal(Signal::SIGTERM);
        let _in_time = timeout(grace, child.wait()).await;
        // What the leader started may still be there; the kernel gives the number of a group that lives to nobody else.
        self.signal(Signal::SIGKILL);
        let _status = child.wait().await;
        self.disarm();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests;
