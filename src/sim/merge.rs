//! Merging a real directory into the target of its link: nothing is lost, one side of a clash is put away.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

use super::{
    World,
    act::{MARKER, failed},
    files::Node,
};
use crate::{
    host::Wake,
    plan::{Happened, Outcome},
};

impl World {
    pub(super) fn merge_directory(&mut self, path: &Path, target: &Path, quarantine: &Path) -> Result<Outcome, Outcome> {
        let refused = |why: &str| failed(Happened::No, why);
        match self.files.node(path) {
            Some(Node::Link(found)) if found == target => return Ok(Outcome::Unchanged),
            Some(Node::Directory) => {}
            _ => return Err(refused("no directory stands where the link shall be")),
        }
        let marked = target.parent().is_some_and(|root| self.files.read(&root.join(MARKER)).is_some());
        if !marked || !matches!(self.files.node(target), Some(Node::Directory)) {
            return Err(refused("the link's target is not there"));
        }
        if self.processes.values().any(|process| process.is_alive() && path.starts_with(&process.home)) {
            return Err(refused("a process of the home runs"));
        }
        self.carry_all(path, target, quarantine);
        self.files.remove(path);
        self.files.put(path, Node::Link(target.to_owned()));
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    fn carry_all(&mut self, from: &Path, to: &Path, quarantine: &Path) {
        for name in self.files.names(from) {
            self.carry(&from.join(&name), &to.join(&name), &quarantine.join(&name));
        }
    }

    fn carry(&mut self, from: &Path, to: &Path, quarantine: &Path) {
        match (self.files.node(from).cloned(), self.files.node(to).cloned()) {
            (Some(Node::Directory), Some(Node::Directory)) => {
                self.carry_all(from, to, quarantine);
                self.files.remove(from);
            }
            (Some(here), Some(there)) if is_same(&here, &there) => drop(self.files.remove(from)),
            (Some(here), Some(there)) if wins(&here, &there) => {
                self.put_away(to, quarantine);
                self.files.rename(from, to);
            }
            (Some(_), Some(_)) => self.put_away(from, quarantine),
            _ => drop(self.files.rename(from, to)),
        }
    }

    fn put_away(&mut self, path: &Path, place: &Path) {
        if let Some(directory) = place.parent() {
            self.files.make_directories(directory);
        }
        let numbered = |number: u32| {
            let mut name = PathBuf::from(place).into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let mut free = place.to_owned();
        let mut number = 0;
        while !self.files.rename(path, &free) && number < 1_000 {
            number += 1;
            free = numbered(number);
        }
    }
}

fn is_same(here: &Node, there: &Node) -> bool {
    match (here, there) {
        (Node::File { bytes: here, .. }, Node::File { bytes: there, .. }) => here == there,
        (Node::Link(here), Node::Link(there)) => here == there,
        _ => false,
    }
}

/// Of two files the one that begins with the other stays, else the newer, else the larger, else the one there.
fn wins(here: &Node, there: &Node) -> bool {
    let (Node::File { bytes: here, modified: changed }, Node::File { bytes: there, modified }) = (here, there) else { return false };
    if here.starts_with(there) {
        return true;
    }
    !there.starts_with(here) && changed.cmp(modified).then(here.len().cmp(&there.len())) == Ordering::Greater
}
