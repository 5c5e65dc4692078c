//! Events. The state file takes them in together with what they tell of; the history takes them over from there, each one once.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    database::WriteError,
    value::{At, Count, Json, Named, Word},
};
use crate::model::{Event, ObjectRef, PoolId, later};

/// The same event again within this time of the last one only counts.
const REPEAT: Duration = Duration::from_mins(10);
/// More events than this do not wait for a history that is off; the oldest go.
const WAITING: u32 = 10_000;

/// An event as the history has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// Its place in the order of events. A repeat keeps the number of the first.
    pub sequence: u64,
    /// What happened; `at` is when it happened first.
    pub event: Event,
    /// How often it happened.
    pub count: u64,
    /// When it happened last.
    pub last_at: Timestamp,
}

/// Which events to read, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Only events behind this number: the next page of a reader that goes forward.
    pub after: Option<u64>,
    /// Only events before this number: the next page of a reader that goes back.
    pub before: Option<u64>,
    /// Only events that happened, at least once, at this time or later.
    pub since: Option<Timestamp>,
    /// Only events about this object.
    pub object: Option<ObjectRef>,
    /// At most this many: the oldest of those that match when `after` is given, the newest otherwise.
    pub limit: u32,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { after: None, before: None, since: None, object: None, limit: 100 }
    }
}

/// Puts events on their way.
pub(super) fn send(transaction: &Transaction<'_>, events: &[Event]) -> Result<(), WriteError> {
    let mut insert = transaction.prepare_cached("INSERT INTO outbox (event) VALUES (?1)")?;
    for event in events {
        insert.execute(params![Json(event)])?;
    }
    if !events.is_empty() {
        transaction.execute("DELETE FROM outbox WHERE number <= (SELECT max(number) FROM outbox) - ?1", params![WAITING])?;
    }
    Ok(())
}

/// The events on their way, oldest first, with their numbers.
pub(super) fn on_their_way(connection: &Connection) -> rusqlite::Result<Vec<(i64, Event)>> {
    connection
        .prepare_cached("SELECT number, event FROM outbox ORDER BY number")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Json<Event>>(1)?.0)))?
        .collect()
}

/// Forgets events that the history has.
pub(super) fn sent(transaction: &Transaction<'_>, up_to: i64) -> Result<(), WriteError> {
    transaction.prepare_cached("DELETE FROM outbox WHERE number <= ?1")?.execute([up_to])?;
    Ok(())
}

/// Takes over what the history does not have yet. Handing the same events over twice is harmless.
pub(super) fn take_over(transaction: &Transaction<'_>, pool: PoolId, waiting: &[(i64, Event)]) -> Result<(), WriteError> {
    let have: i64 =
        transaction.query_row("SELECT number FROM taken WHERE pool = ?1", params![Named(&pool)], |row| row.get(0)).optional()?.unwrap_or(0);
    for (number, event) in waiting {
        if *number > have {
            append(transaction, event)?;
        }
    }
    if let Some((last, _)) = waiting.last() {
        transaction.execute(
            "INSERT INTO taken (pool, number) VALUES (?1, ?2) ON CONFLICT (pool) DO UPDATE SET number = max(number, excluded.number)",
            params![Named(&pool), last],
        )?;
    }
    Ok(())
}

/// Counts a repeat, or writes a new event.
fn append(transaction: &Transaction<'_>, event: &Event) -> Result<(), WriteError> {
    // Bounded on both sides: a clock that was far ahead once must not make every later event a repeat.
    let oldest = event.at.saturating_sub(REPEAT).unwrap_or(Timestamp::MIN);
    let newest = later(event.at, REPEAT);
    let repeated = transaction
        .prepare_cached(
            "UPDATE event SET count = count + 1, last_at = max(last_at, ?4) WHERE sequence =
                (SELECT max(sequence) FROM event
                 WHERE object = ?1 AND reason = ?2 AND message = ?3 AND last_at BETWEEN ?5 AND ?6)",
        )?
        .execute(params![Named(&event.object), Word(event.reason), event.message, At(event.at), At(oldest), At(newest)])?;
    if repeated == 0 {
        transaction
            .prepare_cached(
                "INSERT INTO event (object, reason, severity, message, first_at, last_at, count) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1)",
            )?
            .execute(params![Named(&event.object), Word(event.reason), Word(event.severity), event.message, At(event.at)])?;
    }
    Ok(())
}

/// Reads events in their order.
pub(super) fn query(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<StoredEvent>> {
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT sequence, object, reason, severity, message, first_at, last_at, count FROM event
         WHERE (?1 IS NULL OR sequence > ?1) AND (?2 IS NULL OR sequence < ?2)
           AND (?3 IS NULL OR last_at >= ?3) AND (?4 IS NULL OR object = ?4)
         ORDER BY sequence {order} LIMIT ?5"
    );
    let mut events = connection
        .prepare_cached(&sql)?
        .query_map(
            params![query.after.map(Count), query.before.map(Count), query.since.map(At), query.object.as_ref().map(Named), query.limit],
            stored,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    events.sort_by_key(|event| event.sequence);
    Ok(events)
}

/// Forgets all but the newest `keep`.
pub(super) fn prune(transaction: &Transaction<'_>, keep: u32) -> Result<(), WriteError> {
    transaction.execute("DELETE FROM event WHERE sequence <= (SELECT max(sequence) FROM event) - ?1", params![keep])?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        sequence: row.get::<_, Count>(0)?.0,
        event: Event {
            object: row.get::<_, Named<_>>(1)?.0,
            reason: row.get::<_, Word<_>>(2)?.0,
            severity: row.get::<_, Word<_>>(3)?.0,
            message: row.get(4)?,
            at: row.get::<_, At>(5)?.0,
        },
        last_at: row.get::<_, At>(6)?.0,
        count: row.get::<_, Count>(7)?.0,
    })
}
