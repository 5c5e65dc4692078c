//! When a checkpoint of a session is taken, what of it is known before anybody looks, and what it says to an agent that goes on.
//!
//! A session that does nothing is asked about once and then left alone. One that works is asked about every [`Checkpoints::every`]; whether
//! there is anything new to write is found by comparing contents.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{Memory, TaskAttempt};
use crate::{
    model::{AccountName, Activity, ClaimId, ConversationId, Now, SessionName, TaskId, share_of},
    observed::{AgentView, Checkpoint, CheckpointCause, Seen, Snapshot, TaskAtHand},
    spec::{Checkpoints, Spec},
};

/// The least time between two checkpoints of a session whose turns are short.
const MIN_GAP: Duration = Duration::from_secs(10);

/// What is remembered of a session's checkpoints while this process runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointState {
    /// What was known when the last one was begun, and when that was.
    last: Option<(Signs, Now)>,
    /// Whether one is being taken.
    under_way: bool,
}

impl CheckpointState {
    /// Whether one is under way, or was begun at that time or later.
    pub fn is_of(&self, at: Timestamp) -> bool {
        self.under_way || self.last.as_ref().is_some_and(|(_, begun)| begun.wall >= at)
    }

    /// One is begun.
    pub fn started(&mut self, signs: Option<Signs>, now: Now) {
        self.under_way = true;
        if let Some(signs) = signs {
            self.last = Some((signs, now));
        }
    }

    /// It ended. One that failed is not tried again before something changes or `every` is over.
    pub const fn ended(&mut self) {
        self.under_way = false;
    }
}

/// What shows from outside that there may be something new to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signs {
    conversation: ConversationId,
    account: AccountName,
    activity: Activity,
    since: Option<Timestamp>,
    context_tokens: Option<u64>,
    turn_ended_at: Option<Timestamp>,
    task: Option<(ClaimId, bool)>,
}

/// The signs of a session; `None` while its agent is not known.
pub fn signs(seen: &Snapshot, memory: &Memory, open: &OpenAttempts<'_>, session: &SessionName) -> Option<Signs> {
    let record = memory.sessions.get(session)?;
    let agent = known_agent(seen, session)?;
    let task = open.0.get(session).map(|(_, attempt)| (attempt.claim.clone(), attempt.delivered_at.is_some()));
    Some(Signs {
        conversation: record.conversation,
        account: record.account.clone(),
        activity: agent.activity,
        since: agent.activity_since,
        context_tokens: agent.context_tokens,
        turn_ended_at: agent.turn_ended_at,
        task,
    })
}

fn known_agent<'a>(seen: &'a Snapshot, session: &SessionName) -> Option<&'a AgentView> {
    seen.agents.get(session).and_then(Seen::value).filter(|agent| agent.activity != Activity::Unknown)
}

/// When the next checkpoint of a session is due, and why; `None` while nothing can be new.
///
/// `begun` is when this process began to look: at first all sessions may have something new, and are asked about one after the other.
pub fn next_checkpoint(
    policy: &Checkpoints,
    state: Option<&CheckpointState>,
    session: &SessionName,
    now: &Signs,
    begun: Now,
) -> Option<(Now, CheckpointCause)> {
    let Some((last, at)) = state.filter(|state| !state.under_way).and_then(|state| state.last.as_ref()) else {
        let free = state.is_none_or(|state| !state.under_way);
        return free.then(|| (begun.plus(step_of(policy.every, session)), CheckpointCause::Periodic));
    };
    let works = |signs: &Signs| signs.activity == Activity::Working;
    let turn_ended = now.turn_ended_at > last.turn_ended_at || (works(last) && !works(now));
    if turn_ended {
        Some((at.plus(MIN_GAP.min(policy.every)), CheckpointCause::TurnEnded))
    } else if works(now) || now != last {
        Some((at.plus(policy.every), CheckpointCause::Periodic))
    } else {
        None
    }
}

/// In how many steps all sessions are asked about at first: each is one reason to wake up.
const STEPS: u32 = 24;

