//! Points in time and spans as people write them.

use std::time::Duration;

use jiff::{SignedDuration, Span, Timestamp};

use super::CliError;

/// A span such as `90s`, `2h` or `1h30m`.
///
/// # Errors
/// [`CliError::Usage`].
pub fn duration(text: &str) -> Result<Duration, CliError> {
    let wrong = || CliError::Usage(format!("{text:?} is no span of time; write it as 90s, 5m, 2h or 7d"));
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_hours(24 * days));
    }
    let span: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

/// A point in time, or a span that counts from `now`: ahead for an end, back for a beginning.
///
/// # Errors
/// [`CliError::Usage`].
pub fn point(text: &str, now: Timestamp, ahead: bool) -> Result<Timestamp, CliError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let wrong = |_| CliError::Usage(format!("{text:?} is no point in time; write it as 2026-01-31T12:00:00Z, or as a span such as 2h"));
    let span = duration(text)?;
    let span = Span::try_from(SignedDuration::try_from(span).map_err(wrong)?).map_err(wrong)?;
    if ahead { now.checked_add(span).map_err(wrong) } else { now.checked_sub(span).map_err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_points_are_read_as_people_write_them() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("1h30m").unwrap(), Duration::from_mins(90));
        assert_eq!(duration("7d").unwrap(), Duration::from_hours(168));
        for bad in ["", "soon", "-5m", "5"] {
            assert!(duration(bad).is_err(), "{bad:?} was accepted");
        }
        let now = Timestamp::from_second(10_000).unwrap();
        assert_eq!(point("1h", now, true).unwrap().as_second(), 13_600);
        assert_eq!(point("1h", now, false).unwrap().as_second(), 6_400);
        assert_eq!(point("1970-01-01T00:00:01Z", now, true).unwrap().as_second(), 1);
    }
}
