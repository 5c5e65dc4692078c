//! What the figures were taken on.

use std::{fs, process::Command, thread};

use crate::Fallible;

/// One line: cores, kernel, tmux, and whether that tmux runs a helper for every pane that is born or dies.
pub fn described() -> Fallible<String> {
    let cores = thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = String::from_utf8(Command::new("tmux").arg("-V").output()?.stdout)?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().unwrap_or("unknown");
    let helper = if utempter()? { "linked to utempter" } else { "not linked to utempter" };
    Ok(format!("{cores} cores, Linux {}, {}, {helper}; load average {load} at the end", kernel.trim(), version.trim()))
}

/// Whether tmux is linked to utempter: a setgid helper then runs at each pane's birth and death, inside the server's only thread.
fn utempter() -> Fallible<bool> {
    let path = String::from_utf8(Command::new("sh").args(["-c", "command -v tmux"]).output()?.stdout)?;
    let libraries = Command::new("ldd").arg(path.trim()).output()?.stdout;
    Ok(String::from_utf8_lossy(&libraries).contains("utempter"))
}

/// How many processors there are.
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}
