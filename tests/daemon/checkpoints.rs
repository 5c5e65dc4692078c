//! `checkpoint`: what is kept of a session is enough to take it up again, by hand and by the daemon, after whatever was lost.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::Value;

use crate::pool::{Pool, wait_for, wait_until};

impl Pool {
    /// The files of a session's checkpoints, oldest first.
    fn checkpoint_files(&self, session: &str) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.state_dir().join("checkpoints").join(session)).into_iter().flatten().flatten();
        let mut files: Vec<_> = listed.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
        files.sort();
        files
    }

    fn show_checkpoint(&self, session: &str) -> Value {
        self.json(&["checkpoint", "show", session])
    }
}

#[test]
fn a_checkpoint_is_taken_by_hand_listed_and_shown() {
    let pool = Pool::applied(2);
    pool.cli(&["checkpoint", "ls"]).expect(0).says("No checkpoints");
    pool.cli(&["checkpoint", "show", "s-0"]).expect(1).says("checkpoint ls");
    pool.cli(&["checkpoint", "take", "s-9"]).expect(1).says("no session s-9");
    pool.talk();
    pool.cli(&["checkpoint", "take", "--all"]).expect(0).says("s-0: ").says("s-1: ");
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0).says("unchanged since");
    let files = pool.checkpoint_files("s-0");
    assert_eq!(files.len(), 1, "what is unchanged is not written again: {files:?}");
    assert_eq!(fs::metadata(&files[0]).expect("there").permissions().mode() & 0o777, 0o600);
    let shown = pool.show_checkpoint("s-0");
    let checkpoint = &shown["checkpoint"];
    assert_eq!(checkpoint["conversation"], pool.conversation("s-0").as_str());
    assert_eq!(checkpoint["prompt"], "hello from s-0");
    assert_eq!((checkpoint["account"].as_str(), checkpoint["activity"].as_str()), (Some("primary"), Some("idle")));
    assert_eq!(checkpoint["workdir"].as_str(), pool.path("work").to_str());
    let transcript = fs::metadata(checkpoint["transcript"]["path"].as_str().expect("it has one")).expect("there");
    assert_eq!(checkpoint["transcript"]["length"], transcript.len());
    let resume = shown["resume"].as_str().expect("a command");
    assert!(resume.contains(&format!("CLAUDE_CONFIG_DIR={}", pool.path("a").display())) && resume.contains("--resume"), "{resume}");
    pool.cli(&["checkpoint", "show", "s-0"]).expect(0).says("hello from s-0").says(resume);
    assert_eq!(pool.json(&["checkpoint", "ls", "s-1"]).as_array().expect("a list").len(), 1);
    assert_eq!(pool.count("CheckpointTaken"), 2);
}

#[test]
fn the_daemon_keeps_what_a_turn_left_and_writes_nothing_while_nothing_happens() {
    let mut pool = Pool::new(1);
    pool.edit(|spec| spec["checkpoints"] = serde_json::json!({"every": "10s"}));
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.talk();
    pool.start_daemon();
    let first = wait_for("a checkpoint", || pool.checkpoint_files("s-0").pop());
    assert_eq!(pool.show_checkpoint("s-0")["checkpoint"]["prompt"], "hello from s-0");
    pool.send("s-0", "a second turn");
    wait_until("a checkpoint of the second turn", || pool.show_checkpoint("s-0")["checkpoint"]["prompt"] == "a second turn");
    wait_until("a checkpoint of its end", || pool.show_checkpoint("s-0")["checkpoint"]["activity"] == "idle");
    assert!(pool.checkpoint_files("s-0").contains(&first));
    let before = pool.checkpoint_files("s-0");
    // Through the daemon, which answers only behind all that is under way.
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0).says("unchanged since");
    assert_eq!(pool.checkpoint_files("s-0"), before);
}

#[test]
fn a_torn_one_is_passed_over_with_a_reason() {
    let pool = Pool::applied(1);
    pool.talk();
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let first = pool.checkpoint_files("s-0").remove(0);
    pool.send("s-0", "more");
    wait_until("the answer", || pool.transcripts().values().any(|bytes| crate::pool::contains(bytes, "more")));
    wait_until("the agent to be idle", || pool.register_statuses() == ["idle"]);
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let newest = pool.checkpoint_files("s-0").pop().expect("two");
    assert_ne!(newest, first);
    let bytes = fs::read(&newest).expect("readable");
    fs::write(&newest, &bytes[..bytes.len() / 2]).expect("torn");
    let shown = pool.show_checkpoint("s-0");
    assert_eq!(shown["file"].as_str(), first.to_str(), "the one before it is used");
    assert!(shown["refused"][0].as_str().expect("a reason").contains("torn"), "{shown}");
    pool.cli(&["checkpoint", "ls"]).expect(0).says("refused: it is torn");
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    assert_eq!(pool.count("CheckpointRefused"), 1);
    assert_eq!(pool.checkpoint_files("s-0").len(), 3, "the torn one is left alone");
}
