//! Durations as the spec writes them: whole numbers with units, the largest first, such as `90s`, `1h30m` or `7d`.

use std::{fmt::Write as _, time::Duration};

/// The units, the largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration that is taken: nothing in a spec waits for more than a year.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// It does not have the form.
    #[error("a duration is whole numbers with the units d, h, m, s and ms, the largest first, such as 90s or 1h30m")]
    Form,
    /// It is longer than a year.
    #[error("it is longer than a year")]
    TooLong,
}

/// Reads a duration. A day has 24 hours.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or(DurationError::Form)?;
        let (number, tail) = rest.split_at(digits);
        let (word, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        // The iterator goes on where it stood, so that a unit that is repeated or out of order is not found.
        let (_, length) = units.find(|(unit, _)| *unit == word).ok_or(DurationError::Form)?;
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = number.checked_mul(*length).and_then(|part| total.checked_add(part)).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    let total = Duration::from_millis(total);
    match text {
        "" => Err(DurationError::Form),
        _ if total > LONGEST => Err(DurationError::TooLong),
        _ => Ok(total),
    }
}

/// Writes a duration in its shortest form; `0s` for none. What is below a millisecond is left out.
pub(crate) fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_add_up() {
        for (text, seconds) in [("5m", 300), ("90s", 90), ("7d", 604_800), ("1h30m", 5_400), ("0s", 0), ("2000ms", 2), ("1d2h3m4s", 93_784)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in ["", "5", "m", "5 m", "5m ", "-5m", "1.5h", "5M", "5min", "30m1h", "1m1m", "1s1ms1s", "PT5M", "٥m"] {
            assert_eq!(parse(text), Err(DurationError::Form), "{text:?}");
        }
        for text in ["367d", "99999999999999999999s", "18446744073709551615h", "366d1ms"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0_u64..=31_622_400_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
