//! The CLI's command line.

use std::iter::Peekable;

use uuid::Uuid;

use super::Error;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// `--version`
    Version,
    /// `auth status`
    AuthStatus,
    /// `-p PROMPT`
    Print(String),
    /// Everything else.
    Session(Start),
}

/// How a session starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) conversation: Conversation,
    /// A file, or the JSON itself.
    pub(super) settings: Option<String>,
    pub(super) permission_mode: Option<String>,
    pub(super) prompt: Option<String>,
}

/// Which conversation a session opens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Conversation {
    /// A new one, with an id of its own choice.
    #[default]
    Any,
    /// `--session-id`
    New(Uuid),
    /// `--resume`
    Resume(Uuid),
}

/// Flags with a value that mean nothing here.
const IGNORED_WITH_VALUE: [&str; 9] = [
    "--model",
    "--name",
    "-n",
    "--output-format",
    "--setting-sources",
    "--mcp-config",
    "--add-dir",
    "--append-system-prompt",
    "--fallback-model",
];

/// Flags without a value that mean nothing here.
const IGNORED: [&str; 5] =
    ["--safe-mode", "--no-session-persistence", "--verbose", "--strict-mcp-config", "--dangerously-skip-permissions"];

/// Reads the CLI's arguments, without a program name.
pub(super) fn parse(arguments: impl Iterator<Item = String>) -> Result<Invocation, Error> {
    let mut arguments = arguments.peekable();
    let mut start = Start::default();
    let mut print = false;
    if arguments.peek().is_some_and(|word| word == "auth") {
        return match arguments.nth(1).as_deref() {
            Some("status") => Ok(Invocation::AuthStatus),
            other => Err(Error::Usage(format!("unknown command 'auth {}'", other.unwrap_or_default()))),
        };
    }
    while let Some(argument) = arguments.next() {
        // `--flag=value` is `--flag value`.
        let (flag, given) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        match flag {
            "--version" | "-v" => return Ok(Invocation::Version),
            "-p" | "--print" => print = true,
            "--session-id" => {
                let id = value(flag, given, &mut arguments)?;
                start.conversation = Conversation::New(Uuid::parse_str(&id).map_err(|_| Error::InvalidId)?);
            }
            "--resume" | "-r" => {
                let id = value(flag, given, &mut arguments)?;
                start.conversation = Conversation::Resume(Uuid::parse_str(&id).map_err(|_| Error::NoConversation(id))?);
            }
            "--settings" => start.settings = Some(value(flag, given, &mut arguments)?),
            "--permission-mode" => start.permission_mode = Some(value(flag, given, &mut arguments)?),
            _ if IGNORED_WITH_VALUE.contains(&flag) => drop(value(flag, given, &mut arguments)?),
            _ if IGNORED.contains(&flag) => {}
            _ if flag.starts_with('-') => return Err(Error::Usage(format!("unknown option '{flag}'"))),
            _ if start.prompt.is_none() => start.prompt = Some(argument),
            _ => return Err(Error::Usage(format!("too many arguments: '{argument}'"))),
        }
    }
    if !print {
        return Ok(Invocation::Session(start));
    }
    start
        .prompt
        .map(Invocation::Print)
        .ok_or_else(|| Error::Usage("Input must be provided either through stdin or as a prompt argument when using --print".to_owned()))
}

/// A flag's value: behind its `=`, or the next argument.
fn value(flag: &str, given: Option<String>, rest: &mut Peekable<impl Iterator<Item = String>>) -> Result<String, Error> {
    given.or_else(|| rest.next()).ok_or_else(|| Error::Usage(format!("option '{flag}' argument missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Invocation, Error> {
        parse(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn a_session_is_told_by_its_flags_and_its_prompt() {
        let id = Uuid::from_u128(7);
        let words = ["--session-id", &id.to_string(), "--settings=/s.json", "--permission-mode", "plan", "--verbose", "say hello"];
        let expected = Start {
            conversation: Conversation::New(id),
            settings: Some("/s.json".to_owned()),
            permission_mode: Some("plan".to_owned()),
            prompt: Some("say hello".to_owned()),
        };
        assert_eq!(parsed(&words).expect("valid"), Invocation::Session(expected));
    }

    #[test]
    fn the_other_forms_are_known() {
        assert_eq!(parsed(&["--version"]).expect("valid"), Invocation::Version);
        assert_eq!(parsed(&["auth", "status"]).expect("valid"), Invocation::AuthStatus);
        let usage = ["-p", "/usage", "--safe-mode", "--no-session-persistence", "--output-format", "json"];
        assert_eq!(parsed(&usage).expect("valid"), Invocation::Print("/usage".to_owned()));
    }

    #[test]
    fn what_the_cli_refuses_is_refused() {
        for bad in
            [&["--resume"][..], &["--session-id", "nonsense"], &["--resume", "nonsense"], &["--frobnicate"], &["auth", "login"], &["-p"]]
        {
            assert!(parsed(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
