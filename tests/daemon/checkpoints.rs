//! `checkpoint`: what is kept of a session is enough to take it up again, by hand and by the daemon, after whatever was lost.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    pool::Pool,
    waiting::{wait_for, wait_until},
};

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
fn a_swap_keeps_what_a_session_leaves_before_it_is_stopped() {
    let pool = Pool::applied(2);
    pool.talk();
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
    for session in ["s-0", "s-1"] {
        assert_eq!(pool.checkpoint_files(session).len(), 1);
        let shown = pool.show_checkpoint(session);
        assert_eq!((shown["checkpoint"]["why"].as_str(), shown["checkpoint"]["account"].as_str()), (Some("beforeSwap"), Some("primary")));
        assert_eq!(shown["account"], "backup", "it is taken up where the pool is now");
        assert!(shown["resume"].as_str().expect("a command").contains(&format!("CLAUDE_CONFIG_DIR={}", pool.path("b").display())));
    }
    assert_eq!(pool.count("CheckpointTaken"), 2);
    pool.assert_whole("b", 2);
}

#[test]
fn a_torn_one_is_passed_over_with_a_reason() {
    let pool = Pool::applied(1);
    pool.talk();
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let first = pool.checkpoint_files("s-0").remove(0);
    pool.ask("s-0", "more");
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

/// Ends the pool's tmux server and every agent at once, as a reboot does.
fn reboot(pool: &Pool) {
    let agents = pool.agents();
    let server = pool.tmux_pid().expect("it runs");
    for pid in agents.iter().map(|agent| agent.pid).chain([server]) {
        // An agent may have gone with the server.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    wait_until("everything to be gone", || pool.agents().is_empty() && pool.tmux_pid().is_none());
}

#[test]
fn after_a_reboot_the_pool_is_back_with_its_conversations() {
    let mut pool = Pool::running(3);
    let before = pool.talk();
    let conversations: Vec<_> = (0..3).map(|number| pool.conversation(&format!("s-{number}"))).collect();
    pool.stop_daemon(Signal::SIGKILL);
    reboot(&pool);
    pool.start_daemon();
    wait_until("the pool to be ready", || pool.agents().len() == 3 && pool.condition("Ready") == "True");
    pool.assert_whole("a", 3);
    pool.assert_kept(&before);
    let after: Vec<_> = (0..3).map(|number| pool.conversation(&format!("s-{number}"))).collect();
    assert_eq!(after, conversations, "each session has its own");
}

#[test]
fn with_its_state_lost_the_pool_goes_on_with_the_conversations_of_its_checkpoints() {
    let mut pool = Pool::applied(2);
    let before = pool.talk();
    let conversations = ["s-0", "s-1"].map(|name| pool.conversation(name));
    pool.cli(&["checkpoint", "take", "--all"]).expect(0);
    reboot(&pool);
    for name in ["identity", "state.db", "state.db-wal", "state.db-shm", "history.db", "history.db-wal", "history.db-shm"] {
        let _ = fs::remove_file(pool.state_dir().join(name));
    }
    pool.start_daemon();
    // The shared root still carries the lost identity; who knows that it is this pool's says so, as docs/recovery.md tells.
    let identity = pool.status()["poolId"].as_str().expect("it has one").to_owned();
    let marker = fs::read_to_string(pool.path("shared/.claude-failover")).expect("readable");
    let mut marker: Value = serde_json::from_str(&marker).expect("JSON");
    marker["pool"] = identity.into();
    pool.put("shared/.claude-failover", &marker.to_string());
    wait_until("the pool to be ready", || pool.agents().len() == 2 && pool.condition("Ready") == "True");
    pool.assert_whole("a", 2);
    pool.assert_kept(&before);
    assert_eq!(["s-0", "s-1"].map(|name| pool.conversation(name)), conversations);
    assert_eq!(pool.count("CheckpointRestored"), 2);
}

/// Begins a conversation of its own in a session, as a person does with `/clear` or a lost transcript, and answers the former one.
fn leave_conversation(pool: &Pool, session: &str) -> String {
    let conversation = pool.conversation(session);
    let agent = pool.agents().into_iter().find(|agent| agent.conversation == conversation).expect("it runs");
    let transcript = pool.transcript_path(&conversation);
    let aside = pool.path("aside.jsonl");
    fs::rename(&transcript, &aside).expect("moved");
    kill(Pid::from_raw(agent.pid), Signal::SIGKILL).expect("it lives");
    wait_until("the loss to be seen", || {
        let status = pool.status();
        status.to_string().contains("TranscriptLost")
    });
    pool.cli(&["clear", &format!("session/{session}"), "--yes"]).expect(0);
    wait_until("another conversation", || pool.conversation(session) != conversation && pool.sessions_ready());
    fs::rename(aside, transcript).expect("moved back");
    conversation
}

impl Pool {
    fn transcript_path(&self, conversation: &str) -> PathBuf {
        let folders = fs::read_dir(self.path("shared/projects")).expect("listed").flatten();
        let mut paths = folders.map(|folder| folder.path().join(format!("{conversation}.jsonl")));
        paths.find(|path| path.exists()).expect("it has a transcript")
    }
}

#[test]
fn a_session_is_restored_on_the_account_that_is_active_now() {
    let pool = Pool::running(2);
    pool.talk();
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let first = pool.checkpoint_files("s-0").remove(0).file_stem().expect("named").to_string_lossy().into_owned();
    let conversation = leave_conversation(&pool, "s-0");
    let bytes = pool.transcripts()[&conversation].clone();
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
    wait_until("the pool to be ready", || pool.sessions_ready());
    pool.cli(&["checkpoint", "restore", "s-1", &first]).expect(1);
    pool.cli(&["checkpoint", "restore", "s-0", &first]).expect(0).says(&conversation);
    wait_until("the session to be back with its conversation", || {
        let agent = pool.agents().into_iter().find(|agent| agent.conversation == conversation);
        agent.is_some_and(|agent| agent.home == pool.path("b")) && pool.sessions_ready()
    });
    pool.assert_whole("b", 2);
    assert!(pool.transcripts()[&conversation].starts_with(&bytes), "its bytes are kept");
    assert_eq!(pool.conversation("s-0"), conversation);
    assert_eq!(pool.count("CheckpointRestored"), 1);
    pool.cli(&["checkpoint", "restore", "s-0", &first]).expect(0).says("already");
}

#[test]
fn a_restore_is_refused_while_the_agent_works_or_the_transcript_is_missing() {
    let pool = Pool::running(1);
    pool.talk();
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let first = pool.checkpoint_files("s-0").remove(0).file_stem().expect("named").to_string_lossy().into_owned();
    let conversation = leave_conversation(&pool, "s-0");
    let now = pool.conversation("s-0");
    let transcript = pool.transcript_path(&conversation);
    fs::rename(&transcript, pool.path("aside.jsonl")).expect("moved");
    pool.cli(&["checkpoint", "restore", "s-0", &first]).expect(1).says("no transcript");
    fs::rename(pool.path("aside.jsonl"), &transcript).expect("moved back");
    wait_until("the agent to be idle", || pool.register_statuses() == ["idle"]);
    pool.send("s-0", "a long turn [[tool 60]]");
    wait_until("the turn", || pool.register_statuses() == ["busy"]);
    pool.cli(&["checkpoint", "restore", "s-0", &first]).expect(1).says("working");
    assert_eq!(pool.conversation("s-0"), now, "nothing was changed");
    assert_eq!(pool.count("CheckpointRestored"), 0);
}

#[test]
fn a_kill_while_one_is_written_leaves_the_one_before_it() {
    if !crate::killed::has_strace() {
        return;
    }
    let pool = Pool::applied(1);
    pool.talk();
    pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
    let mut kills = 0;
    for (call, at) in [("renameat2", 1), ("fsync", 1), ("fsync", 2), ("fsync", 3), ("fsync", 4), ("openat", 0)] {
        let before = pool.checkpoint_files("s-0");
        pool.ask("s-0", "more");
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "60", "strace", "-f", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        if at > 0 {
            command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={at}")]);
        }
        command.args([crate::pool::BINARY, "-f", "pool.yaml", "checkpoint", "take", "s-0"]);
        let killed = pool.end(command).code != Some(0);
        kills += usize::from(killed);
        let after = pool.checkpoint_files("s-0");
        assert!(after.starts_with(&before), "{call} {at}: none is lost");
        let shown = pool.show_checkpoint("s-0");
        assert_eq!(shown["refused"].as_array().map(Vec::len), Some(0), "{call} {at}: none is torn");
        assert_eq!(shown["file"].as_str(), after.last().and_then(|path| path.to_str()));
    }
    assert!(kills >= 3, "{kills} kills only");
    pool.assert_whole("a", 1);
}

#[test]
fn what_is_over_the_number_is_planned_and_removed() {
    let mut pool = Pool::applied(1);
    pool.talk();
    for _ in 0..3 {
        pool.cli(&["checkpoint", "take", "s-0"]).expect(0);
        pool.ask("s-0", "more");
    }
    let files = pool.checkpoint_files("s-0");
    assert_eq!(files.len(), 3);
    pool.cli(&["plan"]).expect(0);
    pool.edit(|spec| spec["checkpoints"] = serde_json::json!({"keep": 2}));
    pool.cli(&["plan"]).expect(2).says(" of s-0, the oldest of ");
    pool.cli(&["apply", "--yes"]).expect(0);
    assert_eq!(pool.checkpoint_files("s-0"), files[1..]);
    pool.cli(&["plan"]).expect(0);
    assert_eq!(pool.count("Tidied"), 1);
}
