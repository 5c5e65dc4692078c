//! Ten thousand tasks over fifty sessions, while everything around them breaks: agents are killed, the daemon crashes, effects fail, notices are
//! lost, prompts do not arrive, and the pool moves to and fro between its accounts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use claude_failover::{
    model::{ClaimId, EventReason, TaskName},
    observed::TaskHeader,
    sim::{Fault, FaultPlan, Work, WorkResult, World},
    store::StoredEvent,
};

use crate::{
    lab::Lab,
    tasks::{PROJECT, places},
};

const CROWD: &str = "
  swap: { drain: 2m, proveWithin: 30s, minDwell: 45m, batch: 25 }
  sessions:
    - { names: 's-{0..49}', workdir: /lab/work, dispatch: true }
  projects:
    - { path: /lab/api }
";
const TASKS: usize = 10_000;
const PORTION: usize = 1_000;
const SESSIONS: usize = 50;

/// What the numbers of a test are drawn from: the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's 64-bit linear congruence; the high half is the better one.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn name(number: usize) -> TaskName {
    TaskName::new(format!("t-{number:05}.md")).unwrap()
}

/// What comes of the task of that number.
fn result(number: usize) -> WorkResult {
    match number % 100 {
        7 | 57 => WorkResult::Forgotten(1),
        13 => WorkResult::GivenUp,
        29 => WorkResult::Fatal(1),
        _ if number % 1_000 == 333 => WorkResult::Forgotten(99),
        _ => WorkResult::Done,
    }
}

fn fails(number: usize) -> bool {
    matches!(result(number), WorkResult::GivenUp | WorkResult::Forgotten(99))
}

/// Puts tasks into the inbox, a thousand at a time, whenever few are left.
fn feed(world: &mut World, next: usize) {
    let waits = world.queue(Path::new(PROJECT)).map_or(0, |queue| queue.inbox.len());
    let until = if waits < PORTION / 4 { (next + PORTION).min(TASKS) } else { next };
    for number in next..until {
        // Any order of lengths will do.
        let length = Duration::from_secs([20, 40, 60][number * 7 % 3]);
        world.set_work(&name(number), Work { length, result: result(number) });
        world.person().put_task(Path::new(PROJECT), &name(number), Ok(TaskHeader::default()));
    }
    if until < TASKS {
        world.later(Duration::from_secs(30), move |world| feed(world, until));
    }
}

/// Kills an agent every now and then, never the same one twice within ten minutes, and loses a prompt of another.
fn harass(world: &mut World, victim: usize) {
    if victim > 7 && places_of(world) == (0, TASKS) {
        return;
    }
    world.person().kill_agent(&format!("s-{}", victim % SESSIONS));
    world.swallow_prompts(&format!("s-{}", (victim + 11) % SESSIONS), u32::try_from(victim % 5).unwrap());
    world.later(Duration::from_secs(47), move |world| harass(world, victim + 7));
}

#[test]
fn ten_thousand_tasks_are_done_once_each_whatever_breaks() {
    let lab = Lab::new(CROWD);
    lab.run(Duration::from_mins(5));
    assert_eq!(lab.differences(), [""; 0]);
    let first = lab.effects();
    let mut dice = Dice(42);
    {
        let mut world = lab.world.borrow_mut();
        world.set_work_grain(Duration::from_secs(20));
        feed(&mut world, 0);
        let mut faults = FaultPlan::none();
        let mut number = first;
        for turn in 0..150 {
            number += 50 + dice.roll(300);
            faults = faults.and(number, Fault::ALL[turn % Fault::ALL.len()]);
        }
        world.set_faults(faults);
        harass(&mut world, 0);
    }
    // To and fro, each time with a window that begins anew on the other account, and now and then without any notice of what happens.
    let mut used = [10.0, 5.0];
    // The store keeps only the newest events.
    let mut events = BTreeMap::new();
    let note = |events: &mut BTreeMap<u64, StoredEvent>| events.extend(lab.events().into_iter().map(|stored| (stored.sequence, stored)));
    for round in 0..40 {
        lab.world.borrow_mut().set_deaf(round % 4 == 3);
        if round % 6 == 5 {
            used = if used[0] > 50.0 { [5.0, 91.0] } else { [91.0, 5.0] };
        }
        lab.usage("primary", used[0]);
        lab.usage("backup", used[1]);
        lab.run(Duration::from_mins(10));
        note(&mut events);
        if places_of(&lab.world.borrow()) == (0, TASKS) {
            break;
        }
    }
    lab.world.borrow_mut().set_deaf(false);
    lab.run(Duration::from_mins(10));
    note(&mut events);
    check(&lab, &events.into_values().collect::<Vec<_>>());
}

/// How many tasks are in the inbox, and how many have come to their end.
fn places_of(world: &World) -> (usize, usize) {
    world.queue(Path::new(PROJECT)).map_or((0, 0), |queue| (queue.inbox.len(), queue.done.len() + queue.failed.len()))
}

fn check(lab: &Lab, events: &[StoredEvent]) {
    let (done, failed, inbox, markers) = places(lab);
    assert_eq!((inbox.len(), markers), (0, 0), "left behind: {inbox:?}");
    let wanted =
        |failing: bool| (0..TASKS).filter(|number| fails(*number) == failing).map(|number| name(number).to_string()).collect::<Vec<_>>();
    assert_eq!(failed, wanted(true));
    assert_eq!(done, wanted(false));
    assert_eq!(lab.memory().tasks.len(), 0);
    let world = lab.world.borrow();
    let violations = world.violations();
    assert!(violations.is_empty(), "{violations:#?}");
    // Every attempt has exactly one end that was told, and every task exactly one.
    let mut ends: BTreeMap<ClaimId, usize> = BTreeMap::new();
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    for stored in events {
        let event = &stored.event;
        let ends_attempt =
            matches!(event.reason, EventReason::TaskDone | EventReason::TaskReleased | EventReason::TaskFailed | EventReason::TaskVanished);
        if let (true, Some(claim)) = (ends_attempt, event.message.split_once("claim ").and_then(|(_, rest)| rest.get(..12))) {
            *ends.entry(ClaimId(claim.to_owned())).or_default() += 1;
        }
        if matches!(event.reason, EventReason::TaskDone | EventReason::TaskFailed) {
            *fates.entry(event.object.to_string()).or_default() += 1;
        }
    }
    let unaccounted: Vec<_> = world.claims().iter().filter(|claim| ends.get(claim) != Some(&1)).collect();
    assert!(unaccounted.is_empty(), "attempts without exactly one end: {unaccounted:?}");
    assert_eq!(fates.len(), TASKS);
    let told_twice: Vec<_> = fates.iter().filter(|(_, times)| **times != 1).collect();
    assert!(told_twice.is_empty(), "tasks that were told to have ended more than once: {told_twice:?}");
    let swaps = lab.verdicts();
    // A batch that a crash cuts off has no outcome for any of its effects.
    let cut_off: BTreeSet<_> =
        world.performed().iter().filter(|performed| performed.outcome.is_none()).map(|performed| performed.at).collect();
    let crashes = cut_off.len();
    let lost = events.iter().filter(|stored| stored.event.reason == EventReason::SessionExited).count();
    assert!(swaps.len() >= 2 && crashes >= 20 && lost >= 50, "too little went wrong: {swaps:?}, {crashes}, {lost}");
}
