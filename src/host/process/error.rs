//! What can go wrong with a look at a process, or with a signal to it.

use std::io;

use crate::model::{Pid, ProcessId};

/// A look or a signal that failed. That a process is gone is an answer, and no error.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file of `/proc` could not be read.
    #[error("cannot read /proc/{pid}/{file}")]
    Read {
        /// Whose file.
        pid: Pid,
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file of `/proc` does not look as proc(5) says.
    #[error("/proc/{pid}/{file} is not in the form of proc(5)")]
    Malformed {
        /// Whose file.
        pid: Pid,
        /// Which file.
        file: &'static str,
    },
    /// A process shows no environment at all, as every process does for a moment while it executes a program.
    #[error("process {pid} shows no environment yet; look again")]
    EnvironmentEmpty {
        /// Whose environment.
        pid: Pid,
    },
    /// An environment is larger than we read, and the wanted variable is not in the part that was read.
    #[error("the environment of process {pid} is longer than {limit} bytes, and {name} is not among the first of them")]
    EnvironmentTooLong {
        /// Whose environment.
        pid: Pid,
        /// The wanted variable.
        name: String,
        /// How much is read.
        limit: u64,
    },
    /// The processes of the host could not be listed.
    #[error("cannot list the processes in /proc")]
    List(#[source] io::Error),
    /// The kernel gave no pidfd for a process that exists.
    #[error("cannot open a pidfd of process {pid}; if descriptors have run out, raise the limit (LimitNOFILE=)")]
    Open {
        /// Which process.
        pid: Pid,
        /// Why.
        source: io::Error,
    },
    /// The epoll instance that holds the pidfds does not work.
    #[error("cannot wait for the end of processes")]
    Wait(#[source] io::Error),
    /// A signal was not delivered.
    #[error("cannot send {signal} to process {}", process.pid)]
    Signal {
        /// To whom.
        process: ProcessId,
        /// Which signal.
        signal: &'static str,
        /// Why.
        source: io::Error,
    },
}
