//! A small host, and an executor that carries a swap through on it, journal and all.
//!
//! Every journal write and every effect is a numbered point at which something can be made to happen.

use std::collections::BTreeMap;

use super::*;

/// What is made to happen at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The process ends before the write or the effect.
    CrashBefore,
    /// The process ends right after it.
    CrashAfter,
    /// The effect is not done, and says so. A write cannot fail: the engine stops then, which is a crash.
    Fail,
    /// The effect is not done, and cannot tell.
    DoubtBefore,
    /// The effect is done, and cannot tell.
    DoubtAfter,
    /// A person ends the agent of the second session.
    Kill,
    /// A person starts an agent of their own in the second session, if none runs there.
    StartByHand,
    /// A person restarts the agent of the second session under the target, if one runs there.
    MoveByHand,
    /// A person asks for the swap to be undone.
    Abort,
    /// The links of the target break for good.
    BreakTarget,
}

/// Whether links are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Right,
    /// Wrong, and put right by an ensure.
    Loose,
    /// Wrong for good.
    Broken,
}

/// What becomes of an agent that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Proven,
    Refuted,
    /// Neither proven nor refuted, ever.
    Silent,
    /// It ends at once.
    Ends,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub account: AccountName,
    pub conversation: ConversationId,
    pub fate: Fate,
}

/// One pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// More than one would be the catastrophe.
    pub agents: Vec<Agent>,
    /// Until when it works on a turn.
    pub busy_until: i64,
    pub activity: Activity,
}

/// The host, the store and the clock.
#[derive(Debug, Clone)]
pub struct World {
    pub plan: SwapPlan,
    pub second: i64,
    pub looking_since: i64,
    pub link: AccountName,
    pub links: BTreeMap<AccountName, Links>,
    pub slots: BTreeMap<SessionName, Slot>,
    pub active: AccountName,
    pub journal: Vec<SwapEvent>,
    /// What the process has in memory.
    pub record: SwapRecord,
    pub abort: bool,
    /// What an agent becomes, by session and account; proven if it is not named.
    pub fates: BTreeMap<(SessionName, AccountName), Fate>,
    /// Links that break when a step is done.
    pub breaks: Vec<(Step, AccountName)>,
    /// Steps that always fail.
    pub failing: Vec<Step>,
    /// The sessions when the swap was opened.
    before: BTreeMap<SessionName, Slot>,
    /// Starts that the pane refused, because an agent ran there.
    pub refused_starts: usize,
    /// Points that were passed.
    pub points: usize,
    troubles: Vec<(usize, Trouble)>,
}

/// The process ended.
struct Crash;

impl World {
    pub fn new(plan: SwapPlan) -> Self {
        let idle = |bound: &Bound| Slot {
            agents: vec![Agent { account: from(), conversation: bound.conversation, fate: Fate::Proven }],
            busy_until: 0,
            activity: Activity::Idle,
        };
        Self {
            second: 0,
            looking_since: 0,
            link: from(),
            links: [(from(), Links::Right), (to(), Links::Right)].into(),
            slots: plan.sessions.iter().map(|(name, bound)| (name.clone(), idle(bound))).collect(),
            active: from(),
            journal: Vec::new(),
            record: SwapRecord::open(plan.clone()),
            abort: false,
            fates: BTreeMap::new(),
            breaks: Vec::new(),
            failing: Vec::new(),
            before: BTreeMap::new(),
            refused_starts: 0,
            points: 0,
            troubles: Vec::new(),
            plan,
        }
    }

