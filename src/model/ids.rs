//! Names and identifiers, each its own type so that one cannot be passed where another is meant.

use std::{borrow::Borrow, fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest name that is accepted, in bytes. It keeps session names inside one tmux status line and file names short.
const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than 63 bytes.
    #[error("the name {name:?} has {len} bytes; at most {MAX_NAME} are allowed")]
    TooLong {
        /// The offending text.
        name: String,
        /// Its length in bytes.
        len: usize,
    },
    /// A character is outside `[A-Za-z0-9_-]`, or the first one is not a letter or digit.
    #[error("the name {name:?} may hold only A-Z a-z 0-9 _ - and must begin with a letter or digit; {found:?} is not allowed there")]
    BadCharacter {
        /// The offending text.
        name: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// The text is no file name of a task.
    #[error("{name:?} cannot be a task: {why}")]
    BadTask {
        /// The offending text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The text is no month.
    #[error("{0:?} is no month; one is written 2026-11")]
    BadMonth(String),
    /// The text is a path component that must never be linked, or no plain component at all.
    #[error("{name:?} cannot be a shared link: {why}")]
    BadLink {
        /// The offending text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Checks the alphabet that is safe as a tmux target, a file name and a shell word alike (`facts/tmux.md`, section 1).
fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong { name: name.to_owned(), len: name.len() });
    }
    let bad = name.char_indices().find(|&(at, c)| !(c.is_ascii_alphanumeric() || (at > 0 && (c == '_' || c == '-'))));
    match bad {
        Some((_, found)) => Err(NameError::BadCharacter { name: name.to_owned(), found }),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        // Shared: a pass over a thousand sessions copies each name a dozen times.
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to 63 characters of `[A-Za-z0-9_-]`, the first a letter or digit.
            ///
            /// # Errors
            /// [`NameError`] that names the text and what is wrong with it.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                check_name(&name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a pool; also the default name of its tmux socket and state directory.
    PoolName
);
name_type!(
    /// The name of an account as the operator wrote it; not the login's e-mail address.
    AccountName
);
name_type!(
    /// The name of a session; it is also the name of the tmux session.
    SessionName
);

// So that a map can be asked with a text that may be no name: order and hash are those of the text.
impl Borrow<str> for SessionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

name_type!(
    /// The name of a registered project; by default the last component of its path.
    ProjectName
);

/// The name of an entry of an account home that is a symlink into the shared root, such as `projects`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

impl LinkName {
    /// Files that carry a login or an identity: sharing one logs accounts out or mixes them (`facts/claude-code.md`, section 2).
    pub const NEVER_SHARED: [&'static str; 2] = [".credentials.json", ".claude.json"];

    /// What we keep below the shared root ourselves: its marker, the marker while it is written, and what a merge put aside.
    pub const RESERVED: [&'static str; 3] = [".claude-failover", ".claude-failover.new", ".quarantine"];

    /// Accepts one plain path component that is not in [`Self::NEVER_SHARED`], not in [`Self::RESERVED`] and not the per-home `sessions`
    /// registry.
    ///
    /// # Errors
    /// [`NameError::BadLink`] with the reason.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let why = if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            Some("it must be one plain path component")
        } else if name.len() > 255 || name.chars().any(char::is_control) {
            Some("it must be at most 255 bytes without control characters")
        } else if Self::NEVER_SHARED.contains(&name.as_str()) {
            Some("it holds a login or an identity, which accounts must never share")
        } else if Self::RESERVED.contains(&name.as_str()) {
            Some("it is kept below the shared root by claude-failover itself")
        } else if name == "sessions" {
            Some("it is the register of running processes, which tells the accounts apart")
        } else {
            None
        };
        match why {
            Some(why) => Err(NameError::BadLink { name, why }),
            None => Ok(Self(name)),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the entry is a file (it has an ending, as `history.jsonl`) and not a directory.
    pub fn is_file(&self) -> bool {
        self.0.trim_start_matches('.').contains('.')
    }
}

impl TryFrom<String> for LinkName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The identity of one state directory, made once at random; marks and the shared root's marker carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolId(pub Uuid);

impl PoolId {
    /// The conversation of the `incarnation`-th fresh start of `session`.
    ///
    /// A name-based UUID (RFC 9562, version 5): the same intent gives the same id, so a crash between deciding and recording
    /// cannot start a second conversation.
    pub fn conversation(self, session: &SessionName, incarnation: u32) -> ConversationId {
        ConversationId(Uuid::new_v5(&self.0, format!("{session}/{incarnation}").as_bytes()))
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one conversation of the agent: what `--session-id` and `--resume` take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationId(pub Uuid);

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process number of the kernel. It says who only together with a start time: see [`ProcessId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One process, safe against the reuse of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ProcessId {
    /// The process number.
    pub pid: Pid,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
    pub started: u64,
}

/// A tmux pane id, such as `%5`: unique for the life of a server and never matched by prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct PaneId(pub String);

impl fmt::Display for PaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tmux session id, such as `$3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TmuxSessionId(pub String);

impl fmt::Display for TmuxSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts the accepted changes of the effective spec, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers the swaps of one state directory, from 1. It is the fence that every step of a swap carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SwapId(pub u64);

impl fmt::Display for SwapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of the canonical effective spec, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SpecDigest(pub String);

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first 12 hexadecimal digits of SHA-256 over what a running agent cannot change without a restart: command, permission
/// mode, environment and start directory. Cosmetic fields and the account are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StartDigest(pub String);

impl fmt::Display for StartDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_tmux_or_a_shell_would_change_are_refused() {
        for bad in ["", "-a", "_a", "a.b", "a:b", "a b", "a\nb", "é", &"x".repeat(64)] {
            assert!(SessionName::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "ccl-0", "A_b-9", &"x".repeat(63)] {
            assert!(SessionName::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn logins_and_the_register_are_never_links() {
        for bad in ["", ".", "..", "a/b", ".credentials.json", ".claude.json", "sessions", "a\0b"] {
            assert!(LinkName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(LinkName::new("history.jsonl").expect("a plain name").is_file());
        assert!(!LinkName::new("file-history").expect("a plain name").is_file());
    }

    #[test]
    fn what_we_keep_below_the_shared_root_is_no_link() {
        for bad in LinkName::RESERVED {
            assert!(LinkName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(LinkName::new(".quarantined").is_ok());
    }

    #[test]
    fn the_same_intent_gives_the_same_conversation() {
        let pool = PoolId(Uuid::from_u128(7));
        let name = SessionName::new("a").expect("valid");
        assert_eq!(pool.conversation(&name, 1), pool.conversation(&name, 1));
        assert_ne!(pool.conversation(&name, 1), pool.conversation(&name, 2));
    }
}
