//! A plan for people: what changed outside, what would be done and why, what waits, and one line that sums it up.

use std::fmt::Write as _;

use super::{escape, paint, style};
use crate::{
    model::ObjectRef,
    plan::{Action, Disruption, Effect, Planned, QueueChange, Verb, Waiting},
};

/// What else is shown beside a plan.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Unified diff of the effective spec against the last applied one, styled already.
    pub spec_diff: String,
    /// The price of a swap, one line each.
    pub price: Vec<String>,
    /// Why nothing at all is done at present, if that is so.
    pub hold: Option<String>,
}

/// The whole human form.
pub fn plan(planned: &Planned, beside: &Beside) -> String {
    let mut text = String::new();
    let report = &planned.report;
    if !beside.spec_diff.is_empty() {
        heading(&mut text, "Spec, against the last applied one");
        text.push_str(&beside.spec_diff);
        text.push('\n');
    }
    if !report.drift.is_empty() {
        heading(&mut text, "Changed outside");
        for drift in &report.drift {
            line(&mut text, &format!("  ! {}  {}", spoken(&drift.object), escape(&drift.message)));
        }
        text.push('\n');
    }
    if !planned.plan.is_empty() {
        heading(&mut text, "To do");
        actions(&mut text, planned);
        text.push('\n');
    }
    for price in &beside.price {
        line(&mut text, &format!("  {}", escape(price)));
    }
    if !beside.price.is_empty() {
        text.push('\n');
    }
    if let Some(hold) = beside.hold.as_ref().filter(|hold| !report.waiting.iter().any(|entry| entry.message == **hold)) {
        line(&mut text, &paint(style::WARN, format!("Nothing is done at present: {}", escape(hold))));
        text.push('\n');
    }
    waiting(&mut text, "Waiting", &report.waiting);
    waiting(&mut text, "Warnings", &report.warnings);
    line(&mut text, &summary(planned));
    text
}

/// One line that says how much is to be done.
pub fn summary(planned: &Planned) -> String {
    let count = |verbs: &[Verb]| planned.plan.actions.iter().filter(|(_, action)| verbs.contains(&action.verb)).count();
    let parts = [
        (count(&[Verb::Create]), "to create"),
        (count(&[Verb::Repair, Verb::Adopt]), "to repair"),
        (count(&[Verb::Restart]), "to restart"),
        (count(&[Verb::Release]), "to release"),
        (count(&[Verb::Stop]), "to stop"),
        (count(&[Verb::Swap]), "swap"),
        (given_out(planned), "tasks to give out"),
        (count(&[Verb::Dispatch]) - given_out(planned), "prompts to type"),
        (count(&[Verb::Settle]), "tasks to settle"),
        (count(&[Verb::Tidy]), "to clean away"),
        (planned.report.waiting.len(), "waiting"),
        (planned.report.warnings.len(), "warnings"),
    ];
    let shown: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if planned.plan.is_empty() {
        let rest = if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) };
        return format!("Nothing to do{rest}.");
    }
    format!("Plan: {}.", shown.join(", "))
}

/// How many tasks sessions would get.
fn given_out(planned: &Planned) -> usize {
    let is_claim = |action: &&Action| matches!(action.effect, Some(Effect::Queue { change: QueueChange::Claim { .. }, .. }));
    planned.plan.actions.iter().map(|(_, action)| action).filter(is_claim).count()
}

fn actions(text: &mut String, planned: &Planned) {
    let rows: Vec<_> = planned.plan.actions.iter().map(|(_, action)| (action, spoken(&action.object), escape(&action.what))).collect();
    let name_width = rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
    // Long particulars, such as paths, must not push every reason off the screen.
    let what_width = rows.iter().map(|(.., what)| what.chars().count()).filter(|width| *width <= 40).max().unwrap_or(0);
    for (action, name, what) in rows {
        let sign = paint(sign_style(action), action.verb.sign());
        let disturbs = match action.disruption {
            Disruption::None => "",
            Disruption::Idle => ", stops an idle agent",
            Disruption::Working => ", may interrupt work",
        };
        let why = paint(style::DIM, format!("({}{disturbs})", escape(&action.why)));
        line(text, &format!("  {sign} {name:name_width$}  {what:what_width$}  {why}"));
    }
}

const fn sign_style(action: &Action) -> clap::builder::styling::Style {
    match action.verb {
        Verb::Create | Verb::Dispatch => style::GOOD,
        Verb::Repair | Verb::Restart | Verb::Adopt | Verb::Swap | Verb::Settle => style::WARN,
        Verb::Release | Verb::Stop | Verb::Tidy => style::BAD,
    }
}

fn waiting(text: &mut String, title: &str, entries: &[Waiting]) {
    if entries.is_empty() {
        return;
    }
    heading(text, title);
    for entry in entries {
        line(text, &format!("  {}  {}: {}", spoken(&entry.object), entry.reason, escape(&entry.message)));
    }
    text.push('\n');
}

/// `session ccl-3`: an object as people say it.
pub fn spoken(object: &ObjectRef) -> String {
    match object {
        ObjectRef::Pool => "pool".to_owned(),
        ObjectRef::Server => "tmux server".to_owned(),
        ObjectRef::SharedRoot => "shared root".to_owned(),
        ObjectRef::ActiveLink => "active link".to_owned(),
        ObjectRef::StateDir => "state directory".to_owned(),
        ObjectRef::Account(name) => format!("account {name}"),
        // The one name that may hold more than letters and digits.
        ObjectRef::Link(account, link) => format!("link {account}/{}", escape(link.as_str())),
        ObjectRef::Session(name) => format!("session {name}"),
        ObjectRef::Project(name) => format!("project {name}"),
        ObjectRef::Task(task) => format!("task {}", escape(&task.to_string())),
    }
}

fn heading(text: &mut String, title: &str) {
    line(text, &paint(style::HEAD, title));
}

fn line(text: &mut String, content: &str) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{}", content.trim_end());
}
