//! What is published of a pass: conditions with the time of their last flip, and the status made of them.

use jiff::Timestamp;

use super::Engine;
use crate::{
    host::Host,
    model::{Condition, ConditionKind, Generation, ObjectRef, Truth},
    status::Conditions,
    store::{Flips, Store},
};

impl<H: Host> Engine<H> {
    /// Computes the conditions anew and keeps what flipped.
    pub(super) fn publish(&mut self) {
        let before = flips(&self.view.conditions);
        self.view.refresh_conditions();
        let after = flips(&self.view.conditions);
        for ((object, kind), (status, _)) in after.iter().filter(|(key, flip)| before.get(*key) != Some(*flip)) {
            let condition = self.view.conditions.get(&(object.clone(), *kind));
            tracing::debug!(%object, %kind, %status, why = condition.map(|condition| condition.message.as_str()), "condition flipped");
        }
        if after != before
            && let Err(error) = self.store.record_flips(&after)
        {
            // The history is only looked back at; its troubles must not stop the loop.
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot record when conditions flipped");
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
