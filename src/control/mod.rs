//! Reads what is published, sends commands with an id; never touches the host.
