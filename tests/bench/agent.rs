//! The agent of the cheap rows: it says when its `main` ran, enters itself into the register as the CLI does, and idles.

use std::{
    env, fs,
    fs::OpenOptions,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::OFlags,
    time::{ClockId, clock_gettime},
};

use crate::Fallible;

/// Nanoseconds of the monotonic clock, which all processes share.
pub fn clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Runs as an agent: `FIFO` and then the arguments that the controller adds.
pub fn run(arguments: &[String]) -> Fallible<()> {
    let at = clock();
    let fifo = arguments.first().ok_or("the path of the FIFO is missing")?;
    let pane = env::var("TMUX_PANE")?.trim_start_matches('%').parse::<u32>()?;
    let mut message = [0; 16];
    message[..4].copy_from_slice(&pane.to_ne_bytes());
    message[4..8].copy_from_slice(&process::id().to_ne_bytes());
    message[8..].copy_from_slice(&at.to_ne_bytes());
    OpenOptions::new().write(true).open(fifo)?.write_all(&message)?;
    register(arguments)?;
    loop {
        thread::park();
    }
}

/// The entry of a process that is idle (`<home>/sessions/<pid>.json`).
fn register(arguments: &[String]) -> Fallible<()> {
    let named = |flag: &str| arguments.iter().position(|argument| argument == flag).and_then(|at| arguments.get(at + 1));
    let Some(conversation) = named("--session-id").or_else(|| named("--resume")) else { return Ok(()) };
    let Some(home) = env::var_os("CLAUDE_CONFIG_DIR") else { return Ok(()) };
    let stat = fs::read_to_string("/proc/self/stat")?;
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)).unwrap_or_default();
    let directory = PathBuf::from(home).join("sessions");
    fs::create_dir_all(&directory)?;
    let entry = serde_json::json!({
        "pid": process::id(), "sessionId": conversation, "cwd": env::current_dir()?, "procStart": started, "version": "2.1.330",
        "kind": "interactive", "entrypoint": "cli", "status": "idle",
    });
    let draft = directory.join(format!("{}.tmp", process::id()));
    fs::write(&draft, entry.to_string())?;
    fs::rename(draft, directory.join(format!("{}.json", process::id())))?;
    Ok(())
}

/// The start of an agent, in its own words.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub pane: u32,
    pub pid: i32,
    /// By [`clock`].
    pub at: u64,
}

/// The other end of the FIFO.
pub struct Starts {
    file: fs::File,
    bytes: Vec<u8>,
}

impl Starts {
    /// Makes the FIFO. It is open for writing as well, so that it never ends. It holds 4,096 starts.
    pub fn make(path: &Path) -> Fallible<Self> {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600))?;
        let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Self { file, bytes: Vec::new() })
    }

    /// The next start.
    pub fn next(&mut self, within: Duration) -> Fallible<Start> {
        let until = Instant::now() + within;
        loop {
            if self.bytes.len() >= 16 {
                let message: Vec<u8> = self.bytes.drain(..16).collect();
                return Ok(Start {
                    pane: u32::from_ne_bytes(message[..4].try_into()?),
                    pid: i32::from_ne_bytes(message[4..8].try_into()?),
                    at: u64::from_ne_bytes(message[8..].try_into()?),
                });
            }
            let mut buffer = [0; 16 * 256];
            match self.file.read(&mut buffer) {
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = until.checked_duration_since(Instant::now()).ok_or("no agent started in time")?;
                    poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&left.try_into()?))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next `count` starts.
    pub fn collect(&mut self, count: usize, within: Duration) -> Fallible<Vec<Start>> {
        (0..count).map(|have| self.next(within).map_err(|error| format!("{error}: {have} of {count} did").into())).collect()
    }
}
