//! When the status of each condition last changed: the one thing about a condition that cannot be computed from facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{
    database::WriteError,
    value::{At, Named, Word},
};
use crate::model::{ConditionKind, ObjectRef, Truth};

/// The present status of each condition, and since when.
pub type Flips = BTreeMap<(ObjectRef, ConditionKind), (Truth, Timestamp)>;

/// All of them.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Flips> {
    connection
        .prepare_cached("SELECT object, kind, status, since FROM flip")?
        .query_map([], |row| {
            let key = (row.get::<_, Named<_>>(0)?.0, row.get::<_, Word<_>>(1)?.0);
            Ok((key, (row.get::<_, Word<_>>(2)?.0, row.get::<_, At>(3)?.0)))
        })?
        .collect()
}

/// Replaces all of them: a condition that is not named is no longer told of.
pub(super) fn replace(transaction: &Transaction<'_>, flips: &Flips) -> Result<(), WriteError> {
    transaction.execute("DELETE FROM flip", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO flip (object, kind, status, since) VALUES (?1, ?2, ?3, ?4)")?;
    for ((object, kind), (status, since)) in flips {
        insert.execute(params![Named(object), Word(kind), Word(status), At(*since)])?;
    }
    Ok(())
}
