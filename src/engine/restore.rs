//! Binds a session to the conversation of a checkpoint, at an operator's word.

use std::path::Path;

use super::{
    Answer, Engine, EngineError, Request,
    operate::{done, refused},
};
use crate::{
    host::{Host, Look},
    model::{Activity, ConversationId, EventReason, ObjectRef, SessionName, Severity},
    observed::{CheckpointId, Seen},
    plan::{Effect, Failure, MemoryChange, SessionRecord, Verb},
};

impl<H: Host> Engine<H> {
    /// The agent must be idle or gone, the conversation must have a transcript, and nobody else may have it open. An idle agent is stopped; the
    /// next pass starts it again with the conversation, on the account that is active then.
    ///
    /// # Errors
    /// [`EngineError`] when it could not be recorded.
    pub(super) async fn restore(
        &mut self,
        request: &Request,
        name: &SessionName,
        from: &CheckpointId,
        conversation: ConversationId,
        workdir: &Path,
    ) -> Result<Answer, EngineError> {
        let refused = |message| Ok(refused(message));
        self.view.look(&Look { tmux: true, agents: true, everything: true, ..Look::default() }).await;
        if let Some(why) = self.restore_hold(name) {
            return refused(why);
        }
        let before = self.view.memory.sessions.get(name).cloned();
        if before.as_ref().is_some_and(|record| record.conversation == conversation) {
            let line = format!("session {name} is bound to conversation {conversation} already");
            return self.answer(request, done(line, false), Vec::new(), Vec::new());
        }
        let rival = self.view.memory.sessions.iter().find(|(other, record)| *other != name && record.conversation == conversation);
        if let Some((rival, _)) = rival {
            return refused(format!("conversation {conversation} belongs to session {rival}; two would mix in one file"));
        }
        let object = ObjectRef::Session(name.clone());
        let check = Effect::RestoreSession { session: name.clone(), from: from.clone(), conversation, workdir: workdir.to_owned() };
        if let Err(failure) = self.perform_intent(&object, Verb::Adopt, check).await? {
            return refused(format!("session {name} was not restored: {}", failure.message()));
        }
        let Some(record) = self.restored_record(name, before.as_ref(), conversation, workdir) else {
            return refused("the pool is on no account yet; run `claude-failover apply` first".to_owned());
        };
        if let Some(process) = self.view.seen.agents.get(name).and_then(Seen::value).and_then(|agent| agent.process) {
            let stop = Effect::StopAgent { session: name.clone(), process, grace: self.view.spec.agent.stop_grace };
            if let Err(failure) = self.perform_intent(&object, Verb::Restart, stop).await? {
                return refused(format!("session {name} was not restored, since its agent could not be stopped: {}", failure.message()));
            }
        }
        let message = format!("bound to conversation {conversation} of checkpoint {from} by {}", request.actor);
        let event = self.view.event(object, EventReason::CheckpointRestored, Severity::Normal, message);
        let line = format!("session {name} goes on with conversation {conversation} when it is started next");
        self.answer(request, done(line, true), vec![MemoryChange::PutSession(name.clone(), record)], vec![event])
    }

    /// Why a session may not be bound to another conversation now.
    fn restore_hold(&self, name: &SessionName) -> Option<String> {
        if !self.view.spec.sessions.contains_key(name) {
            return Some(format!("the spec declares no session {name}; declare it first"));
        }
        if self.view.memory.swap.is_some() {
            return Some("a swap is open; try again when it is closed".to_owned());
        }
        if let Some((reason, message)) = crate::plan::pool_wide_hold(&self.view.memory, self.view.host.now()) {
            return Some(format!("{reason}: {message}"));
        }
        let Some(tmux) = self.view.seen.tmux.value() else { return Some("tmux cannot be looked at; try again".to_owned()) };
        let pane = tmux.panes.get(name.as_str());
        if pane.is_some_and(|pane| !pane.is_of(self.view.memory.pool, name)) {
            return Some(format!("a tmux session {name} exists that is not ours; `claude-failover adopt {name}` takes it over"));
        }
        match self.view.seen.agents.get(name) {
            Some(Seen::Known(fact)) if fact.value.process.is_none() => None,
            Some(Seen::Known(fact)) if fact.value.activity == Activity::Idle => None,
            Some(Seen::Known(fact)) => Some(format!("its agent is {}; wait until it is idle", fact.value.activity)),
            Some(Seen::Unknown(why)) => Some(format!("its agent cannot be looked at: {why}")),
            None if pane.is_none() && self.view.memory.sessions.get(name).is_none_or(|record| record.process.is_none()) => None,
            None => Some("its agent has not been looked at; try again".to_owned()),
        }
    }

    fn restored_record(
        &self,
        name: &SessionName,
        before: Option<&SessionRecord>,
        conversation: ConversationId,
        workdir: &Path,
    ) -> Option<SessionRecord> {
        let session = self.view.spec.sessions.get(name)?;
        let account = self.view.memory.active.as_ref().map(|active| &active.account).or_else(|| before.map(|record| &record.account))?;
        let digest = self.view.spec.start_digest(session);
        Some(SessionRecord {
            incarnation: before.map_or(1, |record| record.incarnation),
            ended: true,
            stopped: true,
            spoken: true,
            ..SessionRecord::bound(conversation, account.clone(), digest, workdir.to_owned(), self.view.wall())
        })
    }

    /// One effect, whose outcome is on disk when it is answered.
    async fn perform_intent(&mut self, object: &ObjectRef, verb: Verb, effect: Effect) -> Result<Result<(), Failure>, EngineError> {
        let (batch, outcome) = self.perform_ordered(object, verb, effect).await?;
        self.commit("record what was done", &batch)?;
        Ok(outcome.failure().cloned().map_or(Ok(()), Err))
    }
}
