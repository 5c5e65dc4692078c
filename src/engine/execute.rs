//! Carries a plan out: intent, effect, outcome, phase by phase.

use std::collections::BTreeSet;

use super::{Engine, EngineError, Pass, record};
use crate::{
    host::Host,
    model::{AccountName, EventReason, ObjectRef, Severity},
    plan::{Action, Effect, Happened, MemoryChange, Outcome, Phase, Report, Verb, Waiting},
    store::{Batch, Intent},
};

impl<H: Host> Engine<H> {
    /// Does the plan's phases in order. Objects are independent of each other; an account whose links or home failed takes nothing further.
    pub(super) async fn execute(&mut self, actions: &[(Phase, Action)], report: &mut Report, pass: &mut Pass) -> Result<(), EngineError> {
        let mut broken: BTreeSet<AccountName> = BTreeSet::new();
        let mut shared_broken = false;
        let mut server_broken = false;
        let mut rest = actions;
        while let Some((phase, _)) = rest.first() {
            let end = rest.iter().position(|(other, _)| other != phase).unwrap_or(rest.len());
            let (now, later) = rest.split_at(end);
            rest = later;
            let mut batch = Vec::with_capacity(now.len());
            for (_, action) in now {
                let gate = if shared_broken && *phase != Phase::Stop {
                    Some("the shared root could not be made right".to_owned())
                } else if server_broken && *phase == Phase::Start {
                    Some("the tmux server could not be started".to_owned())
                } else {
                    let account = action.relies_on.as_ref().filter(|account| broken.contains(*account));
                    account.map(|account| format!("account {account} could not be made right"))
                };
                match gate {
                    None => batch.push(action),
                    Some(message) => {
                        report.waiting.push(Waiting { object: action.object.clone(), reason: "EarlierFailed".to_owned(), message });
                    }
                }
            }
            let failed = self.execute_batch(&batch, pass).await?;
            shared_broken |= *phase == Phase::Shared && !failed.is_empty();
            server_broken |= *phase == Phase::Server && !failed.is_empty();
            broken.extend(failed.into_iter().filter_map(|action| action.relies_on.clone()).filter(|_| *phase < Phase::Stop));
        }
        Ok(())
    }

