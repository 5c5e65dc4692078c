//! What the short commands say and refuse.

use serde_json::Value;

use crate::pool::{Pool, row};

#[test]
fn a_fresh_pool_is_shown_without_complaints_and_attach_says_what_to_do() {
    let pool = Pool::new(1);
    let status = pool.status();
    for account in ["primary", "backup"] {
        let standing = row(&status, account)["standing"].as_str().expect("words");
        assert!(!standing.contains("wrong"), "{standing}");
    }
    pool.cli(&["attach", "s-0"]).expect(1).says("no tmux server listens").says("apply");
}

#[test]
fn a_suspension_is_said_also_when_there_is_nothing_to_do_and_nothing_to_clear_is_said_so() {
    let pool = Pool::applied(1);
    pool.cli(&["clear", "pool", "--yes"]).expect(0).says("neither latched nor held back");
    pool.cli(&["suspend", "--reason", "maintenance"]).expect(0);
    pool.cli(&["plan"]).expect(0).says("Nothing is done at present: suspended by").says("maintenance");
    pool.cli(&["explain", "shared-root"]).expect(0).says("carries the marker of pool").lacks("Marked(");
    pool.cli(&["attach", "s-7"]).expect(64);
}

#[test]
fn a_tmux_session_without_an_agent_is_not_adopted() {
    let mut pool = Pool::applied(1);
    pool.tmux(&["new-session", "-d", "-s", "s-1", "sleep 1000"]).expect("made");
    pool.edit(|spec| spec["sessions"][0]["names"] = serde_json::json!("s-{0..1}"));
    pool.cli(&["adopt", "s-1"]).expect(1).says("no agent that has registered itself runs");
    pool.edit(|spec| spec["sessions"][0]["adopt"] = Value::Bool(true));
    pool.cli(&["plan"]).says("NothingToAdopt");
}

#[test]
fn the_mistakes_of_a_broken_spec_are_told_once_and_line_by_line() {
    let pool = Pool::applied(1);
    pool.put("pool.yaml", "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: { name: try }\nspec: { acounts: [] }\n");
    let ended = pool.cli(&["cordon", "s-0", "--reason", "try"]).expect(0);
    assert_eq!(ended.stderr.matches("2 errors").count(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains("\\u{a}"), "{}", ended.stderr);
}

#[test]
fn without_any_login_nothing_is_started_and_nobody_is_called() {
    let pool = Pool::new(1);
    for home in ["a", "b"] {
        std::fs::remove_file(pool.path(home).join(".credentials.json")).expect("removed");
    }
    pool.cli(&["apply", "--yes"]).expect(5).says("LoginMissing");
    assert!(pool.agents().is_empty());
    assert_eq!(pool.count("PoolExhausted"), 0);
    pool.log_in("a");
    pool.cli(&["apply", "--yes"]).says("make it the active account");
    assert_eq!(pool.agents().len(), 1);
}

#[test]
fn what_init_writes_trusts_a_directory_for_work_and_not_the_home() {
    let pool = Pool::new(1);
    let spec = pool.path("pool.yaml");
    std::fs::remove_file(&spec).expect("removed");
    pool.cli(&["init", "--yes", "--account", "one", "--account", "two"]).expect(0);
    let text = std::fs::read_to_string(&spec).expect("written");
    assert!(text.contains("workdir: ~/work"), "{text}");
    assert!(pool.path("home/work").is_dir());
}

#[test]
fn what_does_not_exist_is_refused_with_what_there_is() {
    let pool = crate::tasks::working(1);
    pool.cli(&["checkpoint", "ls", "nosuch"]).expect(64).says("no session nosuch").says("s-0");
    pool.cli(&["checkpoint", "ls", "s-0"]).expect(0);
    pool.cli(&["explain", "project/nosuch"]).expect(64).says("registers no project nosuch").says("there are api");
    pool.cli(&["explain", "task/nosuch/a.md"]).expect(64).says("registers no project nosuch").says("there are api");
    pool.cli(&["explain", "task/api/nosuch.md"]).expect(64).says("api/nosuch.md is in no queue of this pool");
    pool.cli(&["explain", "account/nosuch"]).expect(64).says("there are primary, backup");
    pool.cli(&["explain", "session/nosuch"]).expect(64).says("there are s-0");
    pool.cli(&["explain", "project/api"]).expect(0);

    // A task is named as `task ls` shows it, or in full; one that is done is explained still.
    crate::tasks::drop_task(&pool, "a.md", "Say hello.\n");
    crate::waiting::wait_until("the task to be done", || pool.count("TaskDone") == 1);
    for name in ["api/a.md", "task/api/a.md"] {
        pool.cli(&["explain", name]).expect(0).says("task/api/a.md").says("TaskDone");
    }
    std::fs::remove_file(pool.path("api/.agent-queue/done/a.md")).expect("removed");
    pool.cli(&["explain", "api/a.md"]).expect(0).says("TaskDone");
}
