//! What people and programs do that are not us: prompts, and everything that a careless or hostile hand can do.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    World,
    files::Node,
    process::{Phase, Start},
};
use crate::{
    host::Wake,
    model::{ConversationId, Pid, SessionName, TaskName},
    observed::{LoginView, Mark, MarkerView, TaskHeader},
    plan::LaunchMode,
};

/// Somebody else's hand in the world.
#[derive(Debug)]
pub struct Person<'a> {
    world: &'a mut World,
}

impl World {
    /// The hand of somebody else.
    pub const fn person(&mut self) -> Person<'_> {
        Person { world: self }
    }

    /// The process in a session's pane.
    pub fn process_in(&self, session: &str) -> Option<Pid> {
        self.tmux.sessions.get(session).map(|session| session.pid)
    }
}

impl Person<'_> {
    /// Gives an idle agent a prompt that takes so long to answer.
    pub fn prompt(&mut self, session: &str, length: Duration) {
        if let Some(pid) = self.world.process_in(session) {
            self.world.begin_turn(pid, length);
        }
    }

    /// Puts a task into a project's inbox, or another text into one that is there.
    pub fn put_task(&mut self, project: &Path, task: &TaskName, header: Result<TaskHeader, String>) {
        self.world.put_task(project, task, header);
    }

    /// Begins to type something into a session's box and leaves it there, or clears the box.
    pub fn draft(&mut self, session: &str, stands: bool) {
        self.world.set_draft(session, stands);
    }

    /// Takes a task out of a project's inbox.
    pub fn remove_task(&mut self, project: &Path, task: &TaskName) {
        self.world.remove_task(project, task);
    }

    /// Puts a marker beside a task, or takes one away.
    pub fn put_marker(&mut self, project: &Path, task: &TaskName, marker: Option<MarkerView>) {
        self.world.put_marker(project, task, marker);
    }

    /// A working agent asks for a permission.
    pub fn let_ask(&mut self, session: &str) {
        let now = self.world.now;
        if let Some((pid, Phase::Busy(until))) = self.phase(session) {
            self.world.set_phase(pid, Phase::Asking(until.since(now)));
        }
    }

    /// Answers what an agent asks, at start-up or in a turn.
    pub fn answer(&mut self, session: &str) {
        let now = self.world.now;
        match self.phase(session) {
            Some((pid, Phase::Asking(left))) => self.world.work(pid, left),
            Some((pid, Phase::Dialog)) => self.world.set_phase(pid, Phase::Starting(now)),
            _ => {}
        }
    }

    /// Begins another conversation inside a running agent.
    pub fn clear_conversation(&mut self, session: &str, conversation: ConversationId) {
        let pid = self.world.process_in(session);
        if let Some(agent) = pid.and_then(|pid| self.world.processes.get_mut(&pid)).and_then(|process| process.agent.as_mut()) {
            agent.conversation = conversation;
            self.world.wakes.insert(Wake::Agents);
        }
    }

    /// Ends the login of a home: turns that run under it stop.
    pub fn end_login(&mut self, home: &Path, reason: &str) {
        let now = self.world.now;
        if let Some(state) = self.world.homes.get_mut(home) {
            state.login = LoginView::Dead { reason: reason.to_owned() };
        }
        let turns = self.world.turns(|phase| if let Phase::Busy(until) = phase { Some(until.since(now)) } else { None });
        for (pid, left) in turns {
            if self.world.alive(pid).is_some_and(|process| process.home == home) {
                self.world.refuse_login(pid, left);
            }
        }
        self.world.wakes.insert(Wake::Homes);
    }

    /// From now on the other side refuses the login of a home, whose file looks as valid as before; or it takes it again.
    pub fn refuse_login(&mut self, home: &Path, refused: bool) {
        if let Some(state) = self.world.homes.get_mut(home) {
            state.refused = refused;
        }
    }

    /// Ends a process with `kill -9`.
    pub fn kill(&mut self, pid: Pid) {
        self.world.kill(pid);
    }

    /// Ends the process of a session's pane with `kill -9`.
    pub fn kill_agent(&mut self, session: &str) {
        if let Some(pid) = self.world.process_in(session) {
            self.world.kill(pid);
        }
    }

    /// Leaves an agent with `/exit`.
    pub fn leave(&mut self, session: &str) {
        if let Some(pid) = self.world.process_in(session) {
            self.world.end(pid, crate::observed::Death { code: Some(0), signal: None });
        }
    }

    /// Closes a tmux session.
    pub fn kill_session(&mut self, session: &str) {
        self.world.close_session(session);
    }

    /// Ends the tmux server.
    pub fn kill_server(&mut self) {
        self.world.end_server();
    }

    /// Stops the tmux server, so that it answers nobody, or lets it go on.
    pub fn hang_server(&mut self, hung: bool) {
        self.world.tmux.hung = hung;
        self.world.wakes.insert(Wake::Tmux);
    }

    /// Makes tmux lose how processes end.
    pub fn lose_status(&mut self, loses: bool) {
        self.world.tmux.loses_status = loses;
    }

    /// Renames a tmux session.
    pub fn rename_session(&mut self, from: &str, to: &str) {
        if !self.world.tmux.sessions.contains_key(to)
            && let Some(session) = self.world.tmux.sessions.remove(from)
        {
            self.world.tmux.sessions.insert(to.to_owned(), session);
            self.world.wakes.insert(Wake::Tmux);
        }
    }

    /// Takes the mark off a session, or puts one on it.
    pub fn set_mark(&mut self, session: &str, mark: Option<Mark>) {
        if let Some(session) = self.world.tmux.sessions.get_mut(session) {
            session.mark = mark;
            self.world.wakes.insert(Wake::Tmux);
        }
    }

    /// Attaches to a session.
    pub fn attach(&mut self, session: &str, clients: u32) {
        if let Some(session) = self.world.tmux.sessions.get_mut(session) {
            session.attached = clients;
        }
    }

    /// Makes a tmux session with a shell in it.
    pub fn start_shell(&mut self, name: &str) {
        self.world.start_server();
        let pid = self.world.spawn(name.to_owned(), PathBuf::new(), false, None);
        self.world.tmux.add(name, pid, None);
    }

    /// Makes a tmux session with an agent that is ready for work.
    pub fn start_agent(&mut self, name: &str, home: &Path, workdir: &Path, conversation: ConversationId, mode: LaunchMode) {
        self.world.start_server();
        let start = Start { session: name.to_owned(), home: home.to_owned(), workdir: workdir.to_owned(), conversation, mode, ours: false };
        let pid = self.world.spawn_agent(start);
        self.world.tmux.add(name, pid, None);
        self.answer(name);
    }

    /// Asks us to take over a session that we did not make.
    pub fn allow_adoption(&mut self, session: &SessionName) {
        self.world.adoptable.insert(session.as_str().to_owned());
    }

    /// Removes whatever stands at a path. What was in it is lost through the person and not through us.
    pub fn remove(&mut self, path: &Path) {
        for inode in self.world.files.remove(path) {
            self.world.ledger.remove(&inode);
        }
        self.world.wakes.extend([Wake::Links, Wake::Homes]);
    }

    /// Moves whatever stands at a path, as an unmounted share does.
    pub fn rename(&mut self, from: &Path, to: &Path) {
        self.world.files.rename(from, to);
        self.world.wakes.extend([Wake::Links, Wake::Homes]);
    }

    /// Puts a symlink in the place of whatever stands at a path.
    pub fn put_link(&mut self, path: &Path, target: &Path) {
        self.remove(path);
        self.world.files.put(path, Node::Link(target.to_owned()));
    }

    /// Puts a directory with files in the place of whatever stands at a path.
    pub fn put_directory(&mut self, path: &Path, files: &[(&str, &str)]) {
        self.remove(path);
        self.world.files.make_directories(path);
        for (name, text) in files {
            let file = path.join(name);
            if let Some(directory) = file.parent() {
                self.world.files.make_directories(directory);
            }
            self.world.put_file(&file, text);
        }
    }

    /// Puts a file in the place of whatever stands at a path.
    pub fn put_file(&mut self, path: &Path, text: &str) {
        self.remove(path);
        self.world.put_file(path, text);
    }

    fn phase(&self, session: &str) -> Option<(Pid, Phase)> {
        let pid = self.world.process_in(session)?;
        let agent = self.world.alive(pid)?.agent.as_ref()?;
        Some((pid, agent.phase.clone()))
    }
}
