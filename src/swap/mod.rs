//! The guarded transition of the pool from one account to another, as a pure machine.
//!
//! A [`SwapRecord`] is the fold of its journal ([`SwapRecord::apply`]). The next step of a swap is a function of the record and the
//! latest facts ([`next()`]). Every step is journaled before ([`SwapEvent::Began`]) and after ([`SwapEvent::Ended`]) it is done, so that
//! after a crash the record and a fresh look at the host are all that is needed.
//!
//! # Guarantees
//! Same record, same facts, same answer. At most [`SwapPolicy::batch`](crate::spec::SwapPolicy) sessions are on the move. The target is
//! committed only after its links were seen right behind the flip.
//!
//! # Does not
//! Act, wait, or read a clock.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod facts;
mod fold;
mod next;
mod price;
mod proof;
mod record;
mod sessions;
#[cfg(test)]
mod tests;

pub use facts::{ActiveLinkState, AgentFact, LinksState, ProofState, SessionFacts, SwapFacts};
pub use fold::{IllegalEvent, ReplayError};
pub use next::{Decision, next};
pub use price::{Price, price};
pub use proof::{Expected, Missing, Proof, Refutation, Witness, prove};
pub use record::{Bound, Move, Pending, Place, Stage, Step, StepResult, SwapCause, SwapEvent, SwapPlan, SwapRecord, SwapVerdict};
