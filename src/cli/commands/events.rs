//! `events`: what happened.

use jiff::Timestamp;

use crate::{
    cli::{CliError, Context, Exit, args::EventsArgs, render, times},
    engine::unusable,
    store::{EventQuery, Reader, StoreError, past_events},
};

/// Read from the store, with or without a daemon.
pub fn run(context: &Context, args: &EventsArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let station = context.station(&spec.pool)?;
    let now = Timestamp::now();
    let object = args.object.as_deref().map(|text| super::explain::object(spec, text)).transpose()?;
    let since = args.since.as_deref().map(|text| times::point(text, now, false)).transpose()?;
    let query = EventQuery { object, since, limit: u32::try_from(args.limit).unwrap_or(u32::MAX), ..EventQuery::default() };
    let mut exit = Exit::Ok;
    let mut events = match Reader::attach(&station.state) {
        Ok(reader) => reader.events(&query).map_err(CliError::Store)?,
        // A pool that is new has no history either.
        Err(StoreError::Missing { .. }) => past_events(&station.state, &query).unwrap_or_default(),
        Err(error) if error.leaves_sight() => {
            context.out.tell(&format!(
                "{}\nonly what the history holds is shown; the newest events may be missing (see docs/recovery.md)",
                unusable(&error)
            ));
            exit = Exit::Degraded;
            past_events(&station.state, &query).map_err(CliError::Store)?
        }
        Err(error) => return Err(CliError::Store(error)),
    };
    // A repeat keeps the place of the first; people read by when it happened last.
    events.sort_by_key(|stored| stored.last_at);
    context.out.show(args.output.output, &events, |_| render::events::events(&events, now))?;
    Ok(exit)
}
