//! `state.db` is gone, and everything else is there: the pool is taken up as it stands, or left alone where that cannot be told.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    pool::{Pool, condition},
    tasks::{asked, assert_each_done_once, drop_task, names, task, working},
    waiting::wait_until,
};

/// Moves the state aside, as an operator does with a damaged one.
fn lose_state(pool: &Pool) {
    for ending in ["", "-wal", "-shm"] {
        let path = pool.state_dir().join(format!("state.db{ending}"));
        let _ = fs::rename(&path, path.with_extension(format!("aside{ending}")));
    }
    assert!(!pool.state_dir().join("state.db").exists());
}

/// A pool that was carried to the backup, with a conversation in each session, and no daemon.
fn on_backup(sessions: usize) -> Pool {
    let mut pool = Pool::running(sessions);
    pool.talk();
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
    pool.assert_whole("b", sessions);
    pool.stop_daemon(Signal::SIGTERM);
    pool
}

fn reason(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().expect("a list");
    conditions.iter().find(|found| found["type"] == kind).expect("it is there")["reason"].as_str().expect("a word").to_owned()
}

#[test]
fn a_pool_that_runs_stays_where_it_is() {
    let mut pool = on_backup(2);
    let (agents, before) = (pool.agents(), pool.transcripts());
    let conversations = ["s-0", "s-1"].map(|name| pool.conversation(name));
    lose_state(&pool);
    pool.cli(&["plan"]).expect(2).says("account backup").lacks("stop").lacks("conflict");
    pool.start_daemon();
    wait_until("the pool to be taken up", || pool.status()["active"] == "backup" && pool.sessions_ready());
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.agents(), agents, "nobody was touched");
    assert_eq!(["s-0", "s-1"].map(|name| pool.conversation(name)), conversations);
    assert_eq!(pool.link("active"), Some(pool.path("b")));
    pool.assert_kept(&before);
    assert_eq!((pool.count("StateRenewed"), condition(&pool.status(), "Degraded").as_str()), (1, "False"));
    assert!(
        pool.told("AccountActivated").contains("runs under backup") || pool.told("AccountActivated").contains("active"),
        "{:?}",
        pool.events()
    );
    pool.cli(&["plan"]).expect(0);
}

#[test]
fn a_pool_whose_server_is_gone_too_comes_back_where_it_was() {
    let mut pool = on_backup(2);
    let before = pool.transcripts();
    let conversations = ["s-0", "s-1"].map(|name| pool.conversation(name));
    pool.cli(&["checkpoint", "take", "--all"]).expect(0);
    lose_state(&pool);
    let server = pool.tmux_pid();
    pool.tmux(&["kill-server"]).expect("it ends");
    wait_until("the server's end", || pool.agents().is_empty() && pool.tmux_pid() != server);
    // No link speaks for it either: the newest checkpoint does.
    fs::remove_file(pool.path("active")).expect("removed");
    pool.start_daemon();
    wait_until("the pool to be back", || pool.agents().len() == 2 && pool.sessions_ready());
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
    assert_eq!(["s-0", "s-1"].map(|name| pool.conversation(name)), conversations);
    assert_eq!(pool.link("active"), Some(pool.path("b")));
}

/// With neither state nor checkpoints the first conversation of each session is known still, by the pool's identity.
#[test]
fn without_checkpoints_first_conversations_go_on() {
    let mut pool = on_backup(1);
    let before = pool.transcripts();
    let conversation = pool.conversation("s-0");
    lose_state(&pool);
    fs::remove_dir_all(pool.state_dir().join("checkpoints")).expect("removed");
    pool.tmux(&["kill-server"]).expect("it ends");
    wait_until("the server's end", || pool.agents().is_empty());
    pool.start_daemon();
    wait_until("the pool to be back", || pool.agents().len() == 1 && pool.sessions_ready());
    pool.assert_whole("b", 1);
    assert_eq!(pool.conversation("s-0"), conversation);
    pool.assert_kept(&before);
}

