//! Starting, and the life of a conversation's id.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    lab::Lab,
    waiting::{DEADLINE, found_within, wait_for, wait_until},
};

#[test]
fn print_mode_asks_the_played_api_under_the_homes_own_token() {
    let Some(lab) = Lab::open() else { return };
    let output = lab.run("a", &["-p", "hello", "--output-format", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["result"], "REPLY users=1 account=a: hello");
    assert_eq!(lab.api.turns("a").len(), 1);
}

#[test]
fn a_session_takes_a_name_based_id_registers_itself_and_writes_no_transcript_before_the_first_prompt() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"pool/web-1/1").to_string();
    let session = lab.start("a", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    let entry = session.wait_status("idle");
    assert_eq!(entry["sessionId"], id.as_str());
    assert_eq!(entry["pid"], session.pid);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", session.pid)).expect("it lives");
    assert_eq!(entry["procStart"].as_str(), stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(19)));
    assert!(lab.transcript_path(&id).is_none());
    let socket = entry["messagingSocketPath"].as_str().unwrap_or_default();
    assert!(socket.is_empty() || std::path::Path::new(socket).starts_with(lab.directory()), "outside of the lab: {socket}");

    session.say("remember the heron");
    wait_for("the answer's record", || {
        lab.transcript(&id).into_iter().find(|record| record["type"] == "assistant" && record["message"]["stop_reason"] == "end_turn")
    });
    session.wait_status("idle");
    let prompt = lab.transcript(&id).into_iter().find(|record| record["type"] == "user").expect("the prompt");
    assert_eq!(prompt["message"]["content"], "remember the heron");
    assert_eq!(prompt["cwd"].as_str(), lab.workdir().to_str());

    session.signal(Signal::SIGTERM);
    wait_until("the end", || !session.is_alive());
    assert!(session.entry().is_none(), "a graceful end takes the entry out of the register");
    assert_eq!(
        lab.transcript(&id).into_iter().rfind(|record| record["type"] == "last-prompt").expect("one")["lastPrompt"],
        "remember the heron"
    );
}

#[test]
fn a_conversation_in_which_nothing_was_said_cannot_be_resumed_and_its_id_stays_free() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    let first = lab.start("a", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    first.wait_status("idle");
    // Not even a session that has it open holds the id.
    let second = lab.start("a", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    assert_eq!(second.wait_status("idle")["sessionId"], id.as_str());
    first.stop();
    second.stop();
    assert!(lab.transcript_path(&id).is_none());

    let refused = lab.run("a", &["--resume", &id, "-p", "hello"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("No conversation found with session ID: {id}")));

    let third = lab.start("b", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    assert_eq!(third.wait_status("idle")["sessionId"], id.as_str());
}

#[test]
fn an_id_under_which_something_was_said_is_taken_in_every_home() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    assert!(lab.run("a", &["--session-id", &id, "-p", "hello"]).status.success());
    for home in ["a", "b"] {
        let refused = lab.run(home, &["--session-id", &id, "-p", "again"]);
        assert_eq!(refused.status.code(), Some(1));
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(message.contains(&format!("Session ID {id} is already in use")), "{message}");
    }
}

#[test]
fn an_untrusted_directory_stops_at_a_dialog_without_a_register_entry() {
    let Some(lab) = Lab::open() else { return };
    std::fs::write(lab.home("a").join(".claude.json"), r#"{"hasCompletedOnboarding":true}"#).expect("written");
    let session = lab.start("a", &["--permission-mode", "acceptEdits"]);
    wait_until("the dialog", || session.screen().contains("❯ No, exit"));
    assert!(session.entry().is_none());
    // The dialog takes no key that comes too early, or too soon after another one.
    let mut pressed: Option<Instant> = None;
    let ended = found_within(DEADLINE, || {
        if pressed.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            session.press("Enter");
            pressed = Some(Instant::now());
        }
        (!session.is_alive()).then_some(())
    });
    assert!(ended.is_some(), "{}", session.screen());
}
