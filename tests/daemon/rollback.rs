//! A swap that fails: it is undone wholly, or latched, and never half done in silence.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{pool::Pool, vandal::Vandal, waiting::wait_until, witness::Witness};

#[test]
fn links_that_fail_behind_the_flip_bring_the_pool_back() {
    let pool = Pool::running(3);
    let before = pool.talk();
    let witness = Witness::watch(&pool);
    let never = Witness::never_active(&pool, "backup");
    let vandal = Vandal::start(&pool, "b", &["b"]);
    pool.usage(91.0, 10.0);
    wait_until("the swap to be undone", || pool.count("SwapRolledBack") == 1);
    vandal.join();
    wait_until("every session to be ready", || pool.sessions_ready());
    witness.found_nothing();
    never.found_nothing();
    pool.assert_whole("a", 3);
    pool.assert_kept(&before);
    assert_eq!(pool.active(), "primary");
    assert_eq!(pool.link("active"), Some(pool.path("a")), "the active link is back");
    assert!(pool.links_are_right("a"));
    assert!(pool.told("SwapTurnedBack").contains("projects"), "the error names the link: {}", pool.told("SwapTurnedBack"));
    assert_eq!(std::fs::read_to_string(pool.path("b/projects")).expect("readable"), "somebody's words", "and is not overwritten");
    assert_eq!(pool.count("SwapCommitted"), 0);
    assert_eq!(pool.count("SwapStarted"), 1, "the pair rests");
}

#[test]
fn a_way_back_that_fails_too_is_latched_until_somebody_clears_it() {
    let mut pool = Pool::running(3);
    let before = pool.talk();
    let never = Witness::never_active(&pool, "backup");
    let vandal = Vandal::start(&pool, "b", &["b", "a"]);
    pool.usage(91.0, 10.0);
    wait_until("the latch", || pool.condition("PartialSwap") == "True");
    vandal.join();
    never.found_nothing();
    assert_eq!(pool.count("SwapLatched"), 1);
    let agents = pool.agents();
    assert_eq!(pool.active(), "primary", "nothing was declared active");
    let status = pool.status();
    let causes = status["latches"]["pool"]["causes"].as_array().expect("the causes are kept").clone();
    assert_eq!(causes.len(), 2, "both errors: {causes:?}");
    assert!(causes[0].as_str().expect("text").contains("backup") && causes[1].as_str().expect("text").contains("primary"), "{causes:?}");
    pool.cli(&["status"]).expect(5);
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("latched");
    // Over a restart, and with other readings.
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        pool.stop_daemon(signal);
        pool.start_daemon();
        assert_eq!(pool.condition("PartialSwap"), "True", "the latch outlives the daemon");
        assert_eq!(pool.status()["latches"]["pool"]["causes"], json!(causes), "with its causes");
    }
    pool.usage(95.0, 5.0);
    pool.cli(&["reconcile"]).expect(5);
    pool.cli(&["apply", "--yes"]);
    assert_eq!(pool.agents(), agents, "running sessions are left alone");
    assert_eq!(pool.count("SwapStarted"), 1, "no further swap");
    pool.stop_daemon(Signal::SIGTERM);
    pool.cli(&["status"]).expect(5);
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("latched");
    pool.start_daemon();
    // The way out: somebody looks, puts things right, and clears it.
    pool.usage(10.0, 10.0);
    pool.mend_link("a", "projects");
    pool.mend_link("b", "projects");
    pool.cli(&["clear", "pool"]).expect(1).says("PartialSwap").says("--yes");
    assert_eq!(pool.condition("PartialSwap"), "True", "looking clears nothing");
    pool.cli(&["clear", "pool", "--yes"]).expect(0);
    wait_until("the pool to be whole again", || {
        let status = pool.status();
        let active = status["active"].as_str().unwrap_or_default().to_owned();
        let home = if active == "primary" { "a" } else { "b" };
        let agents = pool.agents();
        crate::pool::condition(&status, "PartialSwap") == "False"
            && crate::pool::condition(&status, "Ready") == "True"
            && agents.len() == 3
            && agents.iter().all(|agent| agent.home == pool.path(home))
            && pool.link("active") == Some(pool.path(home))
    });
    pool.assert_no_rivals();
    pool.assert_kept(&before);
}

/// The target's agents behave so that the first one that moves cannot be proven.
fn canary_fails(behaviour: &serde_json::Value) {
    let mut pool = Pool::applied(3);
    pool.edit(|spec| spec["swap"]["proveWithin"] = json!("5s"));
    pool.start_daemon();
    let before = pool.talk();
    pool.behave("b", behaviour);
    let still: Vec<_> = pool.agents();
    let witness = Witness::never_active(&pool, "backup");
    pool.usage(91.0, 10.0);
    wait_until("the swap to be undone", || pool.count("SwapRolledBack") == 1);
    witness.found_nothing();
    wait_until("every session to be ready", || pool.sessions_ready());
    pool.assert_whole("a", 3);
    let now = pool.transcripts();
    for (conversation, bytes) in &before {
        assert!(now[conversation].starts_with(bytes), "{conversation} has lost bytes");
    }
    // An agent that lives for a moment may be proven in it; then others have moved too before the pool goes back.
    let kept = pool.agents().iter().filter(|agent| still.contains(agent)).count();
    assert!(kept == 2 || behaviour["crash"] == "after-start", "{kept} of 3 sessions were left alone");
    assert_eq!(pool.active(), "primary");
    assert_eq!(pool.link("active"), Some(pool.path("a")), "the active link was never flipped, or is back");
    // One that ends right behind its start may be proven in the moment between.
    assert!(pool.count("SessionUnproven") >= 1 || pool.told("SwapTurnedBack").contains("behind their proof: "));
    // The pair rests: no second swap, and an operator is told why.
    pool.usage(92.0, 10.0);
    pool.cli(&["reconcile"]);
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("failed");
    assert_eq!(pool.count("SwapStarted"), 1);
    pool.assert_no_rivals();
}

#[test]
fn a_target_that_refuses_to_resume_brings_the_pool_back() {
    canary_fails(&json!({"refuseResume": true}));
}

#[test]
fn a_target_whose_agent_dies_at_its_start_brings_the_pool_back() {
    canary_fails(&json!({"crash": "at-start"}));
}

#[test]
fn a_target_whose_agent_dies_right_after_its_start_brings_the_pool_back() {
    canary_fails(&json!({"crash": "after-start"}));
}

#[test]
fn a_target_that_opens_another_conversation_brings_the_pool_back() {
    canary_fails(&json!({"blankConversation": true}));
}

#[test]
fn an_agent_that_never_gets_ready_brings_the_pool_back() {
    canary_fails(&json!({"startupMillis": 60_000}));
}

#[test]
fn an_operators_swap_that_was_undone_is_no_success() {
    let pool = Pool::running(2);
    let before = pool.talk();
    pool.behave("b", &json!({"refuseResume": true}));
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(5).says("SwapRolledBack");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
}

#[test]
fn an_agent_that_ignores_the_signal_is_killed_after_the_grace_and_moved() {
    let mut pool = Pool::applied(2);
    pool.edit(|spec| spec["agent"]["stopGrace"] = json!("1s"));
    pool.start_daemon();
    let before = pool.talk();
    pool.behave("a", &json!({"stubborn": true}));
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
}
