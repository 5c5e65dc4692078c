//! The simulated host by itself. What it has in common with the real one is tested in `tests/conformance`.

mod agents;
mod faults;
mod promises;
mod reconcile;

use std::{
    cell::RefCell,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use uuid::Uuid;

use super::*;
use crate::{
    host::{Host as _, Look},
    model::{AccountName, ConversationId, LinkName, Percent, PoolId, ProcessId, SessionName, StartDigest},
    observed::{AgentView, Mark, PaneView, Snapshot},
    plan::{Effect, Launch, LaunchMode, Memory, Outcome, link_needs},
    spec::{AdoptMode, QuotaSource, Shared, Spec, fixture},
};

const POOL: PoolId = PoolId(Uuid::from_u128(7));

fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a name")
}

fn conversation(number: u128) -> ConversationId {
    ConversationId(Uuid::from_u128(number))
}

/// Two accounts, three links, the sessions `s-0` to `s-(n-1)`.
fn spec(sessions: usize) -> Spec {
    let mut spec = fixture::agents(sessions);
    spec.active_link = Some("/people/.claude".into());
    let links = ["projects", "tasks", "history.jsonl"].map(|name| LinkName::new(name).expect("a name"));
    spec.shared = Shared { root: "/data/shared".into(), links: links.into(), adopt: AdoptMode::Merge };
    spec
}

/// A world with a host of the first process.
struct Ground {
    spec: Spec,
    world: Rc<RefCell<World>>,
    host: SimHost,
    memory: Memory,
    seen: Snapshot,
}

impl Ground {
    /// Nothing of ours is there yet.
    fn bare(sessions: usize) -> Self {
        let spec = spec(sessions);
        let world = World::shared(&spec);
        let mut host = SimHost::new(Rc::clone(&world));
        host.configure(&spec, POOL);
        Self { spec, world, host, memory: Memory::new(POOL), seen: Snapshot::default() }
    }

    /// Everything that an agent needs is there: server, links, prepared homes.
    fn ready(sessions: usize) -> Self {
        let mut ground = Self::bare(sessions);
        let root = ground.spec.shared.root.clone();
        ground.done(&Effect::StartServer);
        ground.done(&Effect::InitSharedRoot { root: root.clone(), pool: POOL });
        for account in ground.spec.accounts.clone() {
            for need in link_needs(&ground.spec, &account) {
                ground.perform(&Effect::CreateTarget { root: root.clone(), target: need.target.clone(), kind: need.kind });
                ground.done(&Effect::CreateLink { path: need.path, target: need.target });
            }
            let trust = vec![PathBuf::from("/work")];
            ground.done(&Effect::PrepareHome { account: account.name, home: account.home, trust, accept_bypass: false });
        }
        ground
    }

    fn perform(&mut self, effect: &Effect) -> Outcome {
        finish(self.host.perform(std::slice::from_ref(effect))).remove(0)
    }

    fn done(&mut self, effect: &Effect) {
        assert_eq!(self.perform(effect), Outcome::Changed, "{effect:?}");
    }

    fn look(&mut self) {
        finish(self.host.observe(&self.memory, &Look::all(), &mut self.seen));
    }

    fn advance(&self, seconds: u64) {
        self.world.borrow_mut().advance(Duration::from_secs(seconds));
    }

    fn pane(&mut self, name: &str) -> PaneView {
        self.look();
        self.seen.tmux.value().expect("tmux is known").panes[name].clone()
    }

    fn agent(&mut self, name: &str) -> AgentView {
        self.look();
        self.seen.agents[&session(name)].value().expect("known").clone()
    }

    fn process(&mut self, name: &str) -> ProcessId {
        self.agent(name).process.expect("it lives")
    }

    fn launch(&self, name: &str, under: &str, mode: LaunchMode) -> Launch {
        let account = self.spec.account(&account(under)).expect("declared");
        let declared = &self.spec.sessions[&session(name)];
        crate::plan::launch(&self.spec, account, declared, POOL.conversation(&session(name), 1), mode)
    }

    fn create(&self, name: &str, under: &str) -> Effect {
        Effect::CreateSession { launch: self.launch(name, under, LaunchMode::Fresh), mark: mark(name) }
    }

    fn respawn(&mut self, name: &str, under: &str) -> Effect {
        let pane = self.pane(name);
        let launch = self.launch(name, under, LaunchMode::Resume);
        Effect::RespawnAgent { session_id: pane.session_id, pane: pane.pane, expect_pid: pane.pid, launch, mark: mark(name) }
    }

    fn stop(&mut self, name: &str) -> Effect {
        Effect::StopAgent { session: session(name), process: self.process(name), grace: Duration::from_secs(10) }
    }

    /// An agent that has said something and is idle again.
    fn with_transcript(&mut self, name: &str, under: &str) {
        let create = self.create(name, under);
        self.done(&create);
        self.advance(5);
        self.world.borrow_mut().person().prompt(name, Duration::from_secs(10));
        self.advance(20);
    }

    fn read(&self, path: &Path) -> Option<String> {
        self.world.borrow().files().read(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Where the transcript of a session's first conversation is.
fn transcript(name: &str) -> PathBuf {
    World::transcript_path(Path::new("/data/shared"), Path::new("/work"), POOL.conversation(&session(name), 1))
}

fn mark(name: &str) -> Mark {
    Mark { pool: POOL, session: session(name), digest: StartDigest("0123456789ab".to_owned()) }
}

/// Polls a future that never waits for anything outside.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the simulated host waits for something that never comes");
}
