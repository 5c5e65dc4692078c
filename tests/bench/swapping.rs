//! A whole pool carried to the other account.
//!
//! The floor does the same to a twin without a daemon: SIGTERM to all through pidfds, wait for their ends, respawn all with the other home in
//! one go. It is over when the start hook of the last one has reported, which is also the last part of the product's proof.

use std::{collections::BTreeSet, os::unix::net::UnixDatagram, path::PathBuf, time::Duration};

use claude_failover::{
    host::intake::{Kind, MESSAGE_LIMIT, Message},
    model::ProcessId,
};
use rustix::process::Signal;

use crate::{
    Fallible,
    agent::clock,
    figures::{Pairs, Place, Row, shown},
    machine,
    pool::{ACCOUNTS, Agent, PATIENCE, Pool},
    raw,
};

/// Sessions, processor time of a start in milliseconds, and pairs.
const CASES: [(usize, u64, usize); 3] = [(20, 0, 5), (200, 0, 3), (20, 100, 3)];

pub fn rows() -> Fallible<Vec<Row>> {
    CASES.into_iter().map(|(size, cpu, count)| row(size, cpu, count)).collect()
}

fn row(size: usize, cpu: u64, count: usize) -> Fallible<Row> {
    let mut pool = Pool::new(size, Agent::StandIn(cpu))?;
    pool.start()?;
    let mut twin = Twin::new(size, cpu)?;
    let (mut to_ours, mut to_floor) = (ACCOUNTS.iter().cycle().skip(1), ACCOUNTS.iter().cycle().skip(1));
    let pairs = Pairs::take(count, || ours(&pool, to_ours.next().unwrap_or(&"")), || twin.swap(to_floor.next().unwrap_or(&"")))?;
    if cpu == 0 {
        let what = format!("swap of {size} stand-in sessions that exit at once; canary and proof included");
        return Ok(pairs.row(Place::Swap, what, "SIGTERM by pidfd, wait, `respawn-pane` all, last start hook", 1.5));
    }
    let start = Duration::from_millis(cpu);
    let bound = start * u32::try_from(size)? / machine::cores();
    let what = format!("swap of {size} sessions that need {cpu} ms of processor time to start");
    let bounded = Pairs { floor: vec![bound; pairs.ours.len()], ours: pairs.ours.clone() };
    let mut row = bounded.row(Place::Swap, what, "N × start ÷ cores", 1.3);
    row.beside = format!("the same without a canary or a proof, by hand: {}", shown(crate::figures::median(&pairs.floor)));
    Ok(row)
}

/// From the command to the commit on disk.
fn ours(pool: &Pool, to: &str) -> Fallible<Duration> {
    let begun = jiff::Timestamp::now();
    pool.output(&["swap", "--yes", "--to", to])?;
    let events: serde_json::Value = serde_json::from_str(&pool.output(&["events", "pool", "-o", "json", "--limit", "5"])?)?;
    let committed = events.as_array().into_iter().flatten().map(|event| event.get("event").unwrap_or(event)).find_map(|event| {
        let at: jiff::Timestamp = event["at"].as_str()?.parse().ok()?;
        (event["reason"] == "SwapCommitted" && at >= begun).then(|| (at, event["message"].to_string()))
    });
    let (at, message) = committed.ok_or_else(|| format!("no swap to {to} was committed: {events}"))?;
    let all = format!("resumed {0}/{0} ", pool.size);
    if !message.contains(&all) {
        return Err(format!("not all sessions were proven: {message}").into());
    }
    pool.settle()?;
    // Without this the breaker holds the next one: the same two accounts, again and again, within minutes.
    pool.output(&["clear", "--yes", "pool"])?;
    Ok(at.duration_since(begun).try_into()?)
}

/// A pool whose daemon was ended, with its hooks reporting to us.
struct Twin {
    pool: Pool,
    control: raw::Control,
    hooks: UnixDatagram,
}

impl Twin {
    fn new(size: usize, cpu: u64) -> Fallible<Self> {
        let mut pool = Pool::new(size, Agent::StandIn(cpu))?;
        pool.start()?;
        let socket = intake(&pool)?;
        pool.stop()?;
        let _ = std::fs::remove_file(&socket);
        let hooks = UnixDatagram::bind(socket)?;
        let control = pool.control()?;
        Ok(Self { pool, control, hooks })
    }

    fn swap(&mut self, to: &str) -> Fallible<Duration> {
        let panes = self.control.panes()?;
        self.forget_reports()?;
        let begun = clock();
        let processes = panes.iter().map(|(_, pid)| raw::open(*pid)).collect::<Fallible<Vec<_>>>()?;
        raw::signal(&processes, Signal::TERM)?;
        raw::wait(processes)?;
        let home = self.pool.home(to);
        let line = |(pane, _): &(u32, i32)| format!("respawn-pane -k -t %{pane} -e CLAUDE_CONFIG_DIR={}", home.display());
        self.control.send(&panes.iter().map(line).collect::<Vec<_>>())?;
        self.hooks.set_nonblocking(false)?;
        self.hooks.set_read_timeout(Some(PATIENCE))?;
        let (mut started, mut shown) = (BTreeSet::new(), BTreeSet::new());
        while started.len() < panes.len() {
            self.take_report(&mut started, &mut shown)?;
        }
        let took = Duration::from_nanos(clock() - begun);
        self.control.answers(panes.len(), true)?;
        // The status lines that follow a start are part of nobody's swap.
        while !started.is_subset(&shown) {
            self.take_report(&mut started, &mut shown)?;
        }
        Ok(took)
    }

    /// Waits for the next report, and keeps which agent has started, or has shown its status line.
    fn take_report(&self, started: &mut BTreeSet<ProcessId>, shown: &mut BTreeSet<ProcessId>) -> Fallible<()> {
        let mut report = vec![0; MESSAGE_LIMIT];
        let length = self.hooks.recv(&mut report)?;
        let Some(message) = Message::decode(&report[..length]) else { return Err("a report that is none".into()) };
        match message.kind {
            Kind::Hook(event) if event == "SessionStart" => started.extend(message.process),
            Kind::Hook(_) => {}
            Kind::StatusLine => shown.extend(message.process),
        }
        Ok(())
    }

    fn forget_reports(&self) -> Fallible<()> {
        self.hooks.set_nonblocking(true)?;
        let mut report = [0; 1 << 14];
        while self.hooks.recv(&mut report).is_ok() {}
        Ok(())
    }
}

/// Where the hooks of a pool report to.
fn intake(pool: &Pool) -> Fallible<PathBuf> {
    for entry in std::fs::read_dir(pool.runtime())? {
        let socket = entry?.path().join("intake.sock");
        if socket.exists() {
            return Ok(socket);
        }
    }
    Err("the daemon takes no reports".into())
}
