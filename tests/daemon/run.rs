//! `run`: the daemon keeps the pool as declared, and touches nothing that is.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::{
    pool::{BINARY, Pool, condition, row},
    waiting::{found_within, wait_for, wait_until},
};

/// Over which nothing must be heard of a pool at rest.
const SILENCE: Duration = Duration::from_secs(10);

fn kill_agent(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
}

#[test]
fn a_killed_agent_is_back_with_its_conversation() {
    let pool = Pool::running(2);
    let before = pool.talk();
    let old = pool.agents();
    kill_agent(old[0].pid);
    wait_until("the agent to be back", || pool.agents().len() == 2 && pool.agents() != old);
    wait_until("the pool to be in sync", || pool.condition("Synced") == "True" && pool.condition("Ready") == "True");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
    let new = pool.agents();
    assert!(new.iter().any(|agent| agent.conversation == old[0].conversation), "the same conversation");
    assert!(new.contains(&old[1]), "the other agent runs on");
}

#[test]
fn a_killed_session_is_made_again_with_its_conversation() {
    let pool = Pool::running(2);
    let before = pool.talk();
    let conversation = pool.conversation("s-1");
    pool.tmux(&["kill-session", "-t", "=s-1"]).expect("killed");
    wait_until("the session to be back", || {
        pool.panes().contains_key("s-1") && pool.agents().iter().any(|agent| agent.conversation == conversation)
    });
    wait_until("the pool to be ready", || pool.condition("Ready") == "True");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
}

#[test]
fn a_killed_server_is_started_again_with_every_conversation() {
    let pool = Pool::running(3);
    let before = pool.talk();
    let server = pool.tmux_pid().expect("it runs");
    kill(Pid::from_raw(server), Signal::SIGKILL).expect("it lives");
    wait_until("another server with every session", || pool.tmux_pid().is_some_and(|pid| pid != server) && pool.panes().len() == 3);
    wait_until("the pool to be ready", || pool.condition("Ready") == "True" && pool.agents().len() == 3);
    pool.assert_whole("a", 3);
    pool.assert_kept(&before);
    assert!(pool.count("ServerLost") + pool.count("SessionExited") >= 1, "the loss was told");
}

#[test]
fn a_session_that_exits_again_and_again_is_quarantined_until_it_is_cleared() {
    let pool = Pool::running(2);
    let before = pool.talk();
    let conversation = pool.conversation("s-0");
    let find = || pool.agents().into_iter().find(|agent| agent.conversation == conversation);
    let mut last = 0;
    for _ in 0..5 {
        let agent = wait_for("the agent to be back", || find().filter(|agent| agent.pid != last));
        last = agent.pid;
        kill_agent(agent.pid);
    }
    wait_until("the quarantine", || pool.count("SessionQuarantined") == 1);
    assert!(find().is_none(), "it is not started again");
    let status = pool.status();
    assert_eq!(condition(row(&status, "s-0"), "Degraded"), "True");
    assert_eq!(condition(row(&status, "s-1"), "Degraded"), "False", "one failing session does not hold up the other");
    pool.cli(&["status"]).expect(5);
    pool.cli(&["clear", "session/s-0", "--yes"]).expect(0);
    wait_until("the agent to be back", || find().is_some());
    wait_until("the pool to be ready", || pool.condition("Ready") == "True");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
}

#[test]
fn an_agent_that_cannot_even_start_is_quarantined() {
    let mut pool = Pool::applied(1);
    pool.talk();
    pool.behave("a", &json!({"crash": "at-start"}));
    pool.start_daemon();
    kill_agent(pool.agents()[0].pid);
    wait_until("the quarantine", || pool.count("SessionQuarantined") == 1);
    assert_eq!(pool.count("SessionExited"), 5, "each end was counted");
    assert_eq!(pool.count("SessionRestarted"), 4, "and each start");
}

#[test]
fn a_second_daemon_is_refused_and_names_the_first() {
    let pool = Pool::running(1);
    let agents = pool.agents();
    pool.cli(&["run"]).expect(6).says(&pool.daemon_pid().to_string());
    assert_eq!(pool.agents(), agents);
    assert_eq!(pool.condition("Ready"), "True", "the first one still answers");
}

