//! A world with tasks in every state, for what people read of them.

use super::world::{World, at, session};
use crate::{
    model::{ClaimId, ProjectName, SessionName, TaskId, TaskName},
    observed::{FileIdentity, InboxView, Marker, MarkerView, QueueView, Seen, TaskHeader},
    plan::{AttemptEnd, AttemptVerdict, TaskAttempt, TaskRecord},
};

/// A task of the project.
pub fn task(text: &str) -> TaskId {
    TaskId { project: ProjectName::new("api").expect("a name"), name: TaskName::new(text).expect("a name") }
}

fn file(title: &str, age: i64) -> InboxView {
    let modified = i64::try_from(at(-age).wall.as_nanosecond()).expect("in range");
    let identity = FileIdentity { device: 1, inode: 7, length: 10, modified };
    InboxView { identity, header: Ok(TaskHeader { title: title.to_owned(), ..TaskHeader::default() }) }
}

fn marker(name: &str, by: &SessionName, attempt: u32) -> Marker {
    let claim = ClaimId::of(&task(name), by, attempt, "");
    Marker { session: by.clone(), attempt, claim, claimed_at: at(-600).wall, lease_until: at(300).wall }
}

/// An attempt that ended.
fn ended(name: &str, by: &str, attempt: u32, how: AttemptVerdict, message: &str) -> TaskAttempt {
    let by = session(by);
    let end = AttemptEnd { at: at(-3_600).wall, how, message: message.to_owned() };
    TaskAttempt {
        typed: 1,
        delivered_at: Some(at(-5_000).wall),
        claimed_at: at(-5_010).wall,
        end: Some(end),
        ..TaskAttempt::begun(&marker(name, &by, attempt), World::conversation(by.as_str()))
    }
}

/// Three sessions and the project `api`: a task that is worked on for the second time, two that wait, one that failed, one that is done.
pub fn with_tasks() -> World {
    let mut world = World::converged(3);
    world.spec.sessions.values_mut().for_each(|session| session.dispatch = true);
    let name = ProjectName::new("api").expect("a name");
    world.put_project(name.clone());
    let mut queue = QueueView { project_exists: true, exists: true, ..QueueView::default() };
    let undone = "session s-1 was asked once more, and left it undone again";
    let working = marker("login.md", &session("s-0"), 2);
    let open = TaskAttempt {
        typed: 1,
        delivered_at: Some(at(-590).wall),
        taken_at: Some(at(-590).wall),
        ..TaskAttempt::begun(&working, World::conversation("s-0"))
    };
    let attempts = vec![ended("login.md", "s-1", 1, AttemptVerdict::Undone, undone), open];
    world.memory.tasks.insert(task("login.md"), TaskRecord { attempts, ..TaskRecord::default() });
    queue.inbox.insert(task("login.md").name, file("Make the login test pass.", 9_000));
    queue.markers.insert(task("login.md").name, MarkerView::Marker(working));
    queue.inbox.insert(task("two words.md").name, file("Rename the flag.", 500));
    let mut behind = file("Write the changelog.", 400);
    if let Ok(header) = &mut behind.header {
        header.after = vec![task("login.md").name];
    }
    queue.inbox.insert(task("changes.md").name, behind);
    queue.failed.insert(task("bad.md").name, at(-3_600).wall);
    let failed = vec![
        ended("bad.md", "s-1", 1, AttemptVerdict::Undone, undone),
        ended("bad.md", "s-2", 2, AttemptVerdict::TimedOut, "it was not done within 4h"),
    ];
    world.memory.past_tasks.insert(task("bad.md"), TaskRecord { attempts: failed, ..TaskRecord::default() });
    queue.done.insert(task("schema.md").name, at(-7_200).wall);
    let done = vec![ended("schema.md", "s-2", 1, AttemptVerdict::Done, "its file is in done/")];
    world.memory.past_tasks.insert(task("schema.md"), TaskRecord { attempts: done, ..TaskRecord::default() });
    queue.ignored.insert("notes.txt".to_owned(), "it is no task: it must end with .md".to_owned());
    world.seen.queues.insert(name, Seen::known(queue, world.now));
    world
}
