//! Killed before any call that changes the file system, or with any such call failing: done again, an effect ends in the same state, and
//! no task is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::Path,
};

use claude_failover::{
    model::Month,
    observed::Marker,
    plan::{Effect, Outcome, QueueChange},
};
use jiff::ToSpan as _;

use crate::{
    again::{Ended, skipped, strace_works, under_strace},
    world::{World, marker, name, run},
};

/// Every call by which an effect changes something.
const CHANGING: [&str; 6] = ["renameat2", "unlinkat", "mkdirat", "copy_file_range,sendfile,write", "fchmod", "fsync"];

const KILL: &str = "signal=SIGKILL";

/// Two projects.
struct Worlds {
    here: World,
    there: World,
}

/// An effect with the state before it.
struct Case {
    prepare: fn(&Worlds),
    effect: fn(&Worlds) -> Effect,
    /// How many calls change something, at the least.
    calls: usize,
}

const CASES: [Case; 8] = [
    Case {
        prepare: |worlds| fs::remove_dir_all(worlds.here.project.join(".agent-queue")).expect("removed"),
        effect: |worlds| QueueChange::Create.at(&worlds.here.project),
        calls: 4,
    },
    Case { prepare: |worlds| drop(worlds.here.put("inbox/a.md", "do it\n")), effect: |worlds| worlds.here.claim("a.md", "c1"), calls: 2 },
    Case { prepare: |worlds| worlds.here.put_claimed("a.md", "c1"), effect: renew, calls: 3 },
    Case { prepare: |worlds| worlds.here.put_claimed("a.md", "c1"), effect: |worlds| worlds.here.release("a.md", Some("c1")), calls: 1 },
    Case { prepare: claim_and_finish_another, effect: |worlds| worlds.here.finish("a.md", "c1"), calls: 3 },
    Case { prepare: claim_and_finish_another, effect: |worlds| worlds.here.fail("a.md", Some("c1")), calls: 4 },
    Case {
        prepare: |worlds| {
            worlds.here.put("failed/a.md", "do it\n");
            worlds.here.put("failed/a.md.reason", "it did not work\n");
        },
        effect: |worlds| worlds.here.retry("a.md"),
        calls: 2,
    },
    Case {
        prepare: |worlds| {
            worlds.here.put("done/b.md", "b\n");
            assert_eq!(run(&archive(worlds)), Outcome::Changed);
            worlds.here.put("done/a.md", "a\n");
            worlds.here.put("done/b.md", "b again\n");
        },
        effect: archive,
        calls: 6,
    },
];

fn claim_and_finish_another(worlds: &Worlds) {
    worlds.here.put("done/a.md", "an older one\n");
    worlds.here.put("failed/a.md", "an older one\n");
    worlds.here.put_claimed("a.md", "c1");
}

fn renew(worlds: &Worlds) -> Effect {
    let marker = marker("c1");
    let marker = Marker { lease_until: marker.lease_until + 5.minutes(), ..marker };
    QueueChange::Renew { task: name("a.md"), marker }.at(&worlds.here.project)
}

fn archive(worlds: &Worlds) -> Effect {
    let month = Month::try_from("2026-11".to_owned()).expect("a month");
    QueueChange::Archive { month, tasks: vec![name("a.md"), name("b.md")] }.at(&worlds.here.project)
}

fn mv(worlds: &Worlds) -> Effect {
    QueueChange::Move { to: worlds.there.project.clone(), task: name("a.md") }.at(&worlds.here.project)
}

/// All files of both queues, temporary ones too; an archive as what is in it.
fn state(worlds: &Worlds) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (which, world) in [("here", &worlds.here), ("there", &worlds.there)] {
        for file in world.files() {
            if file.ends_with(".tar.gz") {
                found.extend(archived(&world.at(&file)).into_iter().map(|(name, text)| (format!("{which} {file} {name}"), text)));
            } else {
                found.insert((format!("{which} {file}"), world.read(&file)));
            }
        }
    }
    found
}

fn archived(path: &Path) -> Vec<(String, String)> {
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(fs::File::open(path).expect("the archive")));
    let entries = tar.entries().expect("entries").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("its text");
        (entry.path().expect("a path").display().to_string(), text)
    });
    entries.collect()
}

