//! What the daemon costs while nothing happens.

use std::{thread, time::Duration};

use crate::{
    Fallible,
    figures::{Place, Row},
    pool::{Agent, PATIENCE, Pool},
    resting::{Used, stands_still},
};

const SIZE: usize = 1_000;
/// How long is measured.
const SPAN: Duration = Duration::from_mins(1);
/// The pool has come to rest when its daemon's processor time stands still for so long; below the goal, a tick takes ten seconds.
const STILL: Duration = Duration::from_secs(3);

pub fn rows() -> Fallible<Vec<Row>> {
    let mut pool = Pool::new(SIZE, Agent::StandIn(0))?;
    pool.start()?;
    let mut control = pool.control()?;
    let daemon = pool.daemon()?;
    // One that never rests is measured all the same: that is its cost.
    stands_still(STILL, PATIENCE, || Ok(Used::by(daemon)?.cpu))?;
    let before = (control.commands()?, Used::by(daemon)?);
    // Nothing is waited for: this is the time over which is measured.
    thread::sleep(SPAN);
    let after = (control.commands()?, Used::by(daemon)?);
    // One of them is our own question.
    let commands = after.0 - before.0 - 1;
    let cpu = after.1.cpu.saturating_sub(before.1.cpu).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    let resident = after.1.resident;
    let wakes = after.1.wakes - before.1.wakes;
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
            "tmux commands in 60 s",
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
            format!("{wakes} wake-ups in 60 s; each status line says once what is new"),
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
