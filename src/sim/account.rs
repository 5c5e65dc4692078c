//! Accounts: the state of a home, and the usage windows of its login.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::{
    model::{Monotonic, Percent, PollOutcome, WindowKind},
    observed::LoginView,
};

/// What a home's own files say.
#[derive(Debug, Clone, Default)]
pub struct Home {
    /// Whether onboarding is marked as done.
    pub onboarded: bool,
    /// The directories that it trusts.
    pub trusted: BTreeSet<PathBuf>,
    /// Whether the bypass-permissions disclaimer was accepted.
    pub bypass_accepted: bool,
    /// The login.
    pub login: LoginView,
    /// Whether the other side refuses the login, whatever the file says.
    pub refused: bool,
    /// What makes it unsafe, if anything does.
    pub unsafe_mode: Option<String>,
}

/// The usage of a login.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Its windows.
    pub windows: BTreeMap<WindowKind, Window>,
    /// How reading it ends.
    pub poll: PollOutcome,
}

impl Default for Usage {
    fn default() -> Self {
        let empty = || Window { used: 0.0, since: Monotonic::default(), resets_at: None, per_agent_hour: 0.0 };
        Self { windows: [(WindowKind::FiveHour, empty()), (WindowKind::Weekly, empty())].into(), poll: PollOutcome::Read }
    }
}

/// One window: a figure that grows with the number of working agents, until it begins anew.
#[derive(Debug, Clone)]
pub struct Window {
    /// Percent used at `since`.
    pub used: f64,
    /// When `used` was true.
    pub since: Monotonic,
    /// When it begins anew; `None` when it has not begun.
    pub resets_at: Option<Monotonic>,
    /// What one working agent uses in an hour, in percent.
    pub per_agent_hour: f64,
}

impl Window {
    /// Percent used at `now`, while `working` agents have worked since the last settling.
    pub fn used_at(&self, now: Monotonic, working: usize) -> f64 {
        (self.used + self.rate(working) * now.since(self.since).as_secs_f64() / 3_600.0).min(100.0)
    }

    /// The figure as it is measured.
    pub fn percent(&self, now: Monotonic, working: usize) -> Percent {
        Percent::new(self.used_at(now, working)).unwrap_or(Percent::FULL)
    }

    /// Carries the figure over to `now`, so that the number of working agents may change.
    pub fn settle(&mut self, now: Monotonic, working: usize) {
        self.used = self.used_at(now, working);
        self.since = now;
    }

    /// When the window is full, if it goes on like this.
    pub fn full_at(&self, working: usize) -> Option<Monotonic> {
        let rate = self.rate(working);
        (rate > 0.0 && self.used < 100.0).then(|| {
            // A millisecond later, so that the window is full at that instant and not almost.
            let seconds = (100.0 - self.used) / rate * 3_600.0;
            self.since.plus(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).plus(Duration::from_millis(1))
        })
    }

    /// Whether nothing more can be asked of the login.
    pub fn is_full(&self, now: Monotonic, working: usize) -> bool {
        self.used_at(now, working) >= 100.0
    }

    fn rate(&self, working: usize) -> f64 {
        self.per_agent_hour * f64::from(u32::try_from(working).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Monotonic {
        Monotonic(Duration::from_mins(minutes))
    }

    #[test]
    fn a_window_fills_with_work_and_stays_full() {
        let mut window = Window { used: 40.0, since: at(0), resets_at: None, per_agent_hour: 10.0 };
        assert_eq!(window.percent(at(60), 2), Percent::whole(60));
        assert_eq!(window.full_at(2), Some(at(180).plus(Duration::from_millis(1))));
        window.settle(at(60), 2);
        assert_eq!(window.full_at(1), Some(at(300).plus(Duration::from_millis(1))));
        assert!(window.is_full(at(400), 1) && !window.is_full(at(299), 1));
        assert_eq!(window.full_at(0), None);
    }
}
