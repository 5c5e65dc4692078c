//! What the engine remembers between passes. The store keeps it; the planner reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LoginWarning, RefusedLogin, tasks::Untyped};
use crate::{
    model::{
        AccountName, ClaimId, ConversationId, Generation, ObjectRef, Pid, PoolId, ProcessId, SessionName, SpecDigest, StartDigest, SwapId,
        TaskId, WindowKind,
    },
    observed::Marker,
    swap::{SwapRecord, SwapVerdict},
};

/// Everything durable that a decision may rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The identity of this state directory.
    pub pool: PoolId,
    /// Whether another memory of this identity was there before and was lost.
    #[serde(default)]
    pub renewed: bool,
    /// The present generation.
    pub generation: Generation,
    /// Digest of the spec of that generation.
    pub spec: Option<SpecDigest>,
    /// The account that the pool works under; `None` before the first convergence.
    pub active: Option<Active>,
    /// What we started, by session. A session that was removed from the spec stays here until it is released or stopped.
    pub sessions: BTreeMap<SessionName, SessionRecord>,
    /// The links that we made.
    pub links: BTreeSet<PathBuf>,
    /// The swap that is open, if one is.
    pub swap: Option<SwapRecord>,
    /// The newest closed swaps, newest last, at most 20.
    pub swaps: Vec<SwapSummary>,
    /// When an operator last cleared the pool: swaps that were closed before it open no breaker and cool no pair down.
    #[serde(default)]
    pub swaps_cleared_at: Option<Timestamp>,
    /// Durable degraded conditions.
    pub latches: BTreeMap<ObjectRef, Latch>,
    /// Failures and exits, by object.
    pub attempts: BTreeMap<ObjectRef, Attempts>,
    /// The pool's suspension, if an operator asked for one.
    pub suspended: Option<Suspension>,
    /// Objects that an operator took out of use.
    pub cordoned: BTreeMap<ObjectRef, Cordon>,
    /// Sessions that were missing from the spec in the last pass: a removal must be seen twice.
    pub removal_seen: BTreeSet<SessionName>,
    /// Undeclared sessions of which an operator has said that they may be stopped, however many they are.
    #[serde(default)]
    pub prune_confirmed: BTreeSet<SessionName>,
    /// Since when no account has room, if that is so.
    pub exhausted_since: Option<Timestamp>,
    /// When room came back last: tasks are let out slowly from then on.
    #[serde(default)]
    pub room_since: Option<Timestamp>,
    /// The tmux server that was last seen, if there was one.
    #[serde(default)]
    pub server: Option<ServerRecord>,
    /// Logins that agents say are refused, by account.
    #[serde(default)]
    pub refused_logins: BTreeMap<AccountName, RefusedLogin>,
    /// The tasks that were ever claimed and whose file still stands in the inbox, or whose end is not accounted for.
    #[serde(default)]
    pub tasks: BTreeMap<TaskId, TaskRecord>,
    /// What became of tasks whose file stands in `done/` or `failed/`: for people, no decision rests on it.
    #[serde(default)]
    pub past_tasks: BTreeMap<TaskId, TaskRecord>,
    /// Sessions that could not be typed into, though their agents seemed idle.
    #[serde(default)]
    pub untyped: BTreeMap<SessionName, Untyped>,
    /// The last warning of each login that ends soon.
    #[serde(default)]
    pub logins_warned: BTreeMap<AccountName, LoginWarning>,
}

impl Memory {
    /// Whether the open swap moves that session.
    pub fn is_moving(&self, session: &SessionName) -> bool {
        self.swap.as_ref().is_some_and(|swap| swap.moves.contains_key(session))
    }

    /// The attempts that are under way, with their tasks.
    pub fn open_attempts(&self) -> impl Iterator<Item = (&TaskId, &TaskAttempt)> {
        self.tasks.iter().filter_map(|(task, record)| Some((task, record.open()?)))
    }

    /// The memory of a state directory that was just made.
    pub fn new(pool: PoolId) -> Self {
        Self {
            pool,
            renewed: false,
            generation: Generation::default(),
            spec: None,
            active: None,
            sessions: BTreeMap::new(),
            links: BTreeSet::new(),
            swap: None,
            swaps: Vec::new(),
            swaps_cleared_at: None,
            latches: BTreeMap::new(),
            attempts: BTreeMap::new(),
            suspended: None,
            cordoned: BTreeMap::new(),
            removal_seen: BTreeSet::new(),
            prune_confirmed: BTreeSet::new(),
            exhausted_since: None,
            room_since: None,
            server: None,
            refused_logins: BTreeMap::new(),
            tasks: BTreeMap::new(),
            past_tasks: BTreeMap::new(),
            untyped: BTreeMap::new(),
            logins_warned: BTreeMap::new(),
        }
    }
}

