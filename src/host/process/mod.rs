//! Processes: pidfds for death and signals, /proc for identity and environment.

mod exec;

pub use exec::Exec;
