//! The facts themselves, one type for each thing that is looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CheckpointsView, PromptView, QueueView, ScreenView, Seen, Shown};
use crate::model::{
    AccountName, AccountUsage, Activity, ConversationId, LinkName, Now, PaneId, Pid, PoolId, ProcessId, ProjectName, SessionName,
    StartDigest, TmuxSessionId,
};

/// All that is known of the host at one instant. The parts are read side by side and have their own ages.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The tmux server and its panes.
    pub tmux: Seen<TmuxView>,
    /// The agent of each session that has a pane, by session name.
    pub agents: BTreeMap<SessionName, Seen<AgentView>>,
    /// The newest transcript facts, by session, for the sessions that were asked for.
    pub transcripts: BTreeMap<SessionName, Seen<TranscriptView>>,
    /// Each account's home.
    pub homes: BTreeMap<AccountName, Seen<HomeView>>,
    /// Each shared link of each home.
    pub links: BTreeMap<(AccountName, LinkName), Seen<LinkView>>,
    /// The shared root.
    pub shared_root: Seen<RootView>,
    /// What stands below the shared root under each shared name.
    pub targets: BTreeMap<LinkName, Seen<TargetView>>,
    /// The active link; known and [`LinkView::Absent`] when it does not exist.
    pub active_link: Seen<LinkView>,
    /// Each project's queue.
    pub queues: BTreeMap<ProjectName, Seen<QueueView>>,
    /// The checkpoints of each session that has some, and of each declared one that nothing is remembered of.
    pub checkpoints: BTreeMap<SessionName, Seen<CheckpointsView>>,
    /// The newest readings of each account.
    pub usage: BTreeMap<AccountName, AccountUsage>,
}

/// The tmux server as one `list-panes -a` showed it. Believed only when the answer carried its marker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmuxView {
    /// The server, or `None` when none listens on the socket.
    pub server: Option<ServerView>,
    /// The first pane of each session, by session name. Our own anchor session is not among them.
    pub panes: BTreeMap<String, PaneView>,
}

/// A running tmux server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// Its process.
    pub pid: Pid,
    /// Its version as it says, such as `3.3a`.
    pub version: String,
    /// Its soft limit of open descriptors, if it could be read: it bounds the number of panes.
    pub descriptor_limit: Option<u64>,
}

/// The first pane of a tmux session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaneView {
    /// The tmux session's id.
    pub session_id: TmuxSessionId,
    /// The pane's id.
    pub pane: PaneId,
    /// The pane's process as tmux names it; stale once the pane is dead.
    pub pid: Option<Pid>,
    /// Set once tmux has seen the process end.
    pub dead: Option<Death>,
    /// Our mark, if there is one that names its bearer.
    pub mark: Option<Mark>,
    /// How many clients are attached.
    pub attached: u32,
}

impl PaneView {
    /// Whether the pool made it, or took it over, for that session.
    pub fn is_of(&self, pool: PoolId, session: &SessionName) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.pool == pool && mark.session == *session)
    }
}

/// How a process ended. Both empty means: it ended and nobody knows how (`facts/tmux.md`, finding 4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// The user option by which we know a tmux session as ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The state directory that made it.
    pub pool: PoolId,
    /// The session that it names.
    pub session: SessionName,
    /// What the agent was started with.
    pub digest: StartDigest,
}

