//! What the suite needs beside the host itself, and the stage that its tests play on.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use claude_failover::{
    host::{Host, Look, Wake},
    model::{AccountName, ConversationId, LinkName, Pid, PoolId, ProcessId, SessionName, StartDigest},
    observed::{AgentView, LinkView, Mark, PaneView, Snapshot},
    plan::{self, Effect, Happened, Launch, LaunchMode, Memory, Outcome, SessionRecord, TargetKind, link_needs},
    spec::Spec,
};
use uuid::Uuid;

use crate::declared::declared;

/// The pool of every test, and another one.
pub const POOL: PoolId = PoolId(Uuid::from_u128(0x7001));
pub const OTHER_POOL: PoolId = PoolId(Uuid::from_u128(0x7002));
/// How long something may take to become so, by the host's own clock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A world for a host: what is there before it, and what others do in it. Everything goes with the bench, processes too.
pub trait Bench {
    /// The host that is tried.
    type Host: Host;

    /// A new world. In it are the homes of the accounts `primary` and `backup`, each with a login, and the start directory; nothing of
    /// ours.
    fn new() -> Self;

    /// The directory that all of it is in.
    fn ground(&self) -> PathBuf;

    /// Which agent is started, and on which tmux server.
    fn equip(&self, spec: &mut Spec);

    /// The host of a new process of ours.
    fn host(&mut self) -> Self::Host;

    /// Somebody ends a process with `kill -9`.
    fn kill(&mut self, pid: Pid);

    /// Whether a process lives.
    fn lives(&self, pid: Pid) -> bool;

    /// Somebody has an idle agent answer a short prompt. When it is over, the agent is idle again.
    fn prompt(&mut self, session: &str);

    /// Agents that are started from now on ignore SIGTERM.
    fn make_agents_stubborn(&mut self);

    /// Somebody makes a tmux session with a program that runs until it is ended.
    fn start_foreign_session(&mut self, name: &str);

    /// Somebody renames a tmux session.
    fn rename_session(&mut self, from: &str, to: &str);

    /// Somebody ends the tmux server.
    fn kill_server(&mut self);

    /// Somebody stops the tmux server, so that it answers nobody, or lets it go on.
    fn hang_server(&mut self, hung: bool);

    /// Somebody puts a directory with these files in the place of whatever stands at a path.
    fn put_directory(&mut self, path: &Path, files: &[(&str, &str)]);

    /// Somebody puts a file in the place of whatever stands at a path.
    fn put_file(&mut self, path: &Path, text: &str);

    /// Somebody puts a symlink in the place of whatever stands at a path.
    fn put_link(&mut self, path: &Path, target: &Path);

    /// The text of a file, links followed.
    fn read(&self, path: &Path) -> Option<String>;

    /// The literal target of a symlink.
    fn read_link(&self, path: &Path) -> Option<PathBuf>;

    /// Whether anything stands at a path, a symlink without a target included.
    fn exists(&self, path: &Path) -> bool;
}

/// A bench with its host, and what the host was told.
pub struct Stage<B: Bench> {
    pub bench: B,
    pub host: B::Host,
    pub spec: Spec,
    pub memory: Memory,
    pub seen: Snapshot,
}

/// Runs one test of the suite.
pub fn run<B: Bench, F: Future<Output = ()>>(test: impl FnOnce(Stage<B>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut bench = B::new();
        let mut spec = spec(&bench.ground());
        bench.equip(&mut spec);
        let mut host = bench.host();
        host.configure(&spec, POOL);
        test(Stage { bench, host, spec, memory: Memory::new(POOL), seen: Snapshot::default() }).await;
    });
}

pub fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

pub fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a name")
}

/// The mark of a session of ours.
pub fn mark(name: &str) -> Mark {
    Mark { pool: POOL, session: session(name), digest: StartDigest("0123456789ab".to_owned()) }
}

/// The first conversation of a session.
pub fn conversation(name: &str) -> ConversationId {
    POOL.conversation(&session(name), 1)
}

