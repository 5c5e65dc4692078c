//! An agent that waits for a person: what its screen asks is told, once, and nothing is typed into it.

use serde_json::json;

use crate::{
    pool::{Pool, condition, row},
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
    wait_until("a long start to be explained", || pool.cli(&["explain", &format!("session/{session}")]).stdout.contains("is trusted"));
}
