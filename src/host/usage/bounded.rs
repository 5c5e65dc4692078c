//! Files that somebody else writes, read within a bound of bytes and time.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::libc;

use super::UsageError;

/// How long a file may take: a home may lie on a share that does not answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Whether a symlink may stand at the end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symlink {
    /// It is followed.
    Follow,
    /// It is refused.
    Refuse,
}

/// The bytes of a regular file of at most `limit` bytes; `None` when nothing stands there. The buffer is made by `buffer`, so that a caller
/// may have it wiped.
pub(super) async fn read<B>(path: &Path, limit: usize, symlink: Symlink) -> Result<Option<B>, UsageError>
where
    B: From<Vec<u8>> + AsMut<Vec<u8>> + Send + 'static,
{
    let (wanted, what) = (path.to_owned(), path.display().to_string());
    let work = tokio::task::spawn_blocking(move || read_now(&wanted, limit, symlink));
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(stopped)) => Err(UsageError::Path { path: path.to_owned(), source: io::Error::other(stopped) }),
        Err(_elapsed) => Err(UsageError::TimedOut { what, after: DEADLINE }),
    }
}

/// The same, waiting.
fn read_now<B: From<Vec<u8>> + AsMut<Vec<u8>>>(path: &Path, limit: usize, symlink: Symlink) -> Result<Option<B>, UsageError> {
    let failed = |source| UsageError::Path { path: PathBuf::from(path), source };
    let no_follow = if symlink == Symlink::Refuse { libc::O_NOFOLLOW } else { 0 };
    // Without O_NONBLOCK the open of a named pipe would wait for a writer.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | no_follow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(UsageError::NotAFile { path: path.to_owned() });
    }
    let too_large = || UsageError::TooLarge { what: path.display().to_string(), limit };
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(too_large());
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = B::from(Vec::with_capacity(limit.min(length.saturating_add(4_096)) + 1));
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(bytes.as_mut()).map_err(failed)?;
    if bytes.as_mut().len() > limit { Err(too_large()) } else { Ok(Some(bytes)) }
}
