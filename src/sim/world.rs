//! The world: everything that is outside of us, and the time that passes there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Violation,
    account::{Home, Usage},
    fault::FaultPlan,
    files::{Files, Node},
    process::{Manner, Phase, Process, Talk, Who},
    queue::Queues,
    tmux::Tmux,
};
use crate::{
    host::Wake,
    model::{
        AccountName, AccountUsage, ConversationId, Monotonic, Now, Percent, Pid, PollOutcome, PoolId, ReadingSource, SessionName,
        WindowKind, WindowReading,
    },
    observed::{Checkpoint, CheckpointId, EndedCheckpoint, LoginView},
    plan::{Effect, Outcome},
    spec::{QuotaSource, Spec},
};

/// When every world begins, by the wall clock: 2027-01-04T00:00:00Z, a Monday.
const BEGINNING: i64 = 1_799_020_800;
/// How long a reading of usage takes.
const POLL_TIME: Duration = Duration::from_secs(2);

/// A source of facts that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The list of the tmux server.
    Tmux,
    /// Processes, register and hooks.
    Agents,
    /// Transcripts.
    Transcripts,
    /// Homes.
    Homes,
    /// Shared root, its names, links and the active link.
    Links,
    /// The queues of the projects.
    Queues,
}

/// An effect that was performed, with what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// When.
    pub at: Monotonic,
    /// The effect.
    pub effect: Effect,
    /// Its answer; `None` when the process was killed over it.
    pub outcome: Option<Outcome>,
}

/// Something that happens later.
type Later = Box<dyn FnOnce(&mut World)>;
/// Somebody who sees each effect right before it is performed.
type Witness = Box<dyn FnMut(&Effect)>;

/// A reading of usage that is under way.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    due: Monotonic,
    account: AccountName,
    source: QuotaSource,
}

/// The outside: one tmux server, homes, a shared root, logins with their windows, processes. It lives on when we are killed.
#[derive(Default)]
pub struct World {
    pub(super) now: Monotonic,
    /// By how much the host's wall clock is wrong, and since when.
    skews: BTreeMap<Monotonic, SignedDuration>,
    pub(super) spec: Option<Spec>,
    pub(super) pool: Option<PoolId>,
    pub(super) files: Files,
    pub(super) homes: BTreeMap<PathBuf, Home>,
    pub(super) usage: BTreeMap<AccountName, Usage>,
    pub(super) processes: BTreeMap<Pid, Process>,
    pub(super) last_pid: i32,
    pub(super) tmux: Tmux,
    pub(super) talks: BTreeMap<ConversationId, Talk>,
    pub(super) manners: BTreeMap<Who, Manner>,
    pub(super) adoptable: BTreeSet<String>,
    /// Where the active link led before it was last pointed elsewhere, and when that was.
    pub(super) flipped: Option<(PathBuf, Monotonic)>,
    polls: Vec<Poll>,
    pub(super) ended_polls: Vec<(AccountName, QuotaSource, PollOutcome)>,
    pub(super) readings: BTreeMap<AccountName, AccountUsage>,
    /// The checkpoints on disk, oldest first.
    pub(super) checkpoints: BTreeMap<SessionName, Vec<(CheckpointId, Checkpoint)>>,
    pub(super) ended_checkpoints: Vec<EndedCheckpoint>,
    pub(super) disk_full: bool,
    pub(super) faults: FaultPlan,
    pub(super) performed: Vec<Performed>,
    pub(super) crashed: bool,
    pub(super) blind: BTreeMap<Source, u32>,
    pub(super) deaf: bool,
    pub(super) wakes: BTreeSet<Wake>,
    pub(super) later: BTreeMap<(Monotonic, u64), Later>,
    last_later: u64,
    pub(super) ledger: BTreeMap<u64, Vec<u8>>,
    pub(super) noticed: Vec<Violation>,
    pub(super) witness: Option<Witness>,
    pub(super) queues: Queues,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("tmux", &self.tmux)
            .field("processes", &self.processes)
            .finish_non_exhaustive()
    }
}

