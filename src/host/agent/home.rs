//! The keys of a home that an unattended start depends on (facts/claude-code.md, section 1).
//!
//! # Guarantees
//! A file of the CLI is read, changed and written as a whole, with every other key kept in its place. A file that is not the JSON that we
//! expect is never written. Nothing is written while a process of the home runs or holds the CLI's own lock.
//!
//! # Assumes
//! The CLI rewrites `.claude.json` as a whole under a lock directory beside it. A process that waits in a start-up dialog has no entry in
//! the register and is not seen here: against that one the lock stands.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value};

use crate::{
    host::process,
    plan::{Failure, Happened, Outcome},
};

use super::{
    AgentError,
    file::{self, Expect, ReplaceError},
    register,
};

/// `.claude.json` holds caches and can grow to some MiB.
const LIMIT: u64 = 32 * 1024 * 1024;
/// The holder of a lock renews it every few seconds; one of this age has no holder.
const STALE_LOCK: Duration = Duration::from_mins(1);

/// The key of `settings.json` that accepts the bypass-permissions disclaimer.
const BYPASS: &str = "skipDangerousModePermissionPrompt";
/// The older key of `.claude.json` that does the same.
const BYPASS_BEFORE: &str = "bypassPermissionsModeAccepted";

/// The keys of a home: a part of [`crate::observed::HomeView`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeKeys {
    /// Whether onboarding is marked as done.
    pub onboarded: bool,
    /// Those of the directories that were asked about that the home trusts, as they were asked.
    pub trusted: Vec<PathBuf>,
    /// Whether the bypass-permissions disclaimer was accepted.
    pub bypass_accepted: bool,
}

/// Reads the keys of `home`, and which of `workdirs` an agent could start in without the trust dialog.
///
/// # Errors
/// [`AgentError::Malformed`], [`AgentError::NotRegular`], [`AgentError::TooLarge`] and [`AgentError::Io`]. What is absent is not set.
pub fn keys(home: &Path, workdirs: &[PathBuf]) -> Result<HomeKeys, AgentError> {
    let state = Document::read(&home.join(".claude.json"))?;
    // Settings that cannot be read matter only to a pool that skips permissions; its attempt to set the key says what is wrong with them.
    let bypass = settings_path(home).and_then(|path| Document::read(&path)).is_ok_and(|settings| settings.is_set(BYPASS));
    let trusts = |directory: &Path| state.trusts(directory);
    Ok(HomeKeys {
        onboarded: state.is_set("hasCompletedOnboarding"),
        trusted: workdirs.iter().filter(|workdir| Trust::of(workdir).is_given(trusts)).cloned().collect(),
        bypass_accepted: bypass || state.is_set(BYPASS_BEFORE),
    })
}

/// Carries out [`crate::plan::Effect::PrepareHome`]: marks onboarding as done, trusts the repositories of `trust`, and accepts the
/// bypass-permissions disclaimer if that is asked for.
pub fn prepare(home: &Path, trust: &[PathBuf], accept_bypass: bool) -> Outcome {
    let mut changed = false;
    match try_prepare(home, trust, accept_bypass, &mut changed) {
        Ok(()) if changed => Outcome::Changed,
        Ok(()) => Outcome::Unchanged,
        Err(failed) => {
            let happened = if failed.in_doubt || changed { Happened::CannotTell } else { Happened::No };
            Outcome::Failed(Failure::from_error(happened, &failed.error))
        }
    }
}

fn try_prepare(home: &Path, trust: &[PathBuf], accept_bypass: bool, changed: &mut bool) -> Result<(), ReplaceError> {
    let mut state = Document::read(&home.join(".claude.json"))?;
    let mut settings = None;
    state.set("hasCompletedOnboarding");
    for directory in trust {
        state.trust(&Trust::of(directory))?;
    }
    if accept_bypass && !state.is_set(BYPASS_BEFORE) {
        let settings = settings.insert(Document::read(&settings_path(home)?)?);
        settings.set(BYPASS);
    }
    let settings = settings.filter(|settings| settings.edited);
    if !state.edited && settings.is_none() {
        return Ok(());
    }
    refuse_while_in_use(home)?;
    if state.edited {
        let lock = Lock::take(home.join(".claude.json.lock"))?;
        let written = state.write();
        drop(lock);
        written?;
        *changed = true;
    }
    if let Some(settings) = settings {
        settings.write()?;
        *changed = true;
    }
    Ok(())
}

/// A JSON object in a file, with the order of its keys.
struct Document {
    path: PathBuf,
    /// What the file was when it was read; `None` when there was none.
    read_as: Option<Metadata>,
    root: Map<String, Value>,
    edited: bool,
}

