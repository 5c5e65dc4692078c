//! What was done long ago goes into an archive.

use std::{fs, io::Read as _, os::unix::fs::symlink, process::Command};

use claude_failover::{
    model::{Month, TaskName},
    plan::{Effect, Outcome, QueueChange},
};

use crate::world::{World, name, refused, run};

fn archive(world: &World, tasks: &[&str]) -> Effect {
    let month = Month::try_from("2026-11".to_owned()).expect("a month");
    let tasks: Vec<TaskName> = tasks.iter().map(|task| name(task)).collect();
    QueueChange::Archive { month, tasks }.at(&world.project)
}

/// The names and texts in an archive, as tar(1) lists and unpacks them, and as a reader of the format does.
fn content(world: &World, archive: &str) -> Vec<(String, String)> {
    let file = fs::File::open(world.at(archive)).expect("the archive");
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("its text");
        (String::from_utf8(entry.path_bytes().to_vec()).expect("a name"), text)
    };
    let found: Vec<_> = tar.entries().expect("entries").map(read).collect();
    let listed = Command::new("tar").args(["--quoting-style=literal", "-tzf"]).arg(world.at(archive)).output().expect("tar");
    assert!(listed.status.success() && listed.stderr.is_empty(), "{listed:?}");
    let names: String = found.iter().map(|(name, _)| format!("{name}\n")).collect::<Vec<_>>().concat();
    assert_eq!(String::from_utf8(listed.stdout).expect("names"), names);
    let test = Command::new("gunzip").arg("-t").arg(world.at(archive)).status().expect("gunzip");
    assert!(test.success());
    found
}

fn pairs(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

#[test]
fn an_archive_grows_and_stays_one_archive() {
    let world = World::new();
    let long = format!("{}.md", "ü".repeat(98));
    for task in ["a.md", "b c.md", &long, "stays.md"] {
        world.put(&format!("done/{task}"), format!("text of {task}\n"));
    }
    assert_eq!(run(&archive(&world, &["a.md", "b c.md"])), Outcome::Changed);
    assert_eq!(run(&archive(&world, &["a.md", "b c.md"])), Outcome::Unchanged);
    assert_eq!(run(&archive(&world, &["gone.md", &long])), Outcome::Changed);
    assert_eq!(world.files(), ["archive/2026-11.tar.gz", "done/stays.md"]);
    let found = content(&world, "archive/2026-11.tar.gz");
    let long_text = format!("text of {long}\n");
    assert_eq!(pairs(&found), [("a.md", "text of a.md\n"), ("b c.md", "text of b c.md\n"), (long.as_str(), long_text.as_str())]);
}

#[test]
fn an_archive_of_somebody_else_is_left_alone() {
    let world = World::new();
    world.put("done/a.md", "a\n");
    fs::create_dir(world.at("archive")).expect("a directory");
    symlink(world.outside.join("precious.md"), world.at("archive/2026-11.tar.gz")).expect("a symlink");
    fs::write(world.at("archive/2026-11.2.tar.gz"), "not one of ours, and long enough to have an end").expect("a file");
    assert_eq!(run(&archive(&world, &["a.md"])), Outcome::Changed);
    assert_eq!(pairs(&content(&world, "archive/2026-11.3.tar.gz")), [("a.md", "a\n")]);
    assert_eq!(fs::read_to_string(world.outside.join("precious.md")).expect("outside"), "precious\n");
    assert!(world.read("archive/2026-11.2.tar.gz").starts_with("not one of ours"));
}

#[test]
fn an_archive_is_not_made_elsewhere_through_a_symlink() {
    let world = World::new();
    world.put("done/a.md", "a\n");
    symlink(&world.outside, world.at("archive")).expect("a symlink");
    assert!(refused(&archive(&world, &["a.md"])).contains("is a symlink"));
    fs::remove_file(world.at("archive")).expect("removed");
    fs::remove_dir_all(world.at("done")).expect("removed");
    symlink(&world.outside, world.at("done")).expect("a symlink");
    assert!(refused(&archive(&world, &["precious.md"])).contains("is a symlink"));
    assert_eq!(fs::read_dir(&world.outside).expect("outside").count(), 1);
}

#[test]
fn links_in_done_are_not_archived() {
    let world = World::new();
    symlink(world.outside.join("precious.md"), world.at("done/a.md")).expect("a symlink");
    fs::create_dir(world.at("done/b.md")).expect("a directory");
    assert_eq!(run(&archive(&world, &["a.md", "b.md"])), Outcome::Unchanged);
    assert_eq!(world.files(), ["done/a.md", "done/b.md"]);
}

#[test]
fn a_kill_in_the_middle_loses_nothing() {
    let world = World::new();
    world.put("done/a.md", "a\n");
    // Killed while it wrote: half an archive under the temporary name.
    run(&archive(&world, &["a.md"]));
    let whole = fs::read(world.at("archive/2026-11.tar.gz")).expect("the archive");
    let unfinished = world.at(".claude-failover-new");
    assert!(!unfinished.exists());
    let temporary = world.at(&format!("archive/{}", temporary_name("2026-11.tar.gz")));
    fs::write(&temporary, &whole[..whole.len() / 2]).expect("half an archive");
    // Killed between the new archive and the removal: the task is at both places.
    world.put("done/a.md", "a\n");
    world.put("done/b.md", "b\n");
    assert_eq!(run(&archive(&world, &["a.md", "b.md"])), Outcome::Changed);
    assert_eq!(world.files(), ["archive/2026-11.tar.gz"]);
    assert_eq!(pairs(&content(&world, "archive/2026-11.tar.gz")), [("a.md", "a\n"), ("a.md", "a\n"), ("b.md", "b\n")]);
    // Killed after the exchange: the former archive is left under the temporary name.
    fs::write(&temporary, &whole).expect("the former archive");
    world.put("done/c.md", "c\n");
    assert_eq!(run(&archive(&world, &["c.md"])), Outcome::Changed);
    assert_eq!(content(&world, "archive/2026-11.tar.gz").len(), 4);
    assert_eq!(world.files(), ["archive/2026-11.tar.gz"]);
}

/// As docs of the module say: the digits are of the name's SHA-256.
fn temporary_name(of: &str) -> String {
    format!(".claude-failover-new-{}", &claude_failover::model::sha256_hex(of.as_bytes())[..16])
}
