//! Where a conversation is written down, and whether its earlier bytes are still there (facts/claude-code.md, sections 2 and 3).
//!
//! # Guarantees
//! A transcript is only ever read. A conversation that has two different transcripts is an error, never a guess.
//!
//! # Assumes
//! The CLI only appends to a transcript, and its file system keeps device and inode numbers while a swap lasts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::{
    model::{ConversationId, sha256_hex},
    observed::{TranscriptMark, TranscriptView},
};

use super::{AgentError, file};

/// How many bytes before the marked length are compared.
const TAIL: u64 = 64 * 1024;
/// The CLI cuts longer directory names and adds a hash that only it knows.
const NAME: usize = 200;
/// More project directories than a host has.
const DIRECTORIES: usize = 20_000;

/// The name of the directory that the CLI keeps the transcripts of `workdir` in; `None` when the CLI would add a hash.
///
/// Every character outside `[A-Za-z0-9]` becomes `-`. It is a JavaScript program, so what counts are UTF-16 units.
fn directory_name(workdir: &Path) -> Option<String> {
    let plain = |unit: u16| u8::try_from(unit).ok().filter(u8::is_ascii_alphanumeric).map_or('-', char::from);
    let name: String = workdir.to_string_lossy().encode_utf16().map(plain).collect();
    (name.len() <= NAME).then_some(name)
}

/// Finds the transcripts of several conversations, and looks at what they have in common once.
#[derive(Debug)]
pub struct Finder<'a> {
    /// The `projects` of a home.
    projects: &'a Path,
    /// The start directories without links.
    resolved: BTreeMap<PathBuf, PathBuf>,
    /// All project directories, once they were listed.
    directories: Option<Vec<PathBuf>>,
}

impl<'a> Finder<'a> {
    /// Below `projects`, the directory of that name in a home.
    pub const fn new(projects: &'a Path) -> Self {
        Self { projects, resolved: BTreeMap::new(), directories: None }
    }

    /// The transcript of `conversation`, or `None` if nothing was ever said in it.
    ///
    /// First where the CLI puts it for `workdir`, links resolved; then in every project directory, since an agent that was resumed elsewhere
    /// goes on in the original file.
    ///
    /// # Errors
    /// [`AgentError::TwoTranscripts`], [`AgentError::TooManyEntries`] and [`AgentError::Io`].
    pub fn find(&mut self, workdir: &Path, conversation: ConversationId) -> Result<Option<PathBuf>, AgentError> {
        if !self.resolved.contains_key(workdir) {
            // A start directory that is gone is no obstacle to the CLI either.
            self.resolved.insert(workdir.to_owned(), fs::canonicalize(workdir).unwrap_or_else(|_| workdir.to_owned()));
        }
        let name = format!("{conversation}.jsonl");
        if let Some(directory) = self.resolved.get(workdir).and_then(|resolved| directory_name(resolved)) {
            let path = self.projects.join(directory).join(&name);
            if identity(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
        let mut found: Option<(PathBuf, (u64, u64))> = None;
        for directory in self.directories()? {
            let path = directory.join(&name);
            let Some(this) = identity(&path)? else { continue };
            match &found {
                // Another name of the same file, through a linked project directory.
                Some((_, first)) if *first == this => {}
                Some((first, _)) => return Err(AgentError::TwoTranscripts { first: first.clone(), second: path }),
                None => found = Some((path, this)),
            }
        }
        Ok(found.map(|(path, _)| path))
    }

    fn directories(&mut self) -> Result<&[PathBuf], AgentError> {
        if self.directories.is_none() {
            self.directories = Some(list(self.projects)?);
        }
        Ok(self.directories.as_deref().unwrap_or_default())
    }

    /// The transcript of a conversation as it is now, compared with `asked` if a mark is given.
    ///
    /// # Errors
    /// Those of [`Self::find`], [`mark`] and [`keeps`].
    pub fn look(
        &mut self,
        workdir: &Path,
        conversation: ConversationId,
        asked: Option<&TranscriptMark>,
    ) -> Result<TranscriptView, AgentError> {
        let Some(path) = self.find(workdir, conversation)? else {
            return Ok(TranscriptView { mark: None, keeps: asked.map(|_| false) });
        };
        let keeps = asked.map(|asked| keeps(&path, asked)).transpose()?;
        Ok(TranscriptView { mark: mark(&path)?, keeps })
    }
}

/// What stands below `projects`; nothing when it does not exist.
fn list(projects: &Path) -> Result<Vec<PathBuf>, AgentError> {
    let listed = match fs::read_dir(projects) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AgentError::io("list", projects)(error)),
    };
    let mut directories = Vec::new();
    for item in listed {
        if directories.len() == DIRECTORIES {
            return Err(AgentError::TooManyEntries { path: projects.to_owned(), limit: DIRECTORIES });
        }
        directories.push(item.map_err(AgentError::io("list", projects))?.path());
    }
    Ok(directories)
}

