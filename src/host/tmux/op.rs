//! What can be done to a session, and why it may fail.

use std::path::PathBuf;

use crate::{
    host::process::{Exec, ProcessError},
    model::{PaneId, Pid, PoolId, SessionName, TmuxSessionId},
    observed::Mark,
    plan::{Failure, Happened, Outcome},
};

/// One change of one session. Each is checked and done in one step of the server, and changes nothing when its precondition fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TmuxOp {
    /// Make a session named after the mark, with the mark on it. Unchanged when a session with this very mark exists; a session of that name
    /// with another mark, or with none, is left alone.
    Create {
        /// What to start in it.
        exec: Exec,
        /// Columns and lines.
        size: (u16, u16),
        /// The mark.
        mark: Mark,
    },
    /// Start a program in a pane of ours whose process has ended. Ids, size, scrollback and attached people stay.
    ///
    /// The session's environment becomes exactly that of `exec`: a person who respawns the pane by hand gets the same account.
    Respawn {
        /// The session.
        session_id: TmuxSessionId,
        /// The pane.
        pane: PaneId,
        /// The process that must be the pane's last one and must be gone. `None` when tmux named none.
        expect_pid: Option<Pid>,
        /// What to start.
        exec: Exec,
        /// The mark to leave. The session must carry one of the same pool and session; it is written only when it differs.
        mark: Mark,
    },
    /// Put our mark on a session that has none, and keep its pane when the process in it ends.
    Adopt {
        /// The session, which must have the name that the mark gives.
        session_id: TmuxSessionId,
        /// Its pane.
        pane: PaneId,
        /// The mark.
        mark: Mark,
    },
    /// Take our mark off and leave the session running. Unchanged when it carries none, or is gone.
    Release {
        /// The session.
        session_id: TmuxSessionId,
        /// The mark that it must carry.
        mark: Mark,
    },
    /// Type into a pane of ours whose screen is still as it was seen, and press Enter. A pane that was left in a mode is taken out of it, unless
    /// somebody is attached.
    ///
    /// The text is pasted in brackets when the program has asked for that, so that its line ends do not submit it. It must hold no control
    /// character but line ends. Pastes and Enter are one step: tmux hands them to the program in this order, with nothing in between.
    Type {
        /// The pool and the session that the mark must name.
        owner: (PoolId, SessionName),
        /// The pane.
        pane: PaneId,
        /// The process that must be in it.
        process: Pid,
        /// Where the cursor must be: it moves when anybody types.
        cursor: (u32, u32),
        /// What is pasted, one after the other; nothing when only Enter is due.
        pastes: Vec<String>,
    },
    /// Close a session in which no process lives any more. Unchanged when it is gone.
    Close {
        /// The session.
        session_id: TmuxSessionId,
        /// The mark that it must carry.
        mark: Mark,
    },
}

impl TmuxOp {
    /// What it starts.
    pub(super) const fn exec(&self) -> Option<&Exec> {
        match self {
            Self::Create { exec, .. } | Self::Respawn { exec, .. } => Some(exec),
            Self::Adopt { .. } | Self::Release { .. } | Self::Type { .. } | Self::Close { .. } => None,
        }
    }
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpError {
    #[error("{} cannot be started: {why}", path.display())]
    Program { path: PathBuf, why: &'static str },
    #[error("{} cannot be the start directory: {why}", path.display())]
    Workdir { path: PathBuf, why: &'static str },
    #[error("the file system did not say in time whether {} can be started in {}; look at its mounts", program.display(), workdir.display())]
    NoAnswerFromFiles { program: PathBuf, workdir: PathBuf },
    #[error("the {what} {text:?} cannot be handed to tmux: {why}")]
    Unspeakable { what: &'static str, text: String, why: &'static str },
    #[error("the process {pid} still lives in pane {pane}")]
    Alive { pid: Pid, pane: PaneId },
    #[error("the process {pid} still lives in the session {session}; end it, or release the session")]
    Occupied { pid: Pid, session: TmuxSessionId },
    #[error("the world has moved on: expected {expected}, found {found}")]
    Moved { expected: String, found: String },
    #[error("the session {name} exists already, {found}")]
    Exists { name: String, found: String },
    #[error("nothing was typed into pane {pane}: {why}")]
    NotTyped { pane: PaneId, why: &'static str },
    #[error("tmux refused: {0:?}")]
    Refused(String),
    #[error("tmux neither did it nor said why not")]
    Silent,
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl OpError {
    /// As an outcome of which it is known that nothing happened.
    pub(super) fn not_done(&self) -> Outcome {
        Outcome::Failed(Failure::from_error(Happened::No, self))
    }
}
