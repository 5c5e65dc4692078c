//! One SQLite file: how it is made, checked, opened, and how its errors are told apart.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::{StateDir, StoreError, directory::io_error, schema::Schema};
use crate::model::PoolId;

/// The write-ahead log is cut back to this many bytes after a checkpoint.
const LOG_LIMIT: i64 = 4 << 20;

/// How much of a file is held in memory, in KiB as SQLite counts it. What is read is mostly read once, at start.
const CACHE: i64 = -512;

/// An open file of a known schema.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the file of `schema`, makes it when there is none, and brings it up to date. A new one gets the identity of a `former` one.
    pub(super) fn open(directory: &StateDir, schema: &Schema, former: Option<PoolId>) -> Result<Self, StoreError> {
        let path = directory.path().join(schema.file);
        if !exists(&path)? {
            create(directory, &path, schema, former)?;
        }
        let mut database = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, schema)?;
        // The checks come first: a damaged file is left exactly as it was found.
        let version = database.check(schema)?;
        database.configure()?;
        if version < schema.version() {
            let path = database.path.clone();
            schema.migrate(&mut database.connection, version, former).map_err(classify(&path, "bring up to date"))?;
        }
        Ok(database)
    }

    /// Opens the file of `schema` for reading, beside a writer or without one.
    pub(super) fn open_read_only(directory: &StateDir, schema: &Schema) -> Result<Self, StoreError> {
        let path = directory.path().join(schema.file);
        if !exists(&path)? {
            return Err(StoreError::Missing { path });
        }
        let database = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, schema)?;
        let version = database.check(schema)?;
        if version < schema.version() {
            return Err(StoreError::Older { path: database.path, found: version, supported: schema.version() });
        }
        Ok(database)
    }

    /// Whether the file is there, sound, ours, and of an older version. One of this version is not checked for it.
    pub(super) fn is_older(directory: &StateDir, schema: &Schema) -> bool {
        let path = directory.path().join(schema.file);
        let Ok(database) = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, schema) else { return false };
        database.version(schema).is_ok_and(|version| version < schema.version()) && database.check(schema).is_ok()
    }

    /// Reads, with one snapshot of the file for the whole of `work`.
    pub(super) fn read<T>(&self, action: &'static str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let snapshot = self.connection.unchecked_transaction().map_err(classify(&self.path, action))?;
        work(&snapshot).map_err(classify(&self.path, action))
    }

    /// Writes everything that `work` writes, or nothing. What `work` returns is handed on once it is on disk.
    pub(super) fn write<T>(
        &mut self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let told = |source| classify(&path, action)(source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(told)?;
        // Dropped without a commit, the transaction is rolled back.
        let value = work(&transaction).map_err(|error| match error {
            WriteError::Sql(source) => told(source),
            WriteError::Refused(error) => error,
        })?;
        transaction.commit().map_err(told)?;
        Ok(value)
    }

    fn connect(path: PathBuf, mode: OpenFlags, schema: &Schema) -> Result<Self, StoreError> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags).map_err(classify(&path, "open"))?;
        connection.busy_timeout(schema.patience).map_err(classify(&path, "open"))?;
        connection.pragma_update(None, "cache_size", CACHE).map_err(classify(&path, "open"))?;
        Ok(Self { connection, path })
    }

    /// Whether the file is sound, ours, and of a version that we know; its version. A version from the future is told before damage,
    /// since what is sound is for that version to say.
    fn check(&self, schema: &Schema) -> Result<i64, StoreError> {
        let found = self.version(schema)?;
        let verdict: String =
            self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(classify(&self.path, "check"))?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt { path: self.path.clone(), finding: verdict });
        }
        Ok(found)
    }

    /// Its version, if it is ours.
    fn version(&self, schema: &Schema) -> Result<i64, StoreError> {
        let told = |source| classify(&self.path, "check")(source);
        let corrupt = |finding: String| StoreError::Corrupt { path: self.path.clone(), finding };
        let number = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(told);
        let (application, found) = (number("application_id")?, number("user_version")?);
        if application != i64::from(schema.application) {
            return Err(corrupt(format!("its application id is {application:#x} and not {:#x}", schema.application)));
        }
        if found > schema.version() {
            return Err(StoreError::Newer { path: self.path.clone(), found, supported: schema.version() });
        }
        Ok(found)
    }

    fn configure(&self) -> Result<(), StoreError> {
        let set = || {
            self.connection.pragma_update(None, "journal_mode", "WAL")?;
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            self.connection.pragma_update(None, "foreign_keys", true)?;
            self.connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)
        };
        set().map_err(classify(&self.path, "configure"))
    }
}

/// Why a write was not made.
pub(super) enum WriteError {
    /// SQLite said so.
    Sql(rusqlite::Error),
    /// We did: it would break a rule.
    Refused(StoreError),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// The file itself with the two that SQLite keeps beside it.
pub(super) fn family(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|ending| beside(path, ending))
}

/// A path with `ending` after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// Whether the file of a schema is there.
pub(super) fn is_there(directory: &StateDir, schema: &Schema) -> Result<bool, StoreError> {
    exists(&directory.path().join(schema.file))
}

/// Whether the file is there. A log without its file is damage: SQLite would play it into a new one.
fn exists(path: &Path) -> Result<bool, StoreError> {
    let there = |path: &Path| path.try_exists().map_err(io_error("look at", path));
    if there(path)? {
        return Ok(true);
    }
    if there(&beside(path, "-wal"))? {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            finding: "the file is gone, and its write-ahead log is there".to_owned(),
        });
    }
    Ok(false)
}

/// Makes the file under another name and moves it into place when it is whole, so that a file that is there is never half-made.
fn create(directory: &StateDir, path: &Path, schema: &Schema, former: Option<PoolId>) -> Result<(), StoreError> {
    let draft = beside(path, ".new");
    for leftover in [draft.clone(), beside(&draft, "-journal")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", &leftover)(error)),
            _ => {}
        }
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(io_error("make", &draft))?;
    // SQLite gives its log and its shared memory the mode of the file, so this is the one place that sets it.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(io_error("set the mode of", &draft))?;
    let mut database = Database::connect(draft.clone(), OpenFlags::SQLITE_OPEN_READ_WRITE, schema)?;
    let told = classify(&draft, "make");
    database
        .connection
        .pragma_update(None, "application_id", schema.application)
        .and_then(|()| schema.migrate(&mut database.connection, 0, former))
        .map_err(told)?;
    database.connection.close().map_err(|(_, error)| classify(&draft, "close")(error))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io_error("sync", &draft))?;
    fs::rename(&draft, path).map_err(io_error("move into place", &draft))?;
    directory.sync()
}

/// Tells the kinds of failure apart that need different actions.
pub(super) fn classify(path: &Path, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |source| match &source {
        rusqlite::Error::SqliteFailure(error, _) => match (error.code, error.extended_code) {
            // A full disk shows as a failed growth of the shared memory when the log is young.
            (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreError::Full { path, source },
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Busy { path, source },
            (ErrorCode::ReadOnly, _) => StoreError::ReadOnly { path, source },
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => StoreError::Corrupt { path, finding: source.to_string() },
            _ => StoreError::Sqlite { action, path, source },
        },
        // A column that does not hold what we write there.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt { path, finding: source.to_string() },
        _ => StoreError::Sqlite { action, path, source },
    }
}
