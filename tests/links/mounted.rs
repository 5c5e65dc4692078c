//! Mounts: shares that are away, full or read-only file systems, one directory seen twice. Each test runs in a mount namespace of its own,
//! so that nothing is ever mounted where others could see it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use claude_failover::{
    host::links::{LinkError, observe_home, observe_link, observe_root, verify},
    observed::{LinkView, RootView},
    plan::{Effect, Happened, LinkNeed, Outcome, TargetKind},
};

use crate::{
    again::{APART, in_own_namespace},
    world::{Node, World, contents, file, link, refused, run, tree},
};

/// Mounts something, and only in a namespace of our own.
fn mount(words: &[&str], at: &Path) {
    assert!(std::env::var_os(APART).is_some(), "nothing is mounted where others can see it");
    fs::create_dir_all(at).expect("a mount point");
    let status = Command::new("mount").args(words).arg(at).status().expect("mount");
    assert!(status.success(), "mount {words:?} {} failed", at.display());
}

fn bind(from: &Path, at: &Path) {
    mount(&["--bind", from.to_str().expect("UTF-8")], at);
}

fn unmount(at: &Path) {
    assert!(Command::new("umount").arg(at).status().expect("umount").success());
}

#[test]
fn a_home_behind_a_bind_mount_is_the_same_home() {
    in_own_namespace("a_home_behind_a_bind_mount");
}

#[test]
fn a_share_that_is_not_mounted_is_not_an_empty_root_of_ours() {
    in_own_namespace("a_share_that_is_not_mounted");
}

#[test]
fn a_read_only_home_is_unsafe_and_left_alone() {
    in_own_namespace("a_read_only_home");
}

#[test]
fn a_full_file_system_loses_nothing() {
    in_own_namespace("a_full_file_system");
}

#[test]
fn a_directory_seen_through_two_mounts_is_not_merged_into_itself() {
    in_own_namespace("a_directory_seen_through_two_mounts");
}

#[test]
fn a_mount_point_in_a_home_is_left_to_a_person() {
    in_own_namespace("a_mount_point_in_a_home");
}

