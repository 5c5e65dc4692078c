//! Symlinks, their targets, and the merging of real directories: nothing that is not ours is ever lost.
//!
//! # Guarantees
//! - Nothing is overwritten and nothing that holds data is removed. What is removed is our own temporary link, an empty directory that was
//!   replaced by its link, and a source whose content was just compared with its copy, byte by byte.
//! - Nothing outside the home and the shared root is written: both are opened once, and all work goes on relative to these handles without
//!   following a symlink. Their own paths may lead through symlinks.
//! - Every effect looks again at the moment of acting, may be killed at any point, and done again ends in the same state.
//! - A look changes nothing.
//!
//! # Assumes
//! Homes and the shared root lie on file systems with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`; without them nothing is done and
//! [`LinkError::NoSafeRename`] says so. While a directory is merged, no session of that home runs. The calls block; the caller runs them on
//! a thread that may block, and bounds them in time. An effect that is given up by its caller goes on to its end, and does no harm then.
//!
//! # Does not
//! Decide what is to be done with what it finds, or retry.

pub(in crate::host) mod dir;
mod error;
mod link;
mod look;
mod merge;
mod root;
mod stamp;

pub use error::LinkError;
pub use look::{HomeGround, observe_home, observe_link, verify};
pub use root::observe_root;
pub(in crate::host) use stamp::Stamp;

use crate::plan::{Effect, Failure, Outcome};

/// Carries out an effect on the shared root, a link or its target; `None` when it is another module's.
pub fn perform(effect: &Effect) -> Option<Outcome> {
    let result = match effect {
        Effect::InitSharedRoot { root, pool } => root::init(root, *pool),
        Effect::AdoptSharedRoot { root, pool } => root::adopt(root, *pool),
        Effect::CreateTarget { root, target, kind } => root::create_target(root, target, *kind),
        Effect::CreateLink { path, target } => link::create(path, target),
        Effect::RepointLink { path, expect, target } => link::repoint(path, expect, target),
        Effect::MergeDirectory { path, target, quarantine } => merge::merge(path, target, quarantine),
        _ => return None,
    };
    Some(match result {
        Ok(Change::None) => Outcome::Unchanged,
        Ok(Change::Made) => Outcome::Changed,
        Err(stopped) => Outcome::Failed(Failure::from_error(stopped.happened, &stopped.error)),
    })
}

/// Whether an effect had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The world was already so.
    None,
    /// Done.
    Made,
}
