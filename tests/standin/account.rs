//! The account behind a session: limits, login, usage.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{agent::Place, waiting::wait_until};

const ID: &str = "44444444-0000-4000-8000-000000000001";

fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + seconds
}

#[test]
fn a_limit_is_recorded_and_the_session_looks_idle() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("one");
    place.wait_told("Stop", 1);
    // The behaviour of a running session changes with the file.
    let reset = seconds_from_now(1800);
    place.behave("a", &json!({"limit": {"window": "five_hour", "resetsAt": reset}, "usage": {"fiveHour": {"usedPercent": 97}}}));
    agent.say("two");
    assert_eq!(place.wait_told("StopFailure", 1).input["error"], "rate_limit");
    agent.wait_status("idle");
    let records = place.transcript(ID);
    let record = records.iter().rfind(|record| record["type"] == "assistant").expect("a record");
    assert_eq!(record["quotaLimits"]["resetsAt"], reset);
    assert_eq!(record["quotaLimits"]["rateLimitType"], "five_hour");
    assert_eq!((&record["isApiErrorMessage"], &record["error"]), (&json!(true), &json!("rate_limit")));
    wait_until("a full window in the status line", || {
        let status = place.told().into_iter().rfind(|told| told.event == "StatusLine");
        status.is_some_and(|told| told.input["rate_limits"]["five_hour"]["used_percentage"] == 100)
    });

    place.behave("a", &json!({}));
    agent.say("three");
    place.wait_told("Stop", 2);
}

#[test]
fn a_session_that_waits_for_its_reset_goes_on_by_itself() {
    let place = Place::new();
    place.behave("a", &json!({"limit": {"window": "five_hour", "resetsAt": seconds_from_now(5)}}));
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("one");
    place.wait_told("StopFailure", 1);
    agent.wait_status("idle");
    place.wait_told("Stop", 1);
}

#[test]
fn a_reset_that_is_days_away_opens_a_menu() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("one");
    place.wait_told("Stop", 1);
    place.behave("a", &json!({"limit": {"window": "seven_day", "resetsAt": seconds_from_now(180_000)}}));
    agent.say("two");
    assert_eq!(agent.wait_status("waiting")["waitingFor"], "dialog open");
    agent.stop();
    // A conversation that is resumed under such an account meets the menu at once.
    let agent = place.start("a", &["--resume", ID]);
    agent.wait_status("waiting");
}

#[test]
fn a_login_that_has_ended_fails_each_turn() {
    let place = Place::new();
    place.behave("a", &json!({"login": "dead"}));
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("one");
    assert_eq!(place.wait_told("StopFailure", 1).input["error"], "authentication_failed");
    agent.wait_status("idle");
    let status = place.run("a", &["auth", "status"]);
    assert_eq!(status.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(answer["loggedIn"], false);
}

#[test]
fn a_login_that_works_tells_when_it_ends() {
    let place = Place::new();
    place.behave("a", &json!({"loginExpiresAt": "2026-12-22T13:42:04.000Z"}));
    let status = place.run("a", &["auth", "status"]);
    assert_eq!(status.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!((&answer["loggedIn"], &answer["loginExpiresAt"]), (&json!(true), &json!("2026-12-22T13:42:04.000Z")));
    assert_eq!(answer["configDirectory"], json!(place.home("a")));
}

#[test]
fn usage_is_printed_and_kept_for_who_reads_the_cache() {
    let place = Place::new();
    place.behave(
        "a",
        &json!({"usage": {"fiveHour": {"usedPercent": 42, "resetsAt": 1_795_357_546}, "models": {"Fable": {"usedPercent": 91}}}}),
    );
    let output = place.run("a", &["-p", "/usage", "--safe-mode", "--no-session-persistence"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Current session: 42% used"), "{text}");
    let config: Value = serde_json::from_slice(&fs::read(place.home("a").join(".claude.json")).expect("there")).expect("JSON");
    assert_eq!(config["hasCompletedOnboarding"], true, "the rest of the file is kept");
    let cached = &config["cachedUsageUtilization"];
    assert!(cached["fetchedAtMs"].as_u64().is_some_and(|at| at / 1000 + 60 > seconds_from_now(0)));
    assert_eq!(cached["utilization"]["five_hour"]["utilization"], 42.0);
    assert_eq!(cached["utilization"]["five_hour"]["resets_at"], "2026-11-22T14:25:46.000000+00:00");
    assert_eq!(cached["utilization"]["seven_day"], Value::Null);
    assert_eq!(cached["utilization"]["limits"][1]["scope"]["model"]["display_name"], "Fable");
}

#[test]
fn the_version_comes_first_on_its_line() {
    let output = Place::new().run("a", &["--version"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.split(' ').next(), Some("2.1.330"));
}
