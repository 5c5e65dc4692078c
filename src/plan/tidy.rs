//! What is old is cleaned away: by lists that [`crate::retention`] makes.

use super::{
    Disruption, Effect, Phase, Verb,
    planner::{AgentNow, MAX_FACT_AGE, Planner, action},
};
use crate::{
    model::ObjectRef,
    observed::Seen,
    retention::{Standing, expired_checkpoints},
};

impl Planner<'_> {
    /// Plans what is cleaned away.
    pub fn plan_tidying(&mut self) {
        self.plan_old_checkpoints();
        self.plan_orphans();
    }

    /// Agents that we started, by our record with their start time, whose session the spec no longer declares and whose terminal is gone:
    /// nobody can work with them any more, and they would work on unseen.
    fn plan_orphans(&mut self) {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return };
        for (name, record) in &self.memory.sessions {
            let gone = !self.spec.sessions.contains_key(name) && !tmux.panes.contains_key(name.as_str());
            if !gone || self.in_swap(name) || !self.memory.removal_seen.contains(name) {
                continue;
            }
            let AgentNow::Seen(agent) = self.agent(name) else { continue };
            let Some(process) = agent.process.filter(|process| record.process == Some(*process)) else { continue };
            let effect = Effect::StopAgent { session: name.clone(), process, grace: self.spec.agent.stop_grace };
            let what = format!("stop process {}", process.pid);
            let why = "its session is gone from the spec and from tmux, and the agent that we started lives on";
            let stop = action(ObjectRef::Session(name.clone()), Verb::Stop, what, why, effect);
            self.act(Phase::Tidy, stop.disturbing(Disruption::Working));
        }
    }

    /// Plans the removal of checkpoints that are over the number or the age that the spec allows.
    fn plan_old_checkpoints(&mut self) {
        for (session, seen) in &self.seen.checkpoints {
            let Seen::Known(fact) = seen else { continue };
            let is_known = self.spec.sessions.contains_key(session) || self.memory.sessions.contains_key(session);
            let standing = if is_known { Standing::Known } else { Standing::Gone };
            let expired = expired_checkpoints(&fact.value.taken, &self.spec.checkpoints, standing, self.now.wall);
            if expired.is_empty() {
                continue;
            }
            let policy = &self.spec.checkpoints;
            let why = format!("{} are kept, for {} hours at most", policy.keep, policy.max_age.as_secs() / 3_600);
            let effect = Effect::RemoveCheckpoints { session: session.clone(), checkpoints: expired };
            let what = format!("remove old checkpoints of {session}");
            // Not about the session: what fails here must not hold its restarts back.
            self.act(Phase::Tidy, action(ObjectRef::StateDir, Verb::Tidy, what, why, effect));
        }
    }
}
