//! Tasks: which session gets which, when it is asked, and how an attempt ends.
//!
//! The marker beside a task and the record of its attempt are made together and looked at together: a task with a marker is given to nobody, and a
//! marker goes only when its attempt has ended. An attempt ends by what was seen ([`absorb_tasks`]); the files follow ([`plan_tasks`]).
//!
//! # Guarantees
//! A task is under way in one session at a time. One that may still be worked on is not offered again, however long it takes; that is only said.
//! Nothing is claimed, offered again or put aside on a fact that is unknown or old.
//!
//! # Assumes
//! An agent shows by its own word which prompts it took, and when a turn ended. The times of one agent are compared with each other.
//!
//! # Does not
//! Know what a task is about, or whether it was done well.

mod absorb;
mod claim;
mod deliver;
mod due;
mod gate;
mod holder;
mod past;
mod planner;
mod prompt;
mod recognise;
mod settle;
#[cfg(test)]
mod tests;
mod untyped;
mod wait;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

pub use absorb::absorb_tasks;
pub use due::next_task_deadline;
pub use gate::{Gate, GateGrounds, Hold, gate};
pub use holder::may_be_at_it;
pub use past::close_task;
pub use planner::{plan_tasks, task_waits};
pub use prompt::{follow_up_text, prompt_text};
pub use untyped::Untyped;
pub use wait::{Predecessor, TaskWait};

use holder::{Holder, turn};

use super::{MAX_FACT_AGE, Memory, TaskRecord, backoff::MAX_EXITS};
use crate::{
    model::{Now, ProjectName, SessionName, TaskName, later},
    observed::{InboxView, QueueView, Snapshot},
    spec::{Project, Spec},
};

/// How often one prompt is typed before it counts as undelivered.
pub const MAX_TYPED: u32 = 3;
/// How long an agent may take to show that it took a prompt.
pub const PROOF: Duration = Duration::from_secs(10);
/// How long a task is kept for a session that cannot be asked after all.
pub const UNTYPED: Duration = Duration::from_mins(1);
/// How often in a row a session may refuse to be typed into before its task is given to another one.
const MAX_REFUSALS: u32 = 3;
/// How often an agent is asked once more about a task that it left undone.
const MAX_FOLLOW_UPS: u32 = 1;
/// How long an agent must have been idle before its turn counts as over: some work begins by itself right behind a turn.
const CALM: Duration = Duration::from_secs(3);
/// The same when its process was replaced in the middle of the turn: the CLI goes on by itself some time after its start.
const CONTINUATION: Duration = Duration::from_secs(20);
/// How often an agent that is quarantined must have ended while it was at a task, for the task to be the likely reason.
const EXITS_AT_IT: usize = 2;
/// How long an agent that is to be asked once more is waited for to have its state looked at; then what is known has to do.
const TRUTH: Duration = Duration::from_secs(10);
/// The longest pause between two words to go on, while turns are cut off again and again.
const MAX_OUTAGE: Duration = Duration::from_mins(10);
/// How far ahead of the present an agent's word may be dated: what is further ahead was said before the clock was set back.
const AHEAD: Duration = Duration::from_secs(5);
/// Between the two looks that must find a task nowhere.
const GONE: Duration = Duration::from_secs(1);
/// How soon a file that has not come to rest is looked at again.
const UNSETTLED: Duration = Duration::from_millis(500);

/// What the decisions about tasks rest on.
#[derive(Debug, Clone, Copy)]
pub struct TaskGrounds<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What was seen.
    pub seen: &'a Snapshot,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The instant.
    pub now: Now,
}

/// The records of one project's tasks.
type Records<'a> = BTreeMap<&'a TaskName, &'a TaskRecord>;

impl<'a> TaskGrounds<'a> {
    /// A queue as it is known now, with when it was looked at.
    fn queue(&self, project: &ProjectName) -> Option<(&'a QueueView, Timestamp)> {
        match self.seen.queues.get(project)? {
            crate::observed::Seen::Known(fact) if self.now.since(fact.at) <= MAX_FACT_AGE => Some((&fact.value, fact.at.wall)),
            _ => None,
        }
    }

    /// All records, by project.
    fn records(&self) -> BTreeMap<&'a ProjectName, Records<'a>> {
        let mut records: BTreeMap<_, Records<'a>> = BTreeMap::new();
        for (task, record) in &self.memory.tasks {
            records.entry(&task.project).or_default().insert(&task.name, record);
        }
        records
    }
}

/// How long one attempt at a task may take.
fn timeout(project: &Project, file: Option<&InboxView>) -> Duration {
    file.and_then(|file| file.header.as_ref().ok()).and_then(|header| header.timeout).unwrap_or(project.timeout)
}

/// Whether a task has had all its attempts, or is to have no more.
fn is_used_up(project: &Project, file: Option<&InboxView>, record: &TaskRecord) -> bool {
    let limit = file.and_then(|file| file.header.as_ref().ok()).and_then(|header| header.attempts).unwrap_or(project.attempts);
    record.ends_agents() || record.used() >= usize::try_from(limit.max(1)).unwrap_or(usize::MAX)
}

/// What is known of what sessions last did.
pub type GroundTruth = BTreeMap<SessionName, Truth>;

/// What is known of a session beside the pool's files, in words for a prompt: git's state, the last tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The words.
    pub text: String,
    /// When it was so.
    pub at: Timestamp,
}

/// The sessions that are about to be asked once more, each with when its turn ended: what is known of it should be of behind that.
pub fn wanted_truths(grounds: &TaskGrounds<'_>, truth: &GroundTruth) -> Vec<(SessionName, Timestamp)> {
    let ended = grounds.memory.open_attempts().filter_map(|(_, attempt)| {
        let Holder::Idle(agent) = grounds.holder(attempt) else { return None };
        // What ended before the clock was set back cannot be told from what is new.
        let at = turn(attempt, agent).ended_at().filter(|at| *at <= later(grounds.now.wall, AHEAD))?;
        Some((attempt.session.clone(), at))
    });
    ended.filter(|(session, at)| truth.get(session).is_none_or(|truth| truth.at < *at)).collect()
}
