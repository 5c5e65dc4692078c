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
use stateright::{Model, Property};
use uuid::Uuid;

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

impl Model for Swap {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        let record = Arc::new(SwapRecord::open(self.plan.clone()));
        let mut daemons = vec![Daemon::absent(); self.daemons];
        daemons[0].view = Some((0, Arc::clone(&record)));
        // The second session works on a turn.
        let slot = |index: usize| Slot { agents: vec![Agent { side: Side::From, served: true }], busy: index == 1, meddled: false };
        vec![State {
            record,
            length: 0,
            now: 0,
            daemons,
            slots: (0..self.names.len()).map(slot).collect(),
            link: Side::From,
            target_right: true,
            from_right: true,
            active: Side::From,
            abort: false,
            crashes: self.crashes,
            faults: self.faults,
            people: self.people,
            loads: self.loads,
            ensured: false,
            sin: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Event>) {
        if state.record.verdict.is_some() || state.sin.is_some() {
            return;
        }
        for (index, daemon) in state.daemons.iter().enumerate() {
            match (&daemon.view, daemon.work.first()) {
                (None, _) if state.loads > 0 => actions.push(Event::Load(index)),
                (None, _) => {}
                (Some(_), None) => actions.extend([Sight::Clear, Sight::NoAgents, Sight::NoLinks].map(|sight| Event::Decide(index, sight))),
                (Some(_), Some(Work { result: Some(_), .. })) => actions.push(Event::Report(index)),
                (Some(_), Some(Work { step, result: None })) => {
                    actions.push(Event::Perform(index, Luck::Good));
                    if state.faults > 0 {
                        actions.extend([Luck::Fails, Luck::DoubtBefore, Luck::DoubtAfter].map(|luck| Event::Perform(index, luck)));
                    }
                    if state.faults > 0 && matches!(step, Step::Start(..)) {
                        actions.push(Event::Perform(index, Luck::Refused));
                    }
                }
            }
            if state.crashes > 0 && daemon.view.is_some() {
                actions.push(Event::Crash(index));
            }
        }
        if state.now < self.ticks {
            actions.push(Event::Tick);
        }
        for (index, slot) in state.slots.iter().enumerate() {
            if slot.busy {
                actions.push(Event::EndTurn(index));
            }
            if state.people > 0 {
                if slot.agents.is_empty() {
                    actions.push(Event::StartByHand(index));
                } else {
                    actions.extend([Event::Kill(index), Event::MoveByHand(index)]);
                }
            }
        }
        if state.people > 0 {
            actions.extend([Event::Abort, Event::Break(Side::From), Event::Break(Side::To)]);
        }
    }

    fn next_state(&self, last: &State, action: Event) -> Option<State> {
        let mut state = last.clone();
        match action {
            Event::Load(daemon) => {
                state.loads -= 1;
                state.daemons[daemon].view = Some((state.length, Arc::clone(&state.record)));
                state.daemons[daemon].looking_since = state.now;
            }
            Event::Decide(daemon, sight) => return self.decide(&mut state, daemon, sight).then_some(state),
            Event::Perform(daemon, luck) => self.perform(&mut state, daemon, luck),
            Event::Report(daemon) => {
                let Work { step, result } = state.daemons[daemon].work[0].clone();
                let ended = SwapEvent::Ended { step, at: at(state.now), result: result? };
                if self.append(&mut state, daemon, &[ended]) {
                    state.daemons[daemon].work.remove(0);
                }
            }
            Event::Crash(daemon) => {
                // It is started again, in its time.
                state.daemons[daemon] = Daemon::absent();
                state.crashes -= 1;
                state.loads += 1;
            }
            Event::Tick => state.now += 1,
            Event::EndTurn(index) => state.slots[index].busy = false,
            Event::Kill(index) => {
                state.people -= 1;
                state.slots[index] = Slot { agents: Vec::new(), busy: false, meddled: true };
            }
            Event::StartByHand(index) => {
                state.people -= 1;
                state.slots[index] = Slot { agents: vec![Agent { side: Side::From, served: true }], busy: true, meddled: true };
            }
            Event::MoveByHand(index) => {
                state.people -= 1;
                state.slots[index] = Slot { agents: vec![Agent { side: Side::To, served: true }], busy: false, meddled: true };
            }
            Event::Abort => {
                state.people -= 1;
                state.abort = true;
            }
            Event::Break(side) => {
                state.people -= 1;
                match side {
                    Side::From => state.from_right = false,
                    Side::To => state.target_right = false,
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("there is at most one agent on a conversation", |_, state: &State| {
                state.slots.iter().all(|slot| slot.agents.len() <= 1)
            }),
            Property::always(NO_SIN, |_, state: &State| state.sin.is_none()),
            Property::always("at most a batch is on the move", |model: &Self, state: &State| state.record.in_flight() <= model.plan.batch),
            Property::always("a closed swap is whole", |model: &Self, state: &State| match state.record.verdict {
                // A late effect of a daemon that was fenced out is put right by the next pass.
                _ if model.daemons > 1 => true,
                Some(SwapVerdict::Committed) => model.is_whole(state, Side::To),
                Some(SwapVerdict::RolledBack | SwapVerdict::Abandoned) => model.is_whole(state, Side::From),
                Some(SwapVerdict::Latched) | None => true,
            }),
            Property::always("a latch keeps both errors and the previous account", |_, state: &State| {
                let record = &state.record;
                record.verdict != Some(SwapVerdict::Latched)
                    || (record.turned_back.is_some() && record.rollback_error.is_some() && state.active == Side::From)
            }),
            Property::always("in the end there is something to do", |model: &Self, state: &State| {
                // Whoever looks when all is quiet and every deadline has passed is not told to wait.
                if state.record.verdict.is_some() || state.sin.is_some() {
                    return true;
                }
                let mut late = state.clone();
                late.now = 200;
                late.slots.iter_mut().for_each(|slot| slot.busy = false);
                !matches!(next(&state.record, &model.facts(&late, 0, Sight::Clear)), Decision::Wait { .. })
            }),
            Property::sometimes("a swap can be committed", |_, state: &State| state.record.verdict == Some(SwapVerdict::Committed)),
            Property::sometimes("a swap can be rolled back", |_, state: &State| state.record.verdict == Some(SwapVerdict::RolledBack)),
            Property::sometimes("a swap can be abandoned", |_, state: &State| state.record.verdict == Some(SwapVerdict::Abandoned)),
            Property::sometimes("a swap can be latched", |_, state: &State| state.record.verdict == Some(SwapVerdict::Latched)),
        ];
        if self.names.len() > 2 && self.faults > 1 {
            properties.push(Property::sometimes("a session can be lost alone", |_, state: &State| {
                state.record.verdict == Some(SwapVerdict::Committed) && state.record.lost().count() == 1
            }));
        }
        properties
    }
}
