//! The control client of a process of ours that was killed: known from a record, and ended by the next one.
//!
//! # Guarantees
//! Only a process that was recorded is ended: of the same number and start time, with our socket among its arguments, and only when whoever
//! had started it is gone.
//!
//! # Assumes
//! The record stands in our runtime directory, and one process at a time writes it: the holder of the state's lock.
//!
//! # Does not
//! Matter, as a rule: a control client ends by itself when we are killed (`control.rs`).

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::TmuxServer;
use crate::{
    host::process::{self, ProcessError, arguments, identity},
    model::{Pid, ProcessId},
    plan::Outcome,
};

/// The longest record.
const LIMIT: u64 = 4096;

/// How long a client may take to end after SIGTERM. It only has to close its socket.
const GRACE: Duration = Duration::from_secs(1);

/// Who was connected to which server, for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Who started the client.
    owner: ProcessId,
    client: ProcessId,
    /// The server that it was connected to, if that is known.
    server: Option<ProcessId>,
}

/// A control client that nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// Its process.
    pub client: ProcessId,
    /// The process of ours that had started it, and is gone.
    pub owner: ProcessId,
    /// The server that it is connected to.
    server: Option<ProcessId>,
}

/// Whether there was an orphan when it was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    /// There is none.
    Gone,
    /// It was ended just now.
    Ended,
    /// It is there still, and may not be ended yet, or could not be.
    Stays,
}

/// The orphan that a record names, if it lives.
///
/// # Errors
/// [`ProcessError`] when a process cannot be looked at. A record that cannot be read names nobody.
pub fn orphan(record: &Path, socket: &Path) -> Result<Option<Orphan>, ProcessError> {
    let Some(Record { owner, client, server }) = read(record) else { return Ok(None) };
    if identity(client.pid)? != Some(client) || identity(owner.pid)? == Some(owner) {
        return Ok(None);
    }
    let line = arguments(client)?.unwrap_or_default();
    let ours = line.split(|&byte| byte == 0).any(|argument| argument == socket.as_os_str().as_bytes());
    Ok(ours.then_some(Orphan { client, owner, server }))
}

fn read(record: &Path) -> Option<Record> {
    let fits = fs::symlink_metadata(record).is_ok_and(|found| found.is_file() && found.len() <= LIMIT);
    fits.then(|| serde_json::from_slice(&fs::read(record).ok()?).ok())?
}

/// Replaces the record. A loss of power ends client and owner alike, so nothing is synced.
fn write(path: &Path, record: Record) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_vec(&record)?)?;
    fs::rename(draft, path)
}

impl TmuxServer {
    /// Has each control client recorded in a file, and the orphan of that record ended before a client of ours takes its place.
    #[must_use]
    pub fn recording(mut self, record: PathBuf) -> Self {
        self.record = Some(record);
        self
    }

    /// The control client that a killed process of ours left behind, for `doctor`.
    ///
    /// # Errors
    /// [`ProcessError`] when its process cannot be looked at.
    pub fn orphan(&self) -> Result<Option<Orphan>, ProcessError> {
        self.record.as_ref().map_or(Ok(None), |record| orphan(record, &self.client.socket))
    }

    /// Ends the orphan, if there is one and it is `old` enough.
    pub(super) async fn end_former(&mut self, old: Duration) -> Former {
        let orphan = match self.orphan() {
            Ok(Some(orphan)) => orphan,
            Ok(None) => return Former::Gone,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "whether a control client was left behind cannot be told");
                return Former::Gone;
            }
        };
        // A server that waits for it still ends when it does: then no new one can be started before.
        self.server = self.server.or(orphan.server);
        if process::age(orphan.client).is_none_or(|age| age < old) {
            return Former::Stays;
        }
        match process::stop(&[(orphan.client, GRACE)]).await.first() {
            Some(Outcome::Failed(failure)) => {
                tracing::warn!(error = failure.message(), "the control client of a daemon that was killed could not be ended");
                Former::Stays
            }
            _ => {
                tracing::info!(pid = orphan.client.pid.0, "ended the control client of a daemon that was killed");
                Former::Ended
            }
        }
    }

    /// Notes who our control client is.
    pub(super) fn record_client(&self, client: Option<Pid>) {
        let Some(path) = &self.record else { return };
        let find = |pid| identity(pid).ok().flatten();
        let us = i32::try_from(std::process::id()).ok().map(Pid);
        let (Some(client), Some(owner)) = (client.and_then(find), us.and_then(find)) else { return };
        if let Err(error) = write(path, Record { owner, client, server: self.server }) {
            // It only helps those who come after a kill.
            tracing::debug!(error = &error as &dyn std::error::Error, "the control client is not recorded");
        }
    }
}
