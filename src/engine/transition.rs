//! Opens a swap and carries out its steps. What the next step is, the swap machine says; this module journals, acts and journals again.

use jiff::Timestamp;

use super::{Engine, EngineError, Pass, observe, pass::earliest, record};
use crate::{
    host::{Host, Look},
    model::{AccountName, Event, EventReason, ObjectRef, SessionName, Severity, SwapId},
    observed::{Mark, Seen, TranscriptMark},
    plan::{
        Active, Effect, Failure, Happened, Latch, LaunchMode, MemoryChange, Outcome, SwapSummary, WrongLink, ensure_active_link,
        ensure_links, launch, link_needs,
    },
    store::Batch,
    swap::{Bound, Decision, Place, Step, StepResult, SwapCause, SwapEvent, SwapPlan, SwapRecord, SwapVerdict, next},
};

/// A swap has a few journal entries for each session; more rounds than this in one pass are a bug, not work.
const MAX_ROUNDS: usize = 100_000;

impl<H: Host> Engine<H> {
    /// Opens a swap: from here on its sessions belong to it. The next pass takes the first step.
    pub(super) fn open_swap(&mut self, to: AccountName, cause: SwapCause) -> Result<(), EngineError> {
        let Some(active) = self.view.memory.active.clone() else { return Ok(()) };
        let Some(tmux) = self.view.seen.tmux.value() else { return Ok(()) };
        let bound = |name: &SessionName| {
            let record = self.view.memory.sessions.get(name)?;
            Some((name.clone(), Bound { conversation: record.conversation, workdir: record.workdir.clone() }))
        };
        let sessions = observe::swap_sessions(&self.view.spec, &self.view.seen, tmux, &self.view.memory).filter_map(bound).collect();
        let now = self.view.host.now();
        let policy = &self.view.spec.swap;
        let drain = if cause.is_hard() { policy.hard_drain } else { policy.drain };
        let plan = SwapPlan {
            id: SwapId(self.view.memory.swaps.iter().map(|closed| closed.id.0).max().unwrap_or(0) + 1),
            from: active.account,
            to,
            cause,
            opened_at: now.wall,
            drain_until: now.plus(drain).wall,
            canary: policy.canary,
            batch: policy.batch,
            prove_within: policy.prove_within,
            has_active_link: self.view.spec.active_link.is_some(),
            sessions,
        };
        let message = format!("swap {} from {} to {} with {} sessions: {}", plan.id, plan.from, plan.to, plan.sessions.len(), plan.cause);
        let event = self.view.event(ObjectRef::Pool, EventReason::SwapStarted, Severity::Normal, message);
        let opened = SwapEvent::Opened(plan.clone());
        self.commit("record the opening of a swap", &Batch { swap: vec![opened], events: vec![event], ..Batch::default() })?;
        self.view.memory.swap = Some(SwapRecord::open(plan));
        Ok(())
    }

