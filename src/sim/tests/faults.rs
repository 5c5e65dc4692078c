//! What each fault does to an effect, and what is left after a crash.

use super::*;
use crate::plan::{Failure, Happened};

fn make_root() -> Effect {
    Effect::InitSharedRoot { root: "/data/shared".into(), pool: POOL }
}

fn happened(outcome: &Outcome) -> Option<Happened> {
    outcome.failure().map(|Failure { happened, .. }| *happened)
}

#[test]
fn each_fault_says_what_it_must_and_leaves_what_it_must() {
    for (fault, says, is_done) in [
        (Fault::FailBefore, Happened::No, false),
        (Fault::FailAfter, Happened::CannotTell, true),
        (Fault::Hang, Happened::CannotTell, false),
    ] {
        let mut ground = Ground::bare(1);
        ground.world.borrow_mut().set_faults(FaultPlan::at(0, fault));
        let outcome = ground.perform(&make_root());
        assert_eq!(happened(&outcome), Some(says), "{fault:?}");
        assert_eq!(ground.world.borrow().files().target(Path::new("/data/shared")).is_some(), is_done, "{fault:?}");
        let again = ground.perform(&make_root());
        assert_eq!(again, if is_done { Outcome::Unchanged } else { Outcome::Changed }, "{fault:?}: done again");
        assert_eq!(ground.world.borrow().performed().len(), 2);
    }
}

#[test]
fn a_crash_ends_the_work_and_not_the_world() {
    for (fault, is_done) in [(Fault::CrashBefore, false), (Fault::CrashAfter, true)] {
        let mut ground = Ground::bare(1);
        ground.world.borrow_mut().set_faults(FaultPlan::at(1, fault));
        let effects = [Effect::StartServer, make_root(), Effect::StartServer];
        let world = Rc::clone(&ground.world);
        let work = async {
            let outcomes = ground.host.perform(&effects).await;
            panic!("went on after a crash with {outcomes:?}");
        };
        let end: Result<(), _> = finish(until_crash(&world, work));
        assert_eq!(end, Err(Crashed));
        assert!(world.borrow().tmux().server.is_some(), "what came before is done");
        assert_eq!(world.borrow().files().target(Path::new("/data/shared")).is_some(), is_done, "{fault:?}");
        let performed: Vec<_> = world.borrow().performed().iter().map(|performed| performed.outcome.clone()).collect();
        assert_eq!(performed, [None, None], "what came behind was never begun, and no answer was given");
        let mut next = SimHost::new(Rc::clone(&world));
        next.configure(&ground.spec, POOL);
        assert!(!world.borrow().has_crashed());
        let outcome = finish(next.perform(&[make_root()]));
        assert_eq!(outcome, [if is_done { Outcome::Unchanged } else { Outcome::Changed }]);
    }
}

#[test]
fn work_that_no_fault_meets_is_finished() {
    let ground = Ground::bare(1);
    assert_eq!(finish(until_crash(&ground.world, async { 3 })), Ok(3));
}

#[test]
fn a_stop_whose_answer_is_lost_has_still_stopped() {
    let mut ground = Ground::ready(1);
    ground.with_transcript("s-0", "primary");
    let stop = ground.stop("s-0");
    let number = ground.world.borrow().performed().len();
    ground.world.borrow_mut().set_faults(FaultPlan::at(number, Fault::FailAfter));
    assert_eq!(happened(&ground.perform(&stop)), Some(Happened::CannotTell));
    assert_eq!(ground.agent("s-0").process, None);
}

#[test]
fn a_witness_sees_each_effect_before_it_is_done() {
    let mut ground = Ground::bare(1);
    let count = Rc::new(RefCell::new(0));
    let seen = Rc::clone(&count);
    ground.world.borrow_mut().set_witness(move |_| *seen.borrow_mut() += 1);
    ground.world.borrow_mut().set_faults(FaultPlan::at(0, Fault::FailBefore));
    ground.perform(&make_root());
    ground.perform(&make_root());
    assert_eq!(*count.borrow(), 2);
}

#[test]
fn a_blind_look_is_unknown_and_a_later_one_is_not() {
    let mut ground = Ground::ready(1);
    ground.with_transcript("s-0", "primary");
    ground.look();
    for source in [Source::Tmux, Source::Agents, Source::Homes, Source::Links, Source::Transcripts] {
        ground.world.borrow_mut().blind(source, 1);
    }
    ground.memory.sessions.insert(
        session("s-0"),
        crate::plan::SessionRecord {
            conversation: POOL.conversation(&session("s-0"), 1),
            incarnation: 1,
            account: account("primary"),
            digest: mark("s-0").digest,
            workdir: "/work".into(),
            process: None,
            started_at: ground.host.now().wall,
            ended: false,
            stopped: false,
            spoken: false,
            asked: None,
        },
    );
    let look = Look { transcripts: [(session("s-0"), None)].into(), ..Look::all() };
    let known = |ground: &Ground| {
        let seen = &ground.seen;
        [
            seen.tmux.value().is_some(),
            seen.agents[&session("s-0")].value().is_some(),
            seen.homes[&account("primary")].value().is_some(),
            seen.links.values().all(|link| link.value().is_some()),
            seen.shared_root.value().is_some(),
            seen.active_link.value().is_some(),
            seen.transcripts[&session("s-0")].value().is_some(),
        ]
    };
    // Without the panes nothing is known of the agents either.
    ground.world.borrow_mut().blind(Source::Agents, 0);
    finish(ground.host.observe(&ground.memory, &look, &mut ground.seen));
    assert_eq!(known(&ground), [false; 7]);
    ground.world.borrow_mut().blind(Source::Agents, 1);
    finish(ground.host.observe(&ground.memory, &look, &mut ground.seen));
    assert_eq!(known(&ground), [true, false, true, true, true, true, true]);
    finish(ground.host.observe(&ground.memory, &look, &mut ground.seen));
    assert_eq!(known(&ground), [true; 7]);
}

#[test]
fn a_deaf_host_is_woken_by_the_timer_alone() {
    let mut ground = Ground::ready(1);
    let create = ground.create("s-0", "primary");
    ground.done(&create);
    ground.world.borrow_mut().set_deaf(true);
    let deadline = ground.host.now().mono.plus(Duration::from_mins(1));
    assert_eq!(finish(ground.host.wake(deadline)), [crate::host::Wake::Timer].into());
    assert_eq!(ground.host.now().mono, deadline);
    ground.world.borrow_mut().set_deaf(false);
    ground.world.borrow_mut().person().kill_agent("s-0");
    assert!(finish(ground.host.wake(deadline.plus(Duration::from_mins(1)))).contains(&crate::host::Wake::Agents));
    assert_eq!(ground.host.now().mono, deadline, "no time has passed");
}

#[test]
fn waiting_ends_when_something_happens_by_itself() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().later(Duration::from_secs(40), |world| world.person().start_shell("visitor"));
    let before = ground.host.now();
    while !ground.world.borrow().tmux().sessions.contains_key("visitor") {
        finish(ground.host.wake(before.mono.plus(Duration::from_mins(10))));
    }
    assert_eq!(ground.host.now().since(before), Duration::from_secs(40));
}
