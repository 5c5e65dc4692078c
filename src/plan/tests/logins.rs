//! Logins whose file looks valid and that agents say are refused.

use super::{
    world::{at, unseen},
    *,
};
use crate::{
    model::{Activity, EventReason},
    observed::LoginView,
};

fn out(world: &mut World, names: &[&str], since: i64) {
    for name in names {
        let agent = world.agent(name);
        (agent.activity, agent.activity_since) = (Activity::LoggedOut, Some(at(since).wall));
    }
}

/// So much later, everything is looked at again. Answers what is told.
fn pass(world: &mut World, seconds: i64) -> Vec<EventReason> {
    world.look_again(at(seconds));
    let absorbed = world.absorb();
    world.learn();
    absorbed.events.iter().map(|event| event.reason).collect()
}

fn is_dead(world: &World) -> bool {
    matches!(login_of(&world.seen, &world.memory, &account("primary")), LoginView::Dead { .. })
}

#[test]
fn all_agents_logged_out_for_a_while_make_the_login_count_as_dead() {
    let mut world = World::converged(2);
    out(&mut world, &["s-0", "s-1"], -1);
    assert_eq!(pass(&mut world, 0), []);
    assert!(!is_dead(&world), "not at once");
    assert_eq!(pass(&mut world, 119), []);
    assert!(!is_dead(&world), "nor before it is confirmed");
    assert_eq!(pass(&mut world, 120), [EventReason::LoginRefused]);
    assert!(is_dead(&world));
    assert_eq!(pass(&mut world, 180), [], "told once");
}

#[test]
fn one_that_is_logged_out_among_others_is_its_own_matter() {
    let mut world = World::converged(2);
    out(&mut world, &["s-0"], -1);
    for seconds in [0, 60, 120, 600] {
        assert_eq!(pass(&mut world, seconds), []);
    }
    assert!(!is_dead(&world) && world.memory.refused_logins.is_empty());
    world.close("s-1");
    let _ = pass(&mut world, 660);
    let _ = pass(&mut world, 800);
    assert!(is_dead(&world), "it is the only one that lives");
}

#[test]
fn a_break_or_an_agent_that_cannot_be_looked_at_begins_the_while_anew() {
    let breaks: [fn(&mut World); 3] = [
        |world| drop(world.seen.agents.insert(session("s-1"), unseen())),
        |world| world.agent("s-1").activity = Activity::Working,
        |world| world.agent("s-1").home = None,
    ];
    for broken in breaks {
        let mut world = World::converged(2);
        out(&mut world, &["s-0", "s-1"], -1);
        let _ = pass(&mut world, 0);
        let whole = world.seen.clone();
        broken(&mut world);
        let _ = pass(&mut world, 60);
        world.seen = whole;
        let _ = pass(&mut world, 121);
        assert!(!is_dead(&world), "it begins anew");
        let _ = pass(&mut world, 241);
        assert!(is_dead(&world));
    }
}

#[test]
fn it_is_remembered_until_there_is_another_login() {
    let mut world = World::converged(1);
    out(&mut world, &["s-0"], -1);
    let _ = (pass(&mut world, 0), pass(&mut world, 120));
    world.memory.active = Some(Active { account: account("backup"), since: at(130).wall });
    world.agent("s-0").home = Some(home("backup"));
    world.agent("s-0").activity = Activity::Idle;
    let _ = pass(&mut world, 200);
    assert!(is_dead(&world), "its agents have moved away");
    world.home("primary").login = LoginView::Valid { expires_at: Some(at(1_000_000).wall) };
    let _ = pass(&mut world, 300);
    assert!(!is_dead(&world), "somebody logged in");
}

#[test]
fn what_agents_were_told_before_a_new_login_counts_no_more() {
    let mut world = World::converged(1);
    out(&mut world, &["s-0"], -1);
    let _ = (pass(&mut world, 0), pass(&mut world, 120));
    world.home("primary").login = LoginView::Valid { expires_at: Some(at(1_000_000).wall) };
    for seconds in [200, 320, 1_000] {
        let _ = pass(&mut world, seconds);
        assert!(!is_dead(&world), "the agent has not asked since");
    }
    out(&mut world, &["s-0"], 1_010);
    let _ = (pass(&mut world, 1_020), pass(&mut world, 1_140));
    assert!(is_dead(&world), "the new one is refused as well");
}

#[test]
fn a_turn_that_ended_well_makes_it_valid_again() {
    let mut world = World::converged(1);
    out(&mut world, &["s-0"], -1);
    let _ = (pass(&mut world, 0), pass(&mut world, 120));
    world.agent("s-0").activity = Activity::Idle;
    let _ = pass(&mut world, 130);
    assert!(is_dead(&world), "idle says nothing");
    world.agent("s-0").turn_ended_at = Some(at(150).wall);
    let _ = pass(&mut world, 160);
    assert!(!is_dead(&world));
}
