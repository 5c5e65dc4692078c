//! The account behind a session: usage, limits, the login's end.

use std::fs;

use serde_json::Value;
use uuid::Uuid;

use crate::{
    answers::account_id,
    api::{Reply, now},
    lab::Lab,
    waiting::{wait_for, wait_until},
};

fn config(lab: &Lab, home: &str) -> Value {
    serde_json::from_slice(&fs::read(lab.home(home).join(".claude.json")).expect("there")).expect("JSON")
}

#[test]
fn usage_is_asked_without_a_model_call_and_kept_in_the_homes_cache() {
    let Some(lab) = Lab::open() else { return };
    let output = lab.run("a", &["-p", "/usage", "--safe-mode", "--no-session-persistence"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Current session: 42% used"), "{text}");
    let cached = config(&lab, "a")["cachedUsageUtilization"].clone();
    assert!(cached["fetchedAtMs"].as_u64().is_some_and(|at| at / 1000 + 120 > now()));
    assert_eq!(cached["accountUuid"], account_id("a"));
    assert_eq!(cached["utilization"]["five_hour"]["utilization"], 42);
    let scoped = cached["utilization"]["limits"].as_array().and_then(|limits| limits.iter().find(|limit| limit["kind"] == "weekly_scoped"));
    assert_eq!(scoped.expect("the model's own window")["scope"]["model"]["display_name"], "Fable");
    let asked: Vec<String> = lab.api.exchanges().into_iter().map(|exchange| exchange.path).collect();
    assert!(asked.iter().any(|path| path == "/api/oauth/usage"), "{asked:?}");
    assert!(!asked.iter().any(|path| path.starts_with("/v1/messages")), "{asked:?}");
}

#[test]
fn a_limit_leaves_a_machine_readable_record_and_an_idle_register() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    let settings = lab.write_settings(true);
    let flags = ["--permission-mode", "acceptEdits", "--settings", &settings];
    let session = lab.start("a", &[&["--session-id", &id][..], &flags].concat());
    session.wait_status("idle");
    session.say("first");
    lab.wait_told("Stop", |_| true);
    lab.api.change("a", |account| account.reply = Reply::Limit { claim: "five_hour" });
    session.say("second");
    let told = lab.wait_told("StopFailure", |_| true);
    assert_eq!(told.input["error"], "rate_limit");
    let record = wait_for("the limit's record", || lab.transcript(&id).into_iter().find(|record| record["error"] == "rate_limit"));
    assert_eq!(record["isApiErrorMessage"], true);
    assert_eq!(record["apiErrorStatus"], 429);
    assert_eq!(record["message"]["model"], "<synthetic>");
    assert_eq!(record["quotaLimits"]["status"], "rejected");
    assert_eq!(record["quotaLimits"]["rateLimitType"], "five_hour");
    assert!(record["quotaLimits"]["resetsAt"].as_u64().is_some_and(|at| at > now() + 3500 && at <= now() + 3600));
    session.wait_status("idle");
    session.stop();

    let session = lab.start_with("b", &[&["--resume", &id][..], &flags].concat(), &[("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")]);
    let turn = wait_for("the turn under the other account", || lab.api.turns("b").into_iter().next());
    assert!(turn.body["messages"].to_string().contains("second"));
    session.wait_status("idle");
}

#[test]
fn a_reset_that_is_days_away_opens_a_menu_and_for_a_resumed_conversation_at_once() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    let session = lab.start("a", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    session.wait_status("idle");
    session.say("first");
    wait_until("the answer", || session.screen().contains("REPLY users=1"));
    session.wait_status("idle");
    lab.api.change("a", |account| account.reply = Reply::Limit { claim: "seven_day" });
    session.say("second");
    assert_eq!(session.wait_status("waiting")["waitingFor"], "dialog open");
    session.stop();
    let session = lab.start("a", &["--resume", &id, "--permission-mode", "acceptEdits"]);
    assert_eq!(session.wait_status("waiting")["waitingFor"], "dialog open");
    // A signal ends it there too.
    session.stop();
}

#[test]
fn a_login_that_has_ended_is_told_by_hook_record_and_command() {
    let Some(lab) = Lab::open() else { return };
    lab.api.change("a", |account| {
        account.reply = Reply::Unauthorized;
        account.refreshes = false;
    });
    let before = lab.run("a", &["auth", "status"]);
    let answer: Value = serde_json::from_slice(&before.stdout).expect("JSON");
    assert_eq!((before.status.code(), &answer["loggedIn"]), (Some(0), &Value::Bool(true)));
    assert!(answer["loginExpiresAt"].is_string());

    let id = Uuid::new_v4().to_string();
    let settings = lab.write_settings(true);
    let flags = ["--permission-mode", "acceptEdits", "--settings", &settings];
    let session = lab.start("a", &[&["--session-id", &id][..], &flags].concat());
    session.wait_status("idle");
    session.say("hello");
    assert_eq!(lab.wait_told("StopFailure", |_| true).input["error"], "authentication_failed");
    let record = wait_for("the record", || lab.transcript(&id).into_iter().find(|record| record["error"] == "authentication_failed"));
    assert_eq!(record["isApiErrorMessage"], true);
    session.wait_status("idle");
    session.stop();
    let after = lab.run("a", &["auth", "status"]);
    let answer: Value = serde_json::from_slice(&after.stdout).expect("JSON");
    assert_eq!((after.status.code(), &answer["loggedIn"]), (Some(1), &Value::Bool(false)));

    // The other account takes the prompt up that nobody could answer.
    let session = lab.start_with("b", &[&["--resume", &id][..], &flags].concat(), &[("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")]);
    let turn = wait_for("the turn under the other account", || lab.api.turns("b").into_iter().next());
    assert!(turn.body["messages"].to_string().contains("hello"));
    session.wait_status("idle");
}
