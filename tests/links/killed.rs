//! Killed before any call that changes the file system, or with any such call failing: done again, an effect ends in the same state, and
//! nothing is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use claude_failover::plan::{Effect, Outcome};

use crate::{
    again::{Ended, skipped, strace_works, under_strace},
    world::{Node, POOL, World, contents, file, link, run, tree},
};

/// Every call by which an effect changes something. Opening a file for writing is among the many opens that change nothing; what it makes
/// is seen by the kill before the next call.
const CHANGING: [&str; 7] = ["renameat2", "unlinkat", "mkdirat", "symlinkat", "copy_file_range,sendfile,write", "fchmod", "utimensat"];

/// It may fail as well, but a kill before it is like one before the next change.
const SYNCING: &str = "fsync";

const KILL: &str = "signal=SIGKILL";

/// A home and a target with a case for each rule of a merge.
fn fill(world: &World) {
    for (name, here, there) in [
        ("a/grown-here", "one\ntwo\n", "one\n"),
        ("a/grown-there", "one\n", "one\ntwo\n"),
        ("b-newer-here", "here", "there"),
        ("c-twin", "same", "same"),
        ("d/deep/er/newer-there", "here", "and there"),
    ] {
        let age = if name.ends_with("here") && !name.contains("there") { (2, 1) } else { (1, 2) };
        file(&world.link().join(name), here, age.0);
        file(&world.target().join(name), there, age.1);
    }
    file(&world.link().join("a/only-here"), "only here", 1);
    file(&world.link().join("e/only/here"), "all of it", 1);
    file(&world.link().join("f-file-here"), "a file", 9);
    file(&world.target().join("f-file-here/below"), "below", 1);
    file(&world.link().join("g-directory-here/below"), "below here", 9);
    file(&world.target().join("g-directory-here"), "a file there", 1);
    link(&world.link().join("h-link"), &world.outside);
    link(&world.link().join("i-twin"), "/same");
    link(&world.target().join("i-twin"), "/same");
    link(&world.link().join("j-other"), "/here");
    link(&world.target().join("j-other"), "/there");
}

/// The home and the root, but not the marker, which says when it was made.
fn state(world: &World) -> (BTreeMap<PathBuf, Node>, BTreeMap<PathBuf, Node>) {
    let mut root = if world.root.exists() { tree(&world.root) } else { BTreeMap::new() };
    root.remove(&PathBuf::from(".claude-failover"));
    // The target of a link differs from world to world.
    let blind = |tree: BTreeMap<PathBuf, Node>| {
        let blind = |node| match node {
            Node::Link(target) if target == world.target() => Node::Link("TARGET".into()),
            Node::Link(target) if target == world.outside => Node::Link("OUTSIDE".into()),
            node => node,
        };
        tree.into_iter().map(|(path, node)| (path, blind(node))).collect()
    };
    (blind(tree(&world.home)), blind(root))
}

fn distinct(world: &World) -> BTreeSet<Node> {
    contents(&[&world.home, &world.root]).into_iter().filter(|node| !matches!(node, Node::Link(_))).collect()
}

/// Runs the effect with the n-th call of each kind hit by `fault`, for every n that there is; then runs it again, undisturbed.
/// Answers how often it was hit.
fn hit_everywhere(fault: &str, world: &dyn Fn() -> World, prepare: &dyn Fn(&World), effect: &dyn Fn(&World) -> Effect) -> usize {
    let clean = world();
    prepare(&clean);
    assert_eq!(run(&effect(&clean)), Outcome::Changed);
    let expected = state(&clean);
    let mut hits = 0;
    for calls in CHANGING.into_iter().chain((fault != KILL).then_some(SYNCING)) {
        for number in 1.. {
            let world = world();
            prepare(&world);
            let before = distinct(&world);
            let at = format!("{fault} at {calls} number {number}");
            let ended = under_strace(&effect(&world), calls, fault, number);
            assert!(distinct(&world).is_superset(&before), "{at}: something was lost");
            if ended != Ended::Failed {
                assert_eq!(state(&world), expected, "{at}: it said that it was done");
            }
            let again = run(&effect(&world));
            assert!(again.failure().is_none(), "{at}: {again:?}");
            assert_eq!(state(&world), expected, "{at}: the second run ended in another state");
            world.assert_outside_untouched();
            if ended == Ended::Unhit {
                break;
            }
            hits += 1;
        }
    }
    hits
}

/// An effect with the state before it.
struct Case {
    prepare: fn(&World),
    effect: fn(&World) -> Effect,
    /// How many calls change something, at the least.
    calls: usize,
}

fn init_root(world: &World) -> Effect {
    Effect::InitSharedRoot { root: world.root.clone(), pool: POOL }
}

const CASES: [Case; 4] = [
    Case { prepare: |world| fs::remove_dir_all(&world.root).expect("to remove the root"), effect: init_root, calls: 4 },
    Case { prepare: |_| (), effect: World::create_link, calls: 3 },
    Case { prepare: |world| link(&world.link(), &world.outside), effect: World::repoint_link, calls: 4 },
    Case { prepare: fill, effect: World::merge, calls: 30 },
];

fn hit_every_case(fault: &str) {
    if !strace_works() {
        return;
    }
    for case in CASES {
        let hits = hit_everywhere(fault, &World::new, &case.prepare, &case.effect);
        assert!(hits >= case.calls, "only {hits} of {} calls were hit", case.calls);
    }
}

fn hit_a_merge_across(fault: &str) {
    if World::across().is_none() {
        return skipped("there is only one file system");
    }
    if strace_works() {
        let hits = hit_everywhere(fault, &|| World::across().expect("two file systems"), &fill, &World::merge);
        assert!(hits > 60, "only {hits} places were hit");
    }
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
fn a_merge_across_file_systems_may_be_killed_anywhere() {
    hit_a_merge_across(KILL);
}

#[test]
fn any_call_of_a_merge_across_file_systems_may_fail() {
    hit_a_merge_across("error=ENOSPC");
}
