//! Projects and tasks as rows: what `task ls` and `status` print and what programs read.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    model::{ObjectRef, ProjectName, SessionName, TaskId, TaskName},
    observed::{InboxView, MarkerView, QueueView, Seen, Snapshot},
    plan::{Memory, Report, TaskAttempt, TaskRecord, tasks::TaskWait},
    spec::{Project, Spec},
};

/// One registered project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRow {
    /// Its name.
    pub name: ProjectName,
    /// Its directory.
    pub path: PathBuf,
    /// Tasks in its inbox that no session has.
    pub waiting: usize,
    /// Tasks that a session has.
    pub under_way: usize,
    /// Tasks in `done/`.
    pub done: usize,
    /// Tasks in `failed/`.
    pub failed: usize,
    /// Why nothing is given out now, or why the queue cannot be looked at.
    pub holds: Option<String>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// A session took the prompt and works on it.
    Working,
    /// It is claimed for a session that has not taken the prompt yet.
    Claimed,
    /// It is in the inbox and nobody has it.
    Waiting,
    /// It failed for good, was cancelled, or was never a sound task.
    Failed,
    /// It is done.
    Done,
}

impl TaskState {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Claimed => "claimed",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRow {
    /// Which.
    pub task: TaskId,
    /// How far it is.
    pub state: TaskState,
    /// The session that has it, or had it last.
    pub session: Option<SessionName>,
    /// How many attempts were begun.
    pub attempt: u32,
    /// How many it gets.
    pub attempts: u32,
    /// Since when it is so; a task that waits, since its file was last changed.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// Its priority.
    pub priority: i32,
    /// The first line that says something.
    pub title: String,
    /// Why it waits, or why its last attempt ended.
    pub why: Option<String>,
    /// What it waits for, if nobody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<TaskWait>,
}

/// All that is known of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskDetail {
    /// How it stands.
    pub row: TaskRow,
    /// Where its file is.
    pub path: PathBuf,
    /// Its attempts, oldest first.
    pub record: TaskRecord,
    /// What stands beside a failed task as the reason, in full.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What is remembered of a task in that state. Of two of one name, the one that is over is remembered apart.
pub fn record_of<'a>(memory: &'a Memory, task: &TaskId, state: TaskState) -> Option<&'a TaskRecord> {
    let is_over = |record: &&TaskRecord| record.open().is_none();
    match state {
        TaskState::Working | TaskState::Claimed | TaskState::Waiting => memory.tasks.get(task),
        TaskState::Failed | TaskState::Done => memory.tasks.get(task).filter(is_over).or_else(|| memory.past_tasks.get(task)),
    }
}

/// The projects, in the order of the spec.
pub fn project_rows(spec: &Spec, seen: &Snapshot, memory: &Memory, report: &Report) -> Vec<ProjectRow> {
    spec.projects
        .iter()
        .map(|project| {
            let known = seen.queues.get(&project.name).and_then(Seen::value);
            let under_way = memory.open_attempts().filter(|(task, _)| task.project == project.name).count();
            ProjectRow {
                name: project.name.clone(),
                path: project.path.clone(),
                waiting: known.map_or(0, |queue| queue.inbox.len().saturating_sub(under_way)),
                under_way,
                done: known.map_or(0, |queue| queue.done.len()),
                failed: known.map_or(0, |queue| queue.failed.len()),
                holds: holds(project, seen, report),
            }
        })
        .collect()
}

fn holds(project: &Project, seen: &Snapshot, report: &Report) -> Option<String> {
    match seen.queues.get(&project.name) {
        None => Some("its queue has not been looked at".to_owned()),
        Some(Seen::Unknown(why)) => Some(format!("its queue cannot be looked at: {why}")),
        Some(Seen::Known(fact)) if !fact.value.project_exists => Some(format!("{} does not exist", project.path.display())),
        Some(Seen::Known(_)) => {
            let object = ObjectRef::Project(project.name.clone());
            report.waiting.iter().chain(&report.warnings).find(|entry| entry.object == object).map(|entry| entry.message.clone())
        }
    }
}