    /// Carries the swap to its end, with what is to happen at which point.
    pub fn run(mut self, troubles: &[(usize, Trouble)]) -> Self {
        self.troubles = troubles.to_vec();
        self.before = self.slots.clone();
        self.record = SwapRecord::open(self.plan.clone());
        self.journal = vec![SwapEvent::Opened(self.plan.clone())];
        let mut rounds = 0;
        while self.record.verdict.is_none() {
            rounds += 1;
            assert!(rounds < 500, "the swap does not end:\n{}", self.tell());
            if rounds > 100 && self.record.stage == Stage::Commit && self.links[&to()] == Links::Broken {
                // There is only forward, so it waits for a person to clear the way; what is missing then is put right by the swap.
                self.links.insert(to(), Links::Loose);
            }
            if self.round().is_err() {
                // A new process: it has the journal and nothing else.
                self.second += 5;
                self.looking_since = self.second;
                self.record = self.replay();
            }
        }
        assert_eq!(self.replay(), self.record, "the journal tells another story than the record");
        self
    }

    /// The journal, for people.
    pub fn tell(&self) -> String {
        let lines: Vec<_> = self.journal.iter().map(|event| format!("{} {event}", event.at())).collect();
        lines.join("\n")
    }

    fn replay(&self) -> SwapRecord {
        SwapRecord::replay(&self.journal).expect("a legal journal").expect("an opened swap")
    }

    fn round(&mut self) -> Result<(), Crash> {
        match next(&self.record, &self.facts()) {
            Decision::Act(steps) => {
                assert!(!steps.is_empty(), "an act without steps");
                for step in &steps {
                    self.write(SwapEvent::Began { step: step.clone(), at: at(self.second) })?;
                }
                for step in steps {
                    let result = self.perform(&step)?;
                    self.second += 1;
                    self.write(SwapEvent::Ended { step, at: at(self.second), result })?;
                }
            }
            Decision::Note(events) => {
                assert!(!events.is_empty(), "a note without entries");
                for event in events {
                    self.write(event)?;
                }
            }
            Decision::Wait { until, why } => {
                assert!(!why.is_empty(), "it waits and does not say why");
                let until = until.map_or(self.second + 1, |until| until.as_second() - at(0).as_second());
                assert!(until > self.second, "it waits for what is over: {why}");
                // Something else may wake it earlier: here the end of a turn does.
                let turns = self.slots.values().map(|slot| slot.busy_until).filter(|end| *end > self.second);
                self.second = turns.min().map_or(until, |end| end.min(until));
            }
        }
        Ok(())
    }

    fn write(&mut self, event: SwapEvent) -> Result<(), Crash> {
        let trouble = self.pass_point();
        if trouble == Some(Trouble::CrashBefore) {
            return Err(Crash);
        }
        let before = self.record.clone();
        self.record.apply(&event).expect("a legal entry");
        self.journal.push(event);
        assert_ne!(before, self.record, "an entry that changes nothing:\n{}", self.tell());
        assert!(self.record.in_flight() <= self.plan.batch, "more than a batch is on the move:\n{}", self.tell());
        if trouble == Some(Trouble::CrashAfter) { Err(Crash) } else { Ok(()) }
    }

    fn perform(&mut self, step: &Step) -> Result<StepResult, Crash> {
        assert!(self.record.pending(step).is_some(), "{step} has no beginning in the journal");
        let failed = |error: &str, in_doubt| Ok(StepResult::Failed { error: error.to_owned(), in_doubt });
        match self.pass_point() {
            Some(Trouble::CrashBefore) => Err(Crash),
            Some(Trouble::CrashAfter) => {
                let _ = self.apply(step);
                Err(Crash)
            }
            Some(Trouble::Fail) => failed("made to fail", false),
            Some(Trouble::DoubtBefore) => failed("made to doubt", true),
            Some(Trouble::DoubtAfter) => {
                let _ = self.apply(step);
                failed("made to doubt", true)
            }
            _ => match self.apply(step) {
                Ok(()) => Ok(StepResult::Done(None)),
                Err(error) => failed(&error, false),
            },
        }
    }

