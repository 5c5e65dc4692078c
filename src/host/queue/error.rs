//! What can go wrong with a queue.

use std::{io, path::Path};

use crate::{
    host::links::LinkError,
    model::{ClaimId, NameError},
    plan::Happened,
    spec::escaped,
};

/// Why a queue could not be seen or changed. No task was lost and nothing was overwritten in any of these cases.
///
/// Paths are texts in which everything that could steer a terminal is escaped: names of tasks are chosen by others.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A call of the system failed.
    #[error("cannot {doing} {path}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The work on files was refused for another reason.
    #[error("{0}")]
    Refused(String),
    /// The project's directory does not exist.
    #[error("the project's directory {0} does not exist; make it, or take the project out of the spec")]
    NoProject(String),
    /// A directory of the queue does not exist.
    #[error("the queue's directory {0} does not exist; it is made again at the next look")]
    NoDirectory(String),
    /// Something that is no directory stands where one of the queue's should be.
    #[error("{path} is {found}; tasks are only taken from a real directory below the project, so put one there")]
    NotADirectory {
        /// Where.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// A directory has more entries than are listed.
    #[error("{path} has more than {limit} entries, and is not looked at; move some of them away")]
    Crowded {
        /// Which.
        path: String,
        /// The bound.
        limit: usize,
    },
    /// A task has no file where it should be.
    #[error("{0} does not exist: the task was moved or removed by somebody else")]
    Gone(String),
    /// Something else than a regular file has the task's name.
    #[error("{path} is {found}, not a regular file; it was left as it is")]
    NotAFile {
        /// Where.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// The file is not in the state in which it was read.
    #[error("{0} was changed since it was read; it is looked at again")]
    Changed(String),
    /// The name is taken by something else.
    #[error("{0} exists and is not overwritten; move it away, or choose another name")]
    Taken(String),
    /// The marker names another claim.
    #[error("{path} belongs to claim {found}, not to {expected}; it was left as it is")]
    OtherClaim {
        /// The marker.
        path: String,
        /// Whose it is.
        found: ClaimId,
        /// Whose it should be.
        expected: ClaimId,
    },
    /// The marker cannot be understood.
    #[error("{path} is no marker that can be read ({why}); it was left as it is")]
    BadMarker {
        /// The marker.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The task has a marker where it must have none.
    #[error("{path} says that claim {found} is under way; wait for its end, or cancel it")]
    Marked {
        /// The marker.
        path: String,
        /// Whose it is.
        found: ClaimId,
    },
    /// The task has no marker where it must have one.
    #[error("{0} does not exist: the claim on the task is over")]
    Unmarked(String),
    /// The name of a new task is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A new task says nothing.
    #[error("{0} says nothing; write down what is to be done")]
    Empty(String),
    /// A new task is too long.
    #[error("{path} would have {length} bytes; a task has at most {limit}")]
    TooLong {
        /// The task.
        path: String,
        /// Its length.
        length: usize,
        /// The bound.
        limit: u64,
    },
    /// What stands at the top of a new task cannot be read.
    #[error("{0}")]
    BadHeader(String),
    /// No free name was found.
    #[error("all of {path} and its {tried} numbered variants are taken; clear the directory up")]
    AllTaken {
        /// The wanted name.
        path: String,
        /// How many were tried.
        tried: u32,
    },
}

impl QueueError {
    /// The error of a call of the system.
    pub(super) fn system(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::System { doing, path: shown(path), source }
    }
}

impl From<LinkError> for QueueError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::System { doing, path, source } => Self::System { doing, path: shown(&path), source },
            other => Self::Refused(escaped(&other.to_string())),
        }
    }
}

/// A path as messages show it.
pub(super) fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// An error with what it means for the effect.
#[derive(Debug)]
pub(super) struct Stopped {
    /// Whether the effect took place all the same.
    pub happened: Happened,
    /// What went wrong.
    pub error: QueueError,
}

/// An error that nothing else is said of came before the first change.
impl<E: Into<QueueError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self { happened: Happened::No, error: error.into() }
    }
}

impl Stopped {
    /// The effect is begun, or visible and not known to last: only a look can tell.
    pub(super) fn midway<E: Into<QueueError>>(error: E) -> Self {
        Self { happened: Happened::CannotTell, error: error.into() }
    }
}
