//! Carries out what operators and programs ask. Every command is safe to repeat: the same request id gets the same answer.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{Answer, Command, Engine, EngineError, Pass, Request};
use crate::{
    host::{Host, Look},
    model::{AccountName, Event, EventReason, ObjectRef, SessionName, Severity, SpecDigest, SwapId},
    plan::{Attempts, Cordon, MemoryChange, Refused, RefusedLogin, SessionRecord, Suspension, target},
    store::{Batch, Handled},
    swap::{SwapCause, SwapVerdict},
};

/// How far a command is.
#[derive(Debug)]
pub enum Begun {
    /// It is done, and this is its answer.
    Answered(Answer),
    /// Its answer comes once the pool has converged.
    Converging(Ticket),
}

/// A command whose answer is still to come.
#[derive(Debug)]
pub struct Ticket {
    request: Request,
    /// The newest event before it.
    before: Option<u64>,
    /// The swap that it asked for.
    swap: Option<SwapId>,
}

impl<H: Host> Engine<H> {
    /// Carries out one command to its end, passing until the pool has converged where that is what is asked.
    ///
    /// # Errors
    /// [`EngineError`] when it could not be recorded; then it was not done, or is done again harmlessly.
    pub async fn handle(&mut self, request: &Request) -> Result<Answer, EngineError> {
        match self.begin(request).await? {
            Begun::Answered(answer) => Ok(answer),
            Begun::Converging(ticket) => {
                self.converge(Timestamp::MAX).await?;
                self.finish(&ticket)
            }
        }
    }

    /// Begins one command. A pass with a look at everything should follow one that changes something.
    ///
    /// # Errors
    /// As [`Self::handle`].
    pub async fn begin(&mut self, request: &Request) -> Result<Begun, EngineError> {
        if !request.command.is_read()
            && let Some(handled) = self.store.handled(&request.id).map_err(EngineError::store("look a request up"))?
            && let Ok(answer) = serde_json::from_str(&handled.answer)
        {
            return Ok(Begun::Answered(answer));
        }
        let answer = match &request.command {
            Command::Status => Ok(Answer::Status(Box::new(self.view.status()))),
            Command::Plan => Ok(Answer::Planned(Box::new(self.view.planned.clone()))),
            Command::Tasks { all } => Ok(Answer::Tasks { tasks: self.view.tasks(*all), blind: None }),
            Command::RetryTask { task } => self.retry_task(request, task).await,
            Command::CancelTask { task, reason } => self.cancel_task(request, task, reason).await,
            Command::MoveTask { task, to } => self.move_task(request, task, to).await,
            Command::Apply { expect, confirm_prune } => match self.other_spec(expect.as_ref()) {
                Some(refused) => Ok(refused),
                None => {
                    self.confirm_prune(confirm_prune)?;
                    return Ok(Begun::Converging(self.ticket(request)));
                }
            },
            Command::Reconcile => return Ok(Begun::Converging(self.ticket(request))),
            Command::Swap { to, dry_run } => return self.operator_swap(request, to.as_ref(), *dry_run).await,
            Command::Adopt { session } => self.adopt(request, session).await,
            Command::AdoptSharedRoot { look_only } => self.adopt_shared_root(request, *look_only).await,
            Command::AdoptAccount { account, look_only } => self.adopt_account(request, account, *look_only).await,
            Command::Suspend { reason, until } => self.suspend(request, reason, *until),
            Command::Resume => self.resume(request),
            Command::Cordon { object, reason } => self.cordon(request, object, reason),
            Command::Uncordon { object } => self.uncordon(request, object),
            Command::Restore { session, from, conversation, workdir } => self.restore(request, session, from, *conversation, workdir).await,
            Command::TakeCheckpoints { sessions } => self.checkpoint_by_hand(request, sessions).await,
            Command::Clear { object, look_only } => self.clear(request, object, *look_only).await,
        };
        answer.map(Begun::Answered)
    }

    fn ticket(&self, request: &Request) -> Ticket {
        Ticket { request: request.clone(), before: self.newest_event(), swap: None }
    }

