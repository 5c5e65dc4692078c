//! Looks.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    time::Duration,
};

use super::{RealHost, early, ground::Ground, track::Looked};
use crate::{
    host::{
        Look,
        agent::{home, login, transcript},
        checkpoint,
        intake::{Intake, at_work, pool_line, status_file},
        links,
        tmux::TmuxServer,
    },
    model::{AccountName, ConversationId, LinkName, Now, SessionName, error_line},
    observed::{
        AgentView, CheckpointsView, HomeView, LinkView, LoginView, RootView, Seen, Snapshot, TargetView, TmuxView, TranscriptMark,
        TranscriptView, Unseen,
    },
    plan::{Memory, TargetKind},
};

/// How long files may take to answer. A local file system needs milliseconds; one that hangs must not hold up a look.
pub(super) const FILES_WITHIN: Duration = Duration::from_secs(5);

impl RealHost {
    pub(super) async fn look(&mut self, memory: &Memory, look: &Look, seen: &mut Snapshot) {
        if look.agents || look.everything {
            // What agents have said by now belongs to this look: after a start their reports wait in the spool.
            self.take_messages().await;
        }
        self.tell_pool();
        let now = super::Host::now(self);
        if look.everything {
            // What was missing or replaced is watched again.
            self.watch_places();
            if let Some(Err(error)) = self.intake.as_mut().map(Intake::ensure) {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot take reports of agents; looks have to do");
            }
        }
        let Some(ground) = self.ground.clone() else { return };
        self.tell_hooks(memory, &ground);
        let looks_at_agents = look.agents || look.everything;
        let status_files = if looks_at_agents { self.tracks.wanted_status_files(look.everything, now) } else { None };
        let said = async {
            let places = status_files?;
            within("status files", move || status_file::read_all(&places)).await.ok()
        };
        let homes = async { if look.homes { Some(within("homes", look_at_homes(Arc::clone(&ground), now)).await) } else { None } };
        let links = async { if look.links { Some(within("links", look_at_links(Arc::clone(&ground), now)).await) } else { None } };
        let transcripts =
            async { if look.transcripts.is_empty() { None } else { Some(look_at_transcripts(&ground, memory, look, now).await) } };
        // What is held is the last list that was read, and not somebody else's.
        let holds_list = matches!(&seen.tmux, Seen::Known(fact) if self.listed_at == Some(fact.at));
        let anew = look.everything || !holds_list;
        let tmux = async { if look.tmux { Some(list(self.tmux.as_mut(), anew).await) } else { None } };
        let tasks = async { if look.queues { Some(self.queues.look(&ground, now).await) } else { None } };
        let names = Arc::clone(&self.checkpoint_shelf);
        let recorded: Vec<_> = memory.sessions.values().filter_map(|record| record.process).collect();
        // A host that listens knows most of them from its last look.
        let is_first = look.tmux && look.everything && !self.tracks.watches;
        let early = async { if is_first { early::read(recorded).await } else { BTreeMap::new() } };
        let checkpoints = async { if look.checkpoints { Some(look_at_checkpoints(names, &ground, memory, now).await) } else { None } };
        let (tmux, early, homes, links, transcripts, queues, checkpoints, said) =
            tokio::join!(tmux, early, homes, links, transcripts, tasks, checkpoints, said);
        self.tracks.early = early;
        if let Some(said) = said {
            self.tracks.status_files_said(said);
        }
        if let Some(checkpoints) = checkpoints {
            seen.checkpoints = checkpoints;
        }
        match tmux {
            Some(Ok(Some(view))) => seen.tmux = Seen::known(view, now),
            Some(Ok(None)) => {
                if let Seen::Known(fact) = &mut seen.tmux {
                    fact.at = now;
                }
            }
            Some(Err(message)) => seen.tmux = Seen::Unknown(Unseen::Failed { source_name: "tmux".to_owned(), message }),
            None => {}
        }
        if look.tmux {
            self.listed_at = seen.tmux_at();
        }
        if let Some(homes) = homes {
            seen.homes =
                homes.unwrap_or_else(|why| ground.homes.iter().map(|(name, _)| (name.clone(), Seen::Unknown(why.clone()))).collect());
        }
        match links {
            Some(Ok(found)) => {
                (seen.links, seen.targets) = (found.links, found.targets);
                (seen.shared_root, seen.active_link) = (found.root, found.active);
            }
            Some(Err(why)) => {
                seen.links =
                    ground.links.iter().map(|(account, name, _)| ((account.clone(), name.clone()), Seen::Unknown(why.clone()))).collect();
                seen.targets = ground.targets.iter().map(|(name, _)| (name.clone(), Seen::Unknown(why.clone()))).collect();
                (seen.shared_root, seen.active_link) = (Seen::Unknown(why.clone()), Seen::Unknown(why));
            }
            None => {}
        }
        if let Some(queues) = queues {
            seen.queues = queues;
        }
        if let Some(transcripts) = transcripts {
            seen.transcripts.extend(transcripts);
        }
        if looks_at_agents {
            self.look_at_agents(memory, look.everything, now, seen).await;
            self.look_at_screens(look.everything, now, seen).await;
            if self.intake.is_some() {
                self.pool_words = pool_line::words(seen.agents.values().filter_map(Seen::value).map(AgentView::told_activity));
            }
        }
        if look.usage || look.everything {
            for (account, usage) in self.readings.take() {
                seen.usage.entry(account).or_default().merge(&usage);
            }
        }
    }

