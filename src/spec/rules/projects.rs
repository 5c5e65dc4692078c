//! Projects: names, paths that lie apart, and the sessions that serve them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Checked, Reported, Rules, paths};
use crate::{
    model::{ProjectName, SessionName},
    spec::{
        brace,
        diagnostic::{Code, quoted},
        document,
        load::FieldPath,
        pool::{Checkpoints, Janitor, Project, Session},
    },
};

/// A lease that ends sooner would take a task from a session that is only slow.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);
/// A checkpoint reads a transcript's end and asks git: not more often than that.
const SHORTEST_EVERY: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);

/// Checks all projects. `sessions` is what the spec declares, if that is sound.
pub(super) fn resolve(
    wanted: &[document::Project],
    sessions: Option<&BTreeMap<SessionName, Session>>,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<Vec<Project>> {
    let mut projects: Vec<Project> = Vec::with_capacity(wanted.len());
    let mut sound = true;
    for (index, project) in wanted.iter().enumerate() {
        match one(project, sessions, &at.item(index), rules) {
            Ok(project) => {
                sound &= check_apart(&project, &projects, &at.item(index), rules).is_ok();
                projects.push(project);
            }
            Err(Reported) => sound = false,
        }
    }
    if sound { Ok(projects) } else { Err(Reported) }
}

fn one(
    wanted: &document::Project,
    sessions: Option<&BTreeMap<SessionName, Session>>,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<Project> {
    let path_at = at.field("path");
    let path = rules.present(&path_at).and_then(|()| paths::resolve(&wanted.path, &path_at, rules));
    let servers = serving(&wanted.sessions, sessions, &at.field("sessions"), rules);
    let timeout = rules.duration(&wanted.timeout, MINUTE, &at.field("timeout"));
    let lease = rules.duration(&wanted.lease, SHORTEST_LEASE, &at.field("lease"));
    let path = path?;
    let (name, name_at) = match &wanted.name {
        Some(name) => (name.clone(), at.field("name")),
        None => (path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), path_at),
    };
    let name = ProjectName::new(name)
        .map_err(|error| rules.refuse(Code::BadName, &name_at, error.to_string(), "give the project a name, for example `name: api`"))?;
    Ok(Project {
        name,
        path,
        priority: wanted.priority,
        sessions: servers?,
        max_in_flight: wanted.max_in_flight,
        completion: wanted.completion,
        attempts: wanted.attempts,
        timeout: timeout?,
        lease: lease?,
    })
}

/// The sessions that a project names, all of which must be declared and take tasks.
fn serving(
    patterns: &[String],
    sessions: Option<&BTreeMap<SessionName, Session>>,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<BTreeSet<SessionName>> {
    let mut names = BTreeSet::new();
    let mut sound = true;
    for (index, pattern) in patterns.iter().enumerate() {
        let at = at.item(index);
        let expanded = match brace::expand(pattern) {
            Ok(expanded) => expanded,
            Err(error) => {
                rules.refuse(Code::BadPattern, &at, format!("{}: {error}", quoted(pattern)), "for example ccl-{0..9}");
                sound = false;
                continue;
            }
        };
        for name in expanded {
            let declared = sessions.map(|sessions| SessionName::new(name.as_str()).ok().and_then(|name| sessions.get(&name)));
            match declared {
                // The sessions themselves are not sound, which was said.
                None => sound = false,
                Some(Some(session)) if session.dispatch => drop(names.insert(session.name.clone())),
                Some(Some(_)) => {
                    let message = format!("the session {} takes no tasks", quoted(&name));
                    rules.refuse(Code::UnknownSession, &at, message, "add `dispatch: true` to its line under `sessions`");
                    sound = false;
                    // One name speaks for its whole pattern.
                    break;
                }
                Some(None) => {
                    let message = format!("no session is called {}", quoted(&name));
                    rules.refuse(Code::UnknownSession, &at, message, "name sessions that are declared under `sessions`");
                    sound = false;
                    break;
                }
            }
        }
    }
    if sound { Ok(names) } else { Err(Reported) }
}

/// Two projects have two names and two directories.
fn check_apart(project: &Project, others: &[Project], at: &FieldPath, rules: &mut Rules<'_>) -> Checked<()> {
    if let Some(other) = others.iter().find(|other| other.path == project.path) {
        let message = format!("{} is registered already, as {}", quoted(&project.path.to_string_lossy()), quoted(other.name.as_str()));
        return Err(rules.refuse(Code::DuplicateProject, &at.field("path"), message, "register each directory once"));
    }
    if others.iter().any(|other| other.name == project.name) {
        let message = format!("two projects are called {}", quoted(project.name.as_str()));
        return Err(rules.refuse(Code::DuplicateProject, at, message, "give one of them another `name`"));
    }
    Ok(())
}

/// Checks how checkpoints are taken.
pub(super) fn checkpoints(wanted: &document::Checkpoints, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Checkpoints> {
    let every = rules.duration(&wanted.every, SHORTEST_EVERY, &at.field("every"));
    let max_age = rules.duration(&wanted.max_age, MINUTE, &at.field("maxAge"));
    Ok(Checkpoints { every: every?, keep: wanted.keep, max_age: max_age? })
}

/// Checks when what is old is cleaned away.
pub(super) fn janitor(wanted: &document::Janitor, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Janitor> {
    let archive_done_after = rules.duration(&wanted.archive_done_after, MINUTE, &at.field("archiveDoneAfter"));
    let stale_marker_after = rules.duration(&wanted.stale_marker_after, MINUTE, &at.field("staleMarkerAfter"));
    Ok(Janitor { archive_done_after: archive_done_after?, stale_marker_after: stale_marker_after? })
}
