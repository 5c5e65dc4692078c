//! The simulated host: the [`Host`] of a [`World`].

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use super::{
    World,
    act::{Begun, failed},
    fault::Fault,
    world::Performed,
};
use crate::{
    host::{Host, Look, Wake},
    model::{AccountName, Monotonic, Now, PollOutcome, PoolId},
    observed::{Checkpoint, EndedCheckpoint, Snapshot},
    plan::{Effect, Happened, Memory, Outcome},
    spec::{QuotaSource, Spec},
};

/// How long effects that are done side by side take, if no process has to end.
const EFFECT_TIME: Duration = Duration::from_millis(5);
/// How long an effect that hangs is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// What one process of ours has of the world. Made anew, it is the next process.
#[derive(Debug)]
pub struct SimHost {
    world: Rc<RefCell<World>>,
}

impl SimHost {
    /// The host of a process that was just started.
    pub fn new(world: Rc<RefCell<World>>) -> Self {
        {
            let mut world = world.borrow_mut();
            world.crashed = false;
            world.ended_polls.clear();
            world.ended_checkpoints.clear();
        }
        Self { world }
    }
}

/// Where an effect of a batch stands.
enum Standing {
    Ended(Outcome),
    Stopping { pid: crate::model::Pid, deadline: Monotonic, told: Option<Outcome> },
}

impl World {
    /// Performs a batch as far as it goes; `None` when a fault has killed the process.
    fn perform(&mut self, effects: &[Effect]) -> Option<Vec<Outcome>> {
        let mut standings = Vec::with_capacity(effects.len());
        let first = self.performed.len();
        for effect in effects {
            let fault = self.faults.of(self.performed.len());
            self.performed.push(Performed { at: self.now, effect: effect.clone(), outcome: None });
            if let Some(mut witness) = self.witness.take() {
                witness(effect);
                self.witness = Some(witness);
            }
            let told = failed(Happened::CannotTell, "its answer was lost");
            let standing = match fault {
                Some(Fault::CrashBefore) => return self.crash(),
                Some(Fault::FailBefore) => Standing::Ended(failed(Happened::No, "it failed before anything was done")),
                Some(Fault::Hang) => {
                    self.advance(DEADLINE);
                    Standing::Ended(failed(Happened::CannotTell, "nothing answered within 30 s"))
                }
                Some(Fault::CrashAfter) => {
                    if let Begun::Stopping(pid, deadline) = self.begin(effect) {
                        self.wait_for_stop(pid, deadline);
                    }
                    return self.crash();
                }
                Some(Fault::FailAfter) | None => match self.begin(effect) {
                    Begun::Ended(outcome) => Standing::Ended(if fault.is_some() { told } else { outcome }),
                    Begun::Stopping(pid, deadline) => Standing::Stopping { pid, deadline, told: fault.map(|_| told) },
                },
            };
            standings.push(standing);
        }
        self.advance(EFFECT_TIME);
        let mut outcomes = Vec::with_capacity(standings.len());
        for standing in standings {
            outcomes.push(match standing {
                Standing::Ended(outcome) => outcome,
                Standing::Stopping { pid, deadline, told } => {
                    let outcome = self.wait_for_stop(pid, deadline);
                    told.unwrap_or(outcome)
                }
            });
        }
        for (performed, outcome) in self.performed[first..].iter_mut().zip(&outcomes) {
            performed.outcome = Some(outcome.clone());
        }
        Some(outcomes)
    }

    fn wait_for_stop(&mut self, pid: crate::model::Pid, deadline: Monotonic) -> Outcome {
        self.advance_to(self.stopped_at(pid, deadline));
        self.finish_stop(pid, deadline)
    }

    fn crash(&mut self) -> Option<Vec<Outcome>> {
        self.crashed = true;
        None
    }

    /// Lets time pass until something is worth a look, or until `deadline`.
    fn wait(&mut self, deadline: Monotonic) -> BTreeSet<Wake> {
        loop {
            if self.deaf {
                self.wakes.clear();
            }
            if !self.wakes.is_empty() {
                return std::mem::take(&mut self.wakes);
            }
            match self.next_due().filter(|at| *at <= deadline) {
                Some(at) => self.advance_to(at),
                None => {
                    self.advance_to(deadline);
                    return BTreeSet::from([Wake::Timer]);
                }
            }
        }
    }
}

impl Host for SimHost {
    fn configure(&mut self, spec: &Spec, pool: PoolId) {
        let mut world = self.world.borrow_mut();
        world.spec = Some(spec.clone());
        world.pool = Some(pool);
    }

    fn now(&self) -> Now {
        self.world.borrow().now()
    }

    async fn observe(&mut self, memory: &Memory, look: &Look, seen: &mut Snapshot) {
        self.world.borrow_mut().show(memory, look, seen);
    }

    async fn perform(&mut self, effects: &[Effect]) -> Vec<Outcome> {
        let outcomes = self.world.borrow_mut().perform(effects);
        match outcomes {
            Some(outcomes) => outcomes,
            // Killed: nobody ever goes on from here. See `until_crash`.
            None => std::future::pending().await,
        }
    }

    fn start_poll(&mut self, account: &AccountName, source: QuotaSource) {
        self.world.borrow_mut().start_poll(account, source);
    }

    fn ended_polls(&mut self) -> Vec<(AccountName, QuotaSource, PollOutcome)> {
        std::mem::take(&mut self.world.borrow_mut().ended_polls)
    }

    fn start_checkpoints(&mut self, drafts: Vec<Checkpoint>) {
        for draft in drafts {
            self.world.borrow_mut().take_checkpoint(draft);
        }
    }

    fn ended_checkpoints(&mut self) -> Vec<EndedCheckpoint> {
        std::mem::take(&mut self.world.borrow_mut().ended_checkpoints)
    }

    // They end as soon as they are begun.
    async fn finish_checkpoints(&mut self, _within: Duration) {}

    async fn wake(&mut self, deadline: Monotonic) -> BTreeSet<Wake> {
        // Whoever waits beside this gets a turn first; dropped here, nothing has happened yet.
        tokio::task::yield_now().await;
        self.world.borrow_mut().wait(deadline)
    }
}