    /// Keeps the words true that status lines show of the pool. A daemon alone writes them, before the next look or wait: nobody who waits for a
    /// successor waits for them.
    pub(super) fn tell_pool(&mut self) {
        if self.pool_words == self.pool_line {
            return;
        }
        if let Err(error) = pool_line::write(&pool_line::path(&self.station.intake_socket()), &self.pool_words) {
            tracing::debug!(error = &error as &dyn std::error::Error, "the words for status lines cannot be written");
        }
        self.pool_line.clone_from(&self.pool_words);
    }

    /// Keeps it true for hooks which project each session has a task of. A daemon alone does.
    fn tell_hooks(&mut self, memory: &Memory, ground: &Ground) {
        if self.intake.is_none() {
            return;
        }
        let path = at_work::path(&self.station.intake_socket());
        let told = self.at_work.get_or_insert_with(|| at_work::read(&path));
        let mut now = told.clone();
        now.retain(|session, project| memory.sessions.contains_key(session) && ground.queues.iter().any(|(_, known)| known == project));
        for (task, record) in &memory.tasks {
            let project = ground.queues.iter().find(|(name, _)| *name == task.project);
            now.extend(record.open().zip(project).map(|(attempt, (_, path))| (attempt.session.clone(), path.clone())));
        }
        if now == *told {
            return;
        }
        match at_work::write(&path, &now) {
            Ok(()) => *told = now,
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "what sessions are at cannot be told to their hooks"),
        }
    }

    async fn look_at_agents(&mut self, memory: &Memory, everything: bool, now: Now, seen: &mut Snapshot) {
        // Who ended since the wake-up belongs to this look: agents that end together are one thing to see.
        match self.deaths.ended() {
            Ok(exits) => self.tracks.died(&exits),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot ask who has ended"),
        }
        let panes = match &seen.tmux {
            Seen::Known(fact) => &fact.value.panes,
            Seen::Unknown(why) => {
                // Without the panes nobody can say which process belongs to which session.
                let why = why.clone();
                seen.agents.values_mut().for_each(|agent| *agent = Seen::Unknown(why.clone()));
                return;
            }
        };
        let strangers = panes.keys().filter(|name| !memory.sessions.contains_key(name.as_str()));
        let strangers: Vec<SessionName> = strangers.filter_map(|name| SessionName::new(name.as_str()).ok()).collect();
        let is_there = |name: &SessionName| memory.sessions.contains_key(name) || panes.contains_key(name.as_str());
        self.tracks.retain(is_there);
        seen.agents.retain(|name, _| is_there(name));
        let mut living = Vec::new();
        let remembered = memory.sessions.iter().map(|(name, record)| (name, record.process));
        for (name, recorded) in remembered.chain(strangers.iter().map(|name| (name, None))) {
            let pane = panes.get(name.as_str());
            if pane.is_none() && recorded.is_none() {
                seen.agents.remove(name);
                continue;
            }
            let view = match self.tracks.look(name, pane, recorded, everything, &mut self.deaths, now) {
                Looked::Read(view) => *view,
                Looked::Living(agent) => {
                    living.push((name.clone(), *agent));
                    continue;
                }
                Looked::AsBefore => {
                    if let Some(Seen::Known(fact)) = seen.agents.get_mut(name) {
                        fact.at = now;
                        continue;
                    }
                    let Some(view) = self.tracks.view(name) else { continue };
                    Seen::known(view.clone(), now)
                }
            };
            seen.agents.insert(name.clone(), view);
        }
        self.tracks.clean();
        let mut early = std::mem::take(&mut self.tracks.early);
        let mut read = BTreeMap::new();
        let mut wanted: BTreeMap<PathBuf, Vec<_>> = BTreeMap::new();
        for (home, (process, transcript)) in living.iter().filter_map(|(_, agent)| agent.wanted()) {
            match early.remove(&process).filter(|_| transcript.is_none()) {
                Some(found) => drop(read.insert(process, Ok(found.files))),
                None => wanted.entry(home).or_default().push((process, transcript)),
            }
        }
        let mut files = self.agent_files.read(wanted, everything).await;
        files.append(&mut read);
        for (name, agent) in living {
            let found = files.remove(&agent.process());
            let view = self.tracks.finish(&name, agent, found, now);
            seen.agents.insert(name, view);
        }
        for (home, usage) in std::mem::take(&mut self.tracks.limits) {
            if let Some(account) = self.ground.as_ref().and_then(|ground| ground.account_of(&home)).cloned() {
                seen.usage.entry(account).or_default().merge(&usage);
            }
        }
    }
}

