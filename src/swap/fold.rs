//! How the journal of a swap becomes its record: the only way in which a record changes.
//!
//! # Guarantees
//! [`SwapRecord::replay`] of what was journaled gives exactly the record that the process had, so a crash loses nothing. An entry that
//! cannot follow the ones before it is a typed error and leaves the record as it was: a damaged journal stops action.
//!
//! # Does not
//! Judge. How often a thing is tried, when a swap turns back and when it is latched stand in the journal as entries of their own, so that
//! a later version with other limits reads an old journal as it was meant.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::record::{Move, Pending, Place, Stage, Step, StepResult, SwapEvent, SwapPlan, SwapRecord, SwapVerdict};
use crate::model::{SessionName, SwapId};

/// An entry that cannot stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    /// The first entry is not an opening.
    #[error("the journal of a swap begins with its opening, but it begins with \"{found}\"")]
    NotOpened {
        /// What stands there.
        found: String,
    },
    /// A swap is opened inside a swap.
    #[error("swap {found} is opened while swap {open} is open")]
    OpenedAgain {
        /// The open one.
        open: SwapId,
        /// The one that the entry opens.
        found: SwapId,
    },
    /// Something follows the closing.
    #[error("swap {swap} is closed, but \"{found}\" follows")]
    AfterClose {
        /// Which swap.
        swap: SwapId,
        /// What follows.
        found: String,
    },
    /// A session that the swap was not opened with.
    #[error("swap {swap} was not opened with session {session}, but \"{found}\" names it")]
    UnknownSession {
        /// Which swap.
        swap: SwapId,
        /// The session.
        session: SessionName,
        /// The entry that names it.
        found: String,
    },
    /// Something that cannot follow at this stage, or at this place of the session.
    #[error("swap {swap} is at stage {stage:?}{}, where \"{found}\" cannot follow", at_place(place.as_ref()))]
    OutOfPlace {
        /// Which swap.
        swap: SwapId,
        /// How far it is.
        stage: Stage,
        /// Where the session is that the entry names, if it names one.
        place: Option<Place>,
        /// The entry.
        found: String,
    },
}

/// The middle of a message about one session.
fn at_place(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" with the session at {place:?}"))
}

/// A journal that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} of the swap's journal cannot be; no step is taken until an operator has looked at the journal")]
pub struct ReplayError {
    /// Which entry, from 1.
    pub entry: usize,
    /// What is wrong with it.
    pub source: IllegalEvent,
}

impl SwapRecord {
    /// The record of a swap that was just opened and has done nothing yet.
    pub fn open(plan: SwapPlan) -> Self {
        let since = plan.opened_at;
        let waiting = Move { place: Place::Waiting, since, touched: false, failures: 0, transcript: None, error: None };
        let moves: BTreeMap<_, _> = plan.sessions.keys().map(|name| (name.clone(), waiting.clone())).collect();
        Self {
            plan,
            stage: Stage::Opened,
            since,
            touched: false,
            moves,
            pending: Vec::new(),
            failures: 0,
            last_error: None,
            turned_back: None,
            verdict: None,
            rollback_error: None,
        }
    }

