//! What an action, a condition or an event is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccountName, LinkName, ProjectName, SessionName, TaskId};

/// One object of the pool. Its text form, `kind/name`, is what `explain` takes and every listing prints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ObjectRef {
    /// The pool as a whole: `pool`.
    Pool,
    /// The tmux server: `server`.
    Server,
    /// The tree that the accounts share: `shared-root`.
    SharedRoot,
    /// The symlink that follows the active account: `active-link`.
    ActiveLink,
    /// What we keep for ourselves: `state-dir`.
    StateDir,
    /// An account and its home: `account/NAME`.
    Account(AccountName),
    /// A shared link of an account's home: `link/ACCOUNT/NAME`.
    Link(AccountName, LinkName),
    /// A session: `session/NAME`.
    Session(SessionName),
    /// A registered project and its queue: `project/NAME`.
    Project(ProjectName),
    /// A task of a project: `task/PROJECT/NAME.md`.
    Task(TaskId),
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool => f.write_str("pool"),
            Self::Server => f.write_str("server"),
            Self::SharedRoot => f.write_str("shared-root"),
            Self::ActiveLink => f.write_str("active-link"),
            Self::StateDir => f.write_str("state-dir"),
            Self::Account(name) => write!(f, "account/{name}"),
            Self::Link(account, link) => write!(f, "link/{account}/{link}"),
            Self::Session(name) => write!(f, "session/{name}"),
            Self::Project(name) => write!(f, "project/{name}"),
            Self::Task(task) => write!(f, "task/{task}"),
        }
    }
}

/// A text that names no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no object; use pool, server, shared-root, active-link, state-dir, account/NAME, link/ACCOUNT/NAME, session/NAME, project/NAME or task/PROJECT/NAME.md"
)]
pub struct ObjectRefError {
    /// The text as it was given.
    pub text: String,
}

impl std::str::FromStr for ObjectRef {
    type Err = ObjectRefError;

    fn from_str(text: &str) -> Result<Self, ObjectRefError> {
        let error = || ObjectRefError { text: text.to_owned() };
        let mut parts = text.splitn(3, '/');
        let object = match (parts.next(), parts.next(), parts.next()) {
            (Some("pool"), None, None) => Self::Pool,
            (Some("server"), None, None) => Self::Server,
            (Some("shared-root"), None, None) => Self::SharedRoot,
            (Some("active-link"), None, None) => Self::ActiveLink,
            (Some("state-dir"), None, None) => Self::StateDir,
            (Some("account"), Some(name), None) => Self::Account(AccountName::new(name).map_err(|_| error())?),
            (Some("session"), Some(name), None) => Self::Session(SessionName::new(name).map_err(|_| error())?),
            (Some("link"), Some(account), Some(link)) => {
                Self::Link(AccountName::new(account).map_err(|_| error())?, LinkName::new(link).map_err(|_| error())?)
            }
            (Some("project"), Some(name), None) => Self::Project(ProjectName::new(name).map_err(|_| error())?),
            (Some("task"), Some(project), Some(name)) => Self::Task(format!("{project}/{name}").parse().map_err(|_| error())?),
            _ => return Err(error()),
        };
        Ok(object)
    }
}

impl TryFrom<String> for ObjectRef {
    type Error = ObjectRefError;
    fn try_from(text: String) -> Result<Self, ObjectRefError> {
        text.parse()
    }
}

impl From<ObjectRef> for String {
    fn from(object: ObjectRef) -> Self {
        object.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        for text in [
            "pool",
            "server",
            "shared-root",
            "active-link",
            "state-dir",
            "account/a",
            "link/a/projects",
            "session/s-1",
            "project/api",
            "task/api/two%20words.md",
        ] {
            let object: ObjectRef = text.parse().expect("an object");
            assert_eq!(object.to_string(), text);
        }
        for bad in [
            "",
            "pool/x",
            "session",
            "session/a/b",
            "account/a.b",
            "link/a",
            "link/a/.claude.json",
            "project/a/b",
            "task/api",
            "task/api/a",
            "task/api/.a.md",
        ] {
            assert!(bad.parse::<ObjectRef>().is_err(), "{bad:?} was accepted");
        }
    }
}