/// Says that nothing was done, because the world is already so or has moved on.
pub fn assert_nothing_done(outcome: &Outcome) {
    match outcome {
        Outcome::Unchanged => {}
        Outcome::Failed(failure) if failure.happened == Happened::No => {}
        other => panic!("something was done: {other:?}"),
    }
}

/// Says that the host refused, and knows that nothing was done.
pub fn assert_refused(outcome: &Outcome) {
    assert_eq!(outcome.failure().map(|failure| failure.happened), Some(Happened::No), "{outcome:?}");
}

/// Sessions whose names begin with each other, on two accounts with three links.
fn spec(ground: &Path) -> Spec {
    let ground = ground.display();
    let mut spec = declared(format!(
        "
apiVersion: claude-failover/v1
kind: Pool
metadata: {{ name: conformance }}
spec:
  accounts:
    - {{ name: primary, home: {ground}/accounts/primary }}
    - {{ name: backup, home: {ground}/accounts/backup }}
  activeLink: {ground}/active
  shared: {{ root: {ground}/shared, adopt: merge }}
  quota: {{ sources: [statusline] }}
  agent: {{ stopGrace: 5s }}
  sessions:
    - {{ names: 'web{{1,10,2}}', workdir: {ground}/work, adopt: true }}
  tmux: {{ width: 120, height: 40, historyLimit: 2000 }}
"
    ));
    // With a file among them.
    spec.shared.links = ["projects", "tasks", "history.jsonl"].map(|name| LinkName::new(name).expect("a name")).into();
    spec
}

impl<B: Bench> Stage<B> {
    pub async fn perform(&mut self, effect: &Effect) -> Outcome {
        let mut outcomes = self.host.perform(std::slice::from_ref(effect)).await;
        assert_eq!(outcomes.len(), 1, "one answer for each effect");
        outcomes.remove(0)
    }

    /// Performs what must change something.
    pub async fn done(&mut self, effect: &Effect) {
        assert_eq!(self.perform(effect).await, Outcome::Changed, "{effect:?}");
    }

    /// Performs twice: the first time something is done, the second time the world is already so.
    pub async fn done_once(&mut self, effect: &Effect) {
        self.done(effect).await;
        assert_eq!(self.perform(effect).await, Outcome::Unchanged, "again: {effect:?}");
    }

    pub async fn look(&mut self) {
        self.host.observe(&self.memory, &Look::all(), &mut self.seen).await;
    }

