//! The tables, as numbered migrations. A migration that was released is never changed; a new one is added behind it.

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::{memory::RENEWED, value::Word};
use crate::model::PoolId;

/// One file's name, mark and history.
pub(super) struct Schema {
    /// Its name in the state directory.
    pub(super) file: &'static str,
    /// SQLite's application id, by which the file is known as ours.
    pub(super) application: i32,
    /// Number n, from 1, brings a file of version n − 1 to version n.
    migrations: &'static [&'static str],
    /// What a new file holds from the start, given the identity of the one that it takes the place of.
    seed: fn(&Transaction<'_>, Option<PoolId>) -> rusqlite::Result<()>,
    /// How long another program may hold the file before a write is given up.
    pub(super) patience: Duration,
}

impl Schema {
    /// The version that all migrations lead to.
    pub(super) fn version(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }

    /// Brings a file of version `from` up to date: all of it, or nothing.
    pub(super) fn migrate(&self, connection: &mut Connection, from: i64, former: Option<PoolId>) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in self.migrations.iter().skip(usize::try_from(from).unwrap_or(0)) {
            transaction.execute_batch(migration)?;
        }
        if from == 0 {
            (self.seed)(&transaction, former)?;
        }
        transaction.pragma_update(None, "user_version", self.version())?;
        transaction.commit()
    }
}

/// What decisions rest on. `cfst` in ASCII.
pub(super) const STATE: Schema = Schema {
    file: "state.db",
    application: 0x6366_7374,
    migrations: &[
        "
CREATE TABLE pool (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL) STRICT;

-- Accepted specs. `canonical` is the effective spec as JSON, `sources` the files it was made of.
CREATE TABLE generation (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    canonical TEXT NOT NULL,
    sources TEXT NOT NULL,
    revision TEXT,
    accepted_at TEXT NOT NULL
) STRICT;

-- Written before an effect; `outcome` is null until the effect has ended.
CREATE TABLE intent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    intent TEXT NOT NULL,
    outcome TEXT
) STRICT;
CREATE INDEX intent_unfinished ON intent (id) WHERE outcome IS NULL;

-- A swap is open while `summary` is null; at most one is.
CREATE TABLE swap (id INTEGER PRIMARY KEY, summary TEXT) STRICT;
CREATE UNIQUE INDEX swap_open ON swap ((summary IS NULL)) WHERE summary IS NULL;
CREATE TABLE swap_event (
    swap INTEGER NOT NULL REFERENCES swap (id),
    sequence INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (swap, sequence)
) STRICT, WITHOUT ROWID;

-- The memory, one table for each of its maps; `fact` holds what there is one of.
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE session (name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE link (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE latch (object TEXT PRIMARY KEY, latch TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE attempts (object TEXT PRIMARY KEY, attempts TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE cordon (object TEXT PRIMARY KEY, cordon TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE removal (session TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Commands that were carried out, by the id that the caller gave them.
CREATE TABLE request (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;

-- Events on their way into the history; the numbers are never used again.
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL) STRICT;
",
        "
-- The ledger of tasks, by PROJECT/NAME.md.
CREATE TABLE task (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
",
        "
-- What became of tasks that are over, by PROJECT/NAME.md.
CREATE TABLE past_task (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
",
    ],
    seed: |transaction, former| {
        let identity = former.unwrap_or_else(|| PoolId(Uuid::new_v4()));
        transaction.execute("INSERT INTO pool (only, id) VALUES (1, ?1)", [Word(identity)])?;
        if former.is_some() {
            transaction.execute("INSERT INTO fact (name, value) VALUES (?1, 'true')", [RENEWED])?;
        }
        // The history goes by these numbers and by the identity, which a file that was lost may have had before: they must not come again.
        let begin =
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000)";
        transaction.execute(begin, []).map(drop)
    },
    patience: Duration::from_secs(2),
};

/// What people look back at. `cfhi` in ASCII.
pub(super) const HISTORY: Schema = Schema {
    file: "history.db",
    application: 0x6366_6869,
    migrations: &["
-- How far the outbox of a state file was taken over.
CREATE TABLE taken (pool TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- `first_at` and `last_at` differ when an event was repeated `count` times.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    object TEXT NOT NULL,
    reason TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    count INTEGER NOT NULL
) STRICT;
CREATE INDEX event_object ON event (object, reason);

-- The newest reading of each window, and the course of it.
CREATE TABLE usage (
    account TEXT NOT NULL,
    window TEXT NOT NULL,
    reading TEXT NOT NULL,
    PRIMARY KEY (account, window)
) STRICT, WITHOUT ROWID;
CREATE TABLE reading (
    account TEXT NOT NULL,
    window TEXT NOT NULL,
    measured_at TEXT NOT NULL,
    reading TEXT NOT NULL,
    PRIMARY KEY (account, window, measured_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX reading_age ON reading (measured_at);

CREATE TABLE poll (account TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- When the status of a condition last changed.
CREATE TABLE flip (
    object TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (object, kind)
) STRICT, WITHOUT ROWID;
"],
    seed: |_, _| Ok(()),
    // The history waits in the outbox, so nothing need wait for the history.
    patience: Duration::from_millis(200),
};
