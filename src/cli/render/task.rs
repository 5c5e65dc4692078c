//! Tasks for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{escape, paint, paragraph, relative, style, table};
use crate::status::{TaskDetail, TaskRow, TaskState};

/// The longest cell of free text; `show` has it in full.
const CELL: usize = 60;

/// A table, in the order in which the tasks would be worked on.
pub fn list(tasks: &[TaskRow], now: Timestamp, wide: bool) -> String {
    if tasks.is_empty() {
        return "No tasks.\n".to_owned();
    }
    let mut heading = vec!["TASK", "STATE", "SESSION", "ATTEMPT", "SINCE", "WHY", "TITLE"];
    if wide {
        heading.push("PRIORITY");
    }
    let rows = tasks.iter().map(|task| {
        let mut row = vec![
            escape(&task.task.to_string()),
            task.state.as_str().to_owned(),
            task.session.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            if task.attempt == 0 { "-".to_owned() } else { format!("{} of {}", task.attempt, task.attempts) },
            task.since.map_or_else(|| "-".to_owned(), |since| relative(since, now)),
            cell(task.why.as_deref().unwrap_or_default(), wide),
            cell(&task.title, wide),
        ];
        if wide {
            row.push(task.priority.to_string());
        }
        row
    });
    table(&heading, rows)
}

fn cell(text: &str, wide: bool) -> String {
    let text = escape(text);
    if wide || text.chars().count() <= CELL {
        return text;
    }
    text.chars().take(CELL - 1).chain(['…']).collect()
}

/// One task with its attempts.
pub fn detail(detail: &TaskDetail, now: Timestamp) -> String {
    let row = &detail.row;
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "{}  {}",
        paint(style::HEAD, format!("task {}", escape(&row.task.to_string()))),
        paint(state_style(row.state), row.state.as_str())
    );
    if !row.title.is_empty() {
        let _ = writeln!(text, "{}", escape(&row.title));
    }
    let _ = writeln!(text, "file      {}", escape(&detail.path.display().to_string()));
    let _ = writeln!(text, "priority  {}", row.priority);
    if let Some(since) = row.since {
        let _ = writeln!(text, "since     {}", relative(since, now));
    }
    if let Some(why) = &row.why {
        let _ = writeln!(text, "why       {}", escape(why));
    }
    // A reason of one line is the `why` already.
    if let Some(reason) = detail.reason.as_deref().filter(|reason| reason.lines().nth(1).is_some()) {
        let _ = writeln!(text, "reason    {}", paragraph(reason, 10));
    }
    if detail.record.attempts.is_empty() {
        let _ = writeln!(text, "attempts  none of {}", row.attempts);
        return text;
    }
    text.push('\n');
    let rows = detail.record.attempts.iter().enumerate().map(|(at, attempt)| {
        vec![
            format!("{} of {}", at + 1, row.attempts),
            attempt.session.to_string(),
            attempt.claim.to_string(),
            relative(attempt.claimed_at, now),
            attempt.delivered_at.map_or_else(|| "not proven".to_owned(), |at| relative(at, now)),
            attempt.follow_ups.to_string(),
            attempt.end.as_ref().map_or_else(|| "under way".to_owned(), |end| escape(&end.message)),
        ]
    });
    text.push_str(&table(&["ATTEMPT", "SESSION", "CLAIM", "CLAIMED", "DELIVERED", "ASKED AGAIN", "END"], rows));
    text
}

const fn state_style(state: TaskState) -> clap::builder::styling::Style {
    match state {
        TaskState::Done => style::GOOD,
        TaskState::Working | TaskState::Claimed | TaskState::Waiting => style::WARN,
        TaskState::Failed => style::BAD,
    }
}
