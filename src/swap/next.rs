//! What to do next in a swap: a function of its record and the latest facts.
//!
//! # Guarantees
//! - An answer never needs a second look at the clock or the host; the same record and facts give the same answer.
//! - [`Decision::Act`] and [`Decision::Note`] always move the record on, so the caller may ask again at once.
//! - An agent is started only where it is known that none runs. Nothing is stopped while the links that it would be started behind are
//!   not known to be right.
//! - The target is recorded only after its links were seen right behind the flip, and are right in these facts. Once its recording has
//!   begun there is only forward.
//! - Going back tries once. What then fails is latched, with both errors; what runs is left alone.
//!
//! # Assumes
//! The caller journals [`SwapEvent::Began`] before it carries out a step and [`SwapEvent::Ended`] after it, looks again before it asks
//! again, and writes nothing else of its own: an operator's abort is a fact.
//!
//! # Does not
//! Choose the target, or judge whether a swap should begin: that is the planner's.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    facts::{ActiveLinkState, AgentFact, LinksState, SwapFacts},
    record::{Stage, Step, StepResult, SwapEvent, SwapRecord, SwapVerdict},
    sessions,
};
use crate::model::{AccountName, SessionName, doubled, later};

/// The longest pause between two tries to record the target.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub enum Decision {
    /// Journal these steps as begun, carry them out side by side, and journal what came of each.
    Act(Vec<Step>),
    /// Journal these entries, in order.
    Note(Vec<SwapEvent>),
    /// Nothing can be done now.
    Wait {
        /// What it waits for, for people.
        why: String,
        /// When to ask again at the latest, if time alone can change the answer.
        until: Option<Timestamp>,
    },
}

impl Decision {
    pub(super) fn wait(why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self::Wait { why: why.into(), until }
    }
}

/// The next move of a swap.
pub fn next(record: &SwapRecord, facts: &SwapFacts) -> Decision {
    let plan = &record.plan;
    if record.may_turn_back()
        && let Some(why) = objection(record, facts)
    {
        return turn_back(facts, why);
    }
    match record.stage {
        // No look shows a hold, and to begin it again costs nothing.
        Stage::Opened => way_out(record, facts, Step::Hold, Some(false)),
        Stage::Canary => sessions::canary(record, facts),
        Stage::Flip => flip(record, facts),
        Stage::Ensure => way_out(record, facts, Step::Ensure(plan.to.clone()), seen_right(&facts.target_links)),
        Stage::Rest if record.all_settled() => match &facts.target_links {
            LinksState::Right => Decision::Act(vec![Step::Commit]),
            // A wrong link was an objection above.
            LinksState::Unknown | LinksState::Wrong(_) => blind(&plan.to, "recorded"),
        },
        Stage::Rest => sessions::rest(record, facts),
        Stage::Commit => commit(record, facts),
        Stage::Committed => close(facts, SwapVerdict::Committed, None),
        Stage::Unflip => way_back(record, facts, Step::Flip(plan.from.clone()), leads_to(&facts.active_link, &plan.from)),
        Stage::Reensure => way_back(record, facts, Step::Ensure(plan.from.clone()), seen_right(&facts.from_links)),
        Stage::Return => match &facts.from_links {
            _ if !record.touched => close(facts, SwapVerdict::Abandoned, None),
            LinksState::Wrong(why) => latch(facts, wrong_links(record, why)),
            LinksState::Right if record.all_settled() => close(facts, SwapVerdict::RolledBack, None),
            LinksState::Unknown if record.all_settled() => blind(&plan.from, "declared active again"),
            LinksState::Right | LinksState::Unknown => sessions::rest(record, facts),
        },
        Stage::Closed => Decision::wait(format!("swap {} is closed", plan.id), None),
    }
}

