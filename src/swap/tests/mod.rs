//! Tests of the machine: its answers one by one, its journal, and whole swaps in a small world with a fault at every point.

mod anything;
mod faults;
mod journal;
mod leaving;
mod pricing;
mod returning;
mod world;

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::model::{AccountName, Activity, ConversationId, SessionName, SwapId};

fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a valid name")
}

fn from() -> AccountName {
    account("primary")
}

fn to() -> AccountName {
    account("backup")
}

fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a valid name")
}

/// `second` seconds after the swap was opened.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("in range")
}

fn conversation(index: usize) -> ConversationId {
    ConversationId(Uuid::from_u128(index as u128 + 1))
}

/// Sessions `s0`, `s1`, … one canary, two at a time, ten minutes to drain, one to prove.
fn plan(sessions: usize) -> SwapPlan {
    let bound = |index| Bound { conversation: conversation(index), workdir: PathBuf::from("/work") };
    SwapPlan {
        id: SwapId(7),
        from: from(),
        to: to(),
        cause: SwapCause::Operator { actor: "test".to_owned() },
        opened_at: at(0),
        drain_until: at(600),
        canary: 1,
        batch: 2,
        prove_within: Duration::from_mins(1),
        has_active_link: true,
        sessions: (0..sessions).map(|index| (session(&format!("s{index}")), bound(index))).collect(),
    }
}

/// Facts in which all links are right, the active link leads to the previous account and every session is idle there.
fn facts(plan: &SwapPlan, second: i64) -> SwapFacts {
    let idle = |bound: &Bound| SessionFacts {
        agent: AgentFact::Running { account: Some(from()), conversation: Some(bound.conversation) },
        activity: Activity::Idle,
        proof: ProofState::Unknown,
        attached: 0,
        at_task: false,
    };
    SwapFacts {
        now: at(second),
        looking_since: at(0),
        abort: None,
        target_links: LinksState::Right,
        from_links: LinksState::Right,
        active_link: ActiveLinkState::At(from()),
        sessions: plan.sessions.iter().map(|(name, bound)| (name.clone(), idle(bound))).collect(),
    }
}

/// The record of a journal that must be legal.
fn fold(plan: &SwapPlan, events: &[SwapEvent]) -> SwapRecord {
    let mut record = SwapRecord::open(plan.clone());
    for event in events {
        record.apply(event).expect("a legal journal");
    }
    record
}

fn began(step: Step, second: i64) -> SwapEvent {
    SwapEvent::Began { step, at: at(second) }
}

fn done(step: Step, second: i64) -> SwapEvent {
    SwapEvent::Ended { step, at: at(second), result: StepResult::Done(None) }
}

fn failed(step: Step, second: i64, error: &str) -> SwapEvent {
    SwapEvent::Ended { step, at: at(second), result: StepResult::Failed { error: error.to_owned(), in_doubt: false } }
}

fn in_doubt(step: Step, second: i64, error: &str) -> SwapEvent {
    SwapEvent::Ended { step, at: at(second), result: StepResult::Failed { error: error.to_owned(), in_doubt: true } }
}

/// A step that went well, as two entries.
fn did(step: Step, second: i64) -> [SwapEvent; 2] {
    [began(step.clone(), second), done(step, second)]
}

fn proven(name: &str, account: AccountName, second: i64) -> SwapEvent {
    SwapEvent::Proven { session: session(name), account, at: at(second) }
}

fn unproven(name: &str, account: AccountName, second: i64) -> SwapEvent {
    SwapEvent::Unproven { session: session(name), account, at: at(second), why: "no proof".to_owned() }
}

fn turned_back(second: i64) -> SwapEvent {
    SwapEvent::TurnedBack { at: at(second), why: "for a test".to_owned() }
}

/// Stopped, started under `account` and proven there.
fn moved(name: &str, account: &AccountName, second: i64) -> Vec<SwapEvent> {
    let stop = did(Step::Stop(session(name)), second);
    let start = did(Step::Start(session(name), account.clone()), second);
    [stop.as_slice(), start.as_slice(), &[proven(name, account.clone(), second)]].concat()
}

/// The journal up to the point where the rest begins to move.
fn up_to_rest(canary: &str) -> Vec<SwapEvent> {
    let mut events = did(Step::Hold, 0).to_vec();
    events.extend(moved(canary, &to(), 1));
    events.extend(did(Step::Flip(to()), 2));
    events.extend(did(Step::Ensure(to()), 3));
    events
}

fn act(steps: impl IntoIterator<Item = Step>) -> Decision {
    Decision::Act(steps.into_iter().collect())
}

/// The one entry that is to be noted.
fn noted(decision: Decision) -> SwapEvent {
    match decision {
        Decision::Note(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("expected one entry, got {other:?}"),
    }
}

/// Why it turns back.
fn turning_back(decision: Decision) -> String {
    match noted(decision) {
        SwapEvent::TurnedBack { why, .. } => why,
        other => panic!("expected to turn back, got {other:?}"),
    }
}

fn waits(decision: &Decision) -> (&str, Option<Timestamp>) {
    match decision {
        Decision::Wait { why, until } => (why, *until),
        other => panic!("expected to wait, got {other:?}"),
    }
}

/// Changes what is known of one session.
fn set(facts: &mut SwapFacts, name: &str, change: impl FnOnce(&mut SessionFacts)) {
    change(facts.sessions.entry(session(name)).or_default());
}

fn running(account: AccountName, index: usize) -> AgentFact {
    AgentFact::Running { account: Some(account), conversation: Some(conversation(index)) }
}
