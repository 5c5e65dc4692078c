//! What agents started and left behind when they ended: tools, background shells, an agent that lost its pane.
//!
//! # Guarantees
//! A process is named only if the environment that it was started with carries the mark of a session and the home of an account of ours, and if it is
//! older than the agent that the session has now, or the session has none: then the agent that it belonged to has ended.
//!
//! # Does not
//! End anything. An agent that ends by itself ends what it wants to end; whether the rest was left on purpose, nobody can tell from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::launch::{HOME_VARIABLE, SESSION_VARIABLE};
use crate::{
    host::process::{ProcessError, ProcessTable, age, arguments, environment_value},
    model::{Pid, ProcessId, SessionName},
};

/// Hooks outlive their agent for a moment.
const MOMENT: Duration = Duration::from_secs(10);

/// A process that an agent left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Which.
    pub process: ProcessId,
    /// The session whose agent started it.
    pub session: SessionName,
    /// The first word of its command line.
    pub program: String,
}

/// The processes that agents under `homes` left behind; of a family the eldest. `agents` are the processes of the panes, by session.
///
/// # Errors
/// [`ProcessError::List`] when the processes cannot be listed. One that cannot be read is left out.
pub fn leftovers(homes: &BTreeSet<PathBuf>, agents: &BTreeMap<SessionName, ProcessId>) -> Result<Vec<Leftover>, ProcessError> {
    let table = ProcessTable::scan()?;
    let running: BTreeSet<Pid> =
        agents.values().flat_map(|agent| table.descendants(agent.pid).into_iter().chain([*agent])).map(|process| process.pid).collect();
    let marked: BTreeMap<Pid, (Pid, ProcessId, SessionName)> = table
        .all()
        .filter(|(_, process)| !running.contains(&process.pid))
        .filter_map(|(parent, process)| Some((process.pid, (parent, process, mark(process, homes)?))))
        .collect();
    let is_eldest = |(parent, ..): &&(Pid, ProcessId, SessionName)| !marked.contains_key(parent);
    let has_outlived = |(_, process, session): &&(Pid, ProcessId, SessionName)| {
        agents.get(session).is_none_or(|agent| process.started < agent.started) && age(*process).is_some_and(|age| age > MOMENT)
    };
    let named = marked.values().filter(is_eldest).filter(has_outlived).map(|(_, process, session)| Leftover {
        process: *process,
        session: session.clone(),
        program: program(*process),
    });
    Ok(named.collect())
}

/// The session that the environment of a process names, if it names a home of ours too.
fn mark(process: ProcessId, homes: &BTreeSet<PathBuf>) -> Option<SessionName> {
    let session = environment_value(process, SESSION_VARIABLE).ok()??;
    let home = PathBuf::from(environment_value(process, HOME_VARIABLE).ok()??);
    homes.contains(&home).then(|| SessionName::new(session.to_str()?).ok())?
}

fn program(process: ProcessId) -> String {
    let words = arguments(process).ok().flatten().unwrap_or_default();
    let first = words.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::host::process::identity;

    /// A process that is ended with the test.
    struct Sleeper(Child, ProcessId);

    impl Sleeper {
        fn start(home: &str) -> Self {
            let mut command = Command::new("/bin/sleep");
            let child = command.arg("600").env(HOME_VARIABLE, home).env(SESSION_VARIABLE, "s-0").spawn().expect("sleep");
            let process = identity(Pid(i32::try_from(child.id()).expect("a number"))).expect("readable").expect("alive");
            Self(child, process)
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn only_what_an_ended_agent_of_ours_left_is_named() {
        let home = format!("/accounts/{}", uuid::Uuid::new_v4());
        let (ours, _foreign) = (Sleeper::start(&home), Sleeper::start(&format!("{home}-of-another-pool")));
        let session = SessionName::new("s-0").expect("a name");
        let homes = BTreeSet::from([PathBuf::from(&home)]);
        let seen = |agents: &[ProcessId]| {
            let agents = agents.iter().map(|agent| (session.clone(), *agent)).collect();
            leftovers(&homes, &agents).expect("listed").into_iter().map(|found| found.process).collect::<Vec<_>>()
        };
        assert_eq!(seen(&[]), [], "one that is young may be a hook");
        let until = std::time::Instant::now() + 3 * MOMENT;
        while seen(&[]).is_empty() && std::time::Instant::now() < until {
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(200));
        }
        assert_eq!(seen(&[]), [ours.1]);
        let agent = |started| ProcessId { pid: Pid(i32::MAX), started };
        assert_eq!(seen(&[agent(ours.1.started + 1)]), [ours.1], "the agent that runs now came later");
        assert_eq!(seen(&[agent(ours.1.started)]), [], "the agent that runs now may have started it");
        assert_eq!(seen(&[ours.1]), [], "it is the agent itself");
    }
}
