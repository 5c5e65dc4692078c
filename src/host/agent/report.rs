//! What the CLI says of itself: the JSON that it hands to our hooks and to our status line (facts/claude-code.md, section 4).
//!
//! Only what is used is kept, and every text is cut: no tool input, no answer of the agent, no token goes further.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{ConversationId, Percent, WindowKind};

use super::{
    json,
    tail::{context_tokens, window_kind},
};

/// The variable that names the agent's process in the environment of its hooks.
pub const PID_VARIABLE: &str = "CLAUDE_PID";

/// The longest word that is kept, in bytes.
const WORD: usize = 256;
/// The longest path (PATH_MAX); a longer one names nothing.
const PATH: usize = 4096;
/// How much is kept of each end of a prompt, in bytes.
const PROMPT_END: usize = 2048;
/// More windows than an account has.
const WINDOWS: usize = 16;

/// The parts of one body that we use. What is absent, or of another type than expected, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// `session_id`: the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationId>,
    /// SessionStart: `startup`, `resume`, `clear`, `compact` or `fork`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Notification: `permission_prompt`, `idle_prompt` or a newer word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<String>,
    /// StopFailure: `rate_limit`, `authentication_failed`, `overloaded` or a newer word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// SessionEnd: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// UserPromptSubmit: the prompt, or its first and last 2 KiB with ` … ` between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The transcript, under the process's own home, links not resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<PathBuf>,
    /// Where the agent is. It goes no further: only the hook itself needs it.
    #[serde(skip)]
    pub cwd: Option<PathBuf>,
    /// Tokens in the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// The usage windows of the account; one that has not begun is absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub windows: BTreeMap<WindowKind, Share>,
}

/// How much of a window is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The share.
    pub used: Percent,
    /// When the window begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
}

impl Report {
    /// Reads the body of a hook or of the status line; one that is not JSON says nothing.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let word = |field: &str| json::text(&body[field], WORD);
        let path = |field: &str| body[field].as_str().filter(|path| path.len() <= PATH).map(PathBuf::from);
        Self {
            conversation: body["session_id"].as_str().and_then(|id| id.parse().ok()).map(ConversationId),
            source: word("source"),
            notification: word("notification_type"),
            error: word("error"),
            reason: word("reason"),
            prompt: body["prompt"].as_str().map(both_ends),
            transcript: path("transcript_path"),
            cwd: path("cwd"),
            context_tokens: body["context_tokens"].as_u64().or_else(|| context_tokens(&body["context_window"]["current_usage"])),
            windows: body["rate_limits"].as_object().into_iter().flatten().filter_map(window).take(WINDOWS).collect(),
        }
    }
}

fn window((word, share): (&String, &Value)) -> Option<(WindowKind, Share)> {
    let used = Percent::new(share["used_percentage"].as_f64()?).ok()?;
    Some((window_kind(word)?, Share { used, resets_at: json::instant(&share["resets_at"]) }))
}

/// A mark at the beginning or at the end of a prompt is kept, however long the prompt is.
fn both_ends(prompt: &str) -> String {
    if prompt.len() <= 2 * PROMPT_END {
        return prompt.to_owned();
    }
    let mut begin = prompt.len() - PROMPT_END;
    while !prompt.is_char_boundary(begin) {
        begin += 1;
    }
    format!("{} … {}", json::cut(prompt, PROMPT_END), &prompt[begin..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const START: &[u8] = include_bytes!("../../../tests/fixtures/agent/session-start.json");
    const STATUS_LINE: &[u8] = include_bytes!("../../../tests/fixtures/agent/statusline.json");

    const CONVERSATION: Option<ConversationId> = Some(ConversationId(Uuid::from_u128(0x0b0e_7c1e_6f0f_4c58_9b52_1d6a_3f2b_9c10)));

    #[test]
    fn a_start_says_which_conversation_was_opened() {
        let expected = Report {
            conversation: CONVERSATION,
            source: Some("resume".to_owned()),
            transcript: Some("/homes/backup/projects/-work-api/0b0e7c1e-6f0f-4c58-9b52-1d6a3f2b9c10.jsonl".into()),
            cwd: Some("/work/api".into()),
            context_tokens: Some(31_312),
            ..Report::default()
        };
        assert_eq!(Report::parse(START), expected);
    }

    #[test]
    fn a_status_line_says_how_much_is_used() {
        let report = Report::parse(STATUS_LINE);
        let share = |used, reset: &str| Share { used, resets_at: Some(reset.parse().expect("an instant")) };
        let expected = BTreeMap::from([
            (WindowKind::FiveHour, share(Percent::new(42.5).expect("valid"), "2026-11-22T11:16:00Z")),
            (WindowKind::Weekly, share(Percent::whole(12), "2026-11-27T09:00:00Z")),
        ]);
        assert_eq!((report.windows, report.context_tokens, report.conversation), (expected, Some(31_312), CONVERSATION));
    }

    #[test]
    fn a_window_that_has_not_begun_or_makes_no_sense_is_absent() {
        for limits in [
            json!(null),
            json!({ "five_hour": null }),
            json!({ "five_hour": { "used_percentage": null } }),
            json!({ "five_hour": { "used_percentage": -1 } }),
            json!({ "monthly": { "used_percentage": 5 } }),
        ] {
            assert_eq!(Report::parse(json!({ "rate_limits": limits }).to_string().as_bytes()), Report::default());
        }
    }

    #[test]
    fn both_ends_of_a_long_prompt_are_kept() {
        let prompt = format!("begin{}end", "é".repeat(10_000));
        let report = Report::parse(json!({ "prompt": prompt }).to_string().as_bytes());
        let kept = report.prompt.expect("a prompt");
        assert!(kept.len() < 2 * PROMPT_END + 10 && kept.starts_with("begin") && kept.ends_with("end"), "{}", kept.len());
    }

    #[test]
    fn only_what_is_used_goes_further() {
        let body = json!({ "tool_input": { "token": "secret" }, "last_assistant_message": "secret", "custom": "secret" });
        assert_eq!(Report::parse(body.to_string().as_bytes()), Report::default());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
            let _ = Report::parse(&bytes);
        }

        #[test]
        fn a_half_or_damaged_body_never_panics(end in 0usize..2048, at in 0usize..2048, byte: u8) {
            let mut bytes = STATUS_LINE[..end.min(STATUS_LINE.len())].to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = Report::parse(&bytes);
        }

        #[test]
        fn any_prompt_is_cut_between_characters(prompt in "\\PC{0,3000}") {
            let kept = both_ends(&prompt);
            prop_assert!(kept.len() <= 2 * PROMPT_END + 5);
        }
    }
}