impl World {
    /// A host on which a person has prepared for `spec`: each account's home with a valid login, the start directories, and the
    /// directories that hold the shared root and the active link. Nothing of ours is there yet.
    pub fn new(spec: &Spec) -> Self {
        let mut world = Self { last_pid: 100, ..Self::default() };
        world.tmux.descriptor_limit = Some(1_024);
        let parents = [Some(spec.shared.root.as_path()), spec.active_link.as_deref()].into_iter().flatten().filter_map(Path::parent);
        let workdirs = spec.sessions.values().map(|session| session.workdir.as_path());
        let projects = spec.projects.iter().map(|project| project.path.as_path());
        for directory in parents.chain(workdirs).chain(projects) {
            world.files.make_directories(directory);
        }
        for account in &spec.accounts {
            world.add_account(&account.name, &account.home);
        }
        world.spec = Some(spec.clone());
        world
    }

    /// The same, for the host and the test to share.
    pub fn shared(spec: &Spec) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self::new(spec)))
    }

    /// Makes a home with a valid login.
    pub fn add_account(&mut self, account: &AccountName, home: &Path) {
        self.files.make_directories(home);
        self.homes.insert(home.to_owned(), Home { login: LoginView::Valid { expires_at: None }, ..Home::default() });
        self.usage.insert(account.clone(), Usage::default());
    }

    /// Both clocks, as the host shows them.
    pub fn now(&self) -> Now {
        Now { wall: self.host_wall_at(self.now), mono: self.now }
    }

    /// Puts the host's wall clock wrong by so much.
    pub fn set_skew(&mut self, skew: SignedDuration) {
        self.skews.insert(self.now, skew);
    }

    /// What goes wrong with effects from now on.
    pub fn set_faults(&mut self, faults: FaultPlan) {
        self.faults = faults;
    }

    /// What was performed, in order; its length is the number of the next effect.
    pub fn performed(&self) -> &[Performed] {
        &self.performed
    }

    /// Whether a fault has killed the process that performs; a new [`SimHost`](super::SimHost) is the next process.
    pub const fn has_crashed(&self) -> bool {
        self.crashed
    }

    /// Called with each effect right before it is performed, to look whether its intent was written.
    pub fn set_witness(&mut self, witness: impl FnMut(&Effect) + 'static) {
        self.witness = Some(Box::new(witness));
    }

    /// The next `looks` looks at a source end in a time-out.
    pub fn blind(&mut self, source: Source, looks: u32) {
        self.blind.insert(source, looks);
    }

    /// Whether notices of changes are lost, so that only the timer wakes.
    pub const fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
    }

    /// The files.
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// The state of an account's home.
    pub fn home_mut(&mut self, home: &Path) -> Option<&mut Home> {
        self.wakes.insert(Wake::Homes);
        self.homes.get_mut(home)
    }

    /// The usage of an account.
    pub fn usage_mut(&mut self, account: &AccountName) -> Option<&mut Usage> {
        self.usage.get_mut(account)
    }

    /// Sets what an account has used of a window, and when that window begins anew.
    pub fn set_used(&mut self, account: &AccountName, window: &WindowKind, used: f64, resets_in: Duration) {
        let (now, resets_at) = (self.now, self.now.plus(resets_in));
        if let Some(window) = self.usage.get_mut(account).and_then(|usage| usage.windows.get_mut(window)) {
            *window = super::account::Window { used, since: now, resets_at: Some(resets_at), per_agent_hour: window.per_agent_hour };
        }
        self.stop_at_limits();
    }

    /// Lets something happen after a while.
    pub fn later(&mut self, after: Duration, event: impl FnOnce(&mut Self) + 'static) {
        self.last_later += 1;
        self.later.insert((self.now.plus(after), self.last_later), Box::new(event));
    }

    /// Lets time pass, with everything that is due in it.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.now.plus(by));
    }

    pub(super) fn advance_to(&mut self, until: Monotonic) {
        while let Some(at) = self.next_due().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.happen();
        }
        self.now = self.now.max(until);
    }

    /// When the next thing happens by itself.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let processes = self.processes.values().filter_map(Self::due);
        let windows = self.usage.iter().flat_map(|(account, usage)| {
            let working = self.working_on(account);
            usage.windows.values().flat_map(move |window| [window.full_at(working), window.resets_at])
        });
        let polls = self.polls.iter().map(|poll| poll.due);
        let later = self.later.keys().next().map(|(at, _)| *at);
        processes.chain(windows.flatten()).chain(polls).chain(later).min()
    }

    /// Lets everything happen that is due, in an order that never changes.
    fn happen(&mut self) {
        let pids: Vec<_> = self.processes.keys().copied().collect();
        for pid in pids {
            self.step(pid);
        }
        self.begin_windows_anew();
        self.stop_at_limits();
        self.end_polls();
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
            entry.remove()(self);
        }
    }

    /// The true time, which the host's wall clock may miss.
    pub(super) fn wall(&self) -> Timestamp {
        Self::wall_at(self.now)
    }

    /// What the host's wall clock showed then: that is what its programs write down.
    pub(super) fn host_wall_at(&self, at: Monotonic) -> Timestamp {
        let (wall, skew) = (Self::wall_at(at), self.skews.range(..=at).next_back().map_or(SignedDuration::ZERO, |(_, skew)| *skew));
        wall.saturating_add(skew).unwrap_or(wall)
    }

    pub(super) fn wall_at(at: Monotonic) -> Timestamp {
        let beginning = Timestamp::from_second(BEGINNING).unwrap_or_default();
        beginning.saturating_add(at.0).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn account_of(&self, home: &Path) -> Option<AccountName> {
        let accounts = self.spec.as_ref().map(|spec| spec.accounts.as_slice()).unwrap_or_default();
        accounts.iter().find(|account| account.home == home).map(|account| account.name.clone())
    }

    /// Changes a file, and remembers that its bytes are dear.
    pub(super) fn write(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let now = self.wall();
        if let Some(inode) = self.files.change(path, now, change)
            && let Some(bytes) = self.files.read(path)
        {
            self.ledger.insert(inode, bytes.to_vec());
        }
    }

    /// Puts a file where nothing stands.
    pub(super) fn put_file(&mut self, path: &Path, text: &str) {
        let modified = self.wall();
        self.files.put(path, Node::File { bytes: Vec::new(), modified });
        self.write(path, |bytes| *bytes = text.as_bytes().to_vec());
    }

    fn working_on(&self, account: &AccountName) -> usize {
        let home = self.home_of(account);
        home.map_or(0, |home| self.working_under(&home))
    }

    fn home_of(&self, account: &AccountName) -> Option<PathBuf> {
        self.spec.as_ref().and_then(|spec| spec.account(account)).map(|account| account.home.clone())
    }

    /// Carries the windows of a home's login over to now.
    pub(super) fn settle(&mut self, home: &Path) {
        let (now, working) = (self.now, self.working_under(home));
        let Some(usage) = self.account_of(home).and_then(|account| self.usage.get_mut(&account)) else { return };
        usage.windows.values_mut().for_each(|window| window.settle(now, working));
    }

    /// A window begins with the first work in it.
    pub(super) fn begin_windows(&mut self, home: &Path) {
        let now = self.now;
        let Some(usage) = self.account_of(home).and_then(|account| self.usage.get_mut(&account)) else { return };
        for (kind, window) in &mut usage.windows {
            window.resets_at.get_or_insert(now.plus(kind.length()));
        }
    }

    pub(super) fn is_exhausted(&self, home: &Path) -> bool {
        let working = self.working_under(home);
        let usage = self.account_of(home).and_then(|account| self.usage.get(&account));
        usage.is_some_and(|usage| usage.windows.values().any(|window| window.is_full(self.now, working)))
    }

    /// Windows whose time is over begin anew, and the turns that waited for it go on by themselves.
    fn begin_windows_anew(&mut self) {
        let now = self.now;
        let working: BTreeMap<_, _> = self.usage.keys().map(|account| (account.clone(), self.working_on(account))).collect();
        for (account, usage) in &mut self.usage {
            let works = working.get(account).is_some_and(|working| *working > 0);
            for (kind, window) in usage.windows.iter_mut().filter(|(_, window)| window.resets_at.is_some_and(|at| at <= now)) {
                window.used = 0.0;
                window.since = now;
                window.resets_at = works.then(|| now.plus(kind.length()));
            }
        }
        for (pid, left) in self.turns(|phase| if let Phase::Limited(left) = phase { Some(*left) } else { None }) {
            if let Some(home) = self.alive(pid).map(|process| process.home.clone())
                && !self.is_exhausted(&home)
            {
                self.work(pid, left);
            }
        }
    }

    /// Turns of a login whose window is full stop.
    fn stop_at_limits(&mut self) {
        let now = self.now;
        for (pid, left) in self.turns(|phase| if let Phase::Busy(until) = phase { Some(until.since(now)) } else { None }) {
            if let Some(home) = self.alive(pid).map(|process| process.home.clone())
                && self.is_exhausted(&home)
            {
                self.hit_limit(pid, left);
            }
        }
    }

    pub(super) fn turns(&self, of: impl Fn(&Phase) -> Option<Duration>) -> Vec<(Pid, Duration)> {
        let living = self.processes.values().filter(|process| process.is_alive());
        living.filter_map(|process| Some((process.id.pid, of(&process.agent.as_ref()?.phase)?))).collect()
    }

    pub(super) fn start_poll(&mut self, account: &AccountName, source: QuotaSource) {
        self.polls.push(Poll { due: self.now.plus(POLL_TIME), account: account.clone(), source });
    }

    fn end_polls(&mut self) {
        let (due, rest) = std::mem::take(&mut self.polls).into_iter().partition::<Vec<_>, _>(|poll| poll.due <= self.now);
        self.polls = rest;
        for poll in due {
            let outcome = self.usage.get(&poll.account).map_or(PollOutcome::Failed, |usage| usage.poll);
            if outcome == PollOutcome::Read {
                self.report(&poll.account, reading_source(poll.source), |_| true);
            }
            self.ended_polls.push((poll.account, poll.source, outcome));
            self.wakes.insert(Wake::Readings);
        }
    }

    /// An agent that ran into a limit says which window is full.
    pub(super) fn report_limit(&mut self, home: &Path) {
        if let Some(account) = self.account_of(home) {
            self.report(&account, ReadingSource::LimitRecord, |used| used >= Percent::FULL);
        }
    }

    /// An agent's status line says what its last answer said.
    pub(super) fn report_statusline(&mut self, home: &Path) {
        let wanted = self.spec.as_ref().is_some_and(|spec| spec.quota.sources.contains(&QuotaSource::Statusline));
        if let Some(account) = self.account_of(home).filter(|_| wanted) {
            self.report(&account, ReadingSource::Statusline, |_| true);
        }
    }

    fn report(&mut self, account: &AccountName, source: ReadingSource, says: impl Fn(Percent) -> bool) {
        let (now, working, measured_at) = (self.now, self.working_on(account), self.host_wall_at(self.now));
        let Some(usage) = self.usage.get(account) else { return };
        let reading = |window: &super::account::Window| WindowReading {
            used: window.percent(now, working),
            resets_at: window.resets_at.map(Self::wall_at),
            measured_at,
            source,
        };
        let all = usage.windows.iter().map(|(kind, window)| (kind.clone(), reading(window)));
        let windows = all.filter(|(_, reading)| says(reading.used)).collect();
        self.readings.entry(account.clone()).or_default().merge(&AccountUsage { windows });
        self.wakes.insert(Wake::Readings);
    }
}

const fn reading_source(source: QuotaSource) -> ReadingSource {
    match source {
        QuotaSource::Statusline => ReadingSource::Statusline,
        QuotaSource::Cli => ReadingSource::Cli,
        QuotaSource::Api => ReadingSource::Api,
        QuotaSource::File => ReadingSource::File,
        QuotaSource::Command => ReadingSource::Command,
    }
}
