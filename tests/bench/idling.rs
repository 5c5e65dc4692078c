//! What the daemon costs while nothing happens.

use std::{fs, thread, time::Duration};

use crate::{
    Fallible,
    figures::{Place, Row},
    pool::{Agent, Pool},
};

const SIZE: usize = 1_000;
/// How long is measured, and how long the pool may come to rest before.
const SPAN: Duration = Duration::from_mins(1);
const REST: Duration = Duration::from_secs(15);
/// How long one tick of proc(5) is: `USER_HZ` is 100 on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

pub fn rows() -> Fallible<Vec<Row>> {
    let mut pool = Pool::new(SIZE, Agent::StandIn(0))?;
    pool.start()?;
    thread::sleep(REST);
    let mut control = pool.control()?;
    let daemon = pool.daemon()?;
    let before = (control.commands()?, used(daemon)?);
    thread::sleep(SPAN);
    let after = (control.commands()?, used(daemon)?);
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
            format!("{wakes} wake-ups in 60 s; each agent's status line reports once a minute"),
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

struct Used {
    cpu: Duration,
    wakes: u64,
    /// In kB.
    resident: u64,
}

/// What a process and its threads have used.
fn used(pid: i32) -> Fallible<Used> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).ok_or("no such field");
    let mut wakes = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        wakes += number(&status, "voluntary_ctxt_switches:")?;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Used { cpu: TICK * u32::try_from(field(11)? + field(12)?)?, wakes, resident: number(&status, "VmRSS:")? * 1024 / 1000 })
}

fn number(status: &str, name: &str) -> Fallible<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
