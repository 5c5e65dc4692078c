//! Effects on the world. Each one checks what it expects at the moment of acting, as the real host does.

use std::{path::Path, time::Duration};

use super::{
    Violation, World,
    files::Node,
    process::{Agent, Process, Start},
};
use crate::{
    host::Wake,
    model::{Monotonic, PaneId, Pid, PoolId, ProcessId, TmuxSessionId},
    observed::{Death, Mark},
    plan::{Effect, Failure, Happened, Launch, LinkNeed, Outcome, TargetKind},
};

/// The marker of a shared root.
pub(super) const MARKER: &str = ".claude-failover";

/// A flip to where the active link came from within this time is the way back.
const WAY_BACK: Duration = Duration::from_mins(30);

/// What came of the beginning of an effect.
pub(super) enum Begun {
    /// It is over.
    Ended(Outcome),
    /// The process was asked to end; at the time given it is killed.
    Stopping(Pid, Monotonic),
}

/// A refusal: nothing was done.
pub(super) fn refused(why: impl Into<String>) -> Outcome {
    failed(Happened::No, why)
}

/// A failure in one sentence.
pub(super) fn failed(happened: Happened, why: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure { happened, chain: vec![why.into()] })
}

/// The outcome of a check and a change: `Err` is what speaks against it.
pub(super) type Tried = Result<Outcome, Outcome>;

impl World {
    /// Begins an effect; all but the end of a process is over at once.
    pub(super) fn begin(&mut self, effect: &Effect) -> Begun {
        let tried = match effect {
            Effect::StopAgent { session: _, process, grace } => return self.stop_agent(*process, *grace),
            Effect::StartServer => Ok(self.act_start_server()),
            Effect::InitSharedRoot { root, pool } => self.init_root(root, *pool),
            Effect::AdoptSharedRoot { root, pool } => self.adopt_root(root, *pool),
            Effect::CreateTarget { root, target, kind } => self.create_target(root, target, *kind),
            Effect::CreateLink { path, target } => self.create_link(path, target),
            Effect::RepointLink { path, expect, target } => self.repoint_link(path, expect, target),
            Effect::MergeDirectory { path, target, quarantine } => self.merge_directory(path, target, quarantine),
            Effect::PrepareHome { account: _, home, trust, accept_bypass } => self.prepare_home(home, trust, *accept_bypass),
            Effect::RecordActive { account: _, needs } => self.check_needs(needs).map(|()| Outcome::Changed),
            Effect::CreateSession { launch, mark } => self.create_session(launch, mark),
            Effect::RespawnAgent { session_id, pane, expect_pid, launch, mark } => {
                self.respawn(session_id, pane, *expect_pid, launch, mark)
            }
            Effect::AdoptSession { session_id, pane, mark } => self.adopt(session_id, pane, mark),
            Effect::ReleaseSession { session_id, mark } => self.release(session_id, mark),
            Effect::CloseSession { session_id, mark } => self.close(session_id, mark),
            Effect::RemoveCheckpoints { session, checkpoints } => Ok(self.remove_checkpoints(session, checkpoints)),
            Effect::RestoreSession { session: _, from: _, conversation, workdir } => self.check_restore(*conversation, workdir),
            Effect::TypePrompt { session, pane, process, home, text, claim: _ } => {
                self.type_prompt(session.as_str(), pane, *process, home, text)
            }
            Effect::Queue { project, change } => self.change_queue(project, change),
        };
        Begun::Ended(tried.unwrap_or_else(|outcome| outcome))
    }

    fn act_start_server(&mut self) -> Outcome {
        if self.tmux.server.is_some() {
            return if self.tmux.hung { failed(Happened::CannotTell, "the tmux server does not answer") } else { Outcome::Unchanged };
        }
        self.start_server();
        Outcome::Changed
    }

