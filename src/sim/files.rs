//! A file system in memory: directories, files with bytes, symlinks. Enough for homes, a shared root and transcripts.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;

/// The one device.
pub(super) const DEVICE: u64 = 1;
/// More links than this in one path lead nowhere (`ELOOP`).
const MAX_LINKS: usize = 40;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file with its bytes, and when they were last changed.
    File {
        /// The content.
        bytes: Vec<u8>,
        /// When it last changed.
        modified: Timestamp,
    },
    /// A symlink with its literal target.
    Link(PathBuf),
}

/// All names, by absolute path without links in it.
#[derive(Debug, Clone, Default)]
pub struct Files {
    entries: BTreeMap<PathBuf, (u64, Node)>,
    last_inode: u64,
}

impl Files {
    /// The path with every link followed, if it leads to something.
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut budget = MAX_LINKS;
        self.walk(path, true, &mut budget)
    }

    /// What stands at the path itself: a link is not followed, save on the way.
    pub fn node(&self, path: &Path) -> Option<&Node> {
        let place = self.place(path)?;
        self.entries.get(&place).map(|(_, node)| node)
    }

    /// What the path leads to.
    pub fn target(&self, path: &Path) -> Option<&Node> {
        self.entries.get(&self.resolve(path)?).map(|(_, node)| node)
    }

    /// The inode of what the path leads to.
    pub fn inode(&self, path: &Path) -> Option<u64> {
        self.entries.get(&self.resolve(path)?).map(|(inode, _)| *inode)
    }

    /// The bytes of the file that the path leads to.
    pub fn read(&self, path: &Path) -> Option<&[u8]> {
        match self.target(path)? {
            Node::File { bytes, .. } => Some(bytes),
            Node::Directory | Node::Link(_) => None,
        }
    }

    /// The names in the directory that the path leads to.
    pub fn names(&self, path: &Path) -> Vec<PathBuf> {
        let Some(directory) = self.resolve(path) else { return Vec::new() };
        let below = self.entries.range(directory.clone()..).skip(1).map(|(path, _)| path);
        below
            .take_while(|path| path.starts_with(&directory))
            .filter(|path| path.parent() == Some(&directory))
            .filter_map(|path| path.file_name().map(PathBuf::from))
            .collect()
    }

    /// Every file with its path and inode.
    pub fn all(&self) -> impl Iterator<Item = (&Path, u64, &[u8])> {
        self.entries.iter().filter_map(|(path, (inode, node))| match node {
            Node::File { bytes, .. } => Some((path.as_path(), *inode, bytes.as_slice())),
            Node::Directory | Node::Link(_) => None,
        })
    }

    /// Makes a directory with those above it. What exists is left alone.
    pub fn make_directories(&mut self, path: &Path) {
        let mut place = PathBuf::new();
        for component in path.components() {
            place.push(component);
            if self.resolve(&place).is_none() {
                self.put(&place, Node::Directory);
            }
        }
    }

    /// Puts something at a path where nothing stands. Its directory must exist; answers the inode.
    pub fn put(&mut self, path: &Path, node: Node) -> Option<u64> {
        let place = if path.parent().is_none() { path.to_owned() } else { self.place(path)? };
        if self.entries.contains_key(&place) {
            return None;
        }
        self.last_inode += 1;
        self.entries.insert(place, (self.last_inode, node));
        Some(self.last_inode)
    }

    /// Changes the bytes of the file that the path leads to.
    pub fn change(&mut self, path: &Path, now: Timestamp, change: impl FnOnce(&mut Vec<u8>)) -> Option<u64> {
        let place = self.resolve(path)?;
        match self.entries.get_mut(&place)? {
            (inode, Node::File { bytes, modified }) => {
                change(bytes);
                *modified = now;
                Some(*inode)
            }
            _ => None,
        }
    }

    /// Takes away what stands at the path, with all below it; the inodes of the files that went.
    pub fn remove(&mut self, path: &Path) -> Vec<u64> {
        let Some(place) = self.place(path) else { return Vec::new() };
        let gone: Vec<_> = self.entries.keys().filter(|path| path.starts_with(&place)).cloned().collect();
        let removed = gone.iter().filter_map(|path| self.entries.remove(path));
        removed.filter(|(_, node)| matches!(node, Node::File { .. })).map(|(inode, _)| inode).collect()
    }

    /// Moves what stands at `from`, with all below it, to `to`, where nothing stands.
    pub fn rename(&mut self, from: &Path, to: &Path) -> bool {
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else { return false };
        if !self.entries.contains_key(&from) || self.entries.contains_key(&to) {
            return false;
        }
        let moved: Vec<_> = self.entries.keys().filter(|path| path.starts_with(&from)).cloned().collect();
        for path in moved {
            if let (Some(entry), Ok(rest)) = (self.entries.remove(&path), path.strip_prefix(&from)) {
                let place = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                self.entries.insert(place, entry);
            }
        }
        true
    }

    /// Where the name stands: its directory with every link followed, and the name itself.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Some(self.resolve(parent)?.join(name)),
            _ => Some(path.to_owned()),
        }
    }

    fn walk(&self, path: &Path, follow: bool, budget: &mut usize) -> Option<PathBuf> {
        let mut place = PathBuf::from("/");
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    place.pop();
                    continue;
                }
                Component::Normal(name) => place.push(name),
            }
            let (_, node) = self.entries.get(&place)?;
            if let Node::Link(target) = node
                && (follow || components.peek().is_some())
            {
                *budget = budget.checked_sub(1)?;
                let target = if target.is_absolute() { target.clone() } else { place.parent()?.join(target) };
                place = self.walk(&target, true, budget)?;
            }
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node::File { bytes: text.as_bytes().to_vec(), modified: Timestamp::UNIX_EPOCH }
    }

    fn tree() -> Files {
        let mut files = Files::default();
        files.make_directories(Path::new("/shared/projects"));
        files.make_directories(Path::new("/home/a"));
        files.put(Path::new("/home/a/projects"), Node::Link("/shared/projects".into())).expect("free");
        files.put(Path::new("/home/a/projects/x"), file("text")).expect("free");
        files
    }

    #[test]
    fn a_path_through_a_link_leads_to_its_target() {
        let files = tree();
        assert_eq!(files.resolve(Path::new("/home/a/projects/x")), Some("/shared/projects/x".into()));
        assert_eq!(files.read(Path::new("/shared/projects/x")), Some(b"text".as_slice()));
        assert_eq!(files.node(Path::new("/home/a/projects")), Some(&Node::Link("/shared/projects".into())));
        assert_eq!(files.inode(Path::new("/home/a/projects")), files.inode(Path::new("/shared/projects")));
    }

    #[test]
    fn links_that_lead_nowhere_or_round_are_nothing() {
        let mut files = tree();
        for (path, target) in [("/home/a/gone", "/nowhere"), ("/home/a/one", "/home/a/two"), ("/home/a/two", "/home/a/one")] {
            files.put(Path::new(path), Node::Link(target.into())).expect("free");
            assert_eq!(files.resolve(Path::new(path)), None);
            assert!(files.node(Path::new(path)).is_some());
        }
    }

    #[test]
    fn nothing_is_put_over_anything_or_into_nothing() {
        let mut files = tree();
        assert_eq!(files.put(Path::new("/home/a/projects"), file("over")), None);
        assert_eq!(files.put(Path::new("/home/b/x"), file("nowhere")), None);
        assert!(!files.rename(Path::new("/home/a/projects/x"), Path::new("/home/a/projects")));
    }

    #[test]
    fn a_directory_moves_with_all_below_it_and_keeps_its_inodes() {
        let mut files = tree();
        let inode = files.inode(Path::new("/shared/projects/x"));
        assert!(files.rename(Path::new("/shared/projects"), Path::new("/shared/moved")));
        assert_eq!(files.inode(Path::new("/shared/moved/x")), inode);
        assert_eq!(files.names(Path::new("/shared/moved")), [PathBuf::from("x")]);
        assert_eq!(files.resolve(Path::new("/home/a/projects")), None);
        assert_eq!(files.remove(Path::new("/shared/moved")).len(), 1);
        assert_eq!(files.names(Path::new("/shared")), Vec::<PathBuf>::new());
    }
}
