//! Whether the pool leaves its account, as a part of the plan.

use super::{Answer, View, observe};
use crate::{
    host::Host,
    model::{AccountName, Now, ObjectRef, WindowKind},
    plan::{
        Action, Disruption, Phase, Planned, Verb, Waiting,
        burn::{Effective, effective},
        target::{Choice, Decision, Grounds, OperatorRefusal, Standing, choose, guard_operator},
        tasks::{Gate, GateGrounds, TaskGrounds, gate, next_task_deadline, plan_tasks},
    },
    swap::{SwapCause, price},
};

impl<H: Host> View<H> {
    /// Decides about the account and adds a swap to the plan, or says why there is none. Answers what was decided.
    pub(super) fn plan_swap(&mut self, planned: &mut Planned, now: Now) -> Choice {
        let decision = self.decide(now);
        self.note_standing(&decision, now);
        self.proposed = None;
        if self.memory.swap.is_some() {
            return decision.choice;
        }
        let choice = decision.choice.clone();
        match decision.choice {
            Choice::Stay => {}
            Choice::Swap { to, cause } => {
                planned.plan.actions.push((Phase::Swap, swap_action(&to, &cause, decision.why)));
                self.proposed = Some((to, cause));
            }
            Choice::Exhausted { until, why } => {
                let accounts: Vec<_> = why.iter().map(|(account, reasons)| format!("{account}: {}", reasons.join("; "))).collect();
                let until = until.map_or_else(String::new, |until| format!(" until {until:.0}"));
                let message = format!("no account has room{until}; nothing is stopped ({})", accounts.join(" · "));
                planned.report.waiting.push(Waiting { object: ObjectRef::Pool, reason: EXHAUSTED.to_owned(), message });
            }
            Choice::Blocked { reason, message, .. } => {
                planned.report.waiting.push(Waiting { object: ObjectRef::Pool, reason: reason.as_str().to_owned(), message });
            }
        }
        choice
    }

    /// Adds what is to be done about tasks, and notes when they are to be looked at again.
    pub(super) fn plan_tasks(&mut self, choice: &Choice, planned: &mut Planned, now: Now) {
        self.awaits_room |= self.memory.exhausted_since.is_some();
        let (reaches, was_tight) = (self.active_reaches(now), self.awaits_room);
        let mut gate = gate(&GateGrounds { spec: &self.spec, memory: &self.memory, choice, reaches, was_tight, now });
        self.awaits_room |= gate.is_tight();
        if let Some(hold) = &self.tasks_held {
            gate = Gate { hold: gate.hold.or_else(|| Some(hold.clone())), room: 0, more_at: None };
        }
        let grounds = TaskGrounds { spec: &self.spec, seen: &self.seen, memory: &self.memory, now };
        plan_tasks(&grounds, &gate, &self.ground_truth, planned);
        self.tasks_due = next_task_deadline(&grounds, &gate);
        self.gate = gate;
    }

    /// When the active account reaches a threshold, while its readings are fresh enough to say so.
    fn active_reaches(&self, now: Now) -> Option<jiff::Timestamp> {
        let active = &self.memory.active.as_ref()?.account;
        let at = self.reaches.get(active)?;
        let windows = &self.seen.usage.get(active)?.windows;
        let fresh = windows.values().any(|reading| effective(Some(reading), now, self.spec.quota.stale_after).fresh().is_some());
        fresh.then_some(*at)
    }

    fn decide(&self, now: Now) -> Decision {
        let homes = observe::readiness(&self.spec, &self.seen, &self.memory);
        choose(&Grounds { spec: &self.spec, memory: &self.memory, usage: &self.seen.usage, homes: &homes, now })
    }

    /// Where an operator may send the pool: the account that was named, or the first one that is fit.
    ///
    /// # Errors
    /// What speaks against it, in words.
    pub(super) fn operator_target(&self, to: Option<&AccountName>, now: Now) -> Result<AccountName, String> {
        let homes = observe::readiness(&self.spec, &self.seen, &self.memory);
        let grounds = Grounds { spec: &self.spec, memory: &self.memory, usage: &self.seen.usage, homes: &homes, now };
        let guard = |to: &AccountName| guard_operator(&grounds, to).map_err(|refusal: OperatorRefusal| refusal.to_string());
        if let Some(to) = to {
            return guard(to).map(|()| to.clone());
        }
        let mut refusals = Vec::new();
        for account in &self.spec.accounts {
            match guard(&account.name) {
                Ok(()) => return Ok(account.name.clone()),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(refusals.join("; "))
    }

    /// Where a swap would go now, and what it would cost; or what speaks against it.
    pub fn preview_swap(&self, to: Option<&AccountName>) -> Answer {
        match self.operator_target(to, self.host.now()) {
            Ok(to) => Answer::Done { lines: vec![format!("the pool would go to {to}"), self.price()], changed: false, degraded: false },
            Err(message) => Answer::Refused { message },
        }
    }

    /// What moving the pool costs, in words.
    pub fn price(&self) -> String {
        let at_tasks = self.memory.open_attempts().map(|(_, attempt)| &attempt.session).collect();
        let price = price(self.spec.sessions.keys().filter(|name| self.memory.sessions.contains_key(*name)), &self.seen, &at_tasks);
        format!("a swap moves {price}")
    }

    /// Keeps how the accounts stand, in words, for conditions and status.
    fn note_standing(&mut self, decision: &Decision, now: Now) {
        let words = |(name, standing): (&AccountName, &Standing)| (name.clone(), (standing.refusals.is_empty(), standing.to_string()));
        self.standing = decision.standings.iter().map(words).collect();
        self.quota = self.spec.accounts.iter().map(|account| (account.name.clone(), self.quota_words(&account.name, now))).collect();
    }

    fn quota_words(&self, account: &AccountName, now: Now) -> (bool, String) {
        let usage = self.seen.usage.get(account);
        let words = |kind: WindowKind| match effective(usage.and_then(|usage| usage.windows.get(&kind)), now, self.spec.quota.stale_after) {
            Effective::Known(_) => None,
            Effective::LowerBound { used, age } => {
                Some(format!("{kind} was {used} {} minutes ago, which is too old to act on", age.as_secs() / 60))
            }
            Effective::Unknown(why) => Some(format!("{kind}: {why}")),
        };
        let unknown: Vec<_> = [WindowKind::FiveHour, WindowKind::Weekly].into_iter().filter_map(words).collect();
        (unknown.is_empty(), unknown.join("; "))
    }
}

/// The reason word under which exhaustion stands in the report.
pub(super) const EXHAUSTED: &str = "Exhausted";

fn swap_action(to: &AccountName, cause: &SwapCause, why: String) -> Action {
    Action {
        object: ObjectRef::Pool,
        verb: Verb::Swap,
        what: format!("swap to {to}"),
        why,
        disruption: if cause.is_hard() { Disruption::Working } else { Disruption::Idle },
        effect: None,
        relies_on: Some(to.clone()),
    }
}
