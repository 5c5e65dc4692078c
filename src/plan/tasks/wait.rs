//! Why a task waits, as a value: what listings show of each one.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{SessionName, TaskName};

/// What a task in an inbox waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TaskWait {
    /// Nothing at all is given out now.
    Held {
        /// Why, as one CamelCase word.
        hold: String,
        /// Why, in one sentence.
        message: String,
        /// Until when, if that is known.
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    /// An attempt at it ended, and it rests before the next one.
    Paused {
        /// Until when.
        #[schemars(with = "String", extend("format" = "date-time"))]
        until: Timestamp,
    },
    /// What was to be done about it failed, and is tried again.
    BackingOff {
        /// When.
        #[schemars(with = "String", extend("format" = "date-time"))]
        until: Timestamp,
        /// What failed.
        message: String,
    },
    /// It comes after another task.
    After {
        /// Which.
        task: TaskName,
        /// What is known of that one.
        found: Predecessor,
    },
    /// It is for a session that the spec does not declare.
    NoSuchSession {
        /// Which.
        session: SessionName,
    },
    /// It is for a session that does not serve its project.
    NotServing {
        /// Which.
        session: SessionName,
    },
    /// No session serves its project.
    NoSession,
    /// As many tasks of its project are under way as may be.
    MaxInFlight {
        /// How many that are.
        limit: usize,
    },
    /// Room came back a short while ago, and tasks are let out slowly.
    ReleasedSlowly {
        /// How many come before it.
        behind: usize,
        /// When the next ones are.
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    /// It is for one session, which is not free.
    SessionNotFree {
        /// Which.
        session: SessionName,
        /// What it is, such as `working`.
        is: String,
        /// Until when, if that is known.
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    /// No session that may do it is free.
    NoIdleSession {
        /// How many tasks come before it.
        behind: usize,
        /// What the sessions do, such as `2 working`.
        sessions: Vec<String>,
        /// When one that is left out is tried again, if nothing else is awaited.
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        until: Option<Timestamp>,
    },
    /// It had all its attempts, and is put aside in a moment.
    UsedUp,
    /// It is given to a session in a moment.
    Next {
        /// Which.
        session: SessionName,
    },
}

/// What is known of the task that another one comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Predecessor {
    /// It stands in no place of the queue: whoever waits for it waits for ever.
    Nowhere,
    /// It failed.
    Failed,
    /// It is in the inbox and nobody has it.
    Waiting,
    /// A session has it.
    UnderWay,
}

impl fmt::Display for TaskWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = |count: &usize| match count {
            0 => String::new(),
            1 => "behind 1 other, ".to_owned(),
            more => format!("behind {more} others, "),
        };
        match self {
            Self::Held { message, until: Some(until), .. } => write!(f, "until {until:.0}: {message}"),
            Self::Held { message, until: None, .. } => f.write_str(message),
            Self::Paused { until } => write!(f, "its last attempt ended; it is offered again at {until:.0}"),
            Self::BackingOff { until, message } => write!(f, "tried again at {until:.0}; the last try failed: {message}"),
            Self::After { task, found } => write!(f, "after {task}, {found}"),
            Self::NoSuchSession { session } => {
                write!(f, "for session {session}, which the spec does not declare; declare it with `dispatch: true`, or change the task")
            }
            Self::NotServing { session } => write!(
                f,
                "for session {session}, which does not serve its project; give that session `dispatch: true` and a fitting workdir, or change the task"
            ),
            Self::NoSession => f.write_str("no session serves the project; declare one with `dispatch: true`"),
            Self::MaxInFlight { limit } => write!(f, "as many tasks of the project are under way as maxInFlight allows ({limit})"),
            Self::ReleasedSlowly { behind: count, until } => {
                write!(f, "{}room came back a short while ago, and tasks are let out slowly", behind(count))?;
                until.map_or(Ok(()), |until| write!(f, "; more at {until:.0}"))
            }
            Self::SessionNotFree { session, is, until } => {
                write!(f, "for session {session}, which is {is}")?;
                until.map_or(Ok(()), |until| write!(f, "; it is tried again at {until:.0}"))
            }
            Self::NoIdleSession { behind: count, sessions, until } => {
                write!(f, "{}until a session that serves it is idle ({})", behind(count), sessions.join(", "))?;
                until.map_or(Ok(()), |until| write!(f, "; the next one is tried again at {until:.0}"))
            }
            Self::UsedUp => f.write_str("it had all its attempts, and is put into failed/"),
            Self::Next { session } => write!(f, "it is given to session {session}"),
        }
    }
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "which is nowhere: not in the inbox, not in done/ and not in failed/",
            Self::Failed => "which failed",
            Self::Waiting => "which waits itself",
            Self::UnderWay => "which is under way",
        })
    }
}
