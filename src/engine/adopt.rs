//! Takes over what exists already and carries no mark of ours: a tmux session of a declared name, or the shared root; and says which account the
//! pool is on when that cannot be told.

use super::{
    Answer, Engine, EngineError, Request, View,
    operate::{done, refused},
    orders::Order,
};
use crate::{
    host::{Host, Look},
    model::{AccountName, EventReason, ObjectRef, SessionName, Severity},
    observed::{Mark, RootView, Seen},
    plan::{Active, ActiveEvidence, Effect, MemoryChange, Verb, active_evidence},
};

impl<H: Host> Engine<H> {
    pub(super) async fn adopt(&mut self, request: &Request, name: &SessionName) -> Result<Answer, EngineError> {
        self.view.look(&Look { tmux: true, agents: true, ..Look::default() }).await;
        let Some(session) = self.view.spec.sessions.get(name) else {
            return Ok(refused(format!("the spec declares no session {name}; declare it first")));
        };
        let Some(pane) = self.view.seen.tmux.value().and_then(|tmux| tmux.panes.get(name.as_str())) else {
            return Ok(refused(format!("no tmux session {name} is seen on the pool's server")));
        };
        if let Some(mark) = &pane.mark {
            let ours = mark.pool == self.view.memory.pool;
            let message =
                if ours { format!("session {name} is ours already") } else { format!("session {name} belongs to pool {}", mark.pool) };
            return Ok(refused(message));
        }
        let agent = self.view.seen.agents.get(name).and_then(Seen::value);
        if !agent.is_some_and(|agent| agent.process.is_some() && agent.register.is_some()) {
            let message = format!(
                "no agent that has registered itself runs in tmux session {name}: what is taken over is an agent with its conversation; \
                 start `{}` as the pane's own process, or end the session and let the pool start it",
                self.view.spec.agent.command.join(" ")
            );
            return Ok(refused(message));
        }
        let mark = Mark { pool: self.view.memory.pool, session: name.clone(), digest: self.view.spec.start_digest(session) };
        let effect = Effect::AdoptSession { session_id: pane.session_id.clone(), pane: pane.pane.clone(), mark };
        let order = Order {
            object: ObjectRef::Session(name.clone()),
            verb: Verb::Adopt,
            effect,
            changes: Vec::new(),
            reason: EventReason::SessionAdopted,
            message: format!("adopted by {}", request.actor),
            answer: format!("session {name} is ours now"),
        };
        self.carry_out(request, order).await
    }

    /// An operator's word that the shared root, with what it holds, is this pool's. What is seen is shown first.
    pub(super) async fn adopt_shared_root(&mut self, request: &Request, look_only: bool) -> Result<Answer, EngineError> {
        self.view.look(&Look { links: true, ..Look::default() }).await;
        let root = self.view.spec.shared.root.clone();
        let shown = root.display();
        let refused = |message| Ok(refused(message));
        match &self.view.seen.shared_root {
            Seen::Unknown(why) => return refused(format!("{shown} cannot be looked at: {why}")),
            Seen::Known(fact) => match &fact.value {
                RootView::Marked(pool) if *pool == self.view.memory.pool => {
                    return Ok(done(format!("{shown} is this pool's already"), false));
                }
                RootView::Marked(pool) => {
                    return refused(format!(
                        "{shown} carries the marker of pool {pool} and is never taken from it; see RootForeign in docs/recovery.md"
                    ));
                }
                RootView::Absent | RootView::Empty => {
                    return refused(format!(
                        "{shown} holds nothing to take over; `apply` makes it, unless it was this pool's and its share is not mounted"
                    ));
                }
                RootView::Unmarked => {}
            },
        }
        if look_only {
            let mut lines = vec![format!("{shown} holds something and carries no pool's marker")];
            for name in &self.view.spec.shared.links {
                let found = self.view.seen.targets.get(name).and_then(Seen::value);
                lines.push(format!("{name}: {}", found.map_or_else(|| "not known".to_owned(), |view| format!("{view:?}").to_lowercase())));
            }
            return Ok(Answer::Done { lines, changed: false, degraded: true });
        }
        let order = Order {
            object: ObjectRef::SharedRoot,
            verb: Verb::Adopt,
            effect: Effect::AdoptSharedRoot { root: root.clone(), pool: self.view.memory.pool },
            changes: Vec::new(),
            reason: EventReason::SharedRootAdopted,
            message: format!("adopted by {}", request.actor),
            answer: format!("{shown} is this pool's now"),
        };
        self.carry_out(request, order).await
    }

    /// An operator's word which account the pool is on. Only where nothing remembers it and the facts leave it open: any other change of the account
    /// is a swap.
    pub(super) async fn adopt_account(&mut self, request: &Request, name: &AccountName, look_only: bool) -> Result<Answer, EngineError> {
        if self.view.spec.account(name).is_none() {
            return Ok(refused(format!("the spec declares no account {name}")));
        }
        if let Some(active) = &self.view.memory.active {
            if active.account == *name {
                return Ok(done(format!("the pool is on account {name} already"), false));
            }
            return Ok(refused(format!("the pool is on account {}; `claude-failover swap --to {name}` carries it over", active.account)));
        }
        self.view.look(&Look::all()).await;
        let View { spec, seen, memory, .. } = &self.view;
        if let ActiveEvidence::Names(found, by) = active_evidence(spec, seen, memory, self.view.now())
            && found != *name
        {
            return Ok(refused(format!(
                "the pool is on account {found} ({by}); `claude-failover adopt account/{found}` records that at once, also where its links are not \
                 right, and then `claude-failover swap --to {name}` carries the pool over"
            )));
        }
        if look_only {
            return Ok(Answer::Done { lines: self.view.evidence(&ObjectRef::Pool), changed: false, degraded: true });
        }
        let object = ObjectRef::Account(name.clone());
        let message = format!("it is the active account by the word of {}", request.actor);
        let event = self.view.event(object, EventReason::AccountActivated, Severity::Warning, message);
        let active = Active { account: name.clone(), since: self.view.wall() };
        let line = format!("the pool is on account {name} now; idle sessions that run under another one are moved there");
        self.answer(request, done(line, true), vec![MemoryChange::SetActive(active)], vec![event])
    }
}
