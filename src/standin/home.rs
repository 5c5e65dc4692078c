//! The configuration directory: where things are, and what `.claude.json` says.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::Error;
use crate::model::sha256_hex;

/// A home.
pub(super) struct Home {
    /// The directory, as it was given.
    pub(super) directory: PathBuf,
    /// `.claude.json`: inside a directory that was given, beside the default one (facts/claude-code.md, section 1).
    config: PathBuf,
}

impl Home {
    /// `CLAUDE_CONFIG_DIR`, else `~/.claude`.
    pub(super) fn from_environment() -> Result<Self, Error> {
        if let Some(directory) = env::var_os("CLAUDE_CONFIG_DIR").filter(|value| !value.is_empty()) {
            let directory = PathBuf::from(directory);
            return Ok(Self { config: directory.join(".claude.json"), directory });
        }
        let user = env::home_dir().ok_or_else(|| Error::Usage("neither CLAUDE_CONFIG_DIR nor HOME is set".to_owned()))?;
        Ok(Self { directory: user.join(".claude"), config: user.join(".claude.json") })
    }

    /// The account's own behaviour.
    pub(super) fn behaviour_file(&self) -> PathBuf {
        self.directory.join("stand-in.json")
    }

    /// The register of live processes.
    pub(super) fn register(&self) -> PathBuf {
        self.directory.join("sessions")
    }

    /// The person's own settings.
    pub(super) fn settings(&self) -> PathBuf {
        self.directory.join("settings.json")
    }

    /// Where a conversation's transcript is made. It is named under the home, not resolved.
    pub(super) fn transcript(&self, workdir: &Path, conversation: &str) -> PathBuf {
        self.directory.join("projects").join(encode(workdir)).join(format!("{conversation}.jsonl"))
    }

    /// The transcript of a conversation: in the start directory's own folder, else in the only other one that has it. Two copies in
    /// other folders count as none (facts/claude-code.md, section 2).
    pub(super) fn find_transcript(&self, workdir: &Path, conversation: &str) -> Option<PathBuf> {
        let own = self.transcript(workdir, conversation);
        if own.is_file() {
            return Some(own);
        }
        let file_name = format!("{conversation}.jsonl");
        let mut found: Vec<(PathBuf, PathBuf)> = fs::read_dir(self.directory.join("projects"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join(&file_name))
            .filter_map(|path| fs::canonicalize(&path).ok().map(|resolved| (resolved, path)))
            .collect();
        found.sort();
        found.dedup_by(|one, other| one.0 == other.0);
        match found.as_slice() {
            [(_, path)] => Some(path.clone()),
            _ => None,
        }
    }

    /// The account's id: the one in `.claude.json`, else one made of the home's path.
    pub(super) fn account_id(&self) -> String {
        match self.read_config().pointer("/oauthAccount/accountUuid").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => Uuid::new_v5(&Uuid::NAMESPACE_URL, self.directory.as_os_str().as_encoded_bytes()).to_string(),
        }
    }

