//! From nothing to all agents running: server, sessions, marks, journal.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Fallible,
    agent::{Starts, clock},
    figures::{Pairs, Place, Row, median, shown, timed},
    pool::{Agent, PATIENCE, Pool},
    raw,
};

/// Both sizes, with how many pairs are taken.
const SIZES: [(usize, usize); 2] = [(20, 7), (200, 5)];

pub fn rows() -> Fallible<Vec<Row>> {
    let mut rows = Vec::new();
    for (size, count) in SIZES {
        let pairs = Pairs::take(count, || ours(size), || floor(size))?;
        let what = format!("start of {size} sessions with their marks: `apply` → all agents run");
        let mut row = pairs.row(Place::Start, what, "server + `source-file` of `new-session` lines", 1.25);
        row.beside = match tmuxp(size) {
            Ok(took) => format!("tmuxp load: {}", shown(took)),
            Err(error) => format!("no figure of tmuxp: {error}"),
        };
        rows.push(row);
    }
    Ok(rows)
}

/// The program, from the start of the process to the `main` of the last agent.
fn ours(size: usize) -> Fallible<Duration> {
    let mut pool = Pool::new(size, Agent::Sleeper)?;
    let begun = clock();
    let mut apply = pool.program(&["apply", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let last = pool.starts.collect(size, PATIENCE)?.iter().map(|start| start.at).max().unwrap_or(begun);
    if !apply.wait()?.success() {
        return Err("apply failed".into());
    }
    Ok(Duration::from_nanos(last - begun))
}

/// A server and its sessions, from nothing but tmux.
struct Bare {
    directory: tempfile::TempDir,
    starts: Starts,
}

impl Bare {
    fn new() -> Fallible<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let starts = Starts::make(&directory.path().join("starts"))?;
        Ok(Self { directory, starts })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("tmux.sock")
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-f").arg("/dev/null").arg("-S").arg(self.socket());
        command
    }

    /// The agent as the product starts it: without a shell, in its directory, under its home.
    fn agent(&self) -> Fallible<String> {
        let program = std::env::current_exe()?;
        Ok(format!("{} agent {}", program.display(), self.directory.path().join("starts").display()))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let Ok(output) = self.tmux().args(["display-message", "-p", "#{pid}"]).output() else { return };
        let server = String::from_utf8_lossy(&output.stdout).trim().parse().ok().and_then(|pid| raw::open(pid).ok());
        let _ = self.tmux().arg("kill-server").status();
        let _ = raw::wait(server.into_iter().collect());
    }
}

fn floor(size: usize) -> Fallible<Duration> {
    let mut bare = Bare::new()?;
    let root = bare.directory.path();
    let (agent, home) = (bare.agent()?, root.join("home"));
    let line = |session: usize| {
        format!(
            "new-session -d -s s{session} -x 150 -y 50 -c {} -e CLAUDE_CONFIG_DIR={} -- {agent} --session-id {session}\n",
            root.display(),
            home.display()
        )
    };
    let script = root.join("script");
    fs::write(&script, (0..size).map(line).collect::<String>())?;
    let begun = clock();
    let anchor = format!("new-session -d -s {} sleep 2147483647", raw::ANCHOR);
    let status = bare.tmux().args(anchor.split(' ')).args([";", "source-file"]).arg(&script).status()?;
    if !status.success() {
        return Err("tmux refused the script".into());
    }
    let last = bare.starts.collect(size, PATIENCE)?.iter().map(|start| start.at).max().unwrap_or(begun);
    Ok(Duration::from_nanos(last - begun))
}

/// tmuxp from PyPI, in an environment of its own below `target/`. One file is one session for it, so it loads them one after the other.
fn tmuxp(size: usize) -> Fallible<Duration> {
    let program = installed(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("tmuxp"))?;
    let mut samples = Vec::new();
    // It needs some 70 ms for each session, so that one sample of many sessions says enough.
    for _ in 0..if size > 100 { 1 } else { 3 } {
        let mut bare = Bare::new()?;
        let root = bare.directory.path().to_owned();
        let agent = bare.agent()?;
        let mut files = Vec::new();
        for session in 0..size {
            let file = root.join(format!("s{session}.yaml"));
            let text = format!(
                "session_name: s{session}\nstart_directory: {}\nwindows:\n  - window_shell: exec {agent}\n    panes: [null]\n",
                root.display()
            );
            fs::write(&file, text)?;
            files.push(file);
        }
        let took = timed(|| {
            let status = Command::new(&program)
                .args(["load", "-d", "-y", "-f", "/dev/null", "-S"])
                .arg(bare.socket())
                .args(&files)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if status.success() { Ok(()) } else { Err("tmuxp load failed".into()) }
        })?;
        bare.starts.collect(size, Duration::from_secs(10))?;
        samples.push(took);
    }
    Ok(median(&samples))
}

fn installed(place: &Path) -> Fallible<PathBuf> {
    let program = place.join("bin/tmuxp");
    let begun = Instant::now();
    if !program.exists() {
        let quiet = |command: &mut Command| -> Fallible<()> {
            let output = command.stdin(Stdio::null()).output()?;
            let error = String::from_utf8_lossy(&output.stderr);
            if output.status.success() { Ok(()) } else { Err(error.lines().last().unwrap_or("no reason given").into()) }
        };
        quiet(Command::new("python3").args(["-m", "venv"]).arg(place))?;
        quiet(Command::new(place.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", "tmuxp"]))?;
        eprintln!("tmuxp installed in {}", shown(begun.elapsed()));
    }
    Ok(program)
}
