//! Every fault at every effect of every scenario.

use claude_failover::{
    sim::{Fault, FaultPlan},
    swap::SwapVerdict,
};

use crate::lab::{LONG, Lab, POOL};

/// Runs `scenario` on a pool that has converged (or on a bare host), clean and then with each fault at each effect.
fn at_every_effect(what: &str, prepare: fn(&Lab), scenario: fn(&Lab)) {
    let clean = Lab::new(POOL);
    prepare(&clean);
    let first = clean.effects();
    scenario(&clean);
    clean.assert_converged(what);
    let count = clean.effects() - first;
    assert!(count > 0, "{what}: the clean run does nothing");
    for number in 0..count {
        for fault in Fault::ALL {
            let lab = Lab::new(POOL);
            prepare(&lab);
            lab.world.borrow_mut().set_faults(FaultPlan::at(first + number, fault));
            scenario(&lab);
            lab.assert_converged(&format!("{what}, effect {number}, {fault:?}"));
        }
    }
}

fn converge(lab: &Lab) {
    lab.run(LONG);
    assert_eq!(lab.differences(), [""; 0], "{}", lab.story());
}

#[test]
fn a_bare_host_converges() {
    at_every_effect("from nothing", |_| {}, |_| {});
}

#[test]
fn what_people_break_is_put_right() {
    at_every_effect("broken by people", converge, |lab| {
        let mut world = lab.world.borrow_mut();
        let mut person = world.person();
        person.kill_agent("s-0");
        person.kill_session("s-1");
        person.remove("/lab/backup/projects".as_ref());
        person.put_link("/lab/primary/tasks".as_ref(), "/lab/work".as_ref());
    });
}

#[test]
fn a_lost_server_comes_back_with_every_session() {
    at_every_effect("the server is killed", converge, |lab| lab.world.borrow_mut().person().kill_server());
}

#[test]
fn a_swap_ends_on_one_account() {
    at_every_effect("a swap", converge, |lab| lab.usage("primary", 91.0));
}

/// The way back, too: the target's agents end as soon as they start, and each step of the return fails once.
#[test]
fn a_swap_that_fails_goes_back() {
    use claude_failover::sim::{Manner, Who};
    at_every_effect("a swap to an account that does not work", converge, |lab| {
        let who = Who { session: None, account: Some(claude_failover::model::AccountName::new("backup").unwrap()) };
        let manner = Manner { exits: Some((std::time::Duration::from_millis(100), 1)), ..Manner::default() };
        lab.world.borrow_mut().set_manner(who, manner);
        // The window begins anew, so that the pool is not driven out again and again.
        lab.usage("primary", 91.0);
        let account = claude_failover::model::AccountName::new("primary").unwrap();
        lab.world.borrow_mut().later(std::time::Duration::from_mins(15), move |world| {
            let (five, week) = (claude_failover::model::WindowKind::FiveHour, claude_failover::model::WindowKind::Weekly);
            world.set_used(&account, &five, 2.0, std::time::Duration::from_hours(48));
            world.set_used(&account, &week, 20.0, std::time::Duration::from_hours(100));
        });
    });
}

/// Nothing that happens at a single effect may leave the pool between two accounts.
#[test]
fn a_single_fault_never_latches_a_swap() {
    let clean = Lab::new(POOL);
    converge(&clean);
    let first = clean.effects();
    clean.usage("primary", 91.0);
    clean.run(LONG);
    assert_eq!(clean.verdicts(), [SwapVerdict::Committed]);
    for number in first..clean.effects() {
        for fault in Fault::ALL {
            let lab = Lab::new(POOL);
            converge(&lab);
            lab.world.borrow_mut().set_faults(FaultPlan::at(number, fault));
            lab.usage("primary", 91.0);
            lab.run(LONG);
            assert!(!lab.verdicts().contains(&SwapVerdict::Latched), "effect {number}, {fault:?}\n{}", lab.story());
        }
    }
}
