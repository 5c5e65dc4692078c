//! Events for people.

use jiff::Timestamp;

use super::{escape, relative, table};
use crate::model::{Event, Severity};

/// A table, oldest first.
pub fn events(events: &[(u64, Event, u64)], now: Timestamp) -> String {
    if events.is_empty() {
        return "No events.\n".to_owned();
    }
    let rows = events.iter().map(|(_, event, count)| {
        let severity = match event.severity {
            Severity::Normal => "normal",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        vec![
            relative(event.at, now),
            severity.to_owned(),
            event.object.to_string(),
            event.reason.to_string(),
            format!("{}{times}", escape(&event.message)),
        ]
    });
    table(&["WHEN", "SEVERITY", "OBJECT", "REASON", "MESSAGE"], rows)
}
