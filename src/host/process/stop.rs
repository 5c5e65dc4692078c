//! Ends processes, all at once: SIGTERM, a grace for each, SIGKILL, and then what the killed ones left behind.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Signal;
use tokio::time::{Instant, timeout_at};

use super::{DeathWatch, ProcessError, ProcessTable};
use crate::{
    model::ProcessId,
    plan::{Failure, Happened, Outcome},
};

/// How long the kernel may take to end a process after SIGKILL: it does so at once unless the process hangs inside a driver or a mount.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// How long a process that a killed agent left behind may take after SIGTERM.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// Why a process could not be ended.
#[derive(Debug, thiserror::Error)]
enum StopError {
    /// SIGKILL had no effect in time.
    #[error("process {} still exists {AFTER_KILL:?} after SIGKILL; it hangs in the kernel, look at the mounts that it uses", .0.pid)]
    Unkillable(ProcessId),
    /// The process is gone, but not all that it had started.
    #[error("process {} still exists {AFTER_KILL:?} after SIGKILL; it was left behind by the agent that was stopped", .0.pid)]
    Leftover(ProcessId),
}

/// Ends processes and answers one outcome for each, in order: [`Outcome::Unchanged`] for one that had ended before.
///
/// Each is sent SIGTERM through its pidfd, and SIGKILL once its grace is over. When one had to be killed, what descended from it at that
/// moment is ended in the same way: an agent that ends by itself takes care of its children, a killed one cannot. No process is chosen by
/// name, and none that the agent had detached from itself before is touched.
///
/// Takes at most the longest grace, 5 s after the SIGKILL, and 7 s more for what was left behind.
pub async fn stop(processes: &[(ProcessId, Duration)]) -> Vec<Outcome> {
    let mut sweep = match DeathWatch::new() {
        Ok(watch) => Sweep { watch, hunts: BTreeMap::new(), found: vec![None; processes.len()] },
        Err(error) => return processes.iter().map(|_| failed(Happened::No, &error)).collect(),
    };
    let now = Instant::now();
    for (owner, &(process, grace)) in processes.iter().enumerate() {
        match sweep.ask(owner, process, false, now + grace) {
            Ok(true) => {}
            Ok(false) => sweep.found[owner] = Some(Outcome::Unchanged),
            Err(error) => sweep.found[owner] = Some(failed(Happened::No, &error)),
        }
    }
    sweep.run().await;
    sweep.found.into_iter().map(|found| found.unwrap_or(Outcome::Changed)).collect()
}

fn failed(happened: Happened, error: &(impl std::error::Error + 'static)) -> Outcome {
    Outcome::Failed(Failure::from_error(happened, error))
}

/// One process that is being ended.
#[derive(Debug, Clone)]
struct Hunt {
    /// The places in the caller's list that it is ended for.
    owners: Vec<usize>,
    /// Whether it is not named by the caller, but was left behind by one that is.
    leftover: bool,
    step: Step,
    /// What descended from it when it was killed.
    family: Vec<ProcessId>,
}

/// How far a hunt is.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// SIGTERM was sent; SIGKILL follows then.
    Asked(Instant),
    /// SIGKILL was sent; it is given up then.
    Killed(Instant),
}

impl Step {
    const fn due(self) -> Instant {
        match self {
            Self::Asked(due) | Self::Killed(due) => due,
        }
    }
}

/// All hunts of one call.
struct Sweep {
    watch: DeathWatch,
    hunts: BTreeMap<ProcessId, Hunt>,
    /// The outcomes so far; `None` for what goes well.
    found: Vec<Option<Outcome>>,
}

impl Sweep {
    /// Sends SIGTERM and begins to wait. Answers whether the process was there.
    fn ask(&mut self, owner: usize, process: ProcessId, leftover: bool, kill_at: Instant) -> Result<bool, ProcessError> {
        if let Some(hunt) = self.hunts.get_mut(&process) {
            hunt.owners.push(owner);
            return Ok(true);
        }
        if !self.watch.watch(process)? {
            return Ok(false);
        }
        if let Err(error) = self.watch.signal(process, Signal::TERM, "SIGTERM") {
            self.watch.unwatch(process);
            return Err(error);
        }
        self.hunts.insert(process, Hunt { owners: vec![owner], leftover, step: Step::Asked(kill_at), family: Vec::new() });
        Ok(true)
    }

    /// Waits and escalates until every hunt is over.
    async fn run(&mut self) {
        while let Some(due) = self.hunts.values().map(|hunt| hunt.step.due()).min() {
            match timeout_at(due, self.watch.next()).await {
                Ok(Ok(exits)) => {
                    for exit in exits {
                        self.ended(exit.process);
                    }
                }
                Ok(Err(error)) => {
                    for (_, hunt) in std::mem::take(&mut self.hunts) {
                        self.settle(&hunt, &failed(Happened::CannotTell, &error));
                    }
                }
                Err(_) => self.escalate(Instant::now()),
            }
        }
    }

    /// A hunt is over. What a killed process left behind is asked next.
    fn ended(&mut self, process: ProcessId) {
        let Some(hunt) = self.hunts.remove(&process) else { return };
        let kill_at = Instant::now() + LEFTOVER_GRACE;
        for &leftover in &hunt.family {
            for &owner in &hunt.owners {
                if let Err(error) = self.ask(owner, leftover, true, kill_at) {
                    self.settle(&hunt, &failed(Happened::Yes, &error));
                }
            }
        }
    }