/// The list of panes; `None` when it is the one that was read last, unless it is to be read `anew`. The error in words.
async fn list(server: Option<&mut TmuxServer>, anew: bool) -> Result<Option<TmuxView>, String> {
    let server = server.ok_or("it could not be set up; see the log")?;
    let listed = if anew { server.list().await.map(Some) } else { server.list_changed().await };
    listed.map_err(|error| error_line(&error))
}

/// Runs blocking work on a thread of its own, at most for [`FILES_WITHIN`]. A thread that hangs longer is left behind.
pub(super) async fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unseen> {
    within_time(what, FILES_WITHIN, work).await
}

/// The same, with a deadline of its own.
pub(super) async fn within_time<T: Send + 'static>(
    what: &str,
    after: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unseen> {
    match tokio::time::timeout(after, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Unseen::Failed { source_name: what.to_owned(), message: error.to_string() }),
        Err(_) => Err(Unseen::TimedOut { source_name: what.to_owned(), after }),
    }
}

/// What is kept between two looks, unless a look has it that has not come back: another thread would only wait with it.
pub(super) fn try_kept<T: Default>(kept: &Mutex<T>) -> std::io::Result<MutexGuard<'_, T>> {
    match kept.try_lock() {
        Ok(found) => Ok(found),
        // A panic left it half-written; it may be empty at any time.
        Err(TryLockError::Poisoned(poisoned)) => {
            kept.clear_poison();
            let mut found = poisoned.into_inner();
            *found = T::default();
            Ok(found)
        }
        Err(TryLockError::WouldBlock) => {
            let why = "an earlier look has not come back; its file system may hang";
            Err(std::io::Error::new(std::io::ErrorKind::WouldBlock, why))
        }
    }
}

fn seen<T>(what: &str, found: Result<T, impl std::error::Error>, now: Now) -> Seen<T> {
    match found {
        Ok(value) => Seen::known(value, now),
        Err(error) => Seen::Unknown(Unseen::Failed { source_name: what.to_owned(), message: error_line(&error) }),
    }
}

type Homes = BTreeMap<AccountName, Seen<HomeView>>;

fn look_at_homes(ground: Arc<Ground>, now: Now) -> impl FnOnce() -> Homes + Send + 'static {
    move || ground.homes.iter().map(|(name, home)| (name.clone(), look_at_home(home, &ground.workdirs, now))).collect()
}

fn look_at_home(path: &std::path::Path, workdirs: &[PathBuf], now: Now) -> Seen<HomeView> {
    let found = match links::observe_home(path) {
        Ok(found) if !found.exists => return Seen::known(HomeView::default(), now),
        Ok(found) => found,
        Err(error) => return Seen::Unknown(Unseen::Failed { source_name: "home".to_owned(), message: error_line(&error) }),
    };
    let keys = match home::keys(path, workdirs) {
        Ok(keys) => keys,
        Err(error) => return Seen::Unknown(Unseen::Failed { source_name: "home".to_owned(), message: error_line(&error) }),
    };
    let view = HomeView {
        exists: true,
        identity: found.identity,
        unsafe_mode: found.unsafe_mode,
        onboarded: keys.onboarded,
        trusted: keys.trusted.into_iter().collect(),
        bypass_accepted: keys.bypass_accepted,
        login: login::read(path, now.wall).unwrap_or(LoginView::Unknown),
    };
    Seen::known(view, now)
}

