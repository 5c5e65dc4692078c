//! What is executed in a pane.

use std::{collections::BTreeMap, path::PathBuf};

/// A program with everything that its start needs; no shell is involved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Absolute path of a program that was seen to exist: tmux reports success for one that does not (facts/tmux.md, section 1).
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Its start directory, which was seen to exist for the same reason.
    pub workdir: PathBuf,
    /// Variables that are set for it, on top of the server's scrubbed environment.
    pub environment: BTreeMap<String, String>,
}
