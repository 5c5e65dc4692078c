//! Symlinks, their targets, and the merging of real directories: nothing that is not ours is ever lost.
