//! Faults: for the n-th effect that is performed, what goes wrong with it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::Poll,
};

use super::World;

/// What goes wrong with an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is not done, and says so.
    FailBefore,
    /// It is done, and nobody can tell: the one that breaks ways back.
    FailAfter,
    /// The process is killed before it is done.
    CrashBefore,
    /// The process is killed when it is done.
    CrashAfter,
    /// It is not done, nothing answers until the deadline, and nobody can tell.
    Hang,
}

impl Fault {
    /// Every fault, for tests that try each of them at each effect.
    pub const ALL: [Self; 5] = [Self::FailBefore, Self::FailAfter, Self::CrashBefore, Self::CrashAfter, Self::Hang];
}

/// Faults by the number of the effect, counted from 0 over the life of the world. A restart does not begin to count anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    faults: BTreeMap<usize, Fault>,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// One fault.
    pub fn at(number: usize, fault: Fault) -> Self {
        Self::none().and(number, fault)
    }

    /// One more fault.
    #[must_use]
    pub fn and(mut self, number: usize, fault: Fault) -> Self {
        self.faults.insert(number, fault);
        self
    }

    /// The fault of an effect, if it has one.
    pub fn of(&self, number: usize) -> Option<Fault> {
        self.faults.get(&number).copied()
    }
}

/// The process was killed by a fault. What it had in memory is gone; what it had written or done is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process was killed by a fault of the simulation")]
pub struct Crashed;

/// Runs `work` until it is finished, or until a fault kills the process that it stands for. Then `work` is dropped as it is, and the next
/// [`SimHost`](super::SimHost) of this world is that of the next process.
///
/// # Errors
/// [`Crashed`].
pub async fn until_crash<T>(world: &Rc<RefCell<World>>, work: impl Future<Output = T>) -> Result<T, Crashed> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending if world.borrow().has_crashed() => Poll::Ready(Err(Crashed)),
        Poll::Pending => Poll::Pending,
    })
    .await
}
