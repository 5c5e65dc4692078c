//! The usage answer of the endpoint, as the CLI caches it and the endpoint sends it (facts/claude-code.md, section 5.2).
//!
//! The two main windows must be readable: an answer in which they are something else is refused as a whole. Where the answer says `null`,
//! the window has not begun: that is 0 % without a reset time, said by the source and not made up here. A key that is absent is unknown.
//! The list of limits and the older keys of single models come and go with each release, so an entry that cannot be read there is unknown
//! and does not take the main windows with it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Malformed, json, plausible_reset};
use crate::model::{AccountUsage, Percent, ReadingSource, WindowKind, WindowReading};

/// More windows of single models than this are not taken.
const MAX_MODELS: usize = 16;

/// The older keys of single models. Others of their kind carry code names, or are no models at all.
const MODEL_KEYS: [(&str, &str); 2] = [("seven_day_opus", "Opus"), ("seven_day_sonnet", "Sonnet")];

/// Reads one answer that was true at `measured_at`.
pub(super) fn read(answer: &Value, measured_at: Timestamp, source: ReadingSource) -> Result<AccountUsage, Malformed> {
    let answer = json::object(answer, "the answer")?;
    let mut taken = Taken { usage: AccountUsage::default(), measured_at, source };
    let main = [("five_hour", WindowKind::FiveHour), ("seven_day", WindowKind::Weekly)];
    for (key, window) in &main {
        if let Some(value) = json::present(answer, key) {
            let (used, resets_at) = window_object(value, key)?;
            taken.take(window.clone(), used, resets_at);
        }
    }
    for (key, model) in MODEL_KEYS {
        if let Some(Ok((used, resets_at))) = json::present(answer, key).map(|value| window_object(value, key)) {
            taken.take(WindowKind::Model(model.to_owned()), used, resets_at);
        }
    }
    for entry in answer.get("limits").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        if let Some((window, used, resets_at)) = limit(entry) {
            taken.take(window, used, resets_at);
        }
    }
    for (key, window) in main {
        if answer.get(key).is_some_and(Value::is_null) && !taken.usage.windows.contains_key(&window) {
            taken.take(window, Percent::ZERO, None);
        }
    }
    Ok(taken.usage)
}

/// What was taken from an answer so far.
struct Taken {
    usage: AccountUsage,
    measured_at: Timestamp,
    source: ReadingSource,
}

impl Taken {
    /// Of two figures for one window the higher one counts: the list and the older keys may be of different age.
    fn take(&mut self, window: WindowKind, used: Percent, resets_at: Option<Timestamp>) {
        let windows = &mut self.usage.windows;
        let is_new_model = matches!(window, WindowKind::Model(_)) && !windows.contains_key(&window);
        let too_many = is_new_model && windows.keys().filter(|kind| matches!(kind, WindowKind::Model(_))).count() >= MAX_MODELS;
        if too_many || windows.get(&window).is_some_and(|held| held.used >= used) {
            return;
        }
        let resets_at = plausible_reset(&window, resets_at, self.measured_at);
        windows.insert(window, WindowReading { used, resets_at, measured_at: self.measured_at, source: self.source });
    }
}

/// `{utilization, resets_at}`.
fn window_object(value: &Value, key: &str) -> Result<(Percent, Option<Timestamp>), Malformed> {
    let object = json::object(value, key)?;
    Ok((json::percent(object, key, "utilization")?, json::time(object, key, "resets_at")?))
}

/// One entry of the list of limits, if its kind is known and its figures can be read.
fn limit(entry: &Map<String, Value>) -> Option<(WindowKind, Percent, Option<Timestamp>)> {
    let window = match entry.get("kind")?.as_str()? {
        "session" => WindowKind::FiveHour,
        "weekly_all" => WindowKind::Weekly,
        "weekly_scoped" => WindowKind::Model(json::model_name(entry.get("scope")?.get("model")?.get("display_name")?.as_str()?)?),
        _ => return None,
    };
    Some((window, json::percent(entry, "limits", "percent").ok()?, json::time(entry, "limits", "resets_at").ok()?))
}

#[cfg(test)]
mod tests;
