//! What the end of a transcript tells (facts/claude-code.md, section 3).
//!
//! The format is internal to the CLI and changes between versions: what is not understood is skipped, and every fact may be absent.

use std::{
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{AccountUsage, Percent, ReadingSource, WindowKind, WindowReading};

use super::{AgentError, file, json};

/// How much is read from the end: more, while neither the prompt nor the context size has been met. Lines have up to 62 KiB.
const WINDOWS: [u64; 3] = [256 * 1024, 1024 * 1024, 4 * 1024 * 1024];
/// The longest text that is kept, in bytes.
const TEXT: usize = 4096;

/// The newest facts of a conversation. A transcript outlives its processes and accounts: a fact with a time is about the process that ran
/// then, and one that is older than the present process says nothing about the present account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailFacts {
    /// The limit that stopped the last turn; `None` once an answer came after it.
    pub limit: Option<LimitRecord>,
    /// When the login was refused; `None` once an answer came after it.
    pub login_refused: Option<Timestamp>,
    /// When an error of the API cut off the last turn, whichever error; `None` once a prompt or an answer came after it.
    pub cut_off: Option<Timestamp>,
    /// The last prompt, cut.
    pub prompt: Option<String>,
    /// When it was given, if its own record says so.
    pub prompt_at: Option<Timestamp>,
    /// The last call of a tool.
    pub tool: Option<ToolCall>,
    /// The last text of the agent, cut.
    pub answer: Option<String>,
    /// Tokens in the context at the last answer, or after a compaction.
    pub context_tokens: Option<u64>,
    /// Whether a person interrupted the turn and has said nothing since.
    pub interrupted: bool,
    /// The agent's directory at the end.
    pub cwd: Option<PathBuf>,
}

/// The machine-readable record of a usage limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRecord {
    /// When it was hit.
    pub at: Timestamp,
    /// Which window; `None` for a word of a newer version.
    pub window: Option<WindowKind>,
    /// When the window begins anew.
    pub resets_at: Option<Timestamp>,
}

impl LimitRecord {
    /// The record as a reading of the account that the process had at that time: the window is full.
    pub fn usage(&self) -> Option<AccountUsage> {
        let reading =
            WindowReading { used: Percent::FULL, resets_at: self.resets_at, measured_at: self.at, source: ReadingSource::LimitRecord };
        Some(AccountUsage { windows: [(self.window.clone()?, reading)].into() })
    }
}

/// A call of a tool, without its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Its id inside the conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Whether its result is known; if not, it was running when the process ended, or still runs.
    pub finished: bool,
}

/// Reads the end of the transcript at `path`. `None` when nothing stands there.
///
/// # Errors
/// [`AgentError::NotRegular`] and [`AgentError::Io`]. Content that is not understood is never an error.
pub fn tail(path: &Path) -> Result<Option<TailFacts>, AgentError> {
    let Some((file, metadata)) = file::open(path)? else { return Ok(None) };
    let mut facts = TailFacts::default();
    for window in WINDOWS {
        // One byte before the window, so that a line that begins exactly there is not taken for a cut one.
        let begin = metadata.len().saturating_sub(window).saturating_sub(1);
        let mut bytes = vec![0; usize::try_from(metadata.len() - begin).unwrap_or_default()];
        match file.read_exact_at(&mut bytes, begin) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(facts)),
            Err(error) => return Err(AgentError::io("read", path)(error)),
        }
        let whole_lines = if begin == 0 { &bytes[..] } else { after_first_line(&bytes) };
        facts = parse(whole_lines);
        if begin == 0 || (facts.prompt.is_some() && facts.context_tokens.is_some()) {
            break;
        }
    }
    Ok(Some(facts))
}

fn after_first_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&byte| byte == b'\n').map_or(&[], |end| &bytes[end + 1..])
}

/// The facts of whole lines; the last one may be half written.
pub(super) fn parse(lines: &[u8]) -> TailFacts {
    let mut facts = TailFacts::default();
    for line in lines.split(|&byte| byte == b'\n') {
        if let Ok(record) = serde_json::from_slice::<Value>(line) {
            facts.absorb(&record);
        }
    }
    facts
}

impl TailFacts {
    /// The same without what an earlier process than the one that started at `started` ran into, perhaps under another account.
    #[must_use]
    pub fn since(mut self, started: Timestamp) -> Self {
        self.limit = self.limit.filter(|limit| limit.at >= started);
        self.login_refused = self.login_refused.filter(|&at| at >= started);
        self
    }

