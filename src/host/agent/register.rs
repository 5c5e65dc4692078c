//! The CLI's own register of live processes, `<home>/sessions/<pid>.json` (facts/claude-code.md, section 4).
//!
//! # Guarantees
//! An entry is accepted for a process only if it carries that process's start time, so that neither an entry left by a killed agent nor a
//! reused process number is believed. The tokens that stand beside the entries (`<pid>.<hash>.key`) are never opened.
//!
//! A [`Shelf`] reads a file again only when its inode says that it changed. Every opened file is told to whoever watches its directory, us
//! included, and a thousand of them would be opened for each agent that is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    model::{ConversationId, Pid, ProcessId},
    observed::{RegisterStatus, RegisterView},
};

use super::{AgentError, file, json};

/// Entries have about 1 KiB.
const LIMIT: u64 = 64 * 1024;
/// More processes than one home can have.
const ENTRIES: usize = 4096;
/// The longest text that is kept of an entry, in bytes.
const TEXT: usize = 256;

/// One entry, and the process that it says it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The process, by the entry's own word.
    pub process: ProcessId,
    /// What it does.
    pub view: RegisterView,
}

/// Where a home keeps its register.
pub fn directory(home: &Path) -> PathBuf {
    home.join("sessions")
}

/// The entry of `process`; `None` when there is none, or when it is about an earlier process of the same number.
///
/// # Errors
/// [`AgentError::Malformed`] for one that is half written or of another shape: then nothing is known. [`AgentError::NotRegular`],
/// [`AgentError::TooLarge`] and [`AgentError::Io`] alike.
pub fn read(home: &Path, process: ProcessId) -> Result<Option<RegisterView>, AgentError> {
    Shelf::default().read(home, process)
}

/// Entries by the process number in their name, each with its error when it cannot be read.
pub type Listing = Vec<(Pid, Result<Entry, AgentError>)>;

/// Every entry of a home, by process number. Whether the processes live is for the caller to see.
///
/// # Errors
/// [`AgentError::Io`] and [`AgentError::TooManyEntries`]. A register that does not exist is empty.
pub fn read_all(home: &Path) -> Result<Listing, AgentError> {
    let mut entries = Vec::new();
    Shelf::default().go_through(home, |pid, entry| entries.push((pid, entry.cloned())))?;
    entries.sort_by_key(|&(pid, _)| pid);
    Ok(entries)
}

/// A file that was changed less than this long before it was read is read again: the next change could bear the same time. Two seconds are
/// the coarsest that a file system counts in.
const SETTLED: Duration = Duration::from_secs(2);

/// The entries as they were last read, by home and by the process number in the name of their files.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<PathBuf, Kept>);

type Kept = BTreeMap<Pid, (Stamp, Entry)>;

/// By what a file that has not changed is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether every later change will show.
    fn is_settled(self) -> bool {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(u64::MAX / 4));
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
    }
}

impl Shelf {
    /// Forgets all processes but these.
    pub fn keep(&mut self, processes: &BTreeSet<ProcessId>) {
        for kept in self.0.values_mut() {
            kept.retain(|_, (_, entry)| processes.contains(&entry.process));
        }
    }

    /// As [`read`].
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, home: &Path, process: ProcessId) -> Result<Option<RegisterView>, AgentError> {
        let path = directory(home).join(format!("{}.json", process.pid));
        let found = fs::symlink_metadata(&path);
        let view = |entry: &Entry| (entry.process == process).then(|| entry.view.clone());
        Ok(show(self.of(home), process.pid, found, || path, view)?.flatten())
    }

    /// The entries of a home by which one of the conversations is open. Whether their processes live is for the caller to see.
    ///
    /// An entry that does not read belongs to a process that is just writing it, or to none; its own session will show it.
    ///
    /// # Errors
    /// As [`read_all`].
    pub fn holders(
        &mut self,
        home: &Path,
        conversations: &BTreeSet<ConversationId>,
    ) -> Result<Vec<(ConversationId, ProcessId)>, AgentError> {
        let mut holders = Vec::new();
        self.go_through(home, |_, entry| {
            let held = entry.ok().filter(|entry| conversations.contains(&entry.view.conversation));
            holders.extend(held.map(|entry| (entry.view.conversation, entry.process)));
        })?;
        Ok(holders)
    }

    fn of(&mut self, home: &Path) -> &mut Kept {
        self.0.entry(home.to_owned()).or_default()
    }

    /// Shows every entry of a home, in the order of the directory. Each file is looked at by its name in the open directory, and read only if it
    /// has changed.
    fn go_through(&mut self, home: &Path, mut each: impl FnMut(Pid, Result<&Entry, AgentError>)) -> Result<(), AgentError> {
        let directory = directory(home);
        let kept = self.of(home);
        let listed = match fs::read_dir(&directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                kept.clear();
                return Ok(());
            }
            Err(error) => return Err(AgentError::io("list", &directory)(error)),
        };
        let mut pids = BTreeSet::new();
        for (count, item) in listed.enumerate() {
            if count == ENTRIES {
                return Err(AgentError::TooManyEntries { path: directory, limit: ENTRIES });
            }
            let item = item.map_err(AgentError::io("list", &directory))?;
            let Some(pid) = pid_of(&item.file_name()) else { continue };
            pids.insert(pid);
            match show(kept, pid, item.metadata(), || item.path(), |entry| each(pid, Ok(entry))) {
                // `None`: its process ended between the listing and the reading.
                Ok(_) => {}
                Err(error) => each(pid, Err(error)),
            }
        }
        kept.retain(|pid, _| pids.contains(pid));
        Ok(())
    }
}

