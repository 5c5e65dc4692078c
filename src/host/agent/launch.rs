//! What is executed for an agent: program, arguments and environment.
//!
//! # Guarantees
//! The account's real home, the conversation and the permission mode are always passed. A token is never passed.
//!
//! # Assumes
//! Variables can only be added here, never taken away: tmux has no option for that. That no variable of [`SCRUBBED`] reaches an agent by
//! inheritance is guaranteed by the tmux server, which is started with a clean environment (facts/tmux.md, section 6).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::{
    host::process::Exec,
    plan::{Launch, LaunchMode},
    spec::managed_variable,
};

use super::AgentError;

/// The variable that names the account's home.
pub const HOME_VARIABLE: &str = "CLAUDE_CONFIG_DIR";

/// The variable that names the session to the agent's hooks.
pub const SESSION_VARIABLE: &str = "CLAUDE_FAILOVER_SESSION";

/// Variables that an agent must not inherit; a trailing `*` stands for any ending.
///
/// They carry an account, a token or the marks of another agent that we may have been started from: with `CLAUDE_CODE_CHILD_SESSION` an
/// agent keeps no transcript at all (facts/claude-code.md, section 1).
pub const SCRUBBED: [&str; 4] = ["AI_AGENT", "CLAUDECODE", "CLAUDE_*", "ANTHROPIC_*"];

/// Set unless the operator sets them otherwise: one CLI version for a whole swap, scrollback that tmux can keep, and nothing in or above
/// the input box that looks like a draft (facts/claude-code.md, section 1).
const DEFAULTS: [(&str, &str); 5] = [
    ("CLAUDE_CODE_DISABLE_ALTERNATE_SCREEN", "1"),
    ("CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY", "1"),
    ("CLAUDE_CODE_ENABLE_AWAY_SUMMARY", "0"),
    ("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", "false"),
    ("DISABLE_AUTOUPDATER", "1"),
];

/// Whether a variable must not be inherited; see [`SCRUBBED`].
pub fn is_scrubbed(variable: &str) -> bool {
    SCRUBBED.iter().any(|pattern| pattern.strip_suffix('*').map_or(variable == *pattern, |beginning| variable.starts_with(beginning)))
}

/// What to execute for `launch`. `settings` is the file of [`super::settings`], `program` comes from [`resolve_program`].
///
/// # Errors
/// [`AgentError::NotUtf8`] for a path that cannot stand in an argument.
pub fn exec(launch: &Launch, settings: &Path, program: PathBuf) -> Result<Exec, AgentError> {
    let conversation_flag = match launch.mode {
        LaunchMode::Fresh => "--session-id",
        LaunchMode::Resume => "--resume",
    };
    let mut arguments: Vec<String> = launch.command.iter().skip(1).cloned().collect();
    arguments.extend([
        conversation_flag.to_owned(),
        launch.conversation.to_string(),
        "--permission-mode".to_owned(),
        launch.permission_mode.as_str().to_owned(),
        "--settings".to_owned(),
        utf8(settings)?.to_owned(),
    ]);

    let mut environment: BTreeMap<String, String> = DEFAULTS.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    environment.extend(operator_variables(&launch.environment));
    // An interrupted turn goes on by itself after the move, without a key being typed (section 6).
    environment.insert("CLAUDE_CODE_RESUME_INTERRUPTED_TURN".to_owned(), "1".to_owned());
    environment.insert(HOME_VARIABLE.to_owned(), utf8(&launch.home)?.to_owned());
    environment.insert(SESSION_VARIABLE.to_owned(), launch.session.to_string());

    Ok(Exec { program, arguments, workdir: launch.workdir.clone(), environment })
}

