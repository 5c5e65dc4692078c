//! What can go wrong between us and the CLI's files and commands.

use std::{io, path::PathBuf, time::Duration};

use crate::{host::process::ProcessError, model::Pid};

/// An error of this module. No message and no source ever quotes the content of a file: it may hold a token.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The command has no first word.
    #[error("the agent's command is empty; name a program in spec.agent.command")]
    NoCommand,
    /// The program is in none of the directories of `PATH`.
    #[error(
        "the program {command:?} is in none of the directories {searched:?}; install it or give its absolute path in spec.agent.command"
    )]
    ProgramNotFound {
        /// The first word of the command.
        command: String,
        /// The value of `PATH` that was searched.
        searched: String,
    },
    /// The program is a path that depends on where one stands.
    #[error("the program {command:?} is a relative path; give an absolute path or a plain name in spec.agent.command")]
    RelativeProgram {
        /// The first word of the command.
        command: String,
    },
    /// The program's path names something that cannot be executed.
    #[error("{path:?} is not a file that we may execute; install it or correct spec.agent.command")]
    NotExecutable {
        /// The absolute path.
        path: PathBuf,
    },
    /// A path cannot stand in an argument, a variable or a JSON text.
    #[error("{path:?} is not UTF-8 and cannot be handed to the agent; use a plain path")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A call of the operating system failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else stands where a regular file is expected.
    #[error("{path:?} is {found}, expected a regular file; nothing was read or written")]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// A file is larger than anything that the CLI writes there.
    #[error("{path:?} has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Its size in bytes, or one more than the limit when it grew while it was read.
        found: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A file is not the JSON that the CLI writes, or is only half there.
    #[error("{path:?} cannot be understood: {problem}")]
    Malformed {
        /// The path.
        path: PathBuf,
        /// What is wrong and where, without any of the content.
        problem: String,
    },
    /// Two files claim to be the transcript of one conversation.
    #[error("two transcripts of one conversation: {first:?} and {second:?}; keep the right one and move the other away")]
    TwoTranscripts {
        /// The first that was found.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
    /// A directory has more entries than will be searched.
    #[error("{path:?} has more than {limit} entries; the search was given up")]
    TooManyEntries {
        /// The directory.
        path: PathBuf,
        /// How many are looked at.
        limit: usize,
    },
    /// The home must not be edited now, since a process of it runs.
    #[error("the home {home:?} is in use by process {pid}; its keys are set once that process has ended")]
    HomeInUse {
        /// The home.
        home: PathBuf,
        /// The process.
        pid: Pid,
    },
    /// It cannot be told whether a process of the home runs.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The CLI's own lock of a file is held.
    #[error("{lock:?} is held by a running agent; try again once it is gone")]
    Locked {
        /// The lock.
        lock: PathBuf,
    },
    /// A file changed between reading and writing it.
    #[error("{path:?} was changed by somebody else at the same time; nothing was written")]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
    /// A command of the CLI did not end in time.
    #[error("{command} did not answer within {after:?}")]
    TimedOut {
        /// The command, without variables.
        command: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// A command of the CLI answered with something else than it should.
    #[error("{command} ended with {status} and an answer that cannot be understood: {problem}")]
    Answer {
        /// The command, without variables.
        command: String,
        /// How it ended.
        status: String,
        /// What is wrong with its answer, without any of the content.
        problem: String,
    },
}

impl AgentError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err`: a JSON error of a file, reduced to what is wrong and where. The original quotes the value that it did not expect.
    pub(super) fn json(path: &std::path::Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Malformed { path, problem: super::json::problem(&error) }
    }
}
