//! The history file. It may be lost without harm, so its troubles never stop anything: it is set aside, made anew, or left off.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use super::{
    StateDir, StoreError,
    database::{Database, WriteError, beside, family},
    directory::io_error,
    schema::HISTORY,
};
use crate::model::error_line;

/// The history, or why it is off.
#[derive(Debug)]
pub(super) struct History {
    directory: StateDir,
    pub(super) database: Option<Database>,
    fault: Option<String>,
    set_aside: Option<PathBuf>,
}

impl History {
    /// Opens it for writing.
    pub(super) fn open(directory: &StateDir) -> Self {
        let mut history = Self { directory: directory.clone(), database: None, fault: None, set_aside: None };
        // What is wrong stands in `fault`, and the next write tries again.
        let _ = history.ready();
        history
    }

    /// Opens it for reading.
    pub(super) fn open_read_only(directory: &StateDir) -> Self {
        let (database, fault) = match Database::open_read_only(directory, &HISTORY) {
            Ok(database) => (Some(database), None),
            Err(error) => (None, Some(error_line(&error))),
        };
        Self { directory: directory.clone(), database, fault, set_aside: None }
    }

    /// Why the last write was not made, if it was not.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Where a damaged history was put since this was opened.
    pub(super) fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// Reads in one snapshot.
    pub(super) fn read<T>(&self, action: &'static str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        match &self.database {
            Some(database) => database.read(action, work),
            None => Err(StoreError::HistoryOff { why: self.fault.clone().unwrap_or_default() }),
        }
    }

    /// Writes all or nothing. A history that turns out to be damaged is set aside, and the write goes into the new one.
    pub(super) fn write<T>(
        &mut self,
        action: &'static str,
        work: impl Fn(&Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        let result = match self.ready().and_then(|database| database.write(action, &work)) {
            Err(StoreError::Corrupt { .. }) => {
                self.database = None;
                self.replace().and_then(|database| database.write(action, &work))
            }
            result => result,
        };
        self.fault = result.as_ref().err().map(|error| error_line(error));
        result
    }

    /// The file, opened now if it is not open.
    fn ready(&mut self) -> Result<&mut Database, StoreError> {
        if self.database.is_none() {
            match Database::open(&self.directory, &HISTORY, None) {
                Ok(database) => self.database = Some(database),
                Err(StoreError::Corrupt { .. }) => return self.replace(),
                Err(error) => {
                    self.fault = Some(error_line(&error));
                    return Err(error);
                }
            }
        }
        self.database.as_mut().ok_or_else(|| StoreError::HistoryOff { why: String::new() })
    }

    /// Sets the damaged file aside under a dated name and makes a new one.
    fn replace(&mut self) -> Result<&mut Database, StoreError> {
        self.set_aside = Some(set_aside(&self.directory)?);
        Ok(self.database.insert(Database::open(&self.directory, &HISTORY, None)?))
    }
}

/// Gives the history and its log names of their own, next to where they were; the new name of the history.
fn set_aside(directory: &StateDir) -> Result<PathBuf, StoreError> {
    let path = directory.path().join(HISTORY.file);
    let aside = beside(&path, &format!(".damaged-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ")));
    for (from, to) in family(&path).into_iter().zip(family(&aside)) {
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error("set aside", &from)(error)),
            _ => {}
        }
    }
    directory.sync()?;
    Ok(aside)
}
