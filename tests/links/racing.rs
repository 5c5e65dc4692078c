//! Somebody else changes links, files and directories while effects run.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use claude_failover::{
    host::links::observe_link,
    plan::{Effect, Outcome, TargetKind},
};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::world::{Node, World, contents, file, link, run, tree};

/// How many effects run against the rival.
const ROUNDS: u32 = 3000;

/// Ends the rival, also when the effects panic.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `rival` again and again, beside `effects`.
fn beside(rival: impl Fn(u32) + Sync, effects: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let rival = scope.spawn(|| {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                rival(round);
                round += 1;
            }
        });
        let end = AtTheEnd(&over);
        effects();
        drop(end);
        rival.join().expect("the rival does not fail");
    });
}

/// Moves what stands at `from` to `to`, if anything does, and never over anything.
fn take(from: &Path, to: &Path) {
    let _ = renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
}

#[test]
fn nothing_is_written_outside_while_a_link_is_flipped() {
    let world = World::new();
    let spare = world.home.join("spare");
    let flip = |round| {
        let target = if round % 2 == 0 { &world.outside } else { &world.target() };
        let _ = fs::remove_file(&spare);
        link(&spare, target);
        fs::rename(&spare, world.link()).expect("to flip the link");
        if round % 7 == 0 {
            let _ = fs::remove_file(world.link());
        }
    };
    beside(flip, || {
        for _ in 0..ROUNDS {
            run(&world.create_link());
            run(&world.repoint_link());
            run(&world.merge());
            let _ = observe_link(&world.link(), TargetKind::Directory);
        }
    });
    world.assert_outside_untouched();
    let in_root: BTreeSet<PathBuf> = tree(&world.root).into_keys().collect();
    assert_eq!(in_root, BTreeSet::from([".claude-failover".into(), "projects".into()]));
}

#[test]
fn no_file_is_lost_that_is_put_in_the_place_of_a_link() {
    let world = World::new();
    let taken = world.outside.parent().expect("a parent").join("taken");
    fs::create_dir(&taken).expect("a directory for what is taken");
    let last = AtomicU32::new(0);
    let rival = |round: u32| {
        // Whatever stands there is taken away, then a file, a link or a directory is put there.
        take(&world.link(), &taken.join(format!("{round}")));
        let own = world.home.join("own");
        match round % 3 {
            0 => file(&own, format!("file {round}"), 0),
            1 => link(&own, &world.outside),
            _ => file(&own.join("below"), format!("file {round}"), 0),
        }
        last.store(round, Ordering::Relaxed);
        take(&own, &world.link());
        take(&own, &taken.join(format!("{round}-own")));
    };
    beside(rival, || {
        for _ in 0..ROUNDS {
            run(&world.create_link());
            run(&world.repoint_link());
        }
    });
    let all = contents(&[&world.home, &taken]);
    for round in (0..=last.load(Ordering::Relaxed)).filter(|round| round % 3 != 1) {
        let content = Node::File(format!("file {round}").into_bytes());
        assert_eq!(all.iter().filter(|node| **node == content).count(), 1, "the file of round {round} is lost or doubled");
    }
    world.assert_outside_untouched();
}

#[test]
fn nothing_is_written_outside_while_directories_become_links() {
    const MERGES: u32 = 100;
    const FILES: u32 = 10;
    let world = World::new();
    let (leads_out, below) = (world.root.join("leads-out"), world.target().join("below"));
    link(&leads_out, &world.outside);
    fs::create_dir(&below).expect("a directory in the target");
    let swap = |_| renameat_with(CWD, &leads_out, CWD, &below, RenameFlags::EXCHANGE).expect("to exchange");
    let text = |merge: u32, name: u32| format!("{name} of merge {merge}");
    beside(swap, || {
        for merge in 0..MERGES {
            for name in 0..FILES {
                file(&world.link().join(format!("below/{name}")), text(merge, name), u64::from(merge));
            }
            let quarantine = world.quarantine().join(merge.to_string());
            let effect = Effect::MergeDirectory { path: world.link(), target: world.target(), quarantine };
            // It is refused as often as the rival comes in between.
            let done = (0..1000).any(|_| run(&effect).failure().is_none());
            assert!(done, "the merge never got through");
            fs::remove_file(world.link()).expect("the link that replaced the directory");
        }
    });
    world.assert_outside_untouched();
    // Wherever the rival moved the target meanwhile, everything is below the root.
    let all: BTreeSet<Node> = contents(&[&world.root]).into_iter().collect();
    for (merge, name) in (0..MERGES).flat_map(|merge| (0..FILES).map(move |name| (merge, name))) {
        assert!(all.contains(&Node::File(text(merge, name).into_bytes())), "{} is lost", text(merge, name));
    }
}

#[test]
fn what_is_put_into_a_directory_while_it_is_merged_is_kept() {
    const FILES: u32 = 2000;
    let world = World::new();
    let written = Mutex::new(BTreeSet::new());
    // A session that should not run makes the directory and writes into whatever stands there.
    let write = |round: u32| {
        let _ = fs::create_dir(world.link());
        if round < FILES && fs::write(world.link().join(round.to_string()), round.to_string()).is_ok() {
            written.lock().expect("no panic").insert(Node::File(round.to_string().into_bytes()));
        }
    };
    beside(write, || {
        for _ in 0..ROUNDS {
            if run(&world.merge()) == Outcome::Changed {
                fs::remove_file(world.link()).expect("the link that replaced the directory");
            }
        }
    });
    let all: BTreeSet<Node> = contents(&[&world.home, &world.root]).into_iter().collect();
    let written = written.into_inner().expect("no panic");
    assert!(!written.is_empty(), "nothing was written");
    let missing: Vec<Node> = written.into_iter().filter(|content| !all.contains(content)).collect();
    assert!(missing.is_empty(), "{missing:?} are lost");
}
