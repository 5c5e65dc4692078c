//! File watching: events are hints to look again, never facts.
//!
//! # Guarantees
//! - A hint names the tag of a watched directory, and the file in it that something happened to. Reading never makes a hint, so that a loop
//!   that reads whatever it is told of does not wake itself (facts/crates-and-reliability.md, section 4).
//! - Hints are gathered until nothing more comes for the settling time, or for ten times as long. What cannot be kept apart, because the
//!   kernel's queue or ours was full, becomes a hint for every directory as a whole.
//! - A directory that is replaced by another of the same name is watched again. One that vanished is not, until it is added again.
//!
//! # Assumes
//! Only directories are watched, never files: a file that is replaced takes its watch with it. Whoever cares about a directory behind a
//! symlink also adds the directory that the symlink stands in. The kernel tells nothing about changes made by other hosts.
//!
//! # Does not
//! Say what happened, or replace the regular look: a hint that is lost costs time, never correctness.

mod error;
mod notices;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::time::Instant;
use tracing::debug;

pub use error::WatchError;
use notices::{Notices, Received};

/// Hints are held back at most for this many settling times.
const MAX_SETTLING_TIMES: u32 = 10;

/// Where something happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint<T> {
    /// The tag of the directory.
    pub tag: T,
    /// The file in it; `None` when it is the directory itself, or when anything in it may have changed.
    pub name: Option<OsString>,
}

/// Watches directories, each with a tag that its owner knows it by.
#[derive(Debug)]
pub struct Watch<T> {
    watcher: RecommendedWatcher,
    notices: Notices,
    directories: BTreeMap<PathBuf, Watched<T>>,
    settle: Duration,
}

#[derive(Debug)]
struct Watched<T> {
    tags: BTreeSet<T>,
    /// Device and inode of the directory that the kernel watches; `None` when it vanished.
    identity: Option<(u64, u64)>,
}

impl<T: Ord + Clone> Watch<T> {
    /// Begins with no directories. Hints are given once nothing has come for the time `settle`.
    ///
    /// # Errors
    /// [`WatchError::Start`] when the kernel gives no watcher.
    pub fn new(settle: Duration) -> Result<Self, WatchError> {
        let (notices, handler) = notices::channel();
        let watcher = notify::recommended_watcher(handler).map_err(|source| WatchError::Start { source })?;
        Ok(Self { watcher, notices, directories: BTreeMap::new(), settle })
    }

    /// Watches the entries of a directory, not those of its subdirectories. It may be added again at any time, with the same tag or
    /// another: what is watched stays so, and what was replaced is watched anew. So a caller that adds all its directories at each regular
    /// look needs nothing else.
    ///
    /// # Errors
    /// [`WatchError`]: the directory is missing, or the kernel watches no more. The directory is not watched then, and is to be added again.
    pub fn add(&mut self, directory: &Path, tag: T) -> Result<(), WatchError> {
        let identity = identity(directory)?;
        let watched = self.directories.entry(directory.to_owned()).or_insert_with(|| Watched { tags: BTreeSet::new(), identity: None });
        watched.tags.insert(tag);
        if watched.identity == Some(identity) {
            return Ok(());
        }
        self.rearm(directory)
    }

    /// No longer watches a directory, under any tag.
    pub fn remove(&mut self, directory: &Path) {
        let others = self.same(directory);
        if self.directories.remove(directory).is_some() {
            // An error means that it is not watched, which is what is wanted.
            let _ = self.watcher.unwatch(directory);
        }
        // The directory may still be wanted by another path, and the kernel's one watch of it is gone.
        for other in others.iter().filter(|other| *other != directory) {
            self.rearm_quietly(other);
        }
    }

