//! What stops a pass. A failed effect does not: it is an outcome, and the loop goes on.

use crate::{
    store::StoreError,
    swap::{IllegalEvent, ReplayError},
};

/// Why the engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing may be done that cannot be recorded first.
    #[error("cannot {what}; nothing further is done until it can be recorded")]
    Store {
        /// What was to be recorded.
        what: &'static str,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// The journal of the open swap does not fold: somebody else wrote it, or it is damaged.
    #[error("the journal of the open swap does not make sense; nothing is done until it is looked into (see docs/recovery.md)")]
    Journal(#[source] ReplayError),
    /// An answer of the swap machine cannot stand in the journal: our bug.
    #[error("a step of the swap was refused by its own record; nothing further is done (please report this)")]
    Step(#[source] IllegalEvent),
}

impl EngineError {
    /// For `map_err`.
    pub fn store(what: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { what, source }
    }
}
