//! Errors with all that led to them.

use std::error::Error;

/// The error and its sources, outermost first, one text each.
pub fn error_chain(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(inner) = source {
        chain.push(inner.to_string());
        source = inner.source();
    }
    chain
}

/// The same on one line.
pub fn error_line(error: &dyn Error) -> String {
    error_chain(error).join(": ")
}
