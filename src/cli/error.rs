//! Everything that can end a command, with its exit code.

use std::{io, path::PathBuf};

use super::Exit;
use crate::{
    control::ClientError,
    engine::EngineError,
    host::{checkpoint::CheckpointError, real::HostError},
    store::StoreError,
};

/// Why a command ended without doing what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The spec was refused; its diagnostics have been printed.
    #[error("the spec is not valid")]
    SpecInvalid,
    /// The spec could not be read.
    #[error("cannot read the spec")]
    Spec(#[source] crate::host::specfile::SpecFileError),
    /// The state could not be opened.
    #[error("cannot open the pool's state")]
    Store(#[source] StoreError),
    /// The engine stopped.
    #[error("the work was stopped")]
    Engine(#[source] EngineError),
    /// The host cannot be used.
    #[error("this host cannot be used")]
    Host(#[source] HostError),
    /// The checkpoints cannot be looked at.
    #[error("cannot look at the checkpoints")]
    Checkpoint(#[source] CheckpointError),
    /// The daemon did not answer.
    #[error("the daemon did not answer")]
    Daemon(#[source] ClientError),
    /// A command needs a daemon and none runs.
    #[error("no daemon runs for this pool; start one with `claude-failover run`")]
    NoDaemon,
    /// The daemon or the engine said no.
    #[error("{0}")]
    Refused(String),
    /// A queue could not be used.
    #[error("the task was not added")]
    Queue(#[source] crate::host::queue::QueueError),
    /// A saved plan no longer fits.
    #[error("the saved plan is stale: {0}; plan again")]
    PlanStale(String),
    /// A question could not be asked.
    #[error("there is no terminal to ask on; use --yes to go on without being asked")]
    NoTerminal,
    /// The person said no.
    #[error("nothing was done")]
    Declined,
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// Our bug.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl CliError {
    /// The exit code that it stands for.
    pub fn exit(&self) -> Exit {
        match self {
            Self::SpecInvalid => Exit::SpecInvalid,
            Self::PlanStale(_) => Exit::PlanStale,
            Self::NoDaemon | Self::Daemon(_) | Self::Store(StoreError::Locked { .. }) => Exit::Unreachable,
            Self::Usage(_) => Exit::Usage,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            _ => Exit::Error,
        }
    }

    /// Whether there is nobody to tell.
    pub fn is_quiet(&self) -> bool {
        matches!(self, Self::SpecInvalid) || matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
