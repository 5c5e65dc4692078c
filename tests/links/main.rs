//! Links, merges and watches on a real file system: nothing that is not ours is ever lost.

mod again;
mod killed;
mod linking;
mod looking;
mod merging;
mod mounted;
mod racing;
mod random;
mod watching;
mod world;
