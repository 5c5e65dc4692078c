//! What of a plan may be done now. Every removal leaves its reason in the report.

use std::collections::BTreeSet;

use super::{Action, Memory, Phase, Planned, Waiting};
use crate::model::{AccountName, Now, ObjectRef};

/// Takes out what latches, the suspension and back-off forbid.
///
/// While `PartialSwap` is latched nothing is done at all: which account the pool is on is in question, and whatever is done rests on an answer.
pub fn filter(planned: Planned, memory: &Memory, now: Now) -> Planned {
    let Planned { mut plan, mut report } = planned;
    if plan.actions.is_empty() {
        return Planned { plan, report };
    }
    let pool_wide = pool_wide_hold(memory, now);
    if let Some((reason, message)) = pool_wide {
        report.waiting.push(Waiting { object: ObjectRef::Pool, reason: reason.to_owned(), message });
        plan.actions.clear();
        return Planned { plan, report };
    }
    let mut held = Held::default();
    // In the order of the phases: what an action relies on comes before it.
    plan.actions.retain(|(phase, action)| match hold(action, memory, now).or_else(|| held.over(*phase, action)) {
        None => true,
        Some(waiting) => {
            held.note(*phase, action);
            report.waiting.push(waiting);
            false
        }
    });
    // A server is started for the sessions' sake; without a start left there is no need of it.
    if !plan.actions.iter().any(|(phase, _)| *phase == Phase::Start) {
        plan.actions.retain(|(phase, _)| *phase != Phase::Server);
    }
    Planned { plan, report }
}

/// Why nothing at all may be done, as reason and sentence.
pub fn pool_wide_hold(memory: &Memory, now: Now) -> Option<(&'static str, String)> {
    if let Some(latch) = memory.latches.get(&ObjectRef::Pool) {
        let message = format!(
            "{} is latched since {:.0}; look with `claude-failover explain pool`, then `claude-failover clear pool`",
            latch.reason, latch.since
        );
        return Some(("Latched", message));
    }
    let suspension = memory.suspended.as_ref().filter(|suspension| suspension.until.is_none_or(|until| until > now.wall))?;
    let end = suspension.until.map_or_else(|| "until resumed".to_owned(), |until| format!("until {until:.0}"));
    Some(("Suspended", format!("suspended by {} {end}: {}", suspension.actor, suspension.reason)))
}

/// What is held back of the phases that later ones rely on: nothing may be built on what was not made.
#[derive(Default)]
struct Held {
    shared: bool,
    accounts: BTreeSet<AccountName>,
}

impl Held {
    fn note(&mut self, phase: Phase, action: &Action) {
        self.shared |= phase == Phase::Shared;
        if matches!(phase, Phase::Homes | Phase::Active) {
            self.accounts.extend(action.relies_on.clone());
        }
    }

    fn over(&self, phase: Phase, action: &Action) -> Option<Waiting> {
        let account = action.relies_on.as_ref()?;
        let what = if self.shared && phase > Phase::Shared {
            "the shared root".to_owned()
        } else if self.accounts.contains(account) && phase > Phase::Homes {
            format!("account {account}")
        } else {
            return None;
        };
        let message = format!("{} waits until {what} has been made right", action.what);
        Some(Waiting { object: action.object.clone(), reason: "EarlierFailed".to_owned(), message })
    }
}

fn hold(action: &Action, memory: &Memory, now: Now) -> Option<Waiting> {
    let attempts = memory.attempts.get(&action.object)?;
    let until = attempts.waits_until(now)?;
    let cause = attempts
        .last_error
        .as_deref()
        .map_or_else(|| "its agent ended repeatedly".to_owned(), |error| format!("the last try failed: {error}"));
    Some(Waiting {
        object: action.object.clone(),
        reason: "BackingOff".to_owned(),
        message: format!("{} waits until {until:.0}; {cause}", action.what),
    })
}
