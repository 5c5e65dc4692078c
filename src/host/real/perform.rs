//! Acts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{RealHost, ground::Ground, observe::try_kept, queues};
use crate::{
    host::{
        agent::{AgentError, home, launch, register, transcript},
        checkpoint, links, process,
        tmux::TmuxOp,
    },
    model::{ConversationId, Pid, ProcessId, SessionName},
    plan::{Effect, Failure, Happened, Launch, LinkNeed, Outcome, QueueChange},
};

/// How long files may take to be changed. A merge across file systems copies.
const CHANGE_WITHIN: Duration = Duration::from_mins(10);
/// How long a check before a start may take.
const CHECK_WITHIN: Duration = Duration::from_secs(10);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no spec is in force")]
    NoSpec,
    #[error("the pool's tmux server cannot be used; see the log")]
    NoTmux,
    #[error("a link that the start needs is not right")]
    Links(#[source] links::LinkError),
    #[error("conversation {conversation} is open in process {pid}; end that one first, since two would mix in one file")]
    Open { conversation: ConversationId, pid: Pid },
    #[error("the register of {} cannot be read, so whether conversation {conversation} is open is not known", home.display())]
    Register {
        home: PathBuf,
        conversation: ConversationId,
        #[source]
        source: Arc<AgentError>,
    },
    #[error("conversation {0} has no transcript; bring it back, or choose another checkpoint")]
    NoTranscript(ConversationId),
    #[error("the agent cannot be started")]
    Agent(#[source] Arc<AgentError>),
    #[error("the files did not answer within {0:?}")]
    Files(Duration),
}

impl Refusal {
    fn outcome(&self) -> Outcome {
        Outcome::Failed(Failure::from_error(Happened::No, self))
    }
}

impl RealHost {
    pub(super) async fn carry_out(&mut self, effects: &[Effect]) -> Vec<Outcome> {
        let Some(ground) = self.ground.clone() else { return vec![Refusal::NoSpec.outcome(); effects.len()] };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; effects.len()];
        let mut files = Vec::new();
        let mut changes = Vec::new();
        let mut stops = Vec::new();
        let mut sessions = Vec::new();
        let mut prompts = Vec::new();
        for (index, effect) in effects.iter().enumerate() {
            match effect {
                Effect::InitSharedRoot { .. }
                | Effect::AdoptSharedRoot { .. }
                | Effect::CreateTarget { .. }
                | Effect::CreateLink { .. }
                | Effect::RepointLink { .. }
                | Effect::MergeDirectory { .. }
                | Effect::PrepareHome { .. }
                | Effect::RecordActive { .. }
                | Effect::RemoveCheckpoints { .. } => files.push((index, effect.clone())),
                Effect::Queue { project, change } => changes.push((index, project.as_path(), change)),
                Effect::RestoreSession { conversation, workdir, .. } => {
                    let check = check_restore(&ground, self.registers(&ground), *conversation, workdir);
                    outcomes[index] = Some(check.await.unwrap_or(Refusal::Files(CHECK_WITHIN).outcome()));
                }
                Effect::StopAgent { process, grace, .. } => stops.push((index, (*process, *grace))),
                Effect::TypePrompt { .. } => prompts.push((index, effect)),
                Effect::StartServer => outcomes[index] = Some(self.start_server().await),
                Effect::CreateSession { .. }
                | Effect::RespawnAgent { .. }
                | Effect::AdoptSession { .. }
                | Effect::ReleaseSession { .. }
                | Effect::CloseSession { .. } => sessions.push((index, effect)),
            }
        }
        if !files.is_empty() {
            let count = files.len();
            let indexes: Vec<_> = files.iter().map(|(index, _)| *index).collect();
            let done = change_files(Arc::clone(&ground), files.into_iter().map(|(_, effect)| effect).collect()).await;
            fill(&mut outcomes, &indexes, done.unwrap_or_else(|| vec![cannot_tell(CHANGE_WITHIN); count]));
        }
        if !changes.is_empty() {
            queues::change(&changes, &mut outcomes).await;
            if changes.iter().any(|(_, _, change)| **change == QueueChange::Create) {
                // What is dropped into it is to be heard of.
                self.watch_places();
            }
        }
        if !stops.is_empty() {
            let (indexes, processes): (Vec<_>, Vec<(ProcessId, Duration)>) = stops.into_iter().unzip();
            fill(&mut outcomes, &indexes, process::stop(&processes).await);
        }
        if !sessions.is_empty() {
            self.change_sessions(&ground, &sessions, &mut outcomes).await;
        }
        if !prompts.is_empty() {
            self.type_prompts(ground.pool, &prompts, &mut outcomes).await;
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Refusal::NoTmux.outcome())).collect()
    }

    fn registers(&mut self, ground: &Ground) -> Registers {
        ground.homes.iter().map(|(_, home)| (home.clone(), self.agent_files.shelf(home))).collect()
    }

    async fn start_server(&mut self) -> Outcome {
        match &mut self.tmux {
            Some(server) => server.start_server().await,
            None => Refusal::NoTmux.outcome(),
        }
    }

    /// Checks what starts need, then hands everything to tmux in one go.
    async fn change_sessions(&mut self, ground: &Arc<Ground>, effects: &[(usize, &Effect)], outcomes: &mut [Option<Outcome>]) {
        let launches: Vec<Launch> = effects.iter().filter_map(|(_, effect)| launch_of(effect)).cloned().collect();
        let mut checked =
            if launches.is_empty() { BTreeMap::new() } else { check_launches(Arc::clone(ground), self.registers(ground), launches).await };
        let mut ops = Vec::with_capacity(effects.len());
        let mut indexes = Vec::with_capacity(effects.len());
        for (index, effect) in effects {
            let exec =
                launch_of(effect).map(|launch| checked.remove(&launch.session).unwrap_or(Err(Refusal::Files(CHECK_WITHIN).outcome())));
            match exec.transpose() {
                Ok(exec) => {
                    ops.push(operation(effect, exec));
                    indexes.push(*index);
                }
                Err(refused) => outcomes[*index] = Some(refused),
            }
        }
        let ops: Vec<TmuxOp> = ops.into_iter().flatten().collect();
        match &mut self.tmux {
            Some(server) if !ops.is_empty() => fill(outcomes, &indexes, server.perform(&ops).await),
            _ => {}
        }
    }
}

