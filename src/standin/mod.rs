//! A stand-in for the agent's CLI: a small process that behaves like it, as far as a controller can see, and calls no model.
//!
//! The tests and the demo run it as `claude-failover stand-in …`, with the arguments of the CLI. What it imitates was seen by experiment
//! (facts/claude-code.md; `tests/claude` keeps it true against the real CLI): the start-up screens, the register of live processes, the
//! transcript, hooks and status line, typing, limits, a login that ends, slow and stubborn exits, and going on after an interruption.
//!
//! # Guarantees
//! It reads and writes only below its home (`CLAUDE_CONFIG_DIR`, or `~/.claude`), but for the tasks that it is given, and runs only the hooks, the status line and its own
//! `sleep`. It never opens a credential. An idle one costs no processor time and a few megabytes, so that a thousand fit on one machine.
//!
//! # Does not
//! Use an asynchronous runtime, talk to the network, or show more of a screen than people need to follow it.
//!
//! # Arguments
//! `--version`, `auth status`, `-p PROMPT` (with `/usage` it stores `cachedUsageUtilization` as the CLI does), or an interactive session:
//! `--session-id ID` or `--resume ID`, `--settings FILE`, `--permission-mode MODE` and a prompt. Other flags of the CLI are accepted and
//! mean nothing.
//!
//! # Words in a prompt
//! They choose what the turn does, and may be combined:
//!
//! | word | the turn |
//! | --- | --- |
//! | `[[slow N]]` | takes N seconds |
//! | `[[tool N]]` | runs a tool, a process that takes N seconds |
//! | `[[ask]]` | asks for permission before the tool; Enter allows it, Esc refuses |
//! | `[[shell N]]` | leaves a background shell that runs N seconds |
//! | `[[limit]]` | hits the 5-hour limit, which resets in half an hour |
//! | `[[exit N]]` | ends the agent with exit code N |
//! | `[[crash]]` | ends it as SIGKILL would: the register entry stays |
//!
//! A prompt that carries a claim (`[claim 0123456789ab]`) and names a file in an `inbox` is a task. The words of that file count too, and at the end of the turn the file is moved to `done` beside the inbox. These words are of tasks alone:
//!
//! | word | the task's file |
//! | --- | --- |
//! | `[[give up]]` | is moved to `failed` |
//! | `[[forget]]` | stays where it is |
//! | `[[forget once]]` | stays where it is until the agent is asked about it again |
//!
//! # `stand-in.json`
//! An account's behaviour stands in this file in its home, and is read again whenever the file has changed. Everything is optional; a word
//! that is not in this table is an error, so that a misspelt test cannot pass.
//!
//! | key | meaning |
//! | --- | --- |
//! | `usage.fiveHour`, `usage.weekly`, `usage.models.NAME` | `usedPercent` (0 to 100) and `resetsAt` (epoch seconds) of a window; one that is absent has not begun |
//! | `limit.window`, `limit.resetsAt` | each turn hits this limit (`five_hour`, `seven_day`, …) until that time (epoch seconds) |
//! | `login` | `ok` (the default), `missing` or `dead` |
//! | `loginExpiresAt` | when the login ends, RFC 3339; only `auth status` tells it |
//! | `turnMillis` | how long a turn takes without a word for it; 50 |
//! | `startupMillis` | time from start to ready |
//! | `cpuMillis` | processor time burnt at the start |
//! | `registerDelayMillis` | time from ready to the register entry |
//! | `exitMillis` | time from the signal to the end |
//! | `stubborn` | SIGTERM, SIGINT and SIGHUP are ignored |
//! | `refuseResume` | `--resume` finds no conversation |
//! | `blankConversation` | the session opens another, empty conversation than the one it was told |
//! | `crash` | `at-start`: ends with code 1 before it is ready; `after-start`: right after, and its register entry stays |

mod arguments;
mod behaviour;
mod home;
mod hooks;
mod input;
mod keys;
mod records;
mod register;
mod screen;
mod session;
mod signals;
mod startup;
mod task;
mod transcript;
mod turn;
mod usage;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use arguments::Invocation;
use home::Home;

/// The release of the CLI that is imitated; it stands in the register and in every record.
const VERSION: &str = "2.1.330";

/// Why the stand-in cannot go on. The messages that the CLI itself prints are worded as it words them.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A flag that the CLI does not know, or one without its value.
    #[error("error: {0}")]
    Usage(String),
    /// A conversation id that is none.
    #[error("Error: Invalid session ID. Must be a valid UUID.")]
    InvalidId,
    /// `--session-id` with the id of a conversation that has a transcript.
    #[error("Error: Session ID {0} is already in use.")]
    IdInUse(String),
    /// `--resume` with an id that no transcript has.
    #[error("No conversation found with session ID: {0}")]
    NoConversation(String),
    /// A settings file that is not there.
    #[error("Error processing settings: Settings file not found: {0}")]
    NoSettings(PathBuf),
    /// A file that is not what it should be.
    #[error("stand-in: cannot understand {path}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The operating system refused something.
    #[error("stand-in: cannot {what}")]
    Io {
        /// What was to be done, with its object.
        what: String,
        /// Why it could not be.
        source: io::Error,
    },
}

impl Error {
    /// Names what failed, for `map_err`.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// Runs the stand-in. `arguments` are those of the CLI, without a program or subcommand name.
///
/// The answer is the CLI's exit code: 0 after `/exit` or SIGINT, 143 after SIGTERM, 129 after SIGHUP, 1 after a refusal.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let mut chain = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                chain = format!("{chain}: {inner}");
                source = inner.source();
            }
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "{chain}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<u8, Error> {
    match arguments::parse(arguments)? {
        Invocation::Version => {
            say(&format!("{VERSION} (stand-in of claude-failover)"));
            Ok(0)
        }
        Invocation::AuthStatus => usage::auth_status(&Home::from_environment()?),
        Invocation::Print(prompt) => usage::print(&Home::from_environment()?, &prompt),
        Invocation::Session(start) => startup::session(&Home::from_environment()?, start),
    }
}

/// One line on standard output. A reader that has gone is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
