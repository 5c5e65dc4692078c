use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::host::usage::fuzz;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2027-01-15T08:00:00Z")
}

fn taken(answer: &Value) -> Vec<(String, f64, Option<Timestamp>)> {
    let usage = read(answer, now(), ReadingSource::Cli).expect("readable");
    usage.windows.into_iter().map(|(window, reading)| (window.to_string(), reading.used.value(), reading.resets_at)).collect()
}

#[test]
fn an_answer_of_today_is_read_whole() {
    let answer = json!({
        "five_hour": {"utilization": 42.0, "resets_at": "2027-01-15T09:00:00.763+00:00"},
        "seven_day": {"utilization": 17, "resets_at": "2027-01-19T08:00:00Z"},
        "seven_day_oauth_apps": null,
        "seven_day_opus": null,
        "seven_day_sonnet": {"utilization": 3.0, "resets_at": "2027-01-19T08:00:00Z"},
        "seven_day_iguana": {"utilization": 100.0, "resets_at": null},
        "extra_usage": {"is_enabled": false, "monthly_limit": null, "used_credits": null, "utilization": null},
        "limits": [
            {"kind": "session", "percent": 42, "resets_at": "2027-01-15T09:00:00Z", "scope": null, "is_active": true},
            {"kind": "weekly_all", "percent": 18.5, "resets_at": "2027-01-19T08:00:00Z", "scope": null},
            {"kind": "weekly_scoped", "percent": 91, "resets_at": "2027-01-19T08:00:00Z", "scope": {"model": {"display_name": "Fable"}}},
            {"kind": "monthly_new", "percent": 99, "resets_at": null, "scope": null},
        ],
    });
    let week = Some(at("2027-01-19T08:00:00Z"));
    assert_eq!(
        taken(&answer),
        [
            ("fiveHour".to_owned(), 42.0, Some(at("2027-01-15T09:00:00.763Z"))),
            ("weekly".to_owned(), 18.5, week),
            ("model:Fable".to_owned(), 91.0, week),
            ("model:Sonnet".to_owned(), 3.0, week),
        ]
    );
}

#[test]
fn null_has_not_begun_and_absent_is_unknown() {
    assert_eq!(
        taken(&json!({"five_hour": null, "seven_day": null})),
        [("fiveHour".to_owned(), 0.0, None), ("weekly".to_owned(), 0.0, None)]
    );
    assert_eq!(taken(&json!({})), []);
    let listed = json!({"five_hour": null, "limits": [{"kind": "session", "percent": 60, "resets_at": null}]});
    assert_eq!(taken(&listed), [("fiveHour".to_owned(), 60.0, None)], "a figure outweighs null");
}

#[test]
fn a_main_window_that_cannot_be_read_is_an_error_and_never_zero() {
    for (window, words) in [
        (json!("42"), "five_hour must be an object, found a text"),
        (json!({}), "five_hour.utilization is missing"),
        (json!({"utilization": null}), "five_hour.utilization must be a number, found null"),
        (json!({"utilization": -1}), "five_hour.utilization is out of range"),
        (json!({"utilization": 1e308}), "five_hour.utilization is out of range"),
        (
            json!({"utilization": 1, "resets_at": "soon"}),
            "five_hour.resets_at must be epoch seconds or an RFC 3339 time between the years 1970 and 9999",
        ),
        (json!({"utilization": 1, "resets_at": []}), "five_hour.resets_at must be epoch seconds or an RFC 3339 time, found a list"),
    ] {
        let error = read(&json!({"five_hour": window}), now(), ReadingSource::Api).expect_err("malformed");
        assert_eq!(error.to_string(), words);
    }
    assert!(read(&json!([1]), now(), ReadingSource::Api).is_err());
}

#[test]
fn a_listed_limit_that_cannot_be_read_is_unknown_and_takes_nothing_with_it() {
    let answer = json!({
        "five_hour": {"utilization": 900, "resets_at": null},
        "limits": [
            {"kind": "weekly_scoped", "percent": "91", "scope": {"model": {"display_name": "Fable"}}},
            {"kind": "weekly_scoped", "percent": 91, "scope": null},
            {"kind": "weekly_scoped", "percent": 91, "scope": {"model": {"display_name": "\u{1b}\n"}}},
            {"kind": 7}, "weekly_all",
        ],
    });
    assert_eq!(taken(&answer), [("fiveHour".to_owned(), 900.0, None)], "more than full happens");
    assert_eq!(taken(&json!({"limits": {"kind": "session"}})), []);
}

#[test]
fn names_of_models_are_safe_to_show_and_few() {
    let limit = |name: String| json!({"kind": "weekly_scoped", "percent": 5, "scope": {"model": {"display_name": name}}});
    let long = format!("\u{1b}[31mRed\u{7}{}", "x".repeat(200));
    let shown = taken(&json!({"limits": [limit(long)]}));
    assert_eq!(shown[0].0, format!("model:[31mRed{}", "x".repeat(57)));
    let many: Vec<_> = (0..500).map(|number| limit(format!("m{number}"))).collect();
    assert_eq!(taken(&json!({"limits": many})).len(), MAX_MODELS);
}

#[test]
fn a_reset_time_that_no_window_can_have_is_not_believed() {
    let of = |resets_at: &str| taken(&json!({"five_hour": {"utilization": 5, "resets_at": resets_at}}))[0].2;
    assert_eq!(of("2099-01-01T00:00:00Z"), None);
    assert_eq!(of("2027-01-15T14:30:00Z"), None);
    assert_eq!(of("2027-01-15T13:30:00Z"), Some(at("2027-01-15T13:30:00Z")));
    assert_eq!(of("2027-01-15T07:00:00Z"), Some(at("2027-01-15T07:00:00Z")), "over: the reading is worth nothing and says so itself");
}

const WORDS: &[&str] = &[
    "five_hour",
    "seven_day",
    "seven_day_opus",
    "utilization",
    "resets_at",
    "limits",
    "kind",
    "percent",
    "scope",
    "model",
    "display_name",
];

proptest! {
    #[test]
    fn nothing_panics_and_no_zero_is_made_up(answer in fuzz::json_of(WORDS)) {
        if let Ok(usage) = read(&answer, now(), ReadingSource::Api) {
            prop_assert!(usage.windows.len() <= MAX_MODELS + 2);
            for (window, reading) in usage.windows {
                prop_assert!(reading.used > Percent::ZERO || fuzz::says_zero(&answer), "{window} is 0 % in {answer}");
                let length = window.length() + std::time::Duration::from_hours(1);
                prop_assert!(reading.resets_at.is_none_or(|resets| resets.duration_since(now()).unsigned_abs() <= length || resets < now()));
                prop_assert!(window.to_string().chars().all(|c| !c.is_control()));
            }
        }
    }
}