/// Shows the entry of a file, which is read again if `found` is not what it was when it was kept. `None` when nothing stands there.
fn show<T>(
    kept: &mut Kept,
    pid: Pid,
    found: io::Result<Metadata>,
    path: impl FnOnce() -> PathBuf,
    show: impl FnOnce(&Entry) -> T,
) -> Result<Option<T>, AgentError> {
    // When it cannot be looked at, opening it says why.
    let found = found.ok().map(|metadata| Stamp::of(&metadata));
    if let Some((stamp, entry)) = kept.get(&pid)
        && found == Some(*stamp)
    {
        return Ok(Some(show(entry)));
    }
    kept.remove(&pid);
    let Some((entry, stamp)) = read_entry(&path())? else { return Ok(None) };
    let shown = show(&entry);
    if stamp.is_settled() {
        kept.insert(pid, (stamp, entry));
    }
    Ok(Some(shown))
}

/// `4711.json`: the entry of that process.
fn pid_of(name: &OsStr) -> Option<Pid> {
    let number: i32 = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
    (number > 0).then_some(Pid(number))
}

fn read_entry(path: &Path) -> Result<Option<(Entry, Stamp)>, AgentError> {
    let Some((bytes, metadata)) = file::read(path, LIMIT)? else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).map_err(AgentError::json(path))?;
    match parse(&value) {
        Ok(entry) => Ok(Some((entry, Stamp::of(&metadata)))),
        Err(field) => Err(AgentError::Malformed { path: path.to_owned(), problem: format!("the field {field} is missing or odd") }),
    }
}

