//! A home, a shared root and a place outside, in a directory of their own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use claude_failover::{
    host::links::perform,
    model::PoolId,
    plan::{Effect, Failure, Happened, Outcome, TargetKind},
};
use tempfile::TempDir;

/// The pool of every world.
pub const POOL: PoolId = PoolId(uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef));

/// A home, a shared root that is marked, and a place outside of both. Removed when it is dropped.
pub struct World {
    /// The account's home, empty.
    pub home: PathBuf,
    /// The shared root, with its marker and the directory `projects`.
    pub root: PathBuf,
    /// A directory that nobody may touch, with one file in it.
    pub outside: PathBuf,
    _dirs: Vec<TempDir>,
}

impl World {
    /// All on one file system that keeps things in memory, where there is one.
    pub fn new() -> Self {
        let dir = in_memory();
        Self::at(dir.path().join("home"), dir.path().join("root"), dir.path().join("outside"), vec![dir])
    }

    /// The home and the shared root on two file systems; `None` where there is only one.
    pub fn across() -> Option<Self> {
        let (here, there) = (tempfile::tempdir().expect("a directory"), in_memory());
        let device = |dir: &TempDir| fs::metadata(dir.path()).expect("its metadata").dev();
        if device(&here) == device(&there) {
            return None;
        }
        Some(Self::at(here.path().join("home"), there.path().join("root"), here.path().join("outside"), vec![here, there]))
    }

    fn at(home: PathBuf, root: PathBuf, outside: PathBuf, dirs: Vec<TempDir>) -> Self {
        fs::create_dir(&home).expect("the home");
        fs::create_dir(&outside).expect("the place outside");
        fs::write(outside.join("precious"), "precious").expect("a file outside");
        let world = Self { home, root, outside, _dirs: dirs };
        assert_eq!(run(&Effect::InitSharedRoot { root: world.root.clone(), pool: POOL }), Outcome::Changed);
        let target = Effect::CreateTarget { root: world.root.clone(), target: world.target(), kind: TargetKind::Directory };
        assert_eq!(run(&target), Outcome::Changed);
        world
    }

    /// The place of the link `projects` in the home.
    pub fn link(&self) -> PathBuf {
        self.home.join("projects")
    }

    /// The target of the link `projects`.
    pub fn target(&self) -> PathBuf {
        self.root.join("projects")
    }

    /// Where the losing sides of a merge are kept.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join(".quarantine/then")
    }

    /// Make the link `projects`.
    pub fn create_link(&self) -> Effect {
        Effect::CreateLink { path: self.link(), target: self.target() }
    }

    /// Point the link `projects` from the place outside to its target.
    pub fn repoint_link(&self) -> Effect {
        Effect::RepointLink { path: self.link(), expect: self.outside.clone(), target: self.target() }
    }

    /// Merge the directory `projects`.
    pub fn merge(&self) -> Effect {
        Effect::MergeDirectory { path: self.link(), target: self.target(), quarantine: self.quarantine() }
    }

    /// Asserts that nothing was written, made or removed outside.
    pub fn assert_outside_untouched(&self) {
        let precious = BTreeMap::from([(PathBuf::from("precious"), Node::File(b"precious".to_vec()))]);
        assert_eq!(tree(&self.outside), precious, "something outside was touched");
    }
}

/// A directory on a file system that keeps things in memory, or a plain temporary one.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// Carries out an effect on links.
pub fn run(effect: &Effect) -> Outcome {
    perform(effect).expect("an effect on links")
}

/// Carries out an effect that must fail without having taken place.
pub fn refused(effect: &Effect) -> Failure {
    match run(effect) {
        Outcome::Failed(failure) => {
            assert_eq!(failure.happened, Happened::No, "{}", failure.message());
            failure
        }
        done => panic!("{effect:?} was not refused, but {done:?}"),
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Directory,
    File(Vec<u8>),
    Link(PathBuf),
    Pipe,
    Socket,
}

/// Everything below `top`, by relative path. Symlinks are not followed.
pub fn tree(top: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(top.join(&dir)).expect("a directory to list") {
            let path = dir.join(entry.expect("an entry").file_name());
            let full = top.join(&path);
            let kind = fs::symlink_metadata(&full).expect("its metadata").file_type();
            let node = if kind.is_dir() {
                left.push(path.clone());
                Node::Directory
            } else if kind.is_symlink() {
                Node::Link(fs::read_link(&full).expect("its target"))
            } else if kind.is_file() {
                Node::File(fs::read(&full).expect("its content"))
            } else if kind.is_fifo() {
                Node::Pipe
            } else {
                Node::Socket
            };
            nodes.insert(path, node);
        }
    }
    nodes
}

/// Everything but directories that is below any of `tops`, sorted, each as often as it is there.
pub fn contents(tops: &[&Path]) -> Vec<Node> {
    let nodes = tops.iter().filter(|top| top.is_dir() && !top.is_symlink()).flat_map(|top| tree(top).into_values());
    let mut contents: Vec<Node> = nodes.filter(|node| *node != Node::Directory).collect();
    contents.sort();
    contents
}

/// Makes a file with its directories, last written `age` seconds after a fixed instant.
pub fn file(path: &Path, content: impl AsRef<[u8]>, age: u64) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
    let mut file = File::create(path).expect("a file");
    file.write_all(content.as_ref()).expect("its content");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + age)).expect("its time");
}

/// Makes a symlink with its directories.
pub fn link(path: &Path, target: impl AsRef<Path>) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
    symlink(target, path).expect("a symlink");
}
