//! When an account's usage is read next, and from which source.
//!
//! About 30 readings an hour per account are all there is, shared with the CLI itself; a burst blocks for an hour (facts/claude-code.md,
//! section 5.2). So there is a schedule per account, and it is kept over restarts.
//!
//! # Guarantees
//! Two readings of one account through the usage endpoint (the CLI asks it too) or the operator's command begin at least [`MIN_INTERVAL`]
//! apart, whatever the spec, the seed and the outcomes. A source that asked us to wait is left alone for at least
//! [`RATE_LIMIT_WAIT`]. Waiting never lasts for ever, also when the clock jumps: at worst one reading comes early.
//!
//! # Does not
//! Read, or wait. The status line is not polled: it comes by itself.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::burn::{self, CLOCK_TOLERANCE, Effective};
use crate::{
    model::{AccountUsage, Now, Percent, PollOutcome, doubled, later, share_of},
    spec::{Account, Quota, QuotaSource},
};

/// The least time between two readings of one account.
pub const MIN_INTERVAL: Duration = Duration::from_mins(3);
/// How often an account is read that has no room: windows can begin anew early.
pub const EXHAUSTED_INTERVAL: Duration = Duration::from_mins(10);
/// How often the quota file is read: it is local and free.
pub const FILE_INTERVAL: Duration = Duration::from_secs(5);
/// The least wait after the source asked for one.
pub const RATE_LIMIT_WAIT: Duration = Duration::from_hours(1);
/// What is added to the wait that the source asked for: of blocks that had just lapsed, many came back at once (facts/peers.md, section 2.2).
pub const RATE_LIMIT_MARGIN: Duration = Duration::from_mins(2);
/// The longest wait after failures in a row.
pub const MAX_BACKOFF: Duration = Duration::from_mins(30);
/// The longest wait after answers that were not refreshed.
pub const MAX_UNREFRESHED_BACKOFF: Duration = Duration::from_hours(1);
/// Failures in a row after which the next listed source is tried as well.
const GIVE_WAY: u32 = 3;
/// Closer than this to a threshold, the active account is read as often as the budget allows.
const NEAR: Percent = Percent::whole(15);
/// How long after a window's reset the account is read.
const AFTER_RESET: Duration = Duration::from_mins(1);

/// What is remembered of an account's readings; the store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollState {
    /// By source; one that is absent was never read.
    pub sources: BTreeMap<QuotaSource, SourceState>,
}

/// What is remembered of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceState {
    /// When the last reading began.
    pub started_at: Option<Timestamp>,
    /// How many were begun; it varies the jitter.
    pub count: u64,
    /// Failures in a row, of every kind.
    pub failures: u32,
    /// What came of the last one that ended.
    pub last: Option<PollOutcome>,
    /// Not read before this, because the source asked so.
    pub held_until: Option<Timestamp>,
}

impl PollState {
    /// A reading begins. Recorded before it is done, so that a crash cannot spend the budget twice.
    pub fn started(&mut self, source: QuotaSource, now: Now) {
        let state = self.sources.entry(source).or_default();
        state.started_at = Some(now.wall);
        state.count = state.count.saturating_add(1);
    }

    /// A reading ended.
    pub fn ended(&mut self, source: QuotaSource, outcome: PollOutcome, now: Now) {
        let state = self.sources.entry(source).or_default();
        state.last = Some(outcome);
        state.held_until = None;
        match outcome {
            PollOutcome::Read => state.failures = 0,
            PollOutcome::NotRefreshed | PollOutcome::Failed => state.failures = state.failures.saturating_add(1),
            PollOutcome::RateLimited { retry_after } => {
                state.failures = state.failures.saturating_add(1);
                // The source's own wish is capped where it is read; an absurd one here must not silence the account either.
                let wait = retry_after.unwrap_or_default().clamp(RATE_LIMIT_WAIT, RATE_LIMIT_WAIT * 2);
                state.held_until = Some(now.plus(wait + RATE_LIMIT_MARGIN).wall);
            }
        }
    }