    fn init_root(&mut self, root: &Path, pool: PoolId) -> Tried {
        let marker = root.join(MARKER);
        match self.files.read(&marker) {
            Some(found) if found == pool.to_string().as_bytes() => return Ok(Outcome::Unchanged),
            Some(_) => return Err(refused("the shared root carries the marker of another pool")),
            None => {}
        }
        match self.files.target(root) {
            None => {
                self.files.put(root, Node::Directory).ok_or_else(|| refused("the directory that holds the shared root is not there"))?;
            }
            Some(Node::Directory) if self.files.names(root).is_empty() => {}
            Some(_) => return Err(refused("the shared root has content and no marker")),
        }
        self.put_file(&marker, &pool.to_string());
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    fn adopt_root(&mut self, root: &Path, pool: PoolId) -> Tried {
        let marker = root.join(MARKER);
        match self.files.read(&marker) {
            Some(found) if found == pool.to_string().as_bytes() => return Ok(Outcome::Unchanged),
            Some(_) => return Err(refused("the shared root carries the marker of another pool")),
            None => {}
        }
        if !matches!(self.files.target(root), Some(Node::Directory)) || self.files.names(root).is_empty() {
            return Err(refused("the shared root holds nothing to take over"));
        }
        self.put_file(&marker, &pool.to_string());
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    fn create_target(&mut self, root: &Path, target: &Path, kind: TargetKind) -> Tried {
        let marker = self.files.read(&root.join(MARKER)).map(<[u8]>::to_vec);
        if marker.is_none() || marker != self.pool.map(|pool| pool.to_string().into_bytes()) {
            return Err(refused("the shared root does not carry our marker"));
        }
        if self.is_of_kind(target, kind) {
            return Ok(Outcome::Unchanged);
        }
        let node = match kind {
            TargetKind::Directory => Node::Directory,
            TargetKind::File => Node::File { bytes: Vec::new(), modified: self.wall() },
        };
        self.files.put(target, node).ok_or_else(|| refused("something else stands at the target"))?;
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    fn create_link(&mut self, path: &Path, target: &Path) -> Tried {
        match self.files.node(path) {
            Some(Node::Link(found)) if found == target => return Ok(Outcome::Unchanged),
            Some(_) => return Err(refused("something stands where the link shall be")),
            None => {}
        }
        if self.files.target(target).is_none() {
            return Err(refused("the link's target is not there"));
        }
        self.judge_flip(path, target);
        self.files.put(path, Node::Link(target.to_owned())).ok_or_else(|| refused("the directory of the link is not there"))?;
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    fn repoint_link(&mut self, path: &Path, expect: &Path, target: &Path) -> Tried {
        match self.files.node(path) {
            Some(Node::Link(found)) if found == target => return Ok(Outcome::Unchanged),
            Some(Node::Link(found)) if found == expect => {}
            _ => return Err(refused("the link is not what it was expected to be")),
        }
        if self.files.target(target).is_none() {
            return Err(refused("the link's target is not there"));
        }
        self.judge_flip(path, target);
        if self.is_active_link(path) {
            self.flipped = Some((expect.to_owned(), self.now));
        }
        self.files.remove(path);
        self.files.put(path, Node::Link(target.to_owned()));
        self.wakes.insert(Wake::Links);
        Ok(Outcome::Changed)
    }

    /// The active link may only be pointed at a home whose shared links are right, save on the way back from a flip.
    fn judge_flip(&mut self, path: &Path, target: &Path) {
        let goes_back = self.flipped.as_ref().is_some_and(|(before, at)| before == target && self.now.since(*at) < WAY_BACK);
        if self.is_active_link(path)
            && !goes_back
            && let Some(link) = self.bad_link(target)
        {
            self.noticed.push(Violation::FlippedOverBadLink { at: self.now, home: target.to_owned(), link });
        }
    }

    fn is_active_link(&self, path: &Path) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.active_link.as_deref() == Some(path))
    }

    fn prepare_home(&mut self, home: &Path, trust: &[std::path::PathBuf], accept_bypass: bool) -> Tried {
        if !matches!(self.files.target(home), Some(Node::Directory)) {
            return Err(refused("the home is not there"));
        }
        let state = self.homes.entry(home.to_owned()).or_default();
        let ready = state.onboarded && trust.iter().all(|path| state.trusted.contains(path)) && (state.bypass_accepted || !accept_bypass);
        if ready {
            return Ok(Outcome::Unchanged);
        }
        if self.processes.values().any(|process| process.is_alive() && process.home == home) {
            return Err(refused("a process of the home runs"));
        }
        state.onboarded = true;
        state.trusted.extend(trust.iter().cloned());
        state.bypass_accepted |= accept_bypass;
        self.wakes.insert(Wake::Homes);
        Ok(Outcome::Changed)
    }

    fn check_needs(&self, needs: &[LinkNeed]) -> Result<(), Outcome> {
        match needs.iter().find(|need| !self.is_right(need)) {
            Some(need) => Err(refused(format!("the link {} is not right", need.path.display()))),
            None => Ok(()),
        }
    }

    /// A server that runs and answers.
    fn server(&self) -> Result<(), Outcome> {
        match self.tmux.server {
            Some(_) if self.tmux.hung => Err(failed(Happened::CannotTell, "the tmux server does not answer")),
            Some(_) => Ok(()),
            None => Err(refused("no tmux server runs")),
        }
    }

    fn check_launch(&self, launch: &Launch) -> Result<(), Outcome> {
        self.check_needs(&launch.needs)?;
        if !matches!(self.files.target(&launch.workdir), Some(Node::Directory)) {
            return Err(refused("the start directory is not there"));
        }
        // Only the register tells, so an agent that has not registered yet is not known.
        let homes = self.spec.as_ref().map(|spec| spec.accounts.as_slice()).unwrap_or_default();
        let of_pool = |process: &&Process| homes.iter().any(|account| account.home == process.home);
        let open = |agent: &Agent| agent.is_registered() && agent.conversation == launch.conversation;
        let mut living = self.processes.values().filter(|process| process.is_alive()).filter(of_pool);
        match living.find(|process| process.agent.as_ref().is_some_and(open)) {
            Some(process) => Err(refused(format!("the conversation is open in process {}", process.id.pid))),
            None => Ok(()),
        }
    }

    fn create_session(&mut self, launch: &Launch, mark: &Mark) -> Tried {
        self.server()?;
        let name = launch.session.as_str();
        if let Some(session) = self.tmux.sessions.get(name) {
            let same = session.own_mark(name) == Some(mark);
            return if same { Ok(Outcome::Unchanged) } else { Err(refused("a tmux session of this name exists")) };
        }
        self.check_launch(launch)?;
        let panes = u64::try_from(self.tmux.sessions.len()).unwrap_or(u64::MAX);
        if self.tmux.descriptor_limit.is_some_and(|limit| panes + 16 >= limit) {
            return Err(refused("fork failed: Too many open files"));
        }
        let pid = self.launch(launch);
        self.tmux.add(name, pid, Some(mark.clone()));
        Ok(Outcome::Changed)
    }

    fn respawn(&mut self, id: &TmuxSessionId, pane: &PaneId, expect: Option<Pid>, launch: &Launch, mark: &Mark) -> Tried {
        self.server()?;
        let (name, session) = self.tmux.find(id).filter(|(_, session)| session.pane == *pane).ok_or_else(|| refused("the pane is gone"))?;
        let name = name.clone();
        let ours = session.own_mark(&name).is_some_and(|found| found.pool == mark.pool && found.session == mark.session);
        if !ours {
            return Err(refused("the tmux session does not carry our mark"));
        }
        if expect.is_some_and(|pid| pid != session.pid) || self.alive(session.pid).is_some() {
            return Err(refused("the pane's process is not the one that was expected to have ended"));
        }
        self.check_launch(launch)?;
        let pid = self.launch(launch);
        if let Some(session) = self.tmux.sessions.get_mut(&name) {
            session.pid = pid;
            session.mark = Some(mark.clone());
        }
        Ok(Outcome::Changed)
    }

    fn launch(&mut self, launch: &Launch) -> Pid {
        self.spawn_agent(Start {
            session: launch.session.as_str().to_owned(),
            home: launch.home.clone(),
            workdir: launch.workdir.clone(),
            conversation: launch.conversation,
            mode: launch.mode,
            ours: true,
        })
    }

    fn type_prompt(&mut self, name: &str, pane: &PaneId, process: ProcessId, home: &Path, text: &str) -> Tried {
        self.server()?;
        let session = self.tmux.sessions.get(name).filter(|session| session.pane == *pane).ok_or_else(|| refused("the pane is gone"))?;
        let ours = session.own_mark(name).is_some_and(|mark| Some(mark.pool) == self.pool);
        let found = self.alive(session.pid).filter(|found| found.id == process && found.home == home);
        let agent = found.and_then(|found| found.agent.as_ref()).ok_or_else(|| refused("the agent is not the one that was expected"))?;
        if agent.phase != super::Phase::Idle {
            return Err(refused("the agent is not idle"));
        }
        if self.has_draft(name) {
            return Err(refused(format!("somebody's draft stands in the input box of {name}; it is left alone")));
        }
        if !ours {
            self.noticed.push(Violation::ForeignTouched { at: self.now, what: format!("a prompt was typed into session {name}") });
        }
        self.take_prompt(process.pid, name, text);
        Ok(Outcome::Changed)
    }

    fn stop_agent(&mut self, process: ProcessId, grace: Duration) -> Begun {
        let Some(found) = self.alive(process.pid).filter(|found| found.id == process) else { return Begun::Ended(Outcome::Unchanged) };
        if !found.ours {
            let what = format!("process {} of session {} was stopped", found.id.pid, found.session);
            self.noticed.push(Violation::ForeignTouched { at: self.now, what });
        }
        self.terminate(process.pid);
        Begun::Stopping(process.pid, self.now.plus(grace))
    }

    /// The end of a stop whose time has come.
    pub(super) fn finish_stop(&mut self, pid: Pid, deadline: Monotonic) -> Outcome {
        if self.now >= deadline && self.alive(pid).is_some() {
            self.kill(pid);
        }
        Outcome::Changed
    }

    /// When a stop that was begun is over.
    pub(super) fn stopped_at(&self, pid: Pid, deadline: Monotonic) -> Monotonic {
        self.alive(pid).map_or(self.now, |process| process.ending.map_or(deadline, |(at, _): (Monotonic, Death)| at.min(deadline)))
    }

    fn adopt(&mut self, id: &TmuxSessionId, pane: &PaneId, mark: &Mark) -> Tried {
        self.server()?;
        let (name, session) = self.tmux.find(id).filter(|(_, session)| session.pane == *pane).ok_or_else(|| refused("the pane is gone"))?;
        let (name, pid) = (name.clone(), session.pid);
        match session.own_mark(&name) {
            Some(found) if found == mark => return Ok(Outcome::Unchanged),
            Some(found) if found.pool != mark.pool => return Err(refused("the tmux session carries another mark")),
            _ if name != mark.session.as_str() => return Err(refused("the tmux session has another name")),
            _ => {}
        }
        let declared = self.spec.as_ref().and_then(|spec| spec.sessions.get(&mark.session)).is_some_and(|session| session.adopt);
        if !declared && !self.adoptable.contains(&name) {
            self.noticed.push(Violation::ForeignTouched { at: self.now, what: format!("session {name} was adopted unasked") });
        }
        if let Some(session) = self.tmux.sessions.get_mut(&name) {
            session.mark = Some(mark.clone());
            session.remains = true;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.ours = true;
        }
        self.wakes.insert(Wake::Tmux);
        Ok(Outcome::Changed)
    }

    fn release(&mut self, id: &TmuxSessionId, mark: &Mark) -> Tried {
        self.server()?;
        let Some((name, session)) = self.tmux.find(id) else { return Ok(Outcome::Unchanged) };
        let (name, pid) = (name.clone(), session.pid);
        match session.own_mark(&name) {
            None => return Ok(Outcome::Unchanged),
            Some(found) if found != mark => return Err(refused("the tmux session carries another mark")),
            Some(_) => {}
        }
        if let Some(session) = self.tmux.sessions.get_mut(&name) {
            session.mark = None;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.ours = false;
        }
        self.wakes.insert(Wake::Tmux);
        Ok(Outcome::Changed)
    }

    fn close(&mut self, id: &TmuxSessionId, mark: &Mark) -> Tried {
        self.server()?;
        let Some((name, session)) = self.tmux.find(id) else { return Ok(Outcome::Unchanged) };
        let name = name.clone();
        if session.own_mark(&name) != Some(mark) {
            return Err(refused("the tmux session does not carry our mark"));
        }
        if self.alive(session.pid).is_some() {
            return Err(refused("the agent of the tmux session runs"));
        }
        self.close_session(&name);
        Ok(Outcome::Changed)
    }
}

impl Agent {
    /// The word of the register, if it knows the agent.
    pub(super) const fn is_registered(&self) -> bool {
        !matches!(self.phase, super::process::Phase::Starting(_) | super::process::Phase::Dialog)
    }
}