    /// Kills those whose grace is over, and gives up those that SIGKILL did not end.
    fn escalate(&mut self, now: Instant) {
        let due: Vec<ProcessId> = self.hunts.iter().filter(|(_, hunt)| hunt.step.due() <= now).map(|(&process, _)| process).collect();
        let to_kill = due.iter().filter_map(|process| self.hunts.get(process)).any(|hunt| matches!(hunt.step, Step::Asked(_)));
        // Before the kill: afterwards the orphans have another parent, and nothing shows whose they were. When the table cannot be read, the
        // process is killed all the same: that it ends is what the caller relies on.
        let table = if to_kill { ProcessTable::scan().unwrap_or_default() } else { ProcessTable::default() };
        for process in due {
            let Some(mut hunt) = self.hunts.remove(&process) else { continue };
            if matches!(hunt.step, Step::Killed(_)) {
                self.watch.unwatch(process);
                let outcome = if hunt.leftover {
                    failed(Happened::Yes, &StopError::Leftover(process))
                } else {
                    failed(Happened::CannotTell, &StopError::Unkillable(process))
                };
                self.settle(&hunt, &outcome);
                continue;
            }
            if !hunt.leftover {
                hunt.family = table.descendants(process.pid);
            }
            if let Err(error) = self.watch.signal(process, Signal::KILL, "SIGKILL") {
                self.watch.unwatch(process);
                self.settle(&hunt, &failed(Happened::No, &error));
                continue;
            }
            hunt.step = Step::Killed(now + AFTER_KILL);
            self.hunts.insert(process, hunt);
        }
    }

    /// Records an outcome for all that the hunt was for; the first one stays.
    fn settle(&mut self, hunt: &Hunt, outcome: &Outcome) {
        for &owner in &hunt.owners {
            self.found[owner].get_or_insert_with(|| outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;
    use crate::{
        host::process::{ProcessState, identity, state},
        model::Pid,
    };

    const LONG: Duration = Duration::from_mins(1);

    /// A shell that has said that it is ready, killed and collected with the test.
    struct Shell {
        child: Child,
        process: ProcessId,
        /// The number that it printed: a process that it started, or itself.
        printed: ProcessId,
    }

    impl Shell {
        /// Runs a script that prints a process number and goes on.
        fn run(script: &str) -> Self {
            let mut child = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
            let find = |pid| identity(Pid(pid)).expect("readable").expect("alive");
            let process = find(i32::try_from(child.id()).expect("a number"));
            let printed = find(line.trim().parse().expect("a number"));
            Self { child, process, printed }
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if lives(self.printed) {
                let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(self.printed.pid.0).expect("a number"), Signal::KILL);
            }
        }
    }

    fn lives(process: ProcessId) -> bool {
        identity(process.pid).expect("readable") == Some(process)
    }

    const GENTLE: &str = "echo $$; exec sleep 600";
    /// Ignores SIGTERM, and so does what it starts.
    const STUBBORN: &str = "trap '' TERM; sleep 600 & echo $!; while :; do sleep 1; done";

    #[tokio::test]
    async fn each_gets_its_own_grace() {
        let (gentle, stubborn) = (Shell::run(GENTLE), Shell::run(STUBBORN));
        let began = Instant::now();
        let outcomes = stop(&[(gentle.process, LONG), (stubborn.process, Duration::from_millis(300))]).await;
        assert_eq!(outcomes, [Outcome::Changed, Outcome::Changed]);
        assert!(began.elapsed() >= Duration::from_millis(300), "the stubborn one had its grace");
        assert!(began.elapsed() < LONG, "nobody waited for the longer grace");
        let end = |shell: &Shell| match state(shell.process.pid).expect("readable") {
            ProcessState::Zombie { death, .. } => death.and_then(|death| death.signal),
            other => panic!("it has ended: {other:?}"),
        };
        assert_eq!((end(&gentle), end(&stubborn)), (Some(15), Some(9)));
        assert!(!lives(stubborn.printed), "what the killed one had started is gone too");
    }

    #[tokio::test]
    async fn who_ends_by_itself_looks_after_its_own_children() {
        let shell = Shell::run("sleep 600 & echo $!; trap 'exit 0' TERM; wait");
        assert_eq!(stop(&[(shell.process, LONG)]).await, [Outcome::Changed]);
        assert!(lives(shell.printed), "what an agent leaves on purpose is left alone");
    }

    #[tokio::test]
    async fn who_is_gone_or_is_another_is_unchanged() {
        let shell = Shell::run(GENTLE);
        let other = ProcessId { started: shell.process.started + 1, ..shell.process };
        assert_eq!(stop(&[(other, Duration::ZERO)]).await, [Outcome::Unchanged]);
        assert!(lives(shell.process), "a number that was given to somebody else is not signalled");
        assert_eq!(stop(&[(shell.process, LONG), (shell.process, LONG)]).await, [Outcome::Changed, Outcome::Changed]);
        assert_eq!(stop(&[(shell.process, LONG)]).await, [Outcome::Unchanged]);
        assert_eq!(stop(&[]).await, []);
    }
}
