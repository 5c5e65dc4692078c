//! Whether a home has a login, and until when. Logins are made by people with the official CLI; we only look.
//!
//! # Guarantees
//! Of `.credentials.json` only dates are kept, and whether a token is empty. The bytes that were read are wiped. No error quotes them.
//!
//! # Does not
//! Refresh, copy or send a token. `claude auth status` may refresh one by itself, in its own home (facts/claude-code.md, section 8).

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid as Group,
};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer, de::Visitor};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::observed::LoginView;

use super::{AgentError, file, json};

/// The file has about 1 KiB, more with logins of tool servers.
const LIMIT: u64 = 1024 * 1024;
/// How long `claude auth status` may take: 0.3 s and a refresh over the network, and much longer on a host that is busy with starts.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const ANSWER: u64 = 64 * 1024;

/// The login as the home's own file shows it: present and not over is [`LoginView::Valid`]. Whether the other side still accepts it, only
/// [`ask`] can tell.
///
/// # Errors
/// [`AgentError::Malformed`] for a file that is half written or of another shape, [`AgentError::NotRegular`] for a symlink (two homes with
/// one login log each other out), [`AgentError::TooLarge`] and [`AgentError::Io`].
pub fn read(home: &Path, now: Timestamp) -> Result<LoginView, AgentError> {
    let path = home.join(".credentials.json");
    let Some((bytes, _)) = file::read(&path, LIMIT)? else { return Ok(LoginView::Missing) };
    let bytes = Zeroizing::new(bytes);
    let credentials: Credentials = serde_json::from_slice(&bytes).map_err(AgentError::json(&path))?;
    Ok(credentials.login.map_or(LoginView::Missing, |login| login.view(now)))
}

/// The part of `.credentials.json` that may be looked at (section 2).
#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "claudeAiOauth")]
    login: Option<Login>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Login {
    access_token: Filled,
    refresh_token: Filled,
    expires_at: Option<f64>,
    refresh_token_expires_at: Option<f64>,
}

impl Login {
    fn view(&self, now: Timestamp) -> LoginView {
        // A login that renews itself lasts as long as its refresh token does.
        let ends = match (self.refresh_token.0, self.access_token.0) {
            (true, _) => self.refresh_token_expires_at,
            (false, true) => self.expires_at,
            // What the CLI leaves of a login whose renewal was refused: its dates, and no token (section 8).
            (false, false) if self.expires_at.is_some() => return LoginView::Dead { reason: "its renewal was refused".to_owned() },
            (false, false) => return LoginView::Missing,
        };
        let expires_at = ends.and_then(|ends| json::instant(&Value::from(ends)));
        match expires_at {
            Some(ended) if ended <= now => LoginView::Dead { reason: format!("the login ended at {ended}") },
            expires_at => LoginView::Valid { expires_at },
        }
    }
}

/// Whether a field holds a text that is not empty. The text itself is never taken over.
#[derive(Default)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Filled;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text or nothing")
            }
            fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
                Ok(Filled(!text.is_empty()))
            }
            fn visit_unit<E>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }
            fn visit_none<E>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Filled, D::Error> {
                deserializer.deserialize_str(self)
            }
        }
        deserializer.deserialize_option(Look)
    }
}

/// What the CLI itself says of the login of `home`: `claude auth status`, without a request to a model. It renews a login whose access
/// token has passed, so a `Valid` answer means that the login works.
///
/// `environment` is the whole environment, from [`super::launch::probe_environment`]; `program` from [`super::launch::resolve_program`].
/// The command is killed with its children at the deadline of 30 s and when the future is dropped.
///
/// # Errors
/// [`AgentError::TimedOut`], [`AgentError::Answer`] and [`AgentError::Io`]: then nothing is known of the login.
pub async fn ask(program: &Path, home: &Path, environment: &BTreeMap<OsString, OsString>) -> Result<LoginView, AgentError> {
    ask_within(program, home, environment, DEADLINE).await
}

