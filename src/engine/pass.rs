//! One reconcile pass, to be read as a story.

use jiff::Timestamp;

use super::{Engine, EngineError, choice::EXHAUSTED};
use crate::{
    host::{Host, Look},
    model::{EventReason, ObjectRef, Severity},
    plan::{MemoryChange, Phase, Planned, Waiting, absorb, absorb_removals, unspoken_transcripts},
    store::Batch,
};

/// What a pass did, and when the next one is due without being woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Effects that changed something.
    pub changed: usize,
    /// Effects that failed.
    pub failed: usize,
    /// Whether facts are out of date now because of what was done: another pass should follow at once.
    pub again: bool,
    /// Whether files were among what was done, and not only sessions: then they are out of date as well.
    pub files: bool,
    /// Whether queues were among what was done.
    pub queues: bool,
    /// The earliest time at which something that waits may go on.
    pub next: Option<Timestamp>,
}

impl<H: Host> Engine<H> {
    /// Looks, plans and acts once.
    ///
    /// # Errors
    /// [`EngineError`] when something could not be recorded. What was done before is recorded; the rest was not done.
    pub async fn pass(&mut self, look: Look) -> Result<Pass, EngineError> {
        self.observe(look).await?;
        let mut pass = Pass::default();
        if self.view.memory.swap.is_some() {
            self.drive_swap(&mut pass).await?;
        }
        let mut planned = self.view.plan_now();
        self.record_room()?;
        if !self.view.findings.is_empty() {
            self.refuse_plan(&mut planned)?;
        }
        if !planned.plan.is_empty() {
            // The plan stays as it was made, so that what is published says what this pass set out to do.
            let actions = planned.plan.actions.clone();
            self.execute(&actions, &mut planned.report, &mut pass).await?;
        }
        if let Some((to, cause)) = self.view.proposed.take()
            && planned.plan.actions.iter().any(|(phase, _)| *phase == Phase::Swap)
        {
            self.open_swap(to, cause)?;
            pass.again = true;
            pass.files = true;
        }
        self.record_exhaustion(&planned)?;
        self.view.planned = planned;
        self.record_removals()?;
        self.publish();
        pass.next = earliest(pass.next, self.view.next_retry());
        Ok(pass)
    }

    pub(super) async fn observe(&mut self, mut look: Look) -> Result<(), EngineError> {
        if look.everything {
            look.transcripts.extend(unspoken_transcripts(&self.view.seen, &self.view.memory));
        }
        self.view.look(&look).await;
        let now = self.view.host.now();
        let absorbed = absorb(&self.view.spec, &self.view.seen, &self.view.memory, now);
        self.learn(absorbed.changes, absorbed.events);
        self.record_usage();
        self.end_checkpoints();
        self.view.look_at_transcripts().await;
        Ok(())
    }

    /// A plan that breaks a safety rule is our bug: nothing of it is done.
    fn refuse_plan(&mut self, planned: &mut Planned) -> Result<(), EngineError> {
        planned.plan.actions.clear();
        let mut events = Vec::new();
        for finding in self.view.findings.clone() {
            tracing::error!(object = finding.object, "{}", finding.rule);
            planned.report.warnings.push(Waiting {
                object: ObjectRef::Pool,
                reason: "PlanRejected".to_owned(),
                message: finding.to_string(),
            });
            events.push(self.view.event(ObjectRef::Pool, EventReason::PlanRejected, Severity::Critical, finding.to_string()));
        }
        self.commit("record a rejected plan", &Batch { events, ..Batch::default() })
    }

    /// From where there is room again on, tasks are let out slowly: everything that waited would otherwise begin at once.
    fn record_room(&mut self) -> Result<(), EngineError> {
        if !self.view.awaits_room || self.view.gate.hold.is_some() {
            return Ok(());
        }
        self.view.awaits_room = false;
        let changes = vec![MemoryChange::SetRoomSince(Some(self.view.host.now().wall))];
        self.commit("record that there is room again", &Batch { changes, ..Batch::default() })
    }

    /// Says once that no account has room, and once that one has room again.
    fn record_exhaustion(&mut self, planned: &Planned) -> Result<(), EngineError> {
        let words = planned.report.waiting.iter().find(|waiting| waiting.reason == EXHAUSTED).map(|waiting| waiting.message.clone());
        let (since, event) = match (words, self.view.memory.exhausted_since) {
            (Some(message), None) => {
                let event = self.view.event(ObjectRef::Pool, EventReason::PoolExhausted, Severity::Critical, message);
                (Some(event.at), event)
            }
            (None, Some(since)) => {
                let message = format!("an account has room again; none had since {since:.0}");
                (None, self.view.event(ObjectRef::Pool, EventReason::PoolReleased, Severity::Normal, message))
            }
            _ => return Ok(()),
        };
        let mut changes = vec![MemoryChange::SetExhausted(since)];
        // A process that is started while the pool moves to where the room is knows of it by this.
        changes.extend((since.is_none() && self.view.gate.hold.is_some()).then_some(MemoryChange::SetRoomSince(Some(event.at))));
        let batch = Batch { changes, events: vec![event], ..Batch::default() };
        self.commit("record that no account has room", &batch)
    }

    fn record_removals(&mut self) -> Result<(), EngineError> {
        let absorbed = absorb_removals(&self.view.spec, &self.view.seen, &self.view.memory);
        self.commit("record removals", &Batch { changes: absorbed.changes, events: absorbed.events, ..Batch::default() })
    }
}

/// The earlier of two times, of which either may be open.
pub(super) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}