/// The agent process of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// The pane's process, with its start time; `None` when no process of that number lives, or when it is a zombie.
    pub process: Option<ProcessId>,
    /// How it ended, when it has and the kernel or tmux says.
    pub death: Option<Death>,
    /// `CLAUDE_CONFIG_DIR` in the process's own environment (`/proc/PID/environ`): the truth about its account.
    pub home: Option<PathBuf>,
    /// The CLI's own register entry, if it belongs to this very process.
    pub register: Option<RegisterView>,
    /// What the start hook of this very process reported.
    pub started: Option<StartReport>,
    /// Activity, combined from all sources: what decisions rest on. What a screen alone says never makes it one that may be disturbed.
    pub activity: Activity,
    /// Since when the activity is so, if the source says.
    pub activity_since: Option<Timestamp>,
    /// Tokens in the conversation's context, if known.
    pub context_tokens: Option<u64>,
    /// The claims that its newest prompts carried, as the prompt hook and the transcript say, newest last.
    pub prompts: Vec<PromptView>,
    /// When a turn of this very process last ended, as its hook said.
    pub turn_ended_at: Option<Timestamp>,
    /// When a limit or an error of the API last cut off a turn of this very process, as its hook or its transcript says.
    #[serde(default)]
    pub turn_cut_off_at: Option<Timestamp>,
    /// What each source says of its activity. The first one decided; the others are kept so that a disagreement can be seen.
    pub evidence: Vec<ActivitySign>,
    /// What its screen shows. Captured only when it neither works nor is idle.
    pub screen: Option<ScreenView>,
}

impl AgentView {
    /// What it does by the word of the best source that has one, for people. A screen that shows nothing but the input box is such a word,
    /// and too weak to decide on.
    pub fn told_activity(&self) -> Activity {
        self.evidence.first().map_or(self.activity, |sign| sign.activity)
    }

    /// What the agent needs a person for, and what its screen asks, in words.
    pub fn asks(&self) -> Option<(Need, String)> {
        self.process?;
        let shows = self.screen.as_ref().map(|screen| &screen.shows);
        let need = match (self.activity, self.told_activity(), shows) {
            (Activity::NeedsInput, ..) | (_, Activity::LimitHit, _) if matches!(shows, Some(Shown::LimitMenu { .. })) => Need::LimitMenu,
            (_, Activity::LoggedOut, _) => Need::Login,
            (Activity::NeedsInput, ..) => Need::Answer,
            _ => return None,
        };
        let words = self.screen.as_ref().map(ScreenView::words);
        let words = match (need, shows) {
            (Need::Login, shows) if !matches!(shows, Some(Shown::Login | Shown::LoginExpired | Shown::NotLoggedIn)) => {
                Some("its login is no longer accepted".to_owned())
            }
            _ => words,
        };
        let waits_for = self.register.as_ref().and_then(|register| register.waiting_for.as_deref());
        Some((need, [waits_for, words.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ")))
    }
}

/// What an agent needs a person for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// To answer a dialog or a question.
    Answer,
    /// To choose in the menu behind a usage limit, unless the pool leaves the account before.
    LimitMenu,
    /// To log in, unless the pool leaves the account before.
    Login,
}

impl Need {
    /// The word for it in conditions.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Answer => "WaitsForPerson",
            Self::LimitMenu => "LimitMenu",
            Self::Login => "LoginNeeded",
        }
    }
}

/// What one source says of an agent's activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivitySign {
    /// Which source.
    pub source: ActivitySource,
    /// What that would make the agent do, were it alone.
    pub activity: Activity,
    /// In the source's own words.
    pub says: String,
    /// When it said so, or since when it says so; `None` when it does not tell.
    pub at: Option<Timestamp>,
}

/// Where knowledge of an agent's activity comes from, the best source first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActivitySource {
    /// The CLI's register of live processes.
    Register,
    /// The CLI's word of a limit or a refused login, in the transcript.
    Transcript,
    /// The hooks that it ran.
    Hook,
    /// `.agent-queue/status.json` of its project.
    StatusFile,
    /// What its screen shows.
    Pane,
}

impl fmt::Display for ActivitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Register => "register",
            Self::Transcript => "transcript",
            Self::Hook => "hook",
            Self::StatusFile => "status file",
            Self::Pane => "pane",
        })
    }
}

/// What a start hook said: the CLI's own word on which conversation a process opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReport {
    /// The process.
    pub pid: Pid,
    /// The conversation.
    pub conversation: ConversationId,
    /// `startup`, `resume`, `clear`, `compact` or `fork`.
    pub source: String,
}

