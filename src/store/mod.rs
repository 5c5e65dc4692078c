//! Durable memory: one SQLite file, one writer. Nothing is true until it is committed.
