//! Whole swaps: once clean, then with every kind of trouble at every point.

use super::{
    world::{Fate, Links, Trouble, World},
    *,
};

/// A swap with its name and the end that it has when nothing else goes wrong.
fn scenarios() -> Vec<(&'static str, World, SwapVerdict)> {
    let world = |sessions| World::new(plan(sessions));
    let with = |mut world: World, change: fn(&mut World)| {
        change(&mut world);
        world
    };
    vec![
        ("all idle", world(3), SwapVerdict::Committed),
        ("one session", world(1), SwapVerdict::Committed),
        ("no session", world(0), SwapVerdict::Committed),
        ("wide", with(world(5), |world| world.plan.batch = 9), SwapVerdict::Committed),
        ("two canaries", with(world(4), |world| world.plan.canary = 2), SwapVerdict::Committed),
        ("no canary", with(world(3), |world| world.plan.canary = 0), SwapVerdict::Committed),
        ("no active link", with(world(3), |world| world.plan.has_active_link = false), SwapVerdict::Committed),
        ("loose links", with(world(3), |world| loosen(world, &from())), SwapVerdict::Committed),
        (
            "busy sessions",
            with(world(4), |world| {
                busy(world, "s0", 30);
                busy(world, "s2", 100_000);
            }),
            SwapVerdict::Committed,
        ),
        ("all busy", with(world(3), |world| ["s0", "s1", "s2"].iter().for_each(|name| busy(world, name, 100_000))), SwapVerdict::Committed),
        ("an agent that has ended", with(world(3), |world| slot(world, "s1").agents.clear()), SwapVerdict::Committed),
        ("all agents ended", with(world(3), |world| world.slots.values_mut().for_each(|slot| slot.agents.clear())), SwapVerdict::Committed),
        ("one refused on the target", with(world(4), |world| fate(world, "s2", to(), Fate::Refuted)), SwapVerdict::Committed),
        ("one silent on the target", with(world(4), |world| fate(world, "s3", to(), Fate::Silent)), SwapVerdict::Committed),
        ("one ends on the target", with(world(4), |world| fate(world, "s3", to(), Fate::Ends)), SwapVerdict::Committed),
        (
            "two refused on the target",
            with(world(4), |world| {
                fate(world, "s2", to(), Fate::Refuted);
                fate(world, "s3", to(), Fate::Refuted);
            }),
            SwapVerdict::RolledBack,
        ),
        ("the canary refused", with(world(3), |world| fate(world, "s0", to(), Fate::Refuted)), SwapVerdict::RolledBack),
        (
            "the canary refused, and lost on the way back",
            with(world(3), |world| {
                fate(world, "s0", to(), Fate::Refuted);
                fate(world, "s0", from(), Fate::Silent);
            }),
            SwapVerdict::RolledBack,
        ),
        ("the target's links wrong at once", with(world(3), |world| broken(world, &to())), SwapVerdict::Abandoned),
        (
            "the target's links fail behind the flip",
            with(world(3), |world| break_on(world, Step::Flip(to()), to())),
            SwapVerdict::RolledBack,
        ),
        (
            "the same without an active link",
            with(world(3), |world| {
                world.plan.has_active_link = false;
                break_on(world, Step::Start(session("s0"), to()), to());
            }),
            SwapVerdict::RolledBack,
        ),
        (
            "the target's links fail late",
            with(world(4), |world| break_on(world, Step::Start(session("s2"), to()), to())),
            SwapVerdict::RolledBack,
        ),
        (
            "the way back fails at the links",
            with(world(3), |world| {
                break_on(world, Step::Flip(to()), to());
                break_on(world, Step::Flip(to()), from());
            }),
            SwapVerdict::Latched,
        ),
        (
            "the way back fails at the flip",
            with(world(3), |world| {
                break_on(world, Step::Flip(to()), to());
                world.failing.push(Step::Flip(from()));
            }),
            SwapVerdict::Latched,
        ),
        ("the flip fails", with(world(3), |world| world.failing.push(Step::Flip(to()))), SwapVerdict::RolledBack),
    ]
}

fn slot<'a>(world: &'a mut World, name: &str) -> &'a mut super::world::Slot {
    world.slots.get_mut(&session(name)).expect("a known session")
}