    /// Takes the open swap as far as it will go now.
    pub(super) async fn drive_swap(&mut self, pass: &mut Pass) -> Result<(), EngineError> {
        for _ in 0..MAX_ROUNDS {
            let Some(swap) = &self.view.memory.swap else { break };
            let look = observe::look_for_swap(swap, &self.view.seen);
            self.view.look(&look).await;
            loop {
                let Some(swap) = &self.view.memory.swap else { return Ok(()) };
                let at_tasks = self.view.memory.open_attempts().map(|(_, attempt)| &attempt.session).collect();
                let facts =
                    observe::swap_facts(&self.view.spec, &self.view.seen, swap, &at_tasks, self.looking_since, self.view.host.now());
                match next(swap, &facts) {
                    // Notes rest on the facts at hand and change none of them: the next answer needs no new look.
                    Decision::Note(events) => self.note(events)?,
                    Decision::Act(steps) => {
                        self.act(steps).await?;
                        pass.changed += 1;
                        pass.again = true;
                        pass.files = true;
                        break;
                    }
                    Decision::Wait { why, until } => {
                        tracing::debug!(until = ?until, "the swap waits: {why}");
                        self.view.swap_waits = Some(why);
                        pass.next = earliest(pass.next, until);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes entries of the journal with what follows from them, and takes them over.
    fn note(&mut self, events: Vec<SwapEvent>) -> Result<(), EngineError> {
        let mut batch = Batch { swap: events, ..Batch::default() };
        self.complete(&mut batch);
        self.take_over(&batch)
    }

    fn take_over(&mut self, batch: &Batch) -> Result<(), EngineError> {
        // Folded before it is written: an entry that cannot stand must not reach the journal.
        let mut swap = self.view.memory.swap.clone();
        if let Some(swap) = &mut swap {
            for event in &batch.swap {
                swap.apply(event).map_err(EngineError::Step)?;
            }
        }
        let closed = swap.as_ref().is_some_and(|swap| swap.verdict.is_some());
        self.commit("record a step of the swap", batch)?;
        self.view.memory.swap = swap.filter(|_| !closed);
        Ok(())
    }

    /// Adds events and changes of the memory that belong to journal entries.
    fn complete(&self, batch: &mut Batch) {
        let Some(swap) = &self.view.memory.swap else { return };
        for event in &batch.swap {
            let told = match event {
                SwapEvent::Proven { session, account, .. } => {
                    let message = format!("proven on {account}: process, register, start hook and transcript agree");
                    Some((ObjectRef::Session(session.clone()), EventReason::SessionProven, Severity::Normal, message))
                }
                SwapEvent::Unproven { session, account, why, .. } => {
                    let message = format!("not proven on {account}: {why}");
                    Some((ObjectRef::Session(session.clone()), EventReason::SessionUnproven, Severity::Warning, message))
                }
                SwapEvent::GivenUp { session, why, .. } => {
                    let message = format!("given up for this swap: {why}");
                    Some((ObjectRef::Session(session.clone()), EventReason::SessionUnproven, Severity::Critical, message))
                }
                SwapEvent::TurnedBack { why, .. } => {
                    let message = format!("swap {} goes back to {}: {why}", swap.plan.id, swap.plan.from);
                    Some((ObjectRef::Pool, EventReason::SwapTurnedBack, Severity::Warning, message))
                }
                SwapEvent::Closed { at, verdict, rollback_error } => {
                    batch.changes.extend(self.closing(swap, *at, *verdict, rollback_error.as_deref()));
                    Some(closing_event(swap, *at, *verdict, rollback_error.as_deref()))
                }
                SwapEvent::Opened(_) | SwapEvent::Began { .. } | SwapEvent::Ended { .. } => None,
            };
            if let Some((object, reason, severity, message)) = told {
                batch.events.push(Event { at: event.at(), object, reason, severity, message });
            }
        }
    }

    fn closing(&self, swap: &SwapRecord, at: Timestamp, verdict: SwapVerdict, rollback_error: Option<&str>) -> Vec<MemoryChange> {
        let window = match &swap.plan.cause {
            SwapCause::Threshold { window, .. } | SwapCause::LimitHit { window } => Some(window.clone()),
            SwapCause::LoginDead { .. } | SwapCause::Failback | SwapCause::Operator { .. } => None,
        };
        let from_resets_at = window.as_ref().and_then(|window| self.view.seen.usage.get(&swap.plan.from)?.windows.get(window)?.resets_at);
        let summary = SwapSummary {
            id: swap.plan.id,
            from: swap.plan.from.clone(),
            to: swap.plan.to.clone(),
            window,
            from_resets_at,
            verdict,
            closed_at: at,
        };
        let mut changes = vec![MemoryChange::CloseSwap(summary)];
        // One that was given up and has no agent is down because of the swap, whatever its restart policy says of ends of its own.
        let lost = swap.moves.iter().filter(|(_, moved)| moved.place == Place::Lost).map(|(name, _)| name);
        let down = lost.filter(|name| self.view.seen.agents.get(*name).and_then(Seen::value).is_none_or(|agent| agent.process.is_none()));
        changes.extend(down.filter_map(|name| record::stopped_for_swap(name, &self.view.memory)));
        if verdict == SwapVerdict::Latched {
            let causes = [swap.turned_back.as_deref(), rollback_error].into_iter().flatten().map(ToOwned::to_owned).collect();
            let places: Vec<_> = swap.moves.keys().map(|name| format!("{name}: {}", self.view.whereabouts(name))).collect();
            let link = match self.view.seen.active_link.value() {
                Some(view) => super::explain::link_words(view),
                None => "not known".to_owned(),
            };
            let SwapPlan { id, from, to, .. } = &swap.plan;
            let evidence = format!("swap {id} from {from} to {to}; active link: {link}; {}", places.join(", "));
            let latch = Latch { reason: "PartialSwap".to_owned(), causes, evidence, since: at };
            changes.push(MemoryChange::PutLatch(ObjectRef::Pool, latch));
        }
        changes
    }

    /// Journals the beginning of independent steps, does them at once, and journals what came of each.
    async fn act(&mut self, steps: Vec<Step>) -> Result<(), EngineError> {
        let at = self.view.wall();
        let began: Vec<_> = steps.iter().map(|step| SwapEvent::Began { step: step.clone(), at }).collect();
        self.note(began)?;
        let mut results: Vec<Option<StepResult>> = vec![None; steps.len()];
        let mut batch = Batch::default();
        // What one perform call takes: stops side by side, starts side by side. The shared steps come alone.
        let mut effects = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            match step {
                Step::Hold => results[index] = Some(StepResult::Done(None)),
                Step::Flip(account) => results[index] = Some(self.flip(account).await),
                Step::Ensure(account) => results[index] = Some(self.ensure(account).await),
                Step::Commit => results[index] = Some(self.commit_target(&mut batch).await),
                Step::Stop(name) => match self.stop_effect(name) {
                    Ok(effect) => effects.push((index, effect)),
                    Err(result) => results[index] = Some(result),
                },
                Step::Start(name, account) => match self.start_effect(name, account) {
                    Ok(effect) => effects.push((index, effect)),
                    Err(result) => results[index] = Some(result),
                },
            }
        }
        if effects.iter().any(|(_, effect)| matches!(effect, Effect::CreateSession { .. })) {
            self.start_server_if_absent().await;
        }
        let (indexes, effects): (Vec<_>, Vec<_>) = effects.into_iter().unzip();
        let stopped: Vec<_> = effects.iter().filter_map(stopped_by).collect();
        self.checkpoint_before_stop(&stopped).await;
        let outcomes = self.view.host.perform(&effects).await;
        let marks = self.marks_of_stopped(&effects).await;
        for ((index, effect), outcome) in indexes.into_iter().zip(&effects).zip(outcomes) {
            results[index] = Some(match outcome {
                Outcome::Failed(failure) => failed(&failure),
                Outcome::Changed | Outcome::Unchanged => {
                    batch.changes.extend(record::changes(effect, &self.view.memory, at));
                    self.stop_result(effect, &marks)
                }
            });
        }
        let at = self.view.wall();
        let missing = || StepResult::Failed { error: "the host gave no outcome".to_owned(), in_doubt: true };
        let ended = steps.into_iter().zip(results);
        batch.swap = ended.map(|(step, result)| SwapEvent::Ended { step, at, result: result.unwrap_or_else(missing) }).collect();
        self.complete(&mut batch);
        self.take_over(&batch)
    }

    fn stop_effect(&self, name: &SessionName) -> Result<Effect, StepResult> {
        match self.view.seen.agents.get(name) {
            Some(Seen::Known(fact)) => match fact.value.process {
                Some(process) => Ok(Effect::StopAgent { session: name.clone(), process, grace: self.view.spec.agent.stop_grace }),
                None => Err(StepResult::Done(self.known_mark(name))),
            },
            _ => Err(not_done(format!("the agent of {name} is not known"))),
        }
    }

    /// The mark that a transcript had when its session was last looked at.
    fn known_mark(&self, name: &SessionName) -> Option<TranscriptMark> {
        self.view.seen.transcripts.get(name).and_then(Seen::value).and_then(|view| view.mark.clone())
    }

    fn stop_result(&self, effect: &Effect, marks: &[SessionName]) -> StepResult {
        match effect {
            Effect::StopAgent { session, .. } if !marks.contains(session) => {
                StepResult::Failed { error: format!("the transcript of {session} cannot be looked at"), in_doubt: true }
            }
            Effect::StopAgent { session, .. } => StepResult::Done(self.known_mark(session)),
            _ => StepResult::Done(None),
        }
    }

    /// The transcripts of sessions that were just stopped, as they are now: these bytes must be kept. Answers those that could be looked at.
    async fn marks_of_stopped(&mut self, effects: &[Effect]) -> Vec<SessionName> {
        let names: Vec<_> = effects.iter().filter_map(stopped_by).collect();
        if names.is_empty() {
            return names;
        }
        let transcripts = names.iter().map(|name| (name.clone(), None)).collect();
        self.view.look(&Look { transcripts, ..Look::default() }).await;
        names.into_iter().filter(|name| self.view.seen.transcripts.get(name).is_some_and(|seen| seen.value().is_some())).collect()
    }

    fn start_effect(&self, name: &SessionName, account: &AccountName) -> Result<Effect, StepResult> {
        let (Some(session), Some(account)) = (self.view.spec.sessions.get(name), self.view.spec.account(account)) else {
            return Err(not_done(format!("{name} or its account is not declared any more")));
        };
        let Some(swap) = &self.view.memory.swap else { return Err(not_done("no swap is open".to_owned())) };
        let Some(bound) = swap.plan.sessions.get(name) else { return Err(not_done(format!("{name} is not part of the swap"))) };
        let Some(tmux) = self.view.seen.tmux.value() else { return Err(not_done("tmux cannot be looked at".to_owned())) };
        let mode = match self.view.seen.transcripts.get(name) {
            Some(Seen::Known(fact)) if fact.value.mark.is_some() => LaunchMode::Resume,
            // Bytes that were there and are gone now are a lost conversation: nothing may be begun in its place.
            Some(Seen::Known(_)) if swap.moves.get(name).is_some_and(|moved| moved.transcript.is_some()) => {
                return Err(not_done(format!("the transcript of {name} is gone")));
            }
            Some(Seen::Known(_)) => LaunchMode::Fresh,
            _ => return Err(not_done(format!("the transcript of {name} cannot be looked at"))),
        };
        let launch = launch(&self.view.spec, account, session, bound.conversation, mode);
        let mark = Mark { pool: self.view.memory.pool, session: name.clone(), digest: self.view.spec.start_digest(session) };
        match tmux.panes.get(name.as_str()) {
            Some(pane) => Ok(Effect::RespawnAgent {
                session_id: pane.session_id.clone(),
                pane: pane.pane.clone(),
                expect_pid: pane.pid,
                launch,
                mark,
            }),
            None => Ok(Effect::CreateSession { launch, mark }),
        }
    }

    async fn start_server_if_absent(&mut self) {
        if self.view.seen.tmux.value().is_some_and(|tmux| tmux.server.is_none()) {
            // Its failure shows in the outcome of the starts.
            let _ = self.view.host.perform(&[Effect::StartServer]).await;
        }
    }

    async fn flip(&mut self, account: &AccountName) -> StepResult {
        let effect = self.view.spec.account(account).ok_or_else(|| WrongLink(format!("account {account} is not declared any more")));
        match effect.and_then(|account| ensure_active_link(&self.view.spec, &self.view.seen, account)) {
            Ok(None) => StepResult::Done(None),
            Ok(Some(effect)) => self.perform_one(effect).await,
            Err(wrong) => not_done(wrong.0),
        }
    }

    /// Puts the links of an account right as far as they are ours, then looks at them again.
    async fn ensure(&mut self, account: &AccountName) -> StepResult {
        let Some(account) = self.view.spec.account(account).cloned() else {
            return not_done(format!("account {account} is not declared any more"));
        };
        let effects = match ensure_links(&self.view.spec, &self.view.seen, &self.view.memory, &account) {
            Ok(effects) => effects,
            Err(wrong) => return not_done(wrong.0),
        };
        for effect in effects {
            if let StepResult::Failed { error, in_doubt } = self.perform_one(effect).await {
                return StepResult::Failed { error, in_doubt };
            }
        }
        // The host verifies every link in one sweep at this very moment.
        let needs = link_needs(&self.view.spec, &account);
        self.perform_one(Effect::RecordActive { account: account.name, needs }).await
    }

    /// Verifies the target's links a last time and records it as the active account, in the same write as the step's end.
    async fn commit_target(&mut self, batch: &mut Batch) -> StepResult {
        let Some(swap) = &self.view.memory.swap else { return not_done("no swap is open".to_owned()) };
        let Some(account) = self.view.spec.account(&swap.plan.to) else {
            return not_done("the target is not declared any more".to_owned());
        };
        let effect = Effect::RecordActive { account: account.name.clone(), needs: link_needs(&self.view.spec, account) };
        let active = Active { account: account.name.clone(), since: self.view.wall() };
        let result = self.perform_one(effect).await;
        if matches!(result, StepResult::Done(_)) {
            batch.changes.push(MemoryChange::SetActive(active));
        }
        result
    }

    async fn perform_one(&mut self, effect: Effect) -> StepResult {
        match self.view.host.perform(&[effect]).await.first() {
            Some(Outcome::Changed | Outcome::Unchanged) => StepResult::Done(None),
            Some(Outcome::Failed(failure)) => failed(failure),
            None => StepResult::Failed { error: "the host gave no outcome".to_owned(), in_doubt: true },
        }
    }
}

fn stopped_by(effect: &Effect) -> Option<SessionName> {
    if let Effect::StopAgent { session, .. } = effect { Some(session.clone()) } else { None }
}

fn failed(failure: &Failure) -> StepResult {
    StepResult::Failed { error: failure.message(), in_doubt: failure.happened != Happened::No }
}

const fn not_done(error: String) -> StepResult {
    StepResult::Failed { error, in_doubt: false }
}

fn closing_event(
    swap: &SwapRecord,
    at: Timestamp,
    verdict: SwapVerdict,
    rollback_error: Option<&str>,
) -> (ObjectRef, EventReason, Severity, String) {
    let SwapPlan { id, from, to, opened_at, .. } = &swap.plan;
    let proven = swap.proven();
    let all = swap.moves.len();
    let moved = swap.moves.values().filter(|moved| moved.touched).count();
    let seconds = at.duration_since(*opened_at).as_secs_f64();
    let why = swap.turned_back.as_deref().unwrap_or("it was given up");
    let (reason, severity, message) = match verdict {
        SwapVerdict::Committed => {
            (EventReason::SwapCommitted, Severity::Normal, format!("swap {id}: {from} -> {to}, resumed {proven}/{all} in {seconds:.1} s"))
        }
        SwapVerdict::RolledBack => {
            let message = format!(
                "swap {id} was undone: the pool is on {from} as before, {proven} of {moved} moved sessions are back after {seconds:.1} s; {why}"
            );
            (EventReason::SwapRolledBack, Severity::Warning, message)
        }
        SwapVerdict::Abandoned => {
            (EventReason::SwapAbandoned, Severity::Warning, format!("swap {id} was given up before anything was changed: {why}"))
        }
        SwapVerdict::Latched => {
            let then = rollback_error.unwrap_or("the way back failed");
            let message = format!("swap {id} from {from} to {to} could neither be finished nor undone: {why}; then: {then}");
            (EventReason::SwapLatched, Severity::Critical, message)
        }
    };
    (ObjectRef::Pool, reason, severity, message)
}