/// The texts of all tasks, wherever they are.
fn texts(worlds: &Worlds) -> BTreeMap<String, usize> {
    let mut texts = BTreeMap::new();
    let not_tasks = [".dispatched", ".reason", ".claude-failover"];
    for (name, text) in state(worlds) {
        if not_tasks.iter().all(|other| !name.contains(other)) {
            *texts.entry(text).or_default() += 1;
        }
    }
    texts
}

/// Runs the effect with the n-th call of each kind hit by `fault`, for every n that there is; then runs it again, undisturbed.
/// Answers how often it was hit.
fn hit_everywhere(fault: &str, worlds: &dyn Fn() -> Worlds, case: &Case) -> usize {
    let clean = worlds();
    (case.prepare)(&clean);
    assert_eq!(run(&(case.effect)(&clean)), Outcome::Changed);
    let expected = state(&clean);
    let mut hits = 0;
    for calls in CHANGING {
        for number in 1.. {
            let worlds = worlds();
            (case.prepare)(&worlds);
            let (before, effect) = (texts(&worlds), (case.effect)(&worlds));
            let at = format!("{effect:?}, {fault} at {calls} number {number}");
            let ended = under_strace(&effect, calls, fault, number);
            let lost: Vec<_> = before.keys().filter(|text| !texts(&worlds).contains_key(*text)).collect();
            assert!(lost.is_empty(), "{at}: {lost:?} was lost");
            let offered = [&worlds.here, &worlds.there].iter().filter(|world| world.at("inbox/a.md").exists()).count();
            assert!(offered <= 1, "{at}: it is offered twice");
            if matches!(effect, Effect::Queue { change: QueueChange::Finish { .. } | QueueChange::Fail { .. }, .. }) {
                let unclaimed = worlds.here.at("inbox/a.md").exists() && !worlds.here.at("inbox/a.md.dispatched").exists();
                assert!(!unclaimed, "{at}: it is offered again");
            }
            if ended != Ended::Failed {
                assert_eq!(state(&worlds), expected, "{at}: it said that it was done");
            }
            let again = run(&effect);
            assert!(again.failure().is_none(), "{at}: {again:?}");
            assert_eq!(state(&worlds), expected, "{at}: the second run ended in another state");
            if ended == Ended::Unhit {
                break;
            }
            hits += 1;
        }
    }
    hits
}

fn hit_every_case(fault: &str) {
    if !strace_works() {
        return;
    }
    for case in CASES {
        let hits = hit_everywhere(fault, &|| Worlds { here: World::new(), there: World::bare() }, &case);
        assert!(hits >= case.calls, "only {hits} of {} calls were hit", case.calls);
    }
}

fn hit_a_move(fault: &str) {
    if !strace_works() {
        return;
    }
    let prepare: fn(&Worlds) = |worlds| drop(worlds.here.put("inbox/a.md", "do it\n"));
    let near = hit_everywhere(fault, &|| Worlds { here: World::new(), there: World::new() }, &Case { prepare, effect: mv, calls: 1 });
    assert!(near >= 1, "only {near} calls were hit");
    if World::in_memory().is_none_or(|there| there.device() == World::new().device()) {
        return skipped("there is only one file system");
    }
    let across = || Worlds { here: World::new(), there: World::in_memory().expect("a file system in memory") };
    let far = hit_everywhere(fault, &across, &Case { prepare, effect: mv, calls: 6 });
    assert!(far >= 6, "only {far} calls were hit");
}

#[test]
fn an_effect_may_be_killed_anywhere() {
    hit_every_case(KILL);
}

#[test]
fn any_call_of_an_effect_may_fail() {
    hit_every_case("error=EIO");
}

#[test]
fn a_disk_that_is_full_loses_nothing() {
    hit_every_case("error=ENOSPC");
}

#[test]
fn a_move_may_be_killed_anywhere() {
    hit_a_move(KILL);
}

#[test]
fn any_call_of_a_move_may_fail() {
    hit_a_move("error=ENOSPC");
}