/// The account that the pool works under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Which.
    pub account: AccountName,
    /// Since when: the dwell time counts from here.
    pub since: Timestamp,
}

/// A tmux server that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Its process; `None` once it was seen to be gone.
    pub pid: Option<Pid>,
    /// Since when it is so: panes of what was started before went with another server.
    pub since: Timestamp,
}

/// What we last started in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// The conversation that the session is bound to.
    pub conversation: ConversationId,
    /// How many conversations we began for it.
    pub incarnation: u32,
    /// The account that it was last started under.
    pub account: AccountName,
    /// What it was started with.
    pub digest: StartDigest,
    /// The directory that its conversation was begun in: transcripts are found by it.
    pub workdir: PathBuf,
    /// The process that we last saw in it.
    pub process: Option<ProcessId>,
    /// When it was last started.
    pub started_at: Timestamp,
    /// Whether the end of what was last started is accounted for, as an exit of its own or as a stop of ours. An agent may end before it was
    /// ever seen, so the absence of a process does not tell.
    #[serde(default)]
    pub ended: bool,
    /// Whether that end was a stop of ours: then its restart policy, which is about ends of its own, does not keep it down.
    #[serde(default)]
    pub stopped: bool,
    /// Whether the conversation was seen to have a transcript. If that is gone one day, the conversation is lost, and nothing blank is begun in
    /// its place.
    #[serde(default)]
    pub spoken: bool,
    /// What a person was last told that its agent asks: one dialog is told once.
    #[serde(default)]
    pub asked: Option<String>,
}

impl SessionRecord {
    /// A session whose conversation that is from now on.
    pub const fn bound(conversation: ConversationId, account: AccountName, digest: StartDigest, workdir: PathBuf, at: Timestamp) -> Self {
        Self {
            conversation,
            incarnation: 1,
            account,
            digest,
            workdir,
            process: None,
            started_at: at,
            ended: false,
            stopped: false,
            spoken: false,
            asked: None,
        }
    }
}

/// What became of a task so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRecord {
    /// Its attempts, oldest first. The last one is under way while it has no end.
    pub attempts: Vec<TaskAttempt>,
    /// Not offered again before this.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub not_before: Option<Timestamp>,
    /// Since when its file is in none of the places where it could be: that must be seen twice.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub gone_since: Option<Timestamp>,
}

impl TaskRecord {
    /// The attempt that is under way.
    pub fn open(&self) -> Option<&TaskAttempt> {
        self.attempts.last().filter(|attempt| attempt.end.is_none())
    }

    /// What the last attempt came to, if it has ended.
    pub fn last_verdict(&self) -> Option<AttemptVerdict> {
        self.attempts.last().and_then(|attempt| attempt.end.as_ref()).map(|end| end.how)
    }

    /// Whether it ended the agents that were at it.
    pub fn ends_agents(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.end.as_ref().is_some_and(|end| end.how == AttemptVerdict::Crashed))
    }

    /// How many attempts count against those that the task gets: a session had the task and did not do it. One that never reached an agent says
    /// nothing about the task.
    pub fn used(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.counts()).count()
    }
}

/// One session's go at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskAttempt {
    /// Its name.
    pub claim: ClaimId,
    /// The session that it was given to.
    pub session: SessionName,
    /// The conversation that the session had then: another one knows nothing of the task.
    pub conversation: ConversationId,
    /// When it was claimed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub claimed_at: Timestamp,
    /// How often the present prompt was typed, or may have been: the first one, or the one that asks once more.
    pub typed: u32,
    /// When it was last typed.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub typed_at: Option<Timestamp>,
    /// When the agent's own word showed that it took the first prompt.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub delivered_at: Option<Timestamp>,
    /// When, by its own word, it took the present prompt.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub taken_at: Option<Timestamp>,
    /// How often it was asked again because its turn ended with the task undone.
    pub follow_ups: u32,
    /// How often it was told to go on because a limit or an error of the API had cut its turn off.
    #[serde(default)]
    pub resumed: u32,
    /// When the turn of the present prompt was cut off in that way, as far as nothing has followed.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub cut_off_at: Option<Timestamp>,
    /// When the agent of its session ended by itself while it was at the task; the newest few.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub exits: Vec<Timestamp>,
    /// Nobody else may take the task before this.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub lease_until: Timestamp,
    /// What stood in `done/` under the task's name before the prompt was typed: it is of an earlier task.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub done_before: Option<Timestamp>,
    /// The same of `failed/`.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub failed_before: Option<Timestamp>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
}

