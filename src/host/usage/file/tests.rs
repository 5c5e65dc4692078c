use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{host::usage::fuzz, model::Percent};

fn now() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().expect("a time")
}

fn primary() -> AccountName {
    AccountName::new("primary").expect("a name")
}

fn parsed(value: &Value) -> Result<AccountUsage, Malformed> {
    parse(value.to_string().as_bytes(), &primary(), now(), ReadingSource::File)
}

/// The first fenced block of the page that follows `heading`.
fn block_after(heading: &str) -> Value {
    let page = include_str!("../../../../docs/quota.md");
    let (_, below) = page.split_once(heading).expect("the heading is there");
    let (_, block) = below.split_once("```json\n").expect("a block follows");
    let (block, _) = block.split_once("```").expect("the block ends");
    serde_json::from_str(block).expect("the block is JSON")
}

#[test]
fn the_example_of_the_documentation_is_read_as_it_says() {
    let usage = parsed(&block_after("### An example")).expect("readable");
    let windows: Vec<_> = usage.windows.iter().map(|(window, reading)| (window.to_string(), reading.used.value())).collect();
    assert_eq!(windows, [("fiveHour".to_owned(), 42.5), ("weekly".to_owned(), 17.0), ("model:Fable".to_owned(), 91.0)]);
    let five_hour = &usage.windows[&WindowKind::FiveHour];
    assert_eq!(five_hour.resets_at, Some("2027-01-15T09:00:00Z".parse().expect("a time")));
    assert_eq!(usage.windows[&WindowKind::Weekly].resets_at, Some(Timestamp::from_second(1_800_345_600).expect("in range")));
    assert_eq!(five_hour.measured_at, "2027-01-15T07:59:00Z".parse().expect("a time"));
}

#[test]
fn the_schema_of_the_documentation_names_what_is_read() {
    let schema = block_after("### Its schema");
    let account = &schema["additionalProperties"]["properties"];
    let window = &schema["definitions"]["window"]["properties"];
    for (properties, names) in
        [(account, ["fiveHour", "weekly", "models", "measuredAt"].as_slice()), (window, &["usedPercent", "resetsAt", "measuredAt"])]
    {
        let declared: Vec<&String> = properties.as_object().expect("properties").keys().collect();
        assert!(declared.len() == names.len() && names.iter().all(|name| properties.get(name).is_some()), "{declared:?}");
    }
}

#[test]
fn what_is_absent_or_null_is_unknown() {
    for value in [
        json!({}),
        json!({"primary": null}),
        json!({"backup": "whatever"}),
        json!({"primary": {}}),
        json!({"primary": {"fiveHour": null, "models": null, "measuredAt": 1_800_000_000}}),
    ] {
        assert_eq!(parsed(&value).expect("readable"), AccountUsage::default(), "{value}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let of = |section: Value| parsed(&json!({"primary": section})).expect_err("malformed").to_string();
    assert_eq!(of(json!({"fiveHour": {"usedPercent": 5}})), "primary.measuredAt is missing");
    assert_eq!(of(json!({"fiveHour": {}, "measuredAt": 1})), "primary.fiveHour.usedPercent is missing");
    assert_eq!(of(json!({"fiveHour": 5, "measuredAt": 1})), "primary.fiveHour must be an object, found a number");
    assert_eq!(of(json!({"models": []})), "primary.models must be an object, found a list");
    assert_eq!(of(json!({"measuredAt": "2099-01-01T00:00:00Z"})), "primary.measuredAt is 2099-01-01T00:00:00Z, ahead of this host's clock");
    assert!(parse(b"", &primary(), now(), ReadingSource::File).is_err());
    assert!(parse(&fuzz::deep(), &primary(), now(), ReadingSource::File).is_err());
}

#[test]
fn a_window_may_have_its_own_time() {
    let value = json!({"primary": {"measuredAt": 1_800_000_000, "weekly": {"usedPercent": 5, "measuredAt": 1_799_990_000}}});
    let usage = parsed(&value).expect("readable");
    assert_eq!(usage.windows[&WindowKind::Weekly].measured_at.as_second(), 1_799_990_000);
}

#[tokio::test]
async fn only_a_regular_file_of_bounded_size_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("quota.json");
    assert!(matches!(read(&path, &primary(), now()).await, Err(UsageError::Path { .. })), "absent");
    fs::write(&path, json!({"primary": {"weekly": {"usedPercent": 5}, "measuredAt": 1_800_000_000}}).to_string()).expect("written");
    assert_eq!(read(&path, &primary(), now()).await.expect("readable").windows.len(), 1);
    fs::write(&path, vec![b' '; LIMIT + 1]).expect("written");
    assert!(matches!(read(&path, &primary(), now()).await, Err(UsageError::TooLarge { .. })));
    assert!(matches!(read(dir.path(), &primary(), now()).await, Err(UsageError::NotAFile { .. })));
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert!(matches!(read(&pipe, &primary(), now()).await, Err(UsageError::NotAFile { .. })), "a pipe without a writer does not hang");
}

proptest! {
    #[test]
    fn nothing_panics_and_no_zero_is_made_up(
        value in fuzz::json_of(&["primary", "fiveHour", "weekly", "models", "Fable", "usedPercent", "resetsAt", "measuredAt"]),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(usage) = parsed(&value) {
            for reading in usage.windows.values() {
                prop_assert!(reading.used > Percent::ZERO || fuzz::says_zero(&value), "{value}");
                prop_assert!(reading.measured_at.duration_since(now()).as_secs() <= 300);
            }
        }
        let _either = parse(&bytes, &primary(), now(), ReadingSource::File);
    }
}