    /// Forgets failures, not the budget: the login or the spec has changed, so that the next reading may well work.
    pub fn forget_failures(&mut self) {
        for state in self.sources.values_mut() {
            state.failures = 0;
        }
    }
}

/// Why a reading is taken when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PollReason {
    /// It was never read.
    First,
    /// `pollEvery` has passed.
    Regular,
    /// The active account is near a threshold.
    NearThreshold,
    /// The account has no room; its windows can begin anew early.
    Exhausted,
    /// A window that blocks the account begins anew.
    ResetDue,
    /// The last ones failed.
    BackingOff,
    /// The source asked us to wait.
    RateLimited,
    /// The clock went back.
    ClockChanged,
}

impl fmt::Display for PollReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "never read before",
            Self::Regular => "pollEvery has passed",
            Self::NearThreshold => "near a threshold",
            Self::Exhausted => "exhausted; windows can begin anew early",
            Self::ResetDue => "a blocking window begins anew",
            Self::BackingOff => "the last readings failed",
            Self::RateLimited => "the source asked to wait",
            Self::ClockChanged => "the clock went back",
        })
    }
}

/// The next reading of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextPoll {
    /// From which source.
    pub source: QuotaSource,
    /// When; due once it is not after now.
    pub at: Timestamp,
    /// Why then.
    pub reason: PollReason,
}

/// What the schedule of one account follows from.
#[derive(Debug, Clone, Copy)]
pub struct PollInput<'a> {
    /// Sources and intervals.
    pub quota: &'a Quota,
    /// The account, with its thresholds.
    pub account: &'a Account,
    /// Whether the pool works under it.
    pub active: bool,
    /// Its newest readings.
    pub usage: &'a AccountUsage,
    /// When it reaches a threshold at the present rate ([`burn::reaches`]), if it does.
    pub reaches: Option<Timestamp>,
    /// What is remembered of its readings.
    pub state: &'a PollState,
    /// Sets hosts apart that watch the same account, such as a number from the pool's id.
    pub seed: u64,
}

/// The account's next reading; `None` when no source is polled. Among several sources the one that is due first.
pub fn next_poll(input: &PollInput<'_>, now: Now) -> Option<NextPoll> {
    let next = input.quota.sources.iter().filter(|source| takes_part(input, **source)).filter_map(|source| due(input, *source, now));
    next.min_by_key(|poll| poll.at)
}

/// Whether `source` takes part. Of the two that ask the usage endpoint, the later listed one waits until the earlier keeps failing.
fn takes_part(input: &PollInput<'_>, source: QuotaSource) -> bool {
    let mut earlier = input.quota.sources.iter().take_while(|other| **other != source).filter(|other| asks_endpoint(**other));
    !asks_endpoint(source) || earlier.all(|other| input.state.sources.get(other).is_some_and(|state| state.failures >= GIVE_WAY))
}

/// Whether a reading from `source` is one of the account's about 30 an hour.
const fn asks_endpoint(source: QuotaSource) -> bool {
    matches!(source, QuotaSource::Cli | QuotaSource::Api)
}

