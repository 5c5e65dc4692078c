//! A handle on one process that the reuse of its number cannot fool (pidfd_open(2), Linux 5.3).

use std::os::fd::OwnedFd;

use rustix::{
    io::Errno,
    process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{ProcessError, look::identity};
use crate::model::ProcessId;

/// Opens a process; `None` when it has ended.
pub(super) fn open(process: ProcessId) -> Result<Option<OwnedFd>, ProcessError> {
    let Some(pid) = rustix::process::Pid::from_raw(process.pid.0) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(ProcessError::Open { pid: process.pid, source: error.into() }),
    };
    // The start time is compared after the open: from here on the handle stays with whom it was opened for.
    Ok((identity(process.pid)? == Some(process)).then_some(pidfd))
}

/// Sends a signal; that the process has ended in the meantime is no error.
pub(super) fn signal(process: ProcessId, pidfd: &OwnedFd, signal: Signal, name: &'static str) -> Result<(), ProcessError> {
    match pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(ProcessError::Signal { process, signal: name, source: error.into() }),
    }
}
