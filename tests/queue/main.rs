//! Queues: tasks as files, their markers, and what becomes of them.

mod acting;
#[path = "../links/again.rs"]
mod again;
mod archiving;
mod asides;
#[path = "../support/declared.rs"]
mod declared;
mod killed;
mod looking;
mod mounted;
mod waking;
mod world;
