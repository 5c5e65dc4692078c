//! What is seen of links, roots and homes.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    os::unix::net::UnixListener,
    path::PathBuf,
};

use claude_failover::{
    host::links::{HomeGround, LinkError, observe_home, observe_link, observe_root, verify},
    model::PoolId,
    observed::{LinkView, RootView},
    plan::{Effect, LinkNeed, TargetKind},
};

use crate::world::{Node, POOL, World, file, link, refused, tree};

fn seen(world: &World) -> LinkView {
    observe_link(&world.link(), TargetKind::Directory).expect("a look at the link")
}

fn link_to(target: impl Into<PathBuf>, target_ok: bool) -> LinkView {
    LinkView::Link { target: target.into(), target_ok }
}

#[test]
fn nothing_is_seen_where_nothing_stands() {
    let world = World::new();
    assert_eq!(seen(&world), LinkView::Absent);
    fs::remove_dir(&world.home).expect("to remove the home");
    assert_eq!(seen(&world), LinkView::Absent);
}

#[test]
fn a_link_is_seen_with_its_literal_target() {
    let world = World::new();
    link(&world.link(), world.target());
    assert_eq!(seen(&world), link_to(world.target(), true));
}

#[test]
fn a_target_of_the_wrong_kind_is_not_ok() {
    let world = World::new();
    let history = world.home.join("history.jsonl");
    link(&history, world.target());
    assert_eq!(observe_link(&history, TargetKind::File).expect("a look"), link_to(world.target(), false));
    file(&world.root.join("history.jsonl"), "", 0);
    link(&world.link(), world.root.join("history.jsonl"));
    assert_eq!(seen(&world), link_to(world.root.join("history.jsonl"), false));
}

#[test]
fn dangling_looping_relative_and_chained_links_are_told_apart_from_good_ones() {
    let world = World::new();
    let chained = world.home.join("chain");
    link(&chained, world.target());
    link(&world.home.join("parent-loop"), world.home.join("parent-loop"));
    for (target, ok) in [
        (world.root.join("gone"), false),
        (world.link(), false),
        (world.home.join("parent-loop/below"), false),
        (world.outside.join("precious/below-a-file"), false),
        (chained, false),
        // A relative link is read as the kernel reads it; that it is not the literal target is for the planner to see.
        (PathBuf::from("../root/projects"), true),
        (PathBuf::from("../root/gone"), false),
    ] {
        link(&world.link(), &target);
        assert_eq!(seen(&world), link_to(target, ok));
        fs::remove_file(world.link()).expect("to remove the link");
    }
}

#[test]
fn what_is_no_link_is_seen_for_what_it_is() {
    let world = World::new();
    file(&world.link().join("a"), "a", 0);
    file(&world.link().join("b/c"), "c", 0);
    assert_eq!(seen(&world), LinkView::Directory { entries: 2 });
    fs::remove_dir_all(world.link()).expect("to remove the directory");
    file(&world.link(), "a", 0);
    assert_eq!(seen(&world), LinkView::File);
    fs::remove_file(world.link()).expect("to remove the file");
    let _socket = UnixListener::bind(world.link()).expect("a socket");
    assert_eq!(seen(&world), LinkView::Other);
}

#[test]
fn what_cannot_be_looked_at_is_an_error_and_not_absent() {
    let world = World::new();
    let below_a_file = world.outside.join("precious/projects");
    assert!(matches!(observe_link(&below_a_file, TargetKind::Directory), Err(LinkError::System { .. })));
    assert!(matches!(observe_link("projects".as_ref(), TargetKind::Directory), Err(LinkError::BadPath { .. })));
    assert!(matches!(observe_home(&world.outside.join("precious")), Err(LinkError::System { .. })));
}

#[test]
fn a_look_leaves_everything_as_it_is() {
    let world = World::new();
    link(&world.home.join(".claude-failover-link-0123456789abcdef-0"), world.target());
    link(&world.link(), world.target());
    let before = tree(&world.home);
    seen(&world);
    observe_home(&world.home).expect("a look at the home");
    assert_eq!(tree(&world.home), before);
}

#[test]
fn links_are_verified_one_by_one_with_what_was_expected() {
    let world = World::new();
    let need = |name: &str, kind| LinkNeed { path: world.home.join(name), target: world.root.join(name), kind };
    let needs = [need("projects", TargetKind::Directory), need("history.jsonl", TargetKind::File)];
    link(&world.link(), world.target());
    let missing = verify(&needs).expect_err("the second link is missing");
    assert!(matches!(&missing, LinkError::Unexpected { path, found: LinkView::Absent, .. } if *path == needs[1].path), "{missing}");

    link(&needs[1].path, &needs[1].target);
    let dangling = verify(&needs).expect_err("the second target is missing");
    assert!(matches!(&dangling, LinkError::BadTarget { path, found: LinkView::Absent, .. } if *path == needs[1].target), "{dangling}");

    file(&needs[1].target, "", 0);
    verify(&needs).expect("both links are right");

    // The same directory by another text is not the same link: programs cut the hops that they see.
    fs::remove_file(world.link()).expect("to remove the link");
    link(&world.link(), "../root/projects");
    let relative = verify(&needs).expect_err("the first link is relative");
    assert!(matches!(relative, LinkError::Unexpected { .. }), "{relative}");
}

