//! What is kept of tasks that are over, for people who ask what became of them. No decision rests on it.

use jiff::Timestamp;

use super::TaskGrounds;
use crate::{
    model::TaskId,
    plan::{Absorbed, AttemptEnd, AttemptVerdict, MemoryChange, TaskRecord},
};

/// The most tasks that are over and remembered; the oldest go first.
const MAX_PAST: usize = 1_000;

/// The change by which a task is over. One that no session ever had leaves nothing to remember.
pub fn close_task(task: &TaskId, record: &TaskRecord, at: Timestamp, how: AttemptVerdict, message: &str) -> MemoryChange {
    if record.attempts.is_empty() {
        return MemoryChange::RemoveTask(task.clone());
    }
    let mut record = TaskRecord { not_before: None, gone_since: None, ..record.clone() };
    if let Some(attempt) = record.attempts.last_mut() {
        attempt.end.get_or_insert_with(|| AttemptEnd { at, how, message: message.to_owned() });
    }
    MemoryChange::CloseTask(task.clone(), record)
}

/// What became of a task is kept while its file stands in `done/` or `failed/`. What is not known changes nothing.
pub(super) fn forget_past(grounds: &TaskGrounds<'_>, absorbed: &mut Absorbed) {
    let is_gone = |task: &TaskId| match grounds.spec.project(&task.project) {
        None => true,
        Some(_) => grounds.queue(&task.project).is_some_and(|(queue, _)| {
            let name = &task.name;
            queue.exists && !queue.stands(name) && !queue.done.contains_key(name) && !queue.failed.contains_key(name)
        }),
    };
    let (gone, kept): (Vec<_>, Vec<_>) = grounds.memory.past_tasks.iter().partition(|(task, _)| is_gone(task));
    let mut kept: Vec<_> = kept.into_iter().map(|(task, record)| (ended_at(record), task)).collect();
    kept.sort_unstable();
    let surplus = kept.len().saturating_sub(MAX_PAST);
    let forgotten = gone.into_iter().map(|(task, _)| task).chain(kept.into_iter().take(surplus).map(|(_, task)| task));
    absorbed.changes.extend(forgotten.map(|task| MemoryChange::ForgetTask(task.clone())));
}

fn ended_at(record: &TaskRecord) -> Option<Timestamp> {
    record.attempts.last()?.end.as_ref().map(|end| end.at)
}
