//! A spec that was edited: what the plan says of it, and when what needs a restart is done.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    pool::{Pool, contains, turns},
    swap::wait_until_read,
    waiting::wait_until,
};

#[test]
fn the_plan_shows_how_the_spec_changed_since_it_was_applied() {
    let mut pool = Pool::applied(1);
    assert!(!pool.cli(&["plan"]).expect(0).stdout.contains("+++"), "nothing changed");
    pool.edit(|spec| {
        spec["sessions"][0]["names"] = json!("s-{0..1}");
        spec["swap"]["drain"] = json!("45s");
    });
    let shown = pool.cli(&["plan"]).expect(2).stdout;
    let lines: Vec<_> = shown.lines().map(str::trim).collect();
    assert!(lines.iter().any(|line| line.starts_with('-') && line.contains("drain") && line.contains("30s")), "{shown}");
    assert!(lines.iter().any(|line| line.starts_with('+') && line.contains("drain") && line.contains("45s")), "{shown}");
    assert!(shown.contains("generation 1") && shown.contains("s-1"), "{shown}");
    pool.cli(&["apply", "--yes"]).expect(0);
    assert!(!pool.cli(&["plan"]).expect(0).stdout.contains("45s"), "it is in force now");
}

#[test]
fn the_plan_says_what_a_swap_costs() {
    let mut pool = Pool::running(2);
    pool.talk();
    pool.usage(50.0, 10.0);
    wait_until_read(&pool, "primary", 50.0);
    pool.stop_daemon(Signal::SIGTERM);
    pool.cli(&["plan"]).expect(0).lacks("a swap moves");
    pool.edit(|spec| spec["thresholds"] = json!({"fiveHour": 40}));
    let shown = pool.cli(&["plan"]).expect(2).stdout;
    assert!(shown.contains("swap to backup") && shown.contains("50%"), "{shown}");
    assert!(shown.contains("a swap moves 2 idle, 0 busy"), "what it costs: {shown}");
    assert!(shown.lines().any(|line| line.trim().starts_with('+') && line.contains("fiveHour: 40")), "and why it is due: {shown}");
    assert_eq!(pool.active(), "primary", "a plan does nothing");
}

#[test]
fn a_change_that_needs_a_restart_waits_for_the_end_of_the_turn() {
    let mut pool = Pool::running(2);
    let before = pool.talk();
    let busy = pool.conversation("s-1");
    let agent_of = |pool: &Pool, conversation: &str| pool.agents().into_iter().find(|agent| agent.conversation == conversation);
    let [working, idle] = [busy.clone(), pool.conversation("s-0")].map(|conversation| agent_of(&pool, &conversation).expect("it runs"));
    pool.send("s-1", "[[slow 8]] take your time");
    wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
    pool.edit(|spec| spec["agent"]["environment"] = json!({"COLOUR_OF_THE_DAY": "green"}));
    wait_until("the idle one to be restarted", || agent_of(&pool, &idle.conversation).is_some_and(|agent| agent.pid != idle.pid));
    assert_eq!(agent_of(&pool, &busy).map(|agent| agent.pid), Some(working.pid), "the one that works is left to its turn");
    assert_eq!(turns(&pool.transcripts()[&busy]), 1, "which is not over");
    let shown = pool.cli(&["plan"]).expect(0);
    assert!(shown.stdout.contains("s-1"), "and the plan says that it waits: {}", shown.stdout);
    wait_until("the other one to be restarted", || agent_of(&pool, &busy).is_some_and(|agent| agent.pid != working.pid));
    assert_eq!(turns(&pool.transcripts()[&busy]), 2, "it has finished its turn");
    assert!(!contains(&pool.transcripts()[&busy], "interrupted"));
    wait_until("the pool to be ready", || pool.condition("Ready") == "True" && pool.condition("Synced") == "True");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
    for agent in pool.agents() {
        let environ = std::fs::read(format!("/proc/{}/environ", agent.pid)).expect("readable");
        assert!(contains(&environ, "COLOUR_OF_THE_DAY=green"), "the change is in force");
    }
}

#[test]
fn a_swap_without_a_target_takes_the_best_one() {
    let mut pool = Pool::new(1);
    std::fs::create_dir(pool.path("c")).expect("made");
    pool.log_in("c");
    let home = pool.path("c").display().to_string();
    pool.edit(|spec| spec["accounts"].as_array_mut().expect("a list").push(json!({"name": "spare", "home": home})));
    let now = crate::pool::epoch();
    let of = |used: u64| {
        json!({"measuredAt": now, "fiveHour": {"usedPercent": used, "resetsAt": now + 3600},
            "weekly": {"usedPercent": 10, "resetsAt": now + 86_400}})
    };
    // The first choice has no room; the next one in order has.
    pool.put("quota.json", &json!({"primary": of(20), "backup": of(84), "spare": of(30)}).to_string());
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.talk();
    pool.cli(&["swap", "--dry-run"]).says("spare");
    assert_eq!(pool.active(), "primary", "only said");
    pool.cli(&["swap", "--yes"]).expect(0).says("spare");
    assert_eq!(pool.active(), "spare");
    pool.assert_whole("c", 1);
}

#[test]
fn a_dry_run_without_a_daemon_changes_nothing() {
    let mut pool = Pool::running(2);
    let before = pool.talk();
    wait_until_read(&pool, "backup", 10.0);
    pool.stop_daemon(Signal::SIGTERM);
    let files = || -> Vec<_> {
        let files = std::fs::read_dir(pool.state_dir()).expect("readable").flatten();
        let mut files: Vec<_> = files.map(|file| (file.path(), file.metadata().and_then(|data| data.modified()).expect("known"))).collect();
        // A reader touches what the database shares between processes.
        files.retain(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
        files.sort();
        files
    };
    let seen = || (pool.agents(), pool.link("active"), pool.events(), files());
    let world = seen();
    pool.cli(&["swap", "--to", "backup", "--dry-run"]).expect(0).says("backup");
    assert_eq!(seen(), world);
    pool.cli(&["swap", "--to", "nobody", "--dry-run"]).expect(1).says("nobody");
    assert_eq!(seen(), world);
    pool.assert_kept(&before);
}
