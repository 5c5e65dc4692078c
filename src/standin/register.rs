//! The register of live processes, `<home>/sessions/<pid>.json` (facts/claude-code.md, section 4).

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Error, VERSION, home};

/// What the process does, in the register's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Idle,
    Busy,
    /// With what it waits for.
    Waiting(&'static str),
    /// A background shell still runs.
    Shell,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Waiting(_) => "waiting",
            Self::Shell => "shell",
        }
    }
}

/// The entry of this process.
pub(super) struct Register {
    /// `None` for a process that keeps out of the register.
    path: Option<PathBuf>,
    entry: Value,
    /// Whether the entry stands in the directory.
    written: bool,
}

impl Register {
    /// Prepares the entry; nothing is written before [`Self::publish`].
    pub(super) fn new(directory: Option<&Path>, conversation: &str, workdir: &Path) -> Result<Self, Error> {
        let pid = process::id();
        let now = Timestamp::now().as_millisecond();
        let name = workdir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entry = json!({
            "pid": pid, "sessionId": conversation, "cwd": workdir, "startedAt": now, "procStart": start_time()?, "version": VERSION,
            "peerProtocol": 1, "kind": "interactive", "entrypoint": "cli", "name": name, "nameSource": "derived", "nameSince": now,
            "status": Status::Idle.word(), "updatedAt": now, "statusUpdatedAt": now,
        });
        let path = match directory {
            None => None,
            Some(directory) => {
                fs::create_dir_all(directory).map_err(Error::io(format!("make {}", directory.display())))?;
                sweep(directory);
                Some(directory.join(format!("{pid}.json")))
            }
        };
        Ok(Self { path, entry, written: false })
    }

    /// Puts the entry into the register.
    pub(super) fn publish(&mut self) -> Result<(), Error> {
        self.written = true;
        self.write()
    }

    /// Changes what the process does. Only a change is written.
    pub(super) fn set(&mut self, status: Status) -> Result<(), Error> {
        let waiting_for = if let Status::Waiting(what) = status { json!(what) } else { Value::Null };
        if self.entry["status"] == status.word() && self.entry.get("waitingFor").unwrap_or(&Value::Null) == &waiting_for {
            return Ok(());
        }
        let now = Timestamp::now().as_millisecond();
        self.entry["status"] = json!(status.word());
        self.entry["updatedAt"] = json!(now);
        self.entry["statusUpdatedAt"] = json!(now);
        if let Some(fields) = self.entry.as_object_mut() {
            fields.remove("waitingFor");
        }
        if !waiting_for.is_null() {
            self.entry["waitingFor"] = waiting_for;
        }
        if self.written { self.write() } else { Ok(()) }
    }

    /// Takes the entry out again.
    pub(super) fn remove(&mut self) {
        if let (Some(path), true) = (&self.path, self.written) {
            // Somebody may have removed it already; there is nothing to do about any other reason while ending.
            let _ = fs::remove_file(path);
            self.written = false;
        }
    }

    fn write(&self) -> Result<(), Error> {
        match &self.path {
            Some(path) => home::replace(path, &self.entry).map_err(Error::io(format!("write {}", path.display()))),
            None => Ok(()),
        }
    }
}

/// Our start time, field 22 of `/proc/PID/stat` (proc(5)), as the text that stands there.
fn start_time() -> Result<String, Error> {
    let stat = fs::read_to_string("/proc/self/stat").map_err(Error::io("read /proc/self/stat"))?;
    // The second field is a name in parentheses that may hold anything, so fields are counted from its end; the next one is field 3.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(after_name.split_whitespace().nth(19).unwrap_or_default().to_owned())
}

/// Removes the entries of processes that are gone, as each start of the CLI does.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let pid = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json")?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Another process may have swept it at the same time.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_changed_and_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("999999999.json"), "{}").expect("written");
        let mut register = Register::new(Some(directory.path()), "id", Path::new("/work/place")).expect("prepared");
        let path = directory.path().join(format!("{}.json", process::id()));
        assert!(!path.exists());
        assert!(!directory.path().join("999999999.json").exists(), "the entry of a dead process was kept");
        register.publish().expect("written");
        register.set(Status::Waiting("permission prompt")).expect("written");
        let entry: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
        assert_eq!((&entry["status"], &entry["waitingFor"]), (&json!("waiting"), &json!("permission prompt")));
        assert!(entry["procStart"].as_str().is_some_and(|text| text.parse::<u64>().is_ok()));
        register.set(Status::Idle).expect("written");
        let entry: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
        assert!(entry.get("waitingFor").is_none());
        register.remove();
        assert!(!path.exists());
    }
}
