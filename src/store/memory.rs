//! The memory, as rows.

use std::{collections::BTreeMap, path::PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Params, Row, Transaction, params};
use serde::de::DeserializeOwned;

use super::{
    database::WriteError,
    generations,
    value::{Count, Json, Named, Word, path_text},
};
use crate::{
    model::{ObjectRef, PoolId, SessionName, TaskId},
    plan::{Memory, MemoryChange, SwapSummary},
};

/// Names of the rows of `fact`.
const ACTIVE: &str = "active";
const SUSPENDED: &str = "suspended";
const EXHAUSTED: &str = "exhausted";
const SWAPS_CLEARED: &str = "swaps-cleared";
const ROOM: &str = "room";
const PRUNE_CONFIRMED: &str = "prune-confirmed";
const LOGINS_WARNED: &str = "logins-warned";
const SERVER: &str = "server";
const REFUSED_LOGINS: &str = "refused-logins";
pub(super) const RENEWED: &str = "renewed";
const UNTYPED: &str = "untyped";

/// The identity of the state directory.
pub(super) fn pool(connection: &Connection) -> rusqlite::Result<PoolId> {
    connection.query_row("SELECT id FROM pool", [], |row| Ok(row.get::<_, Word<PoolId>>(0)?.0))
}

/// Everything but the open swap.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Memory> {
    let mut memory = Memory::new(pool(connection)?);
    if let Some((generation, digest)) = generations::newest(connection)? {
        memory.generation = generation;
        memory.spec = Some(digest);
    }
    memory.renewed = fact(connection, RENEWED)?.unwrap_or_default();
    memory.active = fact(connection, ACTIVE)?;
    memory.suspended = fact(connection, SUSPENDED)?;
    memory.exhausted_since = fact(connection, EXHAUSTED)?;
    memory.swaps_cleared_at = fact(connection, SWAPS_CLEARED)?;
    memory.room_since = fact(connection, ROOM)?;
    memory.prune_confirmed = fact(connection, PRUNE_CONFIRMED)?.unwrap_or_default();
    memory.logins_warned = fact(connection, LOGINS_WARNED)?.unwrap_or_default();
    memory.server = fact(connection, SERVER)?;
    memory.refused_logins = fact(connection, REFUSED_LOGINS)?.unwrap_or_default();
    memory.untyped = fact(connection, UNTYPED)?.unwrap_or_default();
    memory.tasks =
        rows(connection, "SELECT id, record FROM task", |row| Ok((row.get::<_, Named<TaskId>>(0)?.0, row.get::<_, Json<_>>(1)?.0)))?;
    memory.past_tasks =
        rows(connection, "SELECT id, record FROM past_task", |row| Ok((row.get::<_, Named<TaskId>>(0)?.0, row.get::<_, Json<_>>(1)?.0)))?;
    memory.sessions = rows(connection, "SELECT name, record FROM session", |row| {
        Ok((row.get::<_, Named<SessionName>>(0)?.0, row.get::<_, Json<_>>(1)?.0))
    })?;
    memory.latches = objects(connection, "SELECT object, latch FROM latch")?;
    memory.attempts = objects(connection, "SELECT object, attempts FROM attempts")?;
    memory.cordoned = objects(connection, "SELECT object, cordon FROM cordon")?;
    memory.links = rows(connection, "SELECT path FROM link", |row| Ok(PathBuf::from(row.get::<_, String>(0)?)))?;
    memory.removal_seen = rows(connection, "SELECT session FROM removal", |row| Ok(row.get::<_, Named<_>>(0)?.0))?;
    memory.swaps = closed_swaps(connection)?;
    Ok(memory)
}

