//! The tmux server, through one control-mode connection, with a spawned client of the same semantics as the fallback.
//!
//! # Guarantees
//! - Every call has a deadline. An answer is believed only with its marker, which names the server: a client of a hung server can end with
//!   status 0 and no output, and that is no empty list (`facts/crates-and-reliability.md`, section 13).
//! - Nothing without our mark is changed. Each change of a session is decided and done in one step of the server (`if-shell -F`), so nothing
//!   can come between the check and the act. Sessions and panes are addressed by id, or by `=name`.
//! - The server survives us: how a client ends decides whether tmux lives on, see `control.rs`. No control client of ours survives us for
//!   longer than until the next of us: see `former.rs`.
//! - No server is ever started by accident (`-N`), and the one that we start lives outside our cgroup and outlives us.
//! - Text from panes, titles and other people's names is data: it is never part of a format or of a command.
//! - Nothing is typed into a pane that is dead (tmux 3.3a would crash with every session), whose screen has changed since it was looked at, or in
//!   which a person reads back.
//!
//! # Assumes
//! tmux 3.2 or newer (`new-session -e`, `-N`, `attach-session -f`); 3.6 or newer is better (`facts/tmux.md`, section 10). Whoever can open
//! the socket is the user: tmux knows no finer trust.
//!
//! # Does not
//! Know what a screen means, decide, or repeat an effect that failed.

mod ahead;
mod breaker;
mod check;
mod client;
mod control;
mod error;
mod format;
mod former;
mod launch;
mod lines;
mod mark;
mod op;
mod perform;
mod quote;
mod script;
mod server;
mod socket;
mod start;
mod survey;
mod verdict;
mod wire;

pub use check::ServerCheck;
pub use error::TmuxError;
pub use former::Orphan;
pub use launch::{Launcher, Surroundings};
pub use op::TmuxOp;
pub use server::{PANE_RESERVE, TmuxConfig, TmuxServer};
pub use socket::{RuntimeDirectory, Socket};
pub use start::config_file;
pub use survey::PaneScreen;

/// The session that our control-mode connection is attached to. Its first character keeps it apart from every session of a spec.
const ANCHOR: &str = "_claude-failover";
