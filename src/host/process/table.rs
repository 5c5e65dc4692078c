//! Who is whose child, for all processes of the host at one instant.

use std::{collections::BTreeMap, fs};

use super::{ProcessError, look::read, stat::Stat};
use crate::model::{Pid, ProcessId};

/// All live processes by their parent. One scan serves any number of questions.
#[derive(Debug, Default)]
pub struct ProcessTable {
    children: BTreeMap<Pid, Vec<ProcessId>>,
}

impl ProcessTable {
    /// Reads `/proc` once: about 10 µs for each process of the host. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// [`ProcessError::List`] when `/proc` cannot be listed.
    pub fn scan() -> Result<Self, ProcessError> {
        let mut table = Self::default();
        for entry in fs::read_dir("/proc").map_err(ProcessError::List)? {
            let name = entry.map_err(ProcessError::List)?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).map(Pid) else { continue };
            // One unreadable process must not hide the others.
            let Ok(Some(line)) = read(pid, "stat", u64::from(u16::MAX)) else { continue };
            let Some(stat) = Stat::parse(&line).filter(|stat| !stat.has_ended()) else { continue };
            table.children.entry(stat.parent).or_default().push(ProcessId { pid, started: stat.started });
        }
        Ok(table)
    }

    /// All processes, each with its parent.
    pub fn all(&self) -> impl Iterator<Item = (Pid, ProcessId)> + '_ {
        self.children.iter().flat_map(|(parent, children)| children.iter().map(|child| (*parent, *child)))
    }

    /// The children of a process.
    pub fn children(&self, parent: Pid) -> &[ProcessId] {
        self.children.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// Children, their children, and so on. A process whose parent ended before the scan belongs to nobody here.
    pub fn descendants(&self, ancestor: Pid) -> Vec<ProcessId> {
        let everybody: usize = self.children.values().map(Vec::len).sum();
        let mut found = self.children(ancestor).to_vec();
        let mut next = 0;
        // A number that was reused during the scan could close a circle; the bound ends the walk then.
        while let Some(pid) = found.get(next).map(|process| process.pid).filter(|_| found.len() <= everybody) {
            found.extend_from_slice(self.children(pid));
            next += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid(pid), started: 1 }
    }

    fn table(pairs: &[(i32, i32)]) -> ProcessTable {
        let mut table = ProcessTable::default();
        for &(parent, child) in pairs {
            table.children.entry(Pid(parent)).or_default().push(process(child));
        }
        table
    }

    #[test]
    fn descendants_are_the_whole_tree_and_nothing_else() {
        let table = table(&[(1, 2), (2, 3), (2, 4), (4, 5), (1, 6), (6, 7)]);
        assert_eq!(table.children(Pid(2)), [process(3), process(4)]);
        assert_eq!(table.descendants(Pid(2)), [process(3), process(4), process(5)]);
        assert!(table.descendants(Pid(5)).is_empty());
    }

    #[test]
    fn a_circle_ends() {
        // Cannot be true at one instant, but a scan is not one instant.
        let found = table(&[(2, 3), (3, 2)]).descendants(Pid(2));
        assert!(found.contains(&process(3)) && found.len() <= 4);
    }

    #[test]
    fn a_scan_finds_a_child_of_ours() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a number");
        let us = Pid(i32::try_from(std::process::id()).expect("a number"));
        let found = ProcessTable::scan().expect("/proc").descendants(us);
        child.kill().expect("our child");
        child.wait().expect("our child");
        assert!(found.iter().any(|process| process.pid == Pid(pid)));
    }
}
