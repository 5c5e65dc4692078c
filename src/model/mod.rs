//! The words of the project: names, instants, percentages, objects, conditions, events.
//!
//! # Guarantees
//! Every type here is a plain value: it holds data that is valid by construction and does nothing. If two modules must
//! agree on a word, that word is a type in this module.
//!
//! # Does not
//! Read a clock, a file, the environment or a random source.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod activity;
mod chain;
mod condition;
mod digest;
mod event;
mod ids;
mod month;
mod object;
mod percent;
mod schema;
mod shell;
mod task;
mod time;
mod usage;

pub use activity::Activity;
pub use chain::{error_chain, error_line};
pub use condition::{Condition, ConditionKind, Truth};
pub use digest::{sha256_hex, share_of};
pub use event::{Event, EventReason, Severity};
pub use ids::{
    AccountName, ConversationId, Generation, LinkName, NameError, PaneId, Pid, PoolId, PoolName, ProcessId, ProjectName, SessionName,
    SpecDigest, StartDigest, SwapId, TmuxSessionId,
};
pub use month::Month;
pub use object::{ObjectRef, ObjectRefError};
pub use percent::{Percent, PercentError};
pub use shell::{is_printable, shell_word};
pub(crate) use task::is_plain;
pub use task::{ClaimId, TaskId, TaskName};
pub use time::{Monotonic, Now, doubled, later};
pub use usage::{AccountUsage, PollOutcome, ReadingSource, WindowKind, WindowReading};
