//! `explain`: all that is known of one object, and why it is as it is.

use jiff::Timestamp;
use serde::Serialize;

use super::{among, block_on, request};
use crate::{
    cli::{CliError, Context, Exit, args::ExplainArgs, render},
    engine::{Answer, Command, Missing},
    host::queue,
    model::{AccountName, Condition, ObjectRef, SessionName, TaskId, TaskName},
    spec::Spec,
    store::{EventQuery, StoredEvent, past_events},
};

/// What is explained.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The object.
    pub object: ObjectRef,
    /// Facts, one a line: wanted, seen, remembered.
    pub evidence: Vec<String>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// What would be done to it, with the reason.
    pub planned: Vec<String>,
    /// What it waits for.
    pub waiting: Vec<String>,
    /// What happened to it last.
    pub events: Vec<StoredEvent>,
}

/// How many events are shown.
const EVENTS: u32 = 8;

/// The daemon's evidence when one runs: it knows what its agents reported. Our own look otherwise.
pub fn run(context: &Context, args: &ExplainArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let object = object(spec, &args.object)?;
    let station = context.station(&spec.pool)?;
    let (mut explanation, blind, found) = block_on(async {
        let mut view = context.view_with_times(spec, &station)?;
        let planned = view.preview().await;
        view.refresh_conditions();
        let of = |waiting: &crate::plan::Waiting| format!("{}: {}", waiting.reason, waiting.message);
        let explanation = Explanation {
            evidence: view.evidence(&object),
            conditions: view.conditions_of(&object),
            planned: planned
                .plan
                .actions
                .iter()
                .filter(|(_, action)| action.object == object)
                .map(|(_, action)| format!("{} ({})", action.what, action.why))
                .collect(),
            waiting: planned.report.waiting.iter().chain(&planned.report.warnings).filter(|entry| entry.object == object).map(of).collect(),
            events: Vec::new(),
            object: object.clone(),
        };
        Ok::<_, CliError>((explanation, view.blindness().is_some(), view.find(&object)))
    })??;
    let query = EventQuery { object: Some(object.clone()), limit: EVENTS, ..EventQuery::default() };
    explanation.events = past_events(&station.state, &query).unwrap_or_default();
    explanation.events.sort_by_key(|stored| stored.last_at);
    // What is gone and has a past is explained by that.
    if let Err(Missing { message, known }) = found
        && explanation.events.is_empty()
    {
        return Err(CliError::Usage(format!("{message}; there are {}", among(known))));
    }
    if let Some(daemon) = context.daemon(&station)?
        && let Answer::Done { lines, .. } = daemon
            .ask(&request(Command::Clear { object: object.clone(), look_only: true }), super::ANSWER_WITHIN)
            .map_err(CliError::Daemon)?
    {
        explanation.evidence = lines;
    }
    explanation.evidence.extend(reason_lines(spec, &object));
    context.out.show(args.output.output, &explanation, |_| render::explain::explain(&explanation, Timestamp::now()))?;
    Ok(if blind { Exit::Degraded } else { Exit::Ok })
}

/// What stands beside a failed task as the reason.
fn reason_lines(spec: &Spec, object: &ObjectRef) -> Vec<String> {
    let ObjectRef::Task(task) = object else { return Vec::new() };
    let Some(project) = spec.project(&task.project) else { return Vec::new() };
    let read = queue::read_ended(&project.path, queue::FAILED, [&task.name]).unwrap_or_default();
    let reason = read.into_iter().find_map(|ended| ended.reason).unwrap_or_default();
    reason.lines().enumerate().map(|(at, line)| if at == 0 { format!("reason: {line}") } else { format!("  {line}") }).collect()
}

/// An object by its full name, a session or an account by its bare one, a task as `task ls` shows it.
pub fn object(spec: &Spec, text: &str) -> Result<ObjectRef, CliError> {
    if let Some(name) = SessionName::new(text).ok().filter(|name| spec.sessions.contains_key(name)) {
        return Ok(ObjectRef::Session(name));
    }
    if let Some(name) = AccountName::new(text).ok().filter(|name| spec.account(name).is_some()) {
        return Ok(ObjectRef::Account(name));
    }
    // A task is taken without the ending of its name too.
    let with_ending = TaskName::with_ending(text);
    let refused = match text.parse::<ObjectRef>() {
        Ok(object) => return Ok(object),
        Err(error) => CliError::Usage(error.to_string()),
    };
    if let Ok(object @ ObjectRef::Task(_)) = with_ending.parse() {
        return Ok(object);
    }
    let task = with_ending.parse::<TaskId>().ok().filter(|task| spec.project(&task.project).is_some());
    task.map(ObjectRef::Task).ok_or(refused)
}
