//! Hints of changes in directories.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use claude_failover::host::watch::{Hint, Watch, WatchError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::again::{APART, command, passes, skipped};

/// Long enough for a busy machine; reached only when a test fails.
const DEADLINE: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_millis(20);

/// Two directories, `a` and `b`, in one of their own.
fn place() -> (TempDir, PathBuf, PathBuf) {
    let top = tempfile::tempdir().expect("a directory");
    let (a, b) = (top.path().join("a"), top.path().join("b"));
    fs::create_dir(&a).expect("a directory");
    fs::create_dir(&b).expect("a directory");
    (top, a, b)
}

fn watch() -> Watch<&'static str> {
    Watch::new(SETTLE).expect("a watcher")
}

/// A hint of a file, or of a directory as a whole where the name is empty.
fn hint(tag: &'static str, name: &str) -> Hint<&'static str> {
    Hint { tag, name: (!name.is_empty()).then(|| OsString::from(name)) }
}

/// Waits until all of `wanted` have come, in one set or in several, and answers all that came.
async fn until(watch: &mut Watch<&'static str>, wanted: &[Hint<&'static str>]) -> BTreeSet<Hint<&'static str>> {
    let mut came = BTreeSet::new();
    while !wanted.iter().all(|hint| came.contains(hint)) {
        let Ok(more) = timeout(DEADLINE, watch.changed()).await else { panic!("{wanted:?} did not all come, but {came:?}") };
        came.extend(more);
    }
    came
}

/// Takes what is still to come from earlier changes: a hint of a file made for this purpose is the last one.
async fn drain(watch: &mut Watch<&'static str>, directory: &Path, tag: &'static str) {
    fs::write(directory.join("last"), "").expect("a file");
    until(watch, &[hint(tag, "last")]).await;
}

#[tokio::test]
async fn a_change_is_told_by_its_tag_and_its_file() {
    let (_top, a, b) = place();
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    watch.add(&b, "B").expect("to watch");
    fs::write(a.join("made"), "").expect("a file");
    assert_eq!(until(&mut watch, &[hint("A", "made")]).await, [hint("A", "made")].into());
    fs::write(a.join("made"), "written").expect("to write");
    until(&mut watch, &[hint("A", "made")]).await;
    fs::rename(a.join("made"), b.join("moved")).expect("to move");
    until(&mut watch, &[hint("A", "made"), hint("B", "moved")]).await;
    fs::remove_file(b.join("moved")).expect("to remove");
    assert_eq!(until(&mut watch, &[hint("B", "moved")]).await, [hint("B", "moved")].into());
}

#[tokio::test]
async fn a_file_that_is_replaced_again_and_again_is_told_each_time() {
    let (_top, a, _) = place();
    let mut watch = watch();
    fs::write(a.join("spec"), "0").expect("a file");
    watch.add(&a, "A").expect("to watch");
    for round in 1..5 {
        fs::write(a.join("new"), round.to_string()).expect("a file");
        fs::rename(a.join("new"), a.join("spec")).expect("to replace");
        until(&mut watch, &[hint("A", "spec")]).await;
    }
}

#[tokio::test]
async fn reading_is_not_a_change() {
    let (_top, a, b) = place();
    fs::write(a.join("file"), "text").expect("a file");
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    watch.add(&b, "B").expect("to watch");
    for _ in 0..10 {
        fs::read(a.join("file")).expect("to read");
        fs::read_dir(&a).expect("to list").for_each(drop);
    }
    // Notices come in the order in which things happen, so this one would come behind any of the reading.
    fs::write(b.join("last"), "").expect("a file");
    assert_eq!(until(&mut watch, &[hint("B", "last")]).await, [hint("B", "last")].into());
}

#[tokio::test]
async fn many_changes_are_gathered() {
    let (_top, a, _) = place();
    let mut watch = Watch::new(Duration::from_millis(500)).expect("a watcher");
    watch.add(&a, "A").expect("to watch");
    for number in 0..100 {
        fs::write(a.join(number.to_string()), "").expect("a file");
    }
    assert_eq!(watch.changed().await.len(), 100);
}

#[tokio::test]
async fn more_changes_than_are_kept_apart_become_a_hint_for_everything() {
    let (_top, a, b) = place();
    let mut watch = Watch::new(Duration::from_millis(500)).expect("a watcher");
    watch.add(&a, "A").expect("to watch");
    watch.add(&b, "B").expect("to watch");
    for number in 0..3000 {
        fs::write(a.join(number.to_string()), "").expect("a file");
    }
    until(&mut watch, &[hint("A", ""), hint("B", "")]).await;
}

#[tokio::test]
async fn a_directory_that_is_never_quiet_is_told_all_the_same() {
    let (_top, a, _) = place();
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    let busy = a.clone();
    let writer = tokio::spawn(async move {
        loop {
            fs::write(busy.join("busy"), "").expect("a file");
            // Nothing is waited for: this is how the directory is never quiet.
            tokio::time::sleep(SETTLE / 4).await;
        }
    });
    until(&mut watch, &[hint("A", "busy")]).await;
    writer.abort();
}

