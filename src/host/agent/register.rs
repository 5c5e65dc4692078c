//! The CLI's own register of live processes, `<home>/sessions/<pid>.json` (facts/claude-code.md, section 4).
//!
//! # Guarantees
//! An entry is accepted for a process only if it carries that process's start time, so that neither an entry left by a killed agent nor a
//! reused process number is believed. The tokens that stand beside the entries (`<pid>.<hash>.key`) are never opened.

use std::{
    fs, io,
    path::{Path, PathBuf},
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
    let path = directory(home).join(format!("{}.json", process.pid));
    Ok(read_entry(&path)?.filter(|entry| entry.process == process).map(|entry| entry.view))
}

/// Entries by the process number in their name, each with its error when it cannot be read.
pub type Listing = Vec<(Pid, Result<Entry, AgentError>)>;

/// Every entry of a home, by process number. Whether the processes live is for the caller to see.
///
/// # Errors
/// [`AgentError::Io`] and [`AgentError::TooManyEntries`]. A register that does not exist is empty.
pub fn read_all(home: &Path) -> Result<Listing, AgentError> {
    let directory = directory(home);
    let listed = match fs::read_dir(&directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AgentError::io("list", &directory)(error)),
    };
    let mut entries = Vec::new();
    for (count, item) in listed.enumerate() {
        if count == ENTRIES {
            return Err(AgentError::TooManyEntries { path: directory, limit: ENTRIES });
        }
        let name = item.map_err(AgentError::io("list", &directory))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|number| number.parse().ok());
        let Some(pid) = number.filter(|&number: &i32| number > 0).map(Pid) else { continue };
        match read_entry(&directory.join(name)) {
            Ok(Some(entry)) => entries.push((pid, Ok(entry))),
            // Its process ended between the listing and the reading.
            Ok(None) => {}
            Err(error) => entries.push((pid, Err(error))),
        }
    }
    entries.sort_by_key(|&(pid, _)| pid);
    Ok(entries)
}

fn read_entry(path: &Path) -> Result<Option<Entry>, AgentError> {
    let Some((bytes, _)) = file::read(path, LIMIT)? else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).map_err(AgentError::json(path))?;
    match parse(&value) {
        Ok(entry) => Ok(Some(entry)),
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
