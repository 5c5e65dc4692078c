//! Whether the pool leaves its account, and where it goes.
//!
//! # Guarantees
//! - An account is left for a typed cause only: a fresh reading at or over its threshold, a limit that was hit, a login that is dead, a more
//!   preferred account whose window has begun anew, or an operator. What is unknown or stale causes nothing and is no target.
//! - A target has a working login, links that are right or ours to put right, its 5-hour and weekly windows known and fresh, and every known
//!   window at or below its threshold minus the headroom.
//! - On constant readings there is at most one swap. Leaving and entering use different lines, the dwell time and the brakes
//!   follow from what the store keeps, and the pool never goes there and back within 30 minutes. A window that begins anew is no constant
//!   reading: for it the pool may fail back, once.
//! - Every refusal is a value with words for an operator.
//!
//! # Does not
//! Check again at the moment of acting: the swap's own guard does, with the same functions and newer facts.

mod history;
mod standing;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Memory,
    burn::{self, Effective},
};
use crate::{
    model::{AccountName, AccountUsage, Now, ObjectRef},
    observed::LoginView,
    spec::{Account, Failback, Spec},
    swap::SwapCause,
};

pub use history::{PAIR_COOLDOWN, REVERSAL, is_braked};
pub use standing::{Refusal, Standing};

/// What is known of an account's home. Whoever fills it in turns a stale look into an unknown one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Its login.
    pub login: LoginView,
    /// Its shared links, taken together.
    pub links: LinksState,
}

/// The shared links of one account, taken together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinksState {
    /// All are right.
    Right,
    /// What is not right is ours to put right.
    Repairable,
    /// Something stands there that only a person may move.
    Wrong {
        /// What and where.
        why: String,
    },
    /// They could not be looked at.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// What a choice rests on.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The newest readings of each account.
    pub usage: &'a BTreeMap<AccountName, AccountUsage>,
    /// The home of each account; one that is absent is unknown.
    pub homes: &'a BTreeMap<AccountName, Readiness>,
    /// The instant.
    pub now: Now,
}

/// What to do about the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    /// Nothing.
    Stay,
    /// Carry the pool to another account.
    Swap {
        /// Which.
        to: AccountName,
        /// Why.
        cause: SwapCause,
    },
    /// The active account should be left, and no other has room. Nothing is stopped.
    Exhausted {
        /// When the first account has room again as far as is known: the latest of its blocking windows.
        until: Option<Timestamp>,
        /// For each account what speaks against it.
        why: BTreeMap<AccountName, Vec<String>>,
    },
    /// The active account should be left and there is somewhere to go, but something forbids it.
    Blocked {
        /// What.
        reason: BlockReason,
        /// When that ends by itself, if it does.
        until: Option<Timestamp>,
        /// One sentence: what forbids it, and what ends that.
        message: String,
    },
}

/// What forbids a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockReason {
    /// The pool, its shared root or its active link is latched.
    Latched,
    /// The pool is suspended.
    Suspended,
    /// The pool is cordoned.
    Cordoned,
    /// The pool went, or would go, there and back.
    BreakerOpen,
    /// The swap to the only account with room failed a short while ago.
    CoolingDown,
    /// The pool has not been on its account for long enough.
    MinDwell,
    /// The active account is not in the spec.
    NotDeclared,
}

impl BlockReason {
    /// The word that programs match.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latched => "Latched",
            Self::Suspended => "Suspended",
            Self::Cordoned => "Cordoned",
            Self::BreakerOpen => "BreakerOpen",
            Self::CoolingDown => "CoolingDown",
            Self::MinDwell => "MinDwell",
            Self::NotDeclared => "NotDeclared",
        }
    }
}

/// A choice with everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Decision {
    /// What to do.
    pub choice: Choice,
    /// One sentence: why that and nothing else.
    pub why: String,
    /// How each declared account stands.
    pub standings: BTreeMap<AccountName, Standing>,
}

/// Why an operator's swap is refused: everything at once, so that it can be put right in one go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pool cannot go to {to}: {}", reasons.join("; "))]
pub struct OperatorRefusal {
    /// Where the operator wanted to go.
    pub to: AccountName,
    /// One sentence for each thing that speaks against it, at least one.
    pub reasons: Vec<String>,
}

/// Decides whether the pool leaves its account, and for where.
pub fn choose(grounds: &Grounds<'_>) -> Decision {
    let standings = standing::all(grounds);
    let (choice, why) = decide(grounds, &standings);
    Decision { choice, why, standings }
}

