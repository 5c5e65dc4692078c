//! One message of an agent.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    host::agent::{activity::Word, report::Report},
    model::{AccountUsage, Activity, ProcessId, ReadingSource, WindowReading},
    observed::StartReport,
};

/// The largest message in bytes, as it is sent.
pub const MESSAGE_LIMIT: usize = 64 * 1024;

/// What an agent said, when, and which one it was. Sent as one JSON object; fields of a newer version are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// What was run.
    pub kind: Kind,
    /// The agent's process, with its start time: the key by which the message is attributed. `None` when it was gone by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The home that the process works under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// When the hook or the status line was run, by the wall clock.
    pub at: Timestamp,
    /// Status line: when its figures were true at the latest that is known.
    ///
    /// An idle agent repeats the figures of its last answer for as long as it lives. That answer is no older than the process (which asks
    /// once at start) and no newer than the last record of its transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// What it said.
    #[serde(default)]
    pub report: Report,
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A hook, by the CLI's name of the event.
    Hook(String),
    /// The status line.
    StatusLine,
}

impl Message {
    /// The bytes to send, at most [`MESSAGE_LIMIT`]: of a message that is larger the prompt is left out, then the paths.
    pub fn encode(&self) -> Vec<u8> {
        let smaller: [fn(&mut Self); 3] =
            [|message| message.report.prompt = None, |message| message.report.transcript = None, |message| message.home = None];
        let mut bytes = self.to_json();
        let mut message = self.clone();
        for cut in smaller {
            if bytes.len() <= MESSAGE_LIMIT {
                break;
            }
            cut(&mut message);
            bytes = message.to_json();
        }
        bytes
    }

    fn to_json(&self) -> Vec<u8> {
        // A path that is not UTF-8 is the only thing here that JSON cannot carry, and no such path is taken in.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what was sent; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MESSAGE_LIMIT { None } else { serde_json::from_slice(bytes).ok() }
    }

    /// The start that a SessionStart hook reported, with the very process that it is about.
    pub fn start_report(&self) -> Option<(ProcessId, StartReport)> {
        if self.kind != Kind::Hook("SessionStart".to_owned()) {
            return None;
        }
        let process = self.process?;
        let report = StartReport {
            pid: process.pid,
            conversation: self.report.conversation?,
            source: self.report.source.clone().unwrap_or_default(),
        };
        Some((process, report))
    }

    /// What a hook says of the agent's activity. A start says nothing: an interrupted turn may go on behind it.
    pub fn word(&self) -> Option<Word> {
        let Kind::Hook(event) = &self.kind else { return None };
        let (activity, says) = match (event.as_str(), self.report.notification.as_deref()) {
            ("UserPromptSubmit", _) => (Activity::Working, "it took a prompt".to_owned()),
            ("Stop", _) => (Activity::Idle, "its turn ended".to_owned()),
            ("StopFailure", _) => {
                let error = self.report.error.as_deref().unwrap_or("no reason given");
                (Activity::Idle, format!("its turn failed: {error}"))
            }
            ("Notification", Some("permission_prompt")) => (Activity::NeedsInput, "it asks for a permission".to_owned()),
            ("Notification", Some("idle_prompt")) => (Activity::Idle, "it waits for a prompt".to_owned()),
            _ => return None,
        };
        Some(Word { activity, says, at: self.at, since: self.at })
    }

    /// The readings of a status line, for the account that the process had at that time. `None` when it has none: an account without
    /// figures is unknown, not empty.
    pub fn usage(&self) -> Option<AccountUsage> {
        if self.kind != Kind::StatusLine || self.report.windows.is_empty() {
            return None;
        }
        let measured_at = self.answered_at.unwrap_or(self.at).min(self.at);
        let reading = |share: &crate::host::agent::report::Share| WindowReading {
            used: share.used,
            resets_at: share.resets_at,
            measured_at,
            source: ReadingSource::Statusline,
        };
        Some(AccountUsage { windows: self.report.windows.iter().map(|(kind, share)| (kind.clone(), reading(share))).collect() })
    }
}
