//! What is about to be done, and what became of it: intents of single effects, and the journal of the open swap.

use std::fmt;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    StoreError,
    database::WriteError,
    value::{Count, Json},
};
use crate::{
    model::{Generation, ObjectRef, SwapId},
    plan::{Effect, Outcome, Verb},
    swap::SwapEvent,
};

/// The number of an intent. Numbers only grow and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(i64);

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An effect that is about to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// When it was decided.
    pub at: Timestamp,
    /// The spec that it follows.
    pub generation: Generation,
    /// What it is about.
    pub object: ObjectRef,
    /// What it does to the object.
    pub verb: Verb,
    /// The effect itself.
    pub effect: Effect,
}

/// Writes intents in order.
pub(super) fn begin(transaction: &Transaction<'_>, intents: &[Intent]) -> Result<Vec<IntentId>, WriteError> {
    let mut insert = transaction.prepare_cached("INSERT INTO intent (intent) VALUES (?1)")?;
    intents.iter().map(|intent| Ok(IntentId(insert.insert(params![Json(intent)])?))).collect()
}

/// Writes outcomes. An intent ends once.
pub(super) fn end(transaction: &Transaction<'_>, ended: &[(IntentId, Outcome)]) -> Result<(), WriteError> {
    let mut update = transaction.prepare_cached("UPDATE intent SET outcome = ?2 WHERE id = ?1 AND outcome IS NULL")?;
    for (id, outcome) in ended {
        if update.execute(params![id.0, Json(outcome)])? != 1 {
            return Err(StoreError::NoSuchIntent(*id).into());
        }
    }
    Ok(())
}

/// The intents that have no outcome, oldest first.
pub(super) fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<(IntentId, Intent)>> {
    connection
        .prepare_cached("SELECT id, intent FROM intent WHERE outcome IS NULL ORDER BY id")?
        .query_map([], |row| Ok((IntentId(row.get(0)?), row.get::<_, Json<Intent>>(1)?.0)))?
        .collect()
}

/// Appends to the journal of the open swap. The event that opens a swap needs that none is open; any other needs that one is.
pub(super) fn append_swap(transaction: &Transaction<'_>, events: &[SwapEvent]) -> Result<(), WriteError> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO swap_event (swap, sequence, event)
         VALUES (?1, (SELECT coalesce(max(sequence), 0) + 1 FROM swap_event WHERE swap = ?1), ?2)",
    )?;
    for event in events {
        let open = open_swap(transaction)?;
        let swap = match (event, open) {
            (SwapEvent::Opened(_), Some(open)) => return Err(StoreError::SwapOpen { open }.into()),
            (SwapEvent::Opened(plan), None) => {
                transaction.execute("INSERT INTO swap (id) VALUES (?1)", params![Count(plan.id.0)])?;
                plan.id
            }
            (_, Some(open)) => open,
            (_, None) => return Err(StoreError::NoSwapOpen.into()),
        };
        insert.execute(params![Count(swap.0), Json(event)])?;
    }
    Ok(())
}

/// The journal of the open swap, oldest first; empty when none is open.
pub(super) fn open_swap_events(connection: &Connection) -> rusqlite::Result<Vec<SwapEvent>> {
    match open_swap(connection)? {
        Some(swap) => swap_events(connection, swap),
        None => Ok(Vec::new()),
    }
}

/// The journal of one swap, open or closed, oldest first.
pub(super) fn swap_events(connection: &Connection, swap: SwapId) -> rusqlite::Result<Vec<SwapEvent>> {
    connection
        .prepare_cached("SELECT event FROM swap_event WHERE swap = ?1 ORDER BY sequence")?
        .query_map(params![Count(swap.0)], |row| Ok(row.get::<_, Json<SwapEvent>>(0)?.0))?
        .collect()
}

fn open_swap(connection: &Connection) -> rusqlite::Result<Option<SwapId>> {
    connection
        .prepare_cached("SELECT id FROM swap WHERE summary IS NULL")?
        .query_row([], |row| Ok(SwapId(row.get::<_, Count>(0)?.0)))
        .optional()
}

/// Forgets what ended long ago: all but the newest `intents` outcomes and the newest `swaps` closed swaps.
pub(super) fn prune(transaction: &Transaction<'_>, intents: u32, swaps: u32) -> Result<(), WriteError> {
    transaction.execute(
        "DELETE FROM intent WHERE outcome IS NOT NULL
         AND id NOT IN (SELECT id FROM intent WHERE outcome IS NOT NULL ORDER BY id DESC LIMIT ?1)",
        params![intents],
    )?;
    transaction.execute(
        "DELETE FROM swap_event WHERE swap IN (SELECT id FROM swap WHERE summary IS NOT NULL ORDER BY id DESC LIMIT -1 OFFSET ?1)",
        params![swaps],
    )?;
    transaction.execute(
        "DELETE FROM swap WHERE id IN (SELECT id FROM swap WHERE summary IS NOT NULL ORDER BY id DESC LIMIT -1 OFFSET ?1)",
        params![swaps],
    )?;
    Ok(())
}
