//! The status for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{escape, paint, paragraph, plan::spoken, relative, style, table};
use crate::{
    model::{Condition, ConditionKind, Percent, Truth, WindowKind},
    plan::{Waiting, ends_in, login_stage},
    status::{AccountRow, ProjectRow, SessionRow, Status, WindowRow},
};

/// A status older than this is said to be old: the daemon that published it is stuck or gone.
const OLD_AFTER_SECONDS: i64 = 180;

/// The whole human form. `wide` adds conversation, process and home.
pub fn status(status: &Status, now: Timestamp, wide: bool) -> String {
    let mut text = String::new();
    let active = status.active.as_ref().map_or_else(|| "no active account".to_owned(), |active| format!("active account {active}"));
    let _ = writeln!(text, "{}  generation {}, {active}", paint(style::HEAD, format!("pool {}", status.pool)), status.generation);
    if now.duration_since(status.at).as_secs() > OLD_AFTER_SECONDS {
        let _ = writeln!(text, "{}", paint(style::BAD, format!("This status is old: it was made {}.", relative(status.at, now))));
    }
    conditions(&mut text, &status.conditions, &status.waiting);
    if let Some(swap) = &status.swap {
        let _ = writeln!(
            text,
            "swap {}  {} -> {}, {} of {} proven, {} lost, since {}{}",
            swap.id,
            swap.from,
            swap.to,
            swap.proven,
            swap.total,
            swap.lost,
            relative(swap.opened_at, now),
            swap.turned_back.as_ref().map(|why| format!("; going back: {}", escape(why))).unwrap_or_default()
        );
    }
    for (object, latch) in &status.latches {
        let _ = writeln!(
            text,
            "{}",
            paint(style::BAD, format!("latched: {} {} since {}", spoken(object), latch.reason, relative(latch.since, now)))
        );
        for cause in &latch.causes {
            let _ = writeln!(text, "  {}", escape(cause));
        }
        let object = escape(&object.to_string());
        let _ = writeln!(text, "  look with `claude-failover explain {object}`, then `claude-failover clear {object}`");
    }
    text.push('\n');
    accounts(&mut text, &status.accounts, now, wide);
    if !status.projects.is_empty() {
        text.push('\n');
        projects(&mut text, &status.projects, wide);
    }
    text.push('\n');
    sessions(&mut text, status, now, wide);
    for (title, entries) in [("Waiting", &status.waiting), ("Warnings", &status.warnings)] {
        if !entries.is_empty() {
            let _ = writeln!(text, "\n{}", paint(style::HEAD, title));
            for entry in entries {
                let _ = writeln!(text, "  {}  {}: {}", spoken(&entry.object), entry.reason, escape(&entry.message));
            }
        }
    }
    text
}

/// The pool's conditions that a person should know of: what is bad, and what is good in one word.
fn conditions(text: &mut String, conditions: &[Condition], waiting: &[Waiting]) {
    for condition in conditions {
        let good = is_good(condition);
        let shown = match condition.kind {
            ConditionKind::Synced | ConditionKind::Ready => true,
            _ => !good,
        };
        if shown {
            let style = if good { style::GOOD } else { style::WARN };
            // What stands below in full is not said twice.
            let is_below = |entry: &Waiting| !entry.message.is_empty() && condition.message.ends_with(&entry.message);
            let message = match &condition.message {
                message if message.is_empty() => String::new(),
                _ if waiting.iter().any(is_below) => "  (see below)".to_owned(),
                message => format!("  {}", paragraph(message, 4)),
            };
            let head = paint(style, format!("{}={}", condition.kind, condition.status));
            let _ = writeln!(text, "{head}  {}{message}", condition.reason);
        }
    }
}

/// Whether a condition is as one wishes: some are good when true, others when false.
pub fn is_good(condition: &Condition) -> bool {
    let wished = match condition.kind {
        ConditionKind::SpecAccepted
        | ConditionKind::Synced
        | ConditionKind::Ready
        | ConditionKind::LoginValid
        | ConditionKind::QuotaKnown
        | ConditionKind::Available => Truth::True,
        ConditionKind::Progressing
        | ConditionKind::Suspended
        | ConditionKind::Degraded
        | ConditionKind::PartialSwap
        | ConditionKind::Exhausted
        | ConditionKind::PlanRejected
        | ConditionKind::Drifted
        | ConditionKind::NeedsInput
        | ConditionKind::Conflicted => Truth::False,
    };
    condition.status == wished
}