#[test]
fn a_root_is_absent_empty_unmarked_or_marked() {
    let world = World::new();
    let root = world.outside.join("root");
    assert_eq!(observe_root(&root).expect("a look"), RootView::Absent);
    assert_eq!(observe_root(&root.join("below")).expect("a look"), RootView::Absent);
    fs::create_dir(&root).expect("a root");
    assert_eq!(observe_root(&root).expect("a look"), RootView::Empty);
    file(&root.join("a"), "", 0);
    assert_eq!(observe_root(&root).expect("a look"), RootView::Unmarked);
    assert_eq!(observe_root(&world.root).expect("a look"), RootView::Marked(POOL));
}

#[test]
fn a_root_that_cannot_be_understood_is_an_error_and_not_empty() {
    let world = World::new();
    let marker = world.root.join(".claude-failover");
    for text in ["", "{}", "{\"pool\":\"x\",\"made\":\"2026-01-01T00:00:00Z\"}"] {
        fs::write(&marker, text).expect("a broken marker");
        assert!(matches!(observe_root(&world.root), Err(LinkError::BadMarker { .. })), "{text:?}");
    }
    fs::remove_file(&marker).expect("to remove the marker");
    fs::create_dir(&marker).expect("a directory in its place");
    assert!(observe_root(&world.root).is_err());
    let dangling = world.home.join("root");
    link(&dangling, world.outside.join("share-that-is-not-mounted"));
    assert!(matches!(observe_root(&dangling), Err(LinkError::BadTarget { .. })));
    assert!(observe_root(&world.outside.join("precious")).is_err());
}

#[test]
fn a_pipe_in_the_place_of_the_marker_does_not_hold_us_up() {
    let world = World::new();
    let marker = world.root.join(".claude-failover");
    fs::remove_file(&marker).expect("to remove the marker");
    rustix::fs::mknodat(rustix::fs::CWD, &marker, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    assert!(observe_root(&world.root).is_err());
}

#[test]
fn a_marker_says_whose_root_it_is_and_since_when() {
    let world = World::new();
    let Some(Node::File(text)) = tree(&world.root).remove(&PathBuf::from(".claude-failover")) else { panic!("no marker") };
    let marker: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(marker["pool"], POOL.to_string());
    assert!(marker["made"].as_str().is_some_and(|made| made.parse::<jiff::Timestamp>().is_ok()));
}

#[test]
fn a_home_is_known_by_device_and_inode_whatever_its_path() {
    let world = World::new();
    let alias = world.outside.parent().expect("a parent").join("alias");
    link(&alias, &world.home);
    let metadata = fs::metadata(&world.home).expect("its metadata");
    let home = observe_home(&world.home).expect("a look");
    assert_eq!(home, HomeGround { exists: true, identity: Some((metadata.dev(), metadata.ino())), unsafe_mode: None });
    assert_eq!(observe_home(&alias).expect("a look"), home);
    assert_eq!(observe_home(&world.home.join("../home/.")).expect("a look"), home);
    assert_ne!(observe_home(&world.outside).expect("a look").identity, home.identity);
    assert_eq!(observe_home(&world.home.join("gone")).expect("a look"), HomeGround::default());
}

#[test]
fn a_home_where_others_may_write_is_unsafe() {
    let world = World::new();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&world.home, Permissions::from_mode(mode)).expect("to change the mode");
        let why = observe_home(&world.home).expect("a look").unsafe_mode.expect("a reason");
        assert!(why.contains(&format!("{mode:04o}")), "{why}");
    }
    fs::set_permissions(&world.home, Permissions::from_mode(0o755)).expect("to change the mode");
    assert_eq!(observe_home(&world.home).expect("a look").unsafe_mode, None);
}

#[test]
fn a_home_of_another_user_is_unsafe() {
    let world = World::new();
    if chown(&world.home, Some(4711), None).is_err() {
        return; // Only root can give a directory away.
    }
    let why = observe_home(&world.home).expect("a look").unsafe_mode.expect("a reason");
    assert!(why.contains("4711"), "{why}");
}

#[test]
fn a_foreign_or_filled_root_is_never_marked() {
    let world = World::new();
    let other = PoolId(uuid::Uuid::from_u128(1));
    let before = tree(&world.root);
    refused(&Effect::InitSharedRoot { root: world.root.clone(), pool: other });
    assert_eq!(tree(&world.root), before);
    refused(&Effect::InitSharedRoot { root: world.outside.clone(), pool: POOL });
    refused(&Effect::InitSharedRoot { root: world.outside.join("precious"), pool: POOL });
    refused(&Effect::InitSharedRoot { root: world.home.join("missing/root"), pool: POOL });
    assert!(!world.home.join("missing").exists());
    world.assert_outside_untouched();
}
