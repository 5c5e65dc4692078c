//! The settings file that every agent of a pool gets with `--settings`: our hooks and our status line.
//!
//! # Guarantees
//! The file is written atomically, readable by its owner alone, and only when it differs. Its command lines survive the shell that runs
//! them whatever the paths hold, end with exit code 0, and print nothing but the status line: a hook must never hold, break or colour the
//! agent.
//!
//! # Assumes
//! Hooks of `--settings` are merged with those of the user; a status line replaces the user's (facts/claude-code.md, section 1).

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use crate::model::AccountName;

use super::{
    AgentError,
    file::{self, Expect},
    launch::utf8,
};

/// The events that we ask for, and whether the agent goes on without waiting for the hook.
///
/// It waits for the first and the last: the start is the proof of a move and must not be lost, and what still runs when the agent ends is
/// killed. Both cost the agent a few milliseconds.
const EVENTS: [(&str, bool); 6] = [
    ("SessionStart", false),
    ("UserPromptSubmit", true),
    ("Notification", true),
    ("Stop", true),
    ("StopFailure", true),
    ("SessionEnd", false),
];

/// Seconds after which the CLI gives up on a hook.
const HOOK_TIMEOUT: u32 = 5;

/// Seconds between two runs of an idle agent's status line. With a refresh the figures come at start, before the first prompt
/// (facts/claude-code.md, section 4); every run costs the host a process.
const REFRESH: u32 = 60;

/// The largest file that we would have written.
const LIMIT: u64 = 1024 * 1024;

/// What the settings of a pool depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Our own program, absolute.
    pub program: PathBuf,
    /// The socket of [`crate::host::intake`].
    pub socket: PathBuf,
    /// The spool beside it.
    pub spool: PathBuf,
    /// The homes of the accounts, for the name in the status line.
    pub homes: BTreeMap<AccountName, PathBuf>,
    /// The operator's own status line command, if there is one.
    pub status_line: Vec<String>,
}

impl Settings {
    /// The content of the file.
    ///
    /// # Errors
    /// [`AgentError::NotUtf8`] for a path that JSON cannot carry.
    pub fn text(&self) -> Result<String, AgentError> {
        let (program, socket) = (quote(utf8(&self.program)?), quote(utf8(&self.socket)?));
        let spool = quote(utf8(&self.spool)?);
        let mut hooks = Map::new();
        for (event, detached) in EVENTS {
            let command = format!("{program} hook {event} --socket {socket} --spool {spool} >/dev/null 2>&1 || :");
            let mut handler = json!({ "type": "command", "command": command, "timeout": HOOK_TIMEOUT });
            if detached {
                handler["async"] = Value::Bool(true);
            }
            hooks.insert(event.to_owned(), json!([{ "hooks": [handler] }]));
        }
        let mut status_line = format!("{program} statusline --socket {socket}");
        for (account, home) in &self.homes {
            status_line.push_str(" --account ");
            status_line.push_str(&quote(&format!("{account}={}", utf8(home)?)));
        }
        if !self.status_line.is_empty() {
            status_line.push_str(" --");
        }
        for word in &self.status_line {
            status_line.push(' ');
            status_line.push_str(&quote(word));
        }
        status_line.push_str(" 2>/dev/null || :");
        let settings = json!({ "hooks": hooks, "statusLine": { "type": "command", "command": status_line, "padding": 0, "refreshInterval": REFRESH } });
        Ok(format!("{settings:#}\n"))
    }

    /// Makes the file at `path` so, and answers whether it had to be changed.
    ///
    /// # Errors
    /// [`AgentError::NotRegular`] when something else stands there, [`AgentError::Io`] and [`AgentError::NotUtf8`].
    pub fn write(&self, path: &Path) -> Result<bool, AgentError> {
        let text = self.text()?;
        if let Some((found, metadata)) = file::read(path, LIMIT)?
            && found == text.as_bytes()
            && metadata.permissions().mode() & 0o777 == 0o600
        {
            return Ok(false);
        }
        file::replace(path, text.as_bytes(), 0o600, Expect::Anything).map_err(|failed| failed.error)?;
        Ok(true)
    }
}

/// One word of a POSIX shell: between single quotes nothing is special but the single quote itself.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    fn settings(program: &Path) -> Settings {
        let home = |name: &str| (AccountName::new(name).expect("valid"), PathBuf::from(format!("/homes/{name}")));
        Settings {
            program: program.to_owned(),
            socket: "/run/it's $HOME/s".into(),
            spool: "/state/a \"b\" `c`\n;d/spool".into(),
            homes: BTreeMap::from([home("primary"), home("backup")]),
            status_line: Vec::new(),
        }
    }

    #[test]
    fn the_file_asks_for_the_events_and_the_status_line() {
        let text = Settings { socket: "/run/s".into(), spool: "/state/spool".into(), ..settings(Path::new("/bin/claude-failover")) }
            .text()
            .expect("plain paths");
        insta::assert_snapshot!(text);
    }

    /// Hooks are run by a shell: what arrives must be the words that were meant, and a failing program must not show.
    #[test]
    fn the_command_lines_survive_a_shell() {
        let directory = tempfile::tempdir().expect("a directory");
        // A shell in our place: its first argument is the script that it runs.
        let program = directory.path().join("our 'own' program");
        std::os::unix::fs::symlink("/bin/sh", &program).expect("linked");
        let script = "for word; do printf '%s\\0' \"$word\" >> \"$0.words\"; done; echo out; echo err >&2; exit 2";
        for verb in ["hook", "statusline"] {
            fs::write(directory.path().join(verb), script).expect("written");
        }
        let settings = settings(&program);
        let parsed: Value = serde_json::from_str(&settings.text().expect("plain paths")).expect("JSON");
        let run = |command: &Value, verb: &str| {
            let command = command.as_str().expect("a command");
            let done = Command::new("sh").args(["-c", command]).current_dir(directory.path()).output().expect("a shell");
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
            let words = fs::read_to_string(directory.path().join(format!("{verb}.words"))).expect("words");
            (words, String::from_utf8(done.stdout).expect("text"))
        };

        let (words, printed) = run(&parsed["hooks"]["Stop"][0]["hooks"][0]["command"], "hook");
        assert_eq!(
            words.split_terminator('\0').collect::<Vec<_>>(),
            ["Stop", "--socket", "/run/it's $HOME/s", "--spool", "/state/a \"b\" `c`\n;d/spool"]
        );
        assert_eq!(printed, "", "what a hook prints goes into the conversation");
        let (words, printed) = run(&parsed["statusLine"]["command"], "statusline");
        assert_eq!(
            words.split_terminator('\0').collect::<Vec<_>>(),
            ["--socket", "/run/it's $HOME/s", "--account", "backup=/homes/backup", "--account", "primary=/homes/primary"]
        );
        assert_eq!(printed, "out\n");
    }

    #[test]
    fn it_is_written_only_when_it_differs() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("settings.json");
        let mut settings = settings(Path::new("/bin/claude-failover"));
        assert!(settings.write(&path).expect("written"));
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert!(!settings.write(&path).expect("looked at"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
        assert!(settings.write(&path).expect("closed again"));
        assert_eq!(mode(), 0o600);
        settings.socket = "/run/other".into();
        assert!(settings.write(&path).expect("written"));
        assert_eq!(fs::read_to_string(&path).expect("there"), settings.text().expect("plain paths"));
    }
}
