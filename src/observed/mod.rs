//! What was seen. A fact carries when and how; not knowing is a value, never a default.
//!
//! # Guarantees
//! Plain values. Absence inside a known fact means "looked and not there"; [`Seen::Unknown`] means "could not look".
//!
//! # Does not
//! Look: that is the host's work. Decide: that is the planner's.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod abreast;
mod checkpoint;
mod facts;
mod queue;
mod screen;
mod seen;

pub use abreast::Abreast;
pub use checkpoint::{
    BadCheckpoint, Checkpoint, CheckpointCause, CheckpointEnd, CheckpointId, CheckpointIdError, CheckpointsView, EndedCheckpoint,
    FoundCheckpoint, GitState, TaskAtHand, ToolAtHand,
};
pub use facts::{
    ActivitySign, ActivitySource, AgentView, Death, HomeView, LinkView, LoginView, Mark, Need, PaneView, RegisterStatus, RegisterView,
    RootView, ServerView, Snapshot, StartReport, TargetView, TmuxView, TranscriptMark, TranscriptView,
};
pub use queue::{FileIdentity, InboxView, Marker, MarkerView, PromptView, QueueView, TaskHeader};
pub use screen::{ScreenView, Shown};
pub use seen::{Fact, Seen, Unseen};
