//! `task`: put tasks into queues, see how they stand, and have a say about single ones.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    path::Path,
};

use jiff::Timestamp;
use serde::Serialize;

use super::{among, block_on, operate::ask, request};
use crate::{
    cli::{
        CliError, Context, Exit,
        args::{OutputArgs, TaskAddArgs, TaskArgs, TaskCancelArgs, TaskCommand, TaskListArgs, TaskMoveArgs, TaskShowArgs},
        render,
    },
    engine::{Answer, Command},
    host::queue::{self, EndedTask, QueueError},
    model::{ObjectRef, ProjectName, SessionName, TaskId, TaskName},
    spec::{Project, Spec},
    status::{TaskDetail, TaskState},
    store::{EventQuery, StoredEvent, past_events},
};

/// The largest task that is taken in, in bytes; the dispatcher takes no larger one.
const MAX_TASK: u64 = queue::MAX_TASK;
/// How long a daemon may take to answer.
const LIST_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// How many events of a task are shown.
const EVENTS: u32 = 50;

/// A task with what happened to it: what became of its attempts stands there also when it is done and forgotten.
#[derive(Debug, Serialize)]
struct Story {
    #[serde(flatten)]
    detail: TaskDetail,
    events: Vec<StoredEvent>,
}

/// Runs one of the verbs.
pub fn run(context: &Context, args: &TaskArgs) -> Result<Exit, CliError> {
    match &args.command {
        TaskCommand::Add(args) => add(context, args),
        TaskCommand::Ls(args) => list(context, args),
        TaskCommand::Show(args) => show(context, args),
        TaskCommand::Retry(args) => order(context, &args.task, args.output, |task| Command::RetryTask { task }),
        TaskCommand::Cancel(args) => cancel(context, args),
        TaskCommand::Mv(args) => move_to(context, args),
    }
}

/// Dropping a file into an inbox needs no daemon and no lock: it is what any script does.
fn add(context: &Context, args: &TaskAddArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let project = project(spec, &args.project)?;
    let body = match (&args.text, args.file.as_deref()) {
        (Some(text), _) => format!("{text}\n"),
        (None, Some(file)) if file != Path::new("-") => {
            let failed = |source| CliError::File { what: "read", path: file.to_owned(), source };
            read_bounded(fs::File::open(file).map_err(failed)?).map_err(failed)?
        }
        (None, _) => {
            let failed = |source| CliError::File { what: "read", path: "/dev/stdin".into(), source };
            read_bounded(io::stdin().lock()).map_err(failed)?
        }
    };
    let text = with_header(&header(spec, project, args)?, &body)?;
    let name = match (&args.name, args.file.as_deref().and_then(Path::file_name)) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) if file != "-" => file.to_string_lossy().into_owned(),
        (None, _) => format!("task-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S-%3f")),
    };
    let name = queue::add(&project.path, &name, &text).map_err(|error| match error {
        QueueError::Name(error) => CliError::Usage(format!("{error}; give it a plain one, such as `--name fix-login`")),
        error => CliError::Queue(error),
    })?;
    let task = TaskId { project: project.name.clone(), name };
    context.out.show(args.output.output, &task, |_| format!("{task}\n"))?;
    Ok(Exit::Ok)
}

fn read_bounded(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_TASK + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TASK {
        return Err(io::Error::other(format!("a task may have {MAX_TASK} bytes at most; put what is long into a file and name it")));
    }
    Ok(text)
}

/// The name of a task as listings show it, with or without its ending.
fn named(text: &str) -> Result<TaskName, CliError> {
    let name = TaskName::try_from(TaskName::with_ending(text));
    name.map_err(|error| CliError::Usage(format!("{error}; write NAME.md, as `task ls` shows it")))
}

