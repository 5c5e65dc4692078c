//! Hooks and the status line that are passed with `--settings`.

use uuid::Uuid;

use crate::{lab::Lab, waiting::wait_until};

fn hooks_report(detached: bool) {
    let Some(lab) = Lab::open() else { return };
    let settings = lab.write_settings(detached);
    let id = Uuid::new_v4().to_string();
    let flags = ["--permission-mode", "acceptEdits", "--settings", &settings];
    let session = lab.start("a", &[&["--session-id", &id][..], &flags].concat());
    let started = lab.wait_told("SessionStart", |_| true);
    assert_eq!((started.pid, started.home), (session.pid, lab.home("a")));
    assert_eq!(started.input["source"], "startup");
    assert_eq!(started.input["session_id"], id.as_str());
    session.wait_status("idle");
    session.say("hello");
    let submitted = lab.wait_told("UserPromptSubmit", |_| true);
    assert_eq!(submitted.input["prompt"], "hello");
    let stopped = lab.wait_told("Stop", |_| true);
    assert_eq!(stopped.input["last_assistant_message"], "REPLY users=1 account=a: hello");
    session.wait_status("idle");
    session.stop();
    assert_eq!(lab.wait_told("SessionEnd", |_| true).input["reason"], "other");

    let session = lab.start("b", &[&["--resume", &id][..], &flags].concat());
    let resumed = lab.wait_told("SessionStart", |told| told.pid == session.pid);
    assert_eq!(resumed.input["source"], "resume");
    assert_eq!(resumed.home, lab.home("b"));
    let path = lab.home("b").join("projects");
    assert!(resumed.input["transcript_path"].as_str().is_some_and(|text| text.starts_with(&*path.to_string_lossy())));
}

#[test]
fn hooks_tell_process_home_and_conversation_on_startup_and_on_resume() {
    hooks_report(false);
}

#[test]
fn hooks_that_nothing_waits_for_tell_the_same() {
    hooks_report(true);
}

#[test]
fn the_status_line_gets_the_limits_before_any_prompt() {
    let Some(lab) = Lab::open() else { return };
    lab.api.change("a", |account| account.windows = [(0.63, 3000), (0.21, 200_000)]);
    let settings = lab.write_settings(true);
    let session = lab.start("a", &["--permission-mode", "acceptEdits", "--settings", &settings]);
    session.wait_status("idle");
    let told = lab.wait_told("StatusLine", |told| told.input["rate_limits"]["five_hour"].is_object());
    assert_eq!(told.input["rate_limits"]["five_hour"]["used_percentage"], 63);
    assert_eq!(told.input["rate_limits"]["seven_day"]["used_percentage"], 21);
    assert!(told.input["rate_limits"]["five_hour"]["resets_at"].is_u64());
    assert!(lab.api.turns("a").is_empty());
}

#[test]
fn a_home_that_does_not_trust_the_directory_runs_no_hook() {
    let Some(lab) = Lab::open() else { return };
    std::fs::write(lab.home("a").join(".claude.json"), r#"{"hasCompletedOnboarding":true}"#).expect("written");
    let settings = lab.write_settings(false);
    let session = lab.start("a", &["--permission-mode", "acceptEdits", "--settings", &settings]);
    wait_until("the dialog", || session.screen().contains("❯ No, exit"));
    assert!(lab.told().is_empty());
}
