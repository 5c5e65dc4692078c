//! Signals as readable descriptors, and waiting on them.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Error;

/// The signals that the process takes itself. Children get an empty mask from the standard library.
pub(super) struct Signals {
    /// SIGTERM, SIGINT and SIGHUP.
    ends: SignalFd,
    /// SIGCHLD.
    children: SignalFd,
}

impl Signals {
    /// Blocks the signals and opens their descriptors. To be called before anything is started.
    pub(super) fn block() -> Result<Self, Error> {
        let open = |signals: &[Signal]| {
            let mask = signals.iter().copied().collect::<SigSet>();
            mask.thread_block()?;
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        };
        let both = || {
            Ok::<_, nix::Error>(Self {
                ends: open(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?,
                children: open(&[Signal::SIGCHLD])?,
            })
        };
        both().map_err(|errno| Error::Io { what: "take over the signals".to_owned(), source: errno.into() })
    }

    /// The next signal that asks for the end, if there is one.
    pub(super) fn take_end(&self) -> Option<Signal> {
        let info = self.ends.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// Empties the descriptor that says that a child has ended.
    pub(super) fn drain_children(&self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
    }

    /// Sleeps until a signal that asks for the end has come, one of `others` is readable, or `until` has passed. With `children`, the end
    /// of a child wakes it too.
    pub(super) fn wait(&self, others: &[BorrowedFd<'_>], children: bool, until: Option<Instant>) -> Result<Woken, Error> {
        let mut watched = vec![PollFd::from_borrowed_fd(self.ends.as_fd(), PollFlags::IN)];
        if children {
            watched.push(PollFd::from_borrowed_fd(self.children.as_fd(), PollFlags::IN));
        }
        let first_other = watched.len();
        watched.extend(others.iter().map(|&other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::Io { what: "wait for something to happen".to_owned(), source: errno.into() }),
        }
        let ready = |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
        Ok(Woken { end: ready(0), other: (first_other..watched.len()).any(ready) })
    }
}

/// What ended a wait; neither means that the time had come, or that a child has ended.
pub(super) struct Woken {
    /// A signal asks for the end.
    pub(super) end: bool,
    /// One of the other descriptors is readable.
    pub(super) other: bool,
}

fn timespec(duration: Duration) -> Timespec {
    // A day is as good as for ever: the caller looks again.
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(86_400), tv_nsec: i64::from(duration.subsec_nanos()) }
}
