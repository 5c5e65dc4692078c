//! `show`: the spec in force.

use crate::{
    cli::{
        CliError, Context, Exit,
        args::{Output, ShowArgs},
    },
    spec::render_effective,
};

/// With `--effective` every value says where it came from.
pub fn run(context: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let found = context.spec()?;
    match args.output.output {
        Output::Table | Output::Wide | Output::Yaml => context.out.print(&render_effective(&found.loaded, args.effective))?,
        Output::Json => context.out.show(Output::Json, &found.loaded.spec, |_| String::new())?,
    }
    Ok(Exit::Ok)
}
