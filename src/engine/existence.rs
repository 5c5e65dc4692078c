//! Whether an object that somebody asks about is one of this pool.

use std::collections::BTreeSet;

use super::View;
use crate::{
    host::Host,
    model::{ObjectRef, SessionName},
    observed::Seen,
};

/// An object that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is not there, in words.
    pub message: String,
    /// What there is of its kind.
    pub known: Vec<String>,
}

impl<H: Host> View<H> {
    /// What speaks against an object of that name. What could not be looked at is not said to be missing.
    ///
    /// # Errors
    /// [`Missing`] when neither the spec, nor the look, nor the memory knows it.
    pub fn find(&self, object: &ObjectRef) -> Result<(), Missing> {
        let missing = |message: String, known: Vec<String>| Err(Missing { message, known });
        match object {
            ObjectRef::Account(name) | ObjectRef::Link(name, _) if self.spec.account(name).is_none() => missing(
                format!("the spec declares no account {name}"),
                self.spec.accounts.iter().map(|account| account.name.to_string()).collect(),
            ),
            ObjectRef::Link(_, link) if !self.spec.shared.links.contains(link) => missing(
                format!("the spec declares no shared link {link}"),
                self.spec.shared.links.iter().map(ToString::to_string).collect(),
            ),
            ObjectRef::Session(name) if !self.knows_session(name) => {
                missing(format!("the spec declares no session {name}"), self.spec.sessions.keys().map(ToString::to_string).collect())
            }
            ObjectRef::Project(name) => match self.spec.project(name) {
                Some(_) => Ok(()),
                None => missing(format!("the spec registers no project {name}"), self.projects()),
            },
            ObjectRef::Task(task) => {
                if self.spec.project(&task.project).is_none() {
                    return missing(format!("the spec registers no project {}", task.project), self.projects());
                }
                let Some(Seen::Known(_)) = self.seen.queues.get(&task.project) else { return Ok(()) };
                let tasks: BTreeSet<_> = self.tasks(true).into_iter().map(|detail| detail.row.task).collect();
                if tasks.contains(task) || self.memory.tasks.contains_key(task) {
                    return Ok(());
                }
                let of_project = tasks.iter().filter(|other| other.project == task.project);
                missing(format!("{task} is in no queue of this pool"), of_project.map(ToString::to_string).collect())
            }
            _ => Ok(()),
        }
    }

    fn knows_session(&self, name: &SessionName) -> bool {
        let shown = self.seen.tmux.value().is_none_or(|tmux| tmux.panes.contains_key(name.as_str()));
        shown || self.spec.sessions.contains_key(name) || self.memory.sessions.contains_key(name)
    }

    fn projects(&self) -> Vec<String> {
        self.spec.projects.iter().map(|project| project.name.to_string()).collect()
    }
}
