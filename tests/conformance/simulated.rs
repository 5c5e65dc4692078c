//! The bench of the simulated host.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use claude_failover::{
    model::Pid,
    sim::{Manner, Node, Process, SimHost, Who, World},
    spec::Spec,
};

use crate::bench::Bench;

pub struct Simulated {
    world: Rc<RefCell<World>>,
}

/// A test must not have made the host break a promise by the way.
impl Drop for Simulated {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.world.borrow().violations(), []);
        }
    }
}

impl Bench for Simulated {
    type Host = SimHost;

    fn new() -> Self {
        Self { world: Rc::default() }
    }

    fn ground(&self) -> PathBuf {
        "/ground".into()
    }

    fn equip(&self, spec: &mut Spec) {
        *self.world.borrow_mut() = World::new(spec);
    }

    fn host(&mut self) -> SimHost {
        SimHost::new(Rc::clone(&self.world))
    }

    fn kill(&mut self, pid: Pid) {
        self.world.borrow_mut().person().kill(pid);
    }

    fn lives(&self, pid: Pid) -> bool {
        let world = self.world.borrow();
        world.tmux().server == Some(pid) || world.processes().get(&pid).is_some_and(Process::is_alive)
    }

    fn prompt(&mut self, session: &str) {
        let mut world = self.world.borrow_mut();
        world.person().prompt(session, Duration::from_secs(1));
        world.advance(Duration::from_secs(1));
    }

    fn make_agents_stubborn(&mut self) {
        self.world.borrow_mut().set_manner(Who::default(), Manner { ignores_terminate: true, ..Manner::default() });
    }

    fn start_foreign_session(&mut self, name: &str) {
        self.world.borrow_mut().person().start_shell(name);
    }

    fn rename_session(&mut self, from: &str, to: &str) {
        self.world.borrow_mut().person().rename_session(from, to);
    }

    fn kill_server(&mut self) {
        self.world.borrow_mut().person().kill_server();
    }

    fn hang_server(&mut self, hung: bool) {
        self.world.borrow_mut().person().hang_server(hung);
    }

    fn put_directory(&mut self, path: &Path, files: &[(&str, &str)]) {
        self.world.borrow_mut().person().put_directory(path, files);
    }

    fn put_file(&mut self, path: &Path, text: &str) {
        self.world.borrow_mut().person().put_file(path, text);
    }

    fn put_link(&mut self, path: &Path, target: &Path) {
        self.world.borrow_mut().person().put_link(path, target);
    }

    fn read(&self, path: &Path) -> Option<String> {
        self.world.borrow().files().read(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn read_link(&self, path: &Path) -> Option<PathBuf> {
        match self.world.borrow().files().node(path) {
            Some(Node::Link(target)) => Some(target.clone()),
            _ => None,
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.world.borrow().files().node(path).is_some()
    }
}
