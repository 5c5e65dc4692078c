//! Spec files on disk: found, read, and handed to [`spec::load`](crate::spec::load()).
//!
//! # Guarantees
//! What is read is regular, bounded in size and UTF-8; a FIFO or a device is refused without waiting for it. Files are opened once and
//! judged by what was opened. Symlinks are followed, since deployments swap them; [`directories_to_watch`] names every directory in which
//! such a swap would happen.
//!
//! # Assumes
//! The caller reads off the loop: a file system that hangs holds up whoever looks at it.
//!
//! # Does not
//! Judge what is written: that is the spec's. It adds what only the disk knows, as warnings.

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    ffi::{OsStr, OsString},
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    unistd::{Uid, User},
};

use crate::{
    model::sha256_hex,
    spec::{Code, Diagnostic, FieldPath, LoadPlace, Loaded, MAX_SOURCE_BYTES, MAX_SOURCES, Origin, Rejected, SourceText, load},
};

/// The variable that names the spec.
pub const SPEC_VARIABLE: &str = "CLAUDE_FAILOVER_SPEC";

/// What the spec is called where it is looked for.
const FILE_NAME: &str = "pool.yaml";

/// The most symlinks on one path, as in Linux (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Why a spec cannot be read from disk.
#[derive(Debug, thiserror::Error)]
pub enum SpecFileError {
    /// No path was given, and no spec stands where one is looked for.
    #[error("no spec was found at {}; name one with --spec, or write one with `claude-failover init`", listed(tried))]
    NotFound {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// Neither `HOME` nor the user database says where the user's home is.
    #[error("the user's home directory is not known; set HOME to an absolute path")]
    NoHome,
    /// The operating system refused.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something else stands there.
    #[error("{} is {found}, not a regular file", path.display())]
    NotAFile {
        /// What was to be read.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// More than is read.
    #[error("{} is larger than {MAX_SOURCE_BYTES} bytes, which is the most that is read of a spec", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("{} is not UTF-8 text; the first wrong byte is number {}", path.display(), offset + 1)]
    NotText {
        /// The file.
        path: PathBuf,
        /// How many bytes are right before it.
        offset: usize,
    },
}

/// Paths for a message.
fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// What of the process decides where a spec is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The value of [`SPEC_VARIABLE`], if it is set and not empty.
    pub variable: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, if it is absolute (XDG base directory specification), else `~/.config`.
    pub config: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
    /// The working directory.
    pub current: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    /// [`SpecFileError::NoHome`], or [`SpecFileError::Unreadable`] when the working directory is gone.
    pub fn of_process() -> Result<Self, SpecFileError> {
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home =
            absolute("HOME").or_else(|| User::from_uid(Uid::current()).ok().flatten().map(|user| user.dir)).ok_or(SpecFileError::NoHome)?;
        let current = env::current_dir().map_err(|source| SpecFileError::Unreadable { path: ".".into(), source })?;
        Ok(Self {
            variable: env::var_os(SPEC_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from),
            config: absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
            home,
            current,
        })
    }
}

/// Where the spec is: `flag`, then the variable, then `./pool.yaml`, then `claude-failover/pool.yaml` below the configuration directory.
/// What is named is taken as it is; the others only if they exist. A relative path stays relative, so that messages name it as the user
/// did.
///
/// # Errors
/// [`SpecFileError::NotFound`].
pub fn find(flag: Option<&Path>, around: &Surroundings) -> Result<PathBuf, SpecFileError> {
    if let Some(named) = flag.or(around.variable.as_deref()) {
        return Ok(named.to_owned());
    }
    let usual = around.config.join("claude-failover").join(FILE_NAME);
    if exists(&around.current.join(FILE_NAME)) {
        Ok(FILE_NAME.into())
    } else if exists(&usual) {
        Ok(usual)
    } else {
        Err(SpecFileError::NotFound { tried: vec![Path::new(".").join(FILE_NAME), usual] })
    }
}

/// Whether something stands at `path`, be it a link that leads nowhere: that is a mistake to report and no absence.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The files of one spec, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFiles {
    /// The base first, then the drop-ins in the order of their names.
    pub sources: Vec<SourceText>,
    /// What their paths are resolved with.
    pub place: LoadPlace,
    /// What should be said about files that were not read.
    ignored: Vec<Diagnostic>,
}