struct Linked {
    links: BTreeMap<(AccountName, LinkName), Seen<LinkView>>,
    targets: BTreeMap<LinkName, Seen<TargetView>>,
    root: Seen<RootView>,
    active: Seen<LinkView>,
}

fn look_at_links(ground: Arc<Ground>, now: Now) -> impl FnOnce() -> Linked + Send + 'static {
    move || {
        let link = |(account, name, need): &(AccountName, LinkName, crate::plan::LinkNeed)| {
            ((account.clone(), name.clone()), seen("link", links::observe_link(&need.path, need.kind), now))
        };
        let target = |(name, path): &(LinkName, PathBuf)| (name.clone(), seen("target", look_at_target(path), now));
        let active = ground.active_link.as_ref().map_or_else(
            || Seen::known(LinkView::Absent, now),
            |path| seen("active link", links::observe_link(path, TargetKind::Directory), now),
        );
        Linked {
            links: ground.links.iter().map(link).collect(),
            targets: ground.targets.iter().map(target).collect(),
            root: seen("shared root", links::observe_root(&ground.root), now),
            active,
        }
    }
}

fn look_at_target(path: &std::path::Path) -> std::io::Result<TargetView> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(TargetView::Directory),
        Ok(metadata) if metadata.is_file() => Ok(TargetView::File),
        Ok(_) => Ok(TargetView::Other),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(TargetView::Absent),
        Err(error) => Err(error),
    }
}

/// When nothing can be listed, that is said of the sessions that nothing else is known of: they must not be begun anew.
async fn look_at_checkpoints(
    shelf: Arc<Mutex<checkpoint::files::Shelf>>,
    ground: &Arc<Ground>,
    memory: &Memory,
    now: Now,
) -> BTreeMap<SessionName, Seen<CheckpointsView>> {
    // While the active account is not known either, the newest checkpoint of all may tell it.
    let is_asked = |name: &&SessionName| memory.active.is_none() || !memory.sessions.contains_key(*name);
    let asked: Vec<SessionName> = ground.sessions.iter().filter(is_asked).cloned().collect();
    // A session that is asked once more about its task is told what its newest checkpoint says.
    let at_a_task = memory.open_attempts().map(|(_, attempt)| attempt.session.clone());
    let unknown: Vec<SessionName> = asked.iter().cloned().chain(at_a_task).collect();
    let ground = Arc::clone(ground);
    let work = move || {
        let failed = |message| Unseen::Failed { source_name: "checkpoints".to_owned(), message };
        let mut shelf = try_kept(&shelf).map_err(|error| failed(error.to_string()))?;
        checkpoint::look(&mut shelf, &ground.state, &ground.root.join("projects"), &ground.pool_name, &unknown, now)
            .map_err(|error| failed(error_line(&error)))
    };
    let found = within("checkpoints", work).await.and_then(|found| found);
    found.unwrap_or_else(|why| asked.into_iter().map(|name| (name, Seen::Unknown(why.clone()))).collect())
}

/// What a transcript is found by, and the mark that it is compared with.
type Wanted = (SessionName, ConversationId, PathBuf, Option<TranscriptMark>);

async fn look_at_transcripts(ground: &Ground, memory: &Memory, look: &Look, now: Now) -> BTreeMap<SessionName, Seen<TranscriptView>> {
    let wanted: Vec<Wanted> = look
        .transcripts
        .iter()
        .filter_map(|(name, mark)| {
            let record = memory.sessions.get(name)?;
            Some((name.clone(), record.conversation, record.workdir.clone(), mark.clone()))
        })
        .collect();
    let names: Vec<_> = wanted.iter().map(|(name, ..)| name.clone()).collect();
    let projects = ground.root.join("projects");
    let work = move || {
        let mut finder = transcript::Finder::new(&projects);
        let look = |(name, conversation, workdir, mark): Wanted| {
            (name, seen("transcript", finder.look(&workdir, conversation, mark.as_ref()), now))
        };
        wanted.into_iter().map(look).collect()
    };
    within("transcripts", work).await.unwrap_or_else(|why| names.into_iter().map(|name| (name, Seen::Unknown(why.clone()))).collect())
}