/// The CLI's register of live processes, `<home>/sessions/<pid>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterView {
    /// The conversation that the process has open.
    pub conversation: ConversationId,
    /// What it does.
    pub status: RegisterStatus,
    /// What it waits for, when it waits.
    pub waiting_for: Option<String>,
    /// Its start directory.
    pub cwd: PathBuf,
    /// The CLI's version.
    pub version: String,
    /// When the status last changed.
    pub status_since: Option<Timestamp>,
}

/// The register's `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegisterStatus {
    /// Nothing runs; also shown while waiting for a reset, and after the login died.
    Idle,
    /// A turn runs.
    Busy,
    /// A dialog is open.
    Waiting,
    /// A background shell runs.
    Shell,
    /// A word of a newer version.
    Other(String),
}

/// What identifies a transcript and the bytes that it must keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptMark {
    /// The resolved path.
    pub path: PathBuf,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes when the mark was taken.
    pub length: u64,
    /// SHA-256, in hexadecimal, over the last 64 KiB before `length`.
    pub tail: String,
}

/// A transcript as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptView {
    /// `None` when the conversation has no transcript (nothing was ever said in it).
    pub mark: Option<TranscriptMark>,
    /// Whether the bytes of the mark that was asked about are still there, in the same file; `None` if none was asked about.
    pub keeps: Option<bool>,
}

/// An account's home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeView {
    /// Whether the directory exists.
    pub exists: bool,
    /// Device and inode: two accounts must never share one.
    pub identity: Option<(u64, u64)>,
    /// Whether somebody else may write there, or it belongs to another user.
    pub unsafe_mode: Option<String>,
    /// Whether onboarding is marked as done.
    pub onboarded: bool,
    /// Those of the declared start directories that the home trusts, by the CLI's own rule.
    pub trusted: BTreeSet<PathBuf>,
    /// Whether the bypass-permissions disclaimer was accepted.
    pub bypass_accepted: bool,
    /// The login.
    pub login: LoginView,
}

/// What is known of a login. Only its presence and its dates are looked at, never a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginView {
    /// Not known.
    #[default]
    Unknown,
    /// There is none, or the CLI has given it up.
    Missing,
    /// It works.
    Valid {
        /// When it ends, if the CLI says.
        expires_at: Option<Timestamp>,
    },
    /// The CLI says that it no longer works.
    Dead {
        /// In the CLI's words.
        reason: String,
    },
}

/// What stands where a link should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkView {
    /// Nothing.
    Absent,
    /// A symlink.
    Link {
        /// Its literal target.
        target: PathBuf,
        /// Whether the target exists and is of the right kind (directory, or file for a file link).
        target_ok: bool,
    },
    /// A real directory.
    Directory {
        /// How many entries it has.
        entries: usize,
    },
    /// A regular file.
    File,
    /// Something else: a socket, a device.
    Other,
}

/// What stands where a link shall point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetView {
    /// Nothing.
    Absent,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// Something else, or a symlink.
    Other,
}

/// The shared root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootView {
    /// Nothing stands there.
    Absent,
    /// An empty directory without a marker: it may be an unmounted share.
    Empty,
    /// A directory with content, but without a marker.
    Unmarked,
    /// A directory whose marker names a pool.
    Marked(PoolId),
}

impl Snapshot {
    /// The agent's activity as known, [`Activity::Unknown`] otherwise.
    pub fn activity(&self, session: &SessionName) -> Activity {
        self.agents.get(session).and_then(Seen::value).map_or(Activity::Unknown, |agent| agent.activity)
    }

    /// When the tmux server was last listed, if it is known.
    pub const fn tmux_at(&self) -> Option<Now> {
        match &self.tmux {
            Seen::Known(fact) => Some(fact.at),
            Seen::Unknown(_) => None,
        }
    }
}