/// The whole environment of a short command of the CLI that asks about `home`: what we inherited without [`SCRUBBED`], the operator's
/// variables, and the home. Meant for a process that is started with a cleared environment.
pub fn probe_environment(
    inherited: impl IntoIterator<Item = (OsString, OsString)>,
    operator: &BTreeMap<String, String>,
    home: &Path,
) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<OsString, OsString> =
        inherited.into_iter().filter(|(name, _)| name.to_str().is_none_or(|name| !is_scrubbed(name))).collect();
    environment.extend(operator_variables(operator).map(|(name, value)| (name.into(), value.into())));
    environment.insert("DISABLE_AUTOUPDATER".into(), "1".into());
    environment.insert(HOME_VARIABLE.into(), home.into());
    environment
}

fn operator_variables(variables: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    // The spec refuses these; what comes here by another way is left out.
    variables.iter().filter(|(name, _)| managed_variable(name).is_none()).map(|(name, value)| (name.clone(), value.clone()))
}

/// The absolute path of the command's program: as given when it is absolute, else the first match in the absolute directories of
/// `path_variable`. A symlink is kept as it is, since version managers switch it.
///
/// # Errors
/// [`AgentError::NoCommand`], [`AgentError::RelativeProgram`], [`AgentError::ProgramNotFound`] or [`AgentError::NotExecutable`].
pub fn resolve_program(command: &[String], path_variable: &OsStr) -> Result<PathBuf, AgentError> {
    let Some(name) = command.first().filter(|name| !name.is_empty()) else { return Err(AgentError::NoCommand) };
    let given = Path::new(name);
    if given.is_absolute() {
        return if is_executable(given) { Ok(given.to_owned()) } else { Err(AgentError::NotExecutable { path: given.to_owned() }) };
    }
    if name.contains('/') {
        return Err(AgentError::RelativeProgram { command: name.clone() });
    }
    std::env::split_paths(path_variable)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| AgentError::ProgramNotFound { command: name.clone(), searched: path_variable.to_string_lossy().into_owned() })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// A path as a text that the agent gets back byte for byte.