/// The transcript of one conversation; see [`Finder::find`].
///
/// # Errors
/// Those of [`Finder::find`].
pub fn find(projects: &Path, workdir: &Path, conversation: ConversationId) -> Result<Option<PathBuf>, AgentError> {
    Finder::new(projects).find(workdir, conversation)
}

/// Device and inode of a regular file. `None` when there is none, also when its directory is no directory.
fn identity(path: &Path) -> Result<Option<(u64, u64)>, AgentError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then(|| (metadata.dev(), metadata.ino()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(AgentError::io("look at", path)(error)),
    }
}

/// What identifies the transcript at `path` and the bytes that it has now; `None` when nothing stands there.
///
/// # Errors
/// [`AgentError::NotRegular`] and [`AgentError::Io`].
pub fn mark(path: &Path) -> Result<Option<TranscriptMark>, AgentError> {
    let Some((file, metadata)) = file::open(path)? else { return Ok(None) };
    let tail = tail_digest(&file, metadata.len()).map_err(AgentError::io("read", path))?;
    let resolved = fs::canonicalize(path).map_err(AgentError::io("resolve", path))?;
    Ok(Some(TranscriptMark { path: resolved, device: metadata.dev(), inode: metadata.ino(), length: metadata.len(), tail }))
}

/// Whether the transcript at `path` is the marked file, with every marked byte still in its place: the same device and inode, no shorter,
/// and the last 64 KiB before the marked length unchanged.
///
/// # Errors
/// [`AgentError::NotRegular`] and [`AgentError::Io`]. Nothing at `path` is `false`.
pub fn keeps(path: &Path, mark: &TranscriptMark) -> Result<bool, AgentError> {
    let Some((file, metadata)) = file::open(path)? else { return Ok(false) };
    if (metadata.dev(), metadata.ino()) != (mark.device, mark.inode) || metadata.len() < mark.length {
        return Ok(false);
    }
    Ok(tail_digest(&file, mark.length).map_err(AgentError::io("read", path))? == mark.tail)
}

/// One transcript as it is now; see [`Finder::look`].
///
/// # Errors
/// Those of [`Finder::look`].
pub fn look(
    projects: &Path,
    workdir: &Path,
    conversation: ConversationId,
    asked: Option<&TranscriptMark>,
) -> Result<TranscriptView, AgentError> {
    Finder::new(projects).look(workdir, conversation, asked)
}