/// The entry, or the name of the field without which it means nothing.
fn parse(value: &Value) -> Result<Entry, &'static str> {
    let pid = value["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).ok_or("pid")?;
    let started = json::whole(&value["procStart"]).ok_or("procStart")?;
    let conversation = value["sessionId"].as_str().and_then(|id| id.parse().ok()).ok_or("sessionId")?;
    let status = match value["status"].as_str() {
        Some("idle") => RegisterStatus::Idle,
        Some("busy") => RegisterStatus::Busy,
        Some("waiting") => RegisterStatus::Waiting,
        Some("shell") => RegisterStatus::Shell,
        other => RegisterStatus::Other(json::cut(other.unwrap_or_default(), TEXT).to_owned()),
    };
    let view = RegisterView {
        conversation: ConversationId(conversation),
        status,
        waiting_for: json::text(&value["waitingFor"], TEXT),
        cwd: value["cwd"].as_str().map(PathBuf::from).unwrap_or_default(),
        version: json::text(&value["version"], TEXT).unwrap_or_default(),
        status_since: json::instant(&value["statusUpdatedAt"]),
    };
    Ok(Entry { process: ProcessId { pid: Pid(pid), started }, view })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const PROCESS: ProcessId = ProcessId { pid: Pid(4711), started: 8_812_345 };

    fn home_with(name: &str, content: &[u8]) -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory(home.path())).expect("made");
        fs::write(directory(home.path()).join(name), content).expect("written");
        home
    }

    fn entry() -> Value {
        serde_json::from_slice(include_bytes!("../../../tests/fixtures/agent/register.json")).expect("JSON")
    }

    #[test]
    fn the_entry_of_a_process_is_understood() {
        let home = home_with("4711.json", entry().to_string().as_bytes());
        let view = read(home.path(), PROCESS).expect("readable").expect("there");
        assert_eq!(
            view,
            RegisterView {
                conversation: ConversationId(Uuid::from_u128(0x0b0e_7c1e_6f0f_4c58_9b52_1d6a_3f2b_9c10)),
                status: RegisterStatus::Waiting,
                waiting_for: Some("permission prompt".to_owned()),
                cwd: "/work/api".into(),
                version: "2.1.330".to_owned(),
                status_since: Some("2026-11-22T10:00:00.250Z".parse().expect("an instant")),
            }
        );
    }

    #[test]
    fn an_entry_of_another_process_with_the_same_number_is_not_believed() {
        let home = home_with("4711.json", entry().to_string().as_bytes());
        assert_eq!(read(home.path(), ProcessId { started: 1, ..PROCESS }).expect("readable"), None);
        assert_eq!(read(home.path(), ProcessId { pid: Pid(4712), ..PROCESS }).expect("readable"), None);
        // Copied under another name, it still says whose it is.
        let home = home_with("4712.json", entry().to_string().as_bytes());
        assert_eq!(read(home.path(), ProcessId { pid: Pid(4712), ..PROCESS }).expect("readable"), None);
    }

    #[test]
    fn a_start_time_as_a_number_and_a_new_status_are_understood() {
        let mut value = entry();
        value["procStart"] = json!(8_812_345);
        value["status"] = json!("dreaming");
        let home = home_with("4711.json", value.to_string().as_bytes());
        let view = read(home.path(), PROCESS).expect("readable").expect("there");
        assert_eq!(view.status, RegisterStatus::Other("dreaming".to_owned()));
    }

    #[test]
    fn what_is_torn_or_lacks_its_identity_is_an_error_and_not_absence() {
        let whole = entry().to_string();
        for torn in ["", "{", &whole[..whole.len() / 2], "[]", "null", "{}"] {
            let home = home_with("4711.json", torn.as_bytes());
            assert!(matches!(read(home.path(), PROCESS), Err(AgentError::Malformed { .. })), "{torn:?}");
        }
        for field in ["pid", "procStart", "sessionId"] {
            let mut value = entry();
            value[field] = Value::Null;
            let home = home_with("4711.json", value.to_string().as_bytes());
            let error = read(home.path(), PROCESS).expect_err("without identity");
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn all_entries_are_listed_and_keys_are_left_alone() {
        let home = home_with("4711.json", entry().to_string().as_bytes());
        let place = directory(home.path());
        fs::write(place.join("99.json"), b"{").expect("written");
        // Opening this one would fail: it is a directory with the name of a token.
        fs::create_dir(place.join("4711.abc.key")).expect("made");
        fs::write(place.join("-5.json"), b"{").expect("written");
        let all = read_all(home.path()).expect("listed");
        let numbers: Vec<_> = all.iter().map(|(pid, entry)| (pid.0, entry.as_ref().ok().map(|entry| entry.process))).collect();
        assert_eq!(numbers, [(99, None), (4711, Some(PROCESS))]);
        assert!(read_all(&home.path().join("absent")).expect("empty").is_empty());
    }

    #[test]
    fn a_shelf_shows_every_change_and_opens_nothing_twice() {
        let whole = entry().to_string();
        let home = home_with("4711.json", whole.as_bytes());
        let path = directory(home.path()).join("4711.json");
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        let mut shelf = Shelf::default();
        let status = |shelf: &mut Shelf| shelf.read(home.path(), PROCESS).expect("readable").map(|view| view.status);
        for (round, word) in ["busy", "idle", "busy"].into_iter().enumerate() {
            fs::write(&path, whole.replace("waiting", word)).expect("written");
            // Even when the length and the time of the content are the same.
            fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("dated");
            let expected = if word == "busy" { RegisterStatus::Busy } else { RegisterStatus::Idle };
            assert_eq!(status(&mut shelf), Some(expected), "round {round}");
        }
        let stamp = Stamp::of(&fs::metadata(&path).expect("there"));
        assert!(!stamp.is_settled() && shelf.of(home.path()).is_empty(), "a file that was just written is not trusted");
        let settled = Stamp { changed: (stamp.changed.0 - 3600, 0), ..stamp };
        assert!(settled.is_settled());
        // As if it had been read later, and had said something else then: what is kept is believed, until the file changes.
        let mut kept = read_entry(&path).expect("readable").expect("there").0;
        kept.view.status = RegisterStatus::Shell;
        shelf.of(home.path()).insert(PROCESS.pid, (stamp, kept));
        assert_eq!(status(&mut shelf), Some(RegisterStatus::Shell));
        let conversation = shelf.read(home.path(), PROCESS).expect("readable").expect("there").conversation;
        let wanted = BTreeSet::from([conversation]);
        assert_eq!(shelf.holders(home.path(), &wanted).expect("listed"), [(conversation, PROCESS)]);
        assert_eq!(shelf.holders(home.path(), &BTreeSet::new()).expect("listed"), []);
        let forgotten = shelf.of(home.path())[&PROCESS.pid].clone();
        fs::remove_file(&path).expect("removed");
        assert_eq!(status(&mut shelf), None);
        assert!(shelf.of(home.path()).is_empty(), "what is gone is forgotten");
        shelf.of(home.path()).insert(PROCESS.pid, forgotten);
        assert_eq!(shelf.holders(home.path(), &wanted).expect("listed"), []);
        assert!(shelf.of(home.path()).is_empty(), "also when all are gone through");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let home = home_with("4711.json", &bytes);
            let _ = read(home.path(), PROCESS);
        }

        #[test]
        fn a_half_or_damaged_entry_never_panics(cut in 0usize..700, at in 0usize..700, byte: u8) {
            let mut bytes = entry().to_string().into_bytes();
            bytes.truncate(cut);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let home = home_with("4711.json", &bytes);
            let _ = read(home.path(), PROCESS);
        }
    }
}
