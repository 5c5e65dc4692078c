//! Processes: pidfds for death and signals, /proc for identity and environment.
