//! Starting: the register, the first screens, and what is refused.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    agent::{Place, read_until},
    waiting::wait_until,
};

const ID: &str = "fb6f3520-e2ec-525d-91b8-9febdc84487c";

#[test]
fn a_session_registers_itself_and_tells_the_start_hook() {
    let place = Place::new();
    let agent = place.start("a", &["--session-id", ID]);
    let entry = agent.wait_status("idle");
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid())).expect("it lives");
    let started = stat.rsplit(") ").next().expect("fields").split(' ').nth(19).expect("field 22");
    assert_eq!(entry["pid"], agent.pid());
    assert_eq!(entry["procStart"], started);
    assert_eq!(entry["sessionId"], ID);
    assert_eq!(entry["cwd"], json!(place.workdir));
    assert_eq!(entry["kind"], "interactive");

    let told = place.wait_told("SessionStart", 1);
    assert_eq!((told.pid, told.home), (agent.pid(), place.home("a")));
    assert_eq!(told.input["source"], "startup");
    assert_eq!(told.input["session_id"], ID);
    let expected = place.home("a").join("projects");
    assert!(told.input["transcript_path"].as_str().is_some_and(|path| path.starts_with(&*expected.to_string_lossy())));
    assert!(place.transcript(ID).is_empty(), "nothing was said yet");
}

#[test]
fn an_idle_session_sleeps_without_a_timeout() {
    let place = Place::new();
    let agent = place.start("a", &[]);
    agent.wait_status("idle");
    // proc_pid_syscall(5): the number of the call and its arguments; the third of poll and ppoll is the time to wait, and none is -1 or 0.
    wait_until("a sleep without end", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", agent.pid())).unwrap_or_default();
        call.split(' ').nth(3).is_some_and(|timeout| timeout == "0x0" || timeout == "0xffffffff" || timeout == "0xffffffffffffffff")
    });
}

#[test]
fn an_id_is_taken_once_something_was_said_and_free_before() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    let refused = place.run("a", &["--resume", ID]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("No conversation found with session ID: {ID}\n"));
    agent.stop();
    assert!(place.transcript(ID).is_empty());

    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("hello");
    place.wait_told("Stop", 1);
    agent.stop();
    for home in ["a", "b"] {
        let refused = place.run(home, &["--session-id", ID]);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&refused.stderr), format!("Error: Session ID {ID} is already in use.\n"));
    }
}

#[test]
fn an_untrusted_directory_waits_without_a_register_entry() {
    let place = Place::new();
    place.configure("a", &json!({"hasCompletedOnboarding": true}));
    let mut agent = place.start_on_screen("a", &["--session-id", ID]);
    read_until(&agent, "Enter to confirm");
    agent.press("\r");
    assert_eq!(agent.wait_end(), 1);
    assert!(!agent.entry_path().exists());
    assert!(!place.was_told("SessionStart"));

    let mut agent = place.start_on_screen("a", &["--session-id", ID]);
    read_until(&agent, "Enter to confirm");
    agent.press("\x1b[B\r");
    agent.wait_status("idle");
    agent.stop();
    place.start("a", &["--session-id", ID]).wait_status("idle");
}

#[test]
fn a_home_without_a_login_cannot_be_onboarded() {
    let place = Place::new();
    place.configure("a", &json!({}));
    place.behave("a", &json!({"login": "missing"}));
    let mut agent = place.start("a", &[]);
    agent.press("\n\n");
    assert_eq!(agent.wait_end(), 1);
    assert!(!agent.entry_path().exists());
}

#[test]
fn a_signal_ends_a_session_that_is_not_ready() {
    let place = Place::new();
    place.configure("a", &json!({"hasCompletedOnboarding": true}));
    let mut waiting = place.start("a", &[]);
    place.behave("b", &json!({"startupMillis": 60_000}));
    let mut starting = place.start("b", &[]);
    for agent in [&mut waiting, &mut starting] {
        // Before it has taken over its signals they end it like any process.
        wait_until("a blocked SIGTERM", || agent.blocks(Signal::SIGTERM));
        agent.stop();
        assert!(!agent.entry_path().exists());
    }
}

#[test]
fn a_session_inside_a_session_leaves_nothing_behind() {
    let place = Place::new();
    let mut agent = place.start_with("a", &["--session-id", ID], &[("CLAUDE_CODE_CHILD_SESSION", "1")]);
    place.wait_told("SessionStart", 1);
    agent.say("hello");
    place.wait_told("Stop", 1);
    assert!(!agent.entry_path().exists());
    assert!(place.transcript(ID).is_empty());
}

#[test]
fn what_is_typed_too_early_stays_a_draft() {
    let place = Place::new();
    place.behave("a", &json!({"startupMillis": 300}));
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.say("early");
    agent.wait_status("idle");
    agent.say(" and late");
    let told = place.wait_told("UserPromptSubmit", 1);
    assert_eq!(told.input["prompt"], "early and late");
}

#[test]
fn a_slow_register_and_a_blank_conversation_can_be_told_apart_from_a_good_start() {
    let place = Place::new();
    place.behave("a", &json!({"registerDelayMillis": 200, "blankConversation": true}));
    let agent = place.start("a", &["--session-id", ID]);
    let told = place.wait_told("SessionStart", 1);
    let entry = agent.wait_status("idle");
    assert_ne!(entry["sessionId"], ID);
    assert_eq!(entry["sessionId"], told.input["session_id"]);
}

#[test]
fn a_misspelt_behaviour_is_refused() {
    let place = Place::new();
    place.behave("a", &json!({"exitMilis": 5}));
    let output = place.run("a", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown field `exitMilis`"));
}
