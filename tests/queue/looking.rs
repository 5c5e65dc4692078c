//! Looks at a queue.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    time::Duration,
};

use claude_failover::{
    host::queue::QueueCache,
    model::Now,
    observed::{MarkerView, QueueView},
    plan::{Outcome, QueueChange},
};
use jiff::ToSpan as _;
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::world::{World, age, marker, name, now, run};

/// As long as a second look comes after a first one.
fn later(now: Now, by: Duration) -> Now {
    Now { wall: now.wall + by, mono: now.mono.plus(by) }
}

fn tasks(view: &QueueView) -> Vec<&str> {
    view.inbox.keys().map(claude_failover::model::TaskName::as_str).collect()
}

#[test]
fn a_task_is_seen_with_what_its_file_says() {
    let world = World::new();
    world.put("inbox/a.md", "---\npriority: 5\nafter: b\n---\n# Fix the login\n");
    let view = world.look();
    let task = view.inbox.get(&name("a.md")).expect("the task");
    assert_eq!(task.identity, world.identity("inbox/a.md"));
    let header = task.header.as_ref().expect("a header");
    assert_eq!((header.priority, header.title.as_str(), &header.after), (Some(5), "Fix the login", &vec![name("b.md")]));
    assert!(!view.unsettled && view.ignored.is_empty() && view.restless.is_empty());
}

#[test]
fn what_is_absent_is_known_to_be_absent() {
    let world = World::bare();
    let view = world.look();
    assert!(view.project_exists && !view.exists && view.inbox.is_empty());
    fs::remove_dir(&world.project).expect("removed");
    assert_eq!(world.look(), QueueView::default());
}

#[test]
fn what_is_no_directory_of_ours_is_unknown() {
    let world = World::bare();
    symlink(&world.outside, world.project.join(".agent-queue")).expect("a symlink");
    assert!(world.why_unknown().contains("is a symlink; tasks are only taken from a real directory"));
    fs::remove_file(world.project.join(".agent-queue")).expect("removed");
    fs::write(world.project.join(".agent-queue"), "a file").expect("a file");
    assert!(world.why_unknown().contains("is a regular file"));
    fs::remove_file(world.project.join(".agent-queue")).expect("removed");
    assert_eq!(run(&QueueChange::Create.at(&world.project)), Outcome::Changed);
    for directory in ["inbox", "done", "failed"] {
        fs::remove_dir(world.at(directory)).expect("removed");
        symlink(&world.outside, world.at(directory)).expect("a symlink");
        assert!(world.why_unknown().contains(directory));
        fs::remove_file(world.at(directory)).expect("removed");
        fs::create_dir(world.at(directory)).expect("a directory");
    }
    assert!(world.look().exists);
}

#[test]
fn a_project_behind_a_symlink_is_looked_at() {
    let world = World::new();
    world.put("inbox/a.md", "do it\n");
    let link = world.outside.join("link");
    symlink(&world.project, &link).expect("a symlink");
    let claude_failover::observed::Seen::Known(fact) = claude_failover::host::queue::look(&link, now(), &mut QueueCache::default()) else {
        panic!("not known");
    };
    assert_eq!(tasks(&fact.value), ["a.md"]);
}

#[test]
fn only_files_that_may_be_tasks_are_taken() {
    let world = World::new();
    world.put("inbox/a.md", "do it\n");
    world.put("inbox/two words\n\u{1b}[31m.md", "do that\n");
    for silent in [".hidden.md", ".a.md.swp", "a.md~", "a.md.tmp", "a.md.part", "b.swp"] {
        world.put(&format!("inbox/{silent}"), "no\n");
    }
    world.put("inbox/notes.txt", "no\n");
    world.put("inbox/empty.md", "");
    world.put("inbox/blank.md", " \n\n");
    world.put("inbox/only header.md", "---\npriority: 1\n---\n");
    world.put("inbox/large.md", vec![b'x'; 256 * 1024 + 1]);
    world.put("inbox/just fits.md", vec![b'x'; 256 * 1024]);
    world.put(&format!("inbox/{}.md", "x".repeat(200)), "no\n");
    symlink(world.outside.join("precious.md"), world.at("inbox/link.md")).expect("a symlink");
    symlink("nowhere", world.at("inbox/dangling.md")).expect("a symlink");
    fs::create_dir(world.at("inbox/directory.md")).expect("a directory");
    mkfifo(&world.at("inbox/pipe.md"), Mode::S_IRWXU).expect("a pipe");
    fs::write(world.at("inbox").join(OsStr::from_bytes(b"latin\xfc.md")), "no\n").expect("a file");
    let view = world.look();
    assert_eq!(tasks(&view), ["a.md", "just fits.md", "two words\n\u{1b}[31m.md"]);
    let long = format!("{}.md", "x".repeat(200));
    let expected = [
        ("blank.md", "says nothing yet"),
        ("dangling.md", "a symlink"),
        ("directory.md", "a directory"),
        ("empty.md", "is empty"),
        ("large.md", "at most 256 KiB"),
        ("latin%FC.md", "not UTF-8"),
        ("link.md", "a symlink"),
        ("notes.txt", "must end with .md"),
        ("only%20header.md", "says nothing yet"),
        ("pipe.md", "a pipe"),
        (&long, "more than 200 bytes"),
    ];
    assert_eq!(view.ignored.keys().map(String::as_str).collect::<Vec<_>>(), expected.map(|(name, _)| name));
    for (name, why) in expected {
        assert!(view.ignored[name].contains(why), "{name}: {}", view.ignored[name]);
    }
    assert!(!view.unsettled, "none of them is waited for");
    for there in ["blank.md", "directory.md", "large.md", "link.md"] {
        assert!(view.stands(&name(there)), "{there} is there");
    }
    assert!(!view.stands(&name("b.md")));
}

