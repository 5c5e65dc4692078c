//! What is published of a pass: conditions with the time of their last flip, and the status made of them.

use jiff::Timestamp;

use super::Engine;
use crate::{
    host::Host,
    model::{Condition, ConditionKind, Generation, Now, ObjectRef, Truth},
    plan::Planned,
    status::{Conditions, Inputs, Status, conditions, status},
    store::{Flips, Store},
};

impl<H: Host> Engine<H> {
    /// Computes the conditions anew and keeps what flipped.
    pub(super) fn publish(&mut self) {
        let now = self.host.now();
        let conditions = conditions(&self.inputs(&self.planned, now), &self.conditions);
        if flips(&conditions) != flips(&self.conditions)
            && let Err(error) = self.store.record_flips(&flips(&conditions))
        {
            // The history is only looked back at; its troubles must not stop the loop.
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot record when conditions flipped");
        }
        self.conditions = conditions;
    }

    /// The pool as of the last pass.
    pub fn status(&self) -> Status {
        status(&self.inputs(&self.planned, self.host.now()), &self.conditions)
    }

    /// All conditions as of the last pass.
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    fn inputs<'a>(&'a self, planned: &'a Planned, now: Now) -> Inputs<'a> {
        Inputs {
            spec: &self.spec,
            seen: &self.seen,
            memory: &self.memory,
            planned,
            findings: &self.findings,
            standing: &self.standing,
            quota: &self.quota,
            spec_state: &self.spec_state,
            now,
        }
    }
}

/// Since when each condition has been as it is, as the store keeps it.
fn flips(conditions: &Conditions) -> Flips {
    conditions.iter().map(|(key, condition)| (key.clone(), (condition.status, condition.last_transition_time))).collect()
}

/// The conditions as the store remembers them: enough to keep the times of their flips.
pub(super) fn remembered(store: &Store) -> Conditions {
    let condition = |(key, (status, since)): ((ObjectRef, ConditionKind), (Truth, Timestamp))| {
        let condition = Condition {
            kind: key.1,
            status,
            reason: String::new(),
            message: String::new(),
            observed_generation: Generation::default(),
            last_transition_time: since,
        };
        (key, condition)
    };
    store.flips().unwrap_or_default().into_iter().map(condition).collect()
}
