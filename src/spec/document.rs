//! The spec as it is written: plain texts and numbers, every default in one place.
//!
//! The JSON Schema and the field reference are made from these types, so the comments here are what an operator reads. No `flatten`,
//! `untagged` or internally tagged enum: they lose the place of a value.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pool::{AdoptMode, Completion, Failback, PermissionMode, QuotaSource, Restart};

/// A pool of agent sessions, and the accounts that they may run under.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(title = "claude-failover pool", extend("required" = ["apiVersion", "kind", "metadata", "spec"]))]
pub(super) struct Document {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// What the document describes.
    pub kind: Kind,
    /// What the pool is called.
    pub metadata: Metadata,
    /// What the pool shall be.
    pub spec: PoolSpec,
}

/// The versions of the format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(super) enum ApiVersion {
    /// The first version.
    #[default]
    #[serde(rename = "claude-failover/v1")]
    V1,
}

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub(super) enum Kind {
    /// One pool.
    #[default]
    Pool,
}

/// What the pool is called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub(super) struct Metadata {
    /// The pool's name; also the default name of its tmux socket and of its state directory. A to Z, a to z, 0 to 9, `_` and `-`, at most
    /// 63, the first a letter or digit.
    #[schemars(extend("x-kind" = "name", "pattern" = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))]
    pub name: String,
}

/// What the pool shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["accounts", "sessions"]))]
pub(super) struct PoolSpec {
    /// The accounts, in order of preference.
    #[schemars(length(min = 1, max = 100))]
    pub accounts: Vec<Account>,
    /// A symlink that follows the active account, for people and tools outside the pool; often `~/.claude`. None by default.
    #[schemars(extend("x-kind" = "path"))]
    pub active_link: Option<String>,
    /// The tree that the accounts share, so that a conversation begun under one can go on under another.
    pub shared: Shared,
    /// When the pool leaves an account, in percent of its usage windows.
    pub thresholds: Thresholds,
    /// How usage is read.
    pub quota: Quota,
    /// How the pool changes its account.
    pub swap: Swap,
    /// How an agent is started and stopped.
    pub agent: Agent,
    /// The sessions, in lines of one or more names each.
    #[schemars(length(min = 1, max = 1000))]
    pub sessions: Vec<SessionLine>,
    /// The tmux server that holds the sessions.
    pub tmux: Tmux,
    /// The projects whose queues are worked off. None by default.
    #[schemars(length(max = 1000))]
    pub projects: Vec<Project>,
    /// How often checkpoints of the sessions are taken, and how long they are kept.
    pub checkpoints: Checkpoints,
    /// When what is old is cleaned away.
    pub janitor: Janitor,
    /// What happens to a session that is removed from the spec: `false` releases it (it runs on, unowned), `true` stops it.
    pub prune: bool,
    /// How many sessions may be stopped for their removal in one pass without a confirmation.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_prune: usize,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            active_link: None,
            shared: Shared::default(),
            thresholds: Thresholds::default(),
            quota: Quota::default(),
            swap: Swap::default(),
            agent: Agent::default(),
            sessions: Vec::new(),
            tmux: Tmux::default(),
            projects: Vec::new(),
            checkpoints: Checkpoints::default(),
            janitor: Janitor::default(),
            prune: false,
            max_prune: 1,
        }
    }
}

/// One login, with its home.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "home"]))]
pub(super) struct Account {
    /// Your name for the account; not its e-mail address.
    #[schemars(extend("x-kind" = "name", "pattern" = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))]
    pub name: String,
    /// The directory that is given to the CLI as `CLAUDE_CONFIG_DIR`. You log in there once, with the official CLI.
    #[schemars(extend("x-kind" = "path"))]
    pub home: String,
    /// The pool's thresholds, where this account has its own.
    pub thresholds: ThresholdOverrides,
}

/// When the pool leaves an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Thresholds {
    /// At or above this much of the 5-hour window, the pool leaves the account.
    #[schemars(range(min = 1, max = 100))]
    pub five_hour: f64,
    /// The same for the weekly window over all models and for each model's own.
    #[schemars(range(min = 1, max = 100))]
    pub weekly: f64,
    /// An account may be entered only when it is this far below its own thresholds.
    #[schemars(range(min = 0, max = 100))]
    pub headroom: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { five_hour: 85.0, weekly: 95.0, headroom: 15.0 }
    }
}

