//! Observe, plan, lint, execute, record, publish: in that order, and nowhere else.