/// What the options say, as lines of front matter.
fn header(spec: &Spec, project: &Project, args: &TaskAddArgs) -> Result<String, CliError> {
    let mut lines = String::new();
    // Writing to a `String` cannot fail.
    if let Some(priority) = args.priority {
        let _ = writeln!(lines, "priority: {priority}");
    }
    if let Some(session) = &args.session {
        let session = SessionName::new(session.as_str()).map_err(|error| CliError::Usage(error.to_string()))?;
        if !spec.sessions.get(&session).is_some_and(|session| spec.serves(session, project)) {
            return Err(not_serving(spec, project, &session));
        }
        let _ = writeln!(lines, "session: {session}");
    }
    if !args.after.is_empty() {
        let _ = writeln!(lines, "after:");
        for name in &args.after {
            // A JSON text is a YAML text (YAML 1.2, section 1.3).
            let name = serde_json::to_string(named(name)?.as_str()).map_err(|error| CliError::Internal(error.to_string()))?;
            let _ = writeln!(lines, "  - {name}");
        }
    }
    if let Some(timeout) = &args.timeout {
        let _ = writeln!(lines, "timeout: {timeout}");
    }
    if let Some(attempts) = args.attempts {
        let _ = writeln!(lines, "attempts: {attempts}");
    }
    Ok(lines)
}

/// Why a session cannot have tasks of a project, with those that can.
fn not_serving(spec: &Spec, project: &Project, session: &SessionName) -> CliError {
    let why = match spec.sessions.get(session) {
        None => format!("the spec declares no session {session}"),
        Some(declared) if !declared.dispatch => format!("session {session} takes no tasks"),
        Some(_) => format!("session {session} does not serve project {}", project.name),
    };
    let serving: Vec<_> = spec.sessions.values().filter(|other| spec.serves(other, project)).map(|other| other.name.to_string()).collect();
    CliError::Usage(if serving.is_empty() {
        format!("{why}, and none serves project {}; declare one with `dispatch: true`", project.name)
    } else {
        format!("{why}; project {} is served by {}", project.name, among(serving))
    })
}

fn with_header(header: &str, body: &str) -> Result<String, CliError> {
    if header.is_empty() {
        return Ok(body.to_owned());
    }
    if body.starts_with("---") {
        return Err(CliError::Usage("the task has front matter of its own; write the options there".to_owned()));
    }
    Ok(format!("---\n{header}---\n{body}"))
}

fn list(context: &Context, args: &TaskListArgs) -> Result<Exit, CliError> {
    let only = args.project.as_deref();
    let spec = context.spec_in_force()?.loaded.spec;
    let only = only.map(|name| project(&spec, name)).transpose()?.map(|project| project.name.clone());
    let (tasks, exit) = tasks(context, &spec, args.all)?;
    let tasks: Vec<_> = tasks.into_iter().map(|task| task.row).collect();
    let tasks: Vec<_> = tasks.into_iter().filter(|row| only.as_ref().is_none_or(|only| row.task.project == *only)).collect();
    context.out.show(args.output.output, &tasks, |wide| render::task::list(&tasks, Timestamp::now(), wide))?;
    Ok(exit)
}

fn show(context: &Context, args: &TaskShowArgs) -> Result<Exit, CliError> {
    let task = parse(&args.task)?;
    let spec = context.spec_in_force()?.loaded.spec;
    let (tasks, exit) = tasks(context, &spec, true)?;
    let detail = tasks.into_iter().find(|detail| detail.row.task == task);
    let detail =
        detail.ok_or_else(|| CliError::Refused(format!("{task} is in no queue of this pool; see `claude-failover task ls --all`")))?;
    let station = context.station(&spec.pool)?;
    let query = EventQuery { object: Some(ObjectRef::Task(task)), limit: EVENTS, ..EventQuery::default() };
    // The history may be gone; what is known of the task is shown all the same.
    let events = past_events(&station.state, &query).unwrap_or_default();
    let story = Story { detail, events };
    let now = Timestamp::now();
    context.out.show(args.output.output, &story, |_| {
        let mut text = render::task::detail(&story.detail, now);
        if !story.events.is_empty() {
            text.push('\n');
            text.push_str(&render::events::events(&story.events, now));
        }
        text
    })?;
    Ok(exit)
}

fn cancel(context: &Context, args: &TaskCancelArgs) -> Result<Exit, CliError> {
    let reason = args.reason.clone();
    order(context, &args.task, args.output, |task| Command::CancelTask { task, reason })
}

fn move_to(context: &Context, args: &TaskMoveArgs) -> Result<Exit, CliError> {
    let to = ProjectName::new(args.project.as_str()).map_err(|error| CliError::Usage(error.to_string()))?;
    order(context, &args.task, args.output, |task| Command::MoveTask { task, to })
}

