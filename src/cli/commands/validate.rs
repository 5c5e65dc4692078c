//! `validate`: every mistake of a spec in one go.

use std::fmt::Write as _;

use crate::cli::{
    CliError, Context, Exit,
    args::{Output, OutputArgs},
};

/// Diagnostics are the data of this command: they go to stdout.
pub fn run(context: &Context, args: OutputArgs) -> Result<Exit, CliError> {
    let path = context.spec_path()?;
    let around = context.surroundings()?;
    let read = crate::cli::context::read_spec(&path, &around).map_err(CliError::Spec)?;
    let (diagnostics, found) = match &read {
        Ok(found) => (&found.loaded.warnings, Some(found)),
        Err(diagnostics) => (diagnostics, None),
    };
    match args.output {
        Output::Table | Output::Wide => {
            let mut text = diagnostics.render(true);
            if let Some(found) = found {
                let spec = &found.loaded.spec;
                // Writing to a `String` cannot fail.
                let _ = writeln!(
                    text,
                    "{}: pool {} is valid: {} accounts, {} sessions, {} warnings",
                    path.display(),
                    spec.pool,
                    spec.accounts.len(),
                    spec.sessions.len(),
                    diagnostics.warnings()
                );
            }
            context.out.print(&text)?;
        }
        Output::Json | Output::Yaml => context.out.show(args.output, &diagnostics.to_json(), |_| String::new())?,
    }
    Ok(if found.is_some() { Exit::Ok } else { Exit::SpecInvalid })
}
