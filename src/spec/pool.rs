//! The validated, complete pool: what every other layer works with.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    AccountName, LinkName, Percent, PoolName, ProjectName, SessionName, SpecDigest, StartDigest, WindowKind, sha256_hex, shell_word,
};

/// The whole desired state of one pool, with every default filled in and every path absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `metadata.name`.
    pub pool: PoolName,
    /// In order of preference, at least one.
    pub accounts: Vec<Account>,
    /// The symlink that follows the active account, if one is wanted.
    pub active_link: Option<PathBuf>,
    /// The tree that the accounts share.
    pub shared: Shared,
    /// How usage is read.
    pub quota: Quota,
    /// How the pool changes its account.
    pub swap: SwapPolicy,
    /// How an agent is started and stopped.
    pub agent: Agent,
    /// By name, at least one.
    pub sessions: BTreeMap<SessionName, Session>,
    /// The tmux server.
    pub tmux: Tmux,
    /// The registered projects, whose queues are worked off.
    pub projects: Vec<Project>,
    /// How often checkpoints are taken, and how long they are kept.
    pub checkpoints: Checkpoints,
    /// When what is old is cleaned away.
    pub janitor: Janitor,
    /// What happens to a session that is removed from the spec: `false` releases it, `true` stops it.
    pub prune: bool,
    /// How many sessions one pass may prune without a confirmation.
    pub max_prune: usize,
}

impl Spec {
    /// The project of that name.
    pub fn project(&self, name: &ProjectName) -> Option<&Project> {
        self.projects.iter().find(|project| project.name == *name)
    }

    /// Whether a session may do the tasks of a project. A session takes tasks only if it says so. A project that names its sessions is served by
    /// those; any other by the sessions that start in it, and by those that start in no registered project.
    pub fn serves(&self, session: &Session, project: &Project) -> bool {
        if !session.dispatch {
            return false;
        }
        if !project.sessions.is_empty() {
            return project.sessions.contains(&session.name);
        }
        session.workdir == project.path || self.projects.iter().all(|other| other.path != session.workdir)
    }

    /// The account of that name.
    pub fn account(&self, name: &AccountName) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == *name)
    }

    /// The account that lives in that directory.
    pub fn account_at(&self, home: &Path) -> Option<&Account> {
        self.accounts.iter().find(|account| account.home == home)
    }

    /// SHA-256 over the canonical JSON form: field order is fixed by the types and maps are sorted.
    pub fn digest(&self) -> SpecDigest {
        SpecDigest(hex_digest(self))
    }

    /// What an agent of `session` must be restarted for when it changes.
    pub fn start_digest(&self, session: &Session) -> StartDigest {
        let mut digest = hex_digest(&(&self.agent.command, self.agent.permission_mode, &self.agent.environment, &session.workdir));
        digest.truncate(12);
        StartDigest(digest)
    }
}

/// SHA-256 in hexadecimal of a value's JSON form.
fn hex_digest(value: &impl Serialize) -> String {
    // These types hold no map with non-text keys and no failing `Serialize`, so there is nothing to report.
    sha256_hex(&serde_json::to_vec(value).unwrap_or_default())
}

/// One login, with its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The operator's name for it.
    pub name: AccountName,
    /// The directory that is given to the CLI as `CLAUDE_CONFIG_DIR`.
    pub home: PathBuf,
    /// The pool's thresholds with this account's own over them.
    pub thresholds: Thresholds,
}

impl Account {
    /// The command by which a person logs in there, for a shell.
    pub fn login_command(&self) -> String {
        login_command(&self.home)
    }
}

/// The command by which a person logs in at a home, for a shell.
pub fn login_command(home: &Path) -> String {
    format!("CLAUDE_CONFIG_DIR={} claude auth login", shell_word(&home.to_string_lossy()))
}

/// When an account is left, and how far below that a target must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thresholds {
    /// 5-hour window: at or above this the pool leaves the account.
    pub five_hour: Percent,
    /// Weekly window over all models, and each model's weekly window.
    pub weekly: Percent,
    /// A target must be this far below its own thresholds.
    pub headroom: Percent,
}

impl Thresholds {
    /// The threshold of a window. Model windows are weekly ones.
    pub const fn of(&self, window: &WindowKind) -> Percent {
        match window {
            WindowKind::FiveHour => self.five_hour,
            WindowKind::Weekly | WindowKind::Model(_) => self.weekly,
        }
    }
}

/// The shared root and its links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    /// The directory that all links point into.
    pub root: PathBuf,
    /// The names that are links in each home, in the order in which they are made.
    pub links: Vec<LinkName>,
    /// What to do with a real directory that stands where a link should be.
    pub adopt: AdoptMode,
}

/// What to do with something real where a link should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AdoptMode {
    /// Leave it and say `Conflicted`.
    #[default]
    Never,
    /// Move a directory's entries into the shared root, lose nothing, then link.
    Merge,
}