pub(super) fn utf8(path: &Path) -> Result<&str, AgentError> {
    path.to_str().ok_or_else(|| AgentError::NotUtf8 { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{AccountName, ConversationId, SessionName},
        spec::PermissionMode,
    };

    fn launch(mode: LaunchMode, environment: &[(&str, &str)]) -> Launch {
        Launch {
            session: SessionName::new("a").expect("valid"),
            account: AccountName::new("primary").expect("valid"),
            home: "/homes/primary".into(),
            workdir: "/work".into(),
            command: vec!["claude".into(), "--model".into(), "opus".into()],
            permission_mode: PermissionMode::AcceptEdits,
            environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            conversation: ConversationId(Uuid::from_u128(7)),
            mode,
            size: (200, 50),
            needs: Vec::new(),
        }
    }

    #[test]
    fn a_fresh_start_chooses_the_conversation_and_a_later_one_resumes_it() {
        let common = "--permission-mode acceptEdits --settings /state/settings.json";
        for (mode, flag) in [(LaunchMode::Fresh, "--session-id"), (LaunchMode::Resume, "--resume")] {
            let exec = exec(&launch(mode, &[]), Path::new("/state/settings.json"), "/bin/claude".into()).expect("plain paths");
            let expected = format!("--model opus {flag} 00000000-0000-0000-0000-000000000007 {common}");
            assert_eq!(exec.arguments.join(" "), expected);
            assert_eq!((exec.program, exec.workdir), ("/bin/claude".into(), "/work".into()));
        }
    }

    #[test]
    fn the_operator_can_add_and_override_but_not_take_over() {
        let operator = [
            ("HTTPS_PROXY", "http://127.0.0.1:1"),
            ("DISABLE_AUTOUPDATER", "0"),
            ("CLAUDE_CONFIG_DIR", "/elsewhere"),
            ("CLAUDE_CODE_MESSAGING_SOCKET", "/s"),
            ("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "0"),
            ("ANTHROPIC_API_KEY", "a token"),
        ];
        let exec = exec(&launch(LaunchMode::Resume, &operator), Path::new("/s.json"), "/bin/claude".into()).expect("plain paths");
        let expected = [
            ("CLAUDE_CODE_DISABLE_ALTERNATE_SCREEN", "1"),
            ("CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY", "1"),
            ("CLAUDE_CODE_ENABLE_AWAY_SUMMARY", "0"),
            ("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", "false"),
            ("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1"),
            ("CLAUDE_CONFIG_DIR", "/homes/primary"),
            ("CLAUDE_FAILOVER_SESSION", "a"),
            ("DISABLE_AUTOUPDATER", "0"),
            ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ];
        assert_eq!(exec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_that_would_be_garbled_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = Path::new(OsStr::from_bytes(b"/s\xff"));
        assert!(matches!(exec(&launch(LaunchMode::Fresh, &[]), odd, "/bin/claude".into()), Err(AgentError::NotUtf8 { .. })));
    }

    #[test]
    fn a_probe_inherits_nothing_of_the_cli() {
        let inherited = [
            ("PATH", "/bin"),
            ("CLAUDECODE", "1"),
            ("CLAUDE_CODE_CHILD_SESSION", "1"),
            ("ANTHROPIC_API_KEY", "x"),
            ("CLAUDE_CONFIG_DIR", "/a"),
        ];
        let inherited = inherited.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let operator = BTreeMap::from([("ANTHROPIC_BASE_URL".to_owned(), "http://127.0.0.1:2".to_owned())]);
        let names: Vec<_> = probe_environment(inherited, &operator, Path::new("/b")).into_iter().collect();
        let expected =
            [("ANTHROPIC_BASE_URL", "http://127.0.0.1:2"), ("CLAUDE_CONFIG_DIR", "/b"), ("DISABLE_AUTOUPDATER", "1"), ("PATH", "/bin")];
        assert_eq!(names, expected.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    }

    #[test]
    fn what_a_session_sets_for_its_children_is_neither_inherited_nor_set_by_an_operator() {
        for name in ["CLAUDECODE", "CLAUDE_PID", "CLAUDE_ENV_FILE", "CLAUDE_CODE_CHILD_SESSION", "CLAUDE_CODE_OAUTH_TOKEN", "AI_AGENT"] {
            assert!(is_scrubbed(name) && managed_variable(name).is_some(), "{name}");
        }
        assert!(!is_scrubbed("CLAUDE") && !is_scrubbed("PATH"));
        // An operator may set what the pool does not decide; what another program has set for itself stays out all the same.
        assert!(is_scrubbed("CLAUDE_CODE_TMPDIR") && managed_variable("CLAUDE_CODE_TMPDIR").is_none());
    }

    #[test]
    fn a_program_is_an_executable_file_at_an_absolute_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        for place in [&first, &second] {
            fs::create_dir(place).expect("made");
            fs::write(place.join("agent"), b"#!/bin/sh\n").expect("written");
        }
        fs::set_permissions(second.join("agent"), fs::Permissions::from_mode(0o755)).expect("executable");
        let path = std::env::join_paths([Path::new("relative"), &first, &second]).expect("joined");
        let resolve = |name: &str| resolve_program(&[name.to_owned()], &path);

        assert_eq!(resolve("agent").expect("found"), second.join("agent"), "the first one cannot be executed");
        assert_eq!(resolve(second.join("agent").to_str().expect("UTF-8")).expect("found"), second.join("agent"));
        assert!(matches!(resolve(first.join("agent").to_str().expect("UTF-8")), Err(AgentError::NotExecutable { .. })));
        assert!(matches!(resolve("absent"), Err(AgentError::ProgramNotFound { .. })));
        assert!(matches!(resolve("./agent"), Err(AgentError::RelativeProgram { .. })));
        assert!(matches!(resolve_program(&[], &path), Err(AgentError::NoCommand)));
    }
}
