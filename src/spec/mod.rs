//! What the operator wants. A [`Spec`] exists only if it is valid.
//!
//! # Guarantees
//! Every value of a [`Spec`] has been checked against every rule, `~` and relative paths are resolved, brace ranges are expanded,
//! and defaults are filled in; where each value came from is kept beside it.
//!
//! # The way through
//! [`load()`] takes the texts of a base and its drop-ins and gives a [`Loaded`] or a [`Rejected`] with every mistake in one go.
//! [`render_effective`] prints the whole of a loaded spec, [`schema::schema`] is what editors check, [`reference::render`] the page about
//! its fields, [`Starter`] the first spec of a new user.
//!
//! # Does not
//! Look at the host: whether a directory exists is an observation. Reading the files is `host::specfile`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod brace;
mod diagnostic;
mod document;
mod duration;
mod effective;
#[cfg(test)]
pub(crate) mod fixture;
mod load;
mod origin;
mod pool;
pub mod reference;
mod render;
mod rules;
pub mod schema;
mod starter;

pub use brace::MAX_NAMES;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Place, Related, Severity, SourceText};
pub(crate) use diagnostic::{escaped, nearest, quoted};
pub(crate) use duration::{format as format_duration, parse as parse_duration};
pub use effective::render_effective;
pub use load::{FieldPath, LoadPlace, Loaded, MAX_SOURCE_BYTES, MAX_SOURCES, Rejected, load};
pub(crate) use load::{Value, read_alone};
pub use origin::{Origin, Origins};
pub use pool::{
    Account, AdoptMode, Agent, Checkpoints, Completion, Failback, Janitor, PermissionMode, Project, Quota, QuotaSource, Restart, Session,
    Shared, SocketSpec, Spec, SwapPolicy, Thresholds, Tmux, login_command,
};
pub use rules::{REQUIRED_LINKS, SessionGroup, managed_variable};
pub use starter::Starter;