#[test]
fn a_hundred_ignored_entries_are_named() {
    let world = World::new();
    for number in 0..150 {
        fs::write(world.at(&format!("inbox/{number:03}.txt")), "no\n").expect("a file");
    }
    let view = world.look();
    assert_eq!((view.ignored.len(), view.ignored.contains_key("099.txt")), (100, true));
}

#[test]
fn a_file_with_another_name_elsewhere_is_a_task() {
    let world = World::new();
    let path = world.put("inbox/a.md", "do it\n");
    fs::hard_link(&path, world.outside.join("backup")).expect("a link");
    assert_eq!(tasks(&world.look()), ["a.md"]);
}

#[test]
fn a_file_is_taken_once_it_has_come_to_rest() {
    let world = World::new();
    let mut cache = QueueCache::default();
    let path = world.at("inbox/a.md");
    fs::write(&path, "---\nprio").expect("half a file");
    let start = now();
    let written = |by: Duration| age(&path, by);
    written(Duration::ZERO);
    let view = world.look_with(&mut cache, start);
    assert!(view.unsettled && view.inbox.is_empty() && view.stands(&name("a.md")));
    fs::write(&path, "---\npriority: 5\n---\ndo it\n").expect("the whole file");
    let view = world.look_with(&mut cache, later(start, Duration::from_millis(10)));
    assert!(view.unsettled && view.inbox.is_empty(), "it was written to meanwhile");
    let view = world.look_with(&mut cache, later(now(), Duration::from_millis(30)));
    assert!(!view.unsettled);
    assert_eq!(view.inbox[&name("a.md")].header.as_ref().expect("a header").priority, Some(5));
}

#[test]
fn a_file_of_the_future_is_taken_once_it_is_left_alone() {
    let world = World::new();
    let path = world.put("inbox/a.md", "do it\n");
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("a file")
        .set_modified(std::time::SystemTime::now() + Duration::from_hours(1))
        .expect("a time");
    let mut cache = QueueCache::default();
    let start = now();
    assert!(world.look_with(&mut cache, start).unsettled);
    assert!(world.look_with(&mut cache, later(start, Duration::from_millis(20))).unsettled);
    let view = world.look_with(&mut cache, later(start, Duration::from_millis(25)));
    assert_eq!((tasks(&view), view.unsettled), (vec!["a.md"], false));
}

#[test]
fn a_claimed_task_never_looks_as_if_it_were_gone() {
    let world = World::new();
    let mut cache = QueueCache::default();
    world.put_claimed("a.md", "c1");
    let header = |view: &QueueView| view.inbox[&name("a.md")].header.clone().expect("a header");
    assert_eq!(header(&world.look_with(&mut cache, now())).title, "do it");
    fs::write(world.at("inbox/a.md"), "---\nhalf a hea").expect("being written");
    age(&world.at("inbox/a.md"), Duration::ZERO);
    let view = world.look_with(&mut cache, now());
    assert_eq!((header(&view).title.as_str(), view.unsettled), ("do it", true));
    world.put("inbox/a.md", vec![b'x'; 300 * 1024]);
    assert_eq!(header(&world.look_with(&mut cache, now())).title, "do it");
    assert!(world.look().inbox.contains_key(&name("a.md")), "also for one who saw nothing before");
    world.put("inbox/a.md", "");
    assert!(world.look().inbox.contains_key(&name("a.md")));
    fs::remove_file(world.at("inbox/a.md")).expect("removed");
    assert!(!world.look_with(&mut cache, now()).stands(&name("a.md")));
}

