//! Which sessions move next, in either direction.
//!
//! The same rules carry a session out to the target and back again: stop, start, prove, once more if that fails, then give it up. They
//! never start an agent where one may run, and never one on a conversation that another session has open.

use jiff::Timestamp;

use super::{
    facts::{AgentFact, LinksState, ProofState, SessionFacts, SwapFacts},
    next::{Decision, Resolution, deadline},
    record::{Move, Place, Stage, Step, SwapEvent, SwapRecord},
};
use crate::model::{AccountName, Activity, ConversationId, SessionName};

/// How often a session may fail in one leg before it is given up.
const ATTEMPTS: u32 = 2;

/// How many names a reason spells out.
const NAMES: usize = 3;

/// The first sessions move, alone.
pub(super) fn canary(record: &SwapRecord, facts: &SwapFacts) -> Decision {
    let missing = record.canaries().saturating_sub(record.proven() + record.in_flight());
    let decision = advance(record, facts, missing);
    // A session whose activity nobody knows is no canary, and the swap must not hang on that.
    let until = deadline(record, facts, record.plan.drain_until);
    if matches!(decision, Decision::Wait { .. }) && missing > 0 && facts.now >= until && facts.target_links == LinksState::Right {
        let why = "too few sessions could move first: of the others it is not known what they do".to_owned();
        return Decision::Note(vec![SwapEvent::TurnedBack { at: facts.now, why }]);
    }
    decision
}

/// The rest moves, or what moved returns.
pub(super) fn rest(record: &SwapRecord, facts: &SwapFacts) -> Decision {
    advance(record, facts, usize::MAX)
}

/// Lets every session in flight go on and at most `limit` more begin, within the batch.
fn advance(record: &SwapRecord, facts: &SwapFacts, limit: usize) -> Decision {
    let unknown = SessionFacts::default();
    let (mut notes, mut steps, mut turns, mut waits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, movement) in &record.moves {
        let fact = facts.sessions.get(name).unwrap_or(&unknown);
        match (Case { record, facts, name, movement, fact }).need() {
            Need::Nothing => {}
            Need::Note(event) => notes.push(event),
            Need::Step(step) => steps.push(step),
            Need::Turn(reluctance, step) => turns.push((reluctance, name, step)),
            Need::Wait(reason, until) => waits.push((reason, name, until)),
        }
    }
    if !notes.is_empty() {
        // What is noted changes who may move: the next question is answered with that in mind. The proof of a canary ends its stage, and
        // what was true of the others in it may not be so in the next: one entry at a time there.
        notes.truncate(if record.stage == Stage::Canary { 1 } else { usize::MAX });
        return Decision::Note(notes);
    }
    turns.sort_by_key(|(reluctance, name, _)| (*reluctance, *name));
    let room = record.plan.batch.max(1).saturating_sub(record.in_flight()).min(limit);
    for (place, (_, name, step)) in turns.into_iter().enumerate() {
        if place < room { steps.push(step) } else { waits.push((Reason::Batch, name, None)) }
    }
    if !steps.is_empty() {
        return Decision::Act(steps);
    }
    let until = waits.iter().filter_map(|(_, _, until)| *until).min();
    Decision::wait(tell(&mut waits), until)
}

/// What one session needs now.
enum Need {
    /// Nothing in this leg.
    Nothing,
    /// A decision about it must be journaled.
    Note(SwapEvent),
    /// It is on the move and goes on.
    Step(Step),
    /// It could begin to move with this step, behind all that lose less by it.
    Turn(Reluctance, Step),
    /// It waits, at most until then.
    Wait(Reason, Option<Timestamp>),
}

impl Need {
    /// What is on the move already needs no room in the batch.
    fn at_once(self) -> Self {
        match self {
            Self::Turn(_, step) => Self::Step(step),
            need => need,
        }
    }
}

/// How much is lost when a session is moved now; the least first. A task at hand breaks a tie, then somebody attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reluctance {
    loss: Loss,
    at_task: bool,
    attached: bool,
}

/// What moving a session loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// Nothing: it is idle.
    Idle,
    /// Nothing: it cannot work.
    Stuck,
    /// Nothing, but its agent has ended, so that little is learned from it: it is not the first to go.
    Ended,
    /// An open question.
    Question,
    /// A start.
    Start,
    /// The answer that is being written.
    Turn,
    /// Nobody knows.
    Unknown,
}