impl Document {
    fn read(path: &Path) -> Result<Self, AgentError> {
        let (read_as, root) = match file::read(path, LIMIT)? {
            None => (None, Map::new()),
            Some((bytes, metadata)) => (Some(metadata), serde_json::from_slice(&bytes).map_err(AgentError::json(path))?),
        };
        Ok(Self { path: path.to_owned(), read_as, root, edited: false })
    }

    fn is_set(&self, key: &str) -> bool {
        self.root.get(key).is_some_and(|value| *value == true)
    }

    fn trusts(&self, directory: &Path) -> bool {
        let project = directory.to_str().and_then(|key| self.root.get("projects")?.get(key));
        project.is_some_and(|project| project["hasTrustDialogAccepted"] == true)
    }

    fn set(&mut self, key: &str) {
        if !self.is_set(key) {
            self.root.insert(key.to_owned(), Value::Bool(true));
            self.edited = true;
        }
    }

    fn trust(&mut self, trust: &Trust) -> Result<(), AgentError> {
        if trust.is_given(|directory| self.trusts(directory)) {
            return Ok(());
        }
        let key = super::launch::utf8(&trust.key)?.to_owned();
        let project = Self::object(&self.path, &mut self.root, "projects".to_owned())?;
        let project = Self::object(&self.path, project, key)?;
        project.insert("hasTrustDialogAccepted".to_owned(), Value::Bool(true));
        self.edited = true;
        Ok(())
    }

    /// The object under `key`, made if it is absent. Anything else that stands there is not ours to overwrite.
    fn object<'a>(path: &Path, parent: &'a mut Map<String, Value>, key: String) -> Result<&'a mut Map<String, Value>, AgentError> {
        let problem = format!("{key:?} is not an object");
        parent
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .ok_or_else(|| AgentError::Malformed { path: path.to_owned(), problem })
    }

    fn write(&self) -> Result<(), ReplaceError> {
        let mode = self.read_as.as_ref().map_or(0o600, |metadata| metadata.permissions().mode());
        let mut text = serde_json::to_vec_pretty(&self.root).map_err(AgentError::json(&self.path))?;
        text.push(b'\n');
        file::replace(&self.path, &text, mode, Expect::AsRead(self.read_as.as_ref()))
    }
}

/// Where the home's settings really are: people link them from elsewhere, and the CLI writes through such a link (section 2).
fn settings_path(home: &Path) -> Result<PathBuf, AgentError> {
    let path = home.join("settings.json");
    match fs::canonicalize(&path) {
        Ok(resolved) => Ok(resolved),
        // A link into nowhere stays a link: reading it says so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(AgentError::io("resolve", &path)(error)),
    }
}

/// By what a start directory is trusted: its git repository, or itself.
struct Trust {
    key: PathBuf,
    /// Whether the key is the root of a git repository. A trusted parent covers plain directories, but no repository below it.
    repository: bool,
}

impl Trust {
    fn of(workdir: &Path) -> Self {
        let resolved = fs::canonicalize(workdir).unwrap_or_else(|_| workdir.to_owned());
        // A directory, or in a linked worktree a file.
        let root = resolved.ancestors().find(|directory| fs::symlink_metadata(directory.join(".git")).is_ok());
        Self { key: root.unwrap_or(&resolved).to_owned(), repository: root.is_some() }
    }

    fn is_given(&self, trusts: impl Fn(&Path) -> bool) -> bool {
        if self.repository { trusts(&self.key) } else { self.key.ancestors().any(trusts) }
    }
}

/// Fails while a process of the register lives, or while that cannot be told.
fn refuse_while_in_use(home: &Path) -> Result<(), AgentError> {
    for (pid, entry) in register::read_all(home)? {
        let Some(living) = process::identity(pid)? else { continue };
        // An entry that cannot be read may be the one of this very process.
        if entry.map_or(true, |entry| entry.process == living) {
            return Err(AgentError::HomeInUse { home: home.to_owned(), pid });
        }
    }
    Ok(())
}

/// The CLI's lock of `.claude.json`: a directory beside it that its holder makes, touches and removes.
struct Lock(PathBuf);

impl Lock {
    fn take(path: PathBuf) -> Result<Self, AgentError> {
        for attempt in 0..2 {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(AgentError::io("create", &path)(error)),
            }
            let stale = attempt == 0 && age(&path)? >= STALE_LOCK;
            // Only an empty directory can be removed so; anything else there is not a lock that we understand.
            if !stale || fs::remove_dir(&path).is_err() {
                break;
            }
        }
        Err(AgentError::Locked { lock: path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays behind is stale in a minute.
        let _ = fs::remove_dir(&self.0);
    }
}

/// How long ago a file was touched; zero when that lies ahead.
fn age(path: &Path) -> Result<Duration, AgentError> {
    let touched = fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).map_err(AgentError::io("look at", path))?;
    Ok(SystemTime::now().duration_since(touched).unwrap_or_default())
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
