//! Sessions whose agents seem idle and into which nothing can be typed: a person's draft stands in the box, somebody reads back in the pane.
//!
//! Such a session is left out, longer each time, until its agent shows something new.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{TaskGrounds, later};
use crate::{
    model::{Activity, Now, ProcessId, SessionName, doubled},
    observed::{AgentView, Seen, Snapshot},
    plan::{Absorbed, MAX_FACT_AGE, Memory, MemoryChange},
};

/// How long a session is left out at first; doubled with each refusal up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(10);

/// That a session could not be typed into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Untyped {
    /// What kept us from it, in one sentence.
    pub message: String,
    /// How often it did, without anything having changed.
    pub times: u32,
    /// It is left out until then.
    pub until: Timestamp,
    /// The agent that it was.
    pub process: ProcessId,
    /// Since when it was idle.
    pub idle_since: Option<Timestamp>,
}

impl Untyped {
    /// After one more refusal.
    pub fn after(memory: &Memory, seen: &Snapshot, session: &SessionName, process: ProcessId, message: String, now: Now) -> Self {
        let idle_since = seen.agents.get(session).and_then(Seen::value).and_then(|agent| agent.activity_since);
        let before = memory.untyped.get(session).filter(|before| before.process == process && before.idle_since == idle_since);
        let times = before.map_or(1, |before| before.times.saturating_add(1));
        let delay = doubled(FIRST, times.saturating_sub(1), LONGEST);
        Self { message, times, until: later(now.wall, delay), process, idle_since }
    }

    /// Whether its agent still shows what it showed then.
    fn still_holds(&self, agent: &AgentView) -> bool {
        let idle = matches!(agent.activity, Activity::Idle | Activity::Unknown);
        idle && agent.process == Some(self.process) && agent.activity_since == self.idle_since
    }
}

/// Forgets what is over. An agent that cannot be seen shows nothing new.
pub(super) fn absorb_untyped(grounds: &TaskGrounds<'_>, absorbed: &mut Absorbed) {
    let mut next = grounds.memory.untyped.clone();
    let longest = later(grounds.now.wall, LONGEST);
    next.retain(|session, untyped| {
        let agent = grounds.seen.agents.get(session).map(|agent| agent.fresh(grounds.now, MAX_FACT_AGE));
        let holds = agent.is_none_or(|agent| agent.is_none_or(|agent| untyped.still_holds(agent)));
        // The wall clock was set back, if it is to be left out for longer than any session is.
        holds && untyped.until <= longest && grounds.spec.sessions.contains_key(session)
    });
    if next != grounds.memory.untyped {
        absorbed.changes.push(MemoryChange::SetUntyped(next));
    }
}

impl<'a> TaskGrounds<'a> {
    /// What keeps us from typing into a session now.
    pub(super) fn untyped(&self, session: &SessionName) -> Option<&'a Untyped> {
        self.memory.untyped.get(session).filter(|untyped| untyped.until > self.now.wall)
    }
}
