//! Which process a number means, from `/proc/PID/stat` (proc_pid_stat(5)).

use std::{fs, io, path::PathBuf, time::Duration};

use jiff::Timestamp;

use crate::model::{Pid, ProcessId};

use super::AgentError;

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The process, safe against the reuse of its number.
    pub process: ProcessId,
    /// Its parent.
    pub parent: Pid,
    /// The name of its program, cut to 15 bytes by the kernel.
    pub name: String,
    /// Whether it has ended and only waits to be noticed by its parent.
    pub zombie: bool,
}

/// The process of that number; `None` when there is none.
///
/// # Errors
/// [`AgentError::Io`] and [`AgentError::Malformed`]: then it is not known whether there is one.
pub fn stat(pid: Pid) -> Result<Option<Stat>, AgentError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    match fs::read(&path) {
        // A process that ends while its line is read answers ESRCH.
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(AgentError::io("read", &path)(error)),
        Ok(line) => match parse(pid, &String::from_utf8_lossy(&line)) {
            Some(stat) => Ok(Some(stat)),
            None => Err(AgentError::Malformed { path, problem: "it lacks a field of proc_pid_stat(5)".to_owned() }),
        },
    }
}

/// The wall-clock time at which a process started, if the wall clock was not set since. `None` when it cannot be told.
///
/// Its start time counts from the boot in hundredths of a second (USER_HZ, time(7)), and `/proc/uptime` in seconds (proc_uptime(5)).
pub fn started_at(process: ProcessId, now: Timestamp) -> Option<Timestamp> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split_ascii_whitespace().next()?.parse().ok()?).ok()?;
    let age = uptime.saturating_sub(Duration::from_millis(process.started.checked_mul(10)?));
    now.checked_sub(age).ok()
}

/// Field 2, the name, stands in parentheses and may hold parentheses and blanks itself: the last closing one ends it.
fn parse(pid: Pid, line: &str) -> Option<Stat> {
    let (before, after) = line.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // Counted from field 3, the state.
    let started = fields.get(22 - 3)?.parse().ok()?;
    Some(Stat {
        process: ProcessId { pid, started },
        parent: Pid(fields.get(4 - 3)?.parse().ok()?),
        name: name.to_owned(),
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "77 (a) S 1 (b) S 12 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 18446744073709551615";
        let stat = parse(Pid(77), line).expect("a whole line");
        assert_eq!(
            stat,
            Stat { process: ProcessId { pid: Pid(77), started: 4711 }, parent: Pid(12), name: "a) S 1 (b".to_owned(), zombie: false }
        );
        assert_eq!(parse(Pid(77), "77 (a) Z 12"), None);
    }

    #[test]
    fn we_are_there_and_nobody_has_a_negative_number() {
        let ourselves = Pid(std::process::id().cast_signed());
        let stat = stat(ourselves).expect("readable").expect("we live");
        assert_eq!(stat.parent, Pid(nix::unistd::getppid().as_raw()));
        assert!(stat.process.started > 0 && !stat.zombie);
        assert_eq!(super::stat(Pid(-1)).expect("readable"), None);
    }

    #[test]
    fn a_child_started_after_we_looked_at_the_clock() {
        let before = Timestamp::now();
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let process = stat(Pid(child.id().cast_signed())).expect("readable").expect("not waited for").process;
        let after = Timestamp::now();
        let started = started_at(process, after).expect("known");
        child.wait().expect("ended");
        // Both clocks of the kernel count in hundredths of a second.
        let tick = Duration::from_millis(20);
        assert!(before - tick <= started && started <= after, "{before} {started} {after}");
    }
}
