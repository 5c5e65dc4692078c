//! Making links and pointing them elsewhere.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use claude_failover::{
    host::links::verify,
    model::PoolId,
    observed::RootView,
    plan::{Effect, LinkNeed, Outcome, TargetKind},
};

use crate::world::{Node, POOL, World, file, link, refused, run, tree};

/// What stands in the home, and nothing else does.
fn home_holds(world: &World, entries: &[(&str, Node)]) {
    let expected = entries.iter().map(|(path, node)| (PathBuf::from(path), node.clone())).collect();
    assert_eq!(tree(&world.home), expected);
}

/// The temporary name that a killed process left for the link of that name.
fn left_over(world: &World, link: &str) -> PathBuf {
    let digest = claude_failover::model::sha256_hex(link.as_bytes());
    world.home.join(format!(".claude-failover-link-{}-killed", &digest[..16]))
}

#[test]
fn a_link_is_made_once() {
    let world = World::new();
    assert_eq!(run(&world.create_link()), Outcome::Changed);
    home_holds(&world, &[("projects", Node::Link(world.target()))]);
    verify(&[LinkNeed { path: world.link(), target: world.target(), kind: TargetKind::Directory }]).expect("a right link");
    assert_eq!(run(&world.create_link()), Outcome::Unchanged);
}

#[test]
fn a_link_is_pointed_elsewhere_once() {
    let world = World::new();
    link(&world.link(), &world.outside);
    assert_eq!(run(&world.repoint_link()), Outcome::Changed);
    home_holds(&world, &[("projects", Node::Link(world.target()))]);
    assert_eq!(run(&world.repoint_link()), Outcome::Unchanged);
    world.assert_outside_untouched();
}

#[test]
fn a_plain_file_in_the_place_of_a_link_survives_byte_for_byte() {
    let world = World::new();
    let content: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    file(&world.link(), &content, 0);
    for effect in [world.create_link(), world.repoint_link(), world.merge()] {
        let failure = refused(&effect);
        assert!(failure.message().contains("regular file"), "{}", failure.message());
        home_holds(&world, &[("projects", Node::File(content.clone()))]);
    }
}

#[test]
fn a_real_directory_in_the_place_of_a_link_is_never_touched() {
    let world = World::new();
    file(&world.link().join("a/b"), "b", 0);
    fs::create_dir(world.link().join("empty")).expect("a directory");
    let before = tree(&world.home);
    refused(&world.create_link());
    refused(&world.repoint_link());
    assert_eq!(tree(&world.home), before);
}

#[test]
fn a_link_that_points_somewhere_unexpected_is_left_alone() {
    let world = World::new();
    link(&world.link(), "/somewhere/else");
    for effect in [world.create_link(), world.repoint_link(), world.merge()] {
        let failure = refused(&effect);
        assert!(failure.message().contains("/somewhere/else"), "{}", failure.message());
        home_holds(&world, &[("projects", Node::Link("/somewhere/else".into()))]);
    }
}

#[test]
fn a_missing_link_is_not_repointed() {
    let world = World::new();
    refused(&world.repoint_link());
    refused(&world.merge());
    home_holds(&world, &[]);
}

#[test]
fn a_link_is_not_made_before_its_target() {
    let world = World::new();
    let to = |target: PathBuf| Effect::CreateLink { path: world.link(), target };
    let chained = world.root.join("chained");
    link(&chained, world.target());
    for target in [world.root.join("gone"), PathBuf::from("relative"), chained] {
        refused(&to(target));
        home_holds(&world, &[]);
    }
    link(&world.link(), &world.outside);
    refused(&Effect::RepointLink { path: world.link(), expect: world.outside.clone(), target: world.root.join("gone") });
    home_holds(&world, &[("projects", Node::Link(world.outside.clone()))]);
}

#[test]
fn a_missing_home_is_an_error_and_is_not_made() {
    let world = World::new();
    fs::remove_dir(&world.home).expect("to remove the home");
    let failure = refused(&world.create_link());
    assert!(failure.message().contains(world.home.to_str().expect("UTF-8")), "{}", failure.message());
    assert!(!world.home.exists());
}

#[test]
fn a_home_may_lie_behind_symlinks() {
    let world = World::new();
    let alias = world.outside.parent().expect("a parent").join("alias");
    link(&alias, &world.home);
    assert_eq!(run(&Effect::CreateLink { path: alias.join("projects"), target: world.target() }), Outcome::Changed);
    home_holds(&world, &[("projects", Node::Link(world.target()))]);
}

#[test]
fn a_link_may_have_the_longest_name_there_is() {
    let world = World::new();
    let name = "n".repeat(255);
    assert_eq!(run(&Effect::CreateLink { path: world.home.join(&name), target: world.target() }), Outcome::Changed);
    home_holds(&world, &[(&name, Node::Link(world.target()))]);
}

