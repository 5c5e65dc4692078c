//! Random trees on both sides: whatever they hold, it is in the target or in the quarantine afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use claude_failover::plan::Outcome;
use proptest::{collection::vec, prelude::*};

use crate::world::{Node, World, contents, file, link, run, tree};

/// One entry that is wanted in a tree.
#[derive(Debug, Clone)]
struct Wanted {
    path: Vec<u8>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// Bytes of a small alphabet, so that twins and beginnings are common, and an age.
    File(Vec<u8>, u64),
    Link(u8),
    Directory,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let what = prop_oneof![
        6 => (vec(0_u8..2, 0..4), 0_u64..3).prop_map(|(bytes, age)| What::File(bytes, age)),
        1 => (0_u8..2).prop_map(What::Link),
        1 => Just(What::Directory),
    ];
    (vec(0_u8..3, 1..4), what).prop_map(|(path, what)| Wanted { path, what })
}

/// Makes what fits: an entry below a file, or in the place of another, is left out.
fn plant(top: &Path, wanted: &[Wanted]) {
    fs::create_dir_all(top).expect("a directory");
    for Wanted { path, what } in wanted {
        let path = path.iter().fold(top.to_owned(), |path, part| path.join(part.to_string()));
        let parent = path.parent().expect("a parent");
        let real = |path: &Path| fs::symlink_metadata(path).map_or(!path.exists(), |metadata| metadata.is_dir());
        let below = parent.strip_prefix(top).expect("below the top");
        let fits = below.ancestors().all(|part| real(&top.join(part))) && fs::symlink_metadata(&path).is_err();
        if fits {
            match what {
                What::File(bytes, age) => file(&path, bytes, *age),
                What::Link(number) => link(&path, format!("/nowhere/{number}")),
                What::Directory => fs::create_dir_all(&path).expect("a directory"),
            }
        }
    }
}

/// What must be there afterwards, each as often as it is given: everything on both sides, but one of two twins of one name.
fn expected(here: &BTreeMap<PathBuf, Node>, there: &BTreeMap<PathBuf, Node>) -> Vec<Node> {
    let is_twin = |(path, node): &(&PathBuf, &Node)| there.get(*path) == Some(*node);
    let from_here = here.iter().filter(|entry| !is_twin(entry)).map(|(_, node)| node);
    let mut expected: Vec<Node> = from_here.chain(there.values()).filter(|node| **node != Node::Directory).cloned().collect();
    expected.sort();
    expected
}

fn merge_keeps_everything(world: &World, here: &[Wanted], there: &[Wanted]) {
    plant(&world.link(), here);
    plant(&world.target(), there);
    let (here, there) = (tree(&world.link()), tree(&world.target()));
    assert_eq!(run(&world.merge()), Outcome::Changed);
    assert_eq!(contents(&[&world.target(), &world.root.join(".quarantine")]), expected(&here, &there));
    assert_eq!(tree(&world.home), BTreeMap::from([(PathBuf::from("projects"), Node::Link(world.target()))]));
    // Whatever stood there still has its name, whoever won it.
    let names: BTreeSet<PathBuf> = tree(&world.target()).into_keys().collect();
    assert!(there.keys().all(|path| names.contains(path)), "a name vanished from the target");
    world.assert_outside_untouched();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_keeps_everything(here in vec(wanted(), 0..12), there in vec(wanted(), 0..12)) {
        merge_keeps_everything(&World::new(), &here, &there);
    }

    #[test]
    fn a_merge_across_file_systems_keeps_everything(here in vec(wanted(), 0..12), there in vec(wanted(), 0..12)) {
        if let Some(world) = World::across() {
            merge_keeps_everything(&world, &here, &there);
        }
    }
}
