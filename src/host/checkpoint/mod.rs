//! Checkpoints: gathers what a session leaves behind, and keeps it in the state directory.
//!
//! # Guarantees
//! Gathering reads only: no lock of git is taken, and nothing that a repository names is executed by choice of ours. What cannot be learnt in
//! time is absent; only keeping can fail. A checkpoint is on disk whole or not at all, and one that says what the newest says is not written.
//! A file that is torn, changed, foreign or of a newer version is refused with a reason and left alone; the one before it is used.
//!
//! # Assumes
//! One process writes: the holder of the state's lock.
//!
//! # Does not
//! Decide when one is taken, or which are removed.

mod error;
pub mod files;
pub mod git;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use error::CheckpointError;

use self::files::Kept;
use crate::{
    host::agent::{tail, transcript},
    model::{Now, PoolName, SessionName, error_line},
    observed::{
        Checkpoint, CheckpointCause, CheckpointEnd, CheckpointId, CheckpointsView, EndedCheckpoint, FoundCheckpoint, Seen, ToolAtHand,
        Unseen,
    },
};

/// How long gathering from files may take, and keeping.
const FILES_WITHIN: Duration = Duration::from_secs(10);
/// How many are taken at the same time: they must not be felt.
const AT_ONCE: usize = 4;

/// Checkpoints on their way.
#[derive(Debug)]
pub struct Checkpoints {
    room: Arc<Semaphore>,
    under_way: usize,
    ended: Vec<EndedCheckpoint>,
    sender: mpsc::UnboundedSender<EndedCheckpoint>,
    receiver: mpsc::UnboundedReceiver<EndedCheckpoint>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        // Unbounded, and bounded all the same: the engine asks for one at a time of each session, and a swap or a person for one more.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { room: Arc::new(Semaphore::new(AT_ONCE)), under_way: 0, ended: Vec::new(), sender, receiver }
    }
}

impl Checkpoints {
    /// Begins them. `projects` is the directory of the transcripts, `state` the state directory.
    pub fn start(&mut self, drafts: Vec<Checkpoint>, projects: &Path, state: &Path) {
        self.under_way += drafts.len();
        // Those that are wanted at the same moment share the way to a thread.
        let share = drafts.len().div_ceil(AT_ONCE).max(1);
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let share = drafts.by_ref().take(share).collect();
            let (room, sender) = (Arc::clone(&self.room), self.sender.clone());
            let (projects, state) = (projects.to_owned(), state.to_owned());
            tokio::spawn(async move {
                // Never closed.
                let place = room.acquire_owned().await.ok().map(Arc::new);
                take(share, projects, state, place, &sender).await;
            });
        }
    }

    /// Waits until one has ended. Cancel-safe: what ended is kept before this returns, with nothing to wait for in between.
    pub async fn arrived(&mut self) {
        match self.receiver.recv().await {
            Some(ended) => {
                self.keep(ended);
                self.receive();
            }
            // We hold a sender ourselves, so the channel never closes.
            None => std::future::pending().await,
        }
    }

    fn receive(&mut self) {
        while let Ok(ended) = self.receiver.try_recv() {
            self.keep(ended);
        }
    }

    /// Waits until none is under way, at most for `within`.
    pub async fn finish(&mut self, within: Duration) {
        let all = async {
            while self.under_way > 0 {
                self.arrived().await;
            }
        };
        // In time or not: what is late comes with a later look.
        let _ = tokio::time::timeout(within, all).await;
    }

    /// Hands out what ended.
    pub fn take_ended(&mut self) -> Vec<EndedCheckpoint> {
        self.receive();
        std::mem::take(&mut self.ended)
    }

    fn keep(&mut self, ended: EndedCheckpoint) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended.push(ended);
    }
}

/// Which checkpoints there are, and of the sessions in `unknown` the newest good one.
///
/// # Errors
/// [`CheckpointError`] when nothing can be listed.
pub fn look(
    shelf: &mut files::Shelf,
    state: &Path,
    projects: &Path,
    pool: &PoolName,
    unknown: &[SessionName],
    now: Now,
) -> Result<BTreeMap<SessionName, Seen<CheckpointsView>>, CheckpointError> {
    let failed =
        |error: CheckpointError| Seen::Unknown(Unseen::Failed { source_name: "checkpoints".to_owned(), message: error_line(&error) });
    let view = |taken: Vec<CheckpointId>| Seen::known(CheckpointsView { taken, newest: None }, now);
    let listed = shelf.list(state)?;
    let mut views: BTreeMap<_, _> = listed.into_iter().map(|(name, taken)| (name, taken.map_or_else(failed, view))).collect();
    for name in unknown {
        match views.get_mut(name) {
            None => drop(views.insert(name.clone(), view(Vec::new()))),
            Some(Seen::Known(fact)) if !fact.value.taken.is_empty() => match files::newest(state, pool, name) {
                Ok(found) => fact.value.newest = found.newest.map(|(id, checkpoint)| is_resumable(id, checkpoint, found.refused, projects)),
                Err(error) => drop(views.insert(name.clone(), failed(error))),
            },
            Some(_) => {}
        }
    }
    Ok(views)
}

