//! What the operator wants. A [`Spec`] exists only if it is valid.
//!
//! # Guarantees
//! Every value of a [`Spec`] has been checked against every rule, `~` and relative paths are resolved, brace ranges are expanded,
//! and defaults are filled in; where each value came from is kept beside it.
//!
//! # Does not
//! Look at the host: whether a directory exists is an observation.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod pool;

pub use pool::{
    Account, AdoptMode, Agent, Failback, PermissionMode, Quota, QuotaSource, Restart, Session, Shared, SocketSpec, Spec, SwapPolicy,
    Thresholds, Tmux,
};
