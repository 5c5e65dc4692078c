//! A simulated host, a state directory that outlives crashes, and the real loop of the daemon on top of them.

use std::{cell::RefCell, path::PathBuf, rc::Rc, time::Duration};

use claude_failover::{
    engine::{Channels, Command, Engine, Request, Signal, SpecRead, View, Witness, recall},
    model::{AccountName, Monotonic, ObjectRef, WindowKind},
    observed::Snapshot,
    plan::Memory,
    sim::{SimHost, World, until_crash},
    spec::Spec,
    status::TaskRow,
    store::{AcceptedSpec, EventQuery, Flips, Lock, Reader, StateDir, Store, StoredEvent},
    swap::SwapVerdict,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};

use crate::declared::declared;

/// How often the loop looks at everything.
const RESYNC: Duration = Duration::from_secs(90);
/// A process that is started more often than this crashes by itself.
const MAX_LIVES: usize = 20;
/// Long enough for every back-off, drain and proof of the specs here.
pub const LONG: Duration = Duration::from_mins(40);
/// Longer than the dwell time and the cool-down of a pair: whoever swaps to and fro does so within it.
const STEADY: Duration = Duration::from_mins(90);

/// One pool in one world.
pub struct Lab {
    pub world: Rc<RefCell<World>>,
    pub spec: Spec,
    accepted: AcceptedSpec,
    state: TempDir,
}

/// What the specs here have in common: two accounts.
const ACCOUNTS: &str = "
apiVersion: claude-failover/v1
kind: Pool
metadata: { name: lab }
spec:
  accounts:
    - { name: primary, home: /lab/primary }
    - { name: backup, home: /lab/backup }
  activeLink: /lab/active
  shared: { root: /lab/shared }
  quota: { sources: [cli], pollEvery: 3m }
";

/// With four sessions.
pub const POOL: &str = "
  swap: { drain: 10m, proveWithin: 30s, minDwell: 45m }
  sessions:
    - { names: 's-{0..3}', workdir: /lab/work }
";

/// With four sessions that take tasks, and one project.
pub const QUEUE_POOL: &str = "
  swap: { drain: 10m, proveWithin: 30s, minDwell: 45m }
  sessions:
    - { names: 's-{0..3}', workdir: /lab/work, dispatch: true }
  projects:
    - { path: /lab/api }
";