/// When a session is asked about first, in whole steps: a thousand sessions are neither asked about at the same moment nor at one of their own.
fn step_of(span: Duration, session: &SessionName) -> Duration {
    let step = span / STEPS;
    let share = share_of(span, session.as_str());
    step.checked_mul(u32::try_from(share.as_nanos().div_ceil(step.as_nanos().max(1))).unwrap_or(STEPS)).unwrap_or(span)
}

/// What is known of a session's checkpoint without looking: the host adds transcript, repository and last words. `None` for a session that we
/// never started.
pub fn draft(
    spec: &Spec,
    seen: &Snapshot,
    memory: &Memory,
    open: &OpenAttempts<'_>,
    session: &SessionName,
    why: CheckpointCause,
    now: Now,
) -> Option<Checkpoint> {
    let record = memory.sessions.get(session)?;
    let agent = known_agent(seen, session);
    let task = open.0.get(session).map(|(task, attempt)| {
        let project = spec.projects.iter().find(|project| project.name == task.project);
        let file: Option<PathBuf> = project.map(|project| project.path.join(".agent-queue/inbox").join(task.name.as_str()));
        TaskAtHand { task: (*task).clone(), file, claim: attempt.claim.clone(), delivered: attempt.delivered_at.is_some() }
    });
    Some(Checkpoint {
        pool: spec.pool.clone(),
        pool_id: memory.pool,
        session: session.clone(),
        taken_at: now.wall,
        why,
        conversation: record.conversation,
        transcript: None,
        workdir: record.workdir.clone(),
        directory: agent.and_then(|agent| agent.register.as_ref()).map_or_else(|| record.workdir.clone(), |register| register.cwd.clone()),
        git: None,
        task,
        prompt: None,
        tool: None,
        answer: None,
        interrupted: false,
        account: record.account.clone(),
        context_tokens: agent.and_then(|agent| agent.context_tokens),
        activity: agent.map_or(Activity::Unknown, |agent| agent.activity),
    })
}

/// The attempt that each session is at, by session: looked up once for all of them.
#[derive(Debug, Default)]
pub struct OpenAttempts<'a>(BTreeMap<&'a SessionName, (&'a TaskId, &'a TaskAttempt)>);

impl<'a> OpenAttempts<'a> {
    /// Those of the ledger.
    pub fn of(memory: &'a Memory) -> Self {
        Self(memory.open_attempts().map(|(task, attempt)| (&attempt.session, (task, attempt))).collect())
    }
}

/// How many changed files are named to an agent.
const NAMED: usize = 10;

/// What an agent that goes on after an interruption must know: its task, what became of its last tool call, and the state of the repository.
/// A few lines without control characters; it may be typed.
pub fn ground_truth(checkpoint: &Checkpoint) -> String {
    let mut lines = Vec::new();
    if let Some(task) = &checkpoint.task {
        let file = task.file.as_ref().map(|file| format!(", file {}", file.display())).unwrap_or_default();
        lines.push(format!("Task: {}{file}.", task.task));
    }
    lines.push(match &checkpoint.tool {
        Some(tool) if tool.finished => format!("Last tool call: {}; its result is in the conversation.", tool.name),
        Some(tool) => {
            format!("Last tool call: {}; its result is NOT known: look whether it took effect before you do it again.", tool.name)
        }
        None => "Last tool call: none.".to_owned(),
    });
    if let Some(git) = &checkpoint.git {
        let branch = git.branch.as_deref().map_or_else(|| "detached head".to_owned(), |branch| format!("branch {branch}"));
        let head = git.head.as_deref().map(|head| format!(" at {}", head.get(..12).unwrap_or(head))).unwrap_or_default();
        let named: Vec<_> = git.dirty.iter().take(NAMED).map(String::as_str).collect();
        let rest = git.dirty_count.saturating_sub(named.len());
        let more = if git.more { "at least " } else { "" };
        let dirty = match (named.is_empty(), rest) {
            (true, _) => "nothing uncommitted".to_owned(),
            (false, 0) => format!("uncommitted: {}", named.join(", ")),
            (false, rest) => format!("uncommitted: {} and {more}{rest} more", named.join(", ")),
        };
        lines.push(format!("Git: {branch}{head}, {dirty}."));
    }
    let plain = |line: String| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.into_iter().map(plain).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "tests/checkpoints.rs"]
mod tests;
