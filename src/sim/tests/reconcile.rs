//! The planner against the simulated host: the plainest loop there is converges, and is silent afterwards.

use std::collections::BTreeSet;

use super::*;
use crate::{
    model::Now,
    plan::{Active, MemoryChange, SessionRecord, absorb, plan, wanted_transcripts},
};

/// What an effect that was done teaches the memory.
fn learnt(effect: &Effect, now: Now) -> Option<MemoryChange> {
    match effect {
        Effect::CreateLink { path, .. } => Some(MemoryChange::PutLink(path.clone())),
        Effect::RecordActive { account, .. } => Some(MemoryChange::SetActive(Active { account: account.clone(), since: now.wall })),
        Effect::CreateSession { launch, mark } | Effect::RespawnAgent { launch, mark, .. } => {
            let record = SessionRecord {
                conversation: launch.conversation,
                incarnation: 1,
                account: launch.account.clone(),
                digest: mark.digest.clone(),
                workdir: launch.workdir.clone(),
                process: None,
                started_at: now.wall,
                ended: false,
                stopped: false,
                spoken: false,
                asked: None,
            };
            Some(MemoryChange::PutSession(launch.session.clone(), record))
        }
        _ => None,
    }
}

impl Ground {
    /// One pass; how many effects it had.
    fn pass(&mut self) -> usize {
        self.look();
        let now = self.host.now();
        for change in absorb(&self.spec, &self.seen, &self.memory, now).changes {
            self.memory.apply(&change);
        }
        let look = Look { transcripts: wanted_transcripts(&self.spec, &self.seen, &self.memory), ..Look::default() };
        finish(self.host.observe(&self.memory, &look, &mut self.seen));
        let planned = plan(&self.spec, &self.seen, &self.memory, now);
        let mut unfit = BTreeSet::new();
        let mut performed = 0;
        for (_, action) in planned.plan.actions {
            let Some(effect) = action.effect.filter(|_| !unfit.contains(&action.relies_on)) else { continue };
            performed += 1;
            let world = Rc::clone(&self.world);
            match finish(until_crash(&world, self.host.perform(std::slice::from_ref(&effect)))) {
                Ok(outcomes) if outcomes[0].failure().is_none() => {
                    if let Some(change) = learnt(&effect, self.host.now()) {
                        self.memory.apply(&change);
                    }
                }
                // What relies on the same account waits for the next pass.
                Ok(_) => drop(action.relies_on.is_some() && unfit.insert(action.relies_on)),
                Err(Crashed) => {
                    self.host = SimHost::new(world);
                    self.host.configure(&self.spec, POOL);
                    return performed;
                }
            }
        }
        performed
    }

    fn converge(&mut self) {
        for _ in 0..20 {
            self.pass();
            self.advance(30);
        }
        let world = self.world.borrow();
        assert_eq!(world.mismatches(&self.spec, POOL, &account("primary")), Vec::<String>::new());
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn a_pool_converges_from_nothing_and_is_silent_then() {
    let mut ground = Ground::bare(5);
    ground.converge();
    let performed = ground.world.borrow().performed().len();
    assert_eq!((0..10).map(|_| ground.pass()).sum::<usize>(), 0);
    assert_eq!(ground.world.borrow().performed().len(), performed);
    assert_eq!(ground.world.borrow().conversations().len(), 5);
}

#[test]
fn a_pool_gets_over_what_a_person_does_to_it() {
    let mut ground = Ground::bare(4);
    ground.converge();
    let before = ground.world.borrow().conversations();
    {
        let mut world = ground.world.borrow_mut();
        let mut person = world.person();
        person.kill_agent("s-0");
        person.kill_session("s-1");
        person.put_link(Path::new("/accounts/backup/tasks"), Path::new("/data"));
        person.remove(Path::new("/accounts/primary/history.jsonl"));
        person.remove(Path::new("/people/.claude"));
    }
    ground.converge();
    assert_eq!(ground.world.borrow().conversations(), before);
    ground.world.borrow_mut().person().kill_server();
    ground.converge();
    assert_eq!(ground.world.borrow().conversations(), before);
}

#[test]
fn a_pool_converges_whatever_goes_wrong_with_one_effect() {
    let mut clean = Ground::bare(2);
    clean.converge();
    let effects = clean.world.borrow().performed().len();
    for number in 0..effects {
        for fault in Fault::ALL {
            let mut ground = Ground::bare(2);
            ground.world.borrow_mut().set_faults(FaultPlan::at(number, fault));
            ground.converge();
        }
    }
}

#[test]
fn the_same_calls_give_the_same_world() {
    let run = || {
        let mut ground = Ground::bare(3);
        ground.world.borrow_mut().later(Duration::from_secs(47), |world| world.person().kill_agent("s-1"));
        ground.world.borrow_mut().later(Duration::from_secs(90), |world| world.person().prompt("s-2", Duration::from_secs(33)));
        ground.converge();
        let world = ground.world.borrow();
        format!("{:?} {:?} {:?}", world.performed(), world.files(), world.processes())
    };
    assert_eq!(run(), run());
}