    fn absorb(&mut self, record: &Value) {
        if let Some(cwd) = record["cwd"].as_str() {
            self.cwd = Some(PathBuf::from(cwd));
        }
        match record["type"].as_str() {
            Some("last-prompt") => self.absorb_prompt(&record["lastPrompt"], None),
            Some("user") if record["isSidechain"] != true => self.absorb_user(record),
            Some("assistant") if record["isApiErrorMessage"] == true => self.absorb_error(record),
            Some("assistant") => self.absorb_answer(record),
            Some("system") if record["subtype"] == "compact_boundary" => {
                self.context_tokens = json::whole(&record["compactMetadata"]["postTokens"]);
            }
            _ => {}
        }
    }

    fn absorb_prompt(&mut self, prompt: &Value, at: Option<Timestamp>) {
        let Some(prompt) = json::text(prompt, TEXT).filter(|prompt| !prompt.is_empty()) else { return };
        // What is said of the same prompt later does not say when it was given.
        if at.is_some() || self.prompt.as_ref() != Some(&prompt) {
            self.prompt_at = at;
        }
        self.prompt = Some(prompt);
    }

    fn absorb_user(&mut self, record: &Value) {
        let content = &record["message"]["content"];
        let parts = content.as_array().map_or(&[][..], Vec::as_slice);
        for part in parts {
            if let (Some(tool), Some(id)) = (&mut self.tool, part["tool_use_id"].as_str())
                && tool.id == id
            {
                tool.finished = true;
            }
        }
        let typed = parts.iter().find(|part| part["type"] == "text").map_or(content, |part| &part["text"]);
        let Some(text) = typed.as_str() else { return };
        if text.starts_with("[Request interrupted by user") {
            self.interrupted = true;
            return;
        }
        // What the CLI itself writes in a person's name.
        let ours = ["<command-name>", "<local-command", "<task-notification>"].iter().any(|mark| text.starts_with(mark));
        if !ours && record["isMeta"] != true && record["isCompactSummary"] != true {
            self.interrupted = false;
            self.cut_off = None;
            self.absorb_prompt(typed, json::instant(&record["timestamp"]));
        }
    }

    fn absorb_error(&mut self, record: &Value) {
        let Some(at) = json::instant(&record["timestamp"]) else { return };
        if record["isSidechain"] != true {
            self.cut_off = Some(at);
        }
        match record["error"].as_str() {
            Some("authentication_failed") => self.login_refused = Some(at),
            // A plain 429 is called `rate_limit` too, but has no limits with it; it passes by itself.
            Some("rate_limit") if record["quotaLimits"].is_object() || record["apiError"] == "usage_limit_reached" => {
                let limits = &record["quotaLimits"];
                self.limit = Some(LimitRecord {
                    at,
                    window: limits["rateLimitType"].as_str().and_then(window_kind),
                    resets_at: json::instant(&limits["resetsAt"]),
                });
            }
            _ => {}
        }
    }

    fn absorb_answer(&mut self, record: &Value) {
        let message = &record["message"];
        if message["model"] == "<synthetic>" || record["model"] == "<synthetic>" {
            return;
        }
        // Also the answer of a subagent shows that the account works again.
        self.limit = None;
        self.login_refused = None;
        if record["isSidechain"] == true {
            return;
        }
        self.interrupted = false;
        self.cut_off = None;
        self.context_tokens = context_tokens(&message["usage"]).or(self.context_tokens);
        for part in message["content"].as_array().map_or(&[][..], Vec::as_slice) {
            match (part["type"].as_str(), part["id"].as_str()) {
                (Some("tool_use"), Some(id)) => {
                    let name = json::text(&part["name"], TEXT).unwrap_or_default();
                    self.tool = Some(ToolCall { id: json::cut(id, TEXT).to_owned(), name, finished: false });
                }
                (Some("text"), _) => self.answer = json::text(&part["text"], TEXT).or(self.answer.take()),
                _ => {}
            }
        }
    }
}

/// Tokens that the next request sends again: what was new, what was written to the cache, and what was read from it.
pub(super) fn context_tokens(usage: &Value) -> Option<u64> {
    let fields = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    let known: Vec<u64> = fields.iter().filter_map(|field| usage[field].as_u64()).collect();
    (!known.is_empty()).then(|| known.iter().fold(0, |sum: u64, &tokens| sum.saturating_add(tokens)))
}

/// The window that `rateLimitType` names. A weekly window of one model is `seven_day_MODEL`, by the name that people know the model by.
pub(super) fn window_kind(word: &str) -> Option<WindowKind> {
    match word {
        "five_hour" => Some(WindowKind::FiveHour),
        "seven_day" => Some(WindowKind::Weekly),
        other => {
            let model = other.strip_prefix("seven_day_")?;
            let first = model.chars().next().filter(char::is_ascii_lowercase)?;
            let plain = model.len() <= 32 && model.chars().all(|c| c.is_ascii_lowercase());
            plain.then(|| WindowKind::Model(format!("{}{}", first.to_ascii_uppercase(), &model[1..])))
        }
    }
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
