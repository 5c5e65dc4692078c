//! Ends: signals, ways out, crashes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::{
    agent::{Place, lives},
    waiting::wait_until,
};

const ID: &str = "22222222-0000-4000-8000-000000000001";

#[test]
fn each_signal_has_its_exit_code_and_leaves_no_entry() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 0)] {
        let place = Place::new();
        let mut agent = place.start("a", &[]);
        agent.wait_status("idle");
        agent.signal(signal);
        assert_eq!(agent.wait_end(), code, "{signal}");
        assert!(!agent.entry_path().exists());
        assert_eq!(place.wait_told("SessionEnd", 1).input["reason"], "other");
    }
}

#[test]
fn a_person_leaves_by_command_or_by_two_keys() {
    for keys in ["/exit\r", "\x03\x03", "\x04\x04"] {
        let place = Place::new();
        let mut agent = place.start_on_terminal("a", &[]);
        agent.wait_status("idle");
        agent.press(keys);
        assert_eq!(agent.wait_end(), 0, "{keys:?}");
        assert_eq!(place.wait_told("SessionEnd", 1).input["reason"], "prompt_input_exit");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_session() {
    let place = Place::new();
    let mut agent = place.start_on_terminal("a", &[]);
    agent.wait_status("idle");
    agent.hang_up();
    assert_eq!(agent.wait_end(), 129);
}

#[test]
fn a_pipe_that_ends_does_not() {
    let place = Place::new();
    let mut agent = place.start("a", &[]);
    agent.wait_status("idle");
    agent.hang_up();
    agent.stop();
}

#[test]
fn a_running_tool_is_killed_and_its_result_recorded() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("[[tool 60]]");
    place.wait_told("PreToolUse", 1);
    let tool = agent.wait_tool();
    agent.stop();
    assert!(!lives(tool));
    let records = place.transcript(ID);
    let last = records.last().expect("records");
    assert_eq!(last["message"]["content"][0]["content"], "Exit code 137");
    let before = &records[records.len() - 3];
    assert_eq!((&before["type"], &before["lastPrompt"]), (&json!("last-prompt"), &json!("[[tool 60]]")));
    assert!(!place.was_told("Stop"));
}

#[test]
fn a_kill_leaves_the_entry_and_the_tool_and_the_next_start_sweeps() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("[[tool 60]]");
    place.wait_told("PreToolUse", 1);
    let tool = agent.wait_tool();
    agent.signal(Signal::SIGKILL);
    assert_eq!(agent.wait_end(), -9);
    assert!(lives(tool), "the tool is an orphan");
    kill(Pid::from_raw(tool), Signal::SIGKILL).expect("it lives");
    assert!(agent.entry_path().exists());
    assert!(!place.was_told("SessionEnd"));
    place.start("a", &[]).wait_status("idle");
    assert!(!agent.entry_path().exists());
}

#[test]
fn a_slow_end_takes_its_time() {
    let place = Place::new();
    place.behave("a", &json!({"exitMillis": 60_000}));
    let mut agent = place.start("a", &[]);
    agent.wait_status("idle");
    agent.signal(Signal::SIGTERM);
    wait_until("the end to begin", || agent.has_taken(Signal::SIGTERM));
    place.behave("a", &json!({}));
    // A second signal changes nothing: the end has begun.
    agent.signal(Signal::SIGTERM);
    wait_until("the second signal to be taken", || agent.has_taken(Signal::SIGTERM));
    assert!(agent.is_alive());
    assert!(agent.entry_path().exists());

    place.behave("b", &json!({"exitMillis": 150}));
    let mut agent = place.start("b", &[]);
    agent.wait_status("idle");
    let begun = std::time::Instant::now();
    agent.stop();
    assert!(begun.elapsed().as_millis() >= 150);
}

#[test]
fn a_stubborn_session_needs_a_kill() {
    let place = Place::new();
    place.behave("a", &json!({"stubborn": true}));
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.signal(Signal::SIGTERM);
    agent.say("still here");
    place.wait_told("Stop", 1);
    assert!(agent.is_alive());
    agent.signal(Signal::SIGKILL);
    assert_eq!(agent.wait_end(), -9);
}

#[test]
fn crashes_come_where_they_are_told_to() {
    let place = Place::new();
    place.behave("a", &json!({"crash": "at-start"}));
    let mut agent = place.start("a", &[]);
    assert_eq!(agent.wait_end(), 1);
    assert!(!agent.entry_path().exists());

    place.behave("a", &json!({"crash": "after-start"}));
    let mut agent = place.start("a", &[]);
    assert_eq!(agent.wait_end(), 1);
    assert!(agent.entry_path().exists());
    place.wait_told("SessionStart", 1);
    assert!(!place.was_told("SessionEnd"));

    place.behave("a", &json!({}));
    let mut agent = place.start("a", &[]);
    agent.wait_status("idle");
    agent.say("[[exit 7]]");
    assert_eq!(agent.wait_end(), 7);
    assert!(!agent.entry_path().exists());
}
