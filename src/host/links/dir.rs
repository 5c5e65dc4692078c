//! A directory held open. Whatever happens to its path meanwhile, the work goes on in the directory that was opened.
//!
//! # Guarantees
//! Below the handle no symlink is followed and no `..` is taken (`RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, openat2(2)): whoever can write
//! there cannot lead us out of it. Nothing is ever overwritten: the only renames are `RENAME_NOREPLACE` and `RENAME_EXCHANGE`
//! (renameat2(2)), and files are made with `O_EXCL`.
//!
//! rustix is used here, since nix has no `renameat2` for musl.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
};

use super::LinkError;

/// How many steps up are taken to learn whether one directory lies in another.
const MAX_STEPS_UP: usize = 1024;

/// A directory held open for reading, with the path that messages name it by.
#[derive(Debug)]
pub(in crate::host) struct Dir {
    handle: File,
    path: PathBuf,
}

/// What an entry is; symlinks are never followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) enum Entry {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symlink with its literal target.
    Link(PathBuf),
    /// A socket, a pipe, a device.
    Other,
}

/// What became of a rename that must not replace anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Renamed {
    /// Done.
    Done,
    /// The new name is taken; nothing was changed.
    Taken,
    /// The two names are on different file systems or mounts; nothing was changed.
    Apart,
}

