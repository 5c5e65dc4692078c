//! Reads what is published, sends commands with an id; never touches the host.
//!
//! One JSON object a line over a unix socket: a [`Request`](crate::engine::Request) in, an [`Answer`](crate::engine::Answer) out. The socket is
//! 0600 in a 0700 directory, and the peer's user is checked all the same.

mod client;
mod server;

pub use client::{Client, ClientError};
pub use server::{Server, ServerError};

/// The longest line in either direction, in bytes. A status of 10,000 sessions has about 10 MB.
const MAX_LINE: usize = 64 << 20;