fn accounts(text: &mut String, accounts: &[AccountRow], now: Timestamp, wide: bool) {
    let mut heading = vec!["ACCOUNT", "", "5 HOURS", "", "WEEK", "", "READING", "LOGIN"];
    if wide {
        heading.extend(["HOME", "STANDING"]);
    }
    let rows = accounts.iter().map(|account| {
        let find = |kind: &WindowKind| account.windows.iter().find(|window| window.window == *kind);
        let (five, week) = (find(&WindowKind::FiveHour), find(&WindowKind::Weekly));
        let mut row = vec![
            account.name.to_string(),
            match (account.active, account.cordoned) {
                (true, true) => "active, cordoned",
                (true, false) => "active",
                (false, true) => "cordoned",
                (false, false) => "",
            }
            .to_owned(),
        ];
        for window in [five, week] {
            row.push(window.map_or_else(|| "unknown".to_owned(), bar));
            row.push(window.map(|window| reset_words(window, now)).unwrap_or_default());
        }
        let newest = account.windows.iter().max_by_key(|window| window.measured_at);
        row.push(newest.map_or_else(|| "none".to_owned(), |window| format!("{}, {}", relative(window.measured_at, now), window.source)));
        let login = account.conditions.iter().find(|condition| condition.kind == ConditionKind::LoginValid);
        row.push(login.map_or_else(|| "unknown".to_owned(), |condition| login_words(condition, account.login_ends_at, now)));
        if wide {
            row.push(escape(&account.home.display().to_string()));
            row.push(escape(&account.standing));
        }
        row
    });
    text.push_str(&table(&heading, rows));
    for account in accounts {
        for window in &account.windows {
            if let WindowKind::Model(model) = &window.window {
                let _ = writeln!(text, "  {}: week of {}  {} {}", account.name, escape(model), bar(window), reset_words(window, now));
            }
        }
    }
}

fn login_words(condition: &Condition, ends_at: Option<Timestamp>, now: Timestamp) -> String {
    match (condition.status, ends_at) {
        (Truth::True, Some(until)) if login_stage(until, now).is_some() => format!("ends {}", ends_in(until, now)),
        (Truth::True, _) => "valid".to_owned(),
        (Truth::False, _) => "not valid".to_owned(),
        (Truth::Unknown, _) => "unknown".to_owned(),
    }
}

/// `[#######.|.] 72%`: ten places, with a mark at the place that is filled when the threshold is reached.
fn bar(window: &WindowRow) -> String {
    let places = |share: Percent| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100 after the bound")]
        let full = (share.value().clamp(0.0, 100.0) / 10.0).round() as usize;
        full
    };
    let (used, mark) = (places(window.used), places(window.threshold).saturating_sub(1));
    let bar: String = (0..10)
        .map(|place| match place {
            _ if place < used => '#',
            _ if place == mark => '|',
            _ => '.',
        })
        .collect();
    format!("[{bar}] {:>4}", window.used.to_string())
}

fn reset_words(window: &WindowRow, now: Timestamp) -> String {
    window.resets_at.map_or_else(String::new, |at| if at <= now { "has reset".to_owned() } else { format!("resets {}", relative(at, now)) })
}

fn projects(text: &mut String, projects: &[ProjectRow], wide: bool) {
    let mut heading = vec!["PROJECT", "WAITING", "UNDER WAY", "FAILED", "DONE", "HELD"];
    if wide {
        heading.push("PATH");
    }
    let rows = projects.iter().map(|project| {
        let mut row = vec![project.name.to_string()];
        row.extend([project.waiting, project.under_way, project.failed, project.done].map(|count| count.to_string()));
        row.push(escape(project.holds.as_deref().unwrap_or("-")));
        if wide {
            row.push(escape(&project.path.display().to_string()));
        }
        row
    });
    text.push_str(&table(&heading, rows));
}

fn sessions(text: &mut String, status: &Status, now: Timestamp, wide: bool) {
    let mut heading = vec!["SESSION", "ACCOUNT", "ACTIVITY", "SINCE", "CONTEXT", "STATE"];
    let with_tasks = !status.projects.is_empty();
    if with_tasks {
        heading.push("TASK");
    }
    if wide {
        heading.extend(["PID", "ATTACHED", "CONVERSATION"]);
    }
    let rows = status.sessions.iter().map(|session| {
        let mut row = vec![
            session.name.to_string(),
            session.account.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            session.activity.to_string(),
            session.since.map_or_else(|| "-".to_owned(), |since| relative(since, now)),
            session.context_tokens.map_or_else(|| "-".to_owned(), tokens),
            state_words(session),
        ];
        if with_tasks {
            row.push(session.task.as_ref().map_or_else(|| "-".to_owned(), |task| escape(&task.to_string())));
        }
        if wide {
            row.push(session.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()));
            row.push(session.attached.to_string());
            row.push(session.conversation.map_or_else(|| "-".to_owned(), |id| id.to_string()));
        }
        row
    });
    text.push_str(&table(&heading, rows));
}

/// What is not as it should be, or `ok`.
fn state_words(session: &SessionRow) -> String {
    if session.cordoned {
        return "cordoned".to_owned();
    }
    let bad = session.conditions.iter().find(|condition| !is_good(condition) && condition.kind != ConditionKind::Ready);
    let bad = bad.or_else(|| session.conditions.iter().find(|condition| !is_good(condition)));
    bad.map_or_else(|| "ok".to_owned(), |condition| condition.reason.clone())
}

/// 950, 12k, 1.2M.
pub fn tokens(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1_000..=999_999 => format!("{}k", count / 1_000),
        _ => format!("{}.{}M", count / 1_000_000, count / 100_000 % 10),
    }
}
