//! What is published of a pass: conditions with the time of their last flip, and the status made of them.

use std::collections::BTreeSet;

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
        let before = self.view.refresh_conditions();
        let after = &self.view.conditions;
        let since = |condition: &Condition| (condition.status, condition.last_transition_time);
        let (mut flipped, mut gone) = (Flips::new(), Vec::new());
        // Both are sorted: there may be thousands, and they are compared in every pass.
        let mut before = before.into_iter().peekable();
        for (key, condition) in after {
            while let Some((old, _)) = before.next_if(|(old, _)| old < key) {
                gone.push(old);
            }
            let same = before.next_if(|(old, _)| old == key).is_some_and(|(_, old)| since(&old) == since(condition));
            if !same {
                flipped.insert(key.clone(), since(condition));
            }
        }
        gone.extend(before.map(|(old, _)| old));
        for (object, kind) in flipped.keys() {
            let condition = after.get(&(object.clone(), *kind));
            tracing::debug!(%object, %kind, status = ?condition.map(|condition| condition.status), why = condition.map(|condition| condition.message.as_str()), "condition flipped");
        }
        self.unwritten_flips.note(flipped, gone.into_iter());
        if self.unwritten_flips.is_news {
            self.unwritten_flips.is_news = false;
            match self.store.record_flips(&self.unwritten_flips.flipped, &self.unwritten_flips.gone) {
                Ok(()) => self.unwritten_flips = UnwrittenFlips::default(),
                // The history is only looked back at; its troubles must not stop the loop. With the next flip it is tried again.
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot record when conditions flipped"),
            }
        }
    }
}

type Key = (ObjectRef, ConditionKind);

/// What the history has not been told yet.
#[derive(Debug, Default)]
pub(super) struct UnwrittenFlips {
    flipped: Flips,
    gone: BTreeSet<Key>,
    is_news: bool,
}

impl UnwrittenFlips {
    fn note(&mut self, flipped: Flips, gone: impl Iterator<Item = Key>) {
        for (key, status) in flipped {
            self.gone.remove(&key);
            self.flipped.insert(key, status);
            self.is_news = true;
        }
        for key in gone {
            self.flipped.remove(&key);
            self.gone.insert(key);
            self.is_news = true;
        }
    }
}

/// The conditions as the store remembers them: enough to keep the times of their flips.
pub(super) fn remembered<Access>(store: &Store<Access>) -> Conditions {
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
