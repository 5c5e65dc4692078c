//! A conversation's file: what is appended, and what a process that takes it up again finds in it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde_json::Value;

use super::{Error, records, task::Assignment};

/// The file that a process appends to.
pub(super) struct Transcript {
    /// Where it is, under the process's own home.
    pub(super) path: PathBuf,
    /// Whether anything is written at all.
    kept: bool,
    /// Whether this process has written something.
    pub(super) begun: bool,
}

impl Transcript {
    pub(super) fn new(path: PathBuf, kept: bool) -> Self {
        Self { path, kept, begun: false }
    }

    /// Appends records in one write. The file and its folder are made by the first one, and each write finds its way through the home's
    /// links anew, as the CLI's does.
    pub(super) fn append(&mut self, records: &[Value]) -> Result<(), Error> {
        self.begun = true;
        if !self.kept {
            return Ok(());
        }
        let mut text = String::new();
        for record in records {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{record}");
        }
        let write = || {
            if let Some(folder) = self.path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?.write_all(text.as_bytes())
        };
        write().map_err(Error::io(format!("append to {}", self.path.display())))
    }
}

/// What stands in a transcript.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What a person's prompts followed. A prompt that was sent again follows what it followed the first time.
    prompted_after: BTreeSet<Option<String>>,
    /// The newest record of the tree.
    pub(super) leaf: Option<String>,
    /// The account that the conversation was last told of.
    pub(super) told_account: Option<String>,
    /// How the conversation was left.
    pub(super) tail: Tail,
    /// The task of the newest prompt.
    pub(super) task: Option<Assignment>,
    /// Tokens of the last real answer's request.
    pub(super) context_tokens: u64,
    /// When the last real answer came.
    pub(super) answered_at: Option<Timestamp>,
}

/// How a conversation was left.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing is owed.
    #[default]
    Settled,
    /// A prompt stands last, or was left to stand last by a tool that was cut off without a result: it is sent again.
    Prompt {
        /// Its text.
        text: String,
        /// What it followed.
        parent: Option<String>,
    },
    /// A tool's result, a limit, a failed login, or what the CLI added to the prompt stands last: the turn goes on from there.
    Open,
}

impl History {
    /// Reads a transcript. Lines that are cut, or of an unknown type, are passed over.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
        let mut history = Self::default();
        let mut last_prompt = Tail::Settled;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(Error::io(format!("read {}", path.display())))?;
            if let Ok(record) = serde_json::from_slice::<Value>(&line) {
                history.take(&record, &mut last_prompt);
            }
        }
        Ok(history)
    }

    /// How many prompts a person has given.
    pub(super) fn prompts(&self) -> usize {
        self.prompted_after.len()
    }

    fn take(&mut self, record: &Value, last_prompt: &mut Tail) {
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        if record["isSidechain"] == true {
            return;
        }
        if let Some(id) = text("uuid") {
            self.leaf = Some(id);
        }
        match record["type"].as_str() {
            Some("user") => {
                self.tail = match &record["message"]["content"] {
                    Value::String(prompt) => {
                        let parent = text("parentUuid");
                        if record["isMeta"] != true {
                            self.task = Assignment::of(prompt);
                        }
                        self.prompted_after.insert(parent.clone());
                        *last_prompt = Tail::Prompt { text: prompt.clone(), parent };
                        last_prompt.clone()
                    }
                    content if is_stop(content) => Tail::Settled,
                    _ => Tail::Open,
                };
            }
            Some("assistant") => {
                let content = record["message"]["content"].as_array();
                let calls_tool = content.is_some_and(|parts| parts.iter().any(|part| part["type"] == "tool_use"));
                self.tail = if record["isApiErrorMessage"] == true {
                    Tail::Open
                } else if calls_tool || record["message"]["stop_reason"] == "tool_use" {
                    // Without a result that follows, the step is dropped and the prompt is sent again.
                    last_prompt.clone()
                } else {
                    Tail::Settled
                };
                if record["message"]["model"] != "<synthetic>" {
                    let tokens = |name: &str| record["message"]["usage"][name].as_u64().unwrap_or(0);
                    self.context_tokens =
                        tokens("input_tokens") + tokens("cache_creation_input_tokens") + tokens("cache_read_input_tokens");
                    self.answered_at = record["timestamp"].as_str().and_then(|text| text.parse().ok());
                }
            }
            Some("attachment") => {
                if let Some(account) = record.pointer("/attachment/context/account").and_then(Value::as_str) {
                    self.told_account = Some(account.to_owned());
                }
                if matches!(self.tail, Tail::Prompt { .. }) {
                    self.tail = Tail::Open;
                    *last_prompt = Tail::Open;
                }
            }
            _ => {}
        }
    }
}

