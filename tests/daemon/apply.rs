//! `plan` and `apply`: what is shown is done, once, and nothing else is.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::{pool::Pool, waiting::wait_until};

#[test]
fn a_pool_is_planned_applied_once_and_then_in_sync() {
    let pool = Pool::new(2);
    pool.cli(&["plan"]).expect(2).says("15 to create").says("2 to repair");
    assert!(!pool.path("shared").exists() && !pool.state_dir().exists(), "planning writes nothing");
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.assert_whole("a", 2);
    assert!(pool.links_are_right("a") && pool.links_are_right("b"));
    assert_eq!(pool.link("active"), Some(pool.path("a")));
    let (agents, events) = (pool.agents(), pool.events());
    pool.cli(&["plan"]).expect(0);
    pool.cli(&["apply", "--yes"]).expect(0).says("Nothing to do");
    assert_eq!(pool.agents(), agents, "the same agents run");
    assert_eq!(pool.events(), events, "nothing was told");
}

#[test]
fn a_saved_plan_is_applied_without_a_question_and_once() {
    let pool = Pool::new(1);
    pool.cli(&["plan", "--out", "saved"]).expect(2);
    pool.cli(&["apply", "saved"]).expect(0);
    pool.assert_whole("a", 1);
    pool.cli(&["apply", "saved"]).expect(4).says("stale");
}

#[test]
fn a_saved_plan_is_stale_after_a_change_of_the_spec() {
    let mut pool = Pool::new(1);
    pool.cli(&["plan", "--out", "saved"]).expect(2);
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("other"));
    pool.cli(&["apply", "saved"]).expect(4).says("plan again");
    assert!(pool.agents().is_empty(), "nothing was started");
}

#[test]
fn a_saved_plan_is_stale_after_a_change_of_the_world() {
    let mut pool = Pool::applied(2);
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-{0..2}"));
    pool.cli(&["plan", "--out", "saved"]).expect(2);
    pool.tmux(&["kill-session", "-t", "=s-0"]).expect("killed");
    wait_until("the agent's end", || pool.agents().len() == 1);
    pool.cli(&["apply", "saved"]).expect(4);
    assert_eq!(pool.agents().len(), 1, "nothing was started");
}

#[test]
fn an_invalid_spec_and_a_wrong_command_line_have_codes_of_their_own() {
    let pool = Pool::new(1);
    pool.put("pool.yaml", "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: { name: try }\nspec: { acounts: [] }\n");
    for verb in [&["plan"][..], &["apply", "--yes"], &["status"], &["run"], &["swap", "--yes"]] {
        pool.cli(verb).expect(3).says("acounts");
    }
    pool.cli(&["plan", "--no-such-flag"]).expect(64);
    pool.cli(&["no-such-verb"]).expect(64);
    pool.write_spec();
    pool.cli(&["apply", "--yes", "--timeout", "soon"]).expect(64);
    assert!(pool.agents().is_empty());
}

#[test]
fn apply_without_a_terminal_asks_for_yes() {
    let pool = Pool::new(1);
    pool.cli(&["apply"]).expect(1).says("--yes");
    assert!(pool.agents().is_empty() && !pool.path("shared").exists(), "nothing was done");
}

#[test]
fn apply_brings_a_dead_agent_back_with_its_conversation() {
    let pool = Pool::applied(2);
    let before = pool.talk();
    let victim = pool.agents()[0].clone();
    kill(Pid::from_raw(victim.pid), Signal::SIGKILL).expect("it lives");
    wait_until("its end", || pool.agents().len() == 1);
    pool.cli(&["plan"]).expect(2);
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
    assert!(pool.agents().iter().any(|agent| agent.conversation == victim.conversation));
}

#[test]
fn the_login_is_never_touched() {
    let pool = Pool::applied(1);
    let before = fs::read(pool.path("a/.credentials.json")).expect("readable");
    let secret = "\"x\"";
    pool.cli(&["plan"]).expect(0);
    assert_eq!(fs::read(pool.path("a/.credentials.json")).expect("readable"), before);
    let state = fs::read_dir(pool.state_dir()).expect("readable").flatten();
    for file in state {
        let bytes = fs::read(file.path()).unwrap_or_default();
        assert!(!crate::pool::contains(&bytes, &format!("\"accessToken\":{secret}")), "{file:?} holds a login");
    }
}

#[test]
fn more_than_max_prune_are_stopped_at_an_operators_word() {
    let mut pool = Pool::applied(3);
    pool.edit(|spec| {
        spec["sessions"][0]["names"] = json!("s-0");
        spec["prune"] = json!(true);
        spec["maxPrune"] = json!(1);
    });
    pool.cli(&["apply", "--yes"]).says("PruneRefused").says("--confirm-prune");
    assert_eq!(pool.agents().len(), 3, "none was stopped");
    pool.cli(&["apply", "--yes", "--confirm-prune"]).expect(0);
    wait_until("they are gone", || pool.agents().len() == 1 && pool.panes().len() == 1);
    pool.cli(&["plan"]).expect(0);
}
