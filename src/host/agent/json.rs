//! Tolerant reading of the CLI's JSON: a field of another type than expected is absent, never an error.

use jiff::Timestamp;
use serde_json::{Value, error::Category};

/// What is wrong with a text and where, without quoting any of it.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Io => "it could not be read",
        Category::Syntax => "it is not JSON",
        Category::Data => "a field has an unexpected type or is missing",
        Category::Eof => "it ends in the middle",
    };
    format!("{what}, at line {}, column {}", error.line(), error.column())
}

/// An instant as any version of the CLI may write it: seconds or milliseconds since the epoch, or RFC 3339.
///
/// A number over 10¹¹ counts milliseconds: as seconds it would lie beyond the year 5000, as milliseconds it is 1973 or later.
pub(super) fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.is_finite() && number.abs() < 1e15)?;
            let milliseconds = if number.abs() > 1e11 { number } else { number * 1000.0 };
            #[expect(clippy::cast_possible_truncation, reason = "at most 1e15 after the check above")]
            Timestamp::from_millisecond(milliseconds.round() as i64).ok()
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A whole number, also when it is written as a text: the CLI writes `procStart` verbatim from `/proc`.
pub(super) fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text of at most `limit` bytes, cut at a character.
pub(super) fn text(value: &Value, limit: usize) -> Option<String> {
    value.as_str().map(|text| cut(text, limit).to_owned())
}

/// The longest beginning of `text` that has at most `limit` bytes.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seconds_milliseconds_and_rfc_3339_name_the_same_instant() {
        let expected: Timestamp = "2026-11-22T10:00:00Z".parse().expect("an instant");
        for written in [json!(1_795_341_600), json!(1_795_341_600_000_i64), json!(1_795_341_600.0), json!("2026-11-22T10:00:00Z")] {
            assert_eq!(instant(&written), Some(expected), "{written}");
        }
        for nonsense in [json!(null), json!("soon"), json!(1e300), json!([1])] {
            assert_eq!(instant(&nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_problem_does_not_quote_the_text() {
        let error = serde_json::from_str::<u32>(r#""sk-secret""#).expect_err("a text is no number");
        assert!(error.to_string().contains("sk-secret"), "the original does: {error}");
        assert!(!problem(&error).contains("secret"));
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
