//! A converged world as values, for tests that change one thing in it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    model::{
        AccountName, AccountUsage, Activity, ConversationId, Generation, LinkName, Monotonic, Now, ObjectRef, PaneId, Percent, Pid, PoolId,
        ProcessId, ProjectName, ReadingSource, SessionName, StartDigest, SwapId, TmuxSessionId, WindowKind, WindowReading,
    },
    observed::{
        AgentView, Checkpoint, CheckpointCause, CheckpointId, CheckpointsView, FoundCheckpoint, HomeView, LinkView, LoginView, Mark,
        PaneView, QueueView, RegisterStatus, RegisterView, RootView, Seen, ServerView, Snapshot, TargetView, TmuxView, TranscriptMark,
        TranscriptView, Unseen,
    },
    plan::{
        Absorbed, Active, Memory, MemoryChange, Plan, Planned, ServerRecord, SessionRecord, absorb,
        checkpoints::{OpenAttempts, draft},
        link_needs, lint, plan,
    },
    spec::{Restart, Session, Spec, fixture},
    swap::{Bound, SwapCause, SwapPlan, SwapRecord},
};

pub const POOL: PoolId = PoolId(Uuid::from_u128(7));
pub const OTHER_POOL: PoolId = PoolId(Uuid::from_u128(8));

pub fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

pub fn session(name: &str) -> SessionName {
    SessionName::new(name).expect("a name")
}

pub fn link(name: &str) -> LinkName {
    LinkName::new(name).expect("a link name")
}

pub fn home(name: &str) -> PathBuf {
    format!("/accounts/{name}").into()
}

/// An instant, in seconds from the one at which the world is.
pub fn at(seconds: i64) -> Now {
    let base = Duration::from_hours(100);
    let mono = if seconds < 0 {
        base.saturating_sub(Duration::from_secs(seconds.unsigned_abs()))
    } else {
        base + Duration::from_secs(seconds.unsigned_abs())
    };
    Now { wall: Timestamp::from_second(1_800_000_000 + seconds).expect("in range"), mono: Monotonic(mono) }
}

pub fn unseen<T>() -> Seen<T> {
    Seen::Unknown(Unseen::TimedOut { source_name: "it".to_owned(), after: Duration::from_secs(5) })
}

/// The active link's path.
pub const ACTIVE_LINK: &str = "/people/.claude";

/// Two accounts, three links, the sessions `s-0` to `s-(n-1)`.
pub fn spec(sessions: usize) -> Spec {
    let mut spec = fixture::agents(sessions);
    spec.active_link = Some(ACTIVE_LINK.into());
    spec.shared.links = ["projects", "tasks", "history.jsonl"].map(link).into();
    spec
}

/// What is wanted, seen and remembered at one instant.
#[derive(Debug, Clone)]
pub struct World {
    pub spec: Spec,
    pub seen: Snapshot,
    pub memory: Memory,
    pub now: Now,
}

impl World {
    /// Everything is as declared: each session has an idle agent on `primary`.
    pub fn converged(sessions: usize) -> Self {
        let spec = spec(sessions);
        let mut memory = Memory::new(POOL);
        memory.generation = Generation(3);
        memory.spec = Some(spec.digest());
        memory.active = Some(Active { account: account("primary"), since: at(-86_400).wall });
        memory.links.insert(ACTIVE_LINK.into());
        memory.server = Some(ServerRecord { pid: Some(Pid(50)), since: at(-90_000).wall });
        let now = at(0);
        let mut world = Self { seen: Snapshot::default(), spec, memory, now };
        let server = ServerView { pid: Pid(50), version: "3.5a".to_owned(), descriptor_limit: Some(65_536) };
        world.seen.tmux = Seen::known(TmuxView { server: Some(server), panes: BTreeMap::new() }, now);
        world.seen.shared_root = Seen::known(RootView::Marked(POOL), now);
        world.seen.active_link = Seen::known(LinkView::Link { target: home("primary"), target_ok: true }, now);
        for name in &world.spec.shared.links {
            let view = if name.is_file() { TargetView::File } else { TargetView::Directory };
            world.seen.targets.insert(name.clone(), Seen::known(view, now));
        }
        for (number, account) in world.spec.accounts.iter().enumerate() {
            for (name, need) in world.spec.shared.links.iter().zip(link_needs(&world.spec, account)) {
                let view = LinkView::Link { target: need.target, target_ok: true };
                world.seen.links.insert((account.name.clone(), name.clone()), Seen::known(view, now));
                world.memory.links.insert(need.path);
            }
            let view = HomeView {
                exists: true,
                identity: Some((1, 1_000 + number as u64)),
                unsafe_mode: None,
                onboarded: true,
                trusted: ["/work".into()].into(),
                bypass_accepted: false,
                login: LoginView::Valid { expires_at: None },
            };
            world.seen.homes.insert(account.name.clone(), Seen::known(view, now));
        }
        for name in world.spec.sessions.keys().cloned().collect::<Vec<_>>() {
            world.put_running(name.as_str());
        }
        world
    }