impl SpecFiles {
    /// Reads the spec at `path`: a file, or a directory with a `pool.yaml`. The drop-ins of `NAME.yaml` are all `NAME.d/*.yaml` beside it
    /// that are not hidden.
    ///
    /// # Errors
    /// [`SpecFileError`] about the first file that cannot be read.
    pub fn read(path: &Path, around: &Surroundings) -> Result<Self, SpecFileError> {
        let (file, drop_ins) = layout(path, around);
        let mut sources = vec![read_source(&file, around)?];
        let mut ignored = Vec::new();
        for path in list(&drop_ins, around)? {
            if path.extension() == Some(OsStr::new("yaml")) {
                // One more than may be is read, so that the spec's own check sees that there are too many.
                if sources.len() <= MAX_SOURCES {
                    sources.push(read_source(&path, around)?);
                }
            } else if path.extension() == Some(OsStr::new("yml")) {
                let message = format!("{} is not read: drop-ins end in .yaml", path.display());
                ignored.push(Diagnostic::new(Code::IgnoredFile, message).hint("rename it, or move it elsewhere"));
            }
        }
        let base = around.current.join(file.parent().unwrap_or(Path::new("")));
        Ok(Self { sources, place: LoadPlace { home: around.home.clone(), base }, ignored })
    }

    /// Loads them, and warns of start directories that do not exist on this host and of files that were not read.
    ///
    /// # Errors
    /// [`Rejected`] with every finding.
    pub fn load(&self) -> Result<Loaded, Rejected> {
        match load(&self.sources, &self.place) {
            Ok(mut loaded) => {
                let missing = missing_directories(&loaded);
                loaded.warnings = loaded.warnings.with(missing.into_iter().chain(self.ignored.iter().cloned()));
                Ok(loaded)
            }
            Err(Rejected { diagnostics }) => Err(Rejected { diagnostics: diagnostics.with(self.ignored.iter().cloned()) }),
        }
    }

    /// SHA-256 over names, texts and place: what tells whether anything changed since it was read last.
    pub fn digest(&self) -> String {
        sha256_hex(format!("{:?} {:?}", self.sources, self.place).as_bytes())
    }
}

/// The base file of a spec and the directory of its drop-ins, for a path that may be the directory of both.
fn layout(path: &Path, around: &Surroundings) -> (PathBuf, PathBuf) {
    let file = if around.current.join(path).is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let mut directory = file.file_stem().map_or_else(OsString::new, OsStr::to_owned);
    directory.push(".d");
    let drop_ins = file.with_file_name(directory);
    (file, drop_ins)
}

/// The entries of the directory of drop-ins that are not hidden, by name; none when there is no such directory.
fn list(directory: &Path, around: &Surroundings) -> Result<Vec<PathBuf>, SpecFileError> {
    let unreadable = |source| SpecFileError::Unreadable { path: directory.to_owned(), source };
    let entries = match fs::read_dir(around.current.join(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        // Editors and deployments keep their own files behind a dot.
        if !name.as_encoded_bytes().starts_with(b".") {
            names.insert(name);
        }
    }
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

/// Reads one file.
fn read_source(path: &Path, around: &Surroundings) -> Result<SourceText, SpecFileError> {
    let unreadable = |source| SpecFileError::Unreadable { path: path.to_owned(), source };
    // Without O_NONBLOCK, opening a FIFO waits for a writer (open(2)); for a regular file the flag means nothing.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(around.current.join(path)).map_err(unreadable)?;
    let kind = file.metadata().map_err(unreadable)?.file_type();
    if !kind.is_file() {
        return Err(SpecFileError::NotAFile { path: path.to_owned(), found: describe(kind) });
    }
    let bytes = read_bounded(file).map_err(unreadable)?;
    if bytes.len() > MAX_SOURCE_BYTES {
        return Err(SpecFileError::TooLarge { path: path.to_owned() });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText { name: path.to_string_lossy().into_owned(), text }),
        Err(error) => Err(SpecFileError::NotText { path: path.to_owned(), offset: error.utf8_error().valid_up_to() }),
    }
}

/// Reads at most one byte more than is taken.
fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_SOURCE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What stands where a file should be.
fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "something else"
    }
}

