//! From the watcher's thread to whoever waits. Notices are gathered in a bounded set; the channel only says that there are some.

use std::{
    collections::BTreeMap,
    mem,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{Event, EventHandler, EventKind, event::ModifyKind};
use tokio::sync::mpsc;
use tracing::warn;

/// More paths than this are not kept apart.
const MAX_PATHS: usize = 1024;

/// What came in since it was last taken.
#[derive(Debug)]
pub(super) enum Received {
    /// Something happened to these paths; `true` for those that were made, removed or renamed.
    At(BTreeMap<PathBuf, bool>),
    /// Something may have happened anywhere.
    Anywhere,
}

impl Received {
    fn is_empty(&self) -> bool {
        matches!(self, Self::At(paths) if paths.is_empty())
    }

    fn add(&mut self, path: PathBuf, moved: bool) {
        match self {
            Self::At(paths) if paths.len() < MAX_PATHS => *paths.entry(path).or_default() |= moved,
            _ => *self = Self::Anywhere,
        }
    }
}

impl Default for Received {
    fn default() -> Self {
        Self::At(BTreeMap::new())
    }
}

/// The end that waits.
#[derive(Debug)]
pub(super) struct Notices {
    received: Arc<Mutex<Received>>,
    signal: mpsc::Receiver<()>,
}

/// The end that the watcher's thread calls.
#[derive(Debug)]
pub(super) struct Handler {
    received: Arc<Mutex<Received>>,
    signal: mpsc::Sender<()>,
}

/// Makes the two ends.
pub(super) fn channel() -> (Notices, Handler) {
    let received = Arc::new(Mutex::new(Received::default()));
    let (give, wait) = mpsc::channel(1);
    (Notices { received: received.clone(), signal: wait }, Handler { received, signal: give })
}

impl Notices {
    /// Waits until something is there to be taken. Cancel-safe: what is there stays.
    pub(super) async fn arrived(&mut self) {
        while lock(&self.received).is_empty() {
            self.another().await;
        }
    }

    /// Waits for one more notice. Cancel-safe: a signal that is lost with the future stands for notices that stay.
    pub(super) async fn another(&mut self) {
        if self.signal.recv().await.is_none() {
            // The watcher's thread is gone, and nothing will ever come.
            std::future::pending::<()>().await;
        }
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Received {
        mem::take(&mut *lock(&self.received))
    }
}

impl EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        {
            let mut received = lock(&self.received);
            match event {
                // Opening and closing a file is reported too; who looks because of a notice would give the next one.
                Ok(Event { kind: EventKind::Access(_), .. }) => return,
                Ok(event) if event.need_rescan() => *received = Received::Anywhere,
                Ok(event) => {
                    let kind = event.kind;
                    let moved = kind.is_create() || kind.is_remove() || matches!(kind, EventKind::Modify(ModifyKind::Name(_)));
                    event.paths.into_iter().for_each(|path| received.add(path, moved));
                }
                Err(error) => {
                    warn!(%error, "the watcher may have missed something; everything is looked at again");
                    *received = Received::Anywhere;
                }
            }
        }
        // Full means that the signal has been given already.
        let _ = self.signal.try_send(());
    }
}

/// The set stays usable whatever happened to a thread that held it: each change of it is a single step.
fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}