impl Dir {
    /// Opens a directory by its path; symlinks on the way, the last component included, are followed this once.
    pub(in crate::host) fn open(path: &Path) -> Result<Self, LinkError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(|handle| Self::of(handle, path.to_owned())).map_err(|errno| failed("open the directory", path, errno))
    }

    /// Opens the directory that holds `path`, and names the entry. The path must be absolute and end in a plain name.
    pub(in crate::host) fn holding(path: &Path) -> Result<(Self, &OsStr), LinkError> {
        let bad = |why| LinkError::BadPath { path: path.to_owned(), why };
        if !path.is_absolute() {
            return Err(bad("a path to work on must be absolute"));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(bad("a path to work on must end in a plain name"));
        };
        Ok((Self::open(parent)?, name))
    }

    /// Opens a directory in this one.
    pub(in crate::host) fn child(&self, name: &OsStr) -> Result<Self, LinkError> {
        self.child_with(name, ResolveFlags::empty())
    }

    /// Opens a directory in this one that is not a mount point: what is mounted there cannot be moved away.
    pub(in crate::host) fn child_on_this_mount(&self, name: &OsStr) -> Result<Self, LinkError> {
        self.child_with(name, ResolveFlags::NO_XDEV).map_err(|error| match error {
            LinkError::System { source, path, .. } if source.kind() == io::ErrorKind::CrossesDevices => {
                LinkError::BadPath { path, why: "a mount point cannot be moved away; unmount it, and merge it by hand" }
            }
            error => error,
        })
    }

    fn child_with(&self, name: &OsStr, bounds: ResolveFlags) -> Result<Self, LinkError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        Ok(Self::of(self.open_beneath(name, flags, Mode::empty(), bounds, "open the directory")?, self.join(name)))
    }

    /// Opens a regular file in this directory for reading. It never waits, also when a pipe was put in its place.
    pub(in crate::host) fn file(&self, name: &OsStr) -> Result<File, LinkError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(self.open_beneath(name, flags, Mode::empty(), ResolveFlags::empty(), "open")?);
        let metadata = file.metadata().map_err(|source| self.error("look at", name, source))?;
        if metadata.is_file() { Ok(file) } else { Err(LinkError::Restless { path: self.join(name) }) }
    }

    /// Makes a file for writing, only for us; it must not exist.
    pub(in crate::host) fn make_file(&self, name: &OsStr) -> Result<File, LinkError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        Ok(File::from(self.open_beneath(name, flags, Mode::RUSR | Mode::WUSR, ResolveFlags::empty(), "make the file")?))
    }

    /// Makes a directory, only for us unless `mode` says more. Answers whether it was made: `false` when the name is taken.
    pub(in crate::host) fn make_dir(&self, name: &OsStr, mode: u32) -> Result<bool, LinkError> {
        match rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("make the directory", name, errno)),
        }
    }

    /// Makes a symlink. Answers whether it was made: `false` when the name is taken.
    pub(in crate::host) fn make_link(&self, target: &Path, name: &OsStr) -> Result<bool, LinkError> {
        match rustix::fs::symlinkat(target, &self.handle, name) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("make the symlink", name, errno)),
        }
    }

    /// What `name` is, or `None` when nothing has that name. The kind and a link's target are of one and the same inode.
    pub(in crate::host) fn entry(&self, name: &OsStr) -> Result<Option<Entry>, LinkError> {
        let Some((handle, metadata)) = self.pinned(name)? else { return Ok(None) };
        let kind = metadata.file_type();
        Ok(Some(if kind.is_dir() {
            Entry::Directory
        } else if kind.is_file() {
            Entry::File
        } else if kind.is_symlink() {
            // An empty path reads the very symlink that the handle is of (readlinkat(2)).
            let target = rustix::fs::readlinkat(&handle, "", Vec::new()).map_err(|errno| self.failed("read the symlink", name, errno))?;
            Entry::Link(PathBuf::from(OsString::from_vec(target.into_bytes())))
        } else {
            Entry::Other
        }))
    }

    /// The metadata of `name` itself, or `None` when nothing has that name.
    pub(in crate::host) fn metadata(&self, name: &OsStr) -> Result<Option<Metadata>, LinkError> {
        Ok(self.pinned(name)?.map(|(_, metadata)| metadata))
    }

    /// The metadata of what `path` names, seen from this directory: absolute paths and `..` are taken as the kernel takes them, and only
    /// the last component is not followed. `None` when nothing is there, also when a loop or a file stands in the way.
    pub(in crate::host) fn metadata_through(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, path, flags, Mode::empty()) {
            Ok(handle) => File::from(handle).metadata().map(Some),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A handle of the entry itself that gives no access to its content, with its metadata.
    fn pinned(&self, name: &OsStr) -> Result<Option<(File, Metadata)>, LinkError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("look at", name, errno)),
        };
        let metadata = handle.metadata().map_err(|source| self.error("look at", name, source))?;
        Ok(Some((handle, metadata)))
    }

    /// The names in this directory, sorted, so that the work on them has the same order each time.
    pub(in crate::host) fn names(&self) -> Result<Vec<OsString>, LinkError> {
        let listing = rustix::fs::Dir::read_from(&self.handle).map_err(|errno| failed("list", &self.path, errno))?;
        let mut names = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|errno| failed("list", &self.path, errno))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The names in this directory with their inodes, in no order; `None` when there are more than `limit`.
    pub(in crate::host) fn list(&self, limit: usize) -> Result<Option<Vec<(OsString, u64)>>, LinkError> {
        let listing = rustix::fs::Dir::read_from(&self.handle).map_err(|errno| failed("list", &self.path, errno))?;
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|errno| failed("list", &self.path, errno))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if found.len() == limit {
                return Ok(None);
            }
            found.push((OsString::from_vec(name.to_vec()), entry.ino()));
        }
        Ok(Some(found))
    }

    /// Gives `name` the name `to_name` in `to`, only when nothing has it.
    pub(in crate::host) fn rename_new(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> Result<Renamed, LinkError> {
        match rustix::fs::renameat_with(&self.handle, name, &to.handle, to_name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Renamed::Done),
            Err(Errno::EXIST) => Ok(Renamed::Taken),
            Err(Errno::XDEV) => Ok(Renamed::Apart),
            Err(errno) => Err(self.rename_failed(name, errno)),
        }
    }

    /// Lets `name` and `to_name` change their places in one step. Answers `false`, with nothing changed, when they are on different file
    /// systems or mounts.
    pub(in crate::host) fn exchange(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> Result<bool, LinkError> {
        match rustix::fs::renameat_with(&self.handle, name, &to.handle, to_name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV) => Ok(false),
            Err(errno) => Err(self.rename_failed(name, errno)),
        }
    }

    fn rename_failed(&self, name: &OsStr, errno: Errno) -> LinkError {
        match errno {
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => LinkError::NoSafeRename { path: self.join(name) },
            Errno::NOENT => LinkError::Restless { path: self.join(name) },
            errno => self.failed("move", name, errno),
        }
    }

    /// Removes a name that is not a directory.
    pub(in crate::host) fn unlink(&self, name: &OsStr) -> Result<(), LinkError> {
        rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()).map_err(|errno| self.failed("remove", name, errno))
    }

    /// Removes an empty directory. Answers `false`, with nothing changed, when it has entries.
    pub(in crate::host) fn remove_dir(&self, name: &OsStr) -> Result<bool, LinkError> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(self.failed("remove the empty directory", name, errno)),
        }
    }

    /// Makes the names in this directory last over a power loss (fsync(2)).
    pub(in crate::host) fn sync(&self) -> Result<(), LinkError> {
        self.handle.sync_all().map_err(|source| LinkError::System { doing: "sync", path: self.path.clone(), source })
    }

    /// Device and inode.
    pub(in crate::host) fn identity(&self) -> Result<(u64, u64), LinkError> {
        self.own_metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// The metadata of this directory.
    pub(in crate::host) fn own_metadata(&self) -> Result<Metadata, LinkError> {
        self.handle.metadata().map_err(|source| LinkError::System { doing: "look at", path: self.path.clone(), source })
    }

    /// Whether we may write here: `false` also on a file system that is mounted read-only.
    pub(in crate::host) fn is_writable(&self) -> Result<bool, LinkError> {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        match rustix::fs::accessat(&self.handle, ".", access, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) => Ok(false),
            Err(errno) => Err(failed("check the access to", &self.path, errno)),
        }
    }

    /// Whether this directory is `other` or lies in it, by device and inode of each directory on the way up.
    pub(in crate::host) fn lies_in(&self, other: &Self) -> Result<bool, LinkError> {
        let sought = other.identity()?;
        let mut here =
            Self::of(self.handle.try_clone().map_err(|source| self.error("open", OsStr::new(""), source))?.into(), self.path.clone());
        for _ in 0..MAX_STEPS_UP {
            let identity = here.identity()?;
            if identity == sought {
                return Ok(true);
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let up =
                rustix::fs::openat(&here.handle, "..", flags, Mode::empty()).map_err(|errno| here.failed("open", "..".as_ref(), errno))?;
            here = Self::of(up, self.path.clone());
            if here.identity()? == identity {
                return Ok(false);
            }
        }
        Err(LinkError::TooDeep { path: self.path.clone(), limit: MAX_STEPS_UP })
    }

    /// The handle, for calls that only look.
    pub(super) const fn handle(&self) -> &File {
        &self.handle
    }

    /// The path that messages name this directory by.
    pub(in crate::host) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for messages.
    pub(in crate::host) fn join(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    fn of(handle: OwnedFd, path: PathBuf) -> Self {
        Self { handle: File::from(handle), path }
    }

    fn open_beneath(
        &self,
        name: &OsStr,
        flags: OFlags,
        mode: Mode,
        bounds: ResolveFlags,
        doing: &'static str,
    ) -> Result<OwnedFd, LinkError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | bounds;
        rustix::fs::openat2(&self.handle, name, flags | OFlags::CLOEXEC, mode, resolve).map_err(|errno| self.failed(doing, name, errno))
    }

    fn failed(&self, doing: &'static str, name: &OsStr, errno: Errno) -> LinkError {
        failed(doing, &self.join(name), errno)
    }

    /// The error of a call that had to do with an entry.
    pub(in crate::host) fn error(&self, doing: &'static str, name: &OsStr, source: io::Error) -> LinkError {
        LinkError::System { doing, path: self.join(name), source }
    }
}

fn failed(doing: &'static str, path: &Path, errno: Errno) -> LinkError {
    LinkError::System { doing, path: path.to_owned(), source: errno.into() }
}
