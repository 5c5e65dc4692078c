//! `completions`: a shell's completion script.

use clap::CommandFactory as _;

use crate::cli::{CliError, Context, Exit, args::Cli};

/// To stdout.
pub fn run(context: &Context, shell: clap_complete::Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "claude-failover", &mut script);
    context.out.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
