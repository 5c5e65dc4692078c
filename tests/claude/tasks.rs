//! A task dropped into an inbox, done by the real CLI across a swap.

use std::fs;

use serde_json::json;

use crate::{
    api::Reply,
    lab::Lab,
    pool::{Pool, of, tell},
};

#[test]
fn a_task_is_done_once_though_the_pool_moves_in_the_middle_of_it() {
    let Some(lab) = Lab::open_bare() else { return };
    let queue = lab.workdir().join(".agent-queue");
    let mut pool = Pool::start(&lab, &["worker", "other"], |spec| {
        for line in spec["sessions"].as_array_mut().expect("a list") {
            line["dispatch"] = json!(true);
        }
        spec["projects"] = json!([{"path": lab.workdir(), "name": "work"}]);
    });
    pool.wait_ready("a", &[("worker", "idle"), ("other", "idle")]);
    pool.wait_for("the queue", || queue.join("inbox").is_dir().then_some(()));

    // The model begins with something that takes long.
    lab.answer_with_long_tool("a");
    let file = queue.join("inbox/nest build.md");
    fs::write(queue.join("nest"), "Remember the stork, then build the nest.\n").expect("written");
    fs::rename(queue.join("nest"), &file).expect("dropped");
    pool.wait_for("the running tool", || lab.has_long_tool().then_some(()));
    let asked = lab.api.turns("a").last().expect("a turn").body["messages"].to_string();
    assert!(asked.contains("nest build.md") && asked.contains("[claim "), "{asked}");
    tell("tasks: taken by the CLI");

    // Under the other account it is finished: what the model does there is to move the file.
    let done = queue.join("done/nest build.md");
    let command = format!("mv '{}' '{}'", file.display(), done.display());
    lab.api.change("b", |account| account.reply = Reply::Tool { command });
    pool.wait("what the other account has left", |status| {
        of(status, "accounts", "b")["windows"].as_array().is_some_and(|read| !read.is_empty())
    });
    let swapped = pool.run(&["swap", "--to", "b", "--yes"]);
    assert!(swapped.status.success(), "{}", String::from_utf8_lossy(&swapped.stderr));
    tell("tasks: the pool has moved");
    pool.wait_for("the task to be done", || done.exists().then_some(()));
    pool.wait_for("its end to be told", || (!pool.events("TaskDone").is_empty()).then_some(()));
    pool.wait_for("its marker to be gone", || fs::read_dir(queue.join("inbox")).is_ok_and(|mut left| left.next().is_none()).then_some(()));
    tell(&format!("tasks: {:?} {:?}", pool.events("TaskDone"), pool.events("TaskFollowedUp")));

    let counts = ["TaskClaimed", "TaskDelivered", "TaskDone", "TaskReleased", "TaskFailed"].map(|reason| pool.events(reason).len());
    assert_eq!(counts, [1, 1, 1, 0, 0], "one session had it, once");
    let status = pool.wait_ready("b", &[("worker", "idle"), ("other", "idle")]);
    assert!(["worker", "other"].iter().all(|name| of(&status, "sessions", name)["task"].is_null()), "nobody has it any more");
    // The one that finished it is the one that began it: its conversation has both.
    let moved = lab
        .api
        .turns("b")
        .into_iter()
        .map(|turn| turn.body["messages"].to_string())
        .filter(|asked| asked.contains("mv '"))
        .collect::<Vec<_>>();
    assert!(!moved.is_empty() && moved.iter().all(|asked| asked.contains("time.sleep(300)")), "{moved:?}");
    pool.stop();
}
