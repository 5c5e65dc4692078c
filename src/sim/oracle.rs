//! Whether the world is as a spec wants it: what "converged" means, said without the planner.

use std::{collections::BTreeMap, path::Path};

use super::{World, files::Node};
use crate::{
    model::{AccountName, ConversationId, PoolId},
    plan::link_needs,
    spec::Spec,
};

impl World {
    /// What differs from `spec` with `account` as the active one, in words; empty when nothing does. A session counts when it exists, is
    /// marked as ours, and its agent has registered under the account.
    pub fn mismatches(&self, spec: &Spec, pool: PoolId, account: &AccountName) -> Vec<String> {
        let Some(active) = spec.account(account) else { return vec![format!("account {account} is not declared")] };
        let mut differs = Vec::new();
        for name in spec.sessions.keys() {
            if let Some(what) = self.mismatch(name.as_str(), pool, &active.home) {
                differs.push(format!("session {name}: {what}"));
            }
        }
        let declared = |name: &String| spec.sessions.keys().any(|declared| declared.as_str() == name);
        for (name, session) in &self.tmux.sessions {
            if !declared(name) && session.own_mark(name).is_some_and(|mark| mark.pool == pool) {
                differs.push(format!("session {name}: not declared, and marked as ours"));
            }
        }
        for account in &spec.accounts {
            for need in link_needs(spec, account).iter().filter(|need| !self.is_right(need)) {
                differs.push(format!("link {}: not right", need.path.display()));
            }
        }
        if let Some(link) = &spec.active_link
            && !matches!(self.files.node(link), Some(Node::Link(target)) if *target == active.home)
        {
            differs.push(format!("active link {}: does not lead to {}", link.display(), active.home.display()));
        }
        differs
    }

    /// The conversations that the agents in the panes have open, by session.
    pub fn conversations(&self) -> BTreeMap<String, ConversationId> {
        let open = |(name, session): (&String, &super::Session)| {
            let agent = self.alive(session.pid)?.agent.as_ref()?;
            Some((name.clone(), agent.conversation))
        };
        self.tmux.sessions.iter().filter_map(open).collect()
    }

    fn mismatch(&self, name: &str, pool: PoolId, home: &Path) -> Option<&'static str> {
        let Some(session) = self.tmux.sessions.get(name) else { return Some("not there") };
        if session.own_mark(name).is_none_or(|mark| mark.pool != pool) {
            return Some("not marked as ours");
        }
        match self.alive(session.pid) {
            None => Some("its agent has ended"),
            Some(process) if process.home != home => Some("its agent runs under another account"),
            Some(process) if !process.agent.as_ref().is_some_and(super::Agent::is_registered) => Some("its agent is not ready"),
            Some(_) => None,
        }
    }
}
