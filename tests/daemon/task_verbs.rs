//! What an operator sees of tasks and says about them, what becomes of older files of a name, and what the janitor does about old ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    pool::Pool,
    tasks::{asked, drop_task, names, prepared, task, working},
    waiting::{wait_for, wait_until},
};

#[test]
fn what_became_of_tasks_is_shown_when_they_are_over() {
    let mut pool = working(1);
    drop_task(&pool, "good.md", "---\npriority: 4\n---\nSay hello.\n");
    wait_until("the task to be done", || pool.count("TaskDone") == 1 && names(&pool, "inbox").is_empty());
    drop_task(&pool, "never.md", "---\nattempts: 1\n---\n[[forget]] Say it.\n");
    wait_until("the task to fail for good", || pool.count("TaskFailed") == 1 && names(&pool, "inbox").is_empty());
    drop_task(&pool, "bad.md", "---\npriority: high\n---\nDo it.\n");
    wait_until("the task to be refused", || pool.count("TaskRejected") == 1);
    let check = |pool: &Pool| {
        let good = task(pool, "good.md").expect("it is listed");
        let expected = json!(["done", "s-0", 1, 3, 4, "Say hello."]);
        assert_eq!(json!([good["state"], good["session"], good["attempt"], good["attempts"], good["priority"], good["title"]]), expected);
        let never = task(pool, "never.md").expect("it is listed");
        assert_eq!(json!([never["state"], never["session"], never["attempt"], never["attempts"]]), json!(["failed", "s-0", 1, 1]));
        assert_eq!(never["why"], "it was not done in 1 attempts");
        let shown = pool.json(&["task", "show", "api/never"]);
        assert_eq!(shown["record"]["attempts"].as_array().map(Vec::len), Some(1), "{shown}");
        assert_eq!(shown["record"]["attempts"][0]["end"]["how"], "undone");
        let reason = fs::read_to_string(pool.path("api/.agent-queue/failed/never.md.reason")).expect("a reason");
        assert_eq!(shown["reason"], reason.trim_end());
        assert_eq!(shown["row"]["task"], "api/never.md");
        pool.cli(&["task", "show", "api/never.md"]).expect(0).says("reason    it was not done").says("attempt 1 by session s-0");
        pool.cli(&["explain", "task/api/never"]).expect(0).says("reason: it was not done").says("attempt 1 by session s-0");
        pool.cli(&["task", "show", "api/bad.md"]).expect(0).says("bad.md:2").says("priority");
    };
    check(&pool);
    let told: Vec<_> = pool.events().into_iter().filter(|(object, ..)| object.starts_with("task/")).map(|(.., message)| message).collect();
    assert!(told.iter().any(|message| message.starts_with("claimed for session s-0: attempt 1, claim ")), "{told:?}");
    assert!(!told.iter().any(|message| message.contains("claim it")), "{told:?}");
    // Neither a new daemon nor a look without one forgets it.
    pool.stop_daemon(Signal::SIGTERM);
    check(&pool);
    pool.start_daemon();
    check(&pool);
    let events = pool.events();
    pool.cli(&["reconcile"]).expect(0);
    assert_eq!(pool.events(), events, "what is over is silent");
}

#[test]
fn an_older_task_of_the_name_is_not_overwritten() {
    let pool = working(1);
    for text in ["Say hello.\n", "Say it again.\n", "Say it a third time.\n"] {
        let before = names(&pool, "done").len();
        drop_task(&pool, "a.md", text);
        wait_until("the task to be done", || names(&pool, "done").len() == before + 1 && names(&pool, "inbox").is_empty());
        wait_until("its end to be told", || pool.count("TaskDone") == before + 1);
    }
    assert_eq!(names(&pool, "done"), ["a.md", "a~2.md", "a~3.md"].map(ToOwned::to_owned).into());
    let read = |name: &str| fs::read_to_string(pool.path("api/.agent-queue/done").join(name)).expect("a task");
    assert!(read("a.md").contains("third") && read("a~2.md").contains("hello") && read("a~3.md").contains("again"));
    assert_eq!(pool.count("TaskReleased"), 0);
}