/// Warnings of directories that do not exist: the start directory of each line of sessions, and each project.
fn missing_directories(loaded: &Loaded) -> Vec<Diagnostic> {
    let spec = FieldPath::root().field("spec");
    let (sessions, projects) = (spec.field("sessions"), spec.field("projects"));
    let workdirs = loaded
        .groups
        .iter()
        .enumerate()
        .map(|(index, group)| (&group.workdir, sessions.item(index).field("workdir"), "start directory", Code::WorkdirMissing));
    let paths = loaded
        .spec
        .projects
        .iter()
        .enumerate()
        .map(|(index, project)| (&project.path, projects.item(index).field("path"), "project's directory", Code::ProjectMissing));
    let missing = workdirs.chain(paths).filter(|(path, ..)| !path.is_dir());
    missing
        .map(|(path, at, what, code)| {
            let place = match loaded.origins.of(&at) {
                Origin::Written(place) => Some(place.clone()),
                Origin::Default => None,
            };
            let message = format!("the {what} {} does not exist on this host", path.display());
            Diagnostic::new(code, message).at(place).hint("make it, or correct the path")
        })
        .collect()
}

/// The directories in which a change may change what [`SpecFiles::read`] gives: those of the files, and that of each symlink on the way
/// to them. Of a path that does not exist, the deepest directory that does. Watching a file itself would lose it at the first save, since
/// editors and deployments put a new file in its place.
pub fn directories_to_watch(path: &Path, around: &Surroundings) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let (file, drop_ins) = layout(path, around);
    follow(&around.current.join(&file), &mut directories);
    follow(&around.current.join(&drop_ins), &mut directories);
    for drop_in in list(&drop_ins, around).unwrap_or_default() {
        follow(&around.current.join(drop_in), &mut directories);
    }
    directories
}

/// Walks along a path and adds the directory of each symlink that is met, and the one that the last component lies in; that one itself,
/// too, when it is a directory.
fn follow(path: &Path, directories: &mut BTreeSet<PathBuf>) {
    let mut rest: VecDeque<OsString> = path.components().map(|component| component.as_os_str().to_owned()).collect();
    let mut current = PathBuf::from("/");
    let mut links = 0;
    while let Some(component) = rest.pop_front() {
        match Path::new(&component).components().next() {
            Some(Component::Normal(name)) => {
                let next = current.join(name);
                match fs::symlink_metadata(&next) {
                    Ok(metadata) if metadata.is_symlink() && links < MAX_LINKS => {
                        directories.insert(current.clone());
                        links += 1;
                        let target = fs::read_link(&next).unwrap_or_default();
                        for component in target.components().rev() {
                            rest.push_front(component.as_os_str().to_owned());
                        }
                    }
                    Ok(metadata) => {
                        if rest.is_empty() {
                            directories.insert(if metadata.is_dir() { next.clone() } else { current.clone() });
                        }
                        current = next;
                    }
                    Err(_) => {
                        directories.insert(current);
                        return;
                    }
                }
            }
            Some(Component::ParentDir) => {
                current.pop();
            }
            Some(Component::RootDir) => current = PathBuf::from("/"),
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
}
