//! What agents tell us: hooks and status lines send one datagram each to a socket of the daemon.
//!
//! # Guarantees
//! The sending side never blocks, never fails loudly and never changes what the agent does. What a hook says is not lost while nobody
//! listens or while the socket is full: it goes to a bounded spool and is handed out later, at least once.
//!
//! # Assumes
//! Socket and spool lie in directories that only our user can write to: whoever can send here is the user whose agents run.
//!
//! # Does not
//! Decide what a message means. Messages may come twice, late, or out of order between socket and spool: each carries its own time and
//! the process that it is about, and a fresh look counts more than any of them.

pub mod at_work;
mod call;
mod error;
mod message;
mod operator_line;
mod origin;
pub mod pool_line;
mod repeats;
mod socket;
mod spool;
pub mod status_file;
mod status_line;
#[cfg(test)]
mod tests;

pub use call::{Delivery, deliver, run_hook, run_statusline};
pub use error::IntakeError;
pub use message::{Kind, MESSAGE_LIMIT, Message};
pub use origin::Origin;
pub use socket::Intake;
