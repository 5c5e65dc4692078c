//! The shared links: what is ours is put right, what is not is never lost, and nothing is started over what is wrong.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    pool::{Pool, condition},
    waiting::wait_until,
};

/// Whether a link of an account is said to be in conflict.
fn is_conflicted(pool: &Pool, account: &str, link: &str) -> bool {
    let status = pool.status();
    let rows = status["links"].as_array().expect("a list");
    rows.iter().any(|row: &Value| row["account"] == account && row["link"] == link && condition(row, "Conflicted") == "True")
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("made");
    fs::write(path, text).expect("written");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_link_that_was_removed_or_turned_elsewhere_is_put_right() {
    let pool = Pool::running(1);
    let before = pool.talk();
    let agents = pool.agents();
    fs::remove_file(pool.path("b/tasks")).expect("removed");
    wait_until("the link to be back", || pool.links_are_right("b"));
    fs::create_dir(pool.path("elsewhere")).expect("made");
    put(&pool.path("elsewhere/precious"), "words");
    fs::remove_file(pool.path("b/tasks")).expect("removed");
    symlink(pool.path("elsewhere"), pool.path("b/tasks")).expect("linked");
    wait_until("the link to be right", || pool.links_are_right("b"));
    assert_eq!(text(&pool.path("elsewhere/precious")), "words", "what it pointed to is untouched");
    fs::remove_file(pool.path("active")).expect("removed");
    wait_until("the active link to be back", || pool.link("active") == Some(pool.path("a")));
    assert_eq!(pool.agents(), agents, "no session was touched");
    pool.assert_kept(&before);
}

#[test]
fn a_directory_where_a_link_should_be_is_left_alone_and_said() {
    let pool = Pool::new(1);
    put(&pool.path("b/projects/p/one.jsonl"), "one");
    pool.cli(&["apply", "--yes"]).expect(5).says("projects");
    pool.assert_whole("a", 1);
    assert_eq!(text(&pool.path("b/projects/p/one.jsonl")), "one", "nothing is lost");
    assert!(is_conflicted(&pool, "backup", "projects"));
    assert!(pool.links_are_right("a"), "the other account is served");
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1).says("links");
    pool.assert_whole("a", 1);
}

#[test]
fn a_directory_is_merged_when_the_spec_says_so() {
    let mut pool = Pool::applied(1);
    fs::remove_file(pool.path("b/projects")).expect("removed");
    put(&pool.path("b/projects/p/one.jsonl"), "one");
    put(&pool.path("b/projects/p/same.jsonl"), "older");
    put(&pool.path("shared/projects/p/same.jsonl"), "newer and larger");
    pool.edit(|spec| spec["shared"]["adopt"] = json!("merge"));
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.assert_whole("a", 1);
    assert!(pool.links_are_right("b"));
    assert_eq!(text(&pool.path("shared/projects/p/one.jsonl")), "one", "it was moved");
    assert_eq!(text(&pool.path("shared/projects/p/same.jsonl")), "newer and larger", "the newer, larger one stays");
    let kept = fs::read_dir(pool.path("shared/.quarantine")).expect("made").flatten().next().expect("one time").path();
    let mut found = Vec::new();
    collect(&kept, &mut found);
    assert_eq!(found, ["older"], "the other one is kept aside");
    assert_eq!(pool.count("DirectoryMerged"), 1);
}

fn collect(at: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(at).expect("readable").flatten() {
        if entry.path().is_dir() { collect(&entry.path(), into) } else { into.push(text(&entry.path())) }
    }
}

#[test]
fn a_file_where_a_link_should_be_is_kept_byte_for_byte() {
    let pool = Pool::running(1);
    let agents = pool.agents();
    Pool::break_link(&pool.root, "b", "file-history");
    wait_until("the conflict to be said", || is_conflicted(&pool, "backup", "file-history"));
    pool.cli(&["reconcile"]);
    assert_eq!(text(&pool.path("b/file-history")), "somebody's words");
    assert_eq!(pool.agents(), agents);
    pool.usage(91.0, 10.0);
    wait_until("the exhaustion to be said", || pool.condition("Exhausted") == "True");
    assert_eq!(pool.agents(), agents, "nothing moves over links that are not right");
    pool.mend_link("b", "file-history");
    wait_until("the pool to move", || pool.status()["active"] == "backup");
}

#[test]
fn nothing_is_started_under_a_home_whose_link_is_in_conflict() {
    let pool = Pool::running(1);
    pool.talk();
    Pool::break_link(&pool.root, "a", "tasks");
    wait_until("the conflict to be said", || is_conflicted(&pool, "primary", "tasks"));
    kill(Pid::from_raw(pool.agents()[0].pid), Signal::SIGKILL).expect("it lives");
    wait_until("its end to be seen", || pool.count("SessionExited") == 1);
    pool.cli(&["reconcile"]);
    assert!(pool.agents().is_empty(), "no agent is started over a wrong link");
    pool.mend_link("a", "tasks");
    wait_until("the agent to be back", || pool.agents().len() == 1);
}

#[test]
fn a_shared_root_that_lost_its_marker_is_not_an_empty_one() {
    let pool = Pool::running(1);
    let before = pool.talk();
    // As if the share was unmounted: the directory is there, and what stood in it is not.
    fs::rename(pool.path("shared"), pool.path("shared.away")).expect("moved");
    fs::create_dir(pool.path("shared")).expect("made");
    kill(Pid::from_raw(pool.agents()[0].pid), Signal::SIGKILL).expect("it lives");
    wait_until("its end to be seen", || pool.count("SessionExited") == 1);
    pool.cli(&["reconcile"]);
    assert!(pool.agents().is_empty(), "nothing is started");
    assert_eq!(fs::read_dir(pool.path("shared")).expect("readable").count(), 0, "and nothing is made in it");
    pool.cli(&["swap", "--to", "backup", "--yes"]).expect(1);
    fs::remove_dir(pool.path("shared")).expect("still empty");
    fs::rename(pool.path("shared.away"), pool.path("shared")).expect("moved back");
    wait_until("the agent to be back", || pool.agents().len() == 1);
    wait_until("every session to be ready", || pool.sessions_ready());
    pool.assert_whole("a", 1);
    pool.assert_kept(&before);
}

#[test]
fn a_shared_root_with_content_is_taken_over_at_an_operators_word() {
    let pool = Pool::new(1);
    let old = pool.path("shared/projects/old");
    fs::create_dir_all(&old).expect("made");
    fs::write(old.join("talk.jsonl"), "kept").expect("written");
    fs::set_permissions(pool.path("shared"), fs::Permissions::from_mode(0o700)).expect("set");
    pool.cli(&["apply", "--yes"]).says("adopt shared-root");
    assert!(pool.agents().is_empty(), "nothing is started over it");
    pool.cli(&["adopt", "shared-root"]).expect(1).says("carries no pool's marker").says("--yes");
    assert!(!pool.path("shared/.claude-failover").exists(), "looking takes nothing over");
    pool.cli(&["adopt", "shared-root", "--yes"]).expect(0);
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.assert_whole("a", 1);
    assert_eq!(fs::read_to_string(old.join("talk.jsonl")).expect("there"), "kept");
    pool.cli(&["adopt", "shared-root", "--yes"]).expect(0).says("already");
}
