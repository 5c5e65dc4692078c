//! What an agent does when its register says nothing: status files and screens are told as what they are, and nothing follows from them.

use std::fs;

use serde_json::json;

use crate::{
    pool::{Pool, row},
    waiting::{wait_for, wait_until},
};

/// A pool whose agent never gets a register entry, with a project and a daemon.
fn silent(project: &str) -> Pool {
    let mut pool = Pool::new(1);
    pool.behave("a", &json!({"registerDelayMillis": 3_600_000}));
    let path = pool.path(project);
    fs::create_dir_all(&path).expect("made");
    pool.edit(|spec| {
        spec["sessions"][0]["dispatch"] = json!(true);
        spec["projects"] = json!([{"path": path}]);
    });
    pool.cli(&["apply", "--yes"]);
    pool.start_daemon();
    wait_until("the agent and its queue", || pool.agents().len() == 1 && pool.path(project).join(".agent-queue/inbox").exists());
    pool
}

/// What a session does, as the status says.
fn activity(pool: &Pool) -> String {
    row(&pool.status(), "s-0")["activity"].as_str().expect("a word").to_owned()
}

#[test]
fn a_status_file_of_a_script_is_told_with_its_source_and_age() {
    let pool = silent("work");
    let say = |state: &str| {
        let status = json!({"state": state, "session": "s-0", "heartbeat": jiff::Timestamp::now().to_string()});
        pool.put("work/.agent-queue/status.json", &status.to_string());
    };
    wait_until("the agent's own hook to be done", || pool.path("work/.agent-queue/status.json").exists());
    say("working");
    wait_until("its word to be told", || activity(&pool) == "working");
    let explained = pool.cli(&["explain", "session/s-0"]).expect(0).stdout;
    let line = explained.lines().find(|line| line.contains("status file says")).unwrap_or_else(|| panic!("{explained}"));
    assert!(line.contains("\"working\" at ") && line.contains(" s ago: working (decides)"), "{line}");
    assert!(explained.contains("its register says \"no entry\""), "{explained}");

    // A file that is broken takes the word back.
    pool.put("work/.agent-queue/status.json", "{");
    wait_until("its word to be gone", || activity(&pool) != "working");
}

#[test]
fn a_screen_alone_is_told_and_nothing_is_given_to_its_agent() {
    let pool = silent("api");
    // Once it is not taken for one that starts any more.
    wait_until("the screen to be told", || activity(&pool) == "idle");
    let explained = pool.cli(&["explain", "session/s-0"]).expect(0).stdout;
    let line = explained.lines().find(|line| line.contains("its pane says")).unwrap_or_else(|| panic!("{explained}"));
    assert!(line.contains("its input box is empty") && line.contains(" s ago: idle (too weak to act on)"), "{line}");
    pool.put("api/.agent-queue/a", "Do it.\n");
    fs::rename(pool.path("api/.agent-queue/a"), pool.path("api/.agent-queue/inbox/a.md")).expect("renamed");
    let why = wait_for("the task to wait", || {
        let rows = pool.json(&["task", "ls"]);
        let why = rows.as_array()?.first()?["why"].as_str()?.to_owned();
        why.contains("unknown").then_some(why)
    });
    assert!(why.ends_with("idle (1 unknown)"), "{why}");
    assert_eq!(pool.count("TaskClaimed"), 0);
}

#[test]
fn an_agent_below_a_project_and_one_that_has_a_task_of_another_keep_its_status_file() {
    let mut pool = Pool::new(2);
    for name in ["api/deep/er", "other"] {
        fs::create_dir_all(pool.path(name)).expect("made");
    }
    let path = |name: &str| pool.path(name).to_string_lossy().into_owned();
    let (api, deep, other, work) = (path("api"), path("api/deep/er"), path("other"), path("work"));
    pool.edit(|spec| {
        spec["sessions"] = json!([{"names": "s-0", "workdir": deep}, {"names": "s-1", "workdir": work, "dispatch": true}]);
        spec["projects"] = json!([{"path": api}, {"path": other}]);
    });
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.start_daemon();
    wait_until("every session to be ready", || pool.sessions_ready());
    let said = |project: &str, session: &str| {
        let text = fs::read(pool.path(project).join(".agent-queue/status.json")).ok()?;
        let status: serde_json::Value = serde_json::from_slice(&text).expect("whole");
        let found = [&status, &status["sessions"][session]].into_iter().find(|found| **found != json!(null))?;
        (status["session"] == session || status["sessions"][session] != json!(null)).then(|| found.clone())
    };
    let state = |project: &str, session: &str| said(project, session).and_then(|said| Some(said["state"].as_str()?.to_owned()));

    pool.send("s-0", "take your time [[slow 2]]");
    wait_until("its turn to be noted above it", || state("api", "s-0").as_deref() == Some("working"));
    wait_until("its end to be noted", || state("api", "s-0").as_deref() == Some("idle"));
    assert!(!pool.path("api/deep/er/.agent-queue").exists() && !pool.path("api/deep/.agent-queue").exists());

    pool.put("other/.agent-queue/b", "Take your time. [[slow 2]]\n");
    fs::rename(pool.path("other/.agent-queue/b"), pool.path("other/.agent-queue/inbox/b.md")).expect("renamed");
    let noted = wait_for("the task to be noted in its project", || said("other", "s-1").filter(|said| said["state"] == "working"));
    assert_eq!(noted["task"], "b.md");
    wait_until("the task to be done", || pool.path("other/.agent-queue/done/b.md").exists());
    wait_until("its end to be noted, behind the task's", || state("other", "s-1").as_deref() == Some("idle"));
    assert!(!pool.path("work/.agent-queue").exists(), "no queue is made for it");
}

#[test]
fn a_pipe_in_the_place_of_a_register_entry_stops_nobody() {
    let pool = Pool::running(2);
    let first = pool.panes()["s-0"];
    let entry = pool.path(&format!("a/sessions/{first}.json"));
    fs::remove_file(&entry).expect("removed");
    nix::unistd::mkfifo(&entry, nix::sys::stat::Mode::S_IRWXU).expect("made");
    wait_until("it to be told", || {
        let explained = pool.cli(&["explain", "session/s-0"]).stdout;
        explained.contains("its register says \"cannot be read\"")
    });
    // The daemon goes on with the other one.
    pool.send("s-1", "take your time [[slow 2]]");
    let of_other = |activity: &str| row(&pool.status(), "s-1")["activity"] == activity;
    wait_until("the other one's turn to be seen", || of_other("working"));
    wait_until("its end to be seen", || of_other("idle"));
    assert_eq!(pool.agents().len(), 2, "and the first one is left alone");
}
