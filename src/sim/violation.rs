//! What must never happen, whatever goes wrong. The world notices it by itself.

use std::path::{Path, PathBuf};

use super::{World, files::Node};
use crate::{
    model::{ConversationId, Monotonic, Pid, TaskName},
    plan::{LinkNeed, TargetKind},
};

/// A broken promise, with when and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// We started an agent while another one of ours lived in the same session or had the same conversation open.
    SecondAgent {
        /// When.
        at: Monotonic,
        /// The session.
        session: String,
        /// The conversation of the new one.
        conversation: ConversationId,
        /// Those that lived already.
        others: Vec<Pid>,
    },
    /// We started an agent under a home with a shared link that was not right.
    StartedOverBadLink {
        /// When.
        at: Monotonic,
        /// The session.
        session: String,
        /// The link.
        link: PathBuf,
    },
    /// We began a conversation anew that had a transcript.
    Blanked {
        /// When.
        at: Monotonic,
        /// The conversation.
        conversation: ConversationId,
        /// Its transcript.
        transcript: PathBuf,
    },
    /// We pointed the active link at a home whose shared links were not right, and it was not the way back.
    FlippedOverBadLink {
        /// When.
        at: Monotonic,
        /// The home.
        home: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// We touched something of somebody else.
    ForeignTouched {
        /// When.
        at: Monotonic,
        /// What, in words.
        what: String,
    },
    /// Bytes that an agent or a person wrote are nowhere any more.
    BytesLost {
        /// How the content began.
        beginning: String,
        /// How long it was.
        length: usize,
    },
    /// A task was given to an agent while another conversation was at it.
    TaskTwice {
        /// When.
        at: Monotonic,
        /// The task.
        task: TaskName,
        /// The conversation that got it.
        conversation: ConversationId,
        /// Those that had it.
        others: Vec<ConversationId>,
    },
    /// We marked a task as done that no agent has done.
    FalselyDone {
        /// When.
        at: Monotonic,
        /// The task.
        task: TaskName,
    },
    /// A task is in none of the places of its queue any more.
    TaskLost {
        /// The task.
        task: TaskName,
    },
}

impl World {
    /// Everything that must not have happened and did.
    pub fn violations(&self) -> Vec<Violation> {
        let mut all = self.noticed.clone();
        all.extend(self.lost_bytes());
        all.extend(self.lost_tasks());
        all
    }

    /// Content is kept when some file begins with it: files may move, and transcripts grow.
    fn lost_bytes(&self) -> impl Iterator<Item = Violation> {
        let lost = self.ledger.values().filter(|content| !self.files.all().any(|(_, _, bytes)| bytes.starts_with(content)));
        lost.map(|content| Violation::BytesLost {
            beginning: String::from_utf8_lossy(content).chars().take(40).collect(),
            length: content.len(),
        })
    }

    /// The first of the shared links of a home that is not exactly right, by the spec in force.
    pub(super) fn bad_link(&self, home: &Path) -> Option<PathBuf> {
        let spec = self.spec.as_ref()?;
        let account = spec.accounts.iter().find(|account| account.home == home)?;
        crate::plan::link_needs(spec, account).into_iter().find(|need| !self.is_right(need)).map(|need| need.path)
    }

    /// Whether a link is exactly right: its literal target, and the kind of what it leads to.
    pub(super) fn is_right(&self, need: &LinkNeed) -> bool {
        let literal = matches!(self.files.node(&need.path), Some(Node::Link(target)) if *target == need.target);
        literal && self.is_of_kind(&need.target, need.kind)
    }

    /// Whether something of that kind stands at the path, with links on the way followed and none at its end.
    pub(super) fn is_of_kind(&self, path: &Path, kind: TargetKind) -> bool {
        matches!(
            (self.files.node(path), kind),
            (Some(Node::Directory), TargetKind::Directory) | (Some(Node::File { .. }), TargetKind::File)
        )
    }
}
