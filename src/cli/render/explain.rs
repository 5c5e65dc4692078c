//! One object for people: what is wanted, what was seen, what each condition says, and what is waited for.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{escape, paint, paragraph, plan::spoken, relative, status::is_good, style};
use crate::cli::commands::explain::Explanation;

/// The whole human form.
pub fn explain(explanation: &Explanation, now: Timestamp) -> String {
    let mut text = format!("{}\n", paint(style::HEAD, spoken(&explanation.object)));
    for line in &explanation.evidence {
        let _ = writeln!(text, "  {}", escape(line));
    }
    if !explanation.conditions.is_empty() {
        let _ = writeln!(text, "\n{}", paint(style::HEAD, "Conditions"));
    }
    for condition in &explanation.conditions {
        let style = if is_good(condition) { style::GOOD } else { style::WARN };
        let head = paint(style, format!("{}={}", condition.kind, condition.status));
        let message = if condition.message.is_empty() { String::new() } else { format!(": {}", paragraph(&condition.message, 4)) };
        // One that nobody has published yet has no past.
        let lasted = now.duration_since(condition.last_transition_time).as_secs();
        let since = if lasted > 0 { format!("  (since {})", relative(condition.last_transition_time, now)) } else { String::new() };
        let _ = writeln!(text, "  {head}  {}{message}{since}", condition.reason);
    }
    section(&mut text, "Would be done", &explanation.planned);
    section(&mut text, "Waits for", &explanation.waiting);
    if !explanation.events.is_empty() {
        let _ = writeln!(text, "\n{}", paint(style::HEAD, "Last events"));
        for stored in &explanation.events {
            let times = if stored.count > 1 { format!(" ({} times)", stored.count) } else { String::new() };
            let event = &stored.event;
            let _ = writeln!(text, "  {}  {}  {}{times}", relative(stored.last_at, now), event.reason, paragraph(&event.message, 4));
        }
    }
    text
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", paint(style::HEAD, title));
    for line in lines {
        let _ = writeln!(text, "  {}", escape(line));
    }
}
