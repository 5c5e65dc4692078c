//! Which account the pool works under when nothing remembers it: at the first start, and after the state was lost.
//!
//! # Guarantees
//! The active link and the agents that run go before checkpoints, which are older. Where those two, or the agents among each other, disagree, and
//! where neither says anything and something could not be looked at, nobody decides but a person: going to the wrong account would stop
//! agents that work and turn the link away from them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Memory, planner::MAX_FACT_AGE};
use crate::{
    model::{AccountName, Now, SessionName},
    observed::{Checkpoint, CheckpointCause, LinkView, Seen, Snapshot},
    spec::{Account, Spec},
};

/// The reason in reports and conditions while nobody can tell which account is active.
pub const ACTIVE_UNKNOWN: &str = "ActiveUnknown";

/// What the facts say about the active account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveEvidence {
    /// Nothing at all: the pool is new.
    Nothing,
    /// One account, and what says so.
    Names(AccountName, String),
    /// It cannot be told, with what was seen.
    Undecided(String),
}

/// Weighs the facts: the active link and the agents of our sessions, which must agree; else the newest checkpoint.
pub fn active_evidence(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> ActiveEvidence {
    let mut voices = Voices::default();
    voices.hear_link(spec, seen);
    voices.hear_agents(spec, seen, memory, now);
    match voices.verdict() {
        ActiveEvidence::Nothing => newest_checkpoint(spec, seen),
        verdict => verdict,
    }
}

/// What was heard so far.
#[derive(Default)]
struct Voices<'a> {
    named: BTreeSet<&'a AccountName>,
    words: Vec<String>,
    /// What could not be looked at.
    unseen: Vec<String>,
}

impl<'a> Voices<'a> {
    fn hear_link(&mut self, spec: &'a Spec, seen: &Snapshot) {
        let Some(path) = &spec.active_link else { return };
        match &seen.active_link {
            Seen::Unknown(why) => self.unseen.push(format!("the active link {} cannot be looked at: {why}", path.display())),
            Seen::Known(fact) => {
                // One that leads elsewhere is nobody's word.
                let LinkView::Link { target, .. } = &fact.value else { return };
                if let Some(account) = spec.account_at(target) {
                    self.named.insert(&account.name);
                    self.words.push(format!("the active link leads to {}", account.name));
                }
            }
        }
    }

    fn hear_agents(&mut self, spec: &'a Spec, seen: &Snapshot, memory: &Memory, now: Now) {
        let Some(tmux) = seen.tmux.fresh(now, MAX_FACT_AGE) else {
            self.unseen.push("tmux cannot be looked at".to_owned());
            return;
        };
        let mut running: BTreeMap<&AccountName, Vec<&SessionName>> = BTreeMap::new();
        let marks = tmux.panes.values().filter_map(|pane| pane.mark.as_ref());
        for session in marks.filter(|mark| mark.pool == memory.pool).map(|mark| &mark.session) {
            let Some(agent) = seen.agents.get(session).and_then(|agent| agent.fresh(now, MAX_FACT_AGE)) else {
                self.unseen.push(format!("the agent of session {session} cannot be looked at"));
                continue;
            };
            match (agent.process, agent.home.as_deref()) {
                (Some(_), Some(home)) => {
                    // An agent under no account of ours names none.
                    if let Some(account) = spec.account_at(home) {
                        running.entry(&account.name).or_default().push(session);
                    }
                }
                (Some(_), None) => self.unseen.push(format!("under which home the agent of session {session} runs cannot be told")),
                (None, _) => {}
            }
        }
        for (account, sessions) in running {
            self.named.insert(account);
            self.words.push(match sessions.as_slice() {
                [one] => format!("session {one} runs under {account}"),
                [first, rest @ ..] => format!("session {first} and {} more run under {account}", rest.len()),
                [] => continue,
            });
        }
    }

    fn verdict(self) -> ActiveEvidence {
        let mut named = self.named.into_iter();
        match (named.next(), named.next()) {
            (Some(account), None) => ActiveEvidence::Names(account.clone(), self.words.join("; ")),
            (Some(_), Some(_)) => ActiveEvidence::Undecided(self.words.join("; ")),
            (None, _) if self.unseen.is_empty() => ActiveEvidence::Nothing,
            (None, _) => ActiveEvidence::Undecided(self.unseen.join("; ")),
        }
    }
}

/// The account of the newest checkpoint of a declared session, among the accounts that are declared still.
fn newest_checkpoint(spec: &Spec, seen: &Snapshot) -> ActiveEvidence {
    let mut newest: Option<(&Checkpoint, &Account)> = None;
    for name in spec.sessions.keys() {
        let found = match seen.checkpoints.get(name) {
            Some(Seen::Known(fact)) => fact.value.newest.as_ref(),
            Some(Seen::Unknown(why)) => {
                return ActiveEvidence::Undecided(format!("the checkpoints of session {name} cannot be looked at: {why}"));
            }
            None => None,
        };
        let Some(checkpoint) = found.map(|found| &found.checkpoint) else { continue };
        let Some(account) = spec.account(&checkpoint.account) else { continue };
        if newest.is_none_or(|(before, _)| before.taken_at < checkpoint.taken_at) {
            newest = Some((checkpoint, account));
        }
    }
    let Some((checkpoint, account)) = newest else { return ActiveEvidence::Nothing };
    let Checkpoint { session, taken_at, why, .. } = checkpoint;
    let which = format!("the newest checkpoint, of session {session} at {taken_at:.0}");
    if *why == CheckpointCause::BeforeSwap {
        return ActiveEvidence::Undecided(format!("{which}, was taken before a swap away from {}", account.name));
    }
    ActiveEvidence::Names(account.name.clone(), format!("{which}, was taken under {}", account.name))
}

#[cfg(test)]
#[path = "tests/evidence.rs"]
mod tests;
