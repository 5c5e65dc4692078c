//! An agent that waits for a person: what its screen asks is told, once, and nothing is typed into it.

use serde_json::json;

use crate::{
    pool::{Pool, condition, epoch, row},
    waiting::wait_until,
};

/// What the condition of a session says.
fn message(pool: &Pool, session: &str) -> String {
    let status = pool.status();
    let conditions = row(&status, session)["conditions"].as_array().expect("it has conditions").clone();
    let found = conditions.iter().find(|condition| condition["type"] == "NeedsInput").expect("it is there");
    found["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_an_agent_asks_is_told_once() {
    let pool = Pool::running(2);
    let asks = |session: &str| condition(row(&pool.status(), session), "NeedsInput");
    let [first, other] = [0, 1].map(|number| pool.panes().into_keys().nth(number).expect("a session"));
    pool.send(&first, "do it [[tool 1]] [[ask]]");
    wait_until("the question to be told", || pool.count("InputNeeded") == 1);
    let told = pool.told("InputNeeded");
    assert!(told.contains("permission prompt: Do you want to proceed?") && told.contains(&format!("attach {first}")), "{told}");
    assert_eq!((asks(&first).as_str(), asks(&other).as_str()), ("True", "False"));
    assert_eq!(message(&pool, &first), "permission prompt: Do you want to proceed?");
    let explained = pool.cli(&["explain", &format!("session/{first}")]).expect(0).stdout;
    assert!(explained.contains("its screen at ") && explained.contains("| ❯ 1. Yes"), "{explained}");
    assert!(!pool.cli(&["explain", &format!("session/{other}")]).expect(0).stdout.contains("its screen"), "an idle one is not looked at");

    // A look at everything, and it is still the same dialog, which nobody has answered.
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.count("InputNeeded"), 1);
    assert_eq!(asks(&first), "True");

    // Answered by a person; the next one is told anew.
    pool.tmux(&["send-keys", "-t", &format!("={first}:"), "Enter"]).expect("answered");
    wait_until("the turn to end", || pool.register_statuses().iter().all(|status| status == "idle"));
    wait_until("nothing to be asked", || asks(&first) == "False");
    pool.send(&first, "once more [[tool 1]] [[ask]]");
    wait_until("the next question to be told", || pool.count("InputNeeded") == 2);
}

#[test]
fn a_first_start_says_what_it_asks() {
    let mut pool = Pool::new(1);
    pool.edit(|spec| spec["agent"]["trustWorkdirs"] = json!(false));
    pool.cli(&["apply", "--yes"]);
    pool.start_daemon();
    let session = pool.panes().into_keys().next().expect("a session");
    // Well before its start has taken so long that a dialog is taken for granted.
    wait_until("its dialog to be told", || pool.count("InputNeeded") == 1);
    let told = pool.told("InputNeeded");
    assert!(told.contains("is trusted") && told.contains(&format!("attach {session}")), "{told}");
    assert_eq!(condition(row(&pool.status(), &session), "NeedsInput"), "True");
    assert!(message(&pool, &session).contains("is trusted"));
    let explained = pool.cli(&["explain", &format!("session/{session}")]).expect(0).stdout;
    assert!(explained.contains("its pane says \"it asks whether ") && explained.contains("needs input (decides)"), "{explained}");
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.count("InputNeeded"), 1, "once");
    assert_eq!(pool.agents().len(), 1, "nothing was typed: the answer that stands first ends it");
}

#[test]
fn the_menu_of_a_limit_is_named_and_calls_nobody_at_once() {
    let pool = Pool::running(1);
    // No account has room, so that the session stays where it is.
    pool.usage(99.0, 99.0);
    wait_until("no account to have room", || pool.count("PoolExhausted") == 1);
    pool.behave("a", &json!({"limit": {"window": "seven_day", "resetsAt": epoch() + 172_800}}));
    pool.send("s-0", "go on");
    wait_until("the menu to be named", || condition(row(&pool.status(), "s-0"), "NeedsInput") == "True");
    assert!(message(&pool, "s-0").contains("it asks what to do about a limit"), "{}", message(&pool, "s-0"));
    let status = pool.status();
    let conditions = row(&status, "s-0")["conditions"].as_array().expect("a list");
    assert!(conditions.iter().any(|condition| condition["type"] == "NeedsInput" && condition["reason"] == "LimitMenu"), "{conditions:?}");
    assert_eq!(pool.count("InputNeeded"), 0, "the pool may still leave the account");
}
