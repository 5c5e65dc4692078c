//! Tasks: from a file in an inbox to a file in `done/`, through kills, swaps and crashes of the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    pool::Pool,
    waiting::{wait_for, wait_until},
};

/// A pool with a registered project `api`, whose sessions take any project's tasks, converged and with a daemon.
pub fn working(sessions: usize) -> Pool {
    let mut pool = prepared(sessions);
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.start_daemon();
    wait_until("every session to be ready", || pool.sessions_ready());
    pool
}

/// The same, with nothing applied.
pub fn prepared(sessions: usize) -> Pool {
    let mut pool = Pool::new(sessions);
    fs::create_dir(pool.path("api")).expect("made");
    let path = pool.path("api").to_string_lossy().into_owned();
    pool.edit(|spec| {
        spec["sessions"][0]["dispatch"] = json!(true);
        spec["projects"] = json!([{"path": path}]);
    });
    pool
}

/// Drops a task into the inbox in one step, as a script would.
pub fn drop_task(pool: &Pool, name: &str, text: &str) {
    pool.put(&format!("api/.agent-queue/{name}"), text);
    fs::rename(pool.path("api/.agent-queue").join(name), pool.path("api/.agent-queue/inbox").join(name)).expect("renamed");
}

/// The files of one of the queue's directories.
pub fn names(pool: &Pool, directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(pool.path("api/.agent-queue").join(directory)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Which conversations were asked to do a task, by claim, as their transcripts say.
pub fn asked(pool: &Pool, task: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut claims: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (conversation, bytes) in pool.transcripts() {
        for record in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()) {
            let Some(prompt) = record["message"]["content"].as_str().filter(|_| record["type"] == "user") else { continue };
            if let Some((_, rest)) = prompt.split_once("[claim ").filter(|_| prompt.contains(&format!("/inbox/{task}"))) {
                claims.entry(rest[..12].to_owned()).or_default().insert(conversation.clone());
            }
        }
    }
    claims
}

/// The row of a task in `task ls --all`.
pub fn task(pool: &Pool, name: &str) -> Option<Value> {
    let rows = pool.json(&["task", "ls", "--all"]);
    rows.as_array().expect("a list").iter().find(|row| row["task"] == format!("api/{name}")).cloned()
}

/// Asserts that each task is in `done/` once, that each was asked for under one claim by one conversation, and that nothing is left over.
pub fn assert_each_done_once(pool: &Pool, tasks: &[String]) {
    assert_eq!(names(pool, "done"), tasks.iter().cloned().collect(), "all are done, and nothing else is");
    assert_eq!(names(pool, "inbox"), BTreeSet::new(), "neither a task nor a marker is left");
    assert_eq!(names(pool, "failed"), BTreeSet::new());
    for name in tasks {
        let claims = asked(pool, name);
        assert_eq!(claims.len(), 1, "{name} was asked for once: {claims:?}");
        assert!(claims.values().all(|conversations| conversations.len() == 1), "by one conversation: {claims:?}");
    }
}

#[test]
fn a_task_in_the_inbox_is_done_once() {
    let pool = working(2);
    drop_task(&pool, "a.md", "Say hello.\n");
    wait_until("the task to be done", || names(&pool, "done").contains("a.md"));
    wait_until("its end to be told", || pool.count("TaskDone") == 1);
    wait_until("its marker to be gone", || names(&pool, "inbox").is_empty());
    assert_each_done_once(&pool, &["a.md".to_owned()]);
    let row = task(&pool, "a.md").expect("it is listed");
    assert_eq!(row["state"], "done");
    assert_eq!((pool.count("TaskClaimed"), pool.count("TaskReleased")), (1, 0));
}

#[test]
fn many_tasks_are_shared_among_the_sessions() {
    let pool = working(4);
    let tasks: Vec<String> = (0..24).map(|at| format!("t-{at:02}.md")).collect();
    for name in &tasks {
        drop_task(&pool, name, "Do it.\n");
    }
    wait_until("all to be done", || names(&pool, "done").len() == tasks.len() && names(&pool, "inbox").is_empty());
    assert_each_done_once(&pool, &tasks);
    let workers: BTreeSet<String> = tasks.iter().flat_map(|name| asked(&pool, name).into_values().flatten()).collect();
    assert!(workers.len() > 1, "one session did all: {workers:?}");
}

#[test]
fn a_task_goes_along_with_its_session_to_the_next_account() {
    let mut pool = prepared(2);
    pool.edit(|spec| spec["swap"]["drain"] = json!("1s"));
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.start_daemon();
    wait_until("every session to be ready", || pool.sessions_ready());
    drop_task(&pool, "long.md", "Take your time. [[tool 8]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    let had = wait_for("its row", || task(&pool, "long.md"))["session"].clone();
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
    assert_eq!(pool.active(), "backup");
    wait_until("the task to be done", || names(&pool, "done").contains("long.md") && names(&pool, "inbox").is_empty());
    let by = had.as_str().expect("a session had it");
    // What was seen is written with the intent that follows from it, and can be read once that is done.
    wait_until("its end to be told", || pool.count("TaskDone") == 1);
    assert!(pool.told("TaskDone").contains(&format!("session {by}")), "the same session did it");
    assert_each_done_once(&pool, &["long.md".to_owned()]);
    pool.assert_whole("b", 2);
}

#[test]
fn a_killed_agent_goes_on_with_its_task() {
    let pool = working(1);
    drop_task(&pool, "a.md", "Take your time. [[slow 2]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    kill(Pid::from_raw(pool.agents()[0].pid), Signal::SIGKILL).expect("it lives");
    wait_until("the task to be done", || names(&pool, "done").contains("a.md") && names(&pool, "inbox").is_empty());
    assert_each_done_once(&pool, &["a.md".to_owned()]);
}

/// The prompts about a task, in the order in which they were taken.
fn prompts(pool: &Pool, task: &str) -> Vec<String> {
    let transcripts = pool.transcripts();
    let records = transcripts.values().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
    let records = records.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).filter(|record| record["type"] == "user");
    let texts = records.filter_map(|record| record["message"]["content"].as_str().map(ToOwned::to_owned));
    texts.filter(|text| text.contains("[claim ") && text.contains(&format!("/inbox/{task}"))).collect()
}

/// The agent is killed in the middle of the turn and the daemon with it. The agent goes on by itself, forgets to move the file, and is asked once
/// more: it is told what is known of it, although the daemon that asks has not seen the turn begin.
#[test]
fn an_interrupted_task_is_followed_up_once_with_what_is_known() {
    let mut pool = working(1);
    drop_task(&pool, "a.md", "Take your time. [[tool 3]] [[forget once]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    let calls = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains("\"tool_use\"");
    wait_until("the tool to run", || pool.transcripts().values().any(calls));
    pool.stop_daemon(Signal::SIGKILL);
    kill(Pid::from_raw(pool.agents()[0].pid), Signal::SIGKILL).expect("it lives");
    pool.start_daemon();
    wait_until("the task to be done", || names(&pool, "done").contains("a.md") && names(&pool, "inbox").is_empty());
    assert_eq!((pool.count("TaskFollowedUp"), pool.count("TaskReleased"), pool.count("TaskClaimed")), (1, 0, 1));
    let prompts = prompts(&pool, "a.md");
    let followed_up: Vec<_> = prompts.iter().filter(|prompt| prompt.contains("is not done")).collect();
    assert_eq!(followed_up.len(), 1, "{prompts:#?}");
    for words in ["What is known: Task: api/a.md", "Last tool call: Bash"] {
        assert!(followed_up[0].contains(words), "{words:?} is not in {:?}", followed_up[0]);
    }
}

#[test]
fn a_daemon_that_is_killed_again_and_again_neither_loses_nor_doubles_a_task() {
    let mut pool = working(3);
    let tasks: Vec<String> = (0..15).map(|at| format!("t-{at:02}.md")).collect();
    for (at, name) in tasks.iter().enumerate() {
        drop_task(&pool, name, "Do it. [[slow 0.1]]\n");
        if at % 3 == 2 {
            // At another moment each time: after so many tasks are done.
            wait_until("some work to be done", || names(&pool, "done").len() >= at / 2);
            pool.stop_daemon(Signal::SIGKILL);
            pool.start_daemon();
        }
    }
    wait_until("all to be done", || names(&pool, "done").len() == tasks.len() && names(&pool, "inbox").is_empty());
    assert_each_done_once(&pool, &tasks);
}

#[test]
fn what_is_no_task_is_put_aside_with_the_reason() {
    let pool = working(1);
    drop_task(&pool, "bad.md", "---\npriority: high\n---\nDo it.\n");
    wait_until("the task to be refused", || names(&pool, "failed").contains("bad.md"));
    let reason = fs::read_to_string(pool.path("api/.agent-queue/failed/bad.md.reason")).expect("a reason");
    assert!(reason.contains("bad.md") && reason.contains('2') && reason.contains("priority"), "{reason}");
    assert_eq!(asked(&pool, "bad.md"), BTreeMap::new());
    wait_until("it to be told", || pool.count("TaskRejected") == 1);
}

#[test]
fn an_agent_that_forgets_is_asked_once_more_and_then_another_attempt_is_made() {
    let pool = working(2);
    drop_task(&pool, "once.md", "[[forget once]]\n");
    wait_until("the task to be done", || names(&pool, "done").contains("once.md"));
    // An effect is told when it is over, and the agent may be quicker than that.
    wait_until("the second asking to be told", || pool.count("TaskFollowedUp") == 1);
    assert_eq!(pool.count("TaskReleased"), 0, "it was not offered to anybody else");
    drop_task(&pool, "never.md", "---\nattempts: 2\n---\n[[forget]]\n");
    wait_until("the task to fail for good", || names(&pool, "failed").contains("never.md"));
    wait_until("its marker to be gone", || names(&pool, "inbox").is_empty());
    wait_until("its end to be told", || pool.count("TaskFailed") == 1);
    assert_eq!(asked(&pool, "never.md").len(), 4, "two attempts, each asked for twice, each time under a name of its own");
}

#[test]
fn an_agent_may_give_a_task_up() {
    let pool = working(1);
    drop_task(&pool, "a.md", "[[give up]]\n");
    wait_until("the task to be given up", || names(&pool, "failed").contains("a.md") && names(&pool, "inbox").is_empty());
    pool.cli(&["task", "retry", "api/a.md"]).expect(0);
    wait_until("it to be given up again", || asked(&pool, "a.md").len() == 2 && names(&pool, "failed").contains("a.md"));
}

#[test]
fn an_operator_adds_shows_moves_and_cancels_tasks() {
    let mut pool = prepared(1);
    fs::create_dir(pool.path("web")).expect("made");
    let web = pool.path("web").to_string_lossy().into_owned();
    pool.edit(|spec| spec["projects"].as_array_mut().expect("a list").push(json!({"path": web})));
    pool.cli(&["apply", "--yes"]).expect(0);
    // Nobody takes anything while the pool is suspended.
    pool.cli(&["suspend", "--reason", "a look around"]).expect(0);
    pool.start_daemon();
    let added = pool.json(&["task", "add", "api", "--text", "Say hello.", "--name", "two words", "--priority", "7"]);
    assert_eq!(added, json!("api/two%20words.md"));
    pool.cli(&["task", "add", "nowhere", "--text", "x"]).expect(64).says("api, web");
    let row = wait_for("the task to be seen", || {
        let rows = pool.json(&["task", "ls"]);
        rows.as_array().expect("a list").first().cloned()
    });
    assert_eq!((&row["state"], &row["priority"], &row["title"]), (&json!("waiting"), &json!(7), &json!("Say hello.")));
    assert!(row["why"].as_str().is_some_and(|why| why.contains("suspended")), "{row}");
    pool.cli(&["task", "mv", "api/two%20words.md", "web"]).expect(0);
    assert!(pool.path("web/.agent-queue/inbox/two words.md").exists());
    pool.cli(&["task", "show", "web/two%20words.md"]).expect(0).says("Say hello.");
    pool.cli(&["task", "cancel", "web/two%20words.md", "--reason", "changed my mind"]).expect(0);
    let reason = fs::read_to_string(pool.path("web/.agent-queue/failed/two words.md.reason")).expect("a reason");
    assert!(reason.contains("changed my mind"), "{reason}");
    pool.cli(&["task", "cancel", "web/two%20words.md"]).expect(1);
    pool.cli(&["task", "retry", "web/two%20words.md"]).expect(0);
    pool.cli(&["resume"]).expect(0);
    wait_until("the task to be done", || pool.path("web/.agent-queue/done/two words.md").exists());
}

#[test]
fn nothing_is_given_out_while_no_account_has_room() {
    let pool = working(2);
    pool.usage(91.0, 92.0);
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    drop_task(&pool, "a.md", "Do it.\n");
    let row = wait_for("the task to be held", || task(&pool, "a.md").filter(|row| row["state"] == "waiting"));
    assert!(row["why"].as_str().is_some_and(|why| why.contains("room")), "{row}");
    pool.cli(&["reconcile"]);
    assert_eq!(asked(&pool, "a.md"), BTreeMap::new());
    pool.usage(20.0, 10.0);
    wait_until("the task to be done", || names(&pool, "done").contains("a.md"));
}

#[test]
fn a_session_with_a_person_at_it_gets_no_task() {
    let pool = working(1);
    pool.send("s-0", "[[ask]]");
    wait_until("a question to be open", || pool.register_statuses() == ["waiting"]);
    drop_task(&pool, "a.md", "Do it.\n");
    wait_until("the task to be seen", || task(&pool, "a.md").is_some());
    pool.cli(&["reconcile"]);
    assert_eq!(asked(&pool, "a.md"), BTreeMap::new(), "nothing is typed into a dialog");
    assert_eq!(pool.register_statuses(), ["waiting"], "and nothing is answered");
    let target = "=s-0:";
    pool.tmux(&["send-keys", "-t", target, "Enter"]).expect("answered");
    wait_until("the task to be done", || names(&pool, "done").contains("a.md"));
}

#[test]
fn a_task_that_was_taken_back_is_not_offered_again_while_its_session_is_at_it() {
    let pool = working(2);
    drop_task(&pool, "a.md", "Take your time. [[slow 8]]\n");
    wait_until("the task to be taken", || pool.count("TaskDelivered") == 1);
    pool.cli(&["task", "cancel", "api/a.md"]).expect(0).says("is not interrupted");
    pool.cli(&["task", "retry", "api/a.md"]).expect(1).says("may still be at");
    assert!(names(&pool, "failed").contains("a.md"));
    wait_until("the turn to be over", || pool.register_statuses().iter().all(|status| status == "idle"));
    wait_until("it to be offered again", || pool.cli(&["task", "retry", "api/a.md"]).code == Some(0));
    wait_until("the task to be done", || names(&pool, "done").contains("a.md") && names(&pool, "inbox").is_empty());
}
