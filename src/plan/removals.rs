//! Sessions that the spec no longer declares: released or pruned, never many at once, and never on one look.

use super::{
    Disruption, Effect, Phase, SessionRecord, Verb,
    evidence::ACTIVE_UNKNOWN,
    planner::{AgentNow, MAX_FACT_AGE, Planner, action},
    sessions::is_busy,
};
use crate::{
    model::{ObjectRef, ProcessId, SessionName},
    observed::{Abreast, Mark, PaneView, TmuxView},
};

impl<'a> Planner<'a> {
    /// Plans the release or the stop of every session of ours that is not declared.
    pub fn plan_removals(&mut self) {
        let Some(tmux) = self.seen.tmux.fresh(self.now, MAX_FACT_AGE) else { return };
        let undeclared = self.undeclared(tmux);
        let orphans = self.undeclared_orphans(tmux);
        // All of them count, whatever they do: counted one pass at a time, any number would get past the bound.
        let names = undeclared.iter().map(|(_, mark)| &mark.session).chain(orphans.iter().map(|(name, _)| *name));
        let count = names.filter(|name| !self.memory.prune_confirmed.contains(*name)).count();
        let too_many = count > self.spec.max_prune;
        for (pane, mark) in undeclared.iter().copied() {
            if self.waits_with_removal(&mark.session, too_many.then_some(count)) {
                continue;
            }
            if self.spec.prune {
                self.plan_prune(&mark.session, pane, mark);
            } else {
                let object = ObjectRef::Session(mark.session.clone());
                let effect = Effect::ReleaseSession { session_id: pane.session_id.clone(), mark: mark.clone() };
                self.act(Phase::Stop, action(object, Verb::Release, "release", "not declared any more, prune is off", effect));
            }
        }
        for (name, process) in orphans {
            if !self.waits_with_removal(name, too_many.then_some(count)) && self.spec.prune {
                self.plan_orphan_prune(name, process);
            }
        }
    }

    /// Whether a removal is not acted on now, with the reason in the report. `too_many` is how many there are, if that is more than may be.
    fn waits_with_removal(&mut self, session: &SessionName, too_many: Option<usize>) -> bool {
        let object = ObjectRef::Session(session.clone());
        if self.undecided {
            self.wait(object, ACTIVE_UNKNOWN, "which account is active cannot be told; see the pool");
        } else if self.memory.is_moving(session) {
            self.wait(object, "SwapOpen", "it is removed after the swap");
        } else if !self.memory.removal_seen.contains(session) {
            self.wait(object, "RemovalSeenOnce", "it is not declared any more; a removal is acted on when it is seen twice");
        } else if let Some(count) = too_many.filter(|_| self.spec.prune && !self.memory.prune_confirmed.contains(session)) {
            let message = format!(
                "{count} sessions are not declared any more, and maxPrune is {}: none is stopped; look at them and run \
                 `claude-failover apply --confirm-prune`, raise `maxPrune`, or remove fewer at a time",
                self.spec.max_prune
            );
            self.warn(object, "PruneRefused", message);
        } else {
            return false;
        }
        true
    }

    /// Sessions of ours that are not declared and whose pane is gone, while the very process that we recorded for them lives on.
    fn undeclared_orphans(&self, tmux: &TmuxView) -> Vec<(&'a SessionName, ProcessId)> {
        let mut declared = Abreast::of(&self.spec.sessions);
        let orphan = |(name, record): (&'a SessionName, &SessionRecord)| {
            if declared.get(name).is_some() || tmux.panes.contains_key(name.as_str()) {
                return None;
            }
            let AgentNow::Seen(agent) = self.agent(name) else { return None };
            let process = agent.process.filter(|process| record.process == Some(*process))?;
            Some((name, process))
        };
        self.memory.sessions.iter().filter_map(orphan).collect()
    }

    fn plan_orphan_prune(&mut self, name: &SessionName, process: ProcessId) {
        let object = ObjectRef::Session(name.clone());
        let busy = matches!(self.agent(name), AgentNow::Seen(agent) if is_busy(agent.activity));
        if busy {
            self.wait(object, "WaitsForIdle", "it is not declared any more and its pane is gone; its agent is stopped once it is idle");
            return;
        }
        let effect = Effect::StopAgent { session: name.clone(), process, grace: self.spec.agent.stop_grace };
        let what = format!("stop process {}", process.pid);
        let stop = action(object, Verb::Stop, what, "not declared any more, its pane is gone and the agent lives on", effect);
        self.act(Phase::Stop, stop.disturbing(Disruption::Idle));
    }

    /// The panes that carry our mark as their bearer and that the spec does not declare.
    fn undeclared<'t>(&self, tmux: &'t TmuxView) -> Vec<(&'t PaneView, &'t Mark)> {
        let mut declared = Abreast::of(&self.spec.sessions);
        let ours = |(name, pane): (&'t String, &'t PaneView)| {
            let mark = pane.mark.as_ref()?;
            let is_ours = mark.pool == self.memory.pool && mark.session.as_str() == name;
            (is_ours && declared.get(&mark.session).is_none()).then_some((pane, mark))
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