async fn ask_within(
    program: &Path,
    home: &Path,
    environment: &BTreeMap<OsString, OsString>,
    deadline: Duration,
) -> Result<LoginView, AgentError> {
    if !home.is_dir() {
        return Ok(LoginView::Missing);
    }
    let command = || format!("{} auth status", program.display());
    let mut child = Command::new(program)
        .args(["auth", "status"])
        .env_clear()
        .envs(environment)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(AgentError::io("start", program))?;
    // Declared after the child, so dropped before it: the number is the child's as long as nobody has waited for it.
    let group = child.id().map(|id| KillGroup(Group::from_raw(id.cast_signed())));
    let mut output = child.stdout.take().map(|output| output.take(ANSWER));
    let mut answer = Vec::new();
    let conversation = async {
        if let Some(output) = &mut output {
            output.read_to_end(&mut answer).await?;
        }
        // A program that goes on writing gets a closed pipe.
        drop(output.take());
        child.wait().await
    };
    let status = match tokio::time::timeout(deadline, conversation).await {
        Ok(ended) => ended.map_err(AgentError::io("run", program))?,
        Err(_) => return Err(AgentError::TimedOut { command: command(), after: deadline }),
    };
    if let Some(group) = group {
        // Its number is free for others from here on.
        group.disarm();
    }
    understand(&answer, status, command)
}

/// Kills a command with all that it started in its process group, when the deadline passes or the future is dropped.
struct KillGroup(Group);

impl KillGroup {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        // ESRCH: nobody is left, which is what is wanted.
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

fn understand(answer: &[u8], status: ExitStatus, command: impl FnOnce() -> String) -> Result<LoginView, AgentError> {
    let problem = match serde_json::from_slice::<Value>(answer) {
        Ok(answer) => match answer["loggedIn"].as_bool() {
            Some(true) => return Ok(LoginView::Valid { expires_at: json::instant(&answer["loginExpiresAt"]) }),
            Some(false) => return Ok(LoginView::Missing),
            None => "the field loggedIn is missing".to_owned(),
        },
        Err(error) => json::problem(&error),
    };
    Err(AgentError::Answer { command: command(), status: status.to_string(), problem })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        host::process,
        model::{Pid, ProcessId},
    };

