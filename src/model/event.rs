//! What happened, for people and for the notifier.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ObjectRef;

/// How much an event asks of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Part of normal work.
    Normal,
    /// Look at it in working hours.
    Warning,
    /// Somebody must act.
    Critical,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The closed set of event reasons: past tense, CamelCase, stable for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventReason { $($(#[$doc])* $name),+ }

        impl EventReason {
            /// Every reason, for the documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason as programs match it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

reasons! {
    /// A spec was accepted as a new generation.
    SpecAccepted,
    /// A spec was refused; the last good one stays in force.
    SpecRejected,
    /// The state was gone, and a new one was made under the pool's former identity.
    StateRenewed,
    /// The tmux server was started.
    ServerStarted,
    /// The tmux server is gone, with every pane.
    ServerLost,
    /// A shared link, its target or the active link was made.
    LinkCreated,
    /// A link of ours that pointed elsewhere was put right.
    LinkRepaired,
    /// A real directory was merged into the shared root and replaced by its link.
    DirectoryMerged,
    /// An account's home got its onboarding and trust keys.
    HomePrepared,
    /// A session was created.
    SessionStarted,
    /// An agent was started again in its pane.
    SessionRestarted,
    /// An agent process ended.
    SessionExited,
    /// An agent was stopped by us.
    SessionStopped,
    /// A session that existed got our mark.
    SessionAdopted,
    /// A shared root that existed got our marker.
    SharedRootAdopted,
    /// A session lost our mark and was left running.
    SessionReleased,
    /// A session of ours was closed after its removal from the spec.
    SessionPruned,
    /// A session exits too often and is not started again until it is cleared.
    SessionQuarantined,
    /// The agent of a session changed its conversation.
    ConversationChanged,
    /// The account that the pool works under was recorded.
    AccountActivated,
    /// No account has room.
    PoolExhausted,
    /// An account has room again after all were exhausted.
    PoolReleased,
    /// A swap began.
    SwapStarted,
    /// One session was proven on its new account.
    SessionProven,
    /// One session could not be proven.
    SessionUnproven,
    /// A swap turned back.
    SwapTurnedBack,
    /// A swap was finished.
    SwapCommitted,
    /// A swap was undone.
    SwapRolledBack,
    /// A swap was given up before anything was changed.
    SwapAbandoned,
    /// A swap could neither be finished nor undone.
    SwapLatched,
    /// An operator cleared a latch.
    LatchCleared,
    /// An operator suspended something.
    Suspended,
    /// An operator resumed something, or the suspension ended.
    Resumed,
    /// An operator cordoned an account or a session.
    Cordoned,
    /// An operator uncordoned an account or a session.
    Uncordoned,
    /// An action failed.
    ActionFailed,
    /// An action was under way when the process ended; what happened was looked up.
    ActionInterrupted,
    /// The directories of a project's queue were made.
    QueueCreated,
    /// A file in an inbox was refused and put aside with the reason.
    TaskRejected,
    /// A task was claimed for a session.
    TaskClaimed,
    /// The agent's own word shows that it was asked to do the task.
    TaskDelivered,
    /// A task is done.
    TaskDone,
    /// A session was asked once more about a task that its turn left undone.
    TaskFollowedUp,
    /// A session was told to go on with a task in whose turn it was cut off.
    TaskResumed,
    /// An attempt at a task ended without it being done; it is offered again.
    TaskReleased,
    /// A task failed for good and was put aside with the reason.
    TaskFailed,
    /// An operator cancelled a task.
    TaskCancelled,
    /// An operator offered a failed task again.
    TaskRetried,
    /// An operator moved a task to another project.
    TaskMoved,
    /// The file of a task that was claimed is gone.
    TaskVanished,
    /// A checkpoint of a session was taken.
    CheckpointTaken,
    /// A checkpoint could not be read and was passed over.
    CheckpointRefused,
    /// A session was bound to the conversation of a checkpoint.
    CheckpointRestored,
    /// A session waits for a person's answer.
    InputNeeded,
    /// A login ends soon.
    LoginEndsSoon,
    /// All agents of the active account were told that its login is not accepted.
    LoginRefused,
    /// What was old was cleaned away.
    Tidied,
    /// The finished plan broke a safety rule and was not acted on.
    PlanRejected,
}

impl fmt::Display for EventReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it happened, by the wall clock. The order of events is that of their sequence numbers in the store.
    pub at: Timestamp,
    /// What it is about.
    pub object: ObjectRef,
    /// What happened.
    pub reason: EventReason,
    /// How much it asks of the reader.
    pub severity: Severity,
    /// One sentence with the particulars.
    pub message: String,
}