    /// Waits until something happened, and until it has settled. Cancel-safe: what came in before the future is dropped is given next time.
    pub async fn changed(&mut self) -> BTreeSet<Hint<T>> {
        loop {
            self.notices.arrived().await;
            let latest = Instant::now() + self.settle * MAX_SETTLING_TIMES;
            while Instant::now() < latest && tokio::time::timeout(self.settle, self.notices.another()).await.is_ok() {}
            // From here on nothing is awaited, so that nothing that was taken can be lost.
            let hints = match self.notices.take() {
                Received::At(paths) => paths.into_iter().flat_map(|(path, moved)| self.hints(&path, moved)).collect(),
                Received::Anywhere => self.hints_for_all(),
            };
            if !hints.is_empty() {
                return hints;
            }
        }
    }

    /// The hints for a path that something happened to; `moved` when it was made, removed or renamed.
    fn hints(&mut self, path: &Path, moved: bool) -> BTreeSet<Hint<T>> {
        let mut hints = BTreeSet::new();
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            hints.extend(self.tags(parent).into_iter().map(|tag| Hint { tag, name: Some(name.to_owned()) }));
        }
        hints.extend(self.tags(path).into_iter().map(|tag| Hint { tag, name: None }));
        if let Some(watched) = self.directories.get(path)
            && (moved || watched.identity != identity(path).ok())
        {
            self.rearm_quietly(path);
        }
        hints
    }

    fn hints_for_all(&mut self) -> BTreeSet<Hint<T>> {
        let directories: Vec<PathBuf> = self.directories.keys().cloned().collect();
        for directory in &directories {
            self.rearm_quietly(directory);
        }
        self.directories.values().flat_map(|watched| &watched.tags).map(|tag| Hint { tag: tag.clone(), name: None }).collect()
    }

    /// The tags of a directory under all the paths that it is watched by: the kernel names only one of them.
    fn tags(&self, directory: &Path) -> BTreeSet<T> {
        self.same(directory).iter().filter_map(|path| self.directories.get(path)).flat_map(|watched| watched.tags.clone()).collect()
    }

    /// All paths by which the kernel watches the directory that it watches by this one.
    fn same(&self, directory: &Path) -> Vec<PathBuf> {
        let Some(watched) = self.directories.get(directory) else { return Vec::new() };
        let is_same = |(path, other): &(&PathBuf, &Watched<T>)| {
            path.as_path() == directory || (other.identity.is_some() && other.identity == watched.identity)
        };
        self.directories.iter().filter(is_same).map(|(path, _)| path.clone()).collect()
    }

    /// Watches what stands at a path now, and at all other paths of the same directory: they share one watch of the kernel.
    fn rearm(&mut self, directory: &Path) -> Result<(), WatchError> {
        let paths = self.same(directory);
        for path in &paths {
            // Without this, a late notice of the old directory's end would end the watch of the new one.
            let _ = self.watcher.unwatch(path);
            if let Some(watched) = self.directories.get_mut(path) {
                watched.identity = None;
            }
        }
        for other in paths.iter().filter(|path| *path != directory) {
            if let Err(error) = self.arm(other) {
                debug!(%error, "no longer watched until it is added again");
            }
        }
        self.arm(directory)
    }

    /// As [`Self::rearm`], where nobody waits for the error: the owner meets it when the directory is added again.
    fn rearm_quietly(&mut self, directory: &Path) {
        if let Err(error) = self.rearm(directory) {
            debug!(%error, "no longer watched until it is added again");
        }
    }

    fn arm(&mut self, directory: &Path) -> Result<(), WatchError> {
        self.watcher.watch(directory, RecursiveMode::NonRecursive).map_err(|source| WatchError::from_notify(directory, source))?;
        let identity = identity(directory)?;
        if let Some(watched) = self.directories.get_mut(directory) {
            watched.identity = Some(identity);
        }
        Ok(())
    }
}

/// Device and inode of the directory that a path leads to.
fn identity(directory: &Path) -> Result<(u64, u64), WatchError> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok((metadata.dev(), metadata.ino())),
        Ok(_) => Err(WatchError::NotADirectory { path: directory.to_owned() }),
        Err(source) => Err(WatchError::from_notify(directory, notify::Error::io(source))),
    }
}
