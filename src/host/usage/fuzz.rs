//! JSON that is nearly right: the known words in the wrong places, with the wrong values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Values that a figure, a time or an object may turn out to be.
fn leaf() -> impl Strategy<Value = Value> {
    let texts = ["", "42", "NaN", "2099-01-01T00:00:00Z", "2027-01-15T09:00:00.123456+00:00", "0000-00-00", "session", "weekly_all"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-10_i64..1_200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![1e308, -1.0, 900.0, 1000.1, 1_800_000_000.0, 4_070_908_800.0, 1.8e12]).prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ]
}

/// Any JSON whose keys are mostly among `words`.
pub(super) fn json_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 60, 6, move |inner| {
        let key = prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"];
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            4 => prop::collection::vec((key, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Whether a reading of 0 % is the source's own word: somewhere in what it said stands `null`, or a number that rounds to 0.
pub(super) fn says_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < 0.005),
        Value::Array(items) => items.iter().any(says_zero),
        Value::Object(fields) => fields.values().any(says_zero),
        Value::Bool(_) | Value::String(_) => false,
    }
}

/// JSON that is nested too deep for any stack.
pub(super) fn deep() -> Vec<u8> {
    let mut text = "{\"five_hour\":".repeat(100_000);
    text.push_str(&json!(1).to_string());
    text.into_bytes()
}