pub(super) fn fill(outcomes: &mut [Option<Outcome>], indexes: &[usize], done: Vec<Outcome>) {
    for (index, outcome) in indexes.iter().zip(done) {
        outcomes[*index] = Some(outcome);
    }
}

pub(super) fn cannot_tell(within: Duration) -> Outcome {
    Outcome::Failed(Failure::from_error(Happened::CannotTell, &Refusal::Files(within)))
}

/// One after the other: links come in the order of the spec.
async fn change_files(ground: Arc<Ground>, effects: Vec<Effect>) -> Option<Vec<Outcome>> {
    let work = tokio::task::spawn_blocking(move || effects.iter().map(|effect| change_file(&ground, effect)).collect());
    tokio::time::timeout(CHANGE_WITHIN, work).await.ok()?.ok()
}

fn change_file(ground: &Ground, effect: &Effect) -> Outcome {
    match effect {
        Effect::RemoveCheckpoints { session, checkpoints } => match checkpoint::files::remove(&ground.state, session, checkpoints) {
            Ok(true) => Outcome::Changed,
            Ok(false) => Outcome::Unchanged,
            Err(error) => Outcome::Failed(Failure::from_error(Happened::CannotTell, &error)),
        },
        Effect::PrepareHome { home, trust, accept_bypass, .. } => home::prepare(home, trust, *accept_bypass),
        Effect::RecordActive { needs, .. } => match links::verify(needs) {
            Ok(()) => Outcome::Changed,
            Err(error) => Refusal::Links(error).outcome(),
        },
        other => links::perform(other).unwrap_or_else(|| Refusal::NoSpec.outcome()),
    }
}

const fn launch_of(effect: &Effect) -> Option<&Launch> {
    match effect {
        Effect::CreateSession { launch, .. } | Effect::RespawnAgent { launch, .. } => Some(launch),
        _ => None,
    }
}

fn operation(effect: &Effect, exec: Option<process::Exec>) -> Option<TmuxOp> {
    Some(match (effect, exec) {
        (Effect::CreateSession { launch, mark }, Some(exec)) => TmuxOp::Create { exec, size: launch.size, mark: mark.clone() },
        (Effect::RespawnAgent { session_id, pane, expect_pid, mark, .. }, Some(exec)) => {
            TmuxOp::Respawn { session_id: session_id.clone(), pane: pane.clone(), expect_pid: *expect_pid, exec, mark: mark.clone() }
        }
        (Effect::AdoptSession { session_id, pane, mark }, _) => {
            TmuxOp::Adopt { session_id: session_id.clone(), pane: pane.clone(), mark: mark.clone() }
        }
        (Effect::ReleaseSession { session_id, mark }, _) => TmuxOp::Release { session_id: session_id.clone(), mark: mark.clone() },
        (Effect::CloseSession { session_id, mark }, _) => TmuxOp::Close { session_id: session_id.clone(), mark: mark.clone() },
        _ => return None,
    })
}

/// What the registers of all homes of the pool said last.
type Registers = Vec<(PathBuf, Arc<Mutex<register::Shelf>>)>;

type Checked = BTreeMap<SessionName, Result<process::Exec, Outcome>>;

