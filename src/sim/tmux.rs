//! The tmux server: sessions with one pane each.

use std::collections::BTreeMap;

use super::World;
use crate::{
    host::Wake,
    model::{PaneId, Pid, TmuxSessionId},
    observed::Mark,
};

/// The server and its sessions.
#[derive(Debug, Clone, Default)]
pub struct Tmux {
    /// The server's process, while it runs.
    pub server: Option<Pid>,
    /// By name.
    pub sessions: BTreeMap<String, Session>,
    /// It is stopped and answers nobody.
    pub hung: bool,
    /// It loses how processes end, as Debian's does (facts/tmux.md, finding 4).
    pub loses_status: bool,
    /// Its soft limit of open descriptors.
    pub descriptor_limit: Option<u64>,
    last_id: u32,
}

/// A tmux session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id.
    pub id: TmuxSessionId,
    /// Its pane.
    pub pane: PaneId,
    /// The pane's process, also when it has ended.
    pub pid: Pid,
    /// Its user options, if they are ours.
    pub mark: Option<Mark>,
    /// `remain-on-exit`.
    pub remains: bool,
    /// How many clients are attached.
    pub attached: u32,
}

impl Session {
    /// The mark, if it names its bearer.
    pub fn own_mark(&self, name: &str) -> Option<&Mark> {
        self.mark.as_ref().filter(|mark| mark.session.as_str() == name)
    }
}

impl Tmux {
    /// The session of that id, with its name.
    pub(super) fn find(&self, id: &TmuxSessionId) -> Option<(&String, &Session)> {
        self.sessions.iter().find(|(_, session)| session.id == *id)
    }

    /// Makes a session around a process.
    pub(super) fn add(&mut self, name: &str, pid: Pid, mark: Option<Mark>) {
        let (id, pane) = (TmuxSessionId(format!("${}", self.last_id)), PaneId(format!("%{}", self.last_id)));
        self.last_id += 1;
        let remains = mark.is_some();
        self.sessions.insert(name.to_owned(), Session { id, pane, pid, mark, remains, attached: 0 });
    }
}

impl World {
    /// The tmux server.
    pub const fn tmux(&self) -> &Tmux {
        &self.tmux
    }

    pub(super) fn start_server(&mut self) {
        if self.tmux.server.is_none() {
            self.last_pid += 1;
            self.tmux.server = Some(Pid(self.last_pid));
            self.wakes.insert(Wake::Tmux);
        }
    }

    /// Ends the server with every session; processes lose their terminal.
    pub(super) fn end_server(&mut self) {
        self.tmux.server = None;
        self.tmux.hung = false;
        for (_, session) in std::mem::take(&mut self.tmux.sessions) {
            self.hang_up(session.pid);
        }
        self.wakes.insert(Wake::Tmux);
    }

    /// Closes a session; its process loses its terminal. A server without sessions lives on: it has our anchor.
    pub(super) fn close_session(&mut self, name: &str) {
        if let Some(session) = self.tmux.sessions.remove(name) {
            self.hang_up(session.pid);
            self.wakes.insert(Wake::Tmux);
        }
    }

    /// A pane without `remain-on-exit` goes with its process.
    pub(super) fn pane_ended(&mut self, name: &str, pid: Pid) {
        if self.tmux.sessions.get(name).is_some_and(|session| session.pid == pid && !session.remains) {
            self.tmux.sessions.remove(name);
            self.wakes.insert(Wake::Tmux);
        }
    }
}
