//! Commands that were carried out, so that one that is sent again is answered again and not done again.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{database::WriteError, value::At};

/// How many are remembered.
const KEPT: u32 = 1_000;

/// A command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// The id that its sender gave it.
    pub id: String,
    /// When it was carried out.
    pub at: Timestamp,
    /// What its sender was told.
    pub answer: String,
}

/// The command of that id, if it was carried out.
pub(super) fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<Handled>> {
    connection
        .prepare_cached("SELECT id, at, answer FROM request WHERE id = ?1")?
        .query_row([id], |row| Ok(Handled { id: row.get(0)?, at: row.get::<_, At>(1)?.0, answer: row.get(2)? }))
        .optional()
}

/// Remembers a command, and forgets the oldest.
pub(super) fn record(transaction: &Transaction<'_>, handled: &Handled) -> Result<(), WriteError> {
    transaction.execute(
        "INSERT OR IGNORE INTO request (id, at, answer) VALUES (?1, ?2, ?3)",
        params![handled.id, At(handled.at), handled.answer],
    )?;
    transaction.execute("DELETE FROM request WHERE sequence <= (SELECT max(sequence) FROM request) - ?1", params![KEPT])?;
    Ok(())
}