    /// The answer of a command after the pool has converged: what happened since.
    ///
    /// # Errors
    /// [`EngineError`] when it could not be recorded.
    pub fn finish(&mut self, ticket: &Ticket) -> Result<Answer, EngineError> {
        let lines = self.lines_since(ticket.before);
        let changed = !lines.is_empty();
        // A swap that was asked for and did not come about is no success, however sound the state is that it left.
        let undone = |id| self.view.memory.swaps.iter().any(|swap| swap.id == id && swap.verdict != SwapVerdict::Committed);
        let answer = Answer::Done { lines, changed, degraded: self.view.is_degraded() || ticket.swap.is_some_and(undone) };
        self.answer(&ticket.request, answer, Vec::new(), Vec::new())
    }

    fn other_spec(&self, expect: Option<&SpecDigest>) -> Option<Answer> {
        let expect = expect.filter(|expect| self.view.memory.spec.as_ref() != Some(expect))?;
        let found = self.view.memory.spec.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        Some(Answer::Refused { message: format!("the spec in force has digest {found}, not {expect}; plan again") })
    }

    /// Whether nothing is under way that a command would wait for: no work at once, no swap, no agent that is still starting, nothing that is
    /// tried again in a moment.
    pub fn is_settled(&self, pass: &Pass) -> bool {
        let now = self.view.host.now();
        let soon = pass.next.is_some_and(|at| at.duration_since(now.wall).as_secs() <= SOON_SECONDS);
        !pass.again && !soon && self.view.memory.swap.is_none() && !self.view.is_starting()
    }

    /// Notes what the spec does not declare any more before the first pass: somebody has seen it and agreed.
    pub async fn confirm_removals(&mut self) {
        self.view.look(&Look { tmux: true, ..Look::default() }).await;
        self.view.confirm_removals();
    }

