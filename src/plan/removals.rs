//! Sessions that the spec no longer declares: released or pruned, never many at once, and never on one look.

use super::{
    Disruption, Effect, Phase, Verb,
    planner::{AgentNow, MAX_FACT_AGE, Planner, action},
    sessions::is_busy,
};
use crate::{
    model::{ObjectRef, SessionName},
    observed::{Mark, PaneView, TmuxView},
};

impl Planner<'_> {
    /// Plans the release or the stop of every session of ours that is not declared.
    pub fn plan_removals(&mut self) {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return };
        let undeclared = self.undeclared(tmux);
        // All of them count, whatever they do: counted one pass at a time, any number would get past the bound.
        let too_many = undeclared.len() > self.spec.max_prune;
        for (pane, mark) in undeclared.iter().copied() {
            let object = ObjectRef::Session(mark.session.clone());
            if self.in_swap(&mark.session) {
                self.wait(object, "SwapOpen", "it is removed after the swap");
            } else if !self.memory.removal_seen.contains(&mark.session) {
                self.wait(object, "RemovalSeenOnce", "it is not declared any more; a removal is acted on when it is seen twice");
            } else if self.spec.prune && too_many {
                let message = format!(
                    "{} sessions are not declared any more, and maxPrune is {}: none is stopped; raise `maxPrune`, or remove fewer at a time",
                    undeclared.len(),
                    self.spec.max_prune
                );
                self.warn(object, "PruneRefused", message);
            } else if self.spec.prune {
                self.plan_prune(&mark.session, pane, mark);
            } else {
                let effect = Effect::ReleaseSession { session_id: pane.session_id.clone(), mark: mark.clone() };
                self.act(Phase::Stop, action(object, Verb::Release, "release", "not declared any more, prune is off", effect));
            }
        }
    }

    /// The panes that carry our mark as their bearer and that the spec does not declare.
    fn undeclared<'a>(&self, tmux: &'a TmuxView) -> Vec<(&'a PaneView, &'a Mark)> {
        let ours = |(name, pane): (&'a String, &'a PaneView)| {
            let mark = pane.mark.as_ref()?;
            let is_ours = mark.pool == self.memory.pool && mark.session.as_str() == name;
            (is_ours && !self.spec.sessions.contains_key(&mark.session)).then_some((pane, mark))
        };
        tmux.panes.iter().filter_map(ours).collect()
    }

    fn plan_prune(&mut self, name: &SessionName, pane: &PaneView, mark: &Mark) {
        let object = ObjectRef::Session(name.clone());
        let AgentNow::Seen(agent) = self.agent(name) else {
            self.wait(object, "AgentUnknown", "it is not declared any more, but its process cannot be looked at");
            return;
        };
        if agent.process.is_some() && is_busy(agent.activity) {
            self.wait(
                object,
                "WaitsForIdle",
                format!("it is not declared any more; it is stopped once it is idle (it is {})", agent.activity),
            );
            return;
        }
        match agent.process {
            Some(process) => {
                let effect = Effect::StopAgent { session: name.clone(), process, grace: self.spec.agent.stop_grace };
                let stop = action(object, Verb::Stop, "stop", "not declared any more, prune is on", effect);
                self.act(Phase::Stop, stop.disturbing(Disruption::Idle));
            }
            None => {
                let effect = Effect::CloseSession { session_id: pane.session_id.clone(), mark: mark.clone() };
                self.act(Phase::Stop, action(object, Verb::Stop, "close", "its agent has ended, prune is on", effect));
            }
        }
    }
}
