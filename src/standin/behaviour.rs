//! `stand-in.json`: how an account behaves. The module docs of [`super`] have the table.

use std::{collections::BTreeMap, fs, io, path::PathBuf, time::SystemTime};

use jiff::Timestamp;
use serde::Deserialize;

use super::Error;

/// The file's content.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Behaviour {
    pub(super) usage: Usage,
    pub(super) limit: Option<Limit>,
    pub(super) login: Login,
    pub(super) login_expires_at: Option<String>,
    pub(super) turn_millis: u64,
    pub(super) startup_millis: u64,
    pub(super) cpu_millis: u64,
    pub(super) register_delay_millis: u64,
    pub(super) exit_millis: u64,
    pub(super) stubborn: bool,
    pub(super) refuse_resume: bool,
    pub(super) blank_conversation: bool,
    pub(super) crash: Option<Crash>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            usage: Usage::default(),
            limit: None,
            login: Login::Ok,
            login_expires_at: None,
            turn_millis: 50,
            startup_millis: 0,
            cpu_millis: 0,
            register_delay_millis: 0,
            exit_millis: 0,
            stubborn: false,
            refuse_resume: false,
            blank_conversation: false,
            crash: None,
        }
    }
}

impl Behaviour {
    /// The limit that a turn runs into now; one whose reset has passed is over.
    pub(super) fn limit_at(&self, now: Timestamp) -> Option<&Limit> {
        self.limit.as_ref().filter(|limit| limit.resets_at > now.as_second())
    }
}

/// The windows of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Usage {
    pub(super) five_hour: Option<Window>,
    pub(super) weekly: Option<Window>,
    /// Weekly windows of single models, by display name.
    pub(super) models: BTreeMap<String, Window>,
}

/// One window.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Window {
    pub(super) used_percent: f64,
    /// Epoch seconds.
    pub(super) resets_at: Option<i64>,
}

/// A limit that each turn hits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Limit {
    /// In the words of `quotaLimits.rateLimitType`.
    pub(super) window: String,
    /// Epoch seconds.
    pub(super) resets_at: i64,
}

/// The state of the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Login {
    /// It works.
    Ok,
    /// There is none.
    Missing,
    /// The server no longer takes it.
    Dead,
}

/// When the process ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Crash {
    AtStart,
    AfterStart,
}

/// The file with what was last read of it.
pub(super) struct BehaviourFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    held: Behaviour,
}

impl BehaviourFile {
    /// Reads the file; an absent one means the defaults.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let mut file = Self { path, seen: None, held: Behaviour::default() };
        file.refresh()?;
        Ok(file)
    }

    /// What was last read.
    pub(super) fn get(&self) -> &Behaviour {
        &self.held
    }

    /// Reads the file again if it has changed. A file that cannot be understood changes nothing: it may be half written, and is looked
    /// at again next time.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let seen = match fs::metadata(&self.path) {
            Ok(data) => Some((data.modified().unwrap_or(SystemTime::UNIX_EPOCH), data.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Io { what: format!("look at {}", self.path.display()), source }),
        };
        if seen == self.seen {
            return Ok(());
        }
        self.held = if seen.is_some() {
            let text = fs::read(&self.path).map_err(Error::io(format!("read {}", self.path.display())))?;
            serde_json::from_slice(&text).map_err(|source| Error::Malformed { path: self.path.clone(), source })?
        } else {
            Behaviour::default()
        };
        self.seen = seen;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_an_error() {
        assert!(serde_json::from_str::<Behaviour>(r#"{"exitMilis":5}"#).is_err());
        assert!(serde_json::from_str::<Behaviour>(r#"{"crash":"sometimes"}"#).is_err());
    }

    #[test]
    fn the_documented_example_is_read() {
        let text = r#"{"usage":{"fiveHour":{"usedPercent":91.5,"resetsAt":1795353946},"models":{"Fable":{"usedPercent":3}}},
            "limit":{"window":"five_hour","resetsAt":100},"login":"dead","crash":"after-start","stubborn":true}"#;
        let behaviour: Behaviour = serde_json::from_str(text).expect("valid");
        assert_eq!(behaviour.login, Login::Dead);
        assert_eq!(behaviour.crash, Some(Crash::AfterStart));
        assert_eq!(behaviour.usage.five_hour.expect("given").resets_at, Some(1_795_353_946));
        assert_eq!(behaviour.turn_millis, 50);
    }

    #[test]
    fn a_limit_ends_with_its_reset() {
        let behaviour = Behaviour { limit: Some(Limit { window: "five_hour".to_owned(), resets_at: 100 }), ..Behaviour::default() };
        assert!(behaviour.limit_at(Timestamp::from_second(99).expect("valid")).is_some());
        assert!(behaviour.limit_at(Timestamp::from_second(100).expect("valid")).is_none());
    }
}
