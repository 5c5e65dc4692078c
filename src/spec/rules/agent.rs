//! How an agent is started: command and environment.

use std::time::Duration;

use super::{Checked, Rules, quota};
use crate::spec::{
    diagnostic::{Code, Diagnostic, quoted},
    document,
    load::FieldPath,
    pool::Agent,
};

/// The variables that cannot be set for an agent, each with why; a trailing `*` stands for any ending. Of the CLI's own ones
/// (facts/claude-code.md, section 1) these are what carries an account or a token, what marks another session's child, and what breaks a
/// move. All others, such as a scratch directory, are the operator's to choose.
const MANAGED: [(&str, &str); 22] = [
    ("CLAUDE_CONFIG_DIR", "it says which account an agent runs under, which is what this program decides"),
    ("ANTHROPIC_API_KEY", "a key beats the account's login, so that every session would run under the key's owner"),
    ("ANTHROPIC_AUTH_TOKEN", BEATS_LOGIN),
    ("AWS_BEARER_TOKEN_BEDROCK", BEATS_LOGIN),
    ("CLAUDE_CODE_OAUTH_*", BEATS_LOGIN),
    ("CLAUDE_CODE_USE_*", "another provider beats the account's login, so that no session would run under its account"),
    ("CLAUDE_CODE_RESUME_*", "whether and with which words an interrupted turn goes on is a part of the move"),
    ("CLAUDE_CODE_RETRY_WATCHDOG", "with it an agent waits out a limit by itself, where the pool is to move"),
    ("CLAUDE_CODE_PROJECT_DIR_NAME", "it moves the transcripts to where they are not looked for"),
    ("CLAUDE_CODE_CHILD_SESSION", CHILD),
    ("CLAUDECODE", CHILD),
    ("CLAUDE_CODE_ENTRYPOINT", OF_ANOTHER),
    ("CLAUDE_CODE_MESSAGING_*", OF_ANOTHER),
    ("CLAUDE_CODE_SESSION_ID", OF_ANOTHER),
    ("CLAUDE_CODE_SKIP_PROMPT_HISTORY", OF_ANOTHER),
    ("CLAUDE_ENV_FILE", OF_ANOTHER),
    ("CLAUDE_PID", OF_ANOTHER),
    ("CLAUDE_PROJECT_DIR", OF_ANOTHER),
    ("AI_AGENT", OF_ANOTHER),
    ("CLAUDE_FAILOVER_*", "these variables steer this program itself"),
    ("TMUX", "tmux sets it in each pane"),
    ("TMUX_PANE", "tmux sets it in each pane"),
];
const BEATS_LOGIN: &str = "a token beats the account's login, so that every session would run under the token's owner";
const CHILD: &str = "with it the CLI takes itself for a child of another session and keeps no transcript";
const OF_ANOTHER: &str = "a session sets it for what it starts, so that its value is always another session's";

/// Why a variable cannot be set for an agent; `None` for one that can.
pub fn managed_variable(name: &str) -> Option<&'static str> {
    let is_meant = |managed: &str| managed.strip_suffix('*').map_or(name == managed, |beginning| name.starts_with(beginning));
    MANAGED.iter().find(|(managed, _)| is_meant(managed)).map(|(_, why)| *why)
}

/// Checks command, environment and grace.
pub(super) fn resolve(wanted: &document::Agent, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Agent> {
    let command_at = at.field("command");
    let command = rules.in_shape(&command_at).and_then(|()| quota::program(&wanted.command, &command_at, rules));
    for (name, value) in &wanted.environment {
        check_variable(name, value, &at.field("environment").field(name), rules);
    }
    let line_at = at.field("statusLine");
    let status_line = rules.in_shape(&line_at).and_then(|()| match wanted.status_line.as_slice() {
        [] => Ok(Vec::new()),
        command => quota::program(command, &line_at, rules),
    });
    let stop_grace = rules.duration(&wanted.stop_grace, Duration::from_secs(1), &at.field("stopGrace"));
    Ok(Agent {
        command: command?,
        permission_mode: wanted.permission_mode,
        trust_workdirs: wanted.trust_workdirs,
        environment: wanted.environment.clone(),
        status_line: status_line?,
        stop_grace: stop_grace?,
    })
}

/// Checks one variable. Its value may be a secret: it is never shown, also not with the line that it stands on.
fn check_variable(name: &str, value: &str, at: &FieldPath, rules: &mut Rules<'_>) {
    let (code, message, hint) = if let Some(why) = managed_variable(name) {
        (Code::ManagedVariable, format!("the variable {} cannot be set: {why}", quoted(name)), "remove it")
    } else if !is_variable_name(name) {
        let hint = "a name has letters, digits and _, and begins with no digit";
        (Code::BadVariable, format!("{} is no name of a variable", quoted(name)), hint)
    } else if value.chars().any(char::is_control) {
        let message = format!("the value of the variable {} holds a control character", quoted(name));
        (Code::BadVariable, message, "remove it; tmux cannot pass it on")
    } else {
        return;
    };
    let place = rules.checked.key_place_of(at).clone();
    rules.findings.report(Diagnostic::new(code, message).at(place).hint(hint).concealed());
}

/// Whether a name is one that a shell could set (POSIX.1-2017, section 8.1).
fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
