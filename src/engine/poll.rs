//! Starts the readings of usage windows when they are due. Which and when is decided by the plan's schedule.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Engine, EngineError};
use crate::{
    host::{Host, Look},
    model::{AccountName, AccountUsage, Now},
    plan::{
        burn::{burn_rate, reaches},
        poll::{NextPoll, PollInput, PollState, next_poll},
    },
    spec::{Account, QuotaSource},
    store::Store,
};

/// How far back the burn rate looks.
const COURSE: Duration = std::time::Duration::from_hours(6);
/// How many readings it looks at.
const COURSE_READINGS: u32 = 200;

impl<H: Host> Engine<H> {
    /// Starts every reading that is due, each recorded before it begins so that a crash cannot spend the budget twice.
    pub(super) fn start_polls(&mut self) -> Vec<(AccountName, QuotaSource)> {
        let now = self.view.host.now();
        self.end_polls();
        let due: Vec<_> = self
            .view
            .spec
            .accounts
            .iter()
            .filter_map(|account| Some((account.name.clone(), self.next_poll_of(account, now)?)))
            .filter(|(_, poll)| poll.at <= now.wall)
            .collect();
        for (account, poll) in &due {
            let account = account.clone();
            self.polls.entry(account.clone()).or_default().started(poll.source, now);
            self.keep_poll_state(&account, poll.source);
            tracing::debug!(%account, source = ?poll.source, reason = %poll.reason, "reading usage");
            self.view.host.start_poll(&account, poll.source);
        }
        due.into_iter().map(|(account, poll)| (account, poll.source)).collect()
    }

    /// Takes the readings that are due and waits for them, at most for `within`: a command that chooses an account must know what is used, and
    /// without a daemon nobody has looked.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub async fn read_usage(&mut self, within: Duration) -> Result<(), EngineError> {
        let until = self.view.host.now().mono.plus(within);
        let mut open = self.start_polls();
        while !open.is_empty() && self.view.host.now().mono < until {
            self.view.host.wake(until).await;
            let ended = self.end_polls();
            open.retain(|poll| !ended.contains(poll));
        }
        self.observe(Look { usage: true, ..Look::default() }).await
    }

    /// Takes over what came of readings that ended.
    fn end_polls(&mut self) -> Vec<(AccountName, QuotaSource)> {
        let now = self.view.host.now();
        let mut ended = Vec::new();
        for (account, source, outcome) in self.view.host.ended_polls() {
            self.polls.entry(account.clone()).or_default().ended(source, outcome, now);
            self.keep_poll_state(&account, source);
            ended.push((account, source));
        }
        ended
    }

    /// The file is free and read every few seconds: there is no budget to keep, and a quiet pool writes nothing.
    fn keep_poll_state(&mut self, account: &AccountName, source: QuotaSource) {
        if source == QuotaSource::File {
            return;
        }
        let Some(Ok(state)) = self.polls.get(account).map(serde_json::to_value) else { return };
        if let Err(error) = self.store.put_poll_state(account, &state) {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot record when account {account} was read");
        }
    }

    /// When the next reading of any account is due.
    pub(super) fn next_poll_at(&self) -> Option<Timestamp> {
        let now = self.view.host.now();
        self.view.spec.accounts.iter().filter_map(|account| self.next_poll_of(account, now)).map(|poll| poll.at).min()
    }

    fn next_poll_of(&self, account: &Account, now: Now) -> Option<NextPoll> {
        let nothing = AccountUsage::default();
        let idle = PollState::default();
        let input = PollInput {
            quota: &self.view.spec.quota,
            account,
            active: self.view.memory.active.as_ref().is_some_and(|active| active.account == account.name),
            usage: self.view.seen.usage.get(&account.name).unwrap_or(&nothing),
            reaches: self.view.reaches.get(&account.name).copied(),
            state: self.polls.get(&account.name).unwrap_or(&idle),
            seed: self.view.memory.pool.0.as_u64_pair().0,
        };
        next_poll(&input, now)
    }

    /// Keeps new readings for the next start, and projects from them when a threshold is reached.
    pub(super) fn record_usage(&mut self) {
        let news: Vec<_> = self
            .view
            .seen
            .usage
            .iter()
            .filter(|(account, usage)| self.recorded_usage.get(*account) != Some(*usage))
            .map(|(account, usage)| (account.clone(), usage.clone()))
            .collect();
        for (account, usage) in news {
            if let Err(error) = self.store.record_usage(&account, &usage) {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot record readings of account {account}");
            }
            match self.view.spec.account(&account).and_then(|account| self.threshold_reached_at(account)) {
                Some(at) => drop(self.view.reaches.insert(account.clone(), at)),
                None => drop(self.view.reaches.remove(&account)),
            }
            self.recorded_usage.insert(account, usage);
        }
    }

    /// When the account reaches a threshold at its present rate.
    fn threshold_reached_at(&self, account: &Account) -> Option<Timestamp> {
        let usage = self.view.seen.usage.get(&account.name)?;
        let since = self.view.wall().saturating_sub(COURSE).ok()?;
        let of = |(window, reading): (&crate::model::WindowKind, &crate::model::WindowReading)| {
            let course = self.store.usage_course(&account.name, window, since, COURSE_READINGS).ok()?;
            reaches(reading, burn_rate(window, &course)?, account.thresholds.of(window))
        };
        usage.windows.iter().filter_map(of).min()
    }
}

/// The pollers' states as the store remembers them; one that does not read is begun anew.
pub(super) fn remembered(store: &Store) -> BTreeMap<AccountName, PollState> {
    let states = store.poll_states().unwrap_or_default();
    states.into_iter().filter_map(|(account, state)| Some((account, serde_json::from_value(state).ok()?))).collect()
}