impl Lab {
    /// A pool that nobody has looked after yet.
    pub fn new(text: &str) -> Self {
        // For whoever looks into a failure: CONVERGENCE_LOG=1 cargo test --test convergence NAME -- --nocapture
        if std::env::var_os("CONVERGENCE_LOG").is_some() {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).try_init();
        }
        let (spec, accepted) = read(text);
        let base = PathBuf::from("/dev/shm");
        let state = if base.is_dir() { TempDir::new_in(base) } else { TempDir::new() };
        let lab = Self { world: World::shared(&spec), spec, accepted, state: state.unwrap() };
        lab.usage("primary", 10.0);
        lab.usage("backup", 5.0);
        lab
    }

    /// One that has come to rest.
    pub fn converged(text: &str) -> Self {
        let lab = Self::new(text);
        lab.run(LONG);
        assert_eq!(lab.differences(), [""; 0], "{}", lab.story());
        lab
    }

    /// What an account has used of its 5-hour window; its week is always at 20 %.
    pub fn usage(&self, account: &str, five_hour: f64) {
        let account = AccountName::new(account).unwrap();
        let mut world = self.world.borrow_mut();
        world.set_used(&account, &WindowKind::FiveHour, five_hour, Duration::from_hours(48));
        world.set_used(&account, &WindowKind::Weekly, 20.0, Duration::from_hours(100));
    }

    /// Puts another spec on disk.
    pub fn declare(&mut self, text: &str) {
        (self.spec, self.accepted) = read(text);
    }

    fn store_path(&self) -> PathBuf {
        self.state.path().join("state")
    }

    /// The store, as a process opens it.
    pub fn store(&self) -> Store {
        Store::open(Lock::acquire(StateDir::open(&self.store_path()).unwrap()).unwrap()).unwrap()
    }

    /// The state is gone, and the rest of its directory is there.
    pub fn lose_state(&self) {
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.store_path().join(format!("state.db{ending}")));
        }
        assert!(Reader::attach(&self.store_path()).is_err());
    }

    fn engine(&self) -> Engine<SimHost> {
        Engine::start(SimHost::new(Rc::clone(&self.world)), self.store(), self.spec.clone(), &self.accepted).unwrap()
    }

    /// Runs the daemon for a time of the simulation. A process that a fault kills is followed by the next one.
    pub fn run(&self, lasting: Duration) {
        self.run_asked(lasting, Vec::new());
    }

    /// The same, while somebody asks for this and that, each so long behind the beginning. What a killed process did not answer is not asked again.
    pub fn run_asked(&self, lasting: Duration, asked: Vec<(Duration, Command)>) {
        let (sender, receiver) = mpsc::channel(asked.len().max(1));
        for (number, (after, command)) in asked.into_iter().enumerate() {
            let (sender, request) = (sender.clone(), Request { id: format!("request-{number}"), actor: "somebody".to_owned(), command });
            self.world.borrow_mut().later(after, move |_| sender.try_send((request, oneshot::channel().0)).unwrap());
        }
        let mut first = Some(receiver);
        let end = self.world.borrow().now().mono.plus(lasting);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for _ in 0..MAX_LIVES {
            let finished = runtime.block_on(async {
                let mut engine = self.engine();
                let (signals, receiver) = mpsc::channel(4);
                let commands = first.take().unwrap_or_else(|| mpsc::channel(1).1);
                let (status, _) = watch::channel(None);
                let (spec, accepted) = (self.spec.clone(), self.accepted.clone());
                let read_spec: Box<dyn FnMut() -> SpecRead> = Box::new(move || Ok((spec.clone(), accepted.clone())));
                let channels = Channels { commands, signals: receiver, status, read_spec };
                let mut clock = Clock { world: Rc::clone(&self.world), end, signals };
                until_crash(&self.world, engine.run(channels, RESYNC, &mut clock)).await
            });
            match finished {
                Ok(result) => return result.unwrap(),
                Err(_crashed) => {}
            }
        }
        panic!("the process crashed {MAX_LIVES} times");
    }

    /// How many passes the daemon makes when it hears `times` times that the spec may have changed, and always reads the same refused one.
    pub fn passes_with_a_refused_spec(&self, times: usize) -> usize {
        let mut passes = Passes(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut engine = self.engine();
            let (signals, receiver) = mpsc::channel(times + 1);
            for _ in 0..times {
                signals.try_send(Signal::SpecChanged).unwrap();
            }
            signals.try_send(Signal::Stop).unwrap();
            let (_commands, commands) = mpsc::channel(1);
            let (status, _) = watch::channel(None);
            let read_spec: Box<dyn FnMut() -> SpecRead> = Box::new(|| Err("line 3".to_owned()));
            engine.run(Channels { commands, signals: receiver, status, read_spec }, RESYNC, &mut passes).await.unwrap();
        });
        passes.0
    }

    pub fn memory(&self) -> Memory {
        Reader::attach(&self.store_path()).unwrap().memory().unwrap()
    }

    pub fn events(&self) -> Vec<StoredEvent> {
        let query = EventQuery { limit: 100_000, ..EventQuery::default() };
        Reader::attach(&self.store_path()).unwrap().events(&query).unwrap()
    }

    pub fn active(&self) -> AccountName {
        self.memory().active.expect("an active account").account
    }

    /// How the closed swaps ended, oldest first.
    pub fn verdicts(&self) -> Vec<SwapVerdict> {
        self.memory().swaps.iter().map(|swap| swap.verdict).collect()
    }

    /// Effects performed so far, which is the number of the next one.
    pub fn effects(&self) -> usize {
        self.world.borrow().performed().len()
    }

    /// What is wrong with the world as measured by the spec; empty when nothing is.
    pub fn differences(&self) -> Vec<String> {
        let memory = self.memory();
        let Some(active) = memory.active.and_then(|active| self.spec.account(&active.account).cloned()) else {
            return vec!["no active account".to_owned()];
        };
        let mut found = Vec::new();
        let world = self.world.borrow();
        for name in self.spec.sessions.keys() {
            let agents: Vec<_> = world
                .processes()
                .values()
                .filter(|process| process.is_alive() && process.session == name.as_str() && process.agent.is_some())
                .collect();
            match agents.as_slice() {
                [agent] if agent.home == active.home => {}
                [agent] => found.push(format!("{name} runs under {}, not under {}", agent.home.display(), active.home.display())),
                agents => found.push(format!("{name} has {} agents", agents.len())),
            }
        }
        for account in &self.spec.accounts {
            for link in &self.spec.shared.links {
                let (path, target) = (account.home.join(link.as_str()), self.spec.shared.root.join(link.as_str()));
                if world.files().resolve(&path).as_deref() != Some(target.as_path()) {
                    found.push(format!("{} does not lead to {}", path.display(), target.display()));
                }
            }
        }
        if let Some(link) = &self.spec.active_link
            && world.files().resolve(link).as_deref() != Some(active.home.as_path())
        {
            found.push(format!("{} does not lead to {}", link.display(), active.home.display()));
        }
        if self.is_swapping() {
            found.push("a swap is open".to_owned());
        }
        found
    }

    /// Eventually the world matches the spec, and from then on nothing moves.
    pub fn assert_converged(&self, what: &str) {
        self.run(LONG);
        let differences = self.differences();
        assert!(differences.is_empty(), "{what}: {differences:#?}\n{}", self.story());
        let before = (self.effects(), self.events().len(), self.flips());
        self.run(STEADY);
        let after = (self.effects(), self.events().len(), self.flips());
        assert_eq!((before.0, before.1), (after.0, after.1), "{what}: the pool still moves\n{}", self.story());
        let flipped: Vec<_> = after.2.iter().filter(|(condition, flip)| before.2.get(*condition) != Some(*flip)).collect();
        assert!(flipped.is_empty(), "{what}: conditions still flip: {flipped:?}; {:#?}", self.findings());
        self.assert_promises(what);
    }

    /// Nothing that must never happen has happened.
    pub fn assert_promises(&self, what: &str) {
        let violations = self.world.borrow().violations();
        assert!(violations.is_empty(), "{what}: {violations:#?}\n{}", self.story());
    }

    fn flips(&self) -> Flips {
        Reader::attach(&self.store_path()).unwrap().flips().unwrap()
    }

    /// What was done and what was said, for a failed test.
    pub fn story(&self) -> String {
        let effects = self
            .world
            .borrow()
            .performed()
            .iter()
            .enumerate()
            .map(|(number, effect)| format!("{number}: {effect:?}"))
            .collect::<Vec<_>>()
            .join("\n");
        let events = self
            .events()
            .iter()
            .map(|stored| format!("{} {} {} {}", stored.event.at, stored.event.object, stored.event.reason, stored.event.message))
            .collect::<Vec<_>>()
            .join("\n");
        format!("effects:\n{effects}\nevents:\n{events}")
    }

    /// What a look from outside would find to do or to wait for, in words.
    pub fn findings(&self) -> Vec<String> {
        let reader = Reader::attach(&self.store_path()).unwrap();
        let (memory, usage) = (recall(&reader).unwrap(), reader.usage().unwrap());
        let seen = Snapshot { usage, ..Snapshot::default() };
        let mut view = View::new(SimHost::new(Rc::clone(&self.world)), self.spec.clone(), memory, seen);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let planned = runtime.block_on(view.preview());
        let waiting = planned
            .report
            .waiting
            .iter()
            .chain(&planned.report.warnings)
            .map(|entry| format!("{}: {} {}", entry.object, entry.reason, entry.message));
        planned.plan.actions.iter().map(|(_, action)| format!("{}: {}", action.object, action.what)).chain(waiting).collect()
    }

    /// The tasks that are not done, as a look from outside would list them.
    pub fn tasks(&self) -> Vec<TaskRow> {
        let reader = Reader::attach(&self.store_path()).unwrap();
        let (memory, usage) = (recall(&reader).unwrap(), reader.usage().unwrap());
        let seen = Snapshot { usage, ..Snapshot::default() };
        let mut view = View::new(SimHost::new(Rc::clone(&self.world)), self.spec.clone(), memory, seen);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        drop(runtime.block_on(view.preview()));
        view.tasks(false).into_iter().map(|detail| detail.row).collect()
    }

    /// Whether a swap is open.
    pub fn is_swapping(&self) -> bool {
        recall(&Reader::attach(&self.store_path()).unwrap()).unwrap().swap.is_some()
    }

    /// Whether the pool is latched, with both errors.
    pub fn is_latched(&self) -> bool {
        self.memory().latches.get(&ObjectRef::Pool).is_some_and(|latch| latch.causes.len() == 2)
    }
}

/// The spec with what a text adds to the accounts.
fn read(text: &str) -> (Spec, AcceptedSpec) {
    let text = format!("{ACCOUNTS}{text}");
    let spec = declared(text.as_str());
    let accepted = AcceptedSpec { digest: spec.digest(), canonical: text, sources: [].into(), revision: None };
    (spec, accepted)
}

/// Ends the run when its time is over.
struct Clock {
    world: Rc<RefCell<World>>,
    end: Monotonic,
    signals: mpsc::Sender<Signal>,
}

impl Witness for Clock {
    fn ready(&mut self) {}

    fn progress(&mut self, _line: &str) {
        if self.world.borrow().now().mono >= self.end {
            // A full channel already holds the word.
            let _ = self.signals.try_send(Signal::Stop);
        }
    }
}

/// Counts the passes.
struct Passes(usize);

impl Witness for Passes {
    fn ready(&mut self) {}

    fn progress(&mut self, _line: &str) {
        self.0 += 1;
    }
}
