//! A swap: the whole pool goes to the other account with its conversations, once, and for a typed cause only.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    pool::{Pool, condition, contains, epoch, row, turns},
    waiting::wait_until,
    witness::Witness,
};

/// Waits until the pool works under `account` and no swap is open.
#[track_caller]
pub fn wait_for_account(pool: &Pool, account: &str) {
    wait_until(&format!("the pool to be on {account}"), || {
        let status = pool.status();
        status["active"] == account && status["swap"].is_null()
    });
}

/// Waits until the daemon knows the reading that was just written.
#[track_caller]
pub fn wait_until_read(pool: &Pool, account: &str, used: f64) {
    wait_until("the reading to be taken", || {
        let status = pool.status();
        row(&status, account)["windows"].as_array().expect("a list").iter().any(|window| window["used"] == used)
    });
}

/// The bytes of a session's transcript.
fn transcript(pool: &Pool, conversation: &str) -> Vec<u8> {
    pool.transcripts().remove(conversation).unwrap_or_default()
}

#[test]
fn a_crossed_threshold_moves_every_session_with_its_conversation_and_once() {
    let pool = Pool::running(4);
    let before = pool.talk();
    let busy = pool.conversation("s-2");
    pool.send("s-2", "[[slow 3]] take your time");
    wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
    let witness = Witness::watch(&pool);
    pool.usage(91.0, 10.0);
    wait_for_account(&pool, "backup");
    witness.found_nothing();
    pool.assert_whole("b", 4);
    pool.assert_kept(&before);
    assert_eq!(pool.link("active"), Some(pool.path("b")));
    let text = transcript(&pool, &busy);
    assert!(!contains(&text, "interrupted"), "the busy session was waited for");
    assert_eq!(turns(&text), 2, "and has finished its turn");
    assert_eq!(pool.count("SessionProven"), 4);
    assert!(pool.told("SwapCommitted").contains("resumed 4/4"), "{}", pool.told("SwapCommitted"));
    assert!(pool.told("SwapStarted").contains("91"), "{}", pool.told("SwapStarted"));
    // The conversations go on where they are now.
    pool.send("s-0", "do you remember?");
    let spoken = pool.conversation("s-0");
    wait_until("an answer", || contains(&transcript(&pool, &spoken), "do you remember?"));
    pool.assert_kept(&before);
    // The same figures again, on both accounts: nothing moves.
    let agents = pool.agents();
    for used in [92.0, 93.0] {
        pool.usage(used, 11.0);
        wait_until_read(&pool, "primary", used);
    }
    assert_eq!(pool.count("SwapStarted"), 1, "there is one swap");
    assert_eq!(pool.agents(), agents);
}

#[test]
fn a_turn_that_outlasts_the_drain_goes_on_by_itself_on_the_other_account() {
    let mut pool = Pool::applied(2);
    pool.edit(|spec| spec["swap"]["drain"] = json!("1s"));
    pool.start_daemon();
    let before = pool.talk();
    let busy = pool.conversation("s-1");
    pool.send("s-1", "[[tool 30]] a long one");
    wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
    pool.usage(91.0, 10.0);
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
    wait_until("the turn to go on by itself", || turns(&transcript(&pool, &busy)) >= 2);
    wait_until("every agent to be idle", || pool.register_statuses().iter().all(|status| status == "idle"));
    pool.assert_whole("b", 2);
}

#[test]
fn with_both_accounts_over_nothing_is_stopped_and_it_is_said() {
    let pool = Pool::running(2);
    pool.talk();
    let agents = pool.agents();
    pool.usage(91.0, 92.0);
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    assert_eq!(pool.count("PoolExhausted"), 1);
    assert_eq!(pool.count("SwapStarted"), 0);
    assert_eq!(pool.agents(), agents, "nothing is stopped");
    pool.usage(91.0, 10.0);
    wait_for_account(&pool, "backup");
    wait_until("the release to be said", || pool.condition("Exhausted") == "False");
    pool.assert_whole("b", 2);
}