    const NOW: &str = "2026-11-22T10:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().expect("an instant")
    }

    fn read_as(content: &str) -> Result<LoginView, AgentError> {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join(".credentials.json"), content).expect("written");
        read(home.path(), now())
    }

    #[test]
    fn a_login_is_judged_by_its_dates() {
        let hour = Duration::from_hours(1);
        let (past, ahead) = (now() - hour, now() + hour);
        for (tokens, access_ends, login_ends, expected) in [
            ("full", past, Some(ahead), LoginView::Valid { expires_at: Some(ahead) }),
            ("full", ahead, Some(past), LoginView::Dead { reason: "the login ended at 2026-11-22T09:00:00Z".to_owned() }),
            ("full", past, None, LoginView::Valid { expires_at: None }),
            ("access", ahead, None, LoginView::Valid { expires_at: Some(ahead) }),
            ("access", past, None, LoginView::Dead { reason: "the login ended at 2026-11-22T09:00:00Z".to_owned() }),
            // What the CLI leaves behind when a renewal was refused.
            ("none", Timestamp::UNIX_EPOCH, Some(ahead), LoginView::Dead { reason: "its renewal was refused".to_owned() }),
        ] {
            let access = if tokens == "none" { "" } else { "sk-secret-a" };
            let refresh = if tokens == "full" { "sk-secret-r" } else { "" };
            let content = serde_json::json!({ "claudeAiOauth": {
                "accessToken": access, "refreshToken": refresh, "expiresAt": access_ends.as_millisecond(),
                "refreshTokenExpiresAt": login_ends.map(Timestamp::as_millisecond), "scopes": ["user:inference"],
            }, "mcpOAuth": {} });
            assert_eq!(read_as(&content.to_string()).expect("understood"), expected, "{content}");
        }
        assert_eq!(read_as("{}").expect("understood"), LoginView::Missing);
        assert_eq!(read_as(r#"{"claudeAiOauth":{"accessToken":null}}"#).expect("understood"), LoginView::Missing);
        let home = tempfile::tempdir().expect("a directory");
        assert_eq!(read(home.path(), now()).expect("nothing there"), LoginView::Missing);
    }

    #[test]
    fn no_error_and_no_view_shows_a_token() {
        for odd in [
            r#""sk-secret""#,
            r#"{"claudeAiOauth":"sk-secret"}"#,
            r#"{"claudeAiOauth":{"accessToken":["sk-secret"]}}"#,
            r#"{"claudeAiOauth":{"expiresAt":"sk-secret"}}"#,
            r#"{"claudeAiOauth":{"accessToken":"sk-secret"#,
        ] {
            let error = read_as(odd).expect_err(odd);
            let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(matches!(error, AgentError::Malformed { .. }) && !shown.contains("secret"), "{shown}");
        }
        let view = read_as(r#"{"claudeAiOauth":{"accessToken":"sk-secret","refreshToken":"sk-secret"}}"#).expect("understood");
        assert_eq!(view, LoginView::Valid { expires_at: None });
    }

    #[test]
    fn a_linked_login_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("real"), "{}").expect("written");
        std::os::unix::fs::symlink(home.path().join("real"), home.path().join(".credentials.json")).expect("linked");
        assert!(matches!(read(home.path(), now()), Err(AgentError::NotRegular { .. })));
    }

    /// Asks a shell in the place of the CLI: `sh auth status` runs the script `auth` of the directory that it is started in.
    async fn ask_script(script: &str, deadline: Duration) -> (tempfile::TempDir, Result<LoginView, AgentError>) {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("auth"), script).expect("written");
        let inherited = [("PATH", "/usr/bin:/bin"), ("ANTHROPIC_API_KEY", "x")].map(|(name, value)| (name.into(), value.into()));
        let environment = super::super::launch::probe_environment(inherited, &BTreeMap::new(), home.path());
        let answer = ask_within(Path::new("/bin/sh"), home.path(), &environment, deadline).await;
        (home, answer)
    }

    #[tokio::test]
    async fn the_cli_is_asked_in_its_home_and_without_inherited_variables() {
        let script = r#"[ "$0 $*" = "auth status" ] && [ "$CLAUDE_CONFIG_DIR" = "$PWD" ] && [ -z "$ANTHROPIC_API_KEY" ] || exit 9
            echo '{"loggedIn":true,"loginExpiresAt":"2026-12-20T00:00:00.000Z","email":"a@b.c"}'"#;
        let (_home, answer) = ask_script(script, DEADLINE).await;
        let expires_at = Some("2026-12-20T00:00:00Z".parse().expect("an instant"));
        assert_eq!(answer.expect("understood"), LoginView::Valid { expires_at });
        assert_eq!(ask(Path::new("/bin/sh"), Path::new("/absent"), &BTreeMap::new()).await.expect("known"), LoginView::Missing);
        let (_home, answer) = ask_script(r#"echo '{"loggedIn":false,"authMethod":"none"}'; exit 1"#, DEADLINE).await;
        assert_eq!(answer.expect("understood"), LoginView::Missing);
    }

    #[tokio::test]
    async fn another_answer_is_an_error_that_does_not_quote_it() {
        for script in ["echo sk-secret; exit 3", "exit 3", "echo '{}'; exit 3"] {
            let (_home, answer) = ask_script(script, DEADLINE).await;
            let error = answer.expect_err(script);
            assert!(matches!(error, AgentError::Answer { .. }) && !error.to_string().contains("secret"), "{error}");
            assert!(error.to_string().contains("exit status: 3"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let (_home, answer) = ask_script("exec yes", DEADLINE).await;
        assert!(matches!(answer, Err(AgentError::Answer { .. })), "{answer:?}");
    }

    /// The script's child holds the pipe open and would outlive it.
    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let script = "sleep 600 & echo $! > child; echo $$ > parent; wait";
        // Long enough for the script to have begun; that it did is checked below.
        let (home, answer) = ask_script(script, Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(AgentError::TimedOut { .. })), "{answer:?}");
        let left: Vec<Left> = ["child", "parent"].map(|file| Left::of(&home.path().join(file))).into();
        let all_gone = async {
            while left.iter().any(Left::lives) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, all_gone).await.expect("the processes are gone");
    }

    /// What the hanging script may have left behind; ended with the test, also when it fails.
    struct Left(Pid, Option<ProcessId>);

    impl Left {
        fn of(file: &Path) -> Self {
            let pid = Pid(fs::read_to_string(file).expect("it began").trim().parse().expect("a number"));
            Self(pid, process::identity(pid).expect("readable"))
        }

        fn lives(&self) -> bool {
            self.1.is_some() && process::identity(self.0).expect("readable") == self.1
        }
    }

    impl Drop for Left {
        fn drop(&mut self) {
            if self.lives() {
                let _ = nix::sys::signal::kill(Group::from_raw(self.0.0), Signal::SIGKILL);
            }
        }
    }
}
