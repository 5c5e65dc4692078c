//! Tasks on the simulated host, through the real loop.

use std::{path::Path, time::Duration};

use claude_failover::{
    model::TaskName,
    observed::TaskHeader,
    sim::{Fault, FaultPlan, Work, WorkResult},
};

use crate::lab::{Lab, QUEUE_POOL};

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

#[test]
fn tasks_flow_through_idle_sessions() {
    let lab = Lab::converged(QUEUE_POOL);
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

/// Runs `scenario` on a pool that has converged, clean and then with each fault at each effect. In the end every task is where `wanted` says, and
/// nothing of it is left behind.
fn at_every_effect(what: &str, wanted: (&str, &str), scenario: fn(&Lab)) {
    let check = |lab: &Lab, what: &str| {
        lab.assert_converged(what);
        let (done, failed, inbox, markers) = places(lab);
        assert_eq!((done.join(" ").as_str(), failed.join(" ").as_str()), wanted, "{what}\n{}", lab.story());
        assert_eq!((inbox.len(), markers, lab.memory().tasks.len()), (0, 0, 0), "{what}\n{}", lab.story());
    };
    let clean = Lab::converged(QUEUE_POOL);
    let first = clean.effects();
    scenario(&clean);
    check(&clean, what);
    let count = clean.effects() - first;
    assert!(count > 0, "{what}: the clean run does nothing");
    for number in 0..count {
        for fault in Fault::ALL {
            let lab = Lab::converged(QUEUE_POOL);
            lab.world.borrow_mut().set_faults(FaultPlan::at(first + number, fault));
            scenario(&lab);
            check(&lab, &format!("{what}, effect {number}, {fault:?}"));
        }
    }
}

#[test]
fn a_task_is_done_whatever_goes_wrong_with_one_effect() {
    at_every_effect("a task", ("a.md", ""), |lab| drop_tasks(lab, &["a"]));
}

#[test]
fn a_task_that_is_forgotten_or_given_up_is_accounted_for() {
    at_every_effect("forgotten and given up", ("a.md", "b.md"), |lab| {
        set_work(lab, "a", WorkResult::Forgotten(1));
        set_work(lab, "b", WorkResult::GivenUp);
        drop_tasks(lab, &["a", "b"]);
    });
}

#[test]
fn a_task_that_is_never_done_is_put_aside() {
    at_every_effect("never done", ("", "a.md"), |lab| {
        set_work(lab, "a", WorkResult::Forgotten(99));
        let header = TaskHeader { attempts: Some(1), ..TaskHeader::default() };
        lab.world.borrow_mut().person().put_task(Path::new(PROJECT), &task("a"), Ok(header));
    });
}

#[test]
fn a_task_that_cannot_be_read_is_put_aside() {
    at_every_effect("unreadable", ("", "a.md"), |lab| {
        lab.world.borrow_mut().person().put_task(Path::new(PROJECT), &task("a"), Err("a.md, line 2: unknown field".to_owned()));
    });
}

/// The swap comes in the middle of the turn and drains no longer than it must: the same session goes on with the task on the other account.
#[test]
fn a_task_survives_a_swap_in_its_session() {
    at_every_effect("a swap in the middle", ("a.md", ""), |lab| {
        lab.world.borrow_mut().set_work(&task("a"), Work { length: Duration::from_mins(25), result: WorkResult::Done });
        drop_tasks(lab, &["a"]);
        lab.run(Duration::from_mins(1));
        lab.usage("primary", 91.0);
    });
}
