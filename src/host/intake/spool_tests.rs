use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use jiff::Timestamp;

use super::*;
use crate::host::{agent::report::Report, intake::Kind};

fn message(prompt: &str) -> Message {
    let report = Report { prompt: Some(prompt.to_owned()), ..Report::default() };
    let kind = Kind::Hook("UserPromptSubmit".to_owned());
    Message { kind, process: None, home: None, at: Timestamp::UNIX_EPOCH, answered_at: None, report }
}

fn prompts(messages: Vec<Message>) -> Vec<String> {
    messages.into_iter().filter_map(|message| message.report.prompt).collect()
}

fn put(path: &Path, prompt: &str) -> bool {
    append(path, &message(prompt).encode())
}

#[test]
fn messages_come_in_the_order_in_which_they_were_written_and_then_are_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let mut spool = Spool::new(&path);
    assert!(spool.take().expect("nothing there").is_empty());
    for prompt in ["a", "b", "c"] {
        assert!(put(&path, prompt));
    }
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(prompts(spool.take().expect("readable")), ["a", "b", "c"]);
    assert!(put(&path, "d"), "while the others are dealt with");
    assert!(spool.take().expect("not yet").is_empty());
    spool.done().expect("removed");
    assert_eq!(prompts(spool.take().expect("readable")), ["d"]);
    spool.done().expect("removed");
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0);
}

#[test]
fn what_was_taken_but_not_done_comes_again_before_what_is_newer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    assert!(put(&path, "a"));
    let mut killed = Spool::new(&path);
    assert_eq!(prompts(killed.take().expect("readable")), ["a"]);
    drop(killed);
    assert!(put(&path, "b"));
    let mut next = Spool::new(&path);
    assert_eq!(prompts(next.take().expect("readable")), ["a"]);
    next.done().expect("removed");
    assert_eq!(prompts(next.take().expect("readable")), ["b"]);
}

#[test]
fn a_torn_line_spoils_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    assert!(put(&path, "a"));
    let half = message("lost").encode();
    fs::OpenOptions::new().append(true).open(&path).expect("opened").write_all(&half[..half.len() / 2]).expect("written");
    assert!(put(&path, "b"));
    assert_eq!(prompts(Spool::new(&path).take().expect("readable")), ["a", "b"]);
}

#[test]
fn a_spool_of_garbage_is_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    fs::write(&path, b"\xff\n{}\n\n[").expect("written");
    assert!(Spool::new(&path).take().expect("readable").is_empty());
    assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 0);
}

#[test]
fn garbage_of_an_earlier_reader_hides_nothing_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let mut spool = Spool::new(&path);
    fs::write(&spool.taken, b"[").expect("written");
    assert!(put(&path, "a"));
    assert_eq!(prompts(spool.take().expect("readable")), ["a"]);
}

#[test]
fn a_writer_that_is_overtaken_by_a_reader_begins_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let mut spool = Spool::new(&path);
    assert!(put(&path, "a"));
    let (while_held, after) = (open(&path).expect("opened"), open(&path).expect("opened"));
    assert_eq!(prompts(spool.take().expect("readable")), ["a"]);
    assert!(matches!(write(&path, while_held, b"late"), Ok(None)));
    spool.done().expect("removed");
    assert!(matches!(write(&path, after, b"later"), Ok(None)), "nobody would read it");
    // The other way round: a reader that meets a writer at work leaves the file for the next time.
    assert!(put(&path, "b"));
    let at_work = open(&path).expect("opened");
    at_work.try_lock_shared().expect("locked");
    assert!(spool.take().expect("readable").is_empty());
    drop(at_work);
    assert_eq!(prompts(spool.take().expect("readable")), ["b"]);
}

#[test]
fn what_cannot_be_removed_does_not_come_again_and_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let mut spool = Spool::new(&path);
    assert!(put(&path, "a"));
    assert_eq!(prompts(spool.take().expect("readable")), ["a"]);
    // A directory cannot be removed as a file.
    fs::rename(&spool.taken, directory.path().join("aside")).expect("moved");
    fs::create_dir(&spool.taken).expect("made");
    assert!(spool.done().is_err());
    assert!(spool.take().expect("nothing new").is_empty());
    fs::remove_dir(&spool.taken).expect("removed");
    assert!(put(&path, "b"));
    spool.done().expect("it is gone");
    assert_eq!(prompts(spool.take().expect("readable")), ["b"]);
}

#[test]
fn it_is_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let prompt = "x".repeat(30_000);
    let mut written = 0;
    while put(&path, &prompt) {
        written += 1;
        assert!(written < 1000, "it never fills up");
    }
    assert!(fs::metadata(&path).expect("there").len() <= CAP);
    assert_eq!(Spool::new(&path).take().expect("readable").len(), written);
}

#[test]
fn a_link_or_a_directory_in_its_place_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, victim) = (directory.path().join("spool"), directory.path().join("victim"));
    fs::write(&victim, "").expect("written");
    symlink(&victim, &path).expect("linked");
    assert!(!put(&path, "a"));
    assert_eq!(fs::read(&victim).expect("there"), b"");
    assert!(!put(&directory.path().join("absent/spool"), "a"));
}

/// Writers and readers at the same time: whatever was said to be written is read, once.
#[test]
fn nothing_is_lost_between_writers_and_a_reader() {
    const WRITERS: usize = 4;
    const EACH: usize = 300;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("spool");
    let writing = AtomicBool::new(true);
    let (mut written, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut spool = Spool::new(&path);
            let mut read = Vec::new();
            loop {
                // Asked before the last look, so that nothing is written behind it.
                let last = !writing.load(Ordering::Acquire);
                let messages = spool.take().expect("readable");
                let empty = messages.is_empty();
                read.extend(prompts(messages));
                spool.done().expect("removed");
                if last && empty {
                    return read;
                }
            }
        });
        let path = &path;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let prompts = (0..EACH).map(|number| format!("{writer}/{number}"));
                    prompts.filter(|prompt| put(path, prompt)).collect::<Vec<_>>()
                })
            })
            .collect();
        let written: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect();
        writing.store(false, Ordering::Release);
        (written, reader.join().expect("no panic"))
    });
    assert_eq!(read.len(), read.iter().collect::<BTreeSet<_>>().len(), "something was read twice");
    assert!(written.len() > WRITERS * EACH / 2, "only {} were written", written.len());
    let mut read = read;
    read.sort();
    written.sort();
    assert_eq!(read, written);
}
