//! Swaps under conditions that last.

use std::time::Duration;

use claude_failover::{
    model::{AccountName, EventReason, WindowKind},
    sim::Node,
    swap::SwapVerdict,
};

use crate::lab::{LONG, Lab, POOL};

#[test]
fn constant_readings_give_at_most_one_swap() {
    let lab = Lab::converged(POOL);
    lab.usage("primary", 91.0);
    lab.assert_converged("one account over");
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed]);
    assert_eq!(lab.active().as_str(), "backup");
}

#[test]
fn two_accounts_over_stop_nothing() {
    let lab = Lab::converged(POOL);
    let before = lab.effects();
    lab.usage("backup", 99.0);
    lab.run(Duration::from_mins(10));
    lab.usage("primary", 91.0);
    lab.run(LONG);
    assert_eq!(lab.effects(), before, "{}", lab.story());
    assert_eq!(lab.verdicts(), []);
    assert!(lab.memory().exhausted_since.is_some());
    assert_eq!(lab.differences(), [""; 0]);
}

#[test]
fn a_target_just_below_its_threshold_is_no_target() {
    let lab = Lab::converged(POOL);
    let before = lab.effects();
    lab.usage("backup", 75.0);
    lab.run(Duration::from_mins(10));
    lab.usage("primary", 91.0);
    lab.run(LONG);
    assert_eq!(lab.effects(), before, "{}", lab.story());
}

#[test]
fn a_working_session_is_waited_for() {
    let lab = Lab::converged(POOL);
    lab.world.borrow_mut().person().prompt("s-2", Duration::from_mins(9));
    lab.usage("primary", 91.0);
    lab.run(Duration::from_mins(8));
    assert!(lab.is_swapping(), "the swap waits for s-2\n{}", lab.story());
    lab.assert_converged("after the turn");
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed]);
}

/// The links of the target fail right behind the flip, and only a person can mend them: the pool is back where it was, with an explicit error.
#[test]
fn links_that_fail_behind_the_flip_turn_the_swap_back() {
    let lab = Lab::converged(POOL);
    break_behind_flip(&lab, "/lab/backup", &["/lab/backup/tasks"]);
    lab.usage("primary", 91.0);
    lab.run(Duration::from_mins(20));
    assert_eq!(lab.verdicts(), [SwapVerdict::RolledBack], "{}", lab.story());
    assert_eq!(lab.active().as_str(), "primary");
    let told = lab.events().into_iter().any(|stored| stored.event.message.contains("/lab/backup/tasks"));
    assert!(told, "the error names the link\n{}", lab.story());
    let differences: Vec<_> = lab.differences().into_iter().filter(|difference| !difference.starts_with("/lab/backup/tasks")).collect();
    assert_eq!(differences, [""; 0], "{}", lab.story());
    lab.assert_promises("rolled back");
}

/// And the way back fails too: latched, both errors kept, nothing that runs is touched, and no further swap.
#[test]
fn a_way_back_that_fails_is_latched_for_good() {
    let lab = Lab::converged(POOL);
    break_behind_flip(&lab, "/lab/backup", &["/lab/backup/tasks", "/lab/primary/tasks"]);
    lab.usage("primary", 91.0);
    lab.run(Duration::from_mins(20));
    assert_eq!(lab.verdicts(), [SwapVerdict::Latched], "{}", lab.story());
    assert!(lab.is_latched(), "{}", lab.story());
    let before = (lab.effects(), lab.active(), lab.events().len());
    // A new process, and every reason to swap again.
    lab.usage("primary", 100.0);
    lab.run(Duration::from_hours(3));
    assert_eq!((lab.effects(), lab.active(), lab.events().len()), before, "{}", lab.story());
    assert!(lab.is_latched());
    lab.assert_promises("latched");
}

/// A session that the swap could not move, and that its policy would keep down, was taken down by us: it is started again.
#[test]
fn a_session_that_a_swap_gave_up_comes_back_whatever_its_policy() {
    use claude_failover::sim::{Manner, Who, World};
    fn heal(world: &mut World, who: Who) {
        let tried = |process: &&claude_failover::sim::Process| process.session == "s-1" && process.home.ends_with("backup");
        let over = world.processes().values().filter(tried).filter(|process| !process.is_alive()).count();
        if over >= 2 {
            world.set_manner(who, Manner::default());
        } else {
            world.later(Duration::from_millis(1), move |world| heal(world, who));
        }
    }
    let lab = Lab::new(&POOL.replace("workdir: /lab/work }", "workdir: /lab/work, restart: never }"));
    lab.run(LONG);
    let who =
        Who { session: Some(claude_failover::model::SessionName::new("s-1").unwrap()), account: Some(AccountName::new("backup").unwrap()) };
    lab.world.borrow_mut().set_manner(who.clone(), Manner { exits: Some((Duration::from_millis(100), 1)), ..Manner::default() });
    heal(&mut lab.world.borrow_mut(), who);
    lab.usage("primary", 91.0);
    lab.run(LONG);
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed], "{}", lab.story());
    let given_up = lab.events().into_iter().any(|stored| stored.event.reason == EventReason::SessionUnproven);
    assert!(given_up, "s-1 was given up\n{}", lab.story());
    lab.assert_converged("s-1 is back");
}

/// The API refuses a login whose file looks as valid as ever: once all agents were told so, the pool leaves for the other account.
#[test]
fn a_login_that_every_agent_is_refused_is_left() {
    let lab = Lab::converged(POOL);
    lab.world.borrow_mut().person().refuse_login("/lab/primary".as_ref(), true);
    for session in ["s-0", "s-1", "s-2"] {
        lab.world.borrow_mut().person().prompt(session, Duration::from_mins(1));
    }
    lab.run(LONG);
    assert_eq!(lab.verdicts(), [], "s-3 has nothing against it\n{}", lab.story());
    lab.world.borrow_mut().person().prompt("s-3", Duration::from_mins(1));
    lab.run(Duration::from_mins(5));
    lab.assert_converged("the login is refused");
    assert_eq!(lab.verdicts(), [SwapVerdict::Committed], "{}", lab.story());
    assert_eq!(lab.active().as_str(), "backup");
    assert!(lab.memory().refused_logins.contains_key(&AccountName::new("primary").unwrap()));
}

/// The moment the active link leads to `home`, regular files stand where the links were.
fn break_behind_flip(lab: &Lab, home: &'static str, links: &'static [&'static str]) {
    fn watch(world: &mut claude_failover::sim::World, home: &'static str, links: &'static [&'static str]) {
        if matches!(world.files().node("/lab/active".as_ref()), Some(Node::Link(target)) if target == std::path::Path::new(home)) {
            for link in links {
                world.person().remove(link.as_ref());
                world.person().put_file(link.as_ref(), "a program wrote this");
            }
        } else {
            world.later(Duration::from_millis(1), move |world| watch(world, home, links));
        }
    }
    watch(&mut lab.world.borrow_mut(), home, links);
}

#[test]
fn stale_readings_cause_nothing() {
    let lab = Lab::converged(POOL);
    let account = AccountName::new("primary").unwrap();
    if let Some(usage) = lab.world.borrow_mut().usage_mut(&account) {
        usage.poll = claude_failover::model::PollOutcome::Failed;
    }
    lab.run(Duration::from_hours(1));
    let before = lab.effects();
    lab.world.borrow_mut().set_used(&account, &WindowKind::FiveHour, 97.0, Duration::from_hours(48));
    lab.run(LONG);
    assert_eq!(lab.effects(), before, "{}", lab.story());
}
