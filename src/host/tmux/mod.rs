//! The tmux server, through one control-mode connection, with a spawned client of the same semantics as the fallback.
