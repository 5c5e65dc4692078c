//! The model: a pool with its host, its store and all who act on it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use claude_failover::{
    model::{AccountName, Activity, ConversationId, SessionName, SwapId},
    swap::{
        ActiveLinkState, AgentFact, Bound, Decision, LinksState, Move, Place, ProofState, SessionFacts, Stage, Step, StepResult, SwapCause,
        SwapEvent, SwapFacts, SwapPlan, SwapRecord, SwapVerdict, next,
    },
};
use jiff::Timestamp;
use uuid::Uuid;

mod checked;

/// The property that no single event broke a rule.
pub const NO_SIN: &str = "nothing that must never happen has happened";

/// One swap of a small pool.
pub struct Swap {
    /// Between two accounts, with the sessions below.
    pub plan: SwapPlan,
    /// In order: a slot has the index of its session.
    pub names: Vec<SessionName>,
    /// How many processes hold themselves for the one that may act.
    pub daemons: usize,
    /// Whether the store refuses an entry of a daemon that has not read the last one.
    pub fenced: bool,
    /// How often a process ends.
    pub crashes: u8,
    /// How often a step goes wrong.
    pub faults: u8,
    /// How often a person steps in.
    pub people: u8,
    /// How far the clock goes.
    pub ticks: u8,
    /// How often a daemon may be started beside the first one, or again after the store refused it.
    pub loads: u8,
}

/// One of the two accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    From,
    To,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Agent {
    side: Side,
    /// Whether the account serves it.
    served: bool,
}

/// One pane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// More than one would be the catastrophe.
    agents: Vec<Agent>,
    busy: bool,
    /// A person did something to it.
    meddled: bool,
}

/// A step that was journaled as begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Work {
    step: Step,
    result: Option<StepResult>,
}

/// A process: all this is lost when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Daemon {
    /// The record as it read it, and the length of the journal then.
    view: Option<(u8, Arc<SwapRecord>)>,
    looking_since: u8,
    work: Vec<Work>,
}

impl Daemon {
    fn absent() -> Self {
        Self { view: None, looking_since: 0, work: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The journal, folded.
    record: Arc<SwapRecord>,
    length: u8,
    now: u8,
    daemons: Vec<Daemon>,
    slots: Vec<Slot>,
    link: Side,
    target_right: bool,
    from_right: bool,
    active: Side,
    abort: bool,
    crashes: u8,
    faults: u8,
    people: u8,
    loads: u8,
    /// The target's links were ensured behind the last flip to it.
    ensured: bool,
    /// What must never happen, and did.
    sin: Option<&'static str>,
}

/// How much a daemon sees when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    Clear,
    NoAgents,
    NoLinks,
}

/// How a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    Good,
    /// Started, but the account does not serve it.
    Refused,
    Fails,
    DoubtBefore,
    DoubtAfter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Load(usize),
    Decide(usize, Sight),
    Perform(usize, Luck),
    Report(usize),
    Crash(usize),
    Tick,
    EndTurn(usize),
    Kill(usize),
    StartByHand(usize),
    MoveByHand(usize),
    Abort,
    Break(Side),
}

fn account(side: Side) -> AccountName {
    let name = match side {
        Side::From => "primary",
        Side::To => "backup",
    };
    AccountName::new(name).expect("a valid name")
}

fn conversation(index: usize) -> ConversationId {
    ConversationId(Uuid::from_u128(index as u128))
}

fn at(second: u8) -> Timestamp {
    Timestamp::from_second(i64::from(second)).expect("in range")
}

impl Swap {
    /// One canary, two at a time; a tick is as long as the drain and as a proof may take.
    pub fn new(sessions: usize) -> Self {
        let names: Vec<_> = (0..sessions).map(|index| SessionName::new(format!("s{index}")).expect("a valid name")).collect();
        let bound = |index: usize| Bound { conversation: conversation(index), workdir: PathBuf::new() };
        let plan = SwapPlan {
            id: SwapId(1),
            from: account(Side::From),
            to: account(Side::To),
            cause: SwapCause::Failback,
            opened_at: at(0),
            drain_until: at(1),
            canary: 1,
            batch: 2,
            prove_within: Duration::from_secs(1),
            has_active_link: true,
            sessions: names.iter().enumerate().map(|(index, name)| (name.clone(), bound(index))).collect(),
        };
        Self { plan, names, daemons: 1, fenced: true, crashes: 0, faults: 0, people: 0, ticks: 0, loads: 0 }
    }

    fn index(&self, name: &SessionName) -> usize {
        self.names.iter().position(|known| known == name).expect("a known session")
    }

    fn facts(&self, state: &State, looking_since: u8, sight: Sight) -> SwapFacts {
        let links = |right: bool| match (sight, right) {
            (Sight::NoLinks, _) => LinksState::Unknown,
            (_, true) => LinksState::Right,
            (_, false) => LinksState::Wrong("a directory stands there".to_owned()),
        };
        let fact = |(index, slot): (usize, &Slot)| {
            let fact = match (sight, slot.agents.first()) {
                (Sight::NoAgents, _) => SessionFacts::default(),
                (_, None) => SessionFacts { agent: AgentFact::None, ..SessionFacts::default() },
                (_, Some(agent)) => SessionFacts {
                    agent: AgentFact::Running { account: Some(account(agent.side)), conversation: Some(conversation(index)) },
                    activity: if slot.busy { Activity::Working } else { Activity::Idle },
                    proof: match agent.served {
                        _ if account(agent.side) != *state.record.goal() => ProofState::Unknown,
                        true => ProofState::Proven,
                        false => ProofState::Refuted("not served".to_owned()),
                    },
                    attached: 0,
                    at_task: false,
                },
            };
            (self.names[index].clone(), fact)
        };
        SwapFacts {
            now: at(state.now),
            looking_since: at(looking_since),
            abort: state.abort.then(|| "an operator".to_owned()),
            target_links: links(state.target_right),
            from_links: links(state.from_right),
            active_link: if sight == Sight::NoLinks { ActiveLinkState::Unknown } else { ActiveLinkState::At(account(state.link)) },
            sessions: state.slots.iter().enumerate().map(fact).collect::<BTreeMap<_, _>>(),
        }
    }

