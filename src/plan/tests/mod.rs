//! The planner and what stands around it: a converged world, and one deviation at a time.

mod absorbing;
mod bounds;
mod ensuring;
mod filtering;
mod homes;
mod links;
mod linting;
mod login_ends;
mod logins;
mod properties;
mod removals;
mod sessions;
pub(crate) mod tasks;
mod tidying;
pub mod world;

use super::*;
use world::{World, account, home, link, session};

/// A case: its name, what is changed in a converged world, and what is planned then.
type Case = (&'static str, fn(&mut World), &'static [&'static str]);

/// What is changed in a world.
type Change = fn(&mut World);

fn check(cases: &[Case]) {
    for (name, change, wanted) in cases {
        let mut world = World::converged(2);
        change(&mut world);
        assert_eq!(world.told(), *wanted, "{name}");
        assert_eq!(world.lint(&world.plan().plan), [] as [&str; 0], "{name}");
    }
}

#[test]
fn a_converged_world_plans_nothing() {
    for sessions in [1, 2, 20] {
        let world = World::converged(sessions);
        assert_eq!(world.plan(), Planned { plan: Plan { actions: Vec::new(), ..world.plan().plan }, report: Report::default() });
        assert!(world.absorb().is_empty());
        assert!(absorb_removals(&world.spec, &world.seen, &world.memory).is_empty());
    }
}