#[test]
fn sessions_outlive_the_daemon_and_its_restart_touches_nothing() {
    let mut pool = Pool::running(2);
    let before = pool.talk();
    let (agents, server) = (pool.agents(), pool.tmux_pid());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let ended = pool.stop_daemon(signal);
        assert!(signal == Signal::SIGKILL || ended.code() == Some(0), "{signal} ends it well: {ended:?}");
        assert_eq!(pool.agents(), agents, "sessions run on after {signal}");
        pool.cli(&["status"]).expect(0).says("no daemon runs");
        let events = pool.events();
        pool.start_daemon();
        assert_eq!(pool.agents(), agents, "the same agents run after a restart");
        assert_eq!(pool.tmux_pid(), server);
        assert_eq!(pool.events(), events, "a restart has nothing to tell");
    }
    pool.assert_kept(&before);
}

#[test]
fn a_changed_spec_is_taken_up_by_itself() {
    let mut pool = Pool::running(1);
    let old = pool.agents();
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-{0..1}"));
    wait_until("the new session", || pool.agents().len() == 2);
    assert!(pool.agents().contains(&old[0]), "the old one runs on");
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-{0..2}"));
    pool.signal_daemon(Signal::SIGHUP);
    wait_until("the next session", || pool.agents().len() == 3);
    assert!(pool.agents().contains(&old[0]), "the old one runs on");
}

#[test]
fn a_broken_spec_never_replaces_the_last_good_one() {
    let mut pool = Pool::running(2);
    let agents = pool.agents();
    pool.put("pool.yaml", "kind: [");
    wait_until("the refusal", || pool.condition("SpecAccepted") == "False");
    assert_eq!(pool.agents(), agents, "sessions run on");
    pool.cli(&["plan"]).expect(3);
    kill_agent(agents[0].pid);
    wait_until("the last good spec to be kept up", || pool.agents().len() == 2 && pool.agents() != agents);
    wait_until("the pool to be ready", || pool.condition("Ready") == "True");
    let agents = pool.agents();
    pool.stop_daemon(Signal::SIGTERM);
    pool.start_daemon();
    assert_eq!(pool.condition("SpecAccepted"), "False", "a restart with a broken spec says so");
    assert_eq!(pool.agents(), agents, "and works on with the last good one");
    pool.cli(&["suspend", "--reason", "the spec is broken"]).expect(0);
    pool.cli(&["resume"]).expect(0);
    pool.write_spec();
    wait_until("the spec to be accepted", || pool.condition("SpecAccepted") == "True");
    assert_eq!(pool.agents(), agents);
}

#[test]
fn a_broken_spec_that_no_pool_was_made_of_starts_nothing() {
    let pool = Pool::new(1);
    pool.put("pool.yaml", "kind: [");
    pool.cli(&["run"]).expect(3);
    pool.cli(&["status"]).expect(3);
    assert!(pool.agents().is_empty());
}

#[test]
fn removed_sessions_are_released_and_run_on() {
    let mut pool = Pool::running(3);
    let agents = pool.agents();
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-0"));
    wait_until("the release", || pool.count("SessionReleased") == 2);
    assert_eq!(pool.agents(), agents, "they run on, unowned");
    wait_until("the pool to be in sync", || pool.condition("Synced") == "True");
}

#[test]
fn removed_sessions_are_stopped_with_prune_and_a_mass_stop_needs_a_word() {
    let mut pool = Pool::running(4);
    pool.edit(|spec| {
        spec["prune"] = json!(true);
        spec["sessions"][0]["names"] = json!("s-{0..2}");
    });
    wait_until("one session to be stopped", || pool.panes().len() == 3 && pool.agents().len() == 3);
    assert!(!pool.panes().contains_key("s-3"));
    let agents = pool.agents();
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-0"));
    wait_until("the guard to refuse", || {
        pool.status()["warnings"].as_array().expect("a list").iter().filter(|warning| warning["reason"] == "PruneRefused").count() == 2
    });
    assert_eq!(pool.agents(), agents, "nothing is stopped, not even one");
    pool.cli(&["apply", "--yes"]).expect(5).says("maxPrune");
    assert_eq!(pool.agents(), agents, "not by a command either");
    pool.edit(|spec| spec["maxPrune"] = json!(2));
    wait_until("what was allowed to be stopped", || pool.agents().len() == 1 && pool.panes().len() == 1);
    assert!(pool.panes().contains_key("s-0"));
}