/// Why a swap that may still be undone must be.
fn objection(record: &SwapRecord, facts: &SwapFacts) -> Option<String> {
    if let Some(why) = &facts.abort {
        return Some(why.clone());
    }
    if let Some(error) = &record.last_error {
        return Some(match record.stage {
            Stage::Opened => format!("the pool could not be held: {error}"),
            Stage::Flip => format!("the active link could not be flipped to {}: {error}", record.plan.to),
            _ => format!("the links of {} could not be ensured behind the flip: {error}", record.plan.to),
        });
    }
    match &facts.target_links {
        // Before the step that puts links right has run, a wrong one is what that step is for.
        LinksState::Wrong(why) if record.stage != Stage::Ensure => return Some(wrong_links(record, why)),
        _ => {}
    }
    if record.stage == Stage::Canary
        && let Some((name, movement)) = record.moves.iter().find(|(_, movement)| movement.failures > 0)
    {
        // The first to move is not tried twice: going back is cheapest now.
        let error = movement.error.as_deref().unwrap_or("for a reason that was not recorded");
        return Some(format!("{name}, which moved first, failed on {}: {error}", record.plan.to));
    }
    let (lost, all) = (record.lost().count(), record.moves.len());
    if lost * 3 > all {
        let names: Vec<_> = record.lost().map(ToString::to_string).collect();
        return Some(format!("{lost} of {all} sessions failed on {}: {}", record.plan.to, names.join(", ")));
    }
    // An agent that has ended again before the target is recorded is no better than one that was never proven. It is measured by those that
    // moved so far: among the first two, one is enough; of three or more, a single one is started again later.
    let has_ended = |name: &&SessionName| facts.sessions.get(*name).is_some_and(|fact| fact.agent == AgentFact::None);
    let ended: Vec<_> = record.proven_sessions().filter(has_ended).map(ToString::to_string).collect();
    let moved = lost + record.proven();
    if !ended.is_empty() && (lost + ended.len()) * 3 > moved {
        let failed = if lost == 0 { String::new() } else { format!("; {lost} failed there") };
        let (to, names) = (&record.plan.to, ended.join(", "));
        return Some(format!("{} of {moved} sessions ended again on {to} behind their proof: {names}{failed}", ended.len()));
    }
    None
}

/// The active link goes to the target, unless it belongs to somebody else.
fn flip(record: &SwapRecord, facts: &SwapFacts) -> Decision {
    let (step, to) = (Step::Flip(record.plan.to.clone()), &record.plan.to);
    if record.pending(&step).is_none() {
        match (&facts.active_link, &facts.target_links) {
            (ActiveLinkState::Foreign(path), _) => {
                return turn_back(facts, format!("the active link leads to {}, which is no home of the pool", path.display()));
            }
            (_, LinksState::Unknown) => return blind(to, "made active"),
            _ => {}
        }
    }
    let seen = leads_to(&facts.active_link, to);
    way_out(record, facts, step, seen)
}

/// The target is recorded. From here on there is only forward: what is wrong is put right and tried again, more and more slowly.
fn commit(record: &SwapRecord, facts: &SwapFacts) -> Decision {
    let ensure = Step::Ensure(record.plan.to.clone());
    let right = seen_right(&facts.target_links);
    if let Some(pending) = record.pending(&ensure)
        && let Some(done) = right
    {
        return Resolution::of(&ensure, pending.doubt.as_deref(), done, facts.now).into();
    }
    let not_before = later(record.since, doubled(Duration::from_secs(1), record.failures.saturating_sub(1), LONGEST_PAUSE));
    if record.failures > 0 && facts.now < not_before {
        let error = record.last_error.as_deref().unwrap_or("it cannot be told whether it was done");
        return Decision::wait(format!("{} is recorded as the active account after a pause: {error}", record.plan.to), Some(not_before));
    }
    match &facts.target_links {
        LinksState::Right => Decision::Act(vec![Step::Commit]),
        LinksState::Wrong(_) => Decision::Act(vec![ensure]),
        LinksState::Unknown => blind(&record.plan.to, "recorded"),
    }
}

/// A shared step of the way out. What cannot be told in the end is undone; a failure is an objection the next time.
fn way_out(record: &SwapRecord, facts: &SwapFacts, step: Step, seen: Option<bool>) -> Decision {
    attempt(record, facts, step, seen).unwrap_or_else(|why| turn_back(facts, why))
}

