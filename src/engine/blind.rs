//! Looking on while the memory cannot be read or written.
//!
//! # Guarantees
//! Nothing is planned and nothing is done: without the memory nobody can tell what is ours, and where a swap stood. What can be seen is
//! seen, published and answered.
//!
//! # Does not
//! Mend the state: that is a person's, and whoever runs this tries it again.

use std::time::Duration;

use super::{Answer, Asked, Channels, Command, EngineError, Signal, View, Witness};
use crate::{
    host::Host,
    model::{ObjectRef, PoolId, error_line},
    observed::Snapshot,
    plan::{Memory, Planned, Waiting},
    spec::Spec,
    status::STATE_UNREADABLE,
    store::StoreError,
};

/// How long a look lasts before the state is tried again.
pub(super) const STAND_BY: Duration = Duration::from_secs(5);

/// Why watching came to a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// It is time to try the state again.
    Again,
    /// It was told to stop.
    Stopped,
}

impl EngineError {
    /// Whether the pool can be watched all the same: its memory is in the way, and not who we are.
    pub const fn leaves_sight(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.leaves_sight(),
            Self::Journal(_) => true,
            Self::Step(_) => false,
        }
    }
}

impl StoreError {
    /// The same for the state itself.
    pub const fn leaves_sight(&self) -> bool {
        match self {
            Self::Newer { .. }
            | Self::Older { .. }
            | Self::Corrupt { .. }
            | Self::Full { .. }
            | Self::Busy { .. }
            | Self::ReadOnly { .. }
            | Self::Sqlite { .. }
            | Self::Io { .. }
            | Self::HistoryOff { .. } => true,
            Self::Missing { .. }
            | Self::NotADirectory { .. }
            | Self::NotPrivate { .. }
            | Self::Foreign { .. }
            | Self::Locked { .. }
            | Self::LockReplaced { .. }
            | Self::NoSuchIntent(_)
            | Self::SwapOpen { .. }
            | Self::NoSwapOpen => false,
        }
    }
}

/// That the memory cannot be used, and why.
pub fn unusable(error: &dyn std::error::Error) -> String {
    format!("the pool's memory cannot be used: {}", error_line(error))
}

impl<H: Host> View<H> {
    /// A view without a memory. `why` is [`unusable`].
    pub fn blind(host: H, spec: Spec, why: String, seen: Snapshot) -> Self {
        let memory = Memory::new(PoolId(uuid::Uuid::nil()));
        Self { blind: Some(why), ..Self::new(host, spec, memory, seen) }
    }

    /// Why the memory cannot be used, if it cannot.
    pub fn blindness(&self) -> Option<&str> {
        self.blind.as_deref()
    }

    /// Gives the host back.
    pub fn into_host(self) -> H {
        self.host
    }

    /// The plan while the memory cannot be used: none.
    pub(super) fn plan_blind(why: &str) -> Planned {
        let message = format!("{why}; nothing is done, sessions run on (see docs/recovery.md)");
        let mut planned = Planned::default();
        planned.report.waiting.push(Waiting { object: ObjectRef::Pool, reason: STATE_UNREADABLE.to_owned(), message });
        planned
    }

    /// Looks, publishes, and answers who asks, for a while.
    pub async fn watch(&mut self, channels: &mut Channels, witness: &mut impl Witness) -> Watched {
        let _ = self.preview().await;
        self.refresh_conditions();
        if !channels.status.is_closed() {
            channels.status.send_replace(Some(self.status()));
        }
        witness.ready();
        witness.progress("WATCHING ONLY: the state cannot be used");
        let until = tokio::time::Instant::now() + STAND_BY;
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: a message is taken only when the arm is chosen (tokio, `mpsc::Receiver::recv`).
                signal = channels.signals.recv() => match signal {
                    Some(Signal::Stop) | None => return Watched::Stopped,
                    Some(Signal::SpecChanged | Signal::Reconcile) => return Watched::Again,
                },
                Some(asked) = channels.commands.recv() => self.answer_blind(asked),
                // Cancel-safe: nothing is lost by waiting anew.
                () = tokio::time::sleep_until(until) => return Watched::Again,
            }
        }
    }

    fn answer_blind(&self, (request, reply): Asked) {
        let why = self.blind.clone().unwrap_or_default();
        let answer = match &request.command {
            Command::Status => Answer::Status(Box::new(self.status())),
            Command::Tasks { all } => Answer::Tasks { tasks: self.tasks(*all), blind: self.blind.clone() },
            Command::Plan => Answer::Planned(Box::new(self.planned.clone())),
            Command::Clear { object, look_only: true } => Answer::Done { lines: self.evidence(object), changed: false, degraded: true },
            _ => Answer::Refused { message: format!("{why}; nothing is done until it can be used again (see docs/recovery.md)") },
        };
        // The asker may have gone.
        let _ = reply.send(answer);
    }
}