/// What runs in the namespace.
mod inside {
    use super::*;

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_home_behind_a_bind_mount() {
        let world = World::new();
        let alias = world.outside.join("alias");
        bind(&world.home, &alias);
        let identity = observe_home(&world.home).expect("a look").identity;
        assert!(identity.is_some());
        assert_eq!(observe_home(&alias).expect("a look").identity, identity);
        unmount(&alias);
        assert_ne!(observe_home(&alias).expect("a look").identity, identity);
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_share_that_is_not_mounted() {
        let world = World::new();
        let root = world.outside.join("share");
        mount(&["-t", "tmpfs", "none"], &root);
        let pool = crate::world::POOL;
        assert_eq!(run(&Effect::InitSharedRoot { root: root.clone(), pool }), Outcome::Changed);
        let target = root.join("projects");
        let create = Effect::CreateTarget { root: root.clone(), target: target.clone(), kind: TargetKind::Directory };
        assert_eq!(run(&create), Outcome::Changed);
        assert_eq!(run(&Effect::CreateLink { path: world.link(), target: target.clone() }), Outcome::Changed);
        let needs = [LinkNeed { path: world.link(), target: target.clone(), kind: TargetKind::Directory }];
        verify(&needs).expect("the share is mounted");

        unmount(&root);
        assert_eq!(observe_root(&root).expect("a look"), RootView::Empty);
        assert!(matches!(verify(&needs), Err(LinkError::BadTarget { .. })));
        let seen = observe_link(&world.link(), TargetKind::Directory).expect("a look");
        assert_eq!(seen, LinkView::Link { target: target.clone(), target_ok: false });
        refused(&create);
        fs::remove_file(world.link()).expect("to remove the link");
        file(&world.link().join("a"), "a", 1);
        refused(&Effect::MergeDirectory { path: world.link(), target, quarantine: root.join(".quarantine/then") });
        assert_eq!(tree(&root).len(), 0, "something was made below the mount point");
        assert!(world.link().join("a").exists());
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_read_only_home() {
        let world = World::new();
        link(&world.home.join("other"), &world.outside);
        file(&world.home.join("directory/a"), "a", 1);
        let before = tree(&world.home);
        bind(&world.home, &world.home);
        mount(&["-o", "remount,ro,bind"], &world.home);
        let why = observe_home(&world.home).expect("a look").unsafe_mode.expect("a reason");
        assert!(why.contains("read-only"), "{why}");
        let path = world.home.join("other");
        refused(&world.create_link());
        refused(&Effect::RepointLink { path, expect: world.outside.clone(), target: world.target() });
        let path = world.home.join("directory");
        let failed = run(&Effect::MergeDirectory { path, target: world.target(), quarantine: world.quarantine() });
        assert!(failed.failure().is_some());
        assert_eq!(tree(&world.home), before);
        unmount(&world.home);
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_full_file_system() {
        let world = World::new();
        let root = world.outside.join("share");
        mount(&["-t", "tmpfs", "-o", "size=4m", "none"], &root);
        let target = root.join("projects");
        assert_eq!(run(&Effect::InitSharedRoot { root: root.clone(), pool: crate::world::POOL }), Outcome::Changed);
        fs::create_dir(&target).expect("the target");
        let filler = root.join("filler");
        file(&filler, vec![0; 7 << 19], 0);
        file(&world.link().join("a-small"), "small", 1);
        file(&world.link().join("b-large"), vec![7; 1 << 20], 1);
        file(&world.link().join("c-grown"), "one\ntwo\n", 1);
        file(&target.join("c-grown"), "one\n", 2);
        let before = contents(&[&world.link(), &target]);

        let merge = Effect::MergeDirectory { path: world.link(), target: target.clone(), quarantine: root.join(".quarantine/then") };
        let Outcome::Failed(failure) = run(&merge) else { panic!("a megabyte fitted into half a megabyte") };
        assert_eq!(failure.happened, Happened::CannotTell);
        assert!(failure.message().contains("No space left"), "{}", failure.message());
        assert_eq!(contents(&[&world.link(), &target]), before);

        fs::remove_file(filler).expect("to make room");
        assert_eq!(run(&merge), Outcome::Changed);
        assert_eq!(contents(&[&target, &root.join(".quarantine")]), before);
        unmount(&root);
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_directory_seen_through_two_mounts() {
        let world = World::new();
        file(&world.target().join("below/a"), "a", 1);
        let before = tree(&world.root);

        // The whole target, seen in the home.
        bind(&world.target(), &world.link());
        let failed = run(&world.merge());
        assert!(failed.failure().is_some(), "{failed:?}");
        assert_eq!(tree(&world.root), before);
        unmount(&world.link());

        // A part of it, seen below a real directory of the home.
        bind(&world.target().join("below"), &world.link().join("below"));
        let failed = run(&world.merge());
        assert!(failed.failure().is_some(), "{failed:?}");
        assert_eq!(tree(&world.root), before);
        unmount(&world.link().join("below"));

        // The home's directory, seen as the target.
        file(&world.link().join("b"), "b", 1);
        let before = tree(&world.home);
        bind(&world.link(), &world.target());
        let failure = refused(&world.merge());
        assert!(failure.message().contains("one directory"), "{}", failure.message());
        assert_eq!(tree(&world.home), before);
        unmount(&world.target());
    }

    #[test]
    #[ignore = "it is run by other tests, in a mount namespace of its own"]
    fn a_mount_point_in_a_home() {
        let world = World::new();
        let mounted: PathBuf = world.link().join("mounted");
        mount(&["-t", "tmpfs", "none"], &mounted);
        file(&mounted.join("a"), "a", 1);
        for there in [false, true] {
            if there {
                file(&world.target().join("mounted/b"), "b", 1);
            }
            let failed = run(&world.merge());
            assert!(failed.failure().is_some(), "{failed:?}");
            assert_eq!(tree(&mounted), [(PathBuf::from("a"), Node::File(b"a".to_vec()))].into());
        }
        unmount(&mounted);
        assert_eq!(run(&world.merge()), Outcome::Changed);
    }
}
