//! From the end of an agent to the start of its successor.
//!
//! The floor is tmux repairing on command: a pidfd is readable, one `respawn-pane -k` goes out through a control connection. It runs on a
//! twin of the pool, with the same sessions on a server of its own and no daemon.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    Fallible,
    agent::clock,
    figures::{Pairs, Place, Row},
    pool::{Agent, PATIENCE, Pool},
    raw,
    resting::{Used, stands_still},
};

/// Kills at each size; a thousand in all.
const fn kills(size: usize) -> usize {
    match size {
        ..100 => 100,
        100..1000 => 200,
        _ => 700,
    }
}

/// How many end together in the last row.
const BURST: usize = 200;

/// Between two kills everybody who had to do with the last one rests for so long, so that each is measured alone.
const STILL: Duration = Duration::from_millis(25);

/// A pool with a daemon, and its twin without one.
pub fn pools(size: usize) -> Fallible<(Pool, Pool)> {
    let make = || -> Fallible<Pool> {
        let mut pool = Pool::new(size, Agent::Sleeper)?;
        pool.start()?;
        pool.starts.collect(size, PATIENCE)?;
        Ok(pool)
    };
    let (pool, mut twin) = (make()?, make()?);
    twin.stop()?;
    Ok((pool, twin))
}

/// The rows of one size.
pub fn rows(pool: &mut Pool, twin: &mut Pool) -> Fallible<Vec<Row>> {
    let mut rows = vec![single(pool, twin)?];
    if pool.size == 1_000 {
        rows.push(burst(pool, twin)?);
    }
    Ok(rows)
}

fn single(pool: &mut Pool, twin: &mut Pool) -> Fallible<Row> {
    let (size, count) = (pool.size, kills(pool.size));
    let mut pairs = Pairs::default();
    let mut control = twin.control()?;
    let (mut panes, floor_panes) = (pool.control()?.panes()?, control.panes()?);
    let mut floor_pids: Vec<i32> = floor_panes.iter().map(|(_, pid)| *pid).collect();
    let ours = [pool.daemon()?, pool.control()?.server()?];
    let theirs = [control.server()?];
    let mut missed = 0;
    for round in 0..count {
        let at = round % size;
        if round > 0 && at == 0 {
            // A session that ends twice in ten minutes waits a second: that is its back-off, not the latency.
            pool.next_generation()?;
            panes = pool.control()?.panes()?;
        }
        let (pane, pid) = panes[at];
        let begun = clock();
        raw::signal(&[raw::open(pid)?], Signal::KILL)?;
        match pool.starts.next(Duration::from_secs(10)) {
            Ok(start) if start.pane == pane => pairs.ours.push(Duration::from_nanos(start.at - begun)),
            Ok(start) => return Err(format!("pane {} started, {pane} was expected", start.pane).into()),
            Err(_) => missed += 1,
        }
        rest(&ours)?;
        let process = raw::open(floor_pids[at])?;
        let begun = clock();
        raw::signal(std::slice::from_ref(&process), Signal::KILL)?;
        raw::wait(vec![process])?;
        control.send(&[format!("respawn-pane -k -t %{}", floor_panes[at].0)])?;
        let start = twin.starts.next(PATIENCE)?;
        pairs.floor.push(Duration::from_nanos(start.at - begun));
        floor_pids[at] = start.pid;
        control.answers(1, true)?;
        rest(&theirs)?;
    }
    let what = format!("one of {size} agents killed → its successor runs");
    let mut row = pairs.row(Place::Repair, what, "pidfd → `respawn-pane -k` → runs", 1.5);
    row.beside = format!("{missed} of {count} missed; intent and outcome are on disk");
    row.goal += ", none missed";
    row.met = row.met.map(|met| met && missed == 0);
    Ok(row)
}

/// Waits until none of the processes has anything left to do.
fn rest(pids: &[i32]) -> Fallible<()> {
    let counter = || pids.iter().map(|pid| Used::by(*pid).map(|used| (used.cpu, used.wakes))).collect::<Fallible<Vec<_>>>();
    if stands_still(STILL, PATIENCE, counter)? { Ok(()) } else { Err("the pool does not come to rest".into()) }
}

fn burst(pool: &mut Pool, twin: &mut Pool) -> Fallible<Row> {
    let mut pairs = Pairs::default();
    let mut control = twin.control()?;
    // The last ones: the first ones have ended before.
    let ours: Vec<(u32, i32)> = pool.control()?.panes()?.into_iter().rev().take(BURST).collect();
    let theirs: Vec<(u32, i32)> = control.panes()?.into_iter().rev().take(BURST).collect();
    let open = |panes: &[(u32, i32)]| panes.iter().map(|(_, pid)| raw::open(*pid)).collect::<Fallible<Vec<_>>>();

    let processes = open(&theirs)?;
    let begun = clock();
    raw::signal(&processes, Signal::KILL)?;
    raw::wait(processes)?;
    control.send(&theirs.iter().map(|(pane, _)| format!("respawn-pane -k -t %{pane}")).collect::<Vec<_>>())?;
    let last = twin.starts.collect(BURST, PATIENCE)?.iter().map(|start| start.at).max().unwrap_or(begun);
    pairs.floor.push(Duration::from_nanos(last - begun));
    control.answers(BURST, true)?;

    let since = jiff::Timestamp::now();
    let processes = open(&ours)?;
    let begun = clock();
    raw::signal(&processes, Signal::KILL)?;
    let last = pool.starts.collect(BURST, PATIENCE)?.iter().map(|start| start.at).max().unwrap_or(begun);
    pairs.ours.push(Duration::from_nanos(last - begun));

    pool.settle()?;
    let looks = looks(pool, since)?;
    let what = format!("{BURST} of {} agents killed at once → all successors run", pool.size);
    let mut row = pairs.row(Place::Burst, what, "pipelined `respawn-pane -k`", 1.3);
    row.beside = format!("seen in {looks} looks");
    // A burst is one thing to see, not many.
    row.goal += ", one look";
    row.met = row.met.map(|met| met && looks == 1);
    Ok(row)
}

/// In how many looks the daemon noticed the ends since then: all ends of one look are recorded with one time.
fn looks(pool: &Pool, since: jiff::Timestamp) -> Fallible<usize> {
    let events: serde_json::Value = serde_json::from_str(&pool.output(&["events", "-o", "json", "--limit", "2000"])?)?;
    let mut times: Vec<jiff::Timestamp> = Vec::new();
    for event in events.as_array().into_iter().flatten() {
        let event = event.get("event").unwrap_or(event);
        let at: jiff::Timestamp = event["at"].as_str().unwrap_or_default().parse()?;
        if at >= since && event["reason"] == "SessionExited" {
            times.push(at);
        }
    }
    times.sort();
    times.dedup();
    Ok(times.len())
}
