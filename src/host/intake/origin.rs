//! Which agent a hook or a status line was run by.

use std::{ffi::OsString, fs, path::PathBuf};

use crate::{
    host::{
        agent::{
            launch::{HOME_VARIABLE, SESSION_VARIABLE},
            report::PID_VARIABLE,
        },
        process::{self, ProcessState},
    },
    model::{Pid, ProcessId, SessionName},
};

/// How far up the ancestors are looked at: agent, shell, perhaps a wrapper, we.
const GENERATIONS: usize = 8;
/// The shells that the CLI, or a wrapper, may put between itself and us.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "fish"];
/// The longest path that is taken over (PATH_MAX).
const PATH: usize = 4096;

/// The agent behind a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its process.
    pub process: Option<ProcessId>,
    /// Its home.
    pub home: Option<PathBuf>,
    /// Its session, if it was started by us.
    pub session: Option<SessionName>,
}

impl Origin {
    /// Reads the variables that the CLI gives to its hooks. Where it does not name its process, that is the nearest ancestor that is not
    /// a shell.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = variable(PID_VARIABLE).and_then(|pid| pid.to_str()?.parse().ok()).map(Pid);
        let home = variable(HOME_VARIABLE).map(PathBuf::from);
        Self {
            process: named.and_then(living).or_else(|| above_shells(Pid(std::process::id().cast_signed()))),
            home: home.filter(|home| home.to_str().is_some_and(|home| home.len() <= PATH)),
            session: variable(SESSION_VARIABLE).and_then(|name| SessionName::new(name.to_str()?).ok()),
        }
    }
}

fn living(pid: Pid) -> Option<ProcessId> {
    process::identity(pid).ok().flatten()
}

/// The nearest ancestor of `pid` that is not a shell.
fn above_shells(pid: Pid) -> Option<ProcessId> {
    let mut current = parent(pid)?;
    for _ in 0..GENERATIONS {
        // Process 1 is nobody's agent: the real parent is gone.
        if current == Pid(1) {
            return None;
        }
        let name = fs::read_to_string(format!("/proc/{current}/comm")).ok()?;
        if !SHELLS.contains(&name.trim_end()) {
            return living(current);
        }
        current = parent(current)?;
    }
    None
}

fn parent(pid: Pid) -> Option<Pid> {
    match process::state(pid).ok()? {
        ProcessState::Alive { parent, .. } => Some(parent),
        ProcessState::Zombie { .. } | ProcessState::Gone => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// Ends the processes of a test, also when it fails: the shells end with their input.
    struct Shells(Child);

    impl Drop for Shells {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_variable_names_the_process_and_the_home() {
        let ourselves = Pid(std::process::id().cast_signed());
        let origin = Origin::find(|name| match name {
            "CLAUDE_PID" => Some(ourselves.to_string().into()),
            "CLAUDE_CONFIG_DIR" => Some("/homes/primary".into()),
            "CLAUDE_FAILOVER_SESSION" => Some("s1".into()),
            _ => None,
        });
        let process = process::identity(ourselves).expect("readable");
        assert!(process.is_some());
        let session = SessionName::new("s1").ok();
        assert_eq!(origin, Origin { process, home: Some("/homes/primary".into()), session });
    }

    #[test]
    fn without_a_variable_it_is_the_ancestor_above_the_shells() {
        // Two shells below us; the inner one says who it is and then waits for the end of its input.
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'echo $$; read end; :'; :"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shells = Shells(command.spawn().expect("a shell"));
        let mut line = String::new();
        BufReader::new(shells.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let inner = Pid(line.trim().parse().expect("a number"));
        let found = above_shells(inner).expect("an ancestor");
        assert_eq!(found.pid, Pid(std::process::id().cast_signed()));
    }

    #[test]
    fn a_name_that_means_nothing_is_not_believed() {
        let odd = |value: &'static str| Origin::find(move |name| (name == "CLAUDE_PID").then(|| value.into())).process;
        let fallback = above_shells(Pid(std::process::id().cast_signed()));
        for value in ["", "x", "-1", "2147483647", "99999999999999"] {
            assert_eq!(odd(value), fallback, "{value:?}");
        }
        let long = "x".repeat(PATH + 1);
        assert_eq!(Origin::find(|name| (name == "CLAUDE_CONFIG_DIR").then(|| long.clone().into())).home, None);
    }
}
