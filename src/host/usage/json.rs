//! JSON that somebody else wrote, taken apart field by field.
//!
//! serde's own messages quote the value that they found, which may be a token or a line of somebody's terminal codes. The errors here name
//! the field and the kinds only.

use std::fmt;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::model::{Percent, PercentError};

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// It is not JSON, or JSON of quite another shape.
    #[error("it is no usable JSON ({problem} at line {line}, column {column})")]
    NotJson {
        /// The kind of problem.
        problem: &'static str,
        /// Where: the line, from 1.
        line: usize,
        /// Where: the column.
        column: usize,
    },
    /// A field is missing.
    #[error("{field} is missing")]
    Missing {
        /// Its path.
        field: String,
    },
    /// A field holds another kind of value.
    #[error("{field} must be {expected}, found {found}")]
    WrongKind {
        /// Its path.
        field: String,
        /// The kind that it must be.
        expected: &'static str,
        /// The kind that it is.
        found: &'static str,
    },
    /// A share is no percentage.
    #[error("{field} is out of range")]
    Share {
        /// Its path.
        field: String,
        /// The number.
        #[source]
        source: PercentError,
    },
    /// A time cannot be read.
    #[error("{field} must be epoch seconds or an RFC 3339 time between the years 1970 and 9999")]
    Time {
        /// Its path.
        field: String,
    },
    /// A field is no good in another way.
    #[error("{field} {problem}")]
    Field {
        /// Its path.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A measurement is dated ahead of our clock.
    #[error("{field} is {at:.0}, ahead of this host's clock")]
    FromTheFuture {
        /// Its path.
        field: String,
        /// The time.
        at: Timestamp,
    },
}

/// Reads JSON whole, without a word of its content in the error.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| not_json(&error))
}

/// A parser's error without the value that it quotes.
pub(super) fn not_json(error: &serde_json::Error) -> Malformed {
    let problem = match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "a syntax error",
        serde_json::error::Category::Data => "another kind of value than expected",
        serde_json::error::Category::Eof => "a sudden end",
    };
    Malformed::NotJson { problem, line: error.line(), column: error.column() }
}

/// The kind of a value, for people.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The value as an object.
pub(super) fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>, Malformed> {
    value.as_object().ok_or_else(|| wrong_kind(field, "an object", value))
}

/// The complaint that a field is of another kind.
pub(super) fn wrong_kind(field: impl fmt::Display, expected: &'static str, value: &Value) -> Malformed {
    Malformed::WrongKind { field: field.to_string(), expected, found: kind(value) }
}

/// The field, when it is there and not null.
pub(super) fn present<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A percentage that must be there.
pub(super) fn percent(object: &Map<String, Value>, path: &str, name: &str) -> Result<Percent, Malformed> {
    let field = format!("{path}.{name}");
    let Some(value) = object.get(name) else { return Err(Malformed::Missing { field }) };
    let number = value.as_f64().ok_or_else(|| wrong_kind(&field, "a number", value))?;
    Percent::new(number).map_err(|source| Malformed::Share { field, source })
}

/// A time that may be absent: epoch seconds or RFC 3339.
pub(super) fn time(object: &Map<String, Value>, path: &str, name: &str) -> Result<Option<Timestamp>, Malformed> {
    let Some(value) = present(object, name) else { return Ok(None) };
    let field = format!("{path}.{name}");
    let at = match value {
        Value::Number(number) => number.as_f64().and_then(from_epoch),
        Value::String(text) => text.parse().ok(),
        other => return Err(wrong_kind(&field, "epoch seconds or an RFC 3339 time", other)),
    };
    at.filter(|at| *at >= Timestamp::UNIX_EPOCH).map(Some).ok_or(Malformed::Time { field })
}

/// Epoch seconds, exact to a millisecond.
fn from_epoch(seconds: f64) -> Option<Timestamp> {
    // The last second that a timestamp holds, in the year 9999. The comparison also refuses NaN.
    if !(0.0..=253_402_207_199.0).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range after the check above; what is under a millisecond is cut off")]
    Timestamp::from_millisecond((seconds * 1_000.0) as i64).ok()
}

/// Epoch milliseconds.
pub(super) fn from_epoch_millis(millis: f64) -> Option<Timestamp> {
    from_epoch(millis / 1_000.0)
}

/// A model's display name as it may be shown: no control characters, at most 64 characters. `None` when nothing is left.
pub(super) fn model_name(text: &str) -> Option<String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}
