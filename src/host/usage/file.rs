//! A file of readings that somebody else writes: tests, the drill, other agents. `docs/quota.md` has the format and its schema.
//!
//! # Guarantees
//! An account or a window that is absent, or `null`, is unknown. What is there must be right: a share without a number, a measurement
//! without its time or one dated ahead of our clock is an error.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Malformed, UsageError,
    bounded::{self, Symlink},
    json, plausible_reset,
};
use crate::{
    model::{AccountName, AccountUsage, ReadingSource, WindowKind, WindowReading, later},
    plan::burn::CLOCK_TOLERANCE,
};

/// The longest file, and the longest output of a command, that is read.
pub const LIMIT: usize = 1024 * 1024;

/// More models than this are not taken.
const MAX_MODELS: usize = 16;

/// Reads what the file says of an account, at the time `at`.
///
/// # Errors
/// [`UsageError`]; `Path` also when the file does not exist.
pub async fn read(path: &Path, account: &AccountName, at: Timestamp) -> Result<AccountUsage, UsageError> {
    let Some(bytes) = bounded::read::<Vec<u8>>(path, LIMIT, Symlink::Follow).await? else {
        return Err(UsageError::Path { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() });
    };
    parse(&bytes, account, at, ReadingSource::File).map_err(|source| UsageError::Malformed { what: path.display().to_string(), source })
}

/// What `bytes` say of an account.
pub(super) fn parse(bytes: &[u8], account: &AccountName, at: Timestamp, source: ReadingSource) -> Result<AccountUsage, Malformed> {
    let whole: Value = json::parse(bytes)?;
    let accounts = json::object(&whole, "the whole")?;
    let Some(value) = json::present(accounts, account.as_str()) else { return Ok(AccountUsage::default()) };
    let section = json::object(value, account.as_str())?;
    let section_at = measured_at(section, account.as_str(), at)?;
    let windows = [("fiveHour", WindowKind::FiveHour), ("weekly", WindowKind::Weekly)];
    let main = windows.into_iter().filter_map(|(key, window)| Some((format!("{account}.{key}"), window, json::present(section, key)?)));
    let models = match json::present(section, "models") {
        Some(models) => json::object(models, &format!("{account}.models"))?,
        None => &Map::new(),
    };
    let models = models.iter().filter(|(_, value)| !value.is_null()).take(MAX_MODELS).filter_map(|(name, value)| {
        let name = json::model_name(name)?;
        Some((format!("{account}.models.{name}"), WindowKind::Model(name), value))
    });
    let mut usage = AccountUsage::default();
    for (path, window, value) in main.chain(models) {
        let object = json::object(value, &path)?;
        let used = json::percent(object, &path, "usedPercent")?;
        let missing = || Malformed::Missing { field: format!("{account}.measuredAt") };
        let measured_at = measured_at(object, &path, at)?.or(section_at).ok_or_else(missing)?;
        let resets_at = plausible_reset(&window, json::time(object, &path, "resetsAt")?, measured_at);
        usage.windows.insert(window, WindowReading { used, resets_at, measured_at, source });
    }
    Ok(usage)
}

/// `measuredAt`, which must not lie ahead of our clock: nothing would ever be newer.
fn measured_at(object: &Map<String, Value>, path: &str, at: Timestamp) -> Result<Option<Timestamp>, Malformed> {
    let measured_at = json::time(object, path, "measuredAt")?;
    let latest = later(at, CLOCK_TOLERANCE);
    match measured_at.filter(|measured_at| *measured_at > latest) {
        Some(ahead) => Err(Malformed::FromTheFuture { field: format!("{path}.measuredAt"), at: ahead }),
        None => Ok(measured_at),
    }
}

#[cfg(test)]
mod tests;