/// SHA-256 over the last 64 KiB before `length`, or over all when it is less.
fn tail_digest(file: &File, length: u64) -> io::Result<String> {
    let begin = length.saturating_sub(TAIL);
    // At most `TAIL`, so it fits.
    let mut bytes = vec![0; usize::try_from(length - begin).unwrap_or_default()];
    file.read_exact_at(&mut bytes, begin)?;
    Ok(sha256_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write as _, os::unix::fs::symlink};

    use uuid::Uuid;

    use super::*;

    const CONVERSATION: ConversationId = ConversationId(Uuid::from_u128(7));

    /// A shared tree with one transcript of `/…/work.d`, linked into two homes.
    struct Homes {
        root: tempfile::TempDir,
    }

    impl Homes {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a directory");
            for directory in ["shared/projects", "a", "b", "work.d"] {
                fs::create_dir_all(root.path().join(directory)).expect("made");
            }
            for home in ["a", "b"] {
                symlink(root.path().join("shared/projects"), root.path().join(home).join("projects")).expect("linked");
            }
            Self { root }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.root.path().join(below)
        }

        /// Writes a transcript into a project directory of the shared tree.
        fn write(&self, directory: &str, content: &[u8]) -> PathBuf {
            let directory = self.path("shared/projects").join(directory);
            fs::create_dir_all(&directory).expect("made");
            let path = directory.join(format!("{CONVERSATION}.jsonl"));
            fs::write(&path, content).expect("written");
            path
        }

        fn encoded(&self) -> String {
            directory_name(&fs::canonicalize(self.path("work.d")).expect("resolved")).expect("short")
        }

        fn look(&self, home: &str, asked: Option<&TranscriptMark>) -> TranscriptView {
            look(&self.path(home).join("projects"), &self.path("work.d"), CONVERSATION, asked).expect("readable")
        }
    }

    #[test]
    fn the_directory_name_is_the_one_that_the_cli_makes() {
        assert_eq!(directory_name(Path::new("/w/a.b_c d+é")).as_deref(), Some("-w-a-b-c-d--"));
        assert_eq!(directory_name(Path::new(&"/".repeat(200))).map(|name| name.len()), Some(200));
        assert_eq!(directory_name(Path::new(&"/".repeat(201))), None, "the CLI adds a hash");
    }

    #[test]
    fn a_transcript_is_found_through_every_home_and_a_linked_start_directory() {
        let homes = Homes::new();
        assert_eq!(homes.look("a", None), TranscriptView { mark: None, keeps: None });
        let path = homes.write(&homes.encoded(), b"{}\n");
        symlink(homes.path("work.d"), homes.path("alias")).expect("linked");
        let projects = homes.path("b/projects");
        let found = find(&projects, &homes.path("alias"), CONVERSATION).expect("searched").expect("there");
        assert!(found.starts_with(&projects), "under the home that was asked: {found:?}");
        assert_eq!(mark(&found).expect("readable").expect("there").path, fs::canonicalize(path).expect("resolved"));
    }

    #[test]
    fn a_transcript_elsewhere_is_found_by_its_conversation() {
        let homes = Homes::new();
        let path = homes.write("-some-other-place", b"{}\n");
        fs::write(homes.path("shared/projects/a-file"), b"").expect("written");
        // A linked project directory is another name of the same file, not another file.
        symlink(homes.path("shared/projects/-some-other-place"), homes.path("shared/projects/-alias")).expect("linked");
        let found = find(&homes.path("shared/projects"), &homes.path("work.d"), CONVERSATION).expect("searched").expect("there");
        assert_eq!(fs::canonicalize(found).expect("resolved"), fs::canonicalize(path).expect("resolved"));
        let nowhere = homes.path("absent");
        assert_eq!(find(&nowhere, &nowhere, CONVERSATION).expect("searched"), None);
    }

    #[test]
    fn two_transcripts_of_one_conversation_are_an_error() {
        let homes = Homes::new();
        homes.write("-one", b"{}\n");
        homes.write("-two", b"{}\n");
        let error = find(&homes.path("shared/projects"), &homes.path("work.d"), CONVERSATION).expect_err("ambiguous");
        assert!(matches!(error, AgentError::TwoTranscripts { .. }), "{error}");
    }

    #[test]
    fn a_transcript_that_grew_keeps_its_bytes() {
        let homes = Homes::new();
        let path = homes.write(&homes.encoded(), &vec![b'x'; 100_000]);
        let before = homes.look("a", None).mark.expect("there");
        assert_eq!((before.length, before.tail.len()), (100_000, 64));
        assert_eq!(homes.look("b", Some(&before)).keeps, Some(true));
        OpenOptions::new().append(true).open(&path).expect("opened").write_all(b"more\n").expect("appended");
        let after = homes.look("b", Some(&before));
        assert_eq!((after.keeps, after.mark.map(|mark| mark.length)), (Some(true), Some(100_005)));
    }

    #[test]
    fn a_transcript_that_was_changed_cut_copied_or_lost_does_not() {
        let homes = Homes::new();
        let content = vec![b'x'; 100_000];
        let path = homes.write(&homes.encoded(), &content);
        let before = homes.look("a", None).mark.expect("there");
        let keeps = || homes.look("b", Some(&before)).keeps;

        OpenOptions::new().write(true).open(&path).expect("opened").write_at(b"y", 99_000).expect("changed");
        assert_eq!(keeps(), Some(false), "a byte of the tail changed");
        OpenOptions::new().write(true).open(&path).expect("opened").write_at(b"x", 99_000).expect("changed back");
        assert_eq!(keeps(), Some(true));
        OpenOptions::new().write(true).open(&path).expect("opened").set_len(99_999).expect("cut");
        assert_eq!(keeps(), Some(false), "it is shorter");
        let other = path.with_extension("copy");
        fs::write(&other, &content).expect("copied");
        fs::rename(&other, &path).expect("replaced");
        assert_eq!(keeps(), Some(false), "it is a copy");
        fs::remove_file(&path).expect("removed");
        assert_eq!(keeps(), Some(false), "it is gone");
    }

    #[test]
    fn an_empty_transcript_has_a_mark_too() {
        let homes = Homes::new();
        homes.write(&homes.encoded(), b"");
        let before = homes.look("a", None).mark.expect("there");
        assert_eq!((before.length, before.tail.as_str()), (0, sha256_hex(b"").as_str()));
        assert_eq!(homes.look("b", Some(&before)).keeps, Some(true));
    }
}
