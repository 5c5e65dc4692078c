//! Observe, plan, lint, execute, record, publish: in that order, and nowhere else.

mod command;

pub use command::{Answer, Command, Request};
