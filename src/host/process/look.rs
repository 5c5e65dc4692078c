//! Looks at one process.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
};

use super::{ProcessError, stat::Stat};
use crate::{
    model::{Pid, ProcessId},
    observed::Death,
};

/// How much of an environment is read. The kernel allows 128 KiB for one variable (execve(2)); a home stands in a short one.
const ENVIRONMENT_LIMIT: u64 = 1 << 20;

/// What the kernel says of a process number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs, sleeps or is stopped.
    Alive {
        /// Who it is.
        process: ProcessId,
        /// Its parent.
        parent: Pid,
    },
    /// It has ended and its parent has not collected it.
    Zombie {
        /// Who it was.
        process: ProcessId,
        /// How it ended, if we may know: the kernel shows other users' statuses as 0.
        death: Option<Death>,
    },
    /// No process has this number.
    Gone,
}

/// Looks up a process number.
///
/// # Errors
/// [`ProcessError::Read`] or [`ProcessError::Malformed`] when `/proc` cannot be read; never for a process that is gone.
pub fn state(pid: Pid) -> Result<ProcessState, ProcessError> {
    let Some(line) = read(pid, "stat", u64::from(u16::MAX))? else { return Ok(ProcessState::Gone) };
    let stat = Stat::parse(&line).ok_or(ProcessError::Malformed { pid, file: "stat" })?;
    let process = ProcessId { pid, started: stat.started };
    Ok(if stat.has_ended() {
        ProcessState::Zombie { process, death: may_read_status(pid).then(|| stat.death()) }
    } else {
        ProcessState::Alive { process, parent: stat.parent }
    })
}

/// The process of that number with its start time; `None` when there is none, or only a zombie.
///
/// # Errors
/// As [`state`].
pub fn identity(pid: Pid) -> Result<Option<ProcessId>, ProcessError> {
    Ok(match state(pid)? {
        ProcessState::Alive { process, .. } => Some(process),
        ProcessState::Zombie { .. } | ProcessState::Gone => None,
    })
}

/// The value of `name` in the environment that the process was started with; `None` when the variable is not in it, or when the process is
/// gone.
///
/// Between fork and exec a process still shows its parent's environment, so the absence of a variable says nothing yet about a process that
/// is milliseconds old, unless another variable shows that it has its own.
///
/// # Errors
/// [`ProcessError::EnvironmentEmpty`] for a moment during exec, [`ProcessError::EnvironmentTooLong`], or [`ProcessError::Read`] when we may
/// not read it.
pub fn environment_value(process: ProcessId, name: &str) -> Result<Option<OsString>, ProcessError> {
    let Some(environment) = read(process.pid, "environ", ENVIRONMENT_LIMIT)? else { return Ok(None) };
    // Only now: before the read the number could still have changed hands.
    if identity(process.pid)? != Some(process) {
        return Ok(None);
    }
    if environment.is_empty() {
        return Err(ProcessError::EnvironmentEmpty { pid: process.pid });
    }
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|value| OsString::from_vec(value.to_vec()));
    if value.is_none() && environment.len() as u64 >= ENVIRONMENT_LIMIT {
        return Err(ProcessError::EnvironmentTooLong { pid: process.pid, name: name.to_owned(), limit: ENVIRONMENT_LIMIT });
    }
    Ok(value)
}

/// The arguments that a process was started with, each with a NUL behind it; `None` when it is gone.
///
/// # Errors
/// As [`state`].
pub fn arguments(process: ProcessId) -> Result<Option<Vec<u8>>, ProcessError> {
    let line = read(process.pid, "cmdline", ENVIRONMENT_LIMIT)?;
    // Only now: before the read the number could still have changed hands.
    Ok(line.filter(|_| identity(process.pid).is_ok_and(|now| now == Some(process))))
}

/// The soft limit of open descriptors (`/proc/PID/limits`), [`u64::MAX`] for no limit; `None` when the process is gone.
///
/// # Errors
/// [`ProcessError::Read`] or [`ProcessError::Malformed`].
pub fn descriptor_limit(pid: Pid) -> Result<Option<u64>, ProcessError> {
    let Some(limits) = read(pid, "limits", u64::from(u16::MAX))? else { return Ok(None) };
    soft_limit(&limits, "Max open files").map(Some).ok_or(ProcessError::Malformed { pid, file: "limits" })
}

/// The control group of a process, such as `/user.slice/user-1000.slice/session-2.scope`; `None` when the process is gone.
///
/// # Errors
/// [`ProcessError::Read`] or [`ProcessError::Malformed`].
pub fn cgroup(pid: Pid) -> Result<Option<String>, ProcessError> {
    let Some(groups) = read(pid, "cgroup", u64::from(u16::MAX))? else { return Ok(None) };
    unit_group(&String::from_utf8_lossy(&groups)).map(Some).ok_or(ProcessError::Malformed { pid, file: "cgroup" })
}

