//! A file system that is full, or that became read-only, in a mount namespace of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use claude_failover::{
    plan::MemoryChange,
    store::{Batch, Store, StoreError},
};

use crate::samples::{Place, open, say};

const CHILD: &str = "STORE_TEST_DISK";

/// Runs one of the tests below with a small file system of its own, which vanishes with it.
fn in_a_small_file_system(test: &str) {
    let place = Place::new();
    let directory = place.state();
    fs::create_dir(&directory).expect("a directory");
    let script = "mount -t tmpfs -o size=512k,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let unshare = |command: &mut Command| command.stdin(Stdio::null()).output().expect("unshare");
    if !unshare(Command::new("unshare").args(["-rm", "true"])).status.success() {
        say("not run: this machine lets nobody make a mount namespace");
        return;
    }
    let output = unshare(
        Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .arg(&directory)
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(CHILD, &directory),
    );
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn link(number: usize) -> Batch {
    let links = (0..20).map(|part| MemoryChange::PutLink(format!("/{number}/{part}/{}", "x".repeat(200)).into())).collect();
    Batch { changes: links, ..Batch::default() }
}

fn fill(directory: &Path) {
    // Zeros until there is no byte left; the error is the aim.
    let _ = fs::write(directory.join("ballast"), vec![0; 1 << 20]);
}

#[test]
fn a_full_disk_is_told_of_and_loses_nothing() {
    in_a_small_file_system("disk::write_on_a_full_disk");
}

#[test]
#[ignore = "is run by the test above, with a small file system"]
fn write_on_a_full_disk() {
    let directory = std::env::var(CHILD).expect("a directory");
    let directory = Path::new(&directory);
    let mut store = open(directory).expect("a store");
    let mut written = 0;
    let error = loop {
        match store.commit(&link(written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "the disk never fills");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.memory().expect("a memory").links.len(), written * 20, "whole batches only");
    drop(store);
    // A store that is opened on a full disk: it works, or it says what is wrong. It never makes half a file.
    fill(directory);
    match open(directory) {
        Ok(store) => assert_eq!(store.memory().expect("a memory").links.len(), written * 20),
        Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error:?}"),
    }
    let _ = fs::remove_file(directory.join("ballast"));
    let store = open(directory).expect("a store");
    assert_eq!(store.memory().expect("a memory").links.len(), written * 20, "all of it is there afterwards");
}

#[test]
fn the_first_start_on_a_full_disk_makes_nothing() {
    in_a_small_file_system("disk::first_start_on_a_full_disk");
}

#[test]
#[ignore = "is run by the test above, with a small file system"]
fn first_start_on_a_full_disk() {
    let directory = std::env::var(CHILD).expect("a directory");
    let directory = Path::new(&directory);
    fill(directory);
    let error = open(directory).expect_err("there is no room");
    assert!(matches!(error, StoreError::Full { .. } | StoreError::Io { .. }), "{error:?}");
    assert!(!directory.join("state.db").exists());
    fs::remove_file(directory.join("ballast")).expect("room");
    open(directory).expect("a store").memory().expect("a memory");
}

#[test]
fn a_read_only_file_system_is_told_of() {
    in_a_small_file_system("disk::write_on_a_read_only_disk");
}

#[test]
#[ignore = "is run by the test above, with a small file system"]
fn write_on_a_read_only_disk() {
    let directory = std::env::var(CHILD).expect("a directory");
    let directory = Path::new(&directory);
    let mut store = open(directory).expect("a store");
    store.commit(&link(0)).expect("written");
    drop(store);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(directory).status().expect("mount");
    assert!(remount.success());
    let error: StoreError = open(directory).map(|_: Store| ()).expect_err("nothing can be written");
    let said = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).map(ToString::to_string);
    let said = said.collect::<Vec<_>>().join(": ");
    assert!(matches!(error, StoreError::ReadOnly { .. } | StoreError::Io { .. }), "{said}");
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    assert!(said.contains(directory.to_str().expect("text")), "{said}");
}
