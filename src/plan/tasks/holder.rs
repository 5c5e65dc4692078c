//! What the session that holds a task does about it, as far as is known.

use jiff::Timestamp;

use super::{AHEAD, CALM, CONTINUATION, MAX_OUTAGE, TaskGrounds};
use crate::{
    model::{Activity, ObjectRef, SessionName, doubled},
    observed::{AgentView, Seen},
    plan::{MAX_FACT_AGE, TaskAttempt},
};

/// The session of an open attempt.
pub(super) enum Holder<'a> {
    /// Nobody knows.
    Unknown,
    /// It will not go on with the task, with why.
    Lost(String),
    /// It has no agent now; it will be started again with its conversation.
    Down,
    /// Its agent lives with the conversation and is not idle: it may be at the task.
    Busy(Activity),
    /// Its agent lives with the conversation and is idle.
    Idle(&'a AgentView),
}

/// What became of the present prompt, by the word of an idle agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It does not say that it took the prompt.
    NotTaken,
    /// The turn ended then.
    Over(Timestamp),
    /// A person stopped the turn, or the agent was replaced in the middle of it, and is idle since then.
    Interrupted(Timestamp),
    /// A limit or an error of the API cut the turn off then; the agent is idle since. It has been told to go on so often already.
    CutOff(Timestamp, u32),
    /// It took the prompt, and does not say whether the turn has ended.
    Unclear,
}

impl Turn {
    /// When a turn that is over may be acted on: nothing has begun behind it by itself.
    pub fn calm_at(self) -> Option<Timestamp> {
        match self {
            Self::Over(at) => Some(super::later(at, CALM)),
            Self::Interrupted(at) => Some(super::later(at, CONTINUATION)),
            Self::CutOff(at, resumed) => Some(super::later(at, doubled(CONTINUATION, resumed, MAX_OUTAGE))),
            Self::NotTaken | Self::Unclear => None,
        }
    }

    /// When it ended, if it has.
    pub const fn ended_at(self) -> Option<Timestamp> {
        match self {
            Self::Over(at) | Self::Interrupted(at) | Self::CutOff(at, _) => Some(at),
            Self::NotTaken | Self::Unclear => None,
        }
    }

    /// Whether it may be acted on, on a queue that was looked at then: what the agent did to the files in its turn must have been seen.
    pub fn is_calm(self, now: Timestamp, queue_seen: Timestamp) -> bool {
        let Some(at) = self.ended_at() else { return false };
        if at > super::later(now, AHEAD) {
            // The clock was set back since the turn ended: a queue that was seen since then has what the agent did.
            return queue_seen <= now || queue_seen >= at;
        }
        self.calm_at().is_some_and(|calm| calm <= now) && queue_seen >= at
    }
}

/// The turn of the attempt's present prompt, when its agent is idle.
pub(super) fn turn(attempt: &TaskAttempt, agent: &AgentView) -> Turn {
    let Some(taken) = attempt.taken_at else { return Turn::NotTaken };
    let idle_since = agent.activity_since.filter(|since| *since > taken);
    let ended = agent.turn_ended_at.filter(|ended| *ended > taken);
    if let Some(cut) = attempt.cut_off_at.filter(|cut| ended.is_none_or(|ended| ended < *cut)) {
        return Turn::CutOff(idle_since.map_or(cut, |since| since.max(cut)), attempt.resumed);
    }
    match (ended, idle_since) {
        // Both are of the same end; the later one is when the agent came to rest.
        (Some(ended), since) => Turn::Over(since.map_or(ended, |since| since.max(ended))),
        // At rest without a word of an end: a person cut it off, or the agent was replaced.
        (None, Some(since)) => Turn::Interrupted(since),
        (None, None) => Turn::Unclear,
    }
}

/// Whether the session of an attempt, also of one that was taken back, may still be at the task.
pub fn may_be_at_it(grounds: &TaskGrounds<'_>, attempt: &TaskAttempt) -> bool {
    matches!(grounds.holder(attempt), Holder::Unknown | Holder::Busy(_))
}

impl<'a> TaskGrounds<'a> {
    pub(super) fn holder(&self, attempt: &TaskAttempt) -> Holder<'a> {
        let name = &attempt.session;
        let declared = self.spec.sessions.contains_key(name);
        let agent = match self.seen.agents.get(name) {
            Some(Seen::Known(fact)) if self.now.since(fact.at) <= MAX_FACT_AGE => Some(&fact.value),
            Some(_) => return Holder::Unknown,
            None => None,
        };
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return Holder::Unknown };
        let Some(agent) = agent.filter(|agent| agent.process.is_some()) else {
            // A pane whose agent was not looked at may have one.
            if agent.is_none() && tmux.panes.contains_key(name.as_str()) {
                return Holder::Unknown;
            }
            return self.down(attempt, declared);
        };
        if let Some(register) = agent.register.as_ref().filter(|register| register.conversation != attempt.conversation) {
            return Holder::Lost(format!("its agent has another conversation open, {}", register.conversation));
        }
        let ours = tmux.panes.get(name.as_str()).and_then(|pane| pane.mark.as_ref()).is_some_and(|mark| mark.pool == self.memory.pool);
        match agent.activity {
            Activity::Unknown => Holder::Unknown,
            Activity::Idle if !declared => Holder::Lost("it is not declared any more".to_owned()),
            Activity::Idle if !ours => Holder::Lost("it does not carry our mark any more".to_owned()),
            Activity::Idle => Holder::Idle(agent),
            activity => Holder::Busy(activity),
        }
    }

    pub(super) fn is_quarantined(&self, session: &SessionName) -> bool {
        self.memory.attempts.get(&ObjectRef::Session(session.clone())).is_some_and(|attempts| attempts.quarantined)
    }

    fn down(&self, attempt: &TaskAttempt, declared: bool) -> Holder<'a> {
        let record = self.memory.sessions.get(&attempt.session);
        match record {
            _ if !declared => Holder::Lost("it is not declared any more".to_owned()),
            None => Holder::Lost("it is not ours any more".to_owned()),
            Some(record) if record.conversation != attempt.conversation => {
                Holder::Lost(format!("it is bound to another conversation, {}", record.conversation))
            }
            Some(_) if self.is_quarantined(&attempt.session) => {
                Holder::Lost("its agent ends too often and is not started again".to_owned())
            }
            Some(_) => Holder::Down,
        }
    }
}