/// Reads a file of `/proc/PID`, `limit` bytes of it at most; `None` when the process is gone.
pub(super) fn read(pid: Pid, file: &'static str, limit: u64) -> Result<Option<Vec<u8>>, ProcessError> {
    // Most of these files fit, and each call that finds more room to be needed makes the kernel write the file anew.
    let mut bytes = Vec::with_capacity(4096);
    match fs::File::open(format!("/proc/{pid}/{file}")).and_then(|opened| opened.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == io::ErrorKind::NotFound || is_no_such_process(&error) => Ok(None),
        Err(source) => Err(ProcessError::Read { pid, file, source }),
    }
}

/// Whether an error says that there is no such process.
pub(super) fn is_no_such_process(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Whether the exit status in the process's stat line is real: the kernel writes 0 there for processes of others.
fn may_read_status(pid: Pid) -> bool {
    let ours = rustix::process::geteuid();
    ours.is_root() || fs::metadata(format!("/proc/{pid}")).is_ok_and(|entry| entry.uid() == ours.as_raw())
}

/// The soft limit in a `/proc/PID/limits` table.
fn soft_limit(limits: &[u8], name: &str) -> Option<u64> {
    let limits = OsStr::from_bytes(limits).to_str()?;
    match limits.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// The group that systemd manages: the one line of cgroups(7) version 2, or version 1's `name=systemd`.
fn unit_group(groups: &str) -> Option<String> {
    let of = |controllers: &str| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(controllers)?.strip_prefix(':')
        })
    };
    of("name=systemd").or_else(|| of("")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::*;

    fn own_pid() -> Pid {
        Pid(i32::try_from(std::process::id()).expect("a process number"))
    }

    #[test]
    fn we_find_ourselves_and_our_parent() {
        let ProcessState::Alive { process, parent } = state(own_pid()).expect("readable") else { panic!("we live") };
        assert_eq!(process.pid, own_pid());
        assert_eq!(parent.0, nix::unistd::getppid().as_raw());
        assert_eq!(identity(own_pid()).expect("readable"), Some(process));
    }

    #[test]
    fn a_zombie_is_neither_alive_nor_gone() {
        let mut child = Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().expect("a shell");
        let pid = Pid(i32::try_from(child.id()).expect("a process number"));
        // Blocks until it has ended, and leaves it uncollected.
        let id = rustix::process::WaitId::Pid(rustix::process::Pid::from_raw(pid.0).expect("a process number"));
        rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT).expect("our child");

        let ProcessState::Zombie { death, .. } = state(pid).expect("readable") else { panic!("it is a zombie") };
        assert_eq!(death, Some(Death { code: Some(7), signal: None }));
        assert_eq!(identity(pid).expect("readable"), None);

        child.wait().expect("our child");
        assert_eq!(state(pid).expect("readable"), ProcessState::Gone);
    }

    #[test]
    fn an_environment_is_that_of_this_very_process() {
        let mut child =
            Command::new("/bin/sleep").arg("60").env_clear().env("HOME_OF_IT", "/a=b c").env("HOME", "/h").spawn().expect("sleep");
        let process = identity(Pid(i32::try_from(child.id()).expect("a number"))).expect("readable").expect("alive");
        let deadline = Instant::now() + Duration::from_secs(20);
        let value = loop {
            match environment_value(process, "HOME_OF_IT") {
                // The kernel lets us go on before the new program's environment is in place.
                Err(ProcessError::EnvironmentEmpty { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                other => break other.expect("readable"),
            }
        };
        assert_eq!(value, Some("/a=b c".into()));
        assert_eq!(environment_value(process, "HOME").expect("readable"), Some("/h".into()), "a name is not matched by its beginning");
        assert_eq!(environment_value(process, "HOME_OF").expect("readable"), None);
        let other = ProcessId { started: process.started + 1, ..process };
        assert_eq!(environment_value(other, "HOME").expect("readable"), None, "another process of the same number");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    #[test]
    fn limits_and_groups_are_read() {
        let table = b"Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             95905                95905                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(table, "Max open files"), Some(1024));
        assert_eq!(soft_limit(b"Max open files  unlimited unlimited files", "Max open files"), Some(u64::MAX));
        assert_eq!(soft_limit(b"Max processes 1 1", "Max open files"), None);
        assert!(descriptor_limit(own_pid()).expect("readable").is_some_and(|limit| limit > 0));

        assert_eq!(unit_group("0::/user.slice/a.service\n").as_deref(), Some("/user.slice/a.service"));
        assert_eq!(unit_group("12:pids:/x\n1:name=systemd:/a.scope\n0::/\n").as_deref(), Some("/a.scope"));
        assert_eq!(unit_group("nonsense"), None);
    }
}