#[test]
fn names_can_be_pasted_back_and_a_mistake_says_what_to_do() {
    let mut pool = prepared(2);
    fs::create_dir(pool.path("web")).expect("made");
    let web = pool.path("web").to_string_lossy().into_owned();
    pool.edit(|spec| spec["projects"].as_array_mut().expect("a list").push(json!({"path": web, "sessions": ["s-1"]})));
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.cli(&["suspend", "--reason", "a look around"]).expect(0);
    pool.start_daemon();
    pool.cli(&["task", "add", "api", "--text", "x", "--name", "../evil"]).expect(64).says("--name fix-login");
    pool.cli(&["task", "add", "api", "--text", "x", "--session", "s-9"]).expect(64).says("no session s-9").says("served by s-0, s-1");
    pool.cli(&["task", "add", "web", "--text", "x", "--session", "s-0"])
        .expect(64)
        .says("does not serve project web")
        .says("served by s-1");
    let file = "\u{202e}it's $(x).md";
    fs::write(pool.path("api/.agent-queue/inbox").join(file), "Say hello.\n").expect("written");
    let listed = |pool: &Pool| {
        let rows = pool.cli(&["task", "ls"]).expect(0).stdout;
        rows.lines().nth(1).map(|row| row.split_whitespace().next().expect("a cell").to_owned())
    };
    let shown = wait_for("the task to be listed", || listed(&pool));
    assert_eq!(shown, "api/%E2%80%AEit%27s%20%24%28x%29.md");
    pool.cli(&["explain", "project/api"]).expect(0).says("attempts of 4h each");
    // As a shell reads it, and without its ending.
    let short = shown.trim_end_matches(".md");
    let name = short.trim_start_matches("api/");
    pool.cli(&["task", "add", "api", "--text", "Then wave.", "--name", "then", "--after", name]).expect(0);
    let then = fs::read_to_string(pool.path("api/.agent-queue/inbox/then.md")).expect("the task");
    assert!(then.contains("it's $(x).md"), "{then}");
    pool.cli(&["task", "add", "api", "--text", "x", "--after", "../evil"]).expect(64).says("as `task ls` shows it");
    let moved = pool.json(&["task", "mv", short, "web"]);
    assert_eq!((&moved["done"]["changed"], moved["done"]["lines"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{moved}");
    assert!(pool.path("web/.agent-queue/inbox").join(file).exists());
    let short = short.replace("api/", "web/");
    let cancelled = pool.json(&["task", "cancel", &short, "--reason", "no more"]);
    assert!(cancelled["done"]["lines"][0].as_str().is_some_and(|line| line.contains("no more")), "{cancelled}");
    // As events name it.
    let story = pool.json(&["task", "show", &format!("task/{short}")]);
    assert_eq!(story["row"]["state"], "failed");
    assert!(story["reason"].as_str().is_some_and(|reason| reason.contains("no more")), "{story}");
    let told: Vec<&str> =
        story["events"].as_array().expect("events").iter().filter_map(|event| event["event"]["reason"].as_str()).collect();
    assert_eq!(told, ["TaskCancelled"]);
    let retried = pool.json(&["task", "retry", &short]);
    assert_eq!(retried["done"]["changed"], true, "{retried}");
    assert!(pool.path("web/.agent-queue/inbox").join(file).exists());
    pool.cli(&["task", "retry", &short]).expect(1).says("is not among the failed tasks");
}

#[test]
fn without_a_daemon_no_task_is_given_out() {
    let mut pool = prepared(1);
    pool.cli(&["apply", "--yes"]).expect(0);
    drop_task(&pool, "a.md", "Say hello.\n");
    let row = wait_for("the task to be seen", || task(&pool, "a.md"));
    assert!(row["why"].as_str().is_some_and(|why| why.contains("given out by the daemon")), "{row}");
    pool.cli(&["plan"]).expect(0).says("given out by the daemon").says("Nothing to do");
    pool.cli(&["apply", "--yes"]).expect(0).says("given out by the daemon");
    pool.cli(&["reconcile"]);
    assert_eq!((names(&pool, "inbox"), asked(&pool, "a.md")), (["a.md".to_owned()].into(), BTreeMap::new()));
    pool.start_daemon();
    wait_until("the task to be done", || names(&pool, "done").contains("a.md"));
    // Its marker goes a moment later.
    let plan = wait_for("nothing to be left to do", || Some(pool.cli(&["plan"])).filter(|plan| plan.code == Some(0)));
    plan.lacks("given out by the daemon");
}

#[test]
fn markers_that_are_nobodys_are_taken_away() {
    let mut pool = prepared(1);
    pool.cli(&["apply", "--yes"]).expect(0);
    let inbox = pool.path("api/.agent-queue/inbox");
    let ago = |minutes: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes)).to_string();
    let marker = |minutes: i64| {
        json!({"session": "s-0", "attempt": 1, "claim": "0123456789ab", "claimedAt": ago(minutes + 10), "leaseUntil": ago(minutes)})
            .to_string()
    };
    for (name, text, minutes) in
        [("old.md", marker(31), 0), ("young.md", marker(1), 0), ("broken.md", "{".to_owned(), 31), ("written.md", "{".to_owned(), 1)]
    {
        drop_task(&pool, name, "Say hello.\n");
        let path = inbox.join(format!("{name}.dispatched"));
        fs::write(&path, text).expect("written");
        let file = fs::File::options().write(true).open(&path).expect("there");
        file.set_modified(SystemTime::now() - Duration::from_mins(minutes)).expect("a time");
    }
    pool.cli(&["plan"]).expect(2).says("2 to clean away").says("task api/old.md").says("task api/broken.md");
    pool.start_daemon();
    wait_until("the tasks to be done", || names(&pool, "done") == ["broken.md", "old.md"].map(ToOwned::to_owned).into());
    wait_until("their markers to be gone", || names(&pool, "inbox").len() == 4);
    let left = ["written.md", "written.md.dispatched", "young.md", "young.md.dispatched"].map(ToOwned::to_owned);
    assert_eq!(names(&pool, "inbox"), BTreeSet::from(left));
    assert_eq!(pool.count("Tidied"), 2);
}

/// The time at which a file was put into a directory cannot be set, and no shorter age is allowed: this takes its minute.
#[test]
fn what_was_done_long_ago_is_archived() {
    let mut pool = prepared(1);
    pool.edit(|spec| spec["janitor"] = json!({"archiveDoneAfter": "1m"}));
    pool.cli(&["apply", "--yes"]).expect(0);
    for name in ["a.md", "b.md"] {
        fs::write(pool.path("api/.agent-queue/done").join(name), "did it\n").expect("written");
    }
    pool.start_daemon();
    pool.cli(&["plan"]).expect(0);
    let until = Instant::now() + Duration::from_secs(62);
    wait_until("the last second before", || Instant::now() + Duration::from_secs(5) > until);
    assert_eq!(names(&pool, "done").len(), 2, "not before its time");
    wait_until("a look at old tasks", || {
        Instant::now() > until && pool.cli(&["reconcile"]).code == Some(0) && names(&pool, "done").is_empty()
    });
    let archives: Vec<_> = names(&pool, "archive").into_iter().collect();
    let listed = pool.end({
        let mut tar = std::process::Command::new("tar");
        tar.arg("-tzf").arg(pool.path("api/.agent-queue/archive").join(&archives[0]));
        tar
    });
    assert_eq!((archives.len(), listed.stdout.as_str()), (1, "a.md\nb.md\n"));
    let told: Value = pool.told("Tidied").into();
    assert!(told.as_str().is_some_and(|told| told.starts_with("2 tasks done in ") && told.contains("archived")), "{told}");
}

#[test]
fn what_a_killed_agent_left_behind_is_named_and_left_alone() {
    let pool = Pool::running(1);
    pool.send("s-0", "Take your time. [[tool 300]]");
    let agent = pool.agents()[0].pid;
    let tool = wait_for("the tool", || {
        let children = fs::read_to_string(format!("/proc/{agent}/task/{agent}/children")).unwrap_or_default();
        let is_tool = |pid: &&str| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep"));
        children.split_whitespace().find(is_tool).map(|pid| pid.parse::<i32>().expect("a number"))
    });
    pool.cli(&["doctor"]).lacks("left behind");
    kill(Pid::from_raw(agent), Signal::SIGKILL).expect("it lives");
    wait_until("another agent", || pool.agents().first().is_some_and(|next| next.pid != agent));
    wait_until("the tool to be named", || pool.cli(&["doctor"]).stdout.contains(&format!("process {tool} (sleep)")));
    kill(Pid::from_raw(tool), Signal::SIGKILL).expect("it lives still");
    wait_until("it to be named no more", || !pool.cli(&["doctor"]).stdout.contains("left behind"));
}
