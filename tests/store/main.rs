//! The store, as its users see it: what it keeps, what it refuses, and what it survives.

mod crash;
mod damage;
mod directory;
mod disk;
mod events;
mod fixture;
mod identity;
mod journal;
mod memory;
mod readings;
mod samples;
#[path = "../support/waiting.rs"]
mod waiting;