/// Thresholds of one account. What is absent is the pool's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ThresholdOverrides {
    /// At or above this much of the 5-hour window, the pool leaves this account. By default the pool's.
    #[schemars(range(min = 1, max = 100))]
    pub five_hour: Option<f64>,
    /// The same for the weekly windows. By default the pool's.
    #[schemars(range(min = 1, max = 100))]
    pub weekly: Option<f64>,
    /// This account may be entered only when it is this far below its thresholds. By default the pool's.
    #[schemars(range(min = 0, max = 100))]
    pub headroom: Option<f64>,
}

/// The shared tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Shared {
    /// The directory that all shared links point into.
    #[schemars(extend("x-kind" = "path"))]
    pub root: String,
    /// The entries of each home that are links into the shared root. `projects`, `file-history` and `tasks` are required; `plans`,
    /// `paste-cache` and `history.jsonl` are useful additions. A name with an ending, such as `history.jsonl`, is a file.
    #[schemars(length(min = 1, max = 100))]
    pub links: Vec<String>,
    /// What to do with a real directory that stands where a link shall be.
    pub adopt: AdoptMode,
}

impl Default for Shared {
    fn default() -> Self {
        let links = super::REQUIRED_LINKS.into_iter().map(str::to_owned).collect();
        Self { root: "~/.claude-shared".to_owned(), links, adopt: AdoptMode::Never }
    }
}

/// How usage is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Quota {
    /// The sources, merged by freshness.
    #[schemars(length(min = 1, max = 5))]
    pub sources: Vec<QuotaSource>,
    /// How often each account is polled; at least `3m`, since the provider blocks those who ask more often.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub poll_every: String,
    /// An older reading no longer supports a decision; longer than `pollEvery`.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub stale_after: String,
    /// The JSON file of the source `file`. None by default.
    #[schemars(extend("x-kind" = "path"))]
    pub file: Option<String>,
    /// The program and arguments of the source `command`; it prints what the file would hold. None by default.
    #[schemars(length(max = 100))]
    pub command: Vec<String>,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            sources: vec![QuotaSource::Statusline, QuotaSource::Cli],
            poll_every: "5m".to_owned(),
            stale_after: "15m".to_owned(),
            file: None,
            command: Vec::new(),
        }
    }
}

/// How the pool changes its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Swap {
    /// How long busy sessions may finish their turn.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub drain: String,
    /// The same once a hard limit was hit.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub hard_drain: String,
    /// How many sessions move first, to prove that the way is clear.
    #[schemars(range(min = 1, max = 10_000))]
    pub canary: usize,
    /// How many sessions move at the same time after that.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: usize,
    /// How long a session may take to be proven on its new account.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub prove_within: String,
    /// How long the pool stays on an account before it may leave it for a threshold; a hard limit does not wait.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub min_dwell: String,
    /// Whether the pool goes back to a more preferred account.
    pub failback: Failback,
}

impl Default for Swap {
    fn default() -> Self {
        Self {
            drain: "10m".to_owned(),
            hard_drain: "60s".to_owned(),
            canary: 1,
            batch: 4,
            prove_within: "60s".to_owned(),
            min_dwell: "45m".to_owned(),
            failback: Failback::OnReset,
        }
    }
}

/// How an agent is started and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Agent {
    /// The program and its first arguments; conversation, settings and environment are added. A program with a `/` is a path, which may
    /// begin with `~/`.
    #[schemars(length(min = 1, max = 100))]
    pub command: Vec<String>,
    /// Always passed, since the CLI's own default changes between versions.
    pub permission_mode: PermissionMode,
    /// Whether the start directories declared here are trusted in each home. Without trust the CLI asks, and nobody is there to answer.
    pub trust_workdirs: bool,
    /// Further variables of the agent's environment. They are shown by `show` and kept in the state: no place for secrets.
    #[schemars(extend("maxProperties" = 1000))]
    pub environment: BTreeMap<String, String>,
    /// A command of yours whose output is shown at the foot of each agent's screen instead of ours. It gets the same JSON as ours and has two
    /// seconds; when it fails, ours is shown.
    #[schemars(length(max = 100))]
    pub status_line: Vec<String>,
    /// How long an agent may take to end by itself when it is told to, before it is killed.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub stop_grace: String,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            command: vec!["claude".to_owned()],
            permission_mode: PermissionMode::AcceptEdits,
            trust_workdirs: true,
            environment: BTreeMap::new(),
            status_line: Vec::new(),
            stop_grace: "15s".to_owned(),
        }
    }
}

