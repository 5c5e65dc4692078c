//! Tasks on the simulated host, through the real loop.

use std::{path::Path, time::Duration};

use claude_failover::{
    model::TaskName,
    observed::TaskHeader,
    sim::{Work, WorkResult},
};

use crate::lab::{LONG, Lab};

/// Two accounts, four sessions that take tasks, one project.
pub const QUEUE_POOL: &str = "
apiVersion: claude-failover/v1
kind: Pool
metadata: { name: lab }
spec:
  accounts:
    - { name: primary, home: /lab/primary }
    - { name: backup, home: /lab/backup }
  activeLink: /lab/active
  shared: { root: /lab/shared }
  quota: { sources: [cli], pollEvery: 3m }
  swap: { drain: 10m, proveWithin: 30s, minDwell: 45m }
  sessions:
    - { names: 's-{0..3}', workdir: /lab/work, dispatch: true }
  projects:
    - { path: /lab/api }
";

pub const PROJECT: &str = "/lab/api";

pub fn task(name: &str) -> TaskName {
    TaskName::new(format!("{name}.md")).unwrap()
}

/// Drops tasks into the inbox.
pub fn drop_tasks(lab: &Lab, names: &[&str]) {
    let mut world = lab.world.borrow_mut();
    for name in names {
        world.person().put_task(Path::new(PROJECT), &task(name), Ok(TaskHeader::default()));
    }
}

/// Where the tasks are: in `done/`, in `failed/`, in the inbox; and how many markers stand.
pub fn places(lab: &Lab) -> (Vec<String>, Vec<String>, Vec<String>, usize) {
    let world = lab.world.borrow();
    let queue = world.queue(Path::new(PROJECT)).unwrap();
    let names = |names: Vec<&TaskName>| names.into_iter().map(ToString::to_string).collect::<Vec<_>>();
    (names(queue.done.keys().collect()), names(queue.failed.keys().collect()), names(queue.inbox.keys().collect()), queue.markers.len())
}

fn set_work(lab: &Lab, name: &str, result: WorkResult) {
    lab.world.borrow_mut().set_work(&task(name), Work { length: Duration::from_secs(40), result });
}

fn converged() -> Lab {
    let lab = Lab::new(QUEUE_POOL);
    lab.run(LONG);
    assert_eq!(lab.differences(), [""; 0], "{}", lab.story());
    lab
}

#[test]
fn tasks_flow_through_idle_sessions() {
    let lab = converged();
    drop_tasks(&lab, &["a", "b", "c", "d", "e", "f"]);
    set_work(&lab, "b", WorkResult::Forgotten(1));
    set_work(&lab, "c", WorkResult::GivenUp);
    set_work(&lab, "d", WorkResult::Fatal(1));
    set_work(&lab, "e", WorkResult::Forgotten(99));
    lab.assert_converged("a few tasks");
    let (done, failed, inbox, markers) = places(&lab);
    assert_eq!(
        (done.join(" "), failed.join(" "), inbox.len(), markers),
        ("a.md b.md d.md f.md".to_owned(), "c.md e.md".to_owned(), 0, 0),
        "{}",
        lab.story()
    );
    assert_eq!(lab.memory().tasks.len(), 0);
}
