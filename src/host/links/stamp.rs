//! The state of one entry, in one call of the kernel (statx(2)): a look at ten thousand entries is ten thousand calls, not thirty thousand.

use std::{ffi::OsStr, fs::File, io};

use rustix::{
    fs::{AtFlags, FileType, Statx, StatxFlags},
    io::Errno,
};

use super::{LinkError, dir::Dir};
use crate::observed::FileIdentity;

/// What an entry is, and in which state. Two equal stamps are one file with one content: any write, rename or change of rights gives another
/// `changed`, as far as the file system's clock is fine enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) struct Stamp {
    /// What it is; a symlink is a symlink.
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Which file, its length, and when its content was last changed.
    pub identity: FileIdentity,
    /// When anything about it was last changed, a rename included, in nanoseconds since the epoch.
    pub changed: i64,
}

impl Stamp {
    /// The stamp of an open file.
    pub(in crate::host) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from_statx(&rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?))
    }

    /// Whether it is a regular file.
    pub(in crate::host) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is the same file, whatever happened to it since.
    pub(in crate::host) fn is_same_file(&self, other: &Self) -> bool {
        (self.identity.device, self.identity.inode) == (other.identity.device, other.identity.inode)
    }

    fn from_statx(found: &Statx) -> Self {
        let mode = u32::from(found.stx_mode);
        Self {
            kind: FileType::from_raw_mode(mode),
            mode: mode & 0o7777,
            owner: found.stx_uid,
            identity: FileIdentity {
                device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
                length: found.stx_size,
                modified: nanoseconds(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            },
            changed: nanoseconds(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        }
    }
}

impl Dir {
    /// The stamp of `name` itself, or `None` when nothing has that name.
    pub(in crate::host) fn stamp(&self, name: &OsStr) -> Result<Option<Stamp>, LinkError> {
        match rustix::fs::statx(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
            Ok(found) => Ok(Some(Stamp::from_statx(&found))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("look at", name, errno.into())),
        }
    }

    /// The stamp of this directory.
    pub(in crate::host) fn own_stamp(&self) -> Result<Stamp, LinkError> {
        Stamp::of(self.handle()).map_err(|source| self.error("look at", OsStr::new(""), source))
    }
}

/// Saturates in the year 2262.
fn nanoseconds(seconds: i64, rest: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(rest))
}