    /// Nothing of ours is there yet: no links, no server, no memory. The homes are made and logged in.
    pub fn bare(sessions: usize) -> Self {
        let mut world = Self::converged(sessions);
        let now = world.now;
        world.memory = Memory::new(POOL);
        world.seen.tmux = Seen::known(TmuxView::default(), now);
        world.seen.agents.clear();
        world.seen.shared_root = Seen::known(RootView::Absent, now);
        world.seen.active_link = Seen::known(LinkView::Absent, now);
        world.seen.links.values_mut().for_each(|view| *view = Seen::known(LinkView::Absent, now));
        world.seen.targets.values_mut().for_each(|view| *view = Seen::known(TargetView::Absent, now));
        for account in ["primary", "backup"] {
            let home = world.home(account);
            home.onboarded = false;
            home.trusted.clear();
        }
        world
    }

    /// A running session of ours with an idle agent on `primary`; it need not be declared.
    pub fn put_running(&mut self, name: &str) {
        let number = i32::try_from(self.seen.agents.len()).expect("a few");
        let name = session(name);
        let conversation = POOL.conversation(&name, 1);
        let process = ProcessId { pid: Pid(1_000 + number), started: 5_000 };
        let digest = self.digest();
        let mark = Mark { pool: POOL, session: name.clone(), digest: digest.clone() };
        let pane = PaneView {
            session_id: TmuxSessionId(format!("${number}")),
            pane: PaneId(format!("%{number}")),
            pid: Some(process.pid),
            dead: None,
            mark: Some(mark),
            attached: 0,
        };
        self.tmux().panes.insert(name.to_string(), pane);
        let register = RegisterView {
            conversation,
            status: RegisterStatus::Idle,
            waiting_for: None,
            cwd: "/work".into(),
            version: "2.1.330".to_owned(),
            status_since: None,
        };
        let agent = AgentView {
            process: Some(process),
            home: Some(home("primary")),
            register: Some(register),
            activity: Activity::Idle,
            activity_since: Some(at(-200).wall),
            context_tokens: Some(42_000),
            ..AgentView::default()
        };
        self.seen.agents.insert(name.clone(), Seen::known(agent, self.now));
        let bound = SessionRecord::bound(conversation, account("primary"), digest, "/work".into(), at(-7_200).wall);
        self.memory.sessions.insert(name, SessionRecord { process: Some(process), ..bound });
    }

    /// A registered project with an empty queue.
    pub fn put_project(&mut self, name: ProjectName) {
        self.spec.projects.push(fixture::project(name.clone()));
        let queue = QueueView { project_exists: true, exists: true, ..QueueView::default() };
        self.seen.queues.insert(name, Seen::known(queue, self.now));
    }

    /// What every session is started with.
    pub fn digest(&self) -> StartDigest {
        let any = Session { name: session("any"), workdir: "/work".into(), restart: Restart::Always, adopt: false, dispatch: false };
        self.spec.start_digest(&any)
    }

    pub fn tmux(&mut self) -> &mut TmuxView {
        self.seen.tmux.value_mut().expect("tmux is known")
    }

    pub fn pane(&mut self, name: &str) -> &mut PaneView {
        self.tmux().panes.get_mut(name).expect("a pane")
    }

    pub fn agent(&mut self, name: &str) -> &mut AgentView {
        self.seen.agents.get_mut(&session(name)).expect("an agent").value_mut().expect("known")
    }

    pub fn home(&mut self, name: &str) -> &mut HomeView {
        self.seen.homes.get_mut(&account(name)).expect("a home").value_mut().expect("known")
    }

    pub fn declared(&mut self, name: &str) -> &mut Session {
        self.spec.sessions.get_mut(&session(name)).expect("declared")
    }

    /// The checkpoint that would be taken of a session so many seconds from the beginning.
    pub fn draft(&self, name: &str, why: CheckpointCause, seconds: i64) -> Option<Checkpoint> {
        let open = OpenAttempts::of(&self.memory);
        draft(&self.spec, &self.seen, &self.memory, &open, &session(name), why, at(seconds))
    }

    /// The newest checkpoint of a session is that one, and can be gone on from.
    pub fn put_checkpoint(&mut self, name: &str, checkpoint: Checkpoint) {
        let id = CheckpointId::new(checkpoint.taken_at, "0123456789ab");
        let newest = Some(FoundCheckpoint { id: id.clone(), checkpoint, resumable: true, refused: Vec::new() });
        self.seen.checkpoints.insert(session(name), Seen::known(CheckpointsView { taken: vec![id], newest }, at(0)));
    }