/// One line of sessions that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["names", "workdir"]))]
pub(super) struct SessionLine {
    /// One name or a pattern of names: `ccl-{0..9}` gives ten, `{api,web}-{1..3}` six, `{01..10}` keeps its zeros.
    #[schemars(extend("x-kind" = "names"))]
    pub names: String,
    /// The directory that the agents start in.
    #[schemars(extend("x-kind" = "path"))]
    pub workdir: String,
    /// What happens when an agent ends by itself.
    pub restart: Restart,
    /// Whether a tmux session of that name that exists already, without our mark, is taken over.
    pub adopt: bool,
    /// Whether the sessions take tasks while they are idle: those of the project that they start in, or of any project if they start in none.
    pub dispatch: bool,
}

/// A registered project: the tasks in its `.agent-queue/inbox/` are given to idle sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(extend("required" = ["path"]))]
pub(super) struct Project {
    /// Your name for it. By default the last component of its path.
    #[schemars(extend("x-kind" = "name", "pattern" = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"))]
    pub name: Option<String>,
    /// The project's directory.
    #[schemars(extend("x-kind" = "path"))]
    pub path: String,
    /// Tasks of a project with a higher priority go first; a task may have its own.
    #[schemars(range(min = -1000, max = 1000))]
    pub priority: i32,
    /// Patterns of the only sessions that serve it. By default those that start in it, and those that start in no registered project.
    #[schemars(length(max = 1000))]
    pub sessions: Vec<String>,
    /// How many of its tasks may be under way at the same time. By default as many as there are sessions.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_in_flight: Option<usize>,
    /// What shows that a task is done.
    pub completion: Completion,
    /// How many attempts a task gets before it is put into `failed/`; a task may have its own.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How long one attempt may take; a task may have its own.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub timeout: String,
    /// How long a task stays with a session that shows no sign of life.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub lease: String,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            name: None,
            path: String::new(),
            priority: 0,
            sessions: Vec::new(),
            max_in_flight: None,
            completion: Completion::File,
            attempts: 3,
            timeout: "4h".to_owned(),
            lease: "10m".to_owned(),
        }
    }
}

/// Checkpoints of the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Checkpoints {
    /// How often one is taken of a session that changed.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub every: String,
    /// How many are kept of each session.
    #[schemars(range(min = 1, max = 10_000))]
    pub keep: usize,
    /// How long they are kept. The newest one of a session is always kept.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub max_age: String,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { every: "60s".to_owned(), keep: 20, max_age: "7d".to_owned() }
    }
}

/// When what is old is cleaned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Janitor {
    /// Tasks in `done/` that are older are moved into an archive, compressed, one for each month.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub archive_done_after: String,
    /// A `.dispatched` marker that belongs to no attempt of this pool is removed once it and its lease are older.
    #[schemars(extend("x-kind" = "duration", "pattern" = super::schema::DURATION_PATTERN))]
    pub stale_marker_after: String,
}

impl Default for Janitor {
    fn default() -> Self {
        Self { archive_done_after: "7d".to_owned(), stale_marker_after: "30m".to_owned() }
    }
}

/// The tmux server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Tmux {
    /// The server's socket: a name in the runtime directory, or a path. By default the pool's name.
    pub socket: Option<String>,
    /// Columns of a session to which nobody is attached.
    #[schemars(range(min = 20, max = 1000))]
    pub width: u16,
    /// Lines of a session to which nobody is attached.
    #[schemars(range(min = 5, max = 1000))]
    pub height: u16,
    /// Lines of scrollback of each pane.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub history_limit: u32,
}

impl Default for Tmux {
    fn default() -> Self {
        Self { socket: None, width: 150, height: 50, history_limit: 10_000 }
    }
}
