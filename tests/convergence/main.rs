//! The whole engine on the simulated host: whatever goes wrong, the pool gets where the spec says, and then nothing moves.
//!
//! Each scenario runs once clean; then once for each effect that the clean run performed and each of the five faults (fails before, fails
//! after, crash before, crash after, hang). After a crash a new process starts on the same state. What must hold in the end is one predicate
//! ([`lab::Lab::assert_converged`]): eventually the world matches the spec, and from then on nothing is done, no event is written and no
//! condition flips; no promise was broken on the way (`World::violations`).

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

mod checkpoints;
mod crowd;
#[path = "../support/declared.rs"]
mod declared;
mod faults;
mod lab;
mod people;
mod swaps;
mod tasks;
