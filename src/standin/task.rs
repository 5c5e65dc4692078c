//! Tasks that a dispatcher gives: a prompt that carries a claim and names a file in an inbox.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::model::ClaimId;

/// The longest task whose words are read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// A task as a prompt gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    claim: ClaimId,
    path: PathBuf,
}

/// What becomes of the task at the end of its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its file is moved to `done/`.
    #[default]
    Done,
    /// Its file is moved to `failed/`.
    GivenUp,
    /// Nothing: the agent forgets to.
    Forgotten,
    /// Nothing the first time; done when it is asked again.
    ForgottenOnce,
}

impl Assignment {
    /// The task of a prompt: its claim's tag, and the path between backquotes that leads into an inbox.
    pub(super) fn of(prompt: &str) -> Option<Self> {
        let claim = ClaimId::all_in(prompt).pop()?;
        let quoted = prompt.split('`').skip(1).step_by(2);
        let path = quoted.map(Path::new).find(|path| path.parent().is_some_and(|parent| parent.ends_with("inbox")))?;
        Some(Self { claim, path: path.to_owned() })
    }

    /// The task's text, for its words; empty when it is not there.
    pub(super) fn text(&self) -> String {
        let is_small = fs::metadata(&self.path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LIMIT);
        if is_small { fs::read_to_string(&self.path).unwrap_or_default() } else { String::new() }
    }

    /// Moves the file where the ending wants it. `again`: the agent was asked about this claim before.
    pub(super) fn end(&self, ending: Ending, again: bool) {
        let directory = match ending {
            Ending::Forgotten => return,
            Ending::ForgottenOnce if !again => return,
            Ending::Done | Ending::ForgottenOnce => "done",
            Ending::GivenUp => "failed",
        };
        if let (Some(queue), Some(name)) = (self.path.parent().and_then(Path::parent), self.path.file_name()) {
            // A file that is not there any more was taken back; an agent would say so and go on.
            let _ = fs::rename(&self.path, queue.join(directory).join(name));
        }
    }

    /// Whether both are the same attempt at the same task.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.claim == other.claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_needs_its_claim_and_its_path() {
        let prompt = "Do the task in `/p/.agent-queue/inbox/a b.md` [claim 0123456789ab]. Then move it to `/p/.agent-queue/done/`.";
        let task = Assignment::of(prompt).expect("a task");
        assert_eq!((task.claim.0.as_str(), task.path.as_path()), ("0123456789ab", Path::new("/p/.agent-queue/inbox/a b.md")));
        assert_eq!(Assignment::of("Do the task in `/p/.agent-queue/inbox/a.md`"), None);
        assert_eq!(Assignment::of("[claim 0123456789ab] look at `/p/inbox`"), None);
    }

    #[test]
    fn each_ending_leaves_the_file_in_its_place() {
        for (ending, again, place) in [
            (Ending::Done, false, "done"),
            (Ending::GivenUp, false, "failed"),
            (Ending::Forgotten, true, "inbox"),
            (Ending::ForgottenOnce, false, "inbox"),
            (Ending::ForgottenOnce, true, "done"),
        ] {
            let queue = tempfile::tempdir().expect("a directory");
            for name in ["inbox", "done", "failed"] {
                fs::create_dir(queue.path().join(name)).expect("made");
            }
            let path = queue.path().join("inbox/a.md");
            fs::write(&path, "x").expect("written");
            Assignment { claim: ClaimId("0123456789ab".to_owned()), path }.end(ending, again);
            assert!(queue.path().join(place).join("a.md").exists(), "{ending:?}");
        }
    }
}
