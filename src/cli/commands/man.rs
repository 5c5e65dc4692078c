//! `man`: the manual pages.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::{CliError, Context, Exit, args::Cli};

/// The main page to stdout, or all pages into a directory.
pub fn run(context: &Context, directory: Option<&Path>) -> Result<Exit, CliError> {
    let command = Cli::command();
    match directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(CliError::Output)?;
            context.out.print(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => {
            let failed = |source| CliError::File { what: "write the manual pages into", path: directory.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(command, directory).map_err(failed)?;
        }
    }
    Ok(Exit::Ok)
}