    /// The effect itself.
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        if self.failing.contains(step) {
            return Err(format!("{step} always fails here"));
        }
        match step {
            Step::Hold => {}
            Step::Stop(name) => {
                let slot = self.slots.get_mut(name).expect("a known session");
                let at_work = slot.busy_until > self.second && slot.agents.iter().any(|agent| agent.account == from());
                assert!(!at_work || self.second >= 600, "{name} was interrupted before the drain deadline");
                slot.agents.clear();
                slot.busy_until = 0;
            }
            Step::Start(name, account) => {
                if self.links.get(account) != Some(&Links::Right) {
                    return Err(format!("the links of {account} are wrong"));
                }
                let conversation = self.plan.sessions.get(name).expect("a known session").conversation;
                let fate = self.fates.get(&(name.clone(), account.clone())).copied().unwrap_or(Fate::Proven);
                let slot = self.slots.get_mut(name).expect("a known session");
                if !slot.agents.is_empty() {
                    self.refused_starts += 1;
                    return Err("an agent runs in the pane".to_owned());
                }
                if fate != Fate::Ends {
                    slot.agents.push(Agent { account: account.clone(), conversation, fate });
                }
                self.assert_one_agent_each();
            }
            Step::Flip(account) => self.link = account.clone(),
            Step::Ensure(account) => match self.links.get_mut(account) {
                Some(Links::Broken) | None => return Err(format!("a directory stands in {account}")),
                Some(links) => *links = Links::Right,
            },
            Step::Commit => {
                // Looked at in the very moment, as the engine does.
                if self.links.get(&to()) != Some(&Links::Right) {
                    return Err("the links of backup are wrong".to_owned());
                }
                self.active = to();
            }
        }
        for (_, account) in self.breaks.iter().filter(|(cause, _)| cause == step) {
            self.links.insert(account.clone(), Links::Broken);
        }
        Ok(())
    }

    /// Lets happen what is to happen at this point; what concerns the step itself is for the caller.
    fn pass_point(&mut self) -> Option<Trouble> {
        let point = self.points;
        self.points += 1;
        let trouble = self.troubles.iter().find(|(at, _)| *at == point).map(|(_, trouble)| *trouble)?;
        let second = session("s1");
        match trouble {
            Trouble::Kill => self.slots.entry(second).and_modify(|slot| slot.agents.clear()).key().clone(),
            Trouble::StartByHand => {
                let conversation = conversation(1);
                let slot = self.slots.entry(second.clone()).and_modify(|slot| {
                    if slot.agents.is_empty() {
                        slot.agents.push(Agent { account: from(), conversation, fate: Fate::Silent });
                    }
                });
                slot.key().clone()
            }
            Trouble::MoveByHand => {
                let moved = self.slots.entry(second).and_modify(|slot| {
                    slot.agents.iter_mut().for_each(|agent| (agent.account, agent.fate) = (to(), Fate::Proven));
                });
                moved.key().clone()
            }
            Trouble::Abort => {
                self.abort = true;
                second
            }
            Trouble::BreakTarget => {
                self.links.insert(to(), Links::Broken);
                second
            }
            own => return Some(own),
        };
        None
    }

    pub fn assert_one_agent_each(&self) {
        let mut open: Vec<_> = self.slots.values().flat_map(|slot| &slot.agents).map(|agent| agent.conversation).collect();
        open.sort_unstable();
        let all = open.len();
        open.dedup();
        assert_eq!(open.len(), all, "two agents on one conversation: {self:#?}");
    }

    fn facts(&self) -> SwapFacts {
        let links = |account: AccountName| match self.links.get(&account) {
            Some(Links::Right) => LinksState::Right,
            _ => LinksState::Wrong(format!("projects of {account} is a directory")),
        };
        let fact = |slot: &Slot| {
            let (agent, proof) = match slot.agents.first() {
                None => (AgentFact::None, ProofState::Unknown),
                Some(agent) => {
                    let proof = match agent.fate {
                        _ if agent.account != *self.record.goal() => ProofState::Unknown,
                        Fate::Proven => ProofState::Proven,
                        Fate::Refuted => ProofState::Refuted("not logged in".to_owned()),
                        Fate::Silent | Fate::Ends => ProofState::Pending("no start hook".to_owned()),
                    };
                    (AgentFact::Running { account: Some(agent.account.clone()), conversation: Some(agent.conversation) }, proof)
                }
            };
            let activity = if slot.busy_until > self.second { Activity::Working } else { slot.activity };
            SessionFacts { agent, activity, proof, attached: 0, at_task: false }
        };
        SwapFacts {
            now: at(self.second),
            looking_since: at(self.looking_since),
            abort: self.abort.then(|| "asked for by ann".to_owned()),
            target_links: links(to()),
            from_links: links(from()),
            active_link: ActiveLinkState::At(self.link.clone()),
            sessions: self.slots.iter().map(|(name, slot)| (name.clone(), fact(slot))).collect(),
        }
    }

    /// What must hold once the swap is closed, however it went.
    pub fn assert_whole(&self) {
        self.assert_one_agent_each();
        let record = &self.record;
        let (home, other) = match record.verdict.expect("closed") {
            SwapVerdict::Committed => (to(), from()),
            SwapVerdict::RolledBack | SwapVerdict::Abandoned => (from(), to()),
            SwapVerdict::Latched => {
                assert!(record.turned_back.is_some() && record.rollback_error.is_some(), "a latch keeps both errors: {record:#?}");
                assert_eq!(self.active, from(), "a latched swap declared the target active");
                return;
            }
        };
        assert_eq!(self.active, home);
        if self.plan.has_active_link {
            assert_eq!(self.link, home);
        }
        self.assert_links_seen_behind_the_flip(record.verdict);
        for (name, movement) in &record.moves {
            if movement.place == Place::Lost || self.is_meddled_with(name) {
                continue;
            }
            let slot = &self.slots[name];
            if !movement.touched {
                assert_eq!(slot, &self.before[name], "{name} was never touched, and changed");
                continue;
            }
            let [agent] = slot.agents.as_slice() else { panic!("{name} has no agent: {self:#?}") };
            assert_eq!(agent.conversation, self.plan.sessions[name].conversation, "{name} lost its conversation");
            assert_ne!(agent.account, other, "{name} is not where the pool is: {self:#?}");
        }
    }

    /// A target is recorded only with its links ensured between the flip and the commit.
    fn assert_links_seen_behind_the_flip(&self, verdict: Option<SwapVerdict>) {
        if verdict != Some(SwapVerdict::Committed) {
            return;
        }
        let ended = |wanted: Step| {
            let is_it =
                move |event: &SwapEvent| matches!(event, SwapEvent::Ended { step, result: StepResult::Done(_), .. } if *step == wanted);
            self.journal.iter().position(is_it)
        };
        let (flip, ensure, commit) = (ended(Step::Flip(to())), ended(Step::Ensure(to())), ended(Step::Commit));
        assert!(ensure.is_some() && ensure < commit, "{}", self.tell());
        assert!(flip.is_some() == self.plan.has_active_link && flip < ensure, "{}", self.tell());
    }

    /// Whether a person did something to it, maybe after it was settled: the next pass puts that right.
    fn is_meddled_with(&self, name: &SessionName) -> bool {
        let by_hand = [Trouble::Kill, Trouble::StartByHand, Trouble::MoveByHand];
        *name == session("s1") && self.troubles.iter().any(|(_, trouble)| by_hand.contains(trouble))
    }

    /// What a crash must not change: all but the journal and the clock.
    pub fn outcome(&self) -> (Option<SwapVerdict>, AccountName, AccountName, BTreeMap<SessionName, Slot>) {
        let mut slots = self.slots.clone();
        for slot in slots.values_mut() {
            slot.busy_until = 0;
        }
        (self.record.verdict, self.active.clone(), self.link.clone(), slots)
    }
}
