//! What is published of a pass: conditions with the time of their last flip, and the status made of them.

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    host::Host,
    model::{AccountName, Now, ObjectRef},
    plan::{
        burn::{Effective, effective},
        target::{Decision, Grounds, choose},
    },
    status::{Conditions, Inputs, Status, conditions, status},
    store::Store,
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

    fn inputs<'a>(&'a self, planned: &'a crate::plan::Planned, now: Now) -> Inputs<'a> {
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

    /// The choice of an account on the present facts.
    pub(super) fn decide(&self, now: Now) -> Decision {
        let homes = super::observe::readiness(&self.spec, &self.seen, &self.memory);
        choose(&Grounds { spec: &self.spec, memory: &self.memory, usage: &self.seen.usage, homes: &homes, now })
    }

    /// Keeps how the accounts stand, in words, for conditions and status.
    pub(super) fn note_standing(&mut self, decision: &Decision, now: Now) {
        self.standing =
            decision.standings.iter().map(|(name, standing)| (name.clone(), (standing.is_viable() || standing.active && standing.refusals.is_empty(), standing.to_string()))).collect();
        self.quota = self.spec.accounts.iter().map(|account| (account.name.clone(), self.quota_words(&account.name, now))).collect();
    }

    fn quota_words(&self, account: &AccountName, now: Now) -> (bool, String) {
        use crate::model::WindowKind;
        let usage = self.seen.usage.get(account);
        let unknown: Vec<_> = [WindowKind::FiveHour, WindowKind::Weekly]
            .into_iter()
            .filter_map(|kind| match effective(usage.and_then(|usage| usage.windows.get(&kind)), now, self.spec.quota.stale_after) {
                Effective::Known { .. } => None,
                other => Some(format!("{kind} is {other}")),
            })
            .collect();
        (unknown.is_empty(), unknown.join("; "))
    }

    /// Keeps new readings for the next start and for the burn rate.
    pub(super) fn record_usage(&mut self) {
        for (account, usage) in &self.seen.usage {
            if self.recorded_usage.get(account) == Some(usage) {
                continue;
            }
            match self.store.record_usage(account, usage) {
                Ok(()) => {
                    self.recorded_usage.insert(account.clone(), usage.clone());
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot record readings of account {account}"),
            }
        }
    }
}

/// Since when each condition has been as it is, as the store keeps it.
fn flips(conditions: &Conditions) -> crate::store::Flips {
    conditions.iter().map(|(key, condition)| (key.clone(), (condition.status, condition.last_transition_time))).collect()
}

/// The conditions as the store remembers them: enough to keep the times of their flips.
pub(super) fn remembered(store: &Store) -> BTreeMap<(ObjectRef, crate::model::ConditionKind), crate::model::Condition> {
    let remembered = store.flips().unwrap_or_default();
    let condition = |(key, (status, since)): ((ObjectRef, crate::model::ConditionKind), (crate::model::Truth, jiff::Timestamp))| {
        let condition = crate::model::Condition {
            kind: key.1,
            status,
            reason: String::new(),
            message: String::new(),
            observed_generation: crate::model::Generation::default(),
            last_transition_time: since,
        };
        (key, condition)
    };
    remembered.into_iter().map(condition).collect()
}