/// Why a session waits, in the order in which the reasons are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Proving,
    Blind,
    Busy,
    Links,
    Batch,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Proving => "being proven",
            Self::Blind => "not to be seen",
            Self::Busy => "finishing the turn",
            Self::Links => "behind links that cannot be seen",
            Self::Batch => "waiting for room in the batch",
        }
    }
}

/// One session, with all that is known of it.
struct Case<'a> {
    record: &'a SwapRecord,
    facts: &'a SwapFacts,
    name: &'a SessionName,
    movement: &'a Move,
    fact: &'a SessionFacts,
}

impl Case<'_> {
    fn need(&self) -> Need {
        if self.record.is_settled(self.movement) {
            return Need::Nothing;
        }
        if self.movement.place == Place::Unsettled && self.movement.failures >= ATTEMPTS {
            return self.give_up(self.movement.error.clone().unwrap_or_else(|| "it failed too often".to_owned()));
        }
        match &self.fact.agent {
            AgentFact::Unknown => Need::Wait(Reason::Blind, None),
            AgentFact::None => self.without_agent(),
            AgentFact::Running { account, conversation } => self.with_agent(account.as_ref(), *conversation),
        }
    }

    /// It is known that no agent runs in it.
    fn without_agent(&self) -> Need {
        let rival = self.rival();
        match (&self.movement.place, rival) {
            (Place::Stopping, _) => match self.doubt(&self.stop()) {
                Some(doubt) => self.resolve(&self.stop(), Some(doubt), true),
                // Done again although it is seen to be done: it changes nothing, and brings the mark of the transcript.
                None => self.guarded(self.stop()),
            },
            (Place::Proving(_), _) => self.unproven("its agent ended"),
            (_, Some(rival)) => self.give_up(format!("its conversation is open in session {rival}")),
            (Place::Starting(_), None) => self.resolve(&self.start(), self.doubt(&self.start()), false),
            (Place::Waiting, None) => self.turn(Loss::Ended, self.start()),
            (_, None) => self.guarded(self.start()),
        }
    }

    /// An agent runs in it: under that account and with that conversation, as far as these are known.
    fn with_agent(&self, account: Option<&AccountName>, conversation: Option<ConversationId>) -> Need {
        let goal = self.record.goal();
        let is_elsewhere = account.is_some_and(|account| account != goal);
        let is_other = conversation.is_some() && conversation != self.bound();
        // On the way back an account without room is what is expected there.
        let is_refused = self.record.turned_back.is_none() && matches!(self.fact.activity, Activity::LimitHit | Activity::LoggedOut);
        let is_proven = self.fact.proof == ProofState::Proven && !is_elsewhere && !is_other && !is_refused;
        match &self.movement.place {
            // It was quiet when it was to be stopped, and it was not: what it does now counts.
            Place::Stopping => match self.doubt(&self.stop()) {
                Some(doubt) => self.resolve(&self.stop(), Some(doubt), false),
                None => self.leave().at_once(),
            },
            Place::Starting(_) if is_elsewhere => {
                self.resolve(&self.start(), Some("an agent of another account was found in its place"), false)
            }
            // With what it runs, and under which account if that is not known, is for the proof to say.
            Place::Starting(_) => self.resolve(&self.start(), None, true),
            _ if is_proven => Need::Note(SwapEvent::Proven { session: self.name.clone(), account: goal.clone(), at: self.facts.now }),
            Place::Proving(_) if is_elsewhere => self.unproven("its agent runs under another account"),
            Place::Proving(_) if is_other => self.unproven("its agent opened another conversation"),
            Place::Proving(_) if is_refused => self.unproven(&format!("its agent is {} there", self.fact.activity)),
            Place::Proving(_) => self.prove(),
            Place::Stopped => self.unproven("somebody else started an agent in its place"),
            Place::Waiting => self.leave(),
            // It works under the account that it had all along: it is as good as one that has not begun to move.
            _ if account == Some(&self.record.plan.from) => self.leave().at_once(),
            // What runs there was never proven: there is nothing to wait for.
            _ => self.guarded(self.stop()),
        }
    }

    /// The proof is not there yet.
    fn prove(&self) -> Need {
        let until = deadline(self.record, self.facts, self.movement.since);
        let within = self.record.plan.prove_within;
        match &self.fact.proof {
            ProofState::Refuted(why) => self.unproven(why),
            _ if self.facts.now < until => Need::Wait(Reason::Proving, Some(until)),
            ProofState::Pending(what) => self.unproven(&format!("not proven within {within:?}: {what}")),
            ProofState::Unknown | ProofState::Proven => self.unproven(&format!("not proven within {within:?}: it could not be looked at")),
        }
    }

    /// Stops an agent that may be at work: now if nothing is lost by it, else at the drain deadline.
    fn leave(&self) -> Need {
        let loss = match self.fact.activity {
            Activity::Idle => Loss::Idle,
            Activity::LimitHit | Activity::LoggedOut | Activity::Exited => Loss::Stuck,
            Activity::NeedsInput => Loss::Question,
            Activity::Starting => Loss::Start,
            Activity::Working => Loss::Turn,
            Activity::Unknown => Loss::Unknown,
        };
        if loss == Loss::Unknown && self.record.stage == Stage::Canary {
            return Need::Wait(Reason::Blind, None);
        }
        if self.fact.activity.is_quiet() || self.facts.now >= self.record.plan.drain_until {
            return self.turn(loss, self.stop());
        }
        Need::Wait(Reason::Busy, Some(self.record.plan.drain_until))
    }

    /// A step that begins a move, once the links that it leads to are known to be right.
    fn turn(&self, loss: Loss, step: Step) -> Need {
        match self.guarded(step) {
            Need::Step(step) => Need::Turn(Reluctance { loss, at_task: self.fact.at_task, attached: self.fact.attached > 0 }, step),
            need => need,
        }
    }

    /// A step of a session that is on the move, once the links that it leads to are known to be right.
    fn guarded(&self, step: Step) -> Need {
        let links = if self.record.turned_back.is_some() { &self.facts.from_links } else { &self.facts.target_links };
        if *links == LinksState::Right { Need::Step(step) } else { Need::Wait(Reason::Links, None) }
    }

    fn resolve(&self, step: &Step, doubt: Option<&str>, done: bool) -> Need {
        match Resolution::of(step, doubt, done, self.facts.now) {
            Resolution::Again(step) => self.guarded(step),
            Resolution::Ended(event) => Need::Note(event),
        }
    }

    fn unproven(&self, why: &str) -> Need {
        let (session, account) = (self.name.clone(), self.record.goal().clone());
        Need::Note(SwapEvent::Unproven { session, account, at: self.facts.now, why: why.to_owned() })
    }

    fn give_up(&self, why: String) -> Need {
        Need::Note(SwapEvent::GivenUp { session: self.name.clone(), at: self.facts.now, why })
    }

    fn stop(&self) -> Step {
        Step::Stop(self.name.clone())
    }

    fn start(&self) -> Step {
        Step::Start(self.name.clone(), self.record.goal().clone())
    }

    /// The error that left a step in doubt.
    fn doubt(&self, step: &Step) -> Option<&str> {
        self.record.pending(step).and_then(|pending| pending.doubt.as_deref())
    }

    fn bound(&self) -> Option<ConversationId> {
        self.record.plan.sessions.get(self.name).map(|bound| bound.conversation)
    }

    /// Another session whose agent has this session's conversation open.
    fn rival(&self) -> Option<&SessionName> {
        let bound = self.bound()?;
        let opens_it = |fact: &SessionFacts| matches!(fact.agent, AgentFact::Running { conversation: Some(found), .. } if found == bound);
        self.facts.sessions.iter().find(|(other, fact)| *other != self.name && opens_it(fact)).map(|(other, _)| other)
    }
}

/// The reasons with their sessions: `being proven: a, b; finishing the turn: c, d, e and 4 more`.
fn tell(waits: &mut [(Reason, &SessionName, Option<Timestamp>)]) -> String {
    waits.sort_by_key(|(reason, ..)| *reason);
    let mut parts = Vec::new();
    for group in waits.chunk_by(|(a, ..), (b, ..)| a == b) {
        let names: Vec<_> = group.iter().take(NAMES).map(|(_, name, _)| name.as_str()).collect();
        let more = if group.len() > NAMES { format!(" and {} more", group.len() - NAMES) } else { String::new() };
        let reason = group.first().map_or("", |(reason, ..)| reason.as_str());
        parts.push(format!("{reason}: {}{more}", names.join(", ")));
    }
    if parts.is_empty() { "nothing to move".to_owned() } else { parts.join("; ") }
}
