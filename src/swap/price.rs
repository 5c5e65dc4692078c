//! What a swap costs, told before it is begun.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    model::{Activity, SessionName},
    observed::{Seen, Snapshot},
};

/// How many sessions a swap disturbs, and how much context the target pays for again: its prompt cache is cold, since that cache belongs
/// to the organisation (`facts/claude-code.md`, section 6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Sessions that lose nothing when they are moved now.
    pub quiet: usize,
    /// Sessions that are waited for, and interrupted at the drain deadline.
    pub busy: usize,
    /// Sessions of which it is not known what they do; they are treated as busy.
    pub unknown: usize,
    /// Tokens in the contexts that are known.
    pub context_tokens: u64,
    /// Sessions whose context is not known and comes on top.
    pub unmeasured: usize,
    /// Sessions that have a task; it goes along.
    pub at_tasks: usize,
}

/// The price of moving `sessions`, from what was last seen of them.
pub fn price<'a>(sessions: impl IntoIterator<Item = &'a SessionName>, seen: &Snapshot, at_tasks: &BTreeSet<&SessionName>) -> Price {
    let mut price = Price::default();
    for name in sessions {
        price.at_tasks += usize::from(at_tasks.contains(name));
        match seen.activity(name) {
            Activity::Unknown => price.unknown += 1,
            activity if activity.is_quiet() => price.quiet += 1,
            _ => price.busy += 1,
        }
        match seen.agents.get(name).and_then(Seen::value).and_then(|agent| agent.context_tokens) {
            Some(tokens) => price.context_tokens = price.context_tokens.saturating_add(tokens),
            None => price.unmeasured += 1,
        }
    }
    price
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} idle, {} busy", self.quiet, self.busy)?;
        if self.unknown > 0 {
            write!(f, ", {} unknown", self.unknown)?;
        }
        write!(f, "; {} context tokens to pay again", self.context_tokens)?;
        if self.unmeasured > 0 {
            write!(f, ", and those of {} not measured", self.unmeasured)?;
        }
        match self.at_tasks {
            0 => {}
            1 => f.write_str("; 1 task goes along with its session")?,
            tasks => write!(f, "; {tasks} tasks go along with their sessions")?,
        }
        Ok(())
    }
}