/// Writes what [`Memory::apply`] does to a memory.
pub(super) fn apply(transaction: &Transaction<'_>, change: &MemoryChange) -> Result<(), WriteError> {
    let run = |sql, values: &[&dyn rusqlite::ToSql]| execute(transaction, sql, values);
    let forget = |name: &str| execute(transaction, "DELETE FROM fact WHERE name = ?1", [name]);
    let keep = "INSERT OR REPLACE INTO fact (name, value) VALUES (?1, ?2)";
    match change {
        MemoryChange::SetActive(active) => run(keep, params![ACTIVE, Json(active)])?,
        MemoryChange::SetSuspension(Some(suspension)) => run(keep, params![SUSPENDED, Json(suspension)])?,
        MemoryChange::SetSuspension(None) => forget(SUSPENDED)?,
        MemoryChange::SetExhausted(Some(since)) => run(keep, params![EXHAUSTED, Json(since)])?,
        MemoryChange::SetExhausted(None) => forget(EXHAUSTED)?,
        MemoryChange::PutSession(name, record) => {
            run("INSERT OR REPLACE INTO session (name, record) VALUES (?1, ?2)", params![Named(name), Json(record)])?;
        }
        MemoryChange::RemoveSession(name) => run("DELETE FROM session WHERE name = ?1", params![Named(name)])?,
        MemoryChange::PutLink(path) => run("INSERT OR IGNORE INTO link (path) VALUES (?1)", params![path_text(path)?])?,
        MemoryChange::RemoveLink(path) => run("DELETE FROM link WHERE path = ?1", params![path_text(path)?])?,
        MemoryChange::PutLatch(object, latch) => {
            run("INSERT OR REPLACE INTO latch (object, latch) VALUES (?1, ?2)", params![Named(object), Json(latch)])?;
        }
        MemoryChange::ClearLatch(object) => run("DELETE FROM latch WHERE object = ?1", params![Named(object)])?,
        MemoryChange::PutAttempts(object, attempts) => {
            run("INSERT OR REPLACE INTO attempts (object, attempts) VALUES (?1, ?2)", params![Named(object), Json(attempts)])?;
        }
        MemoryChange::ClearAttempts(object) => run("DELETE FROM attempts WHERE object = ?1", params![Named(object)])?,
        MemoryChange::PutCordon(object, cordon) => {
            run("INSERT OR REPLACE INTO cordon (object, cordon) VALUES (?1, ?2)", params![Named(object), Json(cordon)])?;
        }
        MemoryChange::RemoveCordon(object) => run("DELETE FROM cordon WHERE object = ?1", params![Named(object)])?,
        MemoryChange::SetRemovalSeen(sessions) => {
            run("DELETE FROM removal", params![])?;
            for session in sessions {
                run("INSERT INTO removal (session) VALUES (?1)", params![Named(session)])?;
            }
        }
        MemoryChange::SetRoomSince(Some(at)) => run(keep, params![ROOM, Json(at)])?,
        MemoryChange::SetRoomSince(None) => forget(ROOM)?,
        MemoryChange::SetPruneConfirmed(sessions) if sessions.is_empty() => forget(PRUNE_CONFIRMED)?,
        MemoryChange::SetPruneConfirmed(sessions) => run(keep, params![PRUNE_CONFIRMED, Json(sessions)])?,
        MemoryChange::SetServer(server) => run(keep, params![SERVER, Json(server)])?,
        MemoryChange::SetRefusedLogins(logins) if logins.is_empty() => forget(REFUSED_LOGINS)?,
        MemoryChange::SetRefusedLogins(logins) => run(keep, params![REFUSED_LOGINS, Json(logins)])?,
        MemoryChange::SetUntyped(sessions) if sessions.is_empty() => forget(UNTYPED)?,
        MemoryChange::SetUntyped(sessions) => run(keep, params![UNTYPED, Json(sessions)])?,
        MemoryChange::PutTask(task, record) => {
            run("INSERT OR REPLACE INTO task (id, record) VALUES (?1, ?2)", params![Named(task), Json(record)])?;
        }
        MemoryChange::CloseTask(task, record) => {
            run("DELETE FROM task WHERE id = ?1", params![Named(task)])?;
            run("INSERT OR REPLACE INTO past_task (id, record) VALUES (?1, ?2)", params![Named(task), Json(record)])?;
        }
        MemoryChange::RemoveTask(task) => {
            run("DELETE FROM task WHERE id = ?1", params![Named(task)])?;
            run("DELETE FROM past_task WHERE id = ?1", params![Named(task)])?;
        }
        MemoryChange::ForgetTask(task) => run("DELETE FROM past_task WHERE id = ?1", params![Named(task)])?,
        MemoryChange::SetLoginsWarned(warned) => run(keep, params![LOGINS_WARNED, Json(warned)])?,
        MemoryChange::CloseSwap(summary) => run(
            "INSERT INTO swap (id, summary) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET summary = excluded.summary",
            params![Count(summary.id.0), Json(summary)],
        )?,
        MemoryChange::ClearSwaps(at) => run(keep, params![SWAPS_CLEARED, Json(at)])?,
    }
    Ok(())
}

/// The newest closed swaps, newest last.
fn closed_swaps(connection: &Connection) -> rusqlite::Result<Vec<SwapSummary>> {
    let mut swaps: Vec<SwapSummary> =
        rows(connection, "SELECT summary FROM swap WHERE summary IS NOT NULL ORDER BY id", |row| Ok(row.get::<_, Json<_>>(0)?.0))?;
    let surplus = swaps.len().saturating_sub(Memory::CLOSED_SWAPS);
    swaps.drain(..surplus);
    Ok(swaps)
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: impl Params) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

fn fact<T: DeserializeOwned>(connection: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM fact WHERE name = ?1", [name], |row| Ok(row.get::<_, Json<T>>(0)?.0)).optional()
}

fn objects<T: DeserializeOwned>(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<ObjectRef, T>> {
    rows(connection, sql, |row| Ok((row.get::<_, Named<ObjectRef>>(0)?.0, row.get::<_, Json<T>>(1)?.0)))
}

fn rows<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}