/// A shared step of the way back. It is tried once: what fails or cannot be told in the end is latched.
fn way_back(record: &SwapRecord, facts: &SwapFacts, step: Step, seen: Option<bool>) -> Decision {
    if let Some(error) = &record.last_error {
        return latch(facts, format!("failed to {step}: {error}"));
    }
    attempt(record, facts, step, seen).unwrap_or_else(|why| latch(facts, why))
}

/// Begins a shared step, or finds out what became of it; `seen` says whether the facts show it done. `Err` says that it may have been
/// done and that for too long nobody could tell.
fn attempt(record: &SwapRecord, facts: &SwapFacts, step: Step, seen: Option<bool>) -> Result<Decision, String> {
    let Some(pending) = record.pending(&step) else {
        return Ok(Decision::Act(vec![step]));
    };
    if let Some(done) = seen {
        return Ok(Resolution::of(&step, pending.doubt.as_deref(), done, facts.now).into());
    }
    let until = deadline(record, facts, pending.since);
    let doubt = pending.doubt.as_deref().unwrap_or("the process that began it ended");
    if facts.now < until {
        return Ok(Decision::wait(format!("a look must tell what became of this step: {step} ({doubt})"), Some(until)));
    }
    Err(format!("it could not be told whether this step was done: {step}: {doubt}"))
}

/// What becomes of a step that began and has no known end, once the facts say whether it was done.
#[derive(Debug)]
pub(super) enum Resolution {
    /// The end of the process cut it off: it is done again.
    Again(Step),
    /// It was done, or it failed with the error that left it in doubt.
    Ended(SwapEvent),
}

impl Resolution {
    pub(super) fn of(step: &Step, doubt: Option<&str>, done: bool, at: Timestamp) -> Self {
        let result = match (done, doubt) {
            (true, _) => StepResult::Done(None),
            (false, None) => return Self::Again(step.clone()),
            (false, Some(error)) => StepResult::Failed { error: error.to_owned(), in_doubt: false },
        };
        Self::Ended(SwapEvent::Ended { step: step.clone(), at, result })
    }
}

impl From<Resolution> for Decision {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Again(step) => Self::Act(vec![step]),
            Resolution::Ended(event) => Self::Note(vec![event]),
        }
    }
}

/// Until when something that began at `since` may stay open.
pub(super) fn deadline(record: &SwapRecord, facts: &SwapFacts, since: Timestamp) -> Timestamp {
    later(since.max(facts.looking_since), record.plan.prove_within)
}

fn seen_right(links: &LinksState) -> Option<bool> {
    match links {
        LinksState::Unknown => None,
        LinksState::Right => Some(true),
        LinksState::Wrong(_) => Some(false),
    }
}

fn leads_to(link: &ActiveLinkState, account: &AccountName) -> Option<bool> {
    match link {
        ActiveLinkState::Unknown => None,
        ActiveLinkState::At(found) => Some(found == account),
        ActiveLinkState::Absent | ActiveLinkState::Foreign(_) => Some(false),
    }
}

fn wrong_links(record: &SwapRecord, why: &str) -> String {
    format!("the links of {} are not right: {why}", record.goal())
}

fn blind(account: &AccountName, what: &str) -> Decision {
    Decision::wait(format!("the links of {account} cannot be seen, and must be right before it is {what}"), None)
}

fn turn_back(facts: &SwapFacts, why: String) -> Decision {
    Decision::Note(vec![SwapEvent::TurnedBack { at: facts.now, why }])
}

fn latch(facts: &SwapFacts, error: String) -> Decision {
    close(facts, SwapVerdict::Latched, Some(error))
}

fn close(facts: &SwapFacts, verdict: SwapVerdict, rollback_error: Option<String>) -> Decision {
    Decision::Note(vec![SwapEvent::Closed { at: facts.now, verdict, rollback_error }])
}
