//! Logs on stderr.

use std::io::IsTerminal as _;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::fmt;

use super::args::{Color, Command, Global, LogFormat};

/// Starts the logs. The daemon says what it does; other commands speak only of trouble, unless they are asked for more.
pub fn start(global: &Global, command: &Command) {
    let quiet = if matches!(command, Command::Run(_)) { Level::INFO } else { Level::WARN };
    let level = match global.verbose {
        0 => quiet,
        1 => Level::INFO.max(quiet),
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let colour = match global.color {
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        Color::Always => true,
        Color::Never => false,
    };
    let logs = fmt().with_writer(std::io::stderr).with_max_level(LevelFilter::from_level(level)).with_target(false).with_ansi(colour);
    // A second start, as in tests, keeps the first.
    let _ = match global.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
}
