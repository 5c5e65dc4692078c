//! Whether anything is dispatched now, and how much.

use std::time::Duration;

use jiff::Timestamp;

use super::later;
use crate::{
    model::{Now, ObjectRef},
    plan::{Memory, pool_wide_hold, target::Choice},
    spec::Spec,
};

/// No account has room.
const EXHAUSTED: &str = "Exhausted";
/// The active account has none, and the pool may not leave it now.
const BLOCKED: &str = "SwapBlocked";
/// The active account is about to have none.
const NEAR: &str = "NearThreshold";

/// How often more tasks are let out after room came back.
const STEP: Duration = Duration::from_secs(10);
/// For how long they are let out slowly.
const SLOW: Duration = Duration::from_mins(10);

/// Whether tasks are given out, and how many may be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Why nothing is given out now.
    pub hold: Option<Hold>,
    /// How many more tasks may begin.
    pub room: usize,
    /// When there will be more room without anything else changing.
    pub more_at: Option<Timestamp>,
}

impl Gate {
    /// Nothing speaks against giving tasks out.
    pub const OPEN: Self = Self { hold: None, room: usize::MAX, more_at: None };

    /// Whether it is the lack of room that holds everything back: what waits for it must not begin all at once.
    pub fn is_tight(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| [EXHAUSTED, BLOCKED, NEAR].contains(&hold.reason.as_str()))
    }
}

/// Why nothing is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// One CamelCase word.
    pub reason: String,
    /// One sentence: why.
    pub message: String,
    /// Until when, if that is known.
    pub until: Option<Timestamp>,
}

/// What the gate rests on.
#[derive(Debug, Clone, Copy)]
pub struct GateGrounds<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What is remembered.
    pub memory: &'a Memory,
    /// What was decided about the account.
    pub choice: &'a Choice,
    /// When the active account reaches a threshold, as its fresh readings project; `None` when they do not say.
    pub reaches: Option<Timestamp>,
    /// Whether it was for lack of room that nothing was given out until now.
    pub was_tight: bool,
    /// The instant.
    pub now: Now,
}

/// Decides whether tasks are given out. That nothing is known of the usage holds nothing: a pool whose readings fail goes on working until it is told
/// of a limit.
pub fn gate(grounds: &GateGrounds<'_>) -> Gate {
    let hold = hold(grounds);
    if hold.is_some() {
        return Gate { hold, room: 0, more_at: None };
    }
    let now = grounds.now.wall;
    let since = if grounds.was_tight { Some(now) } else { grounds.memory.room_since };
    let Some(since) = since.filter(|since| *since <= now && now < later(*since, SLOW)) else { return Gate::OPEN };
    let steps = grounds.now.since_wall(since).as_secs() / STEP.as_secs();
    let allowed = grounds.spec.swap.batch.max(1).saturating_mul(usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1));
    let under_way = grounds.memory.open_attempts().count();
    let step = Duration::from_secs((steps + 1).saturating_mul(STEP.as_secs()));
    Gate { hold: None, room: allowed.saturating_sub(under_way), more_at: Some(later(since, step)) }
}

fn hold(grounds: &GateGrounds<'_>) -> Option<Hold> {
    let GateGrounds { spec, memory, choice, reaches, now, .. } = *grounds;
    let held = |reason: &str, message: String, until| Some(Hold { reason: reason.to_owned(), message, until });
    if let Some((reason, message)) = pool_wide_hold(memory, now) {
        return held(reason, message, memory.suspended.as_ref().and_then(|suspension| suspension.until));
    }
    if let Some(cordon) = memory.cordoned.get(&ObjectRef::Pool) {
        return held("Cordoned", format!("{} cordoned the pool: {}", cordon.actor, cordon.reason), None);
    }
    let Some(active) = &memory.active else {
        return held("NoActiveAccount", "the pool is on no account yet".to_owned(), None);
    };
    if let Some(swap) = &memory.swap {
        // By then the busy sessions have been interrupted, and have had the time to be proven.
        let until = Some(later(swap.plan.drain_until, swap.plan.prove_within)).filter(|until| *until > now.wall);
        return held("SwapOpen", format!("swap {} to {} is under way", swap.plan.id, swap.plan.to), until);
    }
    match choice {
        Choice::Stay => {}
        Choice::Swap { to, .. } => return held("SwapOpen", format!("the pool is about to leave {} for {to}", active.account), None),
        Choice::Exhausted { until, .. } => return held(EXHAUSTED, "no account has room".to_owned(), *until),
        Choice::Blocked { message, until, .. } => {
            return held(BLOCKED, format!("{} should be left, but {message}", active.account), *until);
        }
    }
    let at = reaches.filter(|at| *at <= later(now.wall, spec.swap.drain))?;
    held(
        NEAR,
        format!("{} reaches a threshold at about that time, and a task begun now might not end before", active.account),
        Some(at.max(now.wall)),
    )
}
