//! How an agent is started: command and environment.

use std::time::Duration;

use super::{Checked, Rules, quota};
use crate::spec::{
    diagnostic::{Code, Diagnostic, quoted},
    document,
    load::FieldPath,
    pool::Agent,
};

/// Why a variable cannot be given: (name, whether the name is a prefix, why). The CLI's variables are those of `facts/claude-code.md`,
/// section 1.
const MANAGED: [(&str, bool, &str); 9] = [
    ("CLAUDE_CONFIG_DIR", false, "it says which account an agent runs under, which is what this program decides"),
    ("ANTHROPIC_API_KEY", false, "a key beats the account's login, so that every session would run under the key's owner"),
    ("ANTHROPIC_AUTH_TOKEN", false, "a token beats the account's login, so that every session would run under the token's owner"),
    ("CLAUDE_CODE_", true, "the CLI's own variables are removed and set by this program, so that no session inherits another one's"),
    ("CLAUDECODE", false, "with it the CLI takes itself for a child of another session and keeps no transcript"),
    ("CLAUDE_PID", false, "it names the process of another session"),
    ("CLAUDE_FAILOVER_", true, "these variables steer this program itself"),
    ("TMUX", false, "tmux sets it in each pane"),
    ("TMUX_PANE", false, "tmux sets it in each pane"),
];

/// Checks command, environment and grace.
pub(super) fn resolve(wanted: &document::Agent, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Agent> {
    let command_at = at.field("command");
    let command = rules.in_shape(&command_at).and_then(|()| quota::program(&wanted.command, &command_at, rules));
    for (name, value) in &wanted.environment {
        check_variable(name, value, &at.field("environment").field(name), rules);
    }
    let stop_grace = rules.duration(&wanted.stop_grace, Duration::from_secs(1), &at.field("stopGrace"));
    Ok(Agent {
        command: command?,
        permission_mode: wanted.permission_mode,
        trust_workdirs: wanted.trust_workdirs,
        environment: wanted.environment.clone(),
        stop_grace: stop_grace?,
    })
}

/// Checks one variable. Its value may be a secret: it is never shown, also not with the line that it stands on.
fn check_variable(name: &str, value: &str, at: &FieldPath, rules: &mut Rules<'_>) {
    let managed = MANAGED.iter().find(|(managed, prefix, _)| if *prefix { name.starts_with(managed) } else { name == *managed });
    let (code, message, hint) = if let Some((_, _, why)) = managed {
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
