//! A simulated host that behaves like the real one, failures included.
