//! What a process has used, and when it rests.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{time::ClockId, unistd::Pid};

use crate::{Fallible, waiting::found_within};

/// What a process and its threads have used.
pub struct Used {
    pub cpu: Duration,
    pub wakes: u64,
    /// In kB.
    pub resident: u64,
}

impl Used {
    pub fn by(pid: i32) -> Fallible<Self> {
        // Exact, where proc(5) counts in hundredths of a second; threads that have ended are counted too.
        let cpu = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))?.now()?.into();
        let mut wakes = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            wakes += number(&status, "voluntary_ctxt_switches:")?;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self { cpu, wakes, resident: number(&status, "VmRSS:")? * 1024 / 1000 })
    }
}

/// Waits until a counter stands still for as long as `still`, and says whether it does so within `patience`.
pub fn stands_still<T: PartialEq>(still: Duration, patience: Duration, counter: impl Fn() -> Fallible<T>) -> Fallible<bool> {
    let mut last = (counter()?, Instant::now());
    let found = found_within(patience, || match counter() {
        Ok(now) if now == last.0 => (last.1.elapsed() >= still).then_some(Ok(())),
        Ok(now) => {
            last = (now, Instant::now());
            None
        }
        Err(error) => Some(Err(error)),
    });
    found.transpose().map(|found| found.is_some())
}

fn number(status: &str, name: &str) -> Fallible<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}
