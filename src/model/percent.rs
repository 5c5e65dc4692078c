//! Percentages that can be compared, hashed and stored exactly.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a number is not a percentage.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{found} is not a percentage from 0 to {}", Percent::MAX)]
pub struct PercentError {
    /// The number as it was given.
    pub found: f64,
}

/// A share in percent, exact to 0.01. Values over 100 exist: an account with extra usage can exceed its window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u32);

impl Percent {
    /// The largest value that is taken for a measurement and not for nonsense.
    pub const MAX: f64 = 1000.0;
    /// Nothing used.
    pub const ZERO: Self = Self(0);
    /// A full window.
    pub const FULL: Self = Self(10_000);

    /// Rounds to 0.01.
    ///
    /// # Errors
    /// [`PercentError`] for NaN, a negative number, or one over [`Self::MAX`].
    pub fn new(value: f64) -> Result<Self, PercentError> {
        if !(0.0..=Self::MAX).contains(&value) {
            return Err(PercentError { found: value });
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100 000 after the check above")]
        Ok(Self((value * 100.0).round() as u32))
    }

    /// A whole number of percent.
    pub const fn whole(value: u8) -> Self {
        Self(value as u32 * 100)
    }

    /// The value as a number, 42.5 for 42.5 %.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// `self − other`, 0 where that would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl TryFrom<f64> for Percent {
    type Error = PercentError;
    fn try_from(value: f64) -> Result<Self, PercentError> {
        Self::new(value)
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        percent.value()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(100) { write!(f, "{}%", self.0 / 100) } else { write!(f, "{}%", self.value()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_and_overage_is_kept() {
        for bad in [f64::NAN, -0.1, f64::INFINITY, 1e308, 1000.1] {
            assert!(Percent::new(bad).is_err(), "{bad} was accepted");
        }
        assert_eq!(Percent::new(42.5).expect("valid").to_string(), "42.5%");
        assert!(Percent::new(120.0).expect("valid") > Percent::FULL);
        assert_eq!(Percent::whole(10).saturating_sub(Percent::whole(20)), Percent::ZERO);
    }
}