impl TaskAttempt {
    /// The one that a marker begins.
    pub fn begun(marker: &Marker, conversation: ConversationId) -> Self {
        Self {
            claim: marker.claim.clone(),
            session: marker.session.clone(),
            conversation,
            claimed_at: marker.claimed_at,
            typed: 0,
            typed_at: None,
            delivered_at: None,
            taken_at: None,
            follow_ups: 0,
            resumed: 0,
            cut_off_at: None,
            exits: Vec::new(),
            lease_until: marker.lease_until,
            done_before: None,
            failed_before: None,
            end: None,
        }
    }

    /// The claim that the present prompt carries.
    pub fn prompt_claim(&self) -> ClaimId {
        self.claim.prompt(self.prompts_before())
    }

    /// How many prompts of this attempt came before the present one.
    pub const fn prompts_before(&self) -> u32 {
        self.follow_ups.saturating_add(self.resumed)
    }

    fn counts(&self) -> bool {
        let how = self.end.as_ref().map(|end| end.how);
        match how {
            Some(AttemptVerdict::Undone | AttemptVerdict::TimedOut | AttemptVerdict::GivenUp | AttemptVerdict::Crashed) => true,
            Some(AttemptVerdict::Undelivered) => self.typed >= super::tasks::MAX_TYPED,
            Some(AttemptVerdict::SessionLost) => self.delivered_at.is_some(),
            Some(AttemptVerdict::Done | AttemptVerdict::Cancelled | AttemptVerdict::Vanished) | None => false,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptEnd {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How.
    pub how: AttemptVerdict,
    /// One sentence with the particulars.
    pub message: String,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AttemptVerdict {
    /// The task is done.
    Done,
    /// The prompt never arrived.
    Undelivered,
    /// The turn ended, and ended again after it was asked once more, with the task undone.
    Undone,
    /// It took longer than it may.
    TimedOut,
    /// The session lost its agent, its conversation or its place in the spec.
    SessionLost,
    /// Its agent ended by itself again and again while it was at the task. Nobody else gets it.
    Crashed,
    /// An operator took it back.
    Cancelled,
    /// The agent put the task into `failed/` itself.
    GivenUp,
    /// The task's file is gone from every place.
    Vanished,
}

impl AttemptVerdict {
    /// Whether the task came to its end with the attempt: it is offered to nobody again.
    pub const fn ends_task(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp | Self::Vanished)
    }
}

/// A durable degraded condition that refuses some actions until an operator clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// One CamelCase word.
    pub reason: String,
    /// The errors that led here, each with its whole chain: first the cause, then what failed on the way back.
    pub causes: Vec<String>,
    /// What was seen when it was latched.
    pub evidence: String,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// Failures and exits of one object; kept over restarts, reset by success or a new generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    /// Failures in a row.
    pub failures: u32,
    /// Not tried again before this.
    pub not_before: Option<Timestamp>,
    /// The last error.
    pub last_error: Option<String>,
    /// When its agent ended by itself, newest last, at most 5.
    pub exits: Vec<Timestamp>,
    /// It exits too often and is not started until cleared or changed.
    pub quarantined: bool,
}

/// An operator's word that nothing is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// An operator's word that an account is no target, or that a session is not to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Since when.
    pub since: Timestamp,
}

/// A closed swap, for dwell, cooldown and the breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapSummary {
    /// Which.
    pub id: SwapId,
    /// From where.
    pub from: AccountName,
    /// To where.
    pub to: AccountName,
    /// The window that caused it, if one did.
    pub window: Option<WindowKind>,
    /// When that window of `from` begins anew.
    pub from_resets_at: Option<Timestamp>,
    /// How it ended.
    pub verdict: SwapVerdict,
    /// When.
    pub closed_at: Timestamp,
}