fn busy(world: &mut World, name: &str, until: i64) {
    slot(world, name).busy_until = until;
}

fn fate(world: &mut World, name: &str, account: AccountName, fate: Fate) {
    world.fates.insert((session(name), account), fate);
}

fn broken(world: &mut World, account: &AccountName) {
    world.links.insert(account.clone(), Links::Broken);
}

fn loosen(world: &mut World, account: &AccountName) {
    world.links.insert(account.clone(), Links::Loose);
}

fn break_on(world: &mut World, step: Step, account: AccountName) {
    world.breaks.push((step, account));
}

const CRASHES: [Trouble; 2] = [Trouble::CrashBefore, Trouble::CrashAfter];
const FAILURES: [Trouble; 3] = [Trouble::Fail, Trouble::DoubtBefore, Trouble::DoubtAfter];
const PEOPLE: [Trouble; 5] = [Trouble::Kill, Trouble::StartByHand, Trouble::MoveByHand, Trouble::Abort, Trouble::BreakTarget];

#[test]
fn every_swap_ends_as_it_should() {
    for (name, world, verdict) in scenarios() {
        let end = world.run(&[]);
        assert_eq!(end.record.verdict, Some(verdict), "{name}: \n{}", end.tell());
        end.assert_whole();
        assert_eq!(end.refused_starts, 0, "{name}");
    }
}

#[test]
fn a_crash_at_any_point_changes_nothing_in_the_end() {
    for (name, world, _) in scenarios() {
        let clean = world.clone().run(&[]);
        for point in 0..clean.points {
            for crash in CRASHES {
                let end = world.clone().run(&[(point, crash)]);
                end.assert_whole();
                assert_eq!(end.outcome(), clean.outcome(), "{name}, {crash:?} at {point}: \n{}", end.tell());
                assert_eq!(end.refused_starts, 0, "{name}, {crash:?} at {point}");
            }
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_changes_nothing_either() {
    for (name, world, _) in scenarios().into_iter().filter(|(_, world, _)| world.slots.len() <= 3) {
        let clean = world.clone().run(&[]);
        for point in 0..clean.points {
            for distance in 1..6 {
                let end = world.clone().run(&[(point, Trouble::CrashAfter), (point + distance, Trouble::CrashAfter)]);
                assert_eq!(end.outcome(), clean.outcome(), "{name} at {point} and {distance} later: \n{}", end.tell());
            }
        }
    }
}

#[test]
fn whatever_fails_the_pool_is_whole_or_latched() {
    for (name, world, _) in scenarios() {
        let points = world.clone().run(&[]).points;
        for point in 0..points {
            for trouble in FAILURES.into_iter().chain(PEOPLE) {
                let end = world.clone().run(&[(point, trouble)]);
                end.assert_whole();
                assert!(trouble == Trouble::StartByHand || end.refused_starts == 0, "{name}, {trouble:?} at {point}");
            }
        }
    }
}

#[test]
fn two_troubles_in_one_swap_leave_the_pool_whole_or_latched() {
    let all = || CRASHES.into_iter().chain(FAILURES).chain(PEOPLE);
    let chosen = ["all idle", "the target's links fail behind the flip", "the canary refused"];
    for (_, world, _) in scenarios().into_iter().filter(|(name, ..)| chosen.contains(name)) {
        let points = world.clone().run(&[]).points;
        for first in 0..points {
            for second in (first + 1..points + 6).step_by(5) {
                for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
                    world.clone().run(&[(first, a), (second, b)]).assert_whole();
                }
            }
        }
    }
}

#[test]
fn a_latched_swap_leaves_what_runs_alone() {
    for (name, world, _) in scenarios().into_iter().filter(|(.., verdict)| *verdict == SwapVerdict::Latched) {
        let end = world.run(&[]);
        let record = end.record.clone();
        assert_eq!(end.active, from(), "{name}");
        assert!(record.turned_back.expect("a cause").contains("backup"), "{name}");
        assert!(record.rollback_error.is_some_and(|error| error.contains("primary")), "{name}");
        let accounts: Vec<_> = end.slots.values().map(|slot| slot.agents[0].account.clone()).collect();
        assert_eq!(accounts, [to(), from(), from()], "{name}: the canary and the others run on where they were");
    }
}