/// Right before a start: the links are right, nobody has the conversation open, and the program is there.
async fn check_launches(ground: Arc<Ground>, registers: Registers, launches: Vec<Launch>) -> Checked {
    let work = tokio::task::spawn_blocking(move || {
        let wanted = launches.iter().map(|launch| launch.conversation).collect();
        let open = open_conversations(&registers, &wanted);
        let settings = ground.settings.write(&ground.settings_path).map_err(Arc::new);
        let path = ground.environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let program = launch::resolve_program(&ground.command, &path).map_err(Arc::new);
        let mut links_right: BTreeMap<Vec<PathBuf>, bool> = BTreeMap::new();
        let mut check = |launch: &Launch| -> Result<process::Exec, Refusal> {
            // The sessions of one account need the same links: one look for all of them.
            let key: Vec<_> = launch.needs.iter().map(|need: &LinkNeed| need.path.clone()).collect();
            if !links_right.get(&key).copied().unwrap_or(false) {
                links::verify(&launch.needs).map_err(Refusal::Links)?;
                links_right.insert(key, true);
            }
            match open.as_ref() {
                Ok(open) => {
                    if let Some(pid) = open.get(&launch.conversation) {
                        return Err(Refusal::Open { conversation: launch.conversation, pid: *pid });
                    }
                }
                Err((home, source)) => {
                    return Err(Refusal::Register { home: home.clone(), conversation: launch.conversation, source: Arc::clone(source) });
                }
            }
            if let Err(error) = &settings {
                return Err(Refusal::Agent(Arc::clone(error)));
            }
            let program = program.as_ref().map_err(|error| Refusal::Agent(Arc::clone(error)))?;
            launch::exec(launch, &ground.settings_path, program.clone()).map_err(|error| Refusal::Agent(Arc::new(error)))
        };
        launches.iter().map(|launch| (launch.session.clone(), check(launch).map_err(|refusal| refusal.outcome()))).collect()
    });
    tokio::time::timeout(CHECK_WITHIN, work).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Whether a session may be bound to a conversation: it has a transcript, and nobody has it open.
async fn check_restore(ground: &Arc<Ground>, registers: Registers, conversation: ConversationId, workdir: &Path) -> Option<Outcome> {
    let (ground, workdir) = (Arc::clone(ground), workdir.to_owned());
    let check = move || -> Result<(), Refusal> {
        let found = transcript::find(&ground.root.join("projects"), &workdir, conversation);
        found.map_err(|error| Refusal::Agent(Arc::new(error)))?.ok_or(Refusal::NoTranscript(conversation))?;
        let open = open_conversations(&registers, &BTreeSet::from([conversation]));
        let open = open.map_err(|(home, source)| Refusal::Register { home, conversation, source })?;
        open.get(&conversation).map_or(Ok(()), |pid| Err(Refusal::Open { conversation, pid: *pid }))
    };
    let work = tokio::task::spawn_blocking(move || check().map_or_else(|refusal| refusal.outcome(), |()| Outcome::Changed));
    tokio::time::timeout(CHECK_WITHIN, work).await.ok()?.ok()
}

/// Which of the conversations living processes have open, in any home of the pool.
fn open_conversations(
    registers: &Registers,
    wanted: &BTreeSet<ConversationId>,
) -> Result<BTreeMap<ConversationId, Pid>, (PathBuf, Arc<AgentError>)> {
    let mut open = BTreeMap::new();
    for (home, shelf) in registers {
        let kept = try_kept(shelf).map_err(|source| AgentError::Io { action: "list", path: register::directory(home), source });
        let holders = kept.and_then(|mut shelf| shelf.holders(home, wanted)).map_err(|error| (home.clone(), Arc::new(error)))?;
        for (conversation, process) in holders {
            if process::identity(process.pid).is_ok_and(|found| found == Some(process)) {
                open.insert(conversation, process.pid);
            }
        }
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::real::agent_files::AgentFiles, model::error_line};

    #[tokio::test]
    #[expect(clippy::await_holding_lock, reason = "that is what a thread does that hangs")]
    async fn a_register_that_another_thread_is_held_up_by_is_not_waited_for() {
        let root = tempfile::tempdir().expect("a directory");
        let mut files = AgentFiles::default();
        let mut registers = || ["a", "b"].map(|name| (root.path().join(name), files.shelf(&root.path().join(name)))).to_vec();
        let before = registers();
        let hung = before[1].1.lock().expect("whole");
        let (home, why) = open_conversations(&registers(), &BTreeSet::new()).expect_err("not known");
        assert_eq!((home, error_line(&*why).contains("has not come back")), (root.path().join("b"), true), "{why:?}");
        // The home has no agent; a look at all that there are is no reason to try it once more.
        files.read(BTreeMap::new(), true).await;
        let again = ["b"].map(|name| (root.path().join(name), files.shelf(&root.path().join(name)))).to_vec();
        assert!(open_conversations(&again, &BTreeSet::new()).is_err());
        drop(hung);
        assert_eq!(open_conversations(&again, &BTreeSet::new()).expect("read"), BTreeMap::new());
    }
}
