//! What the files of agents say: their register entries, and the ends of their transcripts.
//!
//! # Guarantees
//! The files of each home are read on a thread of their own, with a deadline. A home that hangs makes its own agents unknown and no others, and
//! holds one thread, not one for each look.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::observe::{FILES_WITHIN, try_kept, within_time};
use crate::{
    host::agent::{
        AgentError,
        register::Shelf,
        tail::{self, TailFacts},
    },
    model::ProcessId,
    observed::{RegisterView, Unseen},
};

/// What is kept between two looks: the registers as they were last read, by home.
#[derive(Debug)]
pub(super) struct AgentFiles {
    shelves: BTreeMap<PathBuf, Arc<Mutex<Shelf>>>,
    deadline: Duration,
}

impl Default for AgentFiles {
    fn default() -> Self {
        Self { shelves: BTreeMap::new(), deadline: FILES_WITHIN }
    }
}

/// A process, and where its transcript is.
pub(super) type Wanted = (ProcessId, Option<PathBuf>);

/// What was read of one process.
#[derive(Debug)]
pub(super) struct Files {
    /// Its register entry.
    pub entry: Result<Option<RegisterView>, AgentError>,
    /// The end of its transcript, if it could be read.
    pub tail: Option<TailFacts>,
}

impl AgentFiles {
    /// The register of a home as it was last read, for whoever else reads it.
    pub fn shelf(&mut self, home: &Path) -> Arc<Mutex<Shelf>> {
        Arc::clone(self.shelves.entry(home.to_owned()).or_default())
    }

    /// Reads the files of these processes, by the home that each works under. `everything`: these are all that there are.
    pub async fn read(&mut self, wanted: BTreeMap<PathBuf, Vec<Wanted>>, everything: bool) -> BTreeMap<ProcessId, Result<Files, Unseen>> {
        if everything {
            // One that a thread still has keeps the next one away.
            self.shelves.retain(|home, shelf| wanted.contains_key(home) || Arc::strong_count(shelf) > 1);
        }
        let mut threads = tokio::task::JoinSet::new();
        for (home, wanted) in wanted {
            let (known, deadline) = (self.shelf(&home), self.deadline);
            threads.spawn(async move {
                let processes: Vec<ProcessId> = wanted.iter().map(|(process, _)| *process).collect();
                let work = move || read(&home, wanted, everything, &known);
                match within_time("agent files", deadline, work).await.and_then(|found| found) {
                    Ok(found) => processes.into_iter().zip(found.into_iter().map(Ok)).collect::<Vec<_>>(),
                    Err(why) => processes.into_iter().map(|process| (process, Err(why.clone()))).collect(),
                }
            });
        }
        let mut all = BTreeMap::new();
        while let Some(found) = threads.join_next().await {
            all.extend(found.into_iter().flatten());
        }
        all
    }
}

fn read(home: &Path, wanted: Vec<Wanted>, everything: bool, shelf: &Mutex<Shelf>) -> Result<Vec<Files>, Unseen> {
    let failed = |error: std::io::Error| Unseen::Failed { source_name: "agent files".to_owned(), message: error.to_string() };
    let mut shelf = try_kept(shelf).map_err(failed)?;
    if everything {
        let processes: BTreeSet<ProcessId> = wanted.iter().map(|(process, _)| *process).collect();
        shelf.keep(&processes);
    }
    let files = |(process, transcript): Wanted| Files {
        entry: shelf.read(home, process),
        tail: transcript.and_then(|path| tail::tail(&path).ok().flatten()),
    };
    Ok(wanted.into_iter().map(files).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{host::agent::register, model::Pid, observed::RegisterStatus};

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid(pid), started: 7 }
    }

    /// A home with the entry of one idle process.
    fn home(root: &Path, name: &str, pid: i32) -> PathBuf {
        let home = root.join(name);
        std::fs::create_dir_all(register::directory(&home)).expect("made");
        let entry = serde_json::json!({
            "pid": pid, "procStart": "7", "sessionId": uuid::Uuid::nil(), "cwd": "/work", "version": "2.1.330", "status": "idle",
        });
        std::fs::write(register::directory(&home).join(format!("{pid}.json")), entry.to_string()).expect("written");
        home
    }

    fn status(files: Option<&Result<Files, Unseen>>) -> Option<RegisterStatus> {
        Some(files?.as_ref().ok()?.entry.as_ref().ok()?.as_ref()?.status.clone())
    }

    #[tokio::test]
    #[expect(clippy::await_holding_lock, reason = "that is what a thread does that hangs")]
    async fn a_home_that_hangs_holds_up_neither_the_others_nor_the_next_look() {
        let root = tempfile::tempdir().expect("a directory");
        let homes = [home(root.path(), "a", 1), home(root.path(), "b", 2)];
        let wanted = || homes.iter().zip([1, 2]).map(|(home, pid)| (home.clone(), vec![(process(pid), None)])).collect::<BTreeMap<_, _>>();
        let mut files = AgentFiles { deadline: Duration::from_millis(100), ..AgentFiles::default() };
        let found = files.read(wanted(), true).await;
        assert_eq!([1, 2].map(|pid| status(found.get(&process(pid)))), [Some(RegisterStatus::Idle), Some(RegisterStatus::Idle)]);

        // As by a thread that does not come back.
        let shelf = Arc::clone(&files.shelves[&homes[0]]);
        let hung = shelf.lock().expect("whole");
        for _ in 0..3 {
            let begun = Instant::now();
            let found = files.read(wanted(), false).await;
            assert!(begun.elapsed() < Duration::from_secs(30));
            assert!(matches!(found[&process(1)], Err(Unseen::Failed { .. })), "{found:?}");
            assert_eq!(status(found.get(&process(2))), Some(RegisterStatus::Idle));
        }
        drop(hung);
        assert_eq!(status(files.read(wanted(), false).await.get(&process(1))), Some(RegisterStatus::Idle), "and then it is seen again");
    }

    #[tokio::test]
    async fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
        let root = tempfile::tempdir().expect("a directory");
        let home = home(root.path(), "a", 1);
        let pipe = register::directory(&home).join("2.json");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let wanted = BTreeMap::from([(home, vec![(process(2), Some(pipe.clone())), (process(1), Some(pipe))])]);
        let found = AgentFiles::default().read(wanted, true).await;
        let odd = found[&process(2)].as_ref().expect("read");
        assert!(odd.entry.is_err() && odd.tail.is_none(), "{odd:?}");
        assert_eq!(status(found.get(&process(1))), Some(RegisterStatus::Idle));
    }
}
