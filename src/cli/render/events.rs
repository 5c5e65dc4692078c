//! Events for people.

use jiff::Timestamp;

use super::{escape, paragraph, relative, table};
use crate::{model::Severity, store::StoredEvent};

/// A table, oldest first.
pub fn events(events: &[StoredEvent], now: Timestamp) -> String {
    if events.is_empty() {
        return "No events.\n".to_owned();
    }
    let rows = events.iter().map(|stored| {
        let event = &stored.event;
        let severity = match event.severity {
            Severity::Normal => "normal",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        let times = if stored.count > 1 { format!(" ({} times)", stored.count) } else { String::new() };
        vec![
            relative(stored.last_at, now),
            severity.to_owned(),
            escape(&event.object.to_string()),
            event.reason.to_string(),
            format!("{}{times}", paragraph(&event.message, 0)),
        ]
    });
    table(&["WHEN", "SEVERITY", "OBJECT", "REASON", "MESSAGE"], rows)
}
