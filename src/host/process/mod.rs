//! Processes: pidfds for death and signals, `/proc` for identity and environment.
//!
//! # Guarantees
//! A process is always meant together with its start time ([`ProcessId`](crate::model::ProcessId)), so that a number that the kernel gave
//! to somebody else is never watched, read or signalled. A signal goes through a pidfd, never to a number. Nothing is found by name.
//!
//! # Assumes
//! Linux 5.3 or newer (`pidfd_open`), and a `/proc` that shows the processes of our own user.
//!
//! # Does not
//! Wait for children of our own: the processes looked at here belong to a tmux server, which collects them.

mod age;
mod death;
mod error;
mod exec;
mod look;
mod pidfd;
mod stat;
mod stop;
mod table;

pub use age::age;
pub use death::{DeathWatch, Exit};
pub use error::ProcessError;
pub use exec::Exec;
pub use look::{ProcessState, arguments, cgroup, descriptor_limit, environment_value, identity, state};
pub use stop::stop;
pub use table::ProcessTable;