    /// Whether the first-run screens were seen.
    pub(super) fn is_onboarded(&self) -> bool {
        self.read_config().get("hasCompletedOnboarding").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether sessions may run in `workdir`. A trusted directory covers the plain directories below it, but no repository below it.
    pub(super) fn trusts(&self, workdir: &Path) -> bool {
        let config = self.read_config();
        let accepted = |directory: &Path| {
            config
                .get("projects")
                .and_then(|projects| projects.get(directory.to_string_lossy().as_ref()))
                .and_then(|project| project.get("hasTrustDialogAccepted"))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        match repository(workdir) {
            Some(root) => accepted(root),
            None => workdir.ancestors().any(accepted),
        }
    }

    /// Remembers that the first-run screens were seen.
    pub(super) fn set_onboarded(&self) -> Result<(), Error> {
        self.update_config(|config| config["hasCompletedOnboarding"] = json!(true))
    }

    /// Remembers that `workdir` is trusted.
    pub(super) fn set_trusted(&self, workdir: &Path) -> Result<(), Error> {
        let key = repository(workdir).unwrap_or(workdir).to_string_lossy().into_owned();
        self.update_config(|config| config["projects"][key]["hasTrustDialogAccepted"] = json!(true))
    }

    /// Stores a usage answer as the CLI does.
    pub(super) fn set_usage(&self, cached: Value) -> Result<(), Error> {
        self.update_config(|config| config["cachedUsageUtilization"] = cached)
    }

    /// What cannot be read counts as empty, as for the CLI.
    fn read_config(&self) -> Value {
        let text = fs::read(&self.config).unwrap_or_default();
        serde_json::from_slice(&text).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
    }

    fn update_config(&self, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
        let mut config = self.read_config();
        change(&mut config);
        replace(&self.config, &config).map_err(Error::io(format!("write {}", self.config.display())))
    }
}

/// Writes a JSON file under a name of its own and renames it into place: a reader sees the old one or the new one.
pub(super) fn replace(path: &Path, content: &Value) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(content.to_string().as_bytes())?;
    fs::rename(&temporary, path)
}

/// The root of the git repository that `directory` lies in.
fn repository(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|ancestor| ancestor.join(".git").exists())
}

/// The branch that is checked out, as the CLI writes it: `HEAD` outside of a repository and for a detached one.
pub(super) fn branch(directory: &Path) -> String {
    repository(directory)
        .and_then(|root| fs::read_to_string(root.join(".git/HEAD")).ok())
        .and_then(|head| head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned))
        .unwrap_or_else(|| "HEAD".to_owned())
}

/// A resolved directory as the name of its folder below `projects` (facts/claude-code.md, section 2). The CLI's own hash of a long path
/// is not known; ours differs.
fn encode(workdir: &Path) -> String {
    let text = workdir.to_string_lossy();
    // The CLI counts UTF-16 units.
    let encoded: String =
        text.chars().flat_map(|c| std::iter::repeat_n(if c.is_ascii_alphanumeric() { c } else { '-' }, c.len_utf16())).collect();
    match encoded.get(..200) {
        Some(head) if encoded.len() > 200 => format!("{head}-{}", &sha256_hex(text.as_bytes())[..6]),
        _ => encoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home { directory: directory.path().to_owned(), config: directory.path().join(".claude.json") };
        (directory, home)
    }

    #[test]
    fn a_directory_becomes_a_folder_name_as_the_cli_makes_it() {
        assert_eq!(encode(Path::new("/w/a.b_c d+é")), "-w-a-b-c-d--");
        assert_eq!(encode(Path::new(&format!("/{}", "x".repeat(300)))).len(), 207);
    }

    #[test]
    fn trust_covers_plain_directories_below_but_no_repository() {
        let (root, home) = home();
        let work = root.path().join("work");
        fs::create_dir_all(work.join("plain")).expect("made");
        fs::create_dir_all(work.join("repository/.git")).expect("made");
        fs::create_dir_all(work.join("repository/below")).expect("made");
        assert!(!home.trusts(&work));
        home.set_trusted(&work).expect("written");
        assert!(home.trusts(&work.join("plain")));
        assert!(!home.trusts(&work.join("repository/below")));
        home.set_trusted(&work.join("repository/below")).expect("written");
        assert!(home.trusts(&work.join("repository")));
    }

    #[test]
    fn a_copied_transcript_hides_the_conversation_from_other_directories() {
        let (root, home) = home();
        for folder in ["-a", "-b"] {
            fs::create_dir_all(root.path().join("projects").join(folder)).expect("made");
        }
        fs::write(root.path().join("projects/-a/id.jsonl"), "").expect("written");
        assert!(home.find_transcript(Path::new("/a"), "id").is_some());
        assert!(home.find_transcript(Path::new("/elsewhere"), "id").is_some());
        fs::write(root.path().join("projects/-b/id.jsonl"), "").expect("written");
        assert!(home.find_transcript(Path::new("/a"), "id").is_some());
        assert!(home.find_transcript(Path::new("/elsewhere"), "id").is_none());
    }
}
