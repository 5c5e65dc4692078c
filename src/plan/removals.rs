//! Sessions that the spec no longer declares: released or pruned, never many at once, and never on one look.

use super::{
    Disruption, Effect, Phase, Verb,
    planner::{MAX_FACT_AGE, Planner, action},
    sessions::is_busy,
};
use crate::{
    model::{ObjectRef, SessionName},
    observed::{Mark, PaneView, Seen},
};

impl Planner<'_> {
    /// Plans the release or the stop of every session of ours that is not declared.
    pub fn plan_removals(&mut self) {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return };
        let mut prunes = Vec::new();
        for (name, pane) in &tmux.panes {
            let Some(mark) = pane.mark.as_ref().filter(|mark| mark.pool == self.memory.pool) else { continue };
            if self.spec.sessions.contains_key(&mark.session) || *name != mark.session.as_str() {
                continue;
            }
            let object = ObjectRef::Session(mark.session.clone());
            if self.memory.swap.as_ref().is_some_and(|swap| swap.moves.contains_key(&mark.session)) {
                self.wait(object, "SwapOpen", "it is removed after the swap");
            } else if !self.memory.removal_seen.contains(&mark.session) {
                self.wait(object, "RemovalSeenOnce", "it is not declared any more; a removal is acted on when it is seen twice");
            } else if self.spec.prune {
                prunes.push((pane, mark));
            } else {
                let effect = Effect::ReleaseSession { session_id: pane.session_id.clone(), mark: mark.clone() };
                self.act(Phase::Stop, action(object, Verb::Release, "release", "not declared any more, prune is off", effect));
            }
        }
        if prunes.len() > self.spec.max_prune {
            // None of them, not the first few: pass by pass, all would go.
            for (_, mark) in &prunes {
                let message = format!(
                    "{} sessions would be stopped, which is more than maxPrune ({}); put them back, or raise `maxPrune`",
                    prunes.len(),
                    self.spec.max_prune
                );
                self.warn(ObjectRef::Session(mark.session.clone()), "PruneRefused", message);
            }
            return;
        }
        for (pane, mark) in prunes {
            self.plan_prune(&mark.session, pane, mark);
        }
    }

    fn plan_prune(&mut self, name: &SessionName, pane: &PaneView, mark: &Mark) {
        let object = ObjectRef::Session(name.clone());
        let agent = match self.seen.agents.get(name) {
            Some(Seen::Known(fact)) => &fact.value,
            _ => {
                self.wait(object, "AgentUnknown", "it is not declared any more, but its process cannot be looked at");
                return;
            }
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
