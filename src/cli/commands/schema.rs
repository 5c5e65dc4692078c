//! `schema`: the JSON Schema of the spec.

use crate::{
    cli::{CliError, Context, Exit},
    spec::schema,
};

/// The same text as `specs/pool.schema.json`.
pub fn run(context: &Context) -> Result<Exit, CliError> {
    context.out.print(&schema::to_text(schema::schema()))?;
    Ok(Exit::Ok)
}