    pub fn record(&mut self, name: &str) -> &mut SessionRecord {
        self.memory.sessions.get_mut(&session(name)).expect("recorded")
    }

    pub fn put_link(&mut self, of: &str, name: &str, view: LinkView) {
        let now = self.now;
        self.seen.links.insert((account(of), link(name)), Seen::known(view, now));
    }

    /// The agent has ended, and the memory knows; its conversation has a transcript.
    pub fn end_agent(&mut self, name: &str) {
        let agent = self.agent(name);
        (agent.process, agent.register, agent.activity) = (None, None, Activity::Exited);
        self.record(name).process = None;
        self.put_transcript(name, true);
    }

    /// The tmux session is gone, and so is its agent.
    pub fn close(&mut self, name: &str) {
        self.end_agent(name);
        self.tmux().panes.remove(name);
        self.seen.agents.remove(&session(name));
    }

    pub fn put_transcript(&mut self, name: &str, exists: bool) {
        let mark = TranscriptMark { path: "/shared/projects/x.jsonl".into(), device: 1, inode: 9, length: 10, tail: "00".to_owned() };
        let view = TranscriptView { mark: exists.then_some(mark), keeps: None };
        self.seen.transcripts.insert(session(name), Seen::known(view, self.now));
    }

    /// The spec does not declare the session any more, and that was seen before.
    pub fn undeclare(&mut self, name: &str) {
        self.spec.sessions.remove(&session(name));
        self.memory.removal_seen.insert(session(name));
    }

    /// A swap to `backup` is open for these sessions.
    pub fn open_swap(&mut self, sessions: &[&str]) {
        let bound = |name: &&str| (session(name), Bound { conversation: POOL.conversation(&session(name), 1), workdir: "/work".into() });
        self.memory.swap = Some(SwapRecord::open(SwapPlan {
            id: SwapId(4),
            from: account("primary"),
            to: account("backup"),
            cause: SwapCause::Failback,
            opened_at: at(-30).wall,
            drain_until: at(570).wall,
            canary: 1,
            batch: 4,
            prove_within: Duration::from_mins(1),
            has_active_link: true,
            sessions: sessions.iter().map(bound).collect(),
        }));
    }

    pub fn put_usage(&mut self, of: &str, window: WindowKind, used: u8) {
        let reset = if window == WindowKind::FiveHour { 7_500 } else { 300_000 };
        let reading = WindowReading {
            used: Percent::whole(used),
            resets_at: Some(at(reset).wall),
            measured_at: at(-90).wall,
            source: ReadingSource::Cli,
        };
        let usage: &mut AccountUsage = self.seen.usage.entry(account(of)).or_default();
        usage.windows.insert(window, reading);
    }

    pub fn conversation(name: &str) -> ConversationId {
        POOL.conversation(&session(name), 1)
    }

    pub fn plan(&self) -> Planned {
        plan(&self.spec, &self.seen, &self.memory, self.now)
    }

    /// The rules that a plan breaks here.
    pub fn lint(&self, plan: &Plan) -> Vec<&'static str> {
        let findings = lint(plan, &self.spec, &self.seen, &self.memory, self.now).err().unwrap_or_default();
        findings.into_iter().map(|finding| finding.rule).collect()
    }

    /// Everything is looked at again at that instant, and is as before.
    pub fn look_again(&mut self, at: Now) {
        self.now = at;
        for agent in self.seen.agents.values_mut() {
            if let Seen::Known(fact) = agent {
                fact.at = at;
            }
        }
        if let Seen::Known(fact) = &mut self.seen.tmux {
            fact.at = at;
        }
    }

    pub fn absorb(&self) -> Absorbed {
        absorb(&self.spec, &self.seen, &self.memory, self.now)
    }

    /// Takes over what the facts teach.
    pub fn learn(&mut self) {
        for change in self.absorb().changes {
            self.memory.apply(&change);
        }
    }

    pub fn apply(&mut self, change: &MemoryChange) {
        self.memory.apply(change);
    }

    /// The plan in short: actions in their order, then drift, what waits, and warnings.
    pub fn told(&self) -> Vec<String> {
        tell(&self.plan())
    }
}

/// A plan in short.
pub fn tell(planned: &Planned) -> Vec<String> {
    let actions = planned.plan.actions.iter().map(|(_, action)| format!("{:?} {}: {}", action.verb, action.object, action.what));
    let drift = planned.report.drift.iter().map(|drift| format!("drift {}", drift.object));
    let waiting = planned.report.waiting.iter().map(|entry| format!("waits {} {}", entry.object, entry.reason));
    let warnings = planned.report.warnings.iter().map(|entry| format!("warns {} {}", entry.object, entry.reason));
    actions.chain(drift).chain(waiting).chain(warnings).collect()
}

pub fn object(name: &str) -> ObjectRef {
    ObjectRef::Session(session(name))
}