#[test]
fn a_foreign_session_of_a_declared_name_is_left_alone_until_it_is_adopted() {
    let mut pool = Pool::running(1);
    // Somebody started an agent by hand.
    let home = format!("CLAUDE_CONFIG_DIR={}", pool.path("a").display());
    let conversation = "0b9a2c1e-5a52-4c39-9d0c-2f6f0f0f7a11";
    let workdir = pool.path("work").to_string_lossy().into_owned();
    let agent = ["new-session", "-d", "-s", "guest", "-c", &workdir, "-e", &home, BINARY, "stand-in", "--session-id", conversation];
    pool.tmux(&agent).expect("made");
    wait_until("its agent to be there", || pool.register_statuses() == ["idle", "idle"]);
    let pane = pool.panes()["guest"];
    pool.edit(|spec| {
        let workdir = spec["sessions"][0]["workdir"].clone();
        let line = json!({"names": "guest", "workdir": workdir});
        spec["sessions"].as_array_mut().expect("a list").push(line);
    });
    wait_until("the conflict to be said", || {
        let status = pool.status();
        status["sessions"].as_array().expect("a list").len() == 2 && condition(row(&status, "guest"), "Conflicted") == "True"
    });
    assert_eq!(pool.panes()["guest"], pane, "it was not touched");
    assert_eq!(pool.agents().len(), 2, "and nothing was started beside it");
    pool.cli(&["adopt", "guest"]).expect(0).says("through the daemon");
    wait_until("the conflict to be over", || condition(row(&pool.status(), "guest"), "Conflicted") != "True");
    assert!(pool.count("SessionAdopted") >= 1);
    pool.cli(&["adopt", "guest"]).expect(1).says("ours already");
}

#[test]
fn a_suspended_pool_is_left_as_it_is_until_the_end_of_the_suspension() {
    let pool = Pool::running(2);
    pool.cli(&["suspend", "--reason", "work on the disk"]).expect(0).says("through the daemon");
    assert_eq!(pool.condition("Suspended"), "True");
    let victim = pool.agents()[0].clone();
    kill_agent(victim.pid);
    wait_until("the loss to be seen", || pool.count("SessionExited") >= 1);
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.agents().len(), 1, "nothing is started");
    pool.cli(&["resume"]).expect(0).says("through the daemon");
    wait_until("the agent to be back", || pool.agents().len() == 2);
    pool.cli(&["suspend", "--reason", "a short one", "--until", "3s"]).expect(0);
    kill_agent(pool.agents()[0].pid);
    wait_until("the suspension to end by itself", || pool.condition("Suspended") == "False");
    wait_until("the agent to be back", || pool.agents().len() == 2);
}

#[test]
fn a_cordoned_session_is_left_as_it_is() {
    let pool = Pool::running(2);
    let conversation = pool.conversation("s-0");
    pool.cli(&["cordon", "session/s-0", "--reason", "somebody looks into it"]).expect(0).says("through the daemon");
    let victim = pool.agents().into_iter().find(|agent| agent.conversation == conversation).expect("it runs");
    kill_agent(victim.pid);
    wait_until("the loss to be seen", || pool.count("SessionExited") >= 1);
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.agents().len(), 1, "it is not started");
    pool.cli(&["uncordon", "s-0"]).expect(0);
    wait_until("the agent to be back", || pool.agents().len() == 2);
}

#[test]
fn a_converged_pool_is_silent() {
    let pool = Pool::running(3);
    pool.talk();
    wait_until("the pool to be in sync", || pool.condition("Synced") == "True" && pool.condition("Ready") == "True");
    // The first ones of a daemon are due at some time in its first minute.
    pool.cli(&["checkpoint", "take", "--all"]).expect(0);
    let state = || (pool.events(), pool.agents(), pool.tmux_pid());
    let written = || -> Vec<_> {
        let files = std::fs::read_dir(pool.state_dir()).expect("readable").flatten();
        let mut files: Vec<_> = files.map(|file| (file.path(), file.metadata().and_then(|data| data.modified()).expect("known"))).collect();
        // A reader touches what the database shares between processes.
        files.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
        files.sort();
        files
    };
    let (before, files) = (state(), written());
    let conditions = pool.status()["conditions"].clone();
    assert_eq!(found_within(SILENCE, || Some(written()).filter(|now| *now != files)), None, "nothing is written");
    assert_eq!(state(), before, "nothing was told, started or stopped");
    assert_eq!(pool.status()["conditions"], conditions, "no condition flipped");
}