#[test]
fn a_cached_look_is_a_fresh_look() {
    let world = World::new();
    let mut cache = QueueCache::default();
    let check = |cache: &mut QueueCache, what: &str| {
        let at = now();
        assert_eq!(world.look_with(cache, at), world.look_with(&mut QueueCache::default(), at), "{what}");
    };
    check(&mut cache, "empty");
    for directory in ["inbox", "done", "failed"] {
        world.put(&format!("{directory}/a.md"), "one\n");
        check(&mut cache, directory);
        world.put(&format!("{directory}/a.md"), "---\npriority: 1\n---\ntwo\n");
        fs::rename(world.put(&format!("{directory}/b.md"), "b\n"), world.at(&format!("{directory}/c.md"))).expect("renamed");
        if directory == "inbox" {
            check(&mut cache, "changed");
        }
        fs::remove_file(world.at(&format!("{directory}/a.md"))).expect("removed");
        check(&mut cache, "removed");
    }
    world.put_claimed("d.md", "c1");
    check(&mut cache, "claimed");
    fs::write(world.at("inbox/d.md.dispatched"), "spoilt").expect("a marker");
    check(&mut cache, "spoilt");
    fs::remove_file(world.at("inbox/d.md.dispatched")).expect("removed");
    check(&mut cache, "released");
    fs::remove_dir_all(world.at("done")).expect("removed");
    check(&mut cache, "without done");
}

#[test]
fn a_done_file_that_is_written_over_has_a_new_time() {
    let world = World::new();
    let mut cache = QueueCache::default();
    world.put("done/a.md", "an older one\n");
    let first = world.look_with(&mut cache, later(now(), Duration::from_secs(10))).done[&name("a.md")];
    world.put_claimed("a.md", "c1");
    // In place, so that the directory does not change.
    let past_clock_step = || {
        fs::write(world.at("done/a.md"), "a newer one\n").expect("written over");
        world.look_with(&mut cache, later(now(), Duration::from_secs(10))).done[&name("a.md")]
    };
    let mut look = past_clock_step;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while look() == first {
        assert!(std::time::Instant::now() < deadline, "it keeps its old time");
    }
}

#[test]
fn done_counts_from_when_it_was_put_there() {
    let world = World::new();
    let before = now().wall - 1.second();
    let path = world.put("inbox/a.md", "do it\n");
    age(&path, Duration::from_hours(24 * 30));
    fs::rename(path, world.at("done/a.md")).expect("moved");
    assert!(world.look().done[&name("a.md")] >= before, "not from when it was written");
}

#[test]
fn a_marker_that_cannot_be_read_is_told_of() {
    let world = World::new();
    for (task, text) in [("a", ""), ("b", "{"), ("c", "{\"session\":\"../x\"}"), ("d", "[1]")] {
        world.put(&format!("inbox/{task}.md.dispatched"), text);
    }
    world.put("inbox/e.md.dispatched", vec![b' '; 10_000]);
    fs::create_dir(world.at("inbox/f.md.dispatched")).expect("a directory");
    symlink(world.outside.join("precious.md"), world.at("inbox/g.md.dispatched")).expect("a symlink");
    fs::write(world.at("inbox/h.md.dispatched"), serde_json::to_vec(&marker("c1")).expect("JSON")).expect("a marker");
    let view = world.look();
    assert_eq!(view.markers.len(), 8);
    for (task, found) in &view.markers {
        assert_eq!(matches!(found, MarkerView::Marker(_)), task.as_str() == "h.md", "{task}: {found:?}");
    }
    // What is a file is taken away, what is none is left.
    for task in ["a", "b", "c", "d", "e"] {
        assert_eq!(run(&world.release(&format!("{task}.md"), None)), Outcome::Changed);
    }
    for task in ["f", "g"] {
        assert!(crate::world::refused(&world.release(&format!("{task}.md"), None)).contains("was left as it is"));
    }
}

#[test]
fn a_second_look_at_ten_thousand_tasks_reads_none_of_them() {
    let world = World::new();
    for number in 0..10_000 {
        world.put(&format!("inbox/{number}.md"), "---\npriority: 1\n---\ndo it\n");
    }
    let mut cache = QueueCache::default();
    let timed = |cache: &mut QueueCache| {
        let began = std::time::Instant::now();
        let view = world.look_with(cache, now());
        (view.inbox.len(), began.elapsed())
    };
    let (count, first) = timed(&mut cache);
    // The best of some: the machine may be busy.
    let (again, second) = (0..5).map(|_| timed(&mut cache)).min_by_key(|(_, took)| *took).expect("a look");
    assert_eq!((count, again), (10_000, 10_000));
    assert!(second * 2 < first, "{first:?}, then {second:?}");
}