/// The tasks of all projects: those that sessions have, those that wait in the order in which they would be given out, those that failed, and with
/// `all` those that are done. `waits` is what those wait for that nobody has.
pub fn task_rows(
    spec: &Spec,
    seen: &Snapshot,
    memory: &Memory,
    report: &Report,
    waits: &BTreeMap<TaskId, TaskWait>,
    all: bool,
) -> Vec<TaskRow> {
    let mut rows: Vec<TaskRow> = Vec::new();
    for project in &spec.projects {
        let Some(queue) = seen.queues.get(&project.name).and_then(Seen::value) else { continue };
        let of = |name: &TaskName| TaskId { project: project.name.clone(), name: name.clone() };
        let held = holds(project, seen, report);
        let held = held.as_deref();
        rows.extend(queue.inbox.iter().map(|(name, file)| {
            let task = of(name);
            let wait = waits.get(&task);
            inbox_row(project, queue, memory, task, file, (wait, held), report)
        }));
        rows.extend(queue.failed.iter().map(|(name, at)| ended_row(project, memory, of(name), TaskState::Failed, *at)));
        if all {
            rows.extend(queue.done.iter().map(|(name, at)| ended_row(project, memory, of(name), TaskState::Done, *at)));
        }
    }
    rows.sort_by(|one, other| {
        let key = |row: &TaskRow| (row.state, std::cmp::Reverse(row.priority), row.since);
        key(one).cmp(&key(other)).then_with(|| one.task.cmp(&other.task))
    });
    rows
}

fn inbox_row(
    project: &Project,
    queue: &QueueView,
    memory: &Memory,
    task: TaskId,
    file: &InboxView,
    (wait, held): (Option<&TaskWait>, Option<&str>),
    report: &Report,
) -> TaskRow {
    let record = memory.tasks.get(&task);
    let header = file.header.as_ref().ok();
    let open = record.and_then(TaskRecord::open);
    let state = match open {
        Some(attempt) if attempt.delivered_at.is_some() => TaskState::Working,
        Some(_) => TaskState::Claimed,
        None => TaskState::Waiting,
    };
    let why = match (open, file.header.as_ref()) {
        (Some(_), _) => said(report, &task),
        (None, Err(why)) => Some(why.clone()),
        (None, Ok(_)) => marker_words(queue, &task.name)
            .or_else(|| wait.map(ToString::to_string))
            .or_else(|| said(report, &task))
            .or_else(|| held.map(ToOwned::to_owned)),
    };
    TaskRow {
        state,
        session: open.or_else(|| last(record)).map(|attempt| attempt.session.clone()),
        attempt: begun(record),
        attempts: header.and_then(|header| header.attempts).unwrap_or(project.attempts),
        since: Some(open.map_or(file.identity.modified_at(), |attempt| attempt.delivered_at.unwrap_or(attempt.claimed_at))),
        priority: header.and_then(|header| header.priority).unwrap_or(project.priority),
        title: header.map(|header| header.title.clone()).unwrap_or_default(),
        why,
        wait: wait.cloned().filter(|_| open.is_none()),
        task,
    }
}

/// What the planner said about this very task.
fn said(report: &Report, task: &TaskId) -> Option<String> {
    let object = ObjectRef::Task(task.clone());
    report.waiting.iter().chain(&report.warnings).find(|entry| entry.object == object).map(|entry| entry.message.clone())
}

fn marker_words(queue: &QueueView, name: &TaskName) -> Option<String> {
    Some(match queue.markers.get(name)? {
        MarkerView::Marker(marker) => {
            format!("another program's marker gives it to session {} until {:.0}", marker.session, marker.lease_until)
        }
        MarkerView::Unreadable { why, .. } => format!("a marker stands beside it that cannot be read: {why}"),
    })
}

fn last(record: Option<&TaskRecord>) -> Option<&TaskAttempt> {
    record.and_then(|record| record.attempts.last())
}

fn begun(record: Option<&TaskRecord>) -> u32 {
    record.map_or(0, |record| u32::try_from(record.attempts.len()).unwrap_or(u32::MAX))
}

fn ended_row(project: &Project, memory: &Memory, task: TaskId, state: TaskState, at: Timestamp) -> TaskRow {
    let record = record_of(memory, &task, state);
    TaskRow {
        state,
        session: last(record).map(|attempt| attempt.session.clone()),
        attempt: begun(record),
        attempts: project.attempts,
        since: Some(at),
        priority: project.priority,
        title: String::new(),
        why: last(record).and_then(|attempt| attempt.end.as_ref()).map(|end| end.message.clone()),
        wait: None,
        task,
    }
}
