//! Logins that end soon.

use std::time::Duration;

use jiff::SignedDuration;

use super::world::{World, account};
use crate::{
    model::{EventReason, Severity},
    observed::{HomeView, LoginView, Seen},
    plan::{Memory, absorb},
};

const DAY: Duration = Duration::from_hours(24);

/// Looks at the login of `primary` now, and answers how severe the warnings were.
fn look(world: &mut World, until: jiff::Timestamp) -> Vec<Severity> {
    let home = HomeView { login: LoginView::Valid { expires_at: Some(until) }, ..HomeView::default() };
    world.seen.homes.insert(account("primary"), Seen::known(home, world.now));
    let absorbed = absorb(&world.spec, &world.seen, &world.memory, world.now);
    for change in &absorbed.changes {
        world.memory.apply(change);
    }
    let warnings = absorbed.events.iter().filter(|event| event.reason == EventReason::LoginEndsSoon);
    warnings.map(|event| event.severity).collect()
}

/// As after a restart: what is remembered was written and read.
fn restart(world: &mut World) {
    let text = serde_json::to_string(&world.memory).expect("written");
    world.memory = serde_json::from_str::<Memory>(&text).expect("read");
}

#[test]
fn each_end_is_warned_of_once_at_seven_three_and_one_days() {
    let mut world = World::converged(1);
    let until = world.now.wall + DAY * 8;
    let mut warned = Vec::new();
    for hour in 0..8 * 24 + 5 {
        for severity in look(&mut world, until) {
            warned.push((hour, severity));
        }
        if hour % 10 == 0 {
            restart(&mut world);
        }
        world.now.wall += Duration::from_hours(1);
    }
    assert_eq!(warned, [(24, Severity::Warning), (5 * 24, Severity::Warning), (7 * 24, Severity::Critical)]);
}

#[test]
fn a_warning_says_when_and_what_to_do() {
    let mut world = World::converged(1);
    let until = world.now.wall + DAY * 3;
    let login = LoginView::Valid { expires_at: Some(until) };
    world.seen.homes.insert(account("primary"), Seen::known(HomeView { login, ..HomeView::default() }, world.now));
    let events = absorb(&world.spec, &world.seen, &world.memory, world.now).events;
    let home = world.spec.accounts[0].home.display();
    let expected = format!("its login ends in 3 days, at {until:.0}; run `CLAUDE_CONFIG_DIR={home} claude auth login` before");
    assert_eq!(events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(), [expected]);
}

#[test]
fn an_end_that_moves_a_little_is_the_same_and_a_new_login_is_another() {
    let mut world = World::converged(1);
    let soon = world.now.wall + DAY * 3;
    assert_eq!(look(&mut world, soon), [Severity::Warning]);
    for minutes in [1, 90, -1, 600] {
        assert_eq!(look(&mut world, soon + SignedDuration::from_mins(minutes)), [], "{minutes} minutes on");
    }
    assert_eq!(look(&mut world, soon + DAY * 30), []);
    assert_eq!(world.memory.logins_warned.len(), 0, "it was renewed");
    world.now.wall += DAY * 30;
    assert_eq!(look(&mut world, soon + DAY * 30), [Severity::Warning]);
    let ended = world.now.wall - DAY;
    assert_eq!(look(&mut world, ended), [], "one that has ended ends soon no more");
}