/// Adds whether the conversation has a transcript. One that cannot be looked for is none.
fn is_resumable(id: CheckpointId, checkpoint: Checkpoint, refused: Vec<String>, projects: &Path) -> FoundCheckpoint {
    let found = transcript::find(projects, &checkpoint.workdir, checkpoint.conversation);
    FoundCheckpoint { resumable: found.is_ok_and(|path| path.is_some()), id, checkpoint, refused }
}

/// Gathers and keeps them. `place` is held until the file system has answered, however long that takes.
async fn take(
    wanted: Vec<Checkpoint>,
    projects: PathBuf,
    state: PathBuf,
    place: Option<Arc<OwnedSemaphorePermit>>,
    ended: &mpsc::UnboundedSender<EndedCheckpoint>,
) {
    let tell = |checkpoint, how, refused| {
        // Nobody is left to tell when the host is gone.
        let _ = ended.send(EndedCheckpoint { checkpoint, how, refused });
    };
    let (whose, held) = (wanted.clone(), place.clone());
    let gathered = on_a_thread(move || {
        let _place = held;
        // What the transcripts have in common is looked at once.
        let mut finder = transcript::Finder::new(&projects);
        wanted.into_iter().map(|draft| with_transcript(draft, &mut finder)).collect::<Vec<_>>()
    });
    let gathered = match gathered.await {
        Ok(gathered) => gathered,
        Err(why) => return whose.into_iter().for_each(|draft| tell(draft, CheckpointEnd::Failed(why.clone()), Vec::new())),
    };
    for mut draft in gathered {
        if draft.transcript.is_none() && draft.why != CheckpointCause::ByHand {
            tell(draft, CheckpointEnd::Nothing, Vec::new());
            continue;
        }
        draft.git = git::look(&draft.directory).await;
        let (whose, held, state) = (draft.clone(), place.clone(), state.clone());
        let kept = on_a_thread(move || {
            let _place = held;
            keep(draft, &state)
        });
        match kept.await {
            Ok(EndedCheckpoint { checkpoint, how, refused }) => tell(checkpoint, how, refused),
            Err(why) => tell(whose, CheckpointEnd::Failed(why), Vec::new()),
        }
    }
}

fn keep(checkpoint: Checkpoint, state: &Path) -> EndedCheckpoint {
    let (how, refused) = match files::keep(state, &checkpoint) {
        Ok(Kept { id, written: true, refused }) => (CheckpointEnd::Written(id), refused),
        Ok(Kept { id, written: false, refused }) => (CheckpointEnd::Unchanged(id), refused),
        Err(error) => (CheckpointEnd::Failed(error_line(&error)), Vec::new()),
    };
    EndedCheckpoint { checkpoint, how, refused }
}

/// Blocking work, at most for [`FILES_WITHIN`]. A thread that hangs longer is left behind, with what it holds.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    match tokio::time::timeout(FILES_WITHIN, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(stopped)) => Err(stopped.to_string()),
        Err(_) => Err(format!("the files did not answer within {FILES_WITHIN:?}")),
    }
}

/// Adds what the transcript tells. What cannot be read is absent.
fn with_transcript(mut draft: Checkpoint, finder: &mut transcript::Finder<'_>) -> Checkpoint {
    let found = finder.find(&draft.workdir, draft.conversation).ok().flatten();
    let Some(path) = found else { return draft };
    draft.transcript = transcript::mark(&path).ok().flatten();
    let Some(facts) = tail::tail(&path).ok().flatten() else { return draft };
    draft.prompt = facts.prompt;
    draft.tool = facts.tool.map(|tool| ToolAtHand { name: tool.name, finished: tool.finished });
    draft.answer = facts.answer;
    draft.interrupted = facts.interrupted;
    draft.context_tokens = facts.context_tokens.or(draft.context_tokens);
    if let Some(cwd) = facts.cwd {
        draft.directory = cwd;
    }
    draft
}

#[cfg(test)]
mod tests;
