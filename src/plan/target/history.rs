//! What the closed swaps of the past forbid: the brakes against going back and forth. All of it follows from what the store keeps, so a
//! restart releases no brake.

use std::time::Duration;

use jiff::Timestamp;

use super::Grounds;
use crate::{
    model::{AccountName, Now, later},
    plan::{Memory, SwapSummary},
    swap::SwapVerdict,
};

/// How long a pair rests after its swap failed.
pub const PAIR_COOLDOWN: Duration = Duration::from_mins(30);
/// Going there and back within this is a reversal.
pub const REVERSAL: Duration = Duration::from_mins(30);

/// Closed swaps that an operator has not cleared, newest first.
fn counted<'a>(grounds: &Grounds<'a>) -> impl Iterator<Item = &'a SwapSummary> {
    let cleared = grounds.memory.swaps_cleared_at;
    grounds.memory.swaps.iter().rev().filter(move |swap| cleared.is_none_or(|at| swap.closed_at > at))
}

/// Whether a closed swap holds a pair or the pool back now, so that clearing the pool would change something.
pub fn is_braked(memory: &Memory, now: Now) -> bool {
    let counts = |swap: &&SwapSummary| memory.swaps_cleared_at.is_none_or(|at| swap.closed_at > at);
    let brakes = |swap: &SwapSummary| match swap.verdict {
        SwapVerdict::RolledBack | SwapVerdict::Abandoned => now.since_wall(swap.closed_at) < PAIR_COOLDOWN,
        SwapVerdict::Committed => now.since_wall(swap.closed_at) < REVERSAL,
        SwapVerdict::Latched => false,
    };
    memory.swaps.iter().filter(counts).any(brakes)
}

/// `at` plus `by`, if that is still to come.
fn still(grounds: &Grounds<'_>, at: Timestamp, by: Duration) -> Option<Timestamp> {
    let until = later(at, by);
    (until > grounds.now.wall).then_some(until)
}

/// Until when the pair rests, because its last swap failed a short while ago.
pub(super) fn cooling_down(grounds: &Grounds<'_>, from: &AccountName, to: &AccountName) -> Option<Timestamp> {
    let last = counted(grounds).find(|swap| swap.from == *from && swap.to == *to)?;
    let failed = matches!(last.verdict, SwapVerdict::RolledBack | SwapVerdict::Abandoned);
    if failed { still(grounds, last.closed_at, PAIR_COOLDOWN) } else { None }
}

/// Until when going to `to` would undo the swap by which the pool came to `active`.
pub(super) fn just_left(grounds: &Grounds<'_>, active: &AccountName, to: &AccountName) -> Option<Timestamp> {
    let arrival = counted(grounds).find(|swap| swap.verdict == SwapVerdict::Committed)?;
    let undoes = arrival.from == *to && arrival.to == *active;
    if undoes { still(grounds, arrival.closed_at, REVERSAL) } else { None }
}

/// A swap there and back, and until when automatic swaps pause for it.
pub(super) struct Reversal<'a> {
    /// The way back.
    pub(super) back: &'a SwapSummary,
    /// When the pause ends.
    pub(super) until: Timestamp,
}

/// The newest reversal, while automatic swaps pause for it.
pub(super) fn reversal<'a>(grounds: &Grounds<'a>) -> Option<Reversal<'a>> {
    let mut committed = counted(grounds).filter(|swap| swap.verdict == SwapVerdict::Committed);
    let (back, there) = (committed.next()?, committed.next()?);
    let apart = back.closed_at.duration_since(there.closed_at).unsigned_abs();
    let reverses = there.from == back.to && there.to == back.from && apart <= REVERSAL;
    if reverses { still(grounds, back.closed_at, REVERSAL).map(|until| Reversal { back, until }) } else { None }
}

/// Until when the pool stays on the active account for every cause that is not hard. The first account was not swapped to, so nothing can
/// go back and forth and it may be left at once.
pub(super) fn dwell(grounds: &Grounds<'_>) -> Option<Timestamp> {
    let active = grounds.memory.active.as_ref()?;
    let arrived = grounds.memory.swaps.iter().any(|swap| swap.verdict == SwapVerdict::Committed && swap.to == active.account);
    if arrived { still(grounds, active.since, grounds.spec.swap.min_dwell) } else { None }
}

/// Whether the window for which the pool last left `account` has begun anew while the pool was on the active one. An account that was left
/// for another reason (its login, an operator) has no such window, and the pool does not go back there by itself.
pub(super) fn has_begun_anew(grounds: &Grounds<'_>, account: &AccountName) -> bool {
    let left = grounds.memory.swaps.iter().rev().find(|swap| swap.from == *account && swap.verdict == SwapVerdict::Committed);
    let reset = left.and_then(|swap| {
        let window = swap.window.as_ref()?;
        swap.from_resets_at.or_else(|| swap.closed_at.checked_add(window.length()).ok())
    });
    let since = grounds.memory.active.as_ref().map(|active| active.since);
    reset.is_some_and(|reset| reset <= grounds.now.wall && since.is_some_and(|since| since < reset))
}