#[test]
fn unknown_and_stale_readings_move_nothing() {
    let pool = Pool::running(2);
    let agents = pool.agents();
    let now = epoch();
    let of = |used: f64, measured: u64| {
        json!({"measuredAt": measured, "fiveHour": {"usedPercent": used, "resetsAt": now + 3600},
            "weekly": {"usedPercent": 10, "resetsAt": now + 86_400}})
    };
    // The other account must be known to have room before anything is taken away.
    wait_until_read(&pool, "backup", 10.0);
    // Newer than what is known, and unreadable: what was known stays.
    pool.put("quota.json", "{");
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.count("SwapStarted"), 0);
    // Everything over, measured too long ago to act on. A window of its own, so that it is newer than what is known of it.
    let old = json!({"primary": {"measuredAt": now - 3000, "models": {"Fable": {"usedPercent": 99, "resetsAt": now + 86_400}}}});
    pool.put("quota.json", &old.to_string());
    wait_until_read(&pool, "primary", 99.0);
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.count("SwapStarted"), 0, "a stale reading moves nothing");
    assert_eq!(pool.agents(), agents);
    pool.put("quota.json", &json!({"primary": of(91.0, epoch() + 1)}).to_string());
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
}

#[test]
fn an_account_of_which_nothing_is_known_is_no_target() {
    let pool = Pool::new(2);
    let now = epoch();
    let primary = |used: f64| {
        json!({"primary": {"measuredAt": jiff::Timestamp::now().to_string(), "fiveHour": {"usedPercent": used, "resetsAt": now + 3600},
            "weekly": {"usedPercent": 10, "resetsAt": now + 86_400}}})
    };
    pool.put("quota.json", &primary(10.0).to_string());
    pool.cli(&["apply", "--yes"]).expect(0);
    let mut pool = pool;
    pool.start_daemon();
    let agents = pool.agents();
    pool.put("quota.json", &primary(97.0).to_string());
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("unknown");
    assert_eq!(pool.count("SwapStarted"), 0);
    assert_eq!(pool.agents(), agents);
}

#[test]
fn an_operator_swaps_by_hand_and_sees_first_what_would_happen() {
    let pool = Pool::running(2);
    let before = pool.talk();
    let agents = pool.agents();
    pool.cli(&["swap", "--to", "backup", "--dry-run"]).expect(0).says("backup");
    pool.cli(&["swap", "--to", "backup"]).expect(1).says("--yes");
    pool.cli(&["swap", "--to", "nowhere", "--yes"]).expect(1).says("no account of that name");
    pool.cli(&["swap", "--to", "primary", "--yes"]).expect(1).says("there already");
    assert_eq!(pool.agents(), agents, "nothing has moved");
    assert_eq!(pool.count("SwapStarted"), 0);
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0).says("through the daemon").says("resumed 2/2");
    assert_eq!(pool.active(), "backup");
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
}

#[test]
fn without_a_daemon_a_swap_is_done_from_the_command() {
    let pool = Pool::applied(2);
    let before = pool.talk();
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0).says("from here").says("resumed 2/2");
    assert_eq!(pool.active(), "backup");
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
    pool.cli(&["apply", "--yes"]).expect(0).says("Nothing to do");
}

#[test]
fn the_daemon_answers_and_stops_while_an_operators_swap_waits_for_a_busy_session() {
    let mut pool = Pool::running(2);
    let before = pool.talk();
    pool.send("s-1", "[[slow 6]] take your time");
    wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
    let mut asked = pool.start_cli(&["swap", "--to", "backup", "--yes"]);
    wait_until("the swap to be shown", || pool.status()["swap"]["to"] == "backup");
    pool.cli(&["status"]).expect(0).says("s-1");
    assert!(asked.try_wait().expect("it is ours").is_none(), "the swap is still under way");
    let ended = pool.stop_daemon(Signal::SIGTERM);
    assert_eq!(ended.code(), Some(0));
    assert!(!asked.wait().expect("it is ours").success(), "whoever asked is told");
    // Whoever comes next takes the swap to its end.
    pool.start_daemon();
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
}

