//! What the daemon costs while nothing happens.

use std::{thread, time::Duration};

use crate::{
    Fallible,
    figures::{Place, Row},
    pool::{Agent, PATIENCE, Pool},
    resting::{Used, stands_still},
    waiting::found_at_pace,
};

const SIZE: usize = 1_000;
/// How long is measured at rest: two resyncs or, rarely, one.
const SPAN: Duration = Duration::from_mins(2);
/// The first minute behind a start.
const FIRST: Duration = Duration::from_mins(1);
/// The pool has come to rest when its daemon's processor time stands still for so long.
const STILL: Duration = Duration::from_secs(3);

pub fn rows() -> Fallible<Vec<Row>> {
    let mut pool = Pool::new(SIZE, Agent::StandIn(0))?;
    pool.start()?;
    let mut control = pool.control()?;
    let daemon = pool.daemon()?;
    let mut spend = |span: Duration| -> Fallible<(u64, Used, Used)> {
        let before = (control.commands()?, Used::by(daemon)?);
        // Nothing is waited for: this is the time over which is measured.
        thread::sleep(span);
        // One of them is our own question.
        let commands = control.commands()? - before.0 - 1;
        Ok((commands, before.1, Used::by(daemon)?))
    };
    let share = |(_, before, after): &(u64, Used, Used), span: Duration| {
        after.cpu.saturating_sub(before.cpu).as_secs_f64() / span.as_secs_f64() * 100.0
    };
    let first = share(&spend(FIRST)?, FIRST);
    // What a new daemon asks for once is there, and then nothing more is done.
    if found_at_pace(PATIENCE, STILL, STILL, || (pool.checkpointed() == SIZE).then_some(())).is_none() {
        return Err(format!("only {} of {SIZE} sessions have a checkpoint", pool.checkpointed()).into());
    }
    if !stands_still(STILL, PATIENCE, || Ok(Used::by(daemon)?.cpu))? {
        return Err("the daemon does not come to rest".into());
    }
    let at_rest = spend(SPAN)?;
    let cpu = share(&at_rest, SPAN);
    let (commands, before, after) = at_rest;
    let commands = commands.div_ceil(SPAN.as_secs() / 60);
    let wakes = after.wakes.saturating_sub(before.wakes) / (SPAN.as_secs() / 60);
    let resident = after.resident;
    let row = |what: &str, ours: String, goal: &str, met: bool, beside: String| Row {
        place: Place::Idle,
        what: format!("{what} at {SIZE} idle stand-in sessions"),
        ours,
        floor: "–".to_owned(),
        ratio: "–".to_owned(),
        goal: goal.to_owned(),
        met: Some(met),
        beside,
    };
    Ok(vec![
        row(
            "tmux commands a minute",
            commands.to_string(),
            "one resync: ≤ 4",
            commands <= 4,
            "a list and its marker for each resync".to_owned(),
        ),
        row(
            "processor time of the daemon",
            format!("{cpu:.3} % of a core"),
            "< 0.1 %",
            cpu < 0.1,
            format!("{wakes} wake-ups a minute; {first:.3} % in the first minute behind the start"),
        ),
        row(
            "resident memory of the daemon",
            format!("{}.{} MB", resident / 1_000, resident % 1_000 / 100),
            "< 15 MB",
            resident < 15_000,
            String::new(),
        ),
    ])
}
