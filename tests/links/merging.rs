//! Merging a real directory into the shared root.

use std::{
    fs::{self, File, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
};

use claude_failover::plan::{Happened, Outcome};

use crate::world::{Node, World, contents, file, link, refused, run, tree};

/// One world on one file system, and one on two where there are two.
fn worlds() -> impl Iterator<Item = World> {
    std::iter::once(World::new()).chain(World::across())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Merges, and asserts that the link stands in the end and that nothing of `before` was lost.
fn merge(world: &World) {
    let kept = world.root.join(".quarantine");
    let before = contents(&[&world.link(), &world.target(), &kept]);
    assert_eq!(run(&world.merge()), Outcome::Changed);
    assert_eq!(tree(&world.home), [(PathBuf::from("projects"), Node::Link(world.target()))].into(), "the home holds more than the link");
    let mut after = contents(&[&world.target(), &kept]);
    let mut distinct = before;
    distinct.dedup();
    after.dedup();
    assert_eq!(after, distinct, "something was lost or made up");
    assert_eq!(run(&world.merge()), Outcome::Unchanged);
    world.assert_outside_untouched();
}

#[test]
fn entries_without_a_namesake_are_moved_as_they_are() {
    for world in worlds() {
        file(&world.link().join("-work/one.jsonl"), "one", 1);
        file(&world.link().join("two.jsonl"), "two", 2);
        fs::set_permissions(world.link().join("two.jsonl"), Permissions::from_mode(0o640)).expect("to change the mode");
        fs::create_dir(world.link().join("empty")).expect("an empty directory");
        link(&world.link().join("-work/relative"), "../two.jsonl");
        link(&world.link().join("leads-out"), &world.outside);
        link(&world.link().join("dangling"), "/nowhere");
        merge(&world);
        let expected = [
            ("-work", Node::Directory),
            ("-work/one.jsonl", Node::File(b"one".to_vec())),
            ("-work/relative", Node::Link("../two.jsonl".into())),
            ("dangling", Node::Link("/nowhere".into())),
            ("empty", Node::Directory),
            ("leads-out", Node::Link(world.outside.clone())),
            ("two.jsonl", Node::File(b"two".to_vec())),
        ];
        assert_eq!(tree(&world.target()), expected.into_iter().map(|(path, node)| (path.into(), node)).collect());
        let moved = fs::metadata(world.target().join("two.jsonl")).expect("its metadata");
        assert_eq!(moved.permissions().mode() & 0o777, 0o640);
        assert_eq!(moved.modified().expect("a time"), std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_002));
        assert!(!world.root.join(".quarantine").exists(), "a quarantine was made for nothing");
    }
}

#[test]
fn the_longer_transcript_stays_and_the_other_is_kept() {
    for world in worlds() {
        file(&world.link().join("a/grown-here"), "one\ntwo\n", 1);
        file(&world.target().join("a/grown-here"), "one\n", 9);
        file(&world.link().join("a/grown-there"), "one\n", 9);
        file(&world.target().join("a/grown-there"), "one\ntwo\n", 1);
        merge(&world);
        for name in ["a/grown-here", "a/grown-there"] {
            assert_eq!(text(&world.target().join(name)), "one\ntwo\n");
            assert_eq!(text(&world.quarantine().join(name)), "one\n");
        }
    }
}

#[test]
fn the_newer_of_two_other_files_stays_then_the_larger_then_the_one_there() {
    for world in worlds() {
        for (name, here, there) in [
            ("newer-here", ("here", 2), ("there", 1)),
            ("newer-there", ("here and large", 1), ("there", 2)),
            ("larger-here", ("here and large", 1), ("there", 1)),
            ("larger-there", ("here", 1), ("there", 1)),
            ("a-draw", ("1234", 1), ("5678", 1)),
        ] {
            file(&world.link().join(name), here.0, here.1);
            file(&world.target().join(name), there.0, there.1);
        }
        merge(&world);
        for (name, stays, kept) in [
            ("newer-here", "here", "there"),
            ("newer-there", "there", "here and large"),
            ("larger-here", "here and large", "there"),
            ("larger-there", "there", "here"),
            ("a-draw", "5678", "1234"),
        ] {
            assert_eq!(text(&world.target().join(name)), stays, "{name}");
            assert_eq!(text(&world.quarantine().join(name)), kept, "{name}");
        }
    }
}

#[test]
fn files_with_the_same_bytes_become_one() {
    for world in worlds() {
        let large = vec![b'x'; 200_000];
        for name in ["a", "b/c"] {
            file(&world.link().join(name), &large, 1);
            file(&world.target().join(name), &large, 2);
        }
        file(&world.link().join("empty"), "", 1);
        file(&world.target().join("empty"), "", 1);
        merge(&world);
        assert_eq!(tree(&world.target()).len(), 4);
        assert!(!world.root.join(".quarantine").exists(), "a twin was put into the quarantine");
    }
}

#[test]
fn two_names_of_one_file_on_both_sides_become_one() {
    let world = World::new();
    file(&world.target().join("a"), "a", 1);
    fs::create_dir(world.link()).expect("a directory");
    fs::hard_link(world.target().join("a"), world.link().join("a")).expect("a second name");
    merge(&world);
    assert_eq!(text(&world.target().join("a")), "a");
}

#[test]
fn different_things_of_one_name_are_both_kept() {
    for world in worlds() {
        file(&world.link().join("file-here"), "file", 9);
        file(&world.target().join("file-here/below"), "below", 1);
        file(&world.link().join("directory-here/below"), "below", 9);
        file(&world.target().join("directory-here"), "file", 1);
        link(&world.link().join("link-here"), "/here");
        link(&world.target().join("link-here"), "/there");
        link(&world.link().join("same-link"), "/same");
        link(&world.target().join("same-link"), "/same");
        link(&world.target().join("leads-out"), &world.outside);
        file(&world.link().join("leads-out/precious"), "not precious", 9);
        merge(&world);
        assert_eq!(text(&world.target().join("file-here/below")), "below");
        assert_eq!(text(&world.quarantine().join("file-here")), "file");
        assert_eq!(text(&world.target().join("directory-here")), "file");
        assert_eq!(text(&world.quarantine().join("directory-here/below")), "below");
        assert_eq!(fs::read_link(world.target().join("link-here")).expect("a link"), Path::new("/there"));
        assert_eq!(fs::read_link(world.quarantine().join("link-here")).expect("a link"), Path::new("/here"));
        assert_eq!(text(&world.quarantine().join("leads-out/precious")), "not precious");
        assert!(!world.quarantine().join("same-link").exists());
    }
}

#[test]
fn nothing_is_overwritten_in_the_quarantine() {
    for world in worlds() {
        for (name, here) in [("a", "from here"), ("b/c", "from here"), ("twin", "the same")] {
            file(&world.link().join(name), here, 1);
            file(&world.target().join(name), "there, and newer", 2);
        }
        file(&world.quarantine().join("a"), "kept before", 1);
        file(&world.quarantine().join("a.1"), "kept before that", 1);
        file(&world.quarantine().join("b"), "a file in the place of a directory", 1);
        file(&world.quarantine().join("twin"), "the same", 1);
        merge(&world);
        assert_eq!(text(&world.quarantine().join("a")), "kept before");
        assert_eq!(text(&world.quarantine().join("a.1")), "kept before that");
        assert_eq!(text(&world.quarantine().join("a.2")), "from here");
        assert_eq!(text(&world.quarantine().join("b")), "a file in the place of a directory");
        assert_eq!(text(&world.quarantine().join("b.1/c")), "from here");
        assert!(!world.quarantine().join("twin.1").exists());
    }
}

#[test]
fn special_files_are_moved_on_one_file_system_and_left_where_they_are_on_two() {
    let world = World::new();
    fs::create_dir(world.link()).expect("a directory");
    let _socket = UnixListener::bind(world.link().join("socket")).expect("a socket");
    merge(&world);
    assert_eq!(tree(&world.target())[Path::new("socket")], Node::Socket);

    let Some(world) = World::across() else { return };
    file(&world.link().join("a"), "a", 1);
    let _socket = UnixListener::bind(world.link().join("b")).expect("a socket");
    let Outcome::Failed(failure) = run(&world.merge()) else { panic!("a socket was carried") };
    assert_eq!(failure.happened, Happened::CannotTell);
    assert!(failure.message().contains("projects/b"), "{}", failure.message());
    assert_eq!(contents(&[&world.link(), &world.target()]), [Node::File(b"a".to_vec()), Node::Socket]);
    fs::remove_file(world.link().join("b")).expect("to remove the socket");
    merge(&world);
}

#[test]
fn a_directory_is_never_merged_into_itself_or_below_itself() {
    let world = World::new();
    file(&world.link().join("root/projects/a"), "a", 1);
    file(&world.link().join("root/b"), "b", 1);
    let marker = fs::read(world.root.join(".claude-failover")).expect("the marker");
    file(&world.link().join("root/.claude-failover"), marker, 1);
    let before = tree(&world.home);
    for target in ["root/projects", "root"] {
        let root = world.link().join(target);
        let effect = claude_failover::plan::Effect::MergeDirectory {
            path: world.link(),
            quarantine: root.parent().expect("a parent").join(".quarantine"),
            target: root,
        };
        refused(&effect);
        assert_eq!(tree(&world.home), before);
    }
}

#[test]
fn a_quarantine_outside_the_root_is_refused() {
    let world = World::new();
    file(&world.link().join("a"), "a", 1);
    for quarantine in [world.outside.join("q"), world.root.clone(), world.root.join("../outside/q"), PathBuf::from("q")] {
        refused(&claude_failover::plan::Effect::MergeDirectory { path: world.link(), target: world.target(), quarantine });
    }
    world.assert_outside_untouched();
}

#[test]
fn a_tree_that_is_too_deep_is_left_to_a_person() {
    let Some(world) = World::across() else { return };
    let deep: PathBuf = std::iter::repeat_n("d", 100).collect();
    file(&world.link().join(&deep).join("a"), "a", 1);
    let Outcome::Failed(failure) = run(&world.merge()) else { panic!("a tree of 100 levels was merged") };
    assert!(failure.message().contains("64 directories deep"), "{}", failure.message());
    assert_eq!(contents(&[&world.link(), &world.target()]), [Node::File(b"a".to_vec())]);
}

#[test]
fn what_another_account_writes_goes_on_in_the_file_that_stays_or_is_kept() {
    use std::io::Write as _;
    let world = World::new();
    file(&world.link().join("a.jsonl"), "one\ntwo\n", 1);
    file(&world.target().join("a.jsonl"), "one\n", 2);
    let mut writer = File::options().append(true).open(world.target().join("a.jsonl")).expect("the transcript");
    merge(&world);
    writer.write_all(b"three\n").expect("to write on");
    assert_eq!(text(&world.target().join("a.jsonl")), "one\ntwo\n");
    assert_eq!(text(&world.quarantine().join("a.jsonl")), "one\nthree\n");
}

#[test]
fn two_homes_are_merged_into_one_root_at_the_same_time() {
    let world = World::new();
    let other = world.outside.parent().expect("a parent").join("other");
    for (home, number) in [(world.link(), 1), (other.join("projects"), 2)] {
        for name in 0..40 {
            file(&home.join(format!("{name}")), format!("{name} of {number}"), number);
        }
    }
    let before = contents(&[&world.link(), &other.join("projects")]);
    let second = claude_failover::plan::Effect::MergeDirectory {
        path: other.join("projects"),
        target: world.target(),
        quarantine: world.quarantine(),
    };
    std::thread::scope(|scope| {
        for effect in [world.merge(), second] {
            scope.spawn(move || assert_eq!(run(&effect), Outcome::Changed));
        }
    });
    assert_eq!(contents(&[&world.target(), &world.quarantine()]), before);
    assert_eq!(text(&world.target().join("7")), "7 of 2");
}
