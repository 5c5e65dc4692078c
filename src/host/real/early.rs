//! What a host that looks once reads of agents while tmux makes its list: their processes stand in the memory.
//!
//! # Guarantees
//! An agent that is found was alive, as the very process that is recorded, within the look that it was read for. Any other is left to the look
//! itself, which knows its pane by then.

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use super::{agent_files::Files, observe::within_time};
use crate::{
    host::{
        agent::{launch::HOME_VARIABLE, register::Shelf},
        process,
    },
    model::ProcessId,
};

/// Nobody waits longer than this for what is read again otherwise.
const WITHIN: Duration = Duration::from_secs(1);

/// Fewer are read faster than a thread is started.
const WORTH_A_THREAD: usize = 32;

/// An agent that lives.
#[derive(Debug)]
pub(super) struct Early {
    /// Its home, by its own environment.
    pub home: PathBuf,
    /// What its files say. It has told nobody yet where its transcript is.
    pub files: Files,
}

/// Reads these processes, on as many threads as there are processors.
pub(super) async fn read(processes: Vec<ProcessId>) -> BTreeMap<ProcessId, Early> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut parts = tokio::task::JoinSet::new();
    for part in processes.chunks(processes.len().div_ceil(threads).max(WORTH_A_THREAD)) {
        let part = part.to_vec();
        parts.spawn(within_time("agents", WITHIN, move || part.into_iter().filter_map(look).collect::<Vec<_>>()));
    }
    parts.join_all().await.into_iter().flatten().flatten().collect()
}

fn look(process: ProcessId) -> Option<(ProcessId, Early)> {
    // It answers only for the process that is meant, and only while it lives.
    let home = PathBuf::from(process::environment_value(process, HOME_VARIABLE).ok()??);
    let entry = Shelf::default().read(&home, process);
    Some((process, Early { home, files: Files { entry, tail: None } }))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::model::Pid;

    #[tokio::test]
    async fn only_who_lives_and_is_meant_is_found() {
        let root = tempfile::tempdir().expect("a directory");
        let start = || Command::new("/bin/sleep").arg("600").env(HOME_VARIABLE, root.path()).spawn().expect("sleep");
        let (mut living, mut ended) = (start(), start());
        let identity = |pid: u32| {
            let pid = Pid(i32::try_from(pid).expect("a number"));
            process::identity(pid).expect("readable").expect("alive")
        };
        let (one, other) = (identity(living.id()), identity(ended.id()));
        ended.kill().and_then(|()| ended.wait()).expect("our child");
        let another = ProcessId { started: one.started + 1, ..one };
        let found = read(vec![one, other, another]).await;
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [one], "{found:?}");
        assert_eq!(found[&one].home, root.path());
        assert!(matches!(found[&one].files.entry, Ok(None)), "it has no entry: {found:?}");
        living.kill().and_then(|()| living.wait()).expect("our child");
    }
}
