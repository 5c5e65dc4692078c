//! The floors: what tmux and the kernel need when nobody thinks. None of it is the product's code.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::Fallible;

/// The session that a control client attaches to.
pub const ANCHOR: &str = "_claude-failover";

/// The list that the product asks for, field for field.
pub const FIELDS: &str = "0123456789abcdef #{session_id}|#{pane_id}|#{pane_pid}|#{pane_dead}|#{pane_dead_status}|#{pane_dead_signal}|\
                          #{session_attached}|#{session_name}0123456789abcdef#{@claude_failover}";

/// A control connection.
pub struct Control {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Control {
    /// Attaches to the anchor of a server.
    pub fn attach(socket: &Path) -> Fallible<Self> {
        let mut child = Command::new("tmux")
            .args(["-u", "-N", "-S"])
            .arg(socket)
            .args(["-C", "attach-session", "-t", &format!("={ANCHOR}"), "-f", "no-output,ignore-size"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::with_capacity(1 << 16, child.stdout.take().ok_or("no output")?);
        let mut control = Self { child, input, output };
        control.answers(1, false)?;
        Ok(control)
    }

    /// Runs one command; the lines of its answer.
    pub fn ask(&mut self, line: &str) -> Fallible<Vec<String>> {
        self.send(&[line.to_owned()])?;
        Ok(self.answers(1, true)?.0)
    }

    /// Writes commands. Their answers are to be taken.
    pub fn send(&mut self, lines: &[String]) -> Fallible<()> {
        Ok(self.input.write_all(format!("{}\n", lines.join("\n")).as_bytes())?)
    }

    /// The process of the server.
    pub fn server(&mut self) -> Fallible<i32> {
        Ok(self.ask("display-message -p '#{pid}'")?.first().ok_or("no answer")?.parse()?)
    }

    /// How many commands the server has run since it was started, for whomever.
    pub fn commands(&mut self) -> Fallible<u64> {
        self.send(&["display-message -p ''".to_owned()])?;
        Ok(self.answers(1, true)?.1)
    }

    /// Reads answers to the end of the `count`th; their lines, and the server's number of the last one.
    pub fn answers(&mut self, count: usize, ours: bool) -> Fallible<(Vec<String>, u64)> {
        let (mut left, mut lines, mut number, mut inside) = (count, Vec::new(), 0, false);
        let mut line = String::new();
        while left > 0 {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err("the tmux server ended".into());
            }
            let text = line.trim_end_matches('\n');
            let mark = |word: &str| text.strip_prefix(word).map(|rest| rest.trim().to_owned());
            if let Some(failed) = mark("%error") {
                return Err(format!("tmux refused a command ({failed}): {}", lines.join("; ")).into());
            } else if let Some(end) = mark("%end") {
                inside = false;
                // The lowest bit of the flags is set for what came from our input.
                if !ours || end.ends_with('1') {
                    left -= 1;
                    number = end.split(' ').nth(1).unwrap_or_default().parse()?;
                }
            } else if text.starts_with("%begin") {
                inside = true;
            } else if inside {
                lines.push(text.to_owned());
            }
        }
        Ok((lines, number))
    }

    /// The panes of the agents: number and process, in the order of their sessions.
    pub fn panes(&mut self) -> Fallible<Vec<(u32, i32)>> {
        let lines = self.ask("list-panes -a -F '#{session_name} #{pane_id} #{pane_pid}'")?;
        let agents = lines.iter().filter(|line| !line.starts_with(ANCHOR));
        agents
            .map(|line| {
                let mut words = line.split(' ').skip(1);
                let pane = words.next().unwrap_or_default().trim_start_matches('%').parse()?;
                Ok((pane, words.next().unwrap_or_default().parse()?))
            })
            .collect()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a process.
pub fn open(pid: i32) -> Fallible<OwnedFd> {
    Ok(pidfd_open(Pid::from_raw(pid).ok_or("no process number")?, PidfdFlags::empty())?)
}

/// Sends a signal to all.
pub fn signal(processes: &[OwnedFd], signal: Signal) -> Fallible<()> {
    processes.iter().try_for_each(|process| Ok(pidfd_send_signal(process, signal)?))
}

/// Waits until all have ended.
pub fn wait(mut processes: Vec<OwnedFd>) -> Fallible<()> {
    while !processes.is_empty() {
        let mut asked: Vec<PollFd<'_>> = processes.iter().map(|process| PollFd::new(process, PollFlags::IN)).collect();
        poll(&mut asked, None)?;
        let ended: Vec<bool> = asked.iter().map(|asked| !asked.revents().is_empty()).collect();
        let mut ended = ended.into_iter();
        processes.retain(|_| !ended.next().unwrap_or(false));
    }
    Ok(())
}
