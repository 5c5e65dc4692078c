//! Which socket a server listens on, and whether the directory of our sockets can be trusted: whoever can make a socket there could play
//! the server to us, and whoever can open one is the user to it.

use std::{
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use super::TmuxError;
use crate::spec::SocketSpec;

/// The longest path of a socket: `sun_path` has 108 bytes with its final NUL (unix(7)).
const PATH_LIMIT: usize = 107;

/// Our directory for sockets, made with mode 0700 when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDirectory(PathBuf);

impl RuntimeDirectory {
    /// `claude-failover` below `xdg_runtime_dir`, when that is an absolute path; `/tmp/claude-failover-UID` otherwise.
    pub fn choose(xdg_runtime_dir: Option<&Path>, uid: u32) -> Self {
        match xdg_runtime_dir {
            Some(base) if base.is_absolute() => Self(base.join("claude-failover")),
            _ => Self(PathBuf::from(format!("/tmp/claude-failover-{uid}"))),
        }
    }

    /// A directory of ours below it, both of them 0700 and checked.
    ///
    /// # Errors
    /// [`TmuxError::Path`] when one cannot be made, [`TmuxError::Unsafe`] when somebody else could write there.
    pub fn make(&self, name: &str) -> Result<PathBuf, TmuxError> {
        let below = self.0.join(name);
        for directory in [&self.0, &below] {
            Socket { path: directory.join("any"), directory: Some(directory.clone()) }.prepare()?;
        }
        Ok(below)
    }

    /// As this process's environment and user have it.
    pub fn of_this_process() -> Self {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::choose(base.as_deref(), nix::unistd::geteuid().as_raw())
    }
}

/// The socket of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    path: PathBuf,
    /// Set for a socket in our own directory, which is checked before each use.
    directory: Option<PathBuf>,
}

impl Socket {
    /// A name lies in our runtime directory, a path is taken as it is.
    ///
    /// # Errors
    /// [`TmuxError::BadName`] or [`TmuxError::PathTooLong`].
    pub fn resolve(spec: &SocketSpec, runtime: &RuntimeDirectory) -> Result<Self, TmuxError> {
        let socket = match spec {
            SocketSpec::Name(name) => {
                let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
                if !plain {
                    return Err(TmuxError::BadName { name: name.clone() });
                }
                Self { path: runtime.0.join(format!("{name}.sock")), directory: Some(runtime.0.clone()) }
            }
            SocketSpec::Path(path) => Self { path: path.clone(), directory: None },
        };
        let found = socket.path.as_os_str().as_bytes().len();
        if found > PATH_LIMIT {
            return Err(TmuxError::PathTooLong { path: socket.path, found, limit: PATH_LIMIT });
        }
        Ok(socket)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that nobody else could have made the socket. A directory that does not exist holds none.
    pub(super) fn check(&self) -> Result<(), TmuxError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let found = match fs::symlink_metadata(directory) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(TmuxError::Path { path: directory.clone(), source }),
        };
        let why = if !found.is_dir() {
            "is no directory".to_owned()
        } else if found.uid() != nix::unistd::geteuid().as_raw() {
            format!("belongs to the user {}", found.uid())
        } else if found.mode() & 0o077 != 0 {
            format!("is open to others (mode {:o})", found.mode() & 0o777)
        } else {
            return Ok(());
        };
        Err(TmuxError::Unsafe { path: directory.clone(), why })
    }

    /// Makes our directory, if it is missing, and checks it.
    pub(super) fn prepare(&self) -> Result<(), TmuxError> {
        if let Some(directory) = &self.directory {
            match fs::DirBuilder::new().mode(0o700).create(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(TmuxError::Path { path: directory.clone(), source }),
            }
        }
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn named(base: &Path) -> Socket {
        Socket::resolve(&SocketSpec::Name("agents".into()), &RuntimeDirectory::choose(Some(base), 7)).expect("a name")
    }

    #[test]
    fn a_name_lies_in_our_directory_and_a_path_where_it_says() {
        assert_eq!(named(Path::new("/run/user/7")).path(), Path::new("/run/user/7/claude-failover/agents.sock"));
        for base in [None, Some(Path::new("")), Some(Path::new("relative"))] {
            let runtime = RuntimeDirectory::choose(base, 7);
            assert_eq!(runtime, RuntimeDirectory("/tmp/claude-failover-7".into()), "{base:?}");
        }
        let path = Socket::resolve(&SocketSpec::Path("/a/b".into()), &RuntimeDirectory::choose(None, 7)).expect("a path");
        assert_eq!(path.path(), Path::new("/a/b"));
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        for bad in ["", ".", "..", "a/b", "/a", "a\0"] {
            let error = Socket::resolve(&SocketSpec::Name(bad.into()), &RuntimeDirectory::choose(None, 7));
            assert!(matches!(error, Err(TmuxError::BadName { .. })), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_path_must_fit_into_an_address() {
        let of = |length| Socket::resolve(&SocketSpec::Path("/".repeat(length).into()), &RuntimeDirectory::choose(None, 7));
        assert!(of(107).is_ok());
        assert!(matches!(of(108), Err(TmuxError::PathTooLong { found: 108, limit: 107, .. })));
    }

    #[test]
    fn only_a_directory_of_our_own_is_used() {
        let base = tempfile::tempdir().expect("a directory");
        let (socket, directory) = (named(base.path()), base.path().join("claude-failover"));
        socket.check().expect("what does not exist holds no socket");
        socket.prepare().expect("made");
        assert_eq!(fs::metadata(&directory).expect("made").mode() & 0o777, 0o700);
        socket.prepare().expect("twice is once");

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("ours");
        assert!(matches!(socket.prepare(), Err(TmuxError::Unsafe { .. })), "others may look");

        fs::remove_dir(&directory).expect("empty");
        let elsewhere = base.path().join("elsewhere");
        fs::create_dir(&elsewhere).expect("made");
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).expect("ours");
        symlink(&elsewhere, &directory).expect("made");
        assert!(matches!(socket.prepare(), Err(TmuxError::Unsafe { .. })), "a link may be anybody's");
    }
}
