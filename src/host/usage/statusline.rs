//! The rate limits that the CLI hands to its status line command (facts/claude-code.md, section 4). Pure: whoever takes the status line in
//! calls [`read`].
//!
//! # Assumes
//! That the caller knows whose process it was, by the process's environment and never by a path, and when the process was started.

use jiff::Timestamp;
use serde_json::Value;

use super::{Malformed, json, plausible_reset};
use crate::model::{AccountUsage, ReadingSource, WindowKind, WindowReading};

/// Turns the `rate_limits` object of a status line drawn at `at` into readings.
///
/// `null` and what is absent are unknown: the object is empty until a process got its first answer. A window that is over at `at` is left
/// out, since an idle session goes on showing it. [`AccountUsage::merge`] sorts out what an idle session shows of a window that still runs.
///
/// # Errors
/// [`Malformed`] when a window is there and is not what it should be.
pub fn read(rate_limits: &Value, at: Timestamp) -> Result<AccountUsage, Malformed> {
    let mut usage = AccountUsage::default();
    if rate_limits.is_null() {
        return Ok(usage);
    }
    let limits = json::object(rate_limits, "rate_limits")?;
    for (key, window) in [("five_hour", WindowKind::FiveHour), ("seven_day", WindowKind::Weekly)] {
        let Some(value) = json::present(limits, key) else { continue };
        let object = json::object(value, key)?;
        if json::present(object, "used_percentage").is_none() {
            continue;
        }
        let used = json::percent(object, key, "used_percentage")?;
        let resets_at = json::time(object, key, "resets_at")?;
        if resets_at.is_some_and(|resets_at| resets_at <= at) {
            continue;
        }
        let resets_at = plausible_reset(&window, resets_at, at);
        usage.windows.insert(window, WindowReading { used, resets_at, measured_at: at, source: ReadingSource::Statusline });
    }
    Ok(usage)
}

#[cfg(test)]
mod tests;
