//! The tmux and process layers against a real, private tmux server. Each test has its own socket in its own directory, and leaves no process
//! behind, also when it fails.

mod clients;
mod crowd;
mod environment;
mod faults;
mod life;
mod look;
mod playground;
mod start;
mod typing;