fn order(context: &Context, task: &str, output: OutputArgs, command: impl FnOnce(TaskId) -> Command) -> Result<Exit, CliError> {
    match ask(context, context.spec_in_force()?, command(parse(task)?))? {
        Answer::Refused { message } => Err(CliError::Refused(message)),
        answer => {
            context.out.show(output.output, &answer, |_| match &answer {
                Answer::Done { lines, .. } => lines.iter().fold(String::new(), |text, line| text + &render::escape(line) + "\n"),
                _ => String::new(),
            })?;
            Ok(Exit::Ok)
        }
    }
}

/// The tasks; of those that are over, with what stands in their files.
fn tasks(context: &Context, spec: &Spec, all: bool) -> Result<(Vec<TaskDetail>, Exit), CliError> {
    let (mut tasks, exit) = seen_tasks(context, spec, all)?;
    for (state, directory) in [(TaskState::Done, queue::DONE), (TaskState::Failed, queue::FAILED)] {
        for project in &spec.projects {
            let of = |detail: &&mut TaskDetail| detail.row.state == state && detail.row.task.project == project.name;
            let mut over: Vec<_> = tasks.iter_mut().filter(of).collect();
            let names: Vec<_> = over.iter().map(|detail| detail.row.task.name.clone()).collect();
            // A file that cannot be read takes nothing from what is known without it.
            let read = if names.is_empty() { Vec::new() } else { queue::read_ended(&project.path, directory, &names).unwrap_or_default() };
            for (detail, ended) in over.iter_mut().zip(read) {
                fill(detail, ended);
            }
        }
    }
    Ok((tasks, exit))
}

/// Adds what stands in a task's file and beside it.
fn fill(detail: &mut TaskDetail, ended: EndedTask) {
    let row = &mut detail.row;
    if let Some(header) = ended.header {
        row.title = header.title;
        row.priority = header.priority.unwrap_or(row.priority);
        row.attempts = header.attempts.unwrap_or(row.attempts);
    }
    if let Some(reason) = ended.reason.filter(|_| row.state == TaskState::Failed) {
        row.why = reason.lines().next().map(ToOwned::to_owned);
        detail.reason = Some(reason);
    }
}

/// From the daemon or from a look of our own. While the memory cannot be used they are what the files show, and that is said.
fn seen_tasks(context: &Context, spec: &Spec, all: bool) -> Result<(Vec<TaskDetail>, Exit), CliError> {
    let station = context.station(&spec.pool)?;
    if let Some(daemon) = context.daemon(&station)? {
        return match daemon.ask(&request(Command::Tasks { all }), LIST_WITHIN).map_err(CliError::Daemon)? {
            Answer::Tasks { tasks, blind } => {
                if let Some(why) = &blind {
                    context.out.tell(&format!("{why}\nwhat only the memory tells may be missing (see docs/recovery.md)"));
                }
                Ok((tasks, if blind.is_some() { Exit::Degraded } else { Exit::Ok }))
            }
            Answer::Refused { message } => Err(CliError::Refused(message)),
            Answer::Status(_) | Answer::Planned(_) | Answer::Done { .. } => {
                Err(CliError::Internal("the answer is no list of tasks".to_owned()))
            }
        };
    }
    context.out.tell("no daemon runs for this pool; this is what is seen now");
    block_on(async {
        let mut view = context.view(spec, &station)?;
        let _ = view.preview().await;
        Ok((view.tasks(all), if view.blindness().is_some() { Exit::Degraded } else { Exit::Ok }))
    })?
}

fn project<'a>(spec: &'a Spec, text: &str) -> Result<&'a Project, CliError> {
    let known = || among(spec.projects.iter().map(|project| project.name.to_string()));
    ProjectName::new(text).ok().and_then(|name| spec.project(&name)).ok_or_else(|| {
        CliError::Usage(if spec.projects.is_empty() {
            "the spec registers no project; add one under `projects`".to_owned()
        } else {
            format!("the spec registers no project {text:?}; there are {}", known())
        })
    })
}

/// A task as listings show it, with or without the ending of its name; or as events do, `task/PROJECT/NAME.md`.
fn parse(text: &str) -> Result<TaskId, CliError> {
    // A project may be called `task`; only what names a project besides begins with the kind.
    let id = text.strip_prefix("task/").filter(|rest| rest.contains('/')).unwrap_or(text);
    let task = TaskId::try_from(TaskName::with_ending(id));
    task.map_err(|error| CliError::Usage(format!("{error}; write PROJECT/NAME.md, as `task ls` shows it")))
}
