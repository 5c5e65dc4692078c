//! Queues: tasks as files, their markers, and what becomes of them.

mod acting;
mod archiving;
mod looking;
mod world;
