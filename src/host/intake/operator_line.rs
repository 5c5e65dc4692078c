//! The operator's own status line: its command gets the CLI's JSON and says what is shown.
//!
//! # Guarantees
//! It is bounded in time and in what it says. One that fails, says nothing, or takes too long is ended with all that it started, and our own
//! line is shown.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::MemfdFlags,
    process::{Pid, Signal, WaitOptions, kill_process_group, waitpid},
};

/// How long the command may take. The CLI ends a status line itself when the next one is due.
const WITHIN: Duration = Duration::from_secs(2);
/// How much of its output is shown.
const OUTPUT: usize = 16 * 1024;

/// What the command prints when it is given `input`; `None` when that is nothing that can be shown.
pub(super) fn run(command: &[String], input: &[u8]) -> Option<Vec<u8>> {
    run_within(command, input, WITHIN)
}

fn run_within(command: &[String], input: &[u8], within: Duration) -> Option<Vec<u8>> {
    let until = Instant::now() + within;
    let (program, arguments) = command.split_first()?;
    // A file and not a pipe: a command that reads nothing holds nobody up.
    let mut body = File::from(rustix::fs::memfd_create("status", MemfdFlags::CLOEXEC).ok()?);
    body.write_all(input).and_then(|()| body.seek(SeekFrom::Start(0))).ok()?;
    let mut child =
        Command::new(program).args(arguments).stdin(body).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn().ok()?;
    let output = read(&mut child, until);
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let success = output.is_some() && ended_well(group, until);
    if let Some(group) = group.filter(|_| !success) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if !success {
        let _ = child.wait();
    }
    output.filter(|output| success && output.iter().any(|byte| !byte.is_ascii_whitespace()))
}

/// All that is said until the end of the output, cut; `None` when there is no end in time.
fn read(child: &mut Child, until: Instant) -> Option<Vec<u8>> {
    let mut stdout = child.stdout.take()?;
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.checked_duration_since(Instant::now())?;
        poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left.try_into().ok()?)).ok().filter(|ready| *ready > 0)?;
        let read = stdout.read(&mut buffer).ok()?;
        if read == 0 {
            return Some(output);
        }
        let room = OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&buffer[..read.min(room)]);
    }
}

/// Whether the command ended by itself with exit code 0.
fn ended_well(process: Option<Pid>, until: Instant) -> bool {
    let Some(process) = process else { return false };
    loop {
        match waitpid(Some(process), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return status.exit_status() == Some(0),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Option<String> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        run_within(&command, b"{\"a\":1}", Duration::from_secs(5)).map(|output| String::from_utf8(output).expect("UTF-8"))
    }

    #[test]
    fn it_gets_the_json_and_says_what_is_shown() {
        assert_eq!(shell("cat; echo").as_deref(), Some("{\"a\":1}\n"));
        assert_eq!(shell("printf 'one\\n\\033[1mtwo'").as_deref(), Some("one\n\u{1b}[1mtwo"));
        assert_eq!(shell("yes | head -c 100000").map(|output| output.len()), Some(OUTPUT));
    }

    #[test]
    fn one_that_fails_or_says_nothing_is_not_shown() {
        for script in ["exit 0", "echo ' '", "echo half; exit 1", "kill -9 $$"] {
            assert_eq!(shell(script), None, "{script}");
        }
        assert_eq!(run(&["/nowhere/program".to_owned()], b""), None);
        assert_eq!(run(&[], b""), None);
    }

    #[test]
    fn one_that_takes_too_long_is_ended_with_all_that_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo shown; wait", file.display());
        let begun = Instant::now();
        let command = ["/bin/sh", "-c", &script].map(str::to_owned);
        assert_eq!(run_within(&command, b"", Duration::from_secs(1)), None);
        assert!(begun.elapsed() < Duration::from_mins(1));
        let pid: i32 = std::fs::read_to_string(file).expect("it ran").trim().parse().expect("a number");
        let gone = || !matches!(crate::host::process::state(crate::model::Pid(pid)), Ok(crate::host::process::ProcessState::Alive { .. }));
        let until = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(gone(), "its child lives on");
    }
}