/// Whether an operator may send the pool to `to`. The same guard as for automatic swaps; only the brakes on automatic ones (dwell time,
/// breaker) do not bind a person.
///
/// # Errors
/// [`OperatorRefusal`] with everything that speaks against it.
pub fn guard_operator(grounds: &Grounds<'_>, to: &AccountName) -> Result<(), OperatorRefusal> {
    let mut reasons = Vec::new();
    if grounds.memory.swap.is_some() {
        reasons.push("a swap is under way; wait for its end".to_owned());
    }
    reasons.extend(gate(grounds).map(|block| block.message));
    match (standing::all(grounds).get(to), &grounds.memory.active) {
        (None, _) => reasons.push("the spec has no account of that name".to_owned()),
        (Some(_), None) => reasons.push("the pool is on no account yet; it has not converged once".to_owned()),
        (Some(standing), Some(_)) if standing.active => reasons.push("the pool is there already".to_owned()),
        (Some(standing), Some(_)) => {
            let binds = |refusal: &&Refusal| !matches!(refusal, Refusal::JustLeft { .. });
            reasons.extend(standing.refusals.iter().filter(binds).map(Refusal::to_string));
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(OperatorRefusal { to: to.clone(), reasons }) }
}

/// Something that forbids a swap.
struct Block {
    reason: BlockReason,
    until: Option<Timestamp>,
    message: String,
}

impl From<Block> for Choice {
    fn from(Block { reason, until, message }: Block) -> Self {
        Self::Blocked { reason, until, message }
    }
}

/// The choice and why, from the standings. That nowhere is room is said before what forbids a swap: it outlasts it.
fn decide(grounds: &Grounds<'_>, standings: &BTreeMap<AccountName, Standing>) -> (Choice, String) {
    let Some(active) = &grounds.memory.active else {
        return (Choice::Stay, "the pool is on no account yet".to_owned());
    };
    if let Some(swap) = &grounds.memory.swap {
        return (Choice::Stay, format!("swap {} to {} is under way", swap.plan.id, swap.plan.to));
    }
    let Some(account) = grounds.spec.account(&active.account) else {
        let message = format!("the active account {} is not in the spec; put it back, or swap to another", active.account);
        let block = Block { reason: BlockReason::NotDeclared, until: None, message: message.clone() };
        return (block.into(), message);
    };
    let Some(cause) = cause_to_leave(grounds, account) else {
        return fail_back(grounds, account, standings);
    };
    let target =
        grounds.spec.accounts.iter().map(|account| &account.name).find(|name| standings.get(name).is_some_and(Standing::is_viable));
    let Some(to) = target else {
        let why = format!("{} should be left ({}), and no other account can take the pool", account.name, cause);
        return (no_target(standings), why);
    };
    let pause = || if cause.is_hard() { None } else { dwell(grounds, account) };
    if let Some(block) = gate(grounds).or_else(|| breaker(grounds)).or_else(pause) {
        let why = format!("{} should be left for {to} ({}), but {}", account.name, cause, block.message);
        return (block.into(), why);
    }
    let why = format!("{} is left for {to}: {}", account.name, cause);
    (Choice::Swap { to: to.clone(), cause }, why)
}

/// Why the active account should be left. Of several full windows the hard ones count first, then the one that lasts longest.
fn cause_to_leave(grounds: &Grounds<'_>, account: &Account) -> Option<SwapCause> {
    match grounds.homes.get(&account.name).map(|home| &home.login) {
        Some(LoginView::Dead { reason }) => return Some(SwapCause::LoginDead { reason: reason.clone() }),
        Some(LoginView::Missing) => return Some(SwapCause::LoginDead { reason: "its home has no login".to_owned() }),
        Some(LoginView::Unknown | LoginView::Valid { .. }) | None => {}
    }
    let causes = standing::readings(grounds, &account.name).filter_map(|(window, reading)| {
        let known = burn::effective(Some(reading), grounds.now, grounds.spec.quota.stale_after);
        let threshold = account.thresholds.of(window);
        let cause = match known {
            _ if standing::is_hit(reading, known) => SwapCause::LimitHit { window: window.clone() },
            Effective::Known(used) if used >= threshold => SwapCause::Threshold { window: window.clone(), used, threshold },
            Effective::Known(_) | Effective::LowerBound { .. } | Effective::Unknown(_) => return None,
        };
        Some((cause.is_hard(), reading.resets_at.unwrap_or(Timestamp::MAX), cause))
    });
    causes.max_by_key(|(is_hard, resets_at, _)| (*is_hard, *resets_at)).map(|(_, _, cause)| cause)
}

/// The choice when the active account may stay: go back to a more preferred one, or do nothing.
fn fail_back(grounds: &Grounds<'_>, account: &Account, standings: &BTreeMap<AccountName, Standing>) -> (Choice, String) {
    let stays = match standings.get(&account.name).filter(|standing| !standing.refusals.is_empty()) {
        Some(standing) => format!("{} stays: nothing fresh speaks for leaving it ({})", account.name, standing.reasons().join("; ")),
        None => format!("{} stays: nothing that is known speaks for leaving it", account.name),
    };
    let preferred = grounds.spec.accounts.iter().map(|other| &other.name).take_while(|name| **name != account.name);
    let due = |name: &&AccountName| standings.get(name).is_some_and(Standing::is_viable) && history::has_begun_anew(grounds, name);
    let wanted = if grounds.spec.swap.failback == Failback::OnReset { preferred.clone().find(due) } else { None };
    let Some(to) = wanted else {
        return (Choice::Stay, stays);
    };
    match gate(grounds).or_else(|| breaker(grounds)).or_else(|| dwell(grounds, account)) {
        Some(block) => (Choice::Stay, format!("{stays}; {to} is preferred and has room again, but {}", block.message)),
        None => (
            Choice::Swap { to: to.clone(), cause: SwapCause::Failback },
            format!("{} is left for {to}, which is preferred and whose window has begun anew", account.name),
        ),
    }
}

/// The choice when there is a cause and no target.
fn no_target(standings: &BTreeMap<AccountName, Standing>) -> Choice {
    let held = standings.iter().filter(|(_, standing)| !standing.active && standing.is_held_by_history());
    let first =
        held.filter_map(|(name, standing)| Some((standing.relief()?, name, standing))).min_by_key(|(until, name, _)| (*until, *name));
    if let Some((until, name, standing)) = first {
        let just_left = standing.refusals.iter().any(|refusal| matches!(refusal, Refusal::JustLeft { .. }));
        let reason = if just_left { BlockReason::BreakerOpen } else { BlockReason::CoolingDown };
        let message = format!("only {name} has room: {}; clearing the pool ends the wait", standing.reasons().join("; "));
        return Choice::Blocked { reason, until: Some(until), message };
    }
    let until = standings.values().filter_map(Standing::relief).min();
    let why = standings.iter().map(|(name, standing)| (name.clone(), standing.reasons())).collect();
    Choice::Exhausted { until, why }
}

/// What forbids every swap, also an operator's.
fn gate(grounds: &Grounds<'_>) -> Option<Block> {
    let memory = grounds.memory;
    for object in [ObjectRef::Pool, ObjectRef::SharedRoot, ObjectRef::ActiveLink] {
        if let Some(latch) = memory.latches.get(&object) {
            let message = format!("{object} is latched ({}) since {:.0}; look at it, then clear it", latch.reason, latch.since);
            return Some(Block { reason: BlockReason::Latched, until: None, message });
        }
    }
    let runs = |until: Option<Timestamp>| until.is_none_or(|until| until > grounds.now.wall);
    if let Some(suspension) = memory.suspended.as_ref().filter(|suspension| runs(suspension.until)) {
        let message = format!("{} suspended the pool ({}); resume it to go on", suspension.actor, suspension.reason);
        return Some(Block { reason: BlockReason::Suspended, until: suspension.until, message });
    }
    memory.cordoned.get(&ObjectRef::Pool).map(|cordon| Block {
        reason: BlockReason::Cordoned,
        until: None,
        message: format!("{} cordoned the pool ({}); uncordon it to go on", cordon.actor, cordon.reason),
    })
}

/// The pause of automatic swaps after the pool went there and back.
fn breaker(grounds: &Grounds<'_>) -> Option<Block> {
    history::reversal(grounds).map(|reversal| Block {
        reason: BlockReason::BreakerOpen,
        until: Some(reversal.until),
        message: format!(
            "the pool went from {to} to {from} and back within {minutes} minutes; automatic swaps pause until {:.0} or until the pool is cleared",
            reversal.until,
            to = reversal.back.to,
            from = reversal.back.from,
            minutes = REVERSAL.as_secs() / 60,
        ),
    })
}

/// The rest of the dwell time.
fn dwell(grounds: &Grounds<'_>, account: &Account) -> Option<Block> {
    history::dwell(grounds).map(|until| Block {
        reason: BlockReason::MinDwell,
        until: Some(until),
        message: format!("the pool stays on {} until {until:.0} (minDwell), unless a limit is hit or the login dies", account.name),
    })
}

#[cfg(test)]
mod tests;
