//! Months, by which what is done is archived.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::NameError;

/// A month of the calendar, in UTC. Its text form is `2026-11`; it is one plain file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(String);

impl Month {
    /// The month that an instant lies in.
    pub fn of(at: Timestamp) -> Self {
        Self(at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string())
    }

    /// `2026-11`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.0
    }
}

impl TryFrom<String> for Month {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_month = text.split_once('-').is_some_and(|(year, month)| {
            (year.len(), month.len()) == (4, 2) && digits(year) && digits(month) && ("01"..="12").contains(&month)
        });
        if is_month { Ok(Self(text)) } else { Err(NameError::BadMonth(text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_a_plain_name() {
        let at: Timestamp = "2026-11-30T23:59:59Z".parse().expect("a time");
        assert_eq!(Month::of(at).as_str(), "2026-11");
        assert_eq!(Month::try_from("2026-11".to_owned()), Ok(Month::of(at)));
        for bad in ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "../x-11", "2026-11/", "-2026-11"] {
            assert!(Month::try_from(bad.to_owned()).is_err(), "{bad:?} was accepted");
        }
    }
}
