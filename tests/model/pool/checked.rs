//! The model as the checker sees it: where it begins, what can happen, and what must be so.

use stateright::{Model, Property};

use super::*;

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