#[test]
fn what_a_killed_process_left_is_cleaned_only_if_it_is_ours() {
    let world = World::new();
    let (ours, foreign) = (left_over(&world, "projects"), left_over(&world, "projects").with_extension("foreign"));
    let other_link = left_over(&world, "tasks");
    let data = left_over(&world, "projects").with_extension("data");
    let directory = left_over(&world, "projects").with_extension("directory");
    link(&ours, world.target());
    link(&foreign, "/somewhere/else");
    link(&other_link, world.target());
    file(&data, "data", 0);
    file(&directory.join("data"), "data", 0);
    fs::create_dir(left_over(&world, "projects").with_extension("emptied")).expect("an emptied directory");

    assert_eq!(run(&world.create_link()), Outcome::Changed);
    let name = |path: &Path| PathBuf::from(path.file_name().expect("a name"));
    let expected = [
        (PathBuf::from("projects"), Node::Link(world.target())),
        (name(&foreign), Node::Link("/somewhere/else".into())),
        (name(&other_link), Node::Link(world.target())),
        (name(&data), Node::File(b"data".to_vec())),
        (name(&directory), Node::Directory),
        (name(&directory).join("data"), Node::File(b"data".to_vec())),
    ];
    assert_eq!(tree(&world.home), expected.into_iter().collect());
}

#[test]
fn a_root_is_made_once_and_only_for_us() {
    let world = World::new();
    let root = world.home.join("shared");
    let init = Effect::InitSharedRoot { root: root.clone(), pool: POOL };
    assert_eq!(run(&init), Outcome::Changed);
    assert_eq!(fs::metadata(&root).expect("its metadata").permissions().mode() & 0o777, 0o700);
    let before = tree(&root);
    assert_eq!(run(&init), Outcome::Unchanged);
    assert_eq!(tree(&root), before);
}

#[test]
fn a_root_with_a_half_written_marker_is_empty_and_gets_its_marker() {
    let world = World::new();
    let root = world.home.join("shared");
    file(&root.join(".claude-failover.new"), "{\"pool\":", 0);
    let look = || claude_failover::host::links::observe_root(&root).expect("a look");
    assert_eq!(look(), RootView::Empty);
    assert_eq!(run(&Effect::InitSharedRoot { root: root.clone(), pool: POOL }), Outcome::Changed);
    assert_eq!(look(), RootView::Marked(POOL));
    assert_eq!(tree(&root).len(), 1);
}

#[test]
fn a_root_that_holds_something_is_taken_over_only_when_it_is_ours_and_safe() {
    let world = World::new();
    let root = world.home.join("shared");
    let adopt = Effect::AdoptSharedRoot { root: root.clone(), pool: POOL };
    refused(&adopt);
    fs::create_dir(&root).expect("made");
    refused(&adopt);
    file(&root.join("precious"), "kept", 0);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).expect("set");
    let before = tree(&root);
    refused(&adopt);
    assert_eq!(tree(&root), before, "nothing was written where others may write");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).expect("set");
    assert_eq!(run(&adopt), Outcome::Changed);
    assert_eq!(claude_failover::host::links::observe_root(&root).expect("a look"), RootView::Marked(POOL));
    assert_eq!(fs::read(root.join("precious")).expect("there"), b"kept");
    assert_eq!(run(&adopt), Outcome::Unchanged);
    refused(&Effect::AdoptSharedRoot { root, pool: PoolId(uuid::Uuid::from_u128(99)) });
}

#[test]
fn two_pools_never_both_get_one_root() {
    for _ in 0..50 {
        let world = World::new();
        let init = |number| Effect::InitSharedRoot { root: world.home.join("shared"), pool: PoolId(uuid::Uuid::from_u128(number)) };
        let done: Vec<Outcome> = std::thread::scope(|scope| {
            let rivals = [1, 2].map(|number| {
                let effect = init(number);
                scope.spawn(move || run(&effect))
            });
            rivals.into_iter().map(|rival| rival.join().expect("no panic")).collect()
        });
        assert!(done.iter().filter(|outcome| outcome.failure().is_none()).count() <= 1, "{done:?}");
    }
}

#[test]
fn a_target_is_made_once_and_what_is_there_stays() {
    let world = World::new();
    let target = |name: &str, kind| Effect::CreateTarget { root: world.root.clone(), target: world.root.join(name), kind };
    for (name, kind) in [("tasks", TargetKind::Directory), ("history.jsonl", TargetKind::File)] {
        assert_eq!(run(&target(name, kind)), Outcome::Changed);
        assert_eq!(run(&target(name, kind)), Outcome::Unchanged);
    }
    fs::write(world.root.join("history.jsonl"), "line").expect("content");
    assert_eq!(run(&target("history.jsonl", TargetKind::File)), Outcome::Unchanged);
    assert_eq!(fs::read(world.root.join("history.jsonl")).expect("content"), b"line");

    link(&world.root.join("plans"), &world.outside);
    refused(&target("history.jsonl", TargetKind::Directory));
    refused(&target("tasks", TargetKind::File));
    refused(&target("plans", TargetKind::Directory));
    refused(&target("tasks/below", TargetKind::Directory));
    refused(&target("../outside/made", TargetKind::Directory));
    world.assert_outside_untouched();
}

#[test]
fn nothing_is_made_in_a_root_without_a_marker() {
    let world = World::new();
    fs::remove_file(world.root.join(".claude-failover")).expect("to remove the marker");
    let before = tree(&world.root);
    refused(&Effect::CreateTarget { root: world.root.clone(), target: world.root.join("tasks"), kind: TargetKind::Directory });
    file(&world.link().join("a"), "a", 0);
    refused(&world.merge());
    assert_eq!(tree(&world.root), before);
    assert!(world.link().join("a").exists());
}

#[test]
fn effects_of_other_modules_are_not_ours() {
    assert_eq!(claude_failover::host::links::perform(&Effect::StartServer), None);
}
