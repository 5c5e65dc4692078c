use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{host::usage::fuzz, model::Percent};

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn reads(rate_limits: &Value) -> Vec<(WindowKind, f64, Option<Timestamp>)> {
    let usage = read(rate_limits, at(NOW)).expect("readable");
    usage.windows.into_iter().map(|(window, reading)| (window, reading.used.value(), reading.resets_at)).collect()
}

#[test]
fn both_windows_are_taken_with_their_reset() {
    let limits = json!({
        "five_hour": {"used_percentage": 42.7, "resets_at": NOW + 3_600},
        "seven_day": {"used_percentage": 17, "resets_at": NOW + 400_000},
        "seven_day_new": {"used_percentage": 99, "resets_at": NOW + 400_000},
    });
    assert_eq!(reads(&limits), [(WindowKind::FiveHour, 42.7, Some(at(NOW + 3_600))), (WindowKind::Weekly, 17.0, Some(at(NOW + 400_000)))]);
}

#[test]
fn what_is_not_said_is_unknown() {
    for limits in [json!(null), json!({}), json!({"five_hour": null}), json!({"five_hour": {"used_percentage": null}})] {
        assert_eq!(reads(&limits), [], "{limits}");
    }
}

#[test]
fn a_window_that_is_over_is_left_out() {
    assert_eq!(reads(&json!({"five_hour": {"used_percentage": 99, "resets_at": NOW}})), []);
    assert_eq!(reads(&json!({"five_hour": {"used_percentage": 99, "resets_at": 0}})), []);
}

#[test]
fn what_is_wrong_is_an_error() {
    for limits in [
        json!("full"),
        json!({"five_hour": 42}),
        json!({"five_hour": {"used_percentage": "42"}}),
        json!({"five_hour": {"used_percentage": -3}}),
        json!({"five_hour": {"used_percentage": 3, "resets_at": {}}}),
    ] {
        assert!(read(&limits, at(NOW)).is_err(), "{limits}");
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_no_zero_is_made_up(limits in fuzz::json_of(&["five_hour", "seven_day", "used_percentage", "resets_at"])) {
        if let Ok(usage) = read(&limits, at(NOW)) {
            for reading in usage.windows.values() {
                prop_assert!(reading.used > Percent::ZERO || fuzz::says_zero(&limits), "{limits}");
                prop_assert!(reading.resets_at.is_none_or(|resets| resets > at(NOW)));
            }
        }
    }
}
