//! Readings of usage windows, one file for each source.
//!
//! # Guarantees
//! Each source is read within a deadline and a byte bound, and answers readings or a typed error. What cannot be believed is an error or an
//! absent window, never zero usage: a window is at 0 % only when the source says so. No error, `Debug` form or log line holds a token, or
//! text that came from outside.
//!
//! # Assumes
//! That the caller keeps the budget: see [`poll`](crate::plan::poll). Nothing here waits, retries or remembers.
//!
//! # Does not
//! Refresh, copy or keep a login. The only thing that ever looks into a credential file is [`api`], which is opt-in.

mod answer;
pub mod api;
mod bounded;
mod child;
pub mod cli;
pub mod command;
pub mod file;
#[cfg(test)]
mod fuzz;
mod json;
pub mod statusline;

use std::{io, path::PathBuf, time::Duration};

use jiff::Timestamp;

pub use api::install_crypto_provider;
pub use json::Malformed;

use crate::model::{PollOutcome, WindowKind, later};

/// Why a source gave no reading.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A program could not be started.
    #[error("{program:?} could not be started; check that it is installed and on the PATH of the daemon")]
    Start {
        /// The program as the spec names it.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("{program:?} ended with {ended}; run it by hand to see what it says")]
    Exited {
        /// The program as the spec names it.
        program: String,
        /// Its exit code, or the signal that ended it.
        ended: String,
    },
    /// The source did not answer in time; a program was stopped.
    #[error("{what} did not answer within {after:?}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// The deadline.
        after: Duration,
    },
    /// The source sent more than is read.
    #[error("{what} is longer than {limit} bytes, so it was not read")]
    TooLarge {
        /// What is too long.
        what: String,
        /// The bound in bytes.
        limit: usize,
    },
    /// A file or directory could not be used.
    #[error("{} could not be used", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something other than a regular file stands where a file is read.
    #[error("{} is not a regular file, so it was not read", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The answer cannot be believed.
    #[error("{what} cannot be believed")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// The CLI ran, but its figures are as old as before: the endpoint asked it to wait, or it made no request. A signal to back off.
    #[error("the CLI did not refresh its figures{}", fetched_at.map(|at| format!("; they are those of {at:.0}")).unwrap_or_default())]
    NotRefreshed {
        /// When the figures in its cache were fetched, if there are any.
        fetched_at: Option<Timestamp>,
    },
    /// The CLI's figures belong to another login than the home's.
    #[error("the figures in {} belong to another login than the home's; run /usage there once by hand", home.display())]
    OtherLogin {
        /// The home.
        home: PathBuf,
    },
    /// The home has no access token.
    #[error("{} has no access token; log in there with the official CLI", home.display())]
    NoLogin {
        /// The home.
        home: PathBuf,
    },
    /// The access token has ended; only the CLI refreshes it.
    #[error("the access token in {} ended at {at:.0}; the CLI refreshes it when it next runs there, which the cli source makes it do", home.display())]
    TokenEnded {
        /// The home.
        home: PathBuf,
        /// When.
        at: Timestamp,
    },
    /// The HTTPS client could not be made.
    #[error("the HTTPS client could not be made; check the system's root certificates")]
    Client {
        /// Why not, without an address.
        #[source]
        source: reqwest::Error,
    },
    /// The endpoint is not one that a token may be sent to.
    #[error("the usage endpoint must be an https address")]
    NotHttps,
    /// The endpoint could not be reached, or the connection broke.
    #[error("the usage endpoint could not be reached")]
    Unreachable {
        /// Why not, without an address.
        #[source]
        source: reqwest::Error,
    },
    /// The endpoint refused the token.
    #[error(
        "the usage endpoint refused the token (HTTP {status}); a token made by setup-token may not read usage, any other needs a new login"
    )]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// The endpoint asked us to wait.
    #[error("the usage endpoint asked to wait (HTTP 429{})", retry_after.map(|wait| format!(", {}s", wait.as_secs())).unwrap_or_default())]
    RateLimited {
        /// For how long, if it said so; at most an hour.
        retry_after: Option<Duration>,
    },
    /// The endpoint has a fault.
    #[error("the usage endpoint has a fault (HTTP {status})")]
    Server {
        /// 500 to 599.
        status: u16,
    },
    /// The endpoint answered with something else, such as a redirect, which is never followed: the token would travel.
    #[error("the usage endpoint answered HTTP {status}, which is not followed or understood")]
    Unexpected {
        /// Any other status.
        status: u16,
    },
}

impl UsageError {
    /// What it means for the next reading.
    pub const fn outcome(&self) -> PollOutcome {
        match self {
            Self::RateLimited { retry_after } => PollOutcome::RateLimited { retry_after: *retry_after },
            Self::NotRefreshed { .. } => PollOutcome::NotRefreshed,
            _ => PollOutcome::Failed,
        }
    }
}

/// A window cannot begin anew later than its own length from now; this much more is put down to clocks.
const RESET_TOLERANCE: Duration = Duration::from_hours(1);

/// The reset time of a reading, if it can be believed: a window cannot last longer than it is long. A time in the past is kept, since it
/// says that the figure is of a window that is over.
fn plausible_reset(window: &WindowKind, resets_at: Option<Timestamp>, measured_at: Timestamp) -> Option<Timestamp> {
    let latest = later(measured_at, window.length() + RESET_TOLERANCE);
    resets_at.filter(|at| *at <= latest)
}