    /// The record that a journal tells of; `None` when it is empty.
    ///
    /// # Errors
    /// [`ReplayError`] with the first entry that cannot stand where it stands.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a SwapEvent>) -> Result<Option<Self>, ReplayError> {
        let mut record: Option<Self> = None;
        for (at, event) in events.into_iter().enumerate() {
            match (&mut record, event) {
                (None, SwapEvent::Opened(plan)) => record = Some(Self::open(plan.clone())),
                (None, event) => return Err(ReplayError { entry: at + 1, source: IllegalEvent::NotOpened { found: event.to_string() } }),
                (Some(record), event) => record.apply(event).map_err(|source| ReplayError { entry: at + 1, source })?,
            }
        }
        Ok(record)
    }

    /// Takes one entry in.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the entry cannot follow what came before; the record is then unchanged.
    pub fn apply(&mut self, event: &SwapEvent) -> Result<(), IllegalEvent> {
        self.check(event)?;
        match event {
            // Refused by the check.
            SwapEvent::Opened(_) => {}
            SwapEvent::Began { step, at } => self.begin(step, *at),
            SwapEvent::Ended { step, at, result } => self.end(step, *at, result),
            SwapEvent::Proven { session, account, at } => {
                self.touched = true;
                self.relocate(session, Place::Proven(account.clone()), *at, |movement| {
                    movement.touched = true;
                    movement.error = None;
                });
                self.leave_canary(*at);
            }
            SwapEvent::Unproven { session, at, why, .. } => self.fail(session, why, *at),
            SwapEvent::GivenUp { session, at, why } => {
                self.pending.retain(|pending| pending.step.session() != Some(session));
                self.relocate(session, Place::Lost, *at, |movement| movement.error = Some(why.clone()));
                self.leave_canary(*at);
            }
            SwapEvent::TurnedBack { at, why } => self.turn_back(why, *at),
            SwapEvent::Closed { at, verdict, rollback_error } => {
                self.enter(Stage::Closed, *at);
                self.verdict = Some(*verdict);
                self.rollback_error.clone_from(rollback_error);
            }
        }
        Ok(())
    }

    /// What may follow what.
    fn check(&self, event: &SwapEvent) -> Result<(), IllegalEvent> {
        if let SwapEvent::Opened(plan) = event {
            return Err(IllegalEvent::OpenedAgain { open: self.plan.id, found: plan.id });
        }
        if self.verdict.is_some() {
            return Err(IllegalEvent::AfterClose { swap: self.plan.id, found: event.to_string() });
        }
        let session = match event {
            SwapEvent::Began { step, .. } | SwapEvent::Ended { step, .. } => step.session(),
            SwapEvent::Proven { session, .. } | SwapEvent::Unproven { session, .. } | SwapEvent::GivenUp { session, .. } => Some(session),
            SwapEvent::Opened(_) | SwapEvent::TurnedBack { .. } | SwapEvent::Closed { .. } => None,
        };
        let movement = match session {
            None => None,
            Some(session) => Some(self.moves.get(session).ok_or_else(|| IllegalEvent::UnknownSession {
                swap: self.plan.id,
                session: session.clone(),
                found: event.to_string(),
            })?),
        };
        let is_open = movement.is_some_and(|movement| self.moves_sessions() && !self.is_settled(movement));
        let legal = match event {
            SwapEvent::Opened(_) => false,
            SwapEvent::Began { step, .. } => self.may_begin(step, movement.filter(|_| is_open).map(|movement| &movement.place)),
            SwapEvent::Ended { step, .. } => self.pending(step).is_some(),
            // While a step is pending there is no agent that could be judged.
            SwapEvent::Proven { account, .. } => {
                is_open && account == self.goal() && movement.is_some_and(|it| !matches!(it.place, Place::Stopping | Place::Starting(_)))
            }
            SwapEvent::Unproven { account, .. } => {
                is_open && account == self.goal() && movement.is_some_and(|it| matches!(it.place, Place::Stopped | Place::Proving(_)))
            }
            SwapEvent::GivenUp { .. } => is_open,
            SwapEvent::TurnedBack { .. } => self.may_turn_back(),
            SwapEvent::Closed { verdict, rollback_error, .. } => self.may_close(*verdict, rollback_error.as_deref()),
        };
        if legal {
            return Ok(());
        }
        let place = movement.map(|movement| movement.place.clone());
        Err(IllegalEvent::OutOfPlace { swap: self.plan.id, stage: self.stage, place, found: event.to_string() })
    }

    /// Whether sessions move at this stage.
    const fn moves_sessions(&self) -> bool {
        matches!(self.stage, Stage::Canary | Stage::Rest | Stage::Return)
    }

    /// Whether a step may begin; `place` is that of its session, if that is not settled. A step that is pending may begin again: it is
    /// idempotent, and the process that began it is gone.
    fn may_begin(&self, step: &Step, place: Option<&Place>) -> bool {
        let (from, to) = (&self.plan.from, &self.plan.to);
        match step {
            Step::Hold => self.stage == Stage::Opened,
            Step::Flip(account) => match self.stage {
                Stage::Flip => account == to,
                Stage::Unflip => account == from,
                _ => false,
            },
            Step::Ensure(account) => match self.stage {
                Stage::Ensure | Stage::Commit => account == to,
                Stage::Reensure => account == from,
                _ => false,
            },
            Step::Commit => self.stage == Stage::Commit || (self.stage == Stage::Rest && self.all_settled()),
            Step::Stop(_) => matches!(place, Some(Place::Waiting | Place::Unsettled | Place::Stopping)),
            Step::Start(_, account) => {
                account == self.goal() && matches!(place, Some(Place::Waiting | Place::Unsettled | Place::Stopped | Place::Starting(_)))
            }
        }
    }

    /// Whether the swap may end so. A latch must say why going back failed, and only a latch may.
    fn may_close(&self, verdict: SwapVerdict, rollback_error: Option<&str>) -> bool {
        let fits = match verdict {
            SwapVerdict::Committed => self.stage == Stage::Committed,
            SwapVerdict::RolledBack => self.stage == Stage::Return && self.all_settled() && self.touched,
            SwapVerdict::Abandoned => self.stage == Stage::Return && self.all_settled() && !self.touched,
            SwapVerdict::Latched => matches!(self.stage, Stage::Unflip | Stage::Reensure | Stage::Return) && self.turned_back.is_some(),
        };
        fits && rollback_error.is_some() == (verdict == SwapVerdict::Latched)
    }

    fn begin(&mut self, step: &Step, at: Timestamp) {
        self.forget(step);
        self.pending.push(Pending { step: step.clone(), since: at, doubt: None });
        self.pending.sort();
        let place = match step {
            Step::Stop(_) => Place::Stopping,
            Step::Start(_, account) => Place::Starting(account.clone()),
            Step::Flip(_) => {
                self.touched = true;
                return;
            }
            Step::Commit if self.stage != Stage::Commit => return self.enter(Stage::Commit, at),
            Step::Hold | Step::Ensure(_) | Step::Commit => return,
        };
        self.touched = true;
        if let Some(session) = step.session() {
            self.relocate(session, place, at, |movement| movement.touched = true);
        }
    }

    fn end(&mut self, step: &Step, at: Timestamp, result: &StepResult) {
        match result {
            StepResult::Done(mark) => {
                self.forget(step);
                match step {
                    Step::Hold => {
                        self.enter(Stage::Canary, at);
                        self.leave_canary(at);
                    }
                    Step::Stop(session) => self.relocate(session, Place::Stopped, at, |movement| {
                        // The first mark stays: what the target's agent wrote is not yet trusted.
                        if movement.transcript.is_none() {
                            movement.transcript.clone_from(mark);
                        }
                    }),
                    Step::Start(session, account) => self.relocate(session, Place::Proving(account.clone()), at, |_| {}),
                    Step::Flip(_) => self.enter(if self.stage == Stage::Flip { Stage::Ensure } else { Stage::Reensure }, at),
                    Step::Ensure(_) => self.enter(
                        match self.stage {
                            Stage::Ensure => Stage::Rest,
                            Stage::Reensure => Stage::Return,
                            stage => stage,
                        },
                        at,
                    ),
                    Step::Commit => self.enter(Stage::Committed, at),
                }
            }
            StepResult::Failed { error, in_doubt } => {
                if *in_doubt {
                    for pending in self.pending.iter_mut().filter(|pending| pending.step == *step) {
                        pending.since = at;
                        pending.doubt = Some(error.clone());
                    }
                } else {
                    self.forget(step);
                }
                match step.session() {
                    Some(_) if *in_doubt => {}
                    Some(session) => self.fail(session, error, at),
                    None => {
                        self.since = at;
                        self.failures += 1;
                        if !in_doubt {
                            self.last_error = Some(error.clone());
                        }
                    }
                }
            }
        }
    }

    /// Every session is asked anew. What was half-way is looked at; what runs goes back in its turn.
    fn turn_back(&mut self, why: &str, at: Timestamp) {
        let flipped = self.plan.has_active_link
            && match self.stage {
                Stage::Flip => self.pending(&Step::Flip(self.plan.to.clone())).is_some(),
                stage => matches!(stage, Stage::Ensure | Stage::Rest),
            };
        self.turned_back = Some(why.to_owned());
        self.pending.clear();
        for movement in self.moves.values_mut() {
            movement.place = if movement.place.is_in_flight() { Place::Unsettled } else { Place::Waiting };
            movement.since = at;
            movement.failures = 0;
        }
        self.enter(
            match (self.touched, flipped) {
                (false, _) => Stage::Return,
                (true, true) => Stage::Unflip,
                (true, false) => Stage::Reensure,
            },
            at,
        );
    }

    /// Goes on to the shared part once enough sessions were proven to trust the target.
    fn leave_canary(&mut self, at: Timestamp) {
        if self.stage == Stage::Canary && self.proven() >= self.canaries() {
            self.enter(if self.plan.has_active_link { Stage::Flip } else { Stage::Ensure }, at);
        }
    }

    fn enter(&mut self, stage: Stage, at: Timestamp) {
        self.stage = stage;
        self.since = at;
        self.failures = 0;
        self.last_error = None;
    }

    fn fail(&mut self, session: &SessionName, error: &str, at: Timestamp) {
        self.relocate(session, Place::Unsettled, at, |movement| {
            movement.failures += 1;
            movement.error = Some(error.to_owned());
        });
    }

    fn relocate(&mut self, session: &SessionName, place: Place, at: Timestamp, change: impl FnOnce(&mut Move)) {
        if let Some(movement) = self.moves.get_mut(session) {
            movement.place = place;
            movement.since = at;
            change(movement);
        }
    }

    fn forget(&mut self, step: &Step) {
        self.pending.retain(|pending| pending.step != *step);
    }
}
