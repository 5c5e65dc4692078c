//! The way to stdout and stderr. A reader that goes away is a quiet end, not a failure.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::{
    CliError,
    args::{Color, Output},
};

/// Where data goes.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    choice: ColorChoice,
}

impl Printer {
    /// Obeys `--color`, `NO_COLOR` and whether stdout is a terminal.
    pub const fn new(color: Color) -> Self {
        Self {
            choice: match color {
                Color::Auto => ColorChoice::Auto,
                Color::Always => ColorChoice::Always,
                Color::Never => ColorChoice::Never,
            },
        }
    }

    /// Writes data.
    ///
    /// # Errors
    /// [`CliError::Output`]; a closed pipe is one that ends the program quietly.
    pub fn print(self, text: &str) -> Result<(), CliError> {
        let mut out = AutoStream::new(io::stdout().lock(), self.choice);
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Output)
    }

    /// Writes a word to the person: prompts, progress, what went which way. Never data.
    pub fn tell(self, text: &str) {
        // When even this cannot be written there is nobody to tell.
        let _ = writeln!(AutoStream::new(io::stderr().lock(), self.choice), "{text}");
    }

    /// Writes a value in the form that was asked for; `human` makes the form for people, wide or not.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn show(self, output: Output, value: &impl Serialize, human: impl FnOnce(bool) -> String) -> Result<(), CliError> {
        match output {
            Output::Table => self.print(&human(false)),
            Output::Wide => self.print(&human(true)),
            Output::Json => {
                let json = serde_json::to_string_pretty(value).map_err(|error| CliError::Internal(error.to_string()))?;
                self.print(&format!("{json}\n"))
            }
            Output::Yaml => {
                let json = serde_json::to_value(value).map_err(|error| CliError::Internal(error.to_string()))?;
                let yaml = serde_yaml::to_string(&json).map_err(|error| CliError::Internal(error.to_string()))?;
                self.print(&yaml)
            }
        }
    }

    /// Asks a yes-or-no question on the terminal.
    ///
    /// # Errors
    /// [`CliError::NoTerminal`] when there is nobody to ask.
    pub fn confirm(question: &str) -> Result<bool, CliError> {
        if !io::stdin().is_terminal() {
            return Err(CliError::NoTerminal);
        }
        let mut err = io::stderr().lock();
        write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(CliError::Output)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(CliError::Output)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}