/// When `source` is read next.
fn due(input: &PollInput<'_>, source: QuotaSource, now: Now) -> Option<NextPoll> {
    let state = input.state.sources.get(&source).cloned().unwrap_or_default();
    let failures = state.failures;
    let (interval, reason) = match source {
        QuotaSource::Statusline => return None,
        QuotaSource::File => (FILE_INTERVAL, PollReason::Regular),
        QuotaSource::Cli | QuotaSource::Api | QuotaSource::Command if failures > 0 => {
            let longest = if state.last == Some(PollOutcome::Failed) { MAX_BACKOFF } else { MAX_UNREFRESHED_BACKOFF };
            // Of an account that was never read nothing is known at all, and it is no target until it is read.
            let is_new = input.usage.windows.is_empty() && state.last == Some(PollOutcome::Failed);
            let first = if is_new { MIN_INTERVAL } else { input.quota.poll_every.max(MIN_INTERVAL) };
            (doubled(first, failures - 1, longest.max(first)), PollReason::BackingOff)
        }
        QuotaSource::Cli | QuotaSource::Api | QuotaSource::Command => interval(input, now),
    };
    let spread = if source == QuotaSource::File {
        Duration::ZERO
    } else {
        share_of(interval / 5, &format!("{}/{source:?}/{}/{}", input.account.name, state.count, input.seed))
    };
    let mut poll = match state.started_at {
        None => NextPoll { source, at: now.wall, reason: PollReason::First },
        Some(started_at) if is_ahead(started_at, CLOCK_TOLERANCE, now) => {
            NextPoll { source, at: now.wall, reason: PollReason::ClockChanged }
        }
        Some(started_at) => NextPoll { source, at: later(started_at, interval + spread), reason },
    };
    if poll.reason == PollReason::Exhausted
        && let Some(reset) = blocking_reset(input, now).map(|reset| later(reset, AFTER_RESET)).filter(|reset| *reset < poll.at)
    {
        poll = NextPoll { at: reset, reason: PollReason::ResetDue, ..poll };
    }
    let shares_budget = |other: QuotaSource| other == source || (asks_endpoint(other) && asks_endpoint(source));
    for (_, other) in input.state.sources.iter().filter(|(other, _)| shares_budget(**other) && source != QuotaSource::File) {
        let free = other.started_at.filter(|at| !is_ahead(*at, CLOCK_TOLERANCE, now)).map(|at| later(at, MIN_INTERVAL));
        poll.at = poll.at.max(free.unwrap_or(poll.at));
        // A wait that no source can have asked for is what a clock that went back leaves behind.
        let held = other.held_until.filter(|until| !is_ahead(*until, RATE_LIMIT_WAIT * 2 + RATE_LIMIT_MARGIN, now));
        if let Some(until) = held.filter(|until| *until > poll.at) {
            poll = NextPoll { at: later(until, spread), reason: PollReason::RateLimited, ..poll };
        }
    }
    Some(poll)
}

/// The regular interval of the account as it stands.
fn interval(input: &PollInput<'_>, now: Now) -> (Duration, PollReason) {
    let regular = input.quota.poll_every.max(MIN_INTERVAL);
    let shares = || {
        let windows = input.usage.windows.iter();
        windows.filter_map(|(window, reading)| {
            let used = burn::effective(Some(reading), now, input.quota.stale_after).at_least()?;
            Some((used, input.account.thresholds.of(window)))
        })
    };
    if shares().any(|(used, threshold)| used >= threshold) {
        return (EXHAUSTED_INTERVAL, PollReason::Exhausted);
    }
    let soon = input.reaches.is_some_and(|at| at <= later(now.wall, regular * 2));
    if input.active && (soon || shares().any(|(used, threshold)| threshold.saturating_sub(used) <= NEAR)) {
        return (MIN_INTERVAL, PollReason::NearThreshold);
    }
    (regular, PollReason::Regular)
}

/// When the first of the windows that are over their threshold begins anew.
fn blocking_reset(input: &PollInput<'_>, now: Now) -> Option<Timestamp> {
    let over = input.usage.windows.iter().filter(|(window, reading)| {
        let known = burn::effective(Some(reading), now, input.quota.stale_after);
        !matches!(known, Effective::Unknown(_)) && known.at_least().is_some_and(|used| used >= input.account.thresholds.of(window))
    });
    over.filter_map(|(_, reading)| reading.resets_at).min()
}

/// Whether `at` lies further than `by` ahead.
fn is_ahead(at: Timestamp, by: Duration, now: Now) -> bool {
    at > later(now.wall, by)
}

#[cfg(test)]
mod tests;
