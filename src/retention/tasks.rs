//! Which tasks that are done go into an archive.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    model::{Month, TaskName},
    observed::QueueView,
};

/// How many tasks one archive takes in at once: what is archived is read and compressed.
const AT_ONCE: usize = 500;

/// Those of `done/` that have been there for longer than `age`, by the month in which they were put there. A task that another one waits for stays
/// until that one is done: only what stands in `done/` counts as done.
pub fn archivable_tasks(queue: &QueueView, age: Duration, now: Timestamp) -> BTreeMap<Month, Vec<TaskName>> {
    let awaited: BTreeSet<&TaskName> =
        queue.inbox.values().filter_map(|file| file.header.as_ref().ok()).flat_map(|header| &header.after).collect();
    let mut months: BTreeMap<Month, Vec<TaskName>> = BTreeMap::new();
    for (task, at) in &queue.done {
        let is_old = Duration::try_from(now.duration_since(*at)).is_ok_and(|past| past > age);
        if is_old && !awaited.contains(task) {
            let tasks = months.entry(Month::of(*at)).or_default();
            if tasks.len() < AT_ONCE {
                tasks.push(task.clone());
            }
        }
    }
    months
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{FileIdentity, InboxView, TaskHeader};

    #[test]
    fn what_is_old_goes_by_month_and_what_is_waited_for_stays() {
        let name = |text: &str| TaskName::new(text).expect("a name");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let header = TaskHeader { after: vec![name("schema.md")], ..TaskHeader::default() };
        let identity = FileIdentity { device: 1, inode: 1, length: 1, modified: 0 };
        let queue = QueueView {
            inbox: BTreeMap::from([(name("waits.md"), InboxView { identity, header: Ok(header) })]),
            done: BTreeMap::from([
                (name("a.md"), at("2026-10-31T23:59:59Z")),
                (name("b.md"), at("2026-11-01T00:00:00Z")),
                (name("schema.md"), at("2026-11-01T00:00:00Z")),
                (name("new.md"), at("2026-11-20T00:00:00Z")),
                (name("ahead.md"), at("2027-01-01T00:00:00Z")),
            ]),
            ..QueueView::default()
        };
        let found = archivable_tasks(&queue, Duration::from_hours(168), at("2026-11-22T00:00:00Z"));
        let shown: Vec<_> = found.iter().map(|(month, tasks)| format!("{month} {tasks:?}")).collect();
        assert_eq!(shown, ["2026-10 [TaskName(\"a.md\")]", "2026-11 [TaskName(\"b.md\")]"]);
    }
}