    /// Waits until what is seen is as wanted, and is woken as the engine is.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) {
        let deadline = self.host.now().mono.plus(PATIENCE);
        loop {
            self.look().await;
            if wanted(&self.seen) {
                return;
            }
            let now = self.host.now().mono;
            assert!(now < deadline, "not within {PATIENCE:?}: {what}; seen: {:#?}", self.seen);
            self.host.wake(deadline.min(now.plus(Duration::from_millis(500)))).await;
        }
    }

    pub fn pane(&self, name: &str) -> Option<&PaneView> {
        self.seen.tmux.value().expect("tmux is known").panes.get(name)
    }

    pub fn agent(&self, name: &str) -> &AgentView {
        let seen = &self.seen.agents[&session(name)];
        seen.value().unwrap_or_else(|| panic!("{name} is not known: {seen:?}"))
    }

    pub fn link(&self, under: &str, name: &str) -> &LinkView {
        let key = (account(under), LinkName::new(name).expect("a name"));
        self.seen.links[&key].value().expect("the link is known")
    }

    /// The living process of a session, once it is known: for a moment during exec nobody can tell its home.
    pub async fn process(&mut self, name: &str) -> ProcessId {
        let session = session(name);
        let lives = |seen: &Snapshot| seen.agents.get(&session)?.value()?.process;
        self.until("a living agent", |seen| lives(seen).is_some()).await;
        lives(&self.seen).expect("an agent lives")
    }

    pub fn home(&self, under: &str) -> PathBuf {
        self.spec.account(&account(under)).expect("declared").home.clone()
    }

    /// Makes everything that an agent needs: the server, the shared root, links, prepared homes.
    pub async fn prepare(&mut self) {
        let root = self.spec.shared.root.clone();
        self.done(&Effect::StartServer).await;
        self.done(&Effect::InitSharedRoot { root: root.clone(), pool: POOL }).await;
        for account in self.spec.accounts.clone() {
            for need in link_needs(&self.spec, &account) {
                self.perform(&Effect::CreateTarget { root: root.clone(), target: need.target.clone(), kind: need.kind }).await;
                self.done(&Effect::CreateLink { path: need.path, target: need.target }).await;
            }
            self.done(&self.prepare_home(account.name.as_str())).await;
        }
    }

    pub fn prepare_home(&self, under: &str) -> Effect {
        let trust = vec![self.spec.sessions[&session("web1")].workdir.clone()];
        Effect::PrepareHome { account: account(under), home: self.home(under), trust, accept_bypass: false }
    }

    pub fn launch(&self, name: &str, under: &str, mode: LaunchMode) -> Launch {
        let account = self.spec.account(&account(under)).expect("declared");
        plan::launch(&self.spec, account, &self.spec.sessions[&session(name)], conversation(name), mode)
    }

    pub fn create(&self, name: &str) -> Effect {
        Effect::CreateSession { launch: self.launch(name, "primary", LaunchMode::Fresh), mark: mark(name) }
    }

    /// Starts an agent and waits until it is ready for work.
    pub async fn start(&mut self, name: &str) {
        self.done(&self.create(name)).await;
        self.until("the agent is ready", |seen| is_ready(seen, name)).await;
    }

    /// Starts the agent of a pane again, when it has ended.
    pub fn respawn(&self, name: &str, under: &str, mode: LaunchMode) -> Effect {
        let pane = self.pane(name).expect("a pane");
        Effect::RespawnAgent {
            session_id: pane.session_id.clone(),
            pane: pane.pane.clone(),
            expect_pid: pane.pid,
            launch: self.launch(name, under, mode),
            mark: mark(name),
        }
    }

    pub async fn stop(&mut self, name: &str) -> Effect {
        let process = self.process(name).await;
        Effect::StopAgent { session: session(name), process, grace: Duration::from_secs(5) }
    }

    /// Remembers a session as the engine does after a start.
    pub fn remember(&mut self, name: &str) {
        let record = SessionRecord {
            conversation: conversation(name),
            incarnation: 1,
            account: account("primary"),
            digest: mark(name).digest,
            workdir: self.spec.sessions[&session(name)].workdir.clone(),
            process: None,
            ended: false,
            stopped: false,
            spoken: false,
            started_at: self.host.now().wall,
            asked: None,
        };
        self.memory.sessions.insert(session(name), record);
    }

    /// The target of a shared name.
    pub fn target(&self, name: &str, kind: TargetKind) -> Effect {
        let root = self.spec.shared.root.clone();
        Effect::CreateTarget { target: root.join(name), root, kind }
    }
}

/// Whether the agent of a session has registered and reported.
pub fn is_ready(seen: &Snapshot, name: &str) -> bool {
    let agent = seen.agents.get(&session(name)).and_then(|agent| agent.value());
    agent.is_some_and(|agent| agent.register.is_some() && agent.started.is_some())
}

/// Whether the agent of a session is known to have ended.
pub fn has_ended(seen: &Snapshot, name: &str) -> bool {
    seen.agents.get(&session(name)).and_then(|agent| agent.value()).is_some_and(|agent| agent.process.is_none())
}

/// Whether waiting was ended by something about agents or panes.
pub fn tells_of_agents(wakes: &std::collections::BTreeSet<Wake>) -> bool {
    wakes.contains(&Wake::Agents) || wakes.contains(&Wake::Tmux)
}