    /// One phase: all intents in one write, all effects at once, all outcomes in one write. Answers the actions that failed.
    async fn execute_batch<'a>(&mut self, actions: &[&'a Action], pass: &mut Pass) -> Result<Vec<&'a Action>, EngineError> {
        let (actions, effects): (Vec<&Action>, Vec<Effect>) =
            actions.iter().filter_map(|action| Some((*action, action.effect.clone()?))).unzip();
        if effects.is_empty() {
            return Ok(Vec::new());
        }
        let at = self.view.wall();
        let intents: Vec<_> = actions
            .iter()
            .zip(&effects)
            .map(|(action, effect)| Intent {
                at,
                generation: self.view.memory.generation,
                object: action.object.clone(),
                verb: action.verb,
                effect: effect.clone(),
            })
            .collect();
        let ids = self.begin_intents(&intents)?;
        let outcomes = self.view.host.perform(&effects).await;
        let mut batch = Batch::default();
        let mut failed = Vec::new();
        for ((action, effect), outcome) in actions.iter().zip(&effects).zip(&outcomes) {
            match outcome {
                Outcome::Failed(failure) => {
                    let now = self.view.host.now();
                    let attempts = self.view.memory.attempts.get(&action.object).cloned().unwrap_or_default();
                    let message = format!("{}: {}", action.what, failure.message());
                    batch.events.push(self.view.event(action.object.clone(), EventReason::ActionFailed, Severity::Warning, message));
                    let attempts = attempts.after_failure(&action.object, &failure.message(), now);
                    batch.changes.push(MemoryChange::PutAttempts(action.object.clone(), attempts));
                    if failure.happened != Happened::No {
                        batch.changes.extend(record::after_doubt(&action.object, effect, &self.view.memory, at));
                    }
                    failed.push(*action);
                    pass.failed += 1;
                }
                Outcome::Changed | Outcome::Unchanged => {
                    let changed = *outcome == Outcome::Changed;
                    pass.changed += usize::from(changed);
                    batch.changes.extend(record::changes(effect, &self.view.memory, at));
                    batch.changes.extend(record::task_changes(&action.object, effect, &self.view.memory, at));
                    batch.changes.extend(self.forgive(&action.object));
                    if changed {
                        batch.events.extend(record::event(action, effect, &self.view.memory, at));
                    }
                }
            }
        }
        let done = effects.iter().zip(&outcomes);
        batch.changes.extend(record::untyped(done, &self.view.memory, &self.view.seen, self.view.host.now()));
        batch.ended = ids.into_iter().zip(outcomes).collect();
        self.commit("record what was done", &batch)?;
        pass.again = true;
        pass.files |= effects.iter().any(changes_files);
        pass.queues |= effects.iter().any(|effect| matches!(effect, Effect::Queue { .. }));
        Ok(failed)
    }

    /// One effect by itself, behind its intent. Who asked for it commits the batch that is answered, with what follows from the outcome.
    pub(super) async fn perform_ordered(
        &mut self,
        object: &ObjectRef,
        verb: Verb,
        effect: Effect,
    ) -> Result<(Batch, Outcome), EngineError> {
        let intent =
            Intent { at: self.view.wall(), generation: self.view.memory.generation, object: object.clone(), verb, effect: effect.clone() };
        let ids = self.begin_intents(&[intent])?;
        let outcome = self.view.host.perform(&[effect]).await.pop().unwrap_or_else(record::interrupted);
        let ended = ids.into_iter().map(|id| (id, outcome.clone())).collect();
        Ok((Batch { ended, ..Batch::default() }, outcome))
    }

    /// Success ends a row of failures.
    fn forgive(&self, object: &ObjectRef) -> Option<MemoryChange> {
        let attempts = self.view.memory.attempts.get(object).filter(|attempts| attempts.failures > 0)?;
        let after = attempts.after_success();
        Some(if after.is_clean() { MemoryChange::ClearAttempts(object.clone()) } else { MemoryChange::PutAttempts(object.clone(), after) })
    }

    /// Intents that a crash cut off. What they may have done is found by looking; what only the intent knows is kept.
    pub(super) fn settle_intents(&mut self) -> Result<(), EngineError> {
        let unfinished = self.store.unfinished_intents().map_err(EngineError::store("read interrupted work"))?;
        let mut batch = Batch::default();
        for (id, intent) in unfinished {
            let message = format!("{:?} was under way when the process ended; what happened is looked up", intent.verb);
            batch.changes.extend(record::after_crash(&intent.effect, &self.view.memory, intent.at));
            batch.changes.extend(record::after_doubt(&intent.object, &intent.effect, &self.view.memory, intent.at));
            batch.events.push(self.view.event(intent.object, EventReason::ActionInterrupted, Severity::Warning, message));
            batch.ended.push((id, record::interrupted()));
        }
        self.commit("record interrupted work", &batch)
    }
}

/// Whether an effect changes more than tmux, processes and queues.
const fn changes_files(effect: &Effect) -> bool {
    match effect {
        Effect::StartServer
        | Effect::CreateSession { .. }
        | Effect::RespawnAgent { .. }
        | Effect::StopAgent { .. }
        | Effect::AdoptSession { .. }
        | Effect::ReleaseSession { .. }
        | Effect::CloseSession { .. }
        | Effect::TypePrompt { .. }
        | Effect::Queue { .. } => false,
        Effect::InitSharedRoot { .. }
        | Effect::AdoptSharedRoot { .. }
        | Effect::CreateTarget { .. }
        | Effect::CreateLink { .. }
        | Effect::RepointLink { .. }
        | Effect::MergeDirectory { .. }
        | Effect::PrepareHome { .. }
        | Effect::RecordActive { .. }
        | Effect::RestoreSession { .. }
        | Effect::RemoveCheckpoints { .. } => true,
    }
}
