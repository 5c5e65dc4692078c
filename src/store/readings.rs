//! Usage readings: the newest of each window, and its course over time.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    database::WriteError,
    value::{At, Json, Named},
};
use crate::model::{AccountName, AccountUsage, WindowKind, WindowReading};

/// A reading that shows what the last one did adds to the course only after this time.
const SAME: Duration = Duration::from_mins(5);

/// Takes over readings as [`AccountUsage::merge`] does.
pub(super) fn record(transaction: &Transaction<'_>, account: &AccountName, usage: &AccountUsage) -> Result<(), WriteError> {
    let held = newest_of(transaction, account)?;
    let mut merged = held.clone();
    merged.merge(usage);
    for (window, reading) in &merged.windows {
        if held.windows.get(window) == Some(reading) {
            continue;
        }
        transaction.prepare_cached("INSERT OR REPLACE INTO usage (account, window, reading) VALUES (?1, ?2, ?3)")?.execute(params![
            Named(account),
            Named(window),
            Json(reading)
        ])?;
        let last = transaction
            .prepare_cached("SELECT reading FROM reading WHERE account = ?1 AND window = ?2 ORDER BY measured_at DESC LIMIT 1")?
            .query_row(params![Named(account), Named(window)], |row| Ok(row.get::<_, Json<WindowReading>>(0)?.0))
            .optional()?;
        if last.is_none_or(|last| adds_to(&last, reading)) {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO reading (account, window, measured_at, reading) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![Named(account), Named(window), At(reading.measured_at), Json(reading)])?;
        }
    }
    Ok(())
}

fn newest_of(connection: &Connection, account: &AccountName) -> rusqlite::Result<AccountUsage> {
    let windows = connection
        .prepare_cached("SELECT window, reading FROM usage WHERE account = ?1")?
        .query_map(params![Named(account)], |row| Ok((row.get::<_, Named<WindowKind>>(0)?.0, row.get::<_, Json<_>>(1)?.0)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(AccountUsage { windows })
}

/// Whether a reading tells more than the one before it: another figure, another window, or that the figure still holds.
fn adds_to(last: &WindowReading, reading: &WindowReading) -> bool {
    let later = Duration::try_from(reading.measured_at.duration_since(last.measured_at)).unwrap_or(Duration::ZERO);
    last.used != reading.used || last.resets_at != reading.resets_at || later >= SAME
}

/// The newest reading of each window, by account.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<BTreeMap<AccountName, AccountUsage>> {
    let mut all = BTreeMap::<AccountName, AccountUsage>::new();
    let mut statement = connection.prepare_cached("SELECT account, window, reading FROM usage")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Named(account) = row.get(0)?;
        let Named(window) = row.get(1)?;
        all.entry(account).or_default().windows.insert(window, row.get::<_, Json<_>>(2)?.0);
    }
    Ok(all)
}

/// The newest `limit` readings of a window that were measured at `since` or later, oldest first.
pub(super) fn course(
    connection: &Connection,
    account: &AccountName,
    window: &WindowKind,
    since: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<WindowReading>> {
    let mut readings = connection
        .prepare_cached(
            "SELECT reading FROM reading WHERE account = ?1 AND window = ?2 AND measured_at >= ?3 ORDER BY measured_at DESC LIMIT ?4",
        )?
        .query_map(params![Named(account), Named(window), At(since), limit], |row| Ok(row.get::<_, Json<WindowReading>>(0)?.0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    readings.reverse();
    Ok(readings)
}

/// What the pollers keep, by account, in a form that only they know.
pub(super) fn polls(connection: &Connection) -> rusqlite::Result<BTreeMap<AccountName, serde_json::Value>> {
    connection
        .prepare_cached("SELECT account, state FROM poll")?
        .query_map([], |row| Ok((row.get::<_, Named<_>>(0)?.0, row.get::<_, Json<_>>(1)?.0)))?
        .collect()
}

/// Keeps a poller's state.
pub(super) fn put_poll(transaction: &Transaction<'_>, account: &AccountName, state: &serde_json::Value) -> Result<(), WriteError> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO poll (account, state) VALUES (?1, ?2)")?
        .execute(params![Named(account), Json(state)])?;
    Ok(())
}

/// Forgets the course before `before`. The newest reading of each window stays.
pub(super) fn prune(transaction: &Transaction<'_>, before: Timestamp) -> Result<(), WriteError> {
    transaction.execute("DELETE FROM reading WHERE measured_at < ?1", params![At(before)])?;
    Ok(())
}