#[tokio::test]
async fn nothing_is_lost_when_the_wait_is_given_up() {
    let (_top, a, _) = place();
    let mut watch = Watch::new(Duration::from_millis(500)).expect("a watcher");
    watch.add(&a, "A").expect("to watch");
    fs::write(a.join("made"), "").expect("a file");
    for micros in [0, 10, 100, 1000, 5000, 10_000] {
        assert!(timeout(Duration::from_micros(micros), watch.changed()).await.is_err(), "it settled too early");
    }
    assert_eq!(until(&mut watch, &[hint("A", "made")]).await, [hint("A", "made")].into());
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let (_top, a, b) = place();
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    for round in 0..5 {
        // Replaced in one step, as a deployment does it.
        renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("to exchange");
        until(&mut watch, &[hint("A", "")]).await;
        let name = format!("in one step {round}");
        fs::write(a.join(&name), "").expect("a file");
        until(&mut watch, &[hint("A", &name)]).await;
        fs::write(b.join("elsewhere"), "").expect("a file");
        drain(&mut watch, &a, "A").await;
    }
}

#[tokio::test]
async fn a_directory_below_another_watched_one_is_watched_again() {
    let (top, a, _) = place();
    let mut watch = watch();
    watch.add(top.path(), "TOP").expect("to watch");
    watch.add(&a, "A").expect("to watch");
    for round in 0..20 {
        fs::remove_dir_all(&a).expect("to remove");
        fs::create_dir(&a).expect("a directory");
        let name = format!("made {round}");
        until(&mut watch, &[hint("TOP", "a"), hint("A", "")]).await;
        drain(&mut watch, top.path(), "TOP").await;
        fs::write(a.join(&name), "").expect("a file");
        until(&mut watch, &[hint("A", &name)]).await;
    }
}

#[tokio::test]
async fn a_directory_that_vanished_is_watched_when_it_is_added_again() {
    let (_top, a, _) = place();
    let mut watch = watch();
    assert!(matches!(watch.add(&a.join("below"), "BELOW"), Err(WatchError::Missing { .. })));
    watch.add(&a, "A").expect("to watch");
    fs::remove_dir(&a).expect("to remove");
    until(&mut watch, &[hint("A", "")]).await;
    assert!(matches!(watch.add(&a, "A"), Err(WatchError::Missing { .. })));
    fs::create_dir(&a).expect("a directory");
    watch.add(&a, "A").expect("to watch");
    fs::write(a.join("made"), "").expect("a file");
    until(&mut watch, &[hint("A", "made")]).await;
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_followed_when_it_is_added_again() {
    let (top, a, b) = place();
    let alias = top.path().join("alias");
    symlink(&a, &alias).expect("a symlink");
    let mut watch = watch();
    watch.add(&alias, "ALIAS").expect("to watch");
    fs::remove_file(&alias).expect("to remove");
    symlink(&b, &alias).expect("a symlink");
    watch.add(&alias, "ALIAS").expect("to watch");
    fs::write(a.join("made"), "").expect("a file");
    fs::write(b.join("last"), "").expect("a file");
    assert_eq!(until(&mut watch, &[hint("ALIAS", "last")]).await, [hint("ALIAS", "last")].into());
}

#[tokio::test]
async fn one_directory_may_have_several_tags_and_several_paths() {
    let (top, a, b) = place();
    let alias = top.path().join("alias");
    symlink(&a, &alias).expect("a symlink");
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    watch.add(&a, "ALSO A").expect("to watch");
    watch.add(&alias, "ALIAS").expect("to watch");
    fs::write(a.join("made"), "").expect("a file");
    until(&mut watch, &[hint("A", "made"), hint("ALSO A", "made"), hint("ALIAS", "made")]).await;

    // One path goes; the directory is watched on by the other.
    watch.remove(&a);
    watch.add(&b, "B").expect("to watch");
    fs::write(a.join("again"), "").expect("a file");
    fs::write(b.join("last"), "").expect("a file");
    let came = until(&mut watch, &[hint("ALIAS", "again"), hint("B", "last")]).await;
    assert!(!came.iter().any(|hint| hint.tag.ends_with('A')), "{came:?}");
}

#[tokio::test]
async fn what_is_removed_is_no_longer_told() {
    let (_top, a, b) = place();
    let mut watch = watch();
    watch.add(&a, "A").expect("to watch");
    watch.add(&b, "B").expect("to watch");
    watch.remove(&a);
    fs::write(a.join("made"), "").expect("a file");
    fs::write(b.join("last"), "").expect("a file");
    assert_eq!(until(&mut watch, &[hint("B", "last")]).await, [hint("B", "last")].into());
}

#[tokio::test]
async fn only_directories_are_watched() {
    let (_top, a, _) = place();
    fs::write(a.join("file"), "").expect("a file");
    assert!(matches!(watch().add(&a.join("file"), "A"), Err(WatchError::NotADirectory { .. })));
}

#[test]
fn the_limit_of_watches_is_said_and_harms_nothing_else() {
    // A user namespace has a limit of its own (namespaces(7), /proc/sys/user), so that nobody else runs out of watches.
    let limited = ["unshare", "-r", "sh", "-c", "echo 1 >/proc/sys/user/max_inotify_watches && exec \"$@\"", "sh"];
    let probe = Command::new(limited[0]).args(&limited[1..]).arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skipped("user namespaces are not allowed here");
    }
    passes(command(&limited, "watching::beyond_the_limit"));
}

#[tokio::test]
#[ignore = "it is run by another test, with a limit of one watch"]
async fn beyond_the_limit() {
    assert!(std::env::var_os(APART).is_some(), "the limit of this process is not set");
    let (_top, a, b) = place();
    let mut watch = watch();
    watch.add(&a, "A").expect("the first watch");
    assert!(matches!(watch.add(&b, "B"), Err(WatchError::Limit { path }) if path == b));
    fs::write(a.join("made"), "").expect("a file");
    until(&mut watch, &[hint("A", "made")]).await;
    watch.remove(&a);
    watch.add(&b, "B").expect("there is room again");
}
