//! Text for people, made from values. Nothing here prints.
//!
//! # Guarantees
//! Text from outside (names in files, titles, errors) cannot move the cursor or change colours: control characters are shown escaped.
//! The meaning never depends on colour alone.

pub mod checkpoint;
pub mod diff;
pub mod events;
pub mod explain;
#[cfg(test)]
pub(in crate::cli) mod goldens;
pub mod plan;
pub mod status;
mod table;
pub mod task;

use std::fmt::Write as _;

pub use table::table;

/// Shows control characters as `\u{1b}` and the like.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        // Bidirectional controls can make a line read as something else (Unicode TR36, section 3.2); the separators can end one.
        let bidirectional = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
        let separator = matches!(character, '\u{2028}' | '\u{2029}');
        if (character.is_control() && character != '\t') || bidirectional || separator {
            // Writing to a `String` cannot fail.
            let _ = write!(escaped, "{}", character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// A text that may have several lines: each one is escaped, and the second and later ones are moved in by `indent` columns, so that none
/// can pass for a line of ours.
pub fn paragraph(text: &str, indent: usize) -> String {
    text.trim_end().lines().map(escape).collect::<Vec<_>>().join(&format!("\n{}", " ".repeat(indent)))
}

/// The terminal styles in use, each with a meaning that is also in words or signs.
pub mod style {
    use clap::builder::styling::{AnsiColor, Style};

    /// Something is made.
    pub const GOOD: Style = AnsiColor::Green.on_default();
    /// Something is changed, or wants a look.
    pub const WARN: Style = AnsiColor::Yellow.on_default();
    /// Something ends, or is wrong.
    pub const BAD: Style = AnsiColor::Red.on_default();
    /// Less important.
    pub const DIM: Style = Style::new().dimmed();
    /// A heading.
    pub const HEAD: Style = Style::new().bold();
}

/// `text` in a style; the terminal's writer strips it where it does not belong.
pub fn paint(style: clap::builder::styling::Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A duration in the two largest units that matter: `3m 20s`, `2h 5m`, `6d 1h`.
pub fn span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) if minutes < 10 && !seconds.is_multiple_of(60) => format!("{minutes}m {}s", seconds % 60),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, 0) => format!("{hours}h"),
        (0, ..) => format!("{hours}h {minutes}m"),
        (_, 0, _) => format!("{days}d"),
        _ => format!("{days}d {hours}h"),
    }
}

/// How long ago `at` was, or `in …` when it lies ahead.
pub fn relative(at: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let distance = now.duration_since(at);
    match std::time::Duration::try_from(distance) {
        Ok(past) => format!("{} ago", span(past)),
        Err(_) => format!("in {}", span(distance.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_raw() {
        let hostile = "a\u{1b}[31mb\rc\nd\u{7f}\u{9b}e\u{202e}f\u{2028}g\u{61c}h";
        let shown = escape(hostile);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(!shown.contains(['\u{202e}', '\u{2028}', '\u{61c}']));
        assert_eq!(escape("plain é ✳ text"), "plain é ✳ text");
    }

    #[test]
    fn no_line_of_a_text_from_outside_begins_at_the_margin() {
        assert_eq!(paragraph("one\ntwo\r\n\u{1b}three\n", 2), "one\n  two\n  \\u{1b}three");
    }

    #[test]
    fn spans_read_well() {
        let shown: Vec<_> = [0, 59, 60, 200, 3_600, 7_500, 86_400, 522_000].map(|s| span(Duration::from_secs(s))).to_vec();
        assert_eq!(shown, ["0s", "59s", "1m", "3m 20s", "1h", "2h 5m", "1d", "6d 1h"]);
    }
}