#[test]
fn what_disagrees_is_left_alone_until_a_person_says_it() {
    let mut pool = on_backup(2);
    let (agents, before) = (pool.agents(), pool.transcripts());
    lose_state(&pool);
    fs::remove_file(pool.path("active")).expect("removed");
    std::os::unix::fs::symlink(pool.path("a"), pool.path("active")).expect("linked");
    pool.start_daemon();
    wait_until("it to be said", || condition(&pool.status(), "Degraded") == "True");
    let status = pool.status();
    assert_eq!((reason(&status, "Degraded").as_str(), status["active"].clone()), ("ActiveUnknown", Value::Null));
    pool.cli(&["reconcile"]).expect(5);
    pool.cli(&["swap", "--to", "primary", "--yes"]).expect(1);
    pool.usage(99.0, 99.0);
    pool.cli(&["reconcile"]).expect(5);
    assert_eq!(pool.agents(), agents, "nobody was touched");
    assert_eq!(pool.link("active"), Some(pool.path("a")), "and the link is as it was found");
    pool.cli(&["explain", "pool"]).says("under backup").says("account/NAME");

    pool.usage(10.0, 10.0);
    pool.cli(&["adopt", "account/nosuch", "--yes"]).expect(1).says("declares no account nosuch");
    pool.cli(&["adopt", "account/backup", "--yes"]).expect(0).says("on account backup");
    wait_until("the link to follow", || pool.link("active") == Some(pool.path("b")));
    wait_until("the pool to be well", || condition(&pool.status(), "Degraded") == "False" && pool.sessions_ready());
    assert_eq!(pool.agents(), agents);
    pool.assert_kept(&before);
    pool.cli(&["adopt", "account/primary", "--yes"]).expect(1).says("swap --to primary");
}

/// There is nothing to be said where the link and all agents agree: sessions would be moved without a swap.
#[test]
fn nobody_s_word_goes_against_what_is_seen() {
    let mut pool = on_backup(1);
    let agents = pool.agents();
    lose_state(&pool);
    pool.cli(&["adopt", "account/primary", "--yes"]).expect(1).says("on account backup").says("swap --to primary");
    pool.cli(&["adopt", "account/backup", "--yes"]).expect(0).says("on account backup");
    pool.start_daemon();
    wait_until("the pool to be taken up", || pool.status()["active"] == "backup" && pool.sessions_ready());
    assert_eq!((pool.agents(), pool.link("active")), (agents, Some(pool.path("b"))));
}

#[test]
fn a_task_under_way_stays_with_its_session_and_is_done_once() {
    let mut pool = working(2);
    drop_task(&pool, "long.md", "Take your time. [[tool 6]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    let had = task(&pool, "long.md").expect("it is listed")["session"].clone();
    pool.stop_daemon(Signal::SIGKILL);
    lose_state(&pool);
    pool.start_daemon();
    wait_until("the task to be recognised", || task(&pool, "long.md").is_some_and(|row| row["session"] == had));
    wait_until("the task to be done", || names(&pool, "done").contains("long.md") && names(&pool, "inbox").is_empty());
    assert_each_done_once(&pool, &["long.md".to_owned()]);
    assert_eq!(asked(&pool, "long.md").len(), 1);
    assert!(pool.told("TaskDone").contains(had.as_str().expect("a session")), "{}", pool.told("TaskDone"));
}

/// The session was removed from the spec while nobody looked: its task goes to another one at once.
#[test]
fn a_task_of_a_session_that_is_gone_is_offered_again() {
    let mut pool = working(2);
    drop_task(&pool, "long.md", "Take your time. [[tool 30]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    let had = task(&pool, "long.md").expect("it is listed")["session"].as_str().expect("a session").to_owned();
    let other = if had == "s-0" { "s-1" } else { "s-0" };
    pool.stop_daemon(Signal::SIGKILL);
    lose_state(&pool);
    pool.tmux(&["kill-session", "-t", &format!("={had}")]).expect("it ends");
    wait_until("its agent to end", || pool.agents().len() == 1);
    pool.edit(|spec| spec["sessions"][0]["names"] = json!(other));
    pool.put("api/.agent-queue/inbox/long.md", "Say hello.\n");
    pool.start_daemon();
    wait_until("the task to be done", || names(&pool, "done").contains("long.md") && names(&pool, "inbox").is_empty());
    assert!(pool.told("TaskDone").contains(other), "{}", pool.told("TaskDone"));
    assert_eq!(pool.count("TaskReleased"), 1);
}
