//! The state directory and its lock.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
};

use claude_failover::{
    model::Pid,
    store::{Lock, Reader, StateDir, StoreError},
};

use crate::{
    samples::{Place, open, say},
    waiting::wait_until,
};

const CHILD: &str = "STORE_TEST_DIRECTORY";

/// A process of this very test program that plays the part of another daemon; it ends with the test.
struct Other(Child);

impl Other {
    fn hold(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "directory::another_daemon", "--ignored", "--nocapture"])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let found = lines.map_while(Result::ok).find(|line| line.contains("holding") || line.contains("refused")).expect("a word of it");
        assert!(found.contains("holding"), "{found}");
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid(i32::try_from(self.0.id()).expect("a process number"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "is run by other tests, as another process"]
fn another_daemon() {
    let path = std::env::var(CHILD).expect("a directory");
    let store = open(Path::new(&path));
    say(if store.is_ok() { "holding" } else { "refused" });
    // Ends when the parent does.
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn everything_is_private_whatever_the_umask() {
    let place = Place::new();
    // The umask belongs to the process, so a process of its own tries the worst ones.
    for umask in ["000", "077", "277"] {
        let path = place.state().join(umask);
        fs::create_dir_all(place.state()).expect("a directory");
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new("sh")
            .args(["-c", "umask $0; exec \"$@\" </dev/null", umask])
            .arg(program)
            .args(["--exact", "directory::another_daemon", "--ignored", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        assert!(child.wait().expect("an end").success());
        assert_eq!(mode(&path), 0o700, "umask {umask}");
        for entry in fs::read_dir(&path).expect("a directory") {
            let entry = entry.expect("an entry").path();
            assert_eq!(mode(&entry), 0o600, "umask {umask}: {}", entry.display());
        }
        assert!(path.join("state.db").exists() && path.join("history.db").exists() && path.join("lock").exists());
    }
}

#[test]
fn the_files_beside_an_open_store_are_private_too() {
    let place = Place::new();
    let _store = place.store();
    let names: Vec<_> = fs::read_dir(place.state()).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    assert!(names.iter().any(|name| name.ends_with("state.db-wal")), "{names:?}");
    for name in names {
        assert_eq!(mode(&name), 0o600, "{}", name.display());
    }
}

#[test]
fn a_directory_that_others_may_use_is_refused_and_left_alone() {
    let place = Place::new();
    for shared in [0o750, 0o701, 0o777] {
        fs::create_dir_all(place.state()).expect("a directory");
        fs::set_permissions(place.state(), Permissions::from_mode(shared)).expect("a mode");
        let error = place.try_store().expect_err("others may use it");
        assert!(matches!(&error, StoreError::NotPrivate { mode, .. } if *mode == shared), "{error:?}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!(mode(&place.state()), shared);
        assert_eq!(fs::read_dir(place.state()).expect("a directory").count(), 0);
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if nix::unistd::geteuid().is_root() {
        let place = Place::new();
        fs::create_dir(place.state()).expect("a directory");
        fs::set_permissions(place.state(), Permissions::from_mode(0o700)).expect("a mode");
        std::os::unix::fs::chown(place.state(), Some(12_345), None).expect("another owner");
        let error = place.try_store().expect_err("it is not ours");
        assert!(matches!(error, StoreError::Foreign { found: 12_345, expected: 0, .. }), "{error:?}");
    } else {
        let error = StateDir::existing(Path::new("/")).expect_err("it is not ours");
        assert!(matches!(error, StoreError::Foreign { found: 0, .. }), "{error:?}");
    }
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let place = Place::new();
    fs::write(place.state(), "mine").expect("a file");
    let error = place.try_store().expect_err("a file");
    assert!(matches!(error, StoreError::NotADirectory { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(place.state()).expect("the file"), "mine");
}

#[test]
fn the_second_daemon_is_told_who_the_first_is() {
    let place = Place::new();
    let first = Other::hold(&place.state());
    let error = place.try_store().expect_err("it is held");
    assert!(matches!(&error, StoreError::Locked { pid: Some(pid), .. } if *pid == first.pid()), "{error:?}");
    assert!(error.to_string().contains(&format!("in use by process {}", first.pid())), "{error}");
    Reader::attach(&place.state()).expect("reading needs no lock");
    drop(first);
    place.store();
}

/// A child between its fork and its exec has its parent's handles, and may outlive it for that moment.
#[test]
fn what_a_killed_holder_was_just_starting_keeps_nobody_out() {
    let place = Place::new();
    drop(Other::hold(&place.state()));
    let path = place.state().join("lock");
    let directory = StateDir::open(&place.state()).expect("a directory");
    let held = fs::File::open(&path).expect("the lock file");
    held.lock().expect("nobody has it");
    assert!(matches!(Lock::acquire(directory.clone()), Err(StoreError::Locked { .. })), "it is waited for, but not for ever");
    let handles = || {
        let all = fs::read_dir("/proc/self/fd").expect("our handles");
        all.filter_map(Result::ok).filter(|handle| fs::read_link(handle.path()).is_ok_and(|to| to == path)).count()
    };
    let lock = std::thread::scope(|scope| {
        let other = scope.spawn(|| Lock::acquire(directory));
        wait_until("somebody who waits for the lock", || handles() > 1 || other.is_finished());
        drop(held);
        other.join().expect("no panic")
    });
    lock.expect("it is free");
}

#[test]
fn two_openings_in_one_process_exclude_each_other() {
    let place = Place::new();
    let first = place.store();
    assert!(matches!(place.try_store(), Err(StoreError::Locked { .. })));
    drop(first);
    place.store();
    assert!(place.state().join("lock").exists(), "the lock file is never removed");
}

#[test]
fn of_many_that_start_at_once_one_gets_it() {
    let place = Place::new();
    let directory = StateDir::open(&place.state()).expect("a directory");
    let start = std::sync::Barrier::new(50);
    // Each keeps what it got until all have tried.
    let got: Vec<_> = std::thread::scope(|scope| {
        let try_it = || {
            start.wait();
            Lock::acquire(directory.clone())
        };
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(try_it)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(got.iter().filter(|lock| lock.is_ok()).count(), 1);
    assert!(got.iter().filter_map(|lock| lock.as_ref().err()).all(|error| matches!(error, StoreError::Locked { .. })));
}

#[test]
fn a_removed_lock_file_does_not_admit_a_second_writer() {
    let place = Place::new();
    let first = place.store();
    assert!(first.lock().is_in_place().expect("a look"));
    fs::remove_file(place.state().join("lock")).expect("a person removes it");
    assert!(matches!(place.try_store(), Err(StoreError::Locked { pid: None, .. })));
    assert!(!first.lock().is_in_place().expect("a look"), "the holder can notice");
}

#[test]
fn a_lock_file_that_is_a_link_is_not_followed() {
    let place = Place::new();
    let directory = StateDir::open(&place.state()).expect("a directory");
    let precious = place.state().join("precious");
    fs::write(&precious, "keep").expect("a file");
    symlink(&precious, place.state().join("lock")).expect("a link");
    assert!(matches!(Lock::acquire(directory), Err(StoreError::Io { .. })));
    assert_eq!(fs::read_to_string(precious).expect("the file"), "keep");
}

#[test]
fn reading_makes_nothing() {
    let place = Place::new();
    assert!(matches!(Reader::attach(&place.state()), Err(StoreError::Missing { .. })));
    assert!(!place.state().exists());
    StateDir::open(&place.state()).expect("a directory");
    assert!(matches!(Reader::attach(&place.state()), Err(StoreError::Missing { .. })));
    assert_eq!(fs::read_dir(place.state()).expect("a directory").count(), 0);
}
