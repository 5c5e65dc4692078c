//! Errors with all that led to them.

use std::error::Error;

/// The error and its sources, outermost first, one text each.
pub fn error_chain(error: &dyn Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

/// The same on one line.
pub fn error_line(error: &dyn Error) -> String {
    error_chain(error).join(": ")
}