/// How usage is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Which sources are used.
    pub sources: Vec<QuotaSource>,
    /// Per account, at least three minutes.
    pub poll_every: Duration,
    /// An older reading no longer supports a decision.
    pub stale_after: Duration,
    /// The file of [`QuotaSource::File`].
    pub file: Option<PathBuf>,
    /// The command of [`QuotaSource::Command`].
    pub command: Vec<String>,
}

/// A source of usage readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum QuotaSource {
    /// The agent's status line.
    Statusline,
    /// The official CLI's usage answer.
    Cli,
    /// The usage endpoint; opt-in.
    Api,
    /// A JSON file.
    File,
    /// A command that prints the same JSON.
    Command,
}

/// How the pool changes its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapPolicy {
    /// How long busy sessions may finish their turn.
    pub drain: Duration,
    /// The same once a hard limit was hit.
    pub hard_drain: Duration,
    /// How many sessions move first and alone.
    pub canary: usize,
    /// How many sessions move at the same time after that.
    pub batch: usize,
    /// How long a session may take to be proven on its new account.
    pub prove_within: Duration,
    /// How long the pool stays on an account before it may leave it again for a soft threshold.
    pub min_dwell: Duration,
    /// Whether the pool goes back to a more preferred account.
    pub failback: Failback,
}

/// When to go back to a more preferred account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Failback {
    /// Only when the present account must be left.
    Never,
    /// Once the preferred account's blocking window has begun anew.
    #[default]
    OnReset,
}

/// How an agent is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Program and first arguments.
    pub command: Vec<String>,
    /// Always passed, since the CLI's own default changes between versions.
    pub permission_mode: PermissionMode,
    /// Whether the declared start directories are trusted in each home.
    pub trust_workdirs: bool,
    /// Extra variables of the agent's environment.
    pub environment: BTreeMap<String, String>,
    /// The operator's own status line command; empty for ours.
    pub status_line: Vec<String>,
    /// How long an agent may take to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
}

/// The CLI's permission modes (`facts/claude-code.md`, section 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    /// Edits are accepted, the rest is asked.
    #[default]
    AcceptEdits,
    /// A classifier decides.
    Auto,
    /// Nothing is asked.
    BypassPermissions,
    /// Everything is asked.
    Manual,
    /// What would be asked is refused.
    DontAsk,
    /// Read and plan only.
    Plan,
}

impl PermissionMode {
    /// The word that the CLI takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptEdits => "acceptEdits",
            Self::Auto => "auto",
            Self::BypassPermissions => "bypassPermissions",
            Self::Manual => "manual",
            Self::DontAsk => "dontAsk",
            Self::Plan => "plan",
        }
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Also the tmux session's name.
    pub name: SessionName,
    /// The start directory.
    pub workdir: PathBuf,
    /// What happens when its agent ends.
    pub restart: Restart,
    /// Whether an existing tmux session of this name without a mark is taken over.
    pub adopt: bool,
    /// Whether it takes tasks while it is idle.
    pub dispatch: bool,
}

/// A registered project: its `.agent-queue/` is worked off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// By default the last component of the path.
    pub name: ProjectName,
    /// The project's directory.
    pub path: PathBuf,
    /// Higher goes first, among projects and as the default of its tasks.
    pub priority: i32,
    /// The only sessions that serve it; empty: see [`Spec::serves`].
    pub sessions: BTreeSet<SessionName>,
    /// How many of its tasks may be under way at the same time.
    pub max_in_flight: Option<usize>,
    /// What shows that a task is done.
    pub completion: Completion,
    /// How many attempts a task gets.
    pub attempts: u32,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long a claim stands without a sign of life.
    pub lease: Duration,
}

/// What shows that a task is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Completion {
    /// The agent moves the task's file to `done/`; the prompt tells it so.
    #[default]
    File,
    /// The turn that did it ends; the file is then moved for it.
    Turn,
}

/// Checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoints {
    /// How often one is taken of a session that changed.
    pub every: Duration,
    /// How many are kept of each session; the newest is always kept.
    pub keep: usize,
    /// How long they are kept; the newest is always kept.
    pub max_age: Duration,
}

/// When what is old is cleaned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Janitor {
    /// Tasks in `done/` that are older are archived by month.
    pub archive_done_after: Duration,
    /// A marker that belongs to no attempt of ours is removed when it, and its lease, are older.
    pub stale_marker_after: Duration,
}

/// What happens when an agent ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// It is started again.
    #[default]
    Always,
    /// It is started again unless it ended with exit code 0.
    OnFailure,
    /// It stays as it is.
    Never,
}

/// The tmux server of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tmux {
    /// Its socket.
    pub socket: SocketSpec,
    /// Columns of a detached session.
    pub width: u16,
    /// Lines of a detached session.
    pub height: u16,
    /// Lines of scrollback per pane; 2,000 full lines of 200 columns are 2.3 MB (`facts/tmux.md`, section 2).
    pub history_limit: u32,
}

/// Which socket a tmux server listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SocketSpec {
    /// A name below our runtime directory.
    Name(String),
    /// A path.
    Path(PathBuf),
}