/// Whether a message says that a person stopped the turn.
fn is_stop(content: &Value) -> bool {
    let said = content.pointer("/0/text").and_then(Value::as_str);
    said == Some(records::INTERRUPTED) || said == Some(records::INTERRUPTED_TOOL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::{behaviour::Limit, records::Records};

    fn left(make: impl FnOnce(&mut Records) -> Vec<Value>) -> History {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("-w/id.jsonl");
        let mut records = Records::new("id".to_owned(), Path::new("/w"), "plan".to_owned(), "account".to_owned());
        let mut transcript = Transcript::new(path.clone(), true);
        let mut all = records.prompt("first", "one");
        all.push(records.answer("done", 5));
        all.extend(make(&mut records));
        all.extend(records.closing(None, 5));
        transcript.append(&all).expect("written");
        History::read(&path).expect("read")
    }

    fn prompt_again(history: &History) -> bool {
        matches!(&history.tail, Tail::Prompt { text, parent: Some(_) } if text == "second")
    }

    #[test]
    fn an_answered_or_stopped_turn_is_settled() {
        let idle = left(|_| Vec::new());
        assert_eq!((idle.prompts(), &idle.tail, idle.context_tokens), (1, &Tail::Settled, 5));
        let stopped = left(|records| [records.prompt("second", "two"), vec![records.interruption(records::INTERRUPTED)]].concat());
        assert_eq!(stopped.tail, Tail::Settled);
    }

    #[test]
    fn an_unanswered_prompt_is_sent_again() {
        let bare = left(|records| records.prompt("second", "two"));
        assert!(prompt_again(&bare), "{bare:?}");
        let cut_off = left(|records| [records.prompt("second", "two"), records.tool_call("t", &Value::Null, 5)].concat());
        assert!(prompt_again(&cut_off), "{cut_off:?}");
    }

    #[test]
    fn a_prompt_with_something_behind_it_is_gone_on_from() {
        let cut_off = |with_tool: bool| {
            left(|records| {
                records.told_account = None;
                let prompt = records.prompt("second", "two");
                let call = if with_tool { records.tool_call("t", &Value::Null, 5) } else { Vec::new() };
                [prompt, call].concat()
            })
        };
        assert_eq!(cut_off(false).tail, Tail::Open);
        assert_eq!(cut_off(true).tail, Tail::Open);
        assert_eq!(cut_off(false).told_account.as_deref(), Some("account"));
    }

    #[test]
    fn a_killed_tool_and_a_limit_are_gone_on_from() {
        let killed = left(|records| {
            let mut all = [records.prompt("second", "two"), records.tool_call("t", &Value::Null, 5)].concat();
            all.push(records.tool_result("t", records::KILLED, true));
            all
        });
        assert_eq!(killed.tail, Tail::Open);
        let limited = left(|records| {
            let limit = Limit { window: "five_hour".to_owned(), resets_at: 1 };
            [records.prompt("second", "two"), vec![records.limit_hit(&limit), records.notice("waiting")]].concat()
        });
        assert_eq!(limited.tail, Tail::Open);
    }
}
