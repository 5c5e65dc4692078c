//! Tasks on the simulated host, through the real loop.

use std::{path::Path, time::Duration};

use claude_failover::{
    engine::Command,
    model::{AccountName, EventReason, SessionName, TaskName, WindowKind},
    observed::TaskHeader,
    plan::{Effect, QueueChange, tasks::TaskWait},
    sim::{Fault, FaultPlan, Work, WorkResult},
    status::TaskRow,
};
use jiff::SignedDuration;

use crate::lab::{LONG, Lab, QUEUE_POOL};

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

/// The attempts would be used up by the first error of the API, if an error used one up.
#[test]
fn a_task_whose_turns_are_cut_off_stays_with_its_session() {
    at_every_effect("cut off", ("a.md", ""), |lab| {
        set_work(lab, "a", WorkResult::CutOff(3));
        let header = TaskHeader { attempts: Some(1), ..TaskHeader::default() };
        lab.world.borrow_mut().person().put_task(Path::new(PROJECT), &task("a"), Ok(header));
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

/// Each agent that is at it ends, again and again.
#[test]
fn a_task_that_ends_its_agents_costs_no_more_than_one_session() {
    let lab = Lab::converged(QUEUE_POOL);
    set_work(&lab, "a", WorkResult::Fatal(99));
    drop_tasks(&lab, &["a", "b"]);
    lab.run(LONG);
    let (done, failed, inbox, markers) = places(&lab);
    assert_eq!((done.join(" "), failed.join(" "), inbox.len(), markers), ("b.md".to_owned(), "a.md".to_owned(), 0, 0), "{}", lab.story());
    let quarantined = lab.memory().attempts.values().filter(|attempts| attempts.quarantined).count();
    assert!(quarantined <= 1, "{}", lab.story());
    let told: Vec<_> = lab.events().into_iter().filter(|stored| stored.event.reason == EventReason::SessionQuarantined).collect();
    assert!(told.iter().all(|stored| stored.event.message.contains("task api/a.md")), "{told:?}");
    lab.assert_promises("a task that ends its agents");
}

#[test]
fn a_clock_that_is_set_back_freezes_no_task() {
    for seconds in [1, 15, 30, 45, 60, 100] {
        let lab = Lab::converged(QUEUE_POOL);
        set_work(&lab, "a", WorkResult::Forgotten(1));
        drop_tasks(&lab, &["a", "b"]);
        lab.world.borrow_mut().swallow_prompts("s-1", 1);
        lab.run(Duration::from_secs(seconds));
        lab.world.borrow_mut().set_skew(SignedDuration::from_hours(-3));
        lab.run(LONG);
        let (done, failed, inbox, markers) = places(&lab);
        let found = (done.join(" "), failed.len(), inbox.len(), markers);
        assert_eq!(found, ("a.md b.md".to_owned(), 0, 0, 0), "set back after {seconds} s\n{}", lab.story());
        lab.assert_promises("a clock that was set back");
    }
}

/// When tasks were claimed, in seconds from the first claim behind `since`.
fn claimed(lab: &Lab, since: usize) -> Vec<u64> {
    let world = lab.world.borrow();
    let is_claim = |effect: &Effect| matches!(effect, Effect::Queue { change: QueueChange::Claim { .. }, .. });
    let times: Vec<_> = world.performed()[since..].iter().filter(|done| is_claim(&done.effect)).map(|done| done.at).collect();
    times.iter().map(|at| at.since(times[0]).as_secs()).collect()
}

/// Whatever the lack of room was called, what waited for it does not begin all at once when it is over.
#[test]
fn after_room_came_back_tasks_begin_a_few_at_a_time() {
    // For the pool to leave an account that it has just moved to, it is too soon.
    let cases = [("Exhausted", [10.0, 5.0], [91.0, 92.0], [10.0, 5.0]), ("SwapBlocked", [91.0, 5.0], [5.0, 91.0], [5.0, 10.0])];
    for (hold, before, tight, free) in cases {
        let lab = Lab::new(&QUEUE_POOL.replace("s-{0..3}", "s-{0..19}"));
        lab.run(Duration::from_mins(5));
        let used = |used: [f64; 2]| {
            lab.usage("primary", used[0]);
            lab.usage("backup", used[1]);
        };
        used(before);
        lab.run(Duration::from_mins(5));
        used(tight);
        lab.run(Duration::from_mins(5));
        let first = lab.effects();
        let names: Vec<String> = (0..20).map(|number| format!("t-{number:02}")).collect();
        for name in &names {
            lab.world.borrow_mut().set_work(&task(name), Work { length: Duration::from_mins(20), result: WorkResult::Done });
        }
        drop_tasks(&lab, &names.iter().map(String::as_str).collect::<Vec<_>>());
        lab.run(Duration::from_mins(2));
        assert_eq!(claimed(&lab, first), [0_u64; 0], "{hold}: {}", lab.story());
        let rows = lab.tasks();
        let held = |row: &TaskRow| matches!(&row.wait, Some(TaskWait::Held { hold: found, until: Some(_), .. }) if found == hold);
        assert!(rows.len() == 20 && rows.iter().all(held), "{hold}, and until when: {rows:#?}");
        used(free);
        lab.run(Duration::from_mins(8));
        let times = claimed(&lab, first);
        assert_eq!(times.len(), 20, "{hold}: {times:?}\n{}", lab.story());
        for from in &times {
            let burst = times.iter().filter(|at| (*from..*from + 10).contains(at)).count();
            assert!(burst <= 4, "{hold}: {burst} within ten seconds of second {from}: {times:?}");
        }
        lab.assert_promises(hold);
    }
}

/// A suspension takes the place of the lack of room for a while, and the room comes back behind it.
#[test]
fn what_waited_for_room_does_not_begin_all_at_once_behind_a_suspension() {
    let lab = Lab::new(&QUEUE_POOL.replace("s-{0..3}", "s-{0..19}"));
    lab.run(Duration::from_mins(5));
    lab.usage("primary", 91.0);
    lab.run(Duration::from_mins(5));
    lab.usage("primary", 5.0);
    lab.usage("backup", 91.0);
    lab.run(Duration::from_mins(5));
    let first = lab.effects();
    let names: Vec<String> = (0..20).map(|number| format!("t-{number:02}")).collect();
    for name in &names {
        lab.world.borrow_mut().set_work(&task(name), Work { length: Duration::from_mins(20), result: WorkResult::Done });
    }
    drop_tasks(&lab, &names.iter().map(String::as_str).collect::<Vec<_>>());
    lab.world.borrow_mut().later(Duration::from_mins(3), |world| {
        world.set_used(&AccountName::new("backup").unwrap(), &WindowKind::FiveHour, 10.0, Duration::from_hours(48));
    });
    let asked = vec![
        (Duration::from_mins(2), Command::Suspend { reason: "a look".to_owned(), until: None }),
        (Duration::from_mins(10), Command::Resume),
    ];
    lab.run_asked(Duration::from_mins(15), asked);
    let times = claimed(&lab, first);
    assert_eq!(times.len(), 20, "{times:?}\n{}", lab.story());
    for from in &times {
        let burst = times.iter().filter(|at| (*from..*from + 10).contains(at)).count();
        assert!(burst <= 4, "{burst} within ten seconds of second {from}: {times:?}");
    }
    lab.assert_promises("behind a suspension");
}

/// A person has begun to type something into one of the sessions and has gone to lunch.
#[test]
fn a_draft_keeps_tasks_away_from_its_session_and_from_no_other() {
    let lab = Lab::converged(QUEUE_POOL);
    lab.world.borrow_mut().person().draft("s-0", true);
    let header = TaskHeader { session: Some(SessionName::new("s-0").unwrap()), ..TaskHeader::default() };
    lab.world.borrow_mut().person().put_task(Path::new(PROJECT), &task("pinned"), Ok(header));
    drop_tasks(&lab, &["a", "b", "c", "d"]);
    lab.run(Duration::from_hours(1));
    let (done, failed, inbox, _) = places(&lab);
    assert_eq!(
        (done.join(" "), failed.len(), inbox.join(" ")),
        ("a.md b.md c.md d.md".to_owned(), 0, "pinned.md".to_owned()),
        "{}",
        lab.story()
    );
    let claims = lab.world.borrow().claims().len();
    assert!(claims <= 4 + 12, "{claims} claims for five tasks\n{}", lab.story());
    lab.world.borrow_mut().person().draft("s-0", false);
    lab.run(Duration::from_mins(15));
    assert_eq!(places(&lab).0.len(), 5, "{}", lab.story());
    lab.assert_promises("a draft");
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