    /// Appends to the journal for a daemon that has read all of it; refuses otherwise, and the daemon reads it again.
    fn append(&self, state: &mut State, daemon: usize, events: &[SwapEvent]) -> bool {
        let is_current = state.daemons[daemon].view.as_ref().is_some_and(|(length, _)| *length == state.length);
        if self.fenced && !is_current {
            state.daemons[daemon] = Daemon::absent();
            return false;
        }
        let mut record = (*state.record).clone();
        for event in events {
            self.judge(state, &record, event);
            if record.apply(event).is_err() {
                state.sin = Some("an illegal entry was journaled");
                return false;
            }
        }
        state.record = Arc::new(record);
        if self.daemons > 1 {
            state.length += 1;
        }
        state.daemons[daemon].view = Some((state.length, Arc::clone(&state.record)));
        true
    }

    /// What an entry must not do, given the world at this very moment.
    fn judge(&self, state: &mut State, record: &SwapRecord, event: &SwapEvent) {
        match event {
            SwapEvent::Began { step: Step::Start(name, _), .. } if !state.slots[self.index(name)].agents.is_empty() => {
                state.sin = Some("a start was begun where an agent runs");
            }
            SwapEvent::Began { step: Step::Commit, .. } if record.stage == Stage::Rest && !(state.ensured && state.target_right) => {
                state.sin = Some("the commit was begun over links that were not seen right behind the flip");
            }
            SwapEvent::Began { step: Step::Flip(_), .. } => state.ensured = false,
            SwapEvent::Ended { step: Step::Ensure(ensured), result: StepResult::Done(_), .. } if *ensured == self.plan.to => {
                state.ensured = true;
            }
            _ => {}
        }
    }

    /// The effect. `Err` when the host refuses it.
    fn apply(&self, state: &mut State, step: &Step, served: bool) -> Result<(), &'static str> {
        match step {
            Step::Hold => {}
            Step::Stop(name) => {
                let slot = &mut state.slots[self.index(name)];
                slot.agents.clear();
                slot.busy = false;
            }
            Step::Start(name, target) => {
                let side = if *target == self.plan.to { Side::To } else { Side::From };
                let slot = &mut state.slots[self.index(name)];
                // With one daemon and nobody meddling the machine alone must see to it that there is never a second agent.
                if !slot.agents.is_empty() && (self.daemons > 1 || slot.meddled) {
                    return Err("an agent runs in the pane");
                }
                slot.agents.push(Agent { side, served });
            }
            Step::Flip(target) => state.link = if *target == self.plan.to { Side::To } else { Side::From },
            Step::Ensure(target) => {
                let right = if *target == self.plan.to { state.target_right } else { state.from_right };
                return if right { Ok(()) } else { Err("a directory stands there") };
            }
            Step::Commit => {
                if !state.target_right {
                    return Err("a directory stands there");
                }
                state.active = Side::To;
            }
        }
        Ok(())
    }

    fn decide(&self, state: &mut State, daemon: usize, sight: Sight) -> bool {
        let Some((_, record)) = state.daemons[daemon].view.clone() else { return false };
        let looking_since = state.daemons[daemon].looking_since;
        match next(&record, &self.facts(state, looking_since, sight)) {
            Decision::Wait { .. } => false,
            Decision::Note(events) => {
                self.append(state, daemon, &events);
                true
            }
            Decision::Act(steps) => {
                let begun: Vec<_> = steps.iter().map(|step| SwapEvent::Began { step: step.clone(), at: at(state.now) }).collect();
                if self.append(state, daemon, &begun) {
                    state.daemons[daemon].work = steps.into_iter().map(|step| Work { step, result: None }).collect();
                }
                true
            }
        }
    }

    fn perform(&self, state: &mut State, daemon: usize, luck: Luck) {
        let step = state.daemons[daemon].work[0].step.clone();
        let failed = |error: &str, in_doubt| StepResult::Failed { error: error.to_owned(), in_doubt };
        let result = match luck {
            Luck::Good | Luck::Refused => match self.apply(state, &step, luck == Luck::Good) {
                Ok(()) => StepResult::Done(None),
                Err(error) => failed(error, false),
            },
            Luck::Fails => failed("it failed", false),
            Luck::DoubtBefore => failed("no answer", true),
            Luck::DoubtAfter => {
                let _ = self.apply(state, &step, true);
                failed("no answer", true)
            }
        };
        if luck != Luck::Good {
            state.faults -= 1;
        }
        state.daemons[daemon].work[0].result = Some(result);
    }

    /// Whether the sessions that nobody meddled with are where a closed swap says.
    fn is_whole(&self, state: &State, side: Side) -> bool {
        let in_place = |(name, movement): (&SessionName, &Move)| {
            let slot = &state.slots[self.index(name)];
            slot.meddled || movement.place == Place::Lost || slot.agents.iter().all(|agent| agent.side == side) && slot.agents.len() == 1
        };
        state.active == side && state.link == side && state.record.moves.iter().all(in_place)
    }
}