    /// Notes an operator's word that these undeclared sessions may be stopped. It holds for them alone, and ends with them.
    ///
    /// # Errors
    /// [`EngineError`] when it could not be recorded.
    pub fn confirm_prune(&mut self, sessions: &BTreeSet<SessionName>) -> Result<(), EngineError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let changes = vec![MemoryChange::SetPruneConfirmed(sessions.clone())];
        self.commit("record what may be stopped", &Batch { changes, ..Batch::default() })
    }

    /// Passes until nothing is left to do, or `deadline` has come. What waits only for a moment (a start, a proof, a short back-off) is waited
    /// for; what waits for longer is left.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub async fn converge(&mut self, deadline: Timestamp) -> Result<Answer, EngineError> {
        let before = self.newest_event();
        let (mut changed, mut failed) = (0, 0);
        loop {
            let pass = self.pass(Look::all()).await?;
            changed += pass.changed;
            failed += pass.failed;
            let now = self.view.host.now();
            if self.is_settled(&pass) || now.wall >= deadline {
                break;
            }
            if !pass.again {
                let until = pass.next.map_or(SETTLE, |at| Duration::try_from(at.duration_since(now.wall)).unwrap_or_default());
                self.view.host.wake(now.mono.plus(until.min(SETTLE))).await;
            }
        }
        let degraded = failed > 0 || self.view.is_degraded();
        Ok(Answer::Done { lines: self.lines_since(before), changed: changed > 0, degraded })
    }

    fn newest_event(&self) -> Option<u64> {
        let query = crate::store::EventQuery { limit: 1, ..crate::store::EventQuery::default() };
        self.store.events(&query).ok()?.last().map(|stored| stored.sequence)
    }

    fn lines_since(&self, sequence: Option<u64>) -> Vec<String> {
        let query = crate::store::EventQuery { after: Some(sequence.unwrap_or(0)), limit: 10_000, ..crate::store::EventQuery::default() };
        let events = self.store.events(&query).unwrap_or_default();
        events.into_iter().map(|stored| format!("{}: {} {}", stored.event.object, stored.event.reason, stored.event.message)).collect()
    }

    async fn operator_swap(&mut self, request: &Request, to: Option<&AccountName>, dry_run: bool) -> Result<Begun, EngineError> {
        self.view.look(&Look::all()).await;
        let now = self.view.host.now();
        if dry_run {
            return Ok(Begun::Answered(self.view.preview_swap(to)));
        }
        let refused = |message: String| Ok(Begun::Answered(Answer::Refused { message }));
        let to = match self.view.operator_target(to, now) {
            Ok(to) => to,
            Err(message) => return refused(message),
        };
        let ticket = self.ticket(request);
        self.open_swap(to, SwapCause::Operator { actor: request.actor.clone() })?;
        match &self.view.memory.swap {
            Some(swap) => Ok(Begun::Converging(Ticket { swap: Some(swap.plan.id), ..ticket })),
            None => refused("the pool is on no account yet, or tmux cannot be looked at".to_owned()),
        }
    }

    fn suspend(&mut self, request: &Request, reason: &str, until: Option<Timestamp>) -> Result<Answer, EngineError> {
        let now = self.view.wall();
        if let Some(until) = until.filter(|until| *until <= now) {
            return Ok(Answer::Refused { message: format!("{until:.0} is over already") });
        }
        let suspension = Suspension { reason: reason.to_owned(), actor: request.actor.clone(), since: now, until };
        let end = until.map_or_else(|| "until resumed".to_owned(), |until| format!("until {until:.0}"));
        let answer = done(format!("the pool is suspended {end}; sessions run on"), true);
        let event =
            self.view.event(ObjectRef::Pool, EventReason::Suspended, Severity::Normal, format!("by {} {end}: {reason}", request.actor));
        self.answer(request, answer, vec![MemoryChange::SetSuspension(Some(suspension))], vec![event])
    }

    fn resume(&mut self, request: &Request) -> Result<Answer, EngineError> {
        if self.view.memory.suspended.is_none() {
            return self.answer(request, done("the pool is not suspended".to_owned(), false), Vec::new(), Vec::new());
        }
        let event = self.view.event(ObjectRef::Pool, EventReason::Resumed, Severity::Normal, format!("by {}", request.actor));
        self.answer(request, done("the pool is resumed".to_owned(), true), vec![MemoryChange::SetSuspension(None)], vec![event])
    }

    fn cordon(&mut self, request: &Request, object: &ObjectRef, reason: &str) -> Result<Answer, EngineError> {
        if let Some(refused) = self.unknown_object(object) {
            return Ok(refused);
        }
        let cordon = Cordon { reason: reason.to_owned(), actor: request.actor.clone(), since: self.view.wall() };
        let event = self.view.event(object.clone(), EventReason::Cordoned, Severity::Normal, format!("by {}: {reason}", request.actor));
        self.answer(
            request,
            done(format!("{object} is cordoned"), true),
            vec![MemoryChange::PutCordon(object.clone(), cordon)],
            vec![event],
        )
    }

    fn uncordon(&mut self, request: &Request, object: &ObjectRef) -> Result<Answer, EngineError> {
        if !self.view.memory.cordoned.contains_key(object) {
            return self.answer(request, done(format!("{object} is not cordoned"), false), Vec::new(), Vec::new());
        }
        let event = self.view.event(object.clone(), EventReason::Uncordoned, Severity::Normal, format!("by {}", request.actor));
        self.answer(request, done(format!("{object} is back in use"), true), vec![MemoryChange::RemoveCordon(object.clone())], vec![event])
    }

    /// Only accounts and sessions of the spec can be cordoned.
    fn unknown_object(&self, object: &ObjectRef) -> Option<Answer> {
        let known = match object {
            ObjectRef::Account(name) => self.view.spec.account(name).is_some(),
            ObjectRef::Session(name) => self.view.spec.sessions.contains_key(name),
            _ => false,
        };
        (!known).then(|| Answer::Refused { message: format!("{object} is no account and no session of this pool") })
    }

    /// Clearing looks first: what it clears is cleared with open eyes.
    async fn clear(&mut self, request: &Request, object: &ObjectRef, look_only: bool) -> Result<Answer, EngineError> {
        self.view.look(&Look::all()).await;
        self.view.look_at_transcripts().await;
        self.view.planned = self.view.plan_now();
        let mut lines = self.view.evidence(object);
        let held = self.held(object, &request.actor);
        if held.is_empty() {
            lines.push(format!("{object} is neither latched nor held back"));
            return self.answer(request, Answer::Done { lines, changed: false, degraded: false }, Vec::new(), Vec::new());
        }
        if look_only {
            return Ok(Answer::Done { lines, changed: false, degraded: true });
        }
        let (changes, events): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        lines.push(format!("{object} is cleared"));
        self.answer(request, Answer::Done { lines, changed: true, degraded: false }, changes.concat(), events.concat())
    }

    /// What holds an object back and an operator may clear, each with the changes that end it and how that is told.
    fn held(&self, object: &ObjectRef, actor: &str) -> Vec<(Vec<MemoryChange>, Vec<Event>)> {
        let memory = &self.view.memory;
        let told = |reason, severity, message| vec![self.view.event(object.clone(), reason, severity, message)];
        let mut held = Vec::new();
        if let ObjectRef::Session(name) = object
            && let Some(record) = self.new_conversation(object)
        {
            let message = format!("{name} begins conversation {} at the word of {actor}", record.conversation);
            let change = MemoryChange::PutSession(name.clone(), record);
            held.push((vec![change], told(EventReason::ConversationChanged, Severity::Warning, message)));
        }
        // Clearing the pool also ends the breaker and the cool-down of failed swaps.
        if *object == ObjectRef::Pool && target::is_braked(memory, self.view.host.now()) {
            held.push((vec![MemoryChange::ClearSwaps(self.view.wall())], Vec::new()));
        }
        if let ObjectRef::Account(name) = object
            && let Some(refused) = memory.refused_logins.get(name).filter(|refused| refused.state == Refused::Confirmed)
        {
            let mut logins = memory.refused_logins.clone();
            logins.insert(name.clone(), RefusedLogin { since: self.view.wall(), state: Refused::Renewed, ..refused.clone() });
            let message = format!("its login counts as valid again at the word of {actor}");
            held.push((vec![MemoryChange::SetRefusedLogins(logins)], told(EventReason::LatchCleared, Severity::Normal, message)));
        }
        if let Some(latch) = memory.latches.get(object) {
            let mut changes = vec![MemoryChange::ClearLatch(object.clone())];
            changes.extend(self.settle_active());
            let message = format!("{} cleared by {actor}; it was latched because of {}", latch.reason, latch.causes.join("; then: "));
            held.push((changes, told(EventReason::LatchCleared, Severity::Normal, message)));
        }
        if let Some(Attempts { quarantined, failures, .. }) = memory.attempts.get(object).filter(|attempts| !attempts.is_clean()) {
            let what = if *quarantined { "the quarantine".to_owned() } else { format!("{failures} failures") };
            let message = format!("{what} cleared by {actor}");
            held.push((vec![MemoryChange::ClearAttempts(object.clone())], told(EventReason::LatchCleared, Severity::Normal, message)));
        }
        held
    }

    /// What a session whose transcript is gone is bound to once an operator has given the old conversation up.
    fn new_conversation(&self, object: &ObjectRef) -> Option<SessionRecord> {
        let ObjectRef::Session(name) = object else { return None };
        let lost = self.view.planned.report.warnings.iter().any(|warning| warning.object == *object && warning.reason == "TranscriptLost");
        let record = self.view.memory.sessions.get(name).filter(|_| lost)?;
        let incarnation = record.incarnation + 1;
        let conversation = self.view.memory.pool.conversation(name, incarnation);
        Some(SessionRecord { conversation, incarnation, spoken: false, ..record.clone() })
    }

    /// After a latch the active account is the one that the active link really leads to, if it leads to one whose links are right; otherwise
    /// it stays what it was.
    fn settle_active(&self) -> Option<MemoryChange> {
        let facts = super::observe::active_by_link(&self.view.spec, &self.view.seen)?;
        let differs = self.view.memory.active.as_ref().is_none_or(|active| active.account != facts);
        differs.then(|| MemoryChange::SetActive(crate::plan::Active { account: facts, since: self.view.wall() }))
    }

    pub(super) fn answer(
        &mut self,
        request: &Request,
        answer: Answer,
        changes: Vec<MemoryChange>,
        events: Vec<Event>,
    ) -> Result<Answer, EngineError> {
        let handled = Some(self.handled(request, &answer));
        self.commit("record a command", &Batch { changes, events, handled, ..Batch::default() })?;
        Ok(answer)
    }

    pub(super) fn handled(&self, request: &Request, answer: &Answer) -> Handled {
        Handled { id: request.id.clone(), at: self.view.wall(), answer: serde_json::to_string(answer).unwrap_or_default() }
    }
}

pub(super) const fn refused(message: String) -> Answer {
    Answer::Refused { message }
}

pub(super) fn done(line: String, changed: bool) -> Answer {
    Answer::Done { lines: vec![line], changed, degraded: false }
}

/// What is to happen within this time is waited for by a command.
const SOON_SECONDS: i64 = 30;
/// How long a command waits between two looks when nothing wakes it.
const SETTLE: Duration = Duration::from_millis(500);
