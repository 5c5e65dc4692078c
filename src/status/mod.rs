//! Conditions, computed from facts; only the time of their last flip is remembered.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