#[test]
fn a_limit_that_was_hit_moves_the_pool() {
    let pool = Pool::running(2);
    let before = pool.talk();
    pool.send("s-0", "[[limit]]");
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
    assert!(pool.told("SwapStarted").contains("limit"), "{}", pool.told("SwapStarted"));
}

#[test]
fn the_pool_goes_back_when_the_preferred_window_has_begun_anew() {
    let mut pool = Pool::applied(1);
    pool.edit(|spec| spec["swap"]["minDwell"] = json!("1s"));
    pool.start_daemon();
    let before = pool.talk();
    let resets_at = epoch() + 12;
    pool.usage_until(91.0, 10.0, resets_at);
    wait_for_account(&pool, "backup");
    wait_until("the window to begin anew", || epoch() > resets_at);
    pool.usage(2.0, 10.0);
    wait_until_read(&pool, "primary", 2.0);
    assert_eq!(pool.active(), "backup", "there and back within half an hour is thrashing");
    pool.cli(&["clear", "pool", "--yes"]).expect(0);
    wait_for_account(&pool, "primary");
    pool.assert_whole("a", 1);
    pool.assert_kept(&before);
    assert_eq!(pool.link("active"), Some(pool.path("a")));
}

#[test]
fn a_cordoned_account_is_no_target() {
    let pool = Pool::running(2);
    let agents = pool.agents();
    pool.cli(&["cordon", "account/backup", "--reason", "kept for the demonstration"]).expect(0);
    pool.usage(91.0, 10.0);
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("cordoned");
    assert_eq!(pool.agents(), agents);
    pool.cli(&["uncordon", "account/backup"]).expect(0);
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
}

#[test]
fn an_account_without_a_login_is_no_target() {
    let pool = Pool::running(2);
    let agents = pool.agents();
    fs::remove_file(pool.path("b/.credentials.json")).expect("removed");
    wait_until("the missing login to be said", || condition(row(&pool.status(), "backup"), "LoginValid") == "False");
    pool.usage(91.0, 10.0);
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("login");
    assert_eq!(pool.agents(), agents);
    pool.log_in("b");
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
}

#[test]
fn a_suspended_pool_does_not_swap() {
    let pool = Pool::running(2);
    let agents = pool.agents();
    pool.cli(&["suspend", "--reason", "demonstration"]).expect(0);
    pool.usage(91.0, 10.0);
    wait_until("the wait to be said", || {
        pool.status()["waiting"].as_array().expect("a list").iter().any(|waiting: &Value| waiting["reason"] == "Suspended")
    });
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("suspended");
    assert_eq!(pool.agents(), agents);
    pool.cli(&["resume"]).expect(0);
    wait_for_account(&pool, "backup");
    pool.assert_whole("b", 2);
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_swap_is_not_lost() {
    let pool = Pool::running(3);
    let before = pool.talk();
    // It is killed in the middle of this, however long the test takes to get there.
    pool.send("s-2", "[[slow 25]] take your time");
    wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
    let busy = pool.conversation("s-2");
    pool.usage(91.0, 10.0);
    wait_until("the swap to begin", || pool.count("SwapStarted") == 1);
    let victim = pool.agents().into_iter().find(|agent| agent.conversation == busy).expect("it runs");
    kill(Pid::from_raw(victim.pid), Signal::SIGKILL).expect("it lives");
    wait_for_account(&pool, "backup");
    wait_until("every session to be ready", || pool.sessions_ready());
    pool.assert_whole("b", 3);
    pool.assert_kept(&before);
}
