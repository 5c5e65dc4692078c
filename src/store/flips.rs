//! When the status of each condition last changed: the one thing about a condition that cannot be computed from facts.

use std::collections::{BTreeMap, BTreeSet};

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

/// Takes over those that flipped, and forgets the conditions that are no longer told of.
pub(super) fn record(
    transaction: &Transaction<'_>,
    flipped: &Flips,
    gone: &BTreeSet<(ObjectRef, ConditionKind)>,
) -> Result<(), WriteError> {
    let mut delete = transaction.prepare_cached("DELETE FROM flip WHERE object = ?1 AND kind = ?2")?;
    for (object, kind) in gone {
        delete.execute(params![Named(object), Word(kind)])?;
    }
    let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO flip (object, kind, status, since) VALUES (?1, ?2, ?3, ?4)")?;
    for ((object, kind), (status, since)) in flipped {
        insert.execute(params![Named(object), Word(kind), Word(status), At(*since)])?;
    }
    Ok(())
}
