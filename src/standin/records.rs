//! The transcript's records, in the shapes that the CLI writes (facts/claude-code.md, section 3).

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{VERSION, behaviour::Limit, home};

/// Text of the record that says that a person stopped a turn.
pub(super) const INTERRUPTED: &str = "[Request interrupted by user]";
/// The same while a tool ran or was asked about.
pub(super) const INTERRUPTED_TOOL: &str = "[Request interrupted by user for tool use]";
/// The tool result of a command that a signal ended.
pub(super) const KILLED: &str = "Exit code 137";

/// Makes records of one conversation, each the child of the one before.
pub(super) struct Records {
    pub(super) conversation: String,
    workdir: String,
    branch: String,
    pub(super) permission_mode: String,
    account: String,
    /// The account that the conversation was last told of, if any.
    pub(super) told_account: Option<String>,
    /// The newest record of the tree.
    pub(super) leaf: Option<String>,
    turn: Option<String>,
}

impl Records {
    pub(super) fn new(conversation: String, workdir: &Path, permission_mode: String, account: String) -> Self {
        Self {
            conversation,
            workdir: workdir.to_string_lossy().into_owned(),
            branch: home::branch(workdir),
            permission_mode,
            account,
            told_account: None,
            leaf: None,
            turn: None,
        }
    }

    /// What a typed prompt writes. `turn` is the id that its hooks carry.
    pub(super) fn prompt(&mut self, text: &str, turn: &str) -> Vec<Value> {
        self.turn = Some(turn.to_owned());
        let mut record = self.message("user", json!({"role": "user", "content": text}));
        record["permissionMode"] = json!(self.permission_mode);
        record["promptSource"] = json!("typed");
        record["origin"] = json!({"kind": "human"});
        let snapshot = json!({"messageId": record["uuid"], "trackedFileBackups": {}, "timestamp": now()});
        let snapshot =
            json!({"type": "file-history-snapshot", "messageId": record["uuid"], "snapshot": snapshot, "isSnapshotUpdate": false});
        let mut records = vec![snapshot, record];
        records.extend(self.session_context());
        records
    }

    /// What is said on the person's behalf when an interrupted turn goes on.
    pub(super) fn go_on(&mut self, text: &str) -> Vec<Value> {
        self.turn = None;
        let mut record = self.message("user", json!({"role": "user", "content": [{"type": "text", "text": text}]}));
        record["isMeta"] = json!(true);
        let mut records = vec![record];
        records.extend(self.session_context());
        records
    }

    /// What the first prompt of a conversation, and the first one under another account, is followed by. It decides how a turn that is cut
    /// off there goes on: see [`Tail`](super::transcript::Tail).
    fn session_context(&mut self) -> Option<Value> {
        if self.told_account.as_ref() == Some(&self.account) {
            return None;
        }
        self.told_account = Some(self.account.clone());
        let mut record = self.tree("attachment");
        record["attachment"] = json!({"type": "session_context", "context": {"account": self.account}});
        Some(record)
    }

    /// The agent's answer.
    pub(super) fn answer(&mut self, text: &str, context_tokens: u64) -> Value {
        self.assistant(&json!([{"type": "text", "text": text}]), "end_turn", context_tokens)
    }

    /// The agent's answer as far as it had come when a person stopped it.
    pub(super) fn broken_answer(&mut self, text: &str, context_tokens: u64) -> Value {
        let mut record = self.assistant(&json!([{"type": "text", "text": text}]), "", context_tokens);
        record["message"]["stop_reason"] = Value::Null;
        record["isAbortedMidStream"] = json!(true);
        record
    }

    /// The call of a tool.
    pub(super) fn tool_call(&mut self, id: &str, input: &Value, context_tokens: u64) -> Vec<Value> {
        vec![
            json!({"type": "tools-used", "tools": ["Bash"], "sessionId": self.conversation}),
            self.assistant(&json!([{"type": "text", "text": "I will run a tool."}]), "tool_use", context_tokens),
            self.assistant(&json!([{"type": "tool_use", "id": id, "name": "Bash", "input": input}]), "tool_use", context_tokens),
        ]
    }

    /// The result of a tool; an error says why.
    pub(super) fn tool_result(&mut self, id: &str, text: &str, is_error: bool) -> Value {
        let content = json!([{"type": "tool_result", "content": text, "is_error": is_error, "tool_use_id": id}]);
        let mut record = self.message("user", json!({"role": "user", "content": content}));
        record["toolUseResult"] = json!(if is_error { format!("Error: {text}") } else { text.to_owned() });
        record
    }

    /// A person's stop: one of [`INTERRUPTED`] and [`INTERRUPTED_TOOL`].
    pub(super) fn interruption(&mut self, text: &str) -> Value {
        self.message("user", json!({"role": "user", "content": [{"type": "text", "text": text}]}))
    }

    /// A turn that ran into a limit.
    pub(super) fn limit_hit(&mut self, limit: &Limit) -> Value {
        let mut record = self.api_error(&limit_text(limit), "rate_limit");
        let quota = json!({"status": "rejected", "resetsAt": limit.resets_at, "rateLimitType": limit.window, "overageStatus": "rejected",
            "overageDisabledReason": "overage_not_provisioned", "isUsingOverage": false});
        record["apiError"] = json!("usage_limit_reached");
        record["apiErrorStatus"] = json!(429);
        record["apiErrorType"] = json!("rate_limit_error");
        record["apiErrorParams"] = json!({"rate_limit_info": quota});
        record["quotaLimits"] = quota;
        record
    }

    /// A turn that failed at the login.
    pub(super) fn login_failed(&mut self, text: &str) -> Value {
        self.api_error(text, "authentication_failed")
    }

    /// A notice among the messages.
    pub(super) fn notice(&mut self, text: &str) -> Value {
        let mut record = self.tree("system");
        record["subtype"] = json!("informational");
        record["content"] = json!(text);
        record["level"] = json!("notice");
        record
    }

    /// What the end of a turn writes.
    pub(super) fn turn_over(&mut self, stop_hooks: usize, millis: u128) -> Vec<Value> {
        let mut records = Vec::with_capacity(2);
        if stop_hooks > 0 {
            let mut summary = self.tree("system");
            summary["subtype"] = json!("stop_hook_summary");
            summary["hookCount"] = json!(stop_hooks);
            records.push(summary);
        }
        let mut duration = self.tree("system");
        duration["subtype"] = json!("turn_duration");
        duration["durationMs"] = json!(u64::try_from(millis).unwrap_or(u64::MAX));
        records.push(duration);
        records
    }

    /// What the first write of a process puts in front.
    pub(super) fn opening(&self) -> Vec<Value> {
        let id = &self.conversation;
        vec![
            json!({"type": "mode", "mode": "normal", "sessionId": id}),
            json!({"type": "permission-mode", "permissionMode": self.permission_mode, "sessionId": id}),
            json!({"type": "session-owner", "accountUuid": self.account, "sessionId": id}),
        ]
    }

    /// What the end of a process writes. Without a prompt of its own the CLI leaves `lastPrompt` out.
    pub(super) fn closing(&self, last_prompt: Option<&str>, context_tokens: u64) -> Vec<Value> {
        let id = &self.conversation;
        let mut last = json!({"type": "last-prompt", "leafUuid": self.leaf, "sessionId": id});
        if let Some(text) = last_prompt {
            last["lastPrompt"] = json!(text);
        }
        vec![last, json!({"type": "cost-state", "sessionId": id, "totalCostUSD": 0, "inputTokens": context_tokens})]
    }

    fn assistant(&mut self, content: &Value, stop_reason: &str, context_tokens: u64) -> Value {
        let message = json!({
            "id": format!("msg_{}", Uuid::new_v4().simple()), "type": "message", "role": "assistant", "model": "stand-in",
            "content": content, "stop_reason": stop_reason, "stop_sequence": null,
            "usage": {"input_tokens": context_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 25},
        });
        self.message("assistant", message)
    }

    fn api_error(&mut self, text: &str, error: &str) -> Value {
        let message = json!({
            "id": Uuid::new_v4(), "type": "message", "role": "assistant", "model": "<synthetic>", "stop_reason": "stop_sequence",
            "stop_sequence": "", "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
        });
        let mut record = self.message("assistant", message);
        record["error"] = json!(error);
        record["isApiErrorMessage"] = json!(true);
        record
    }

    fn message(&mut self, kind: &str, message: Value) -> Value {
        let mut record = self.tree(kind);
        record["message"] = message;
        if let Some(turn) = &self.turn {
            record["promptId"] = json!(turn);
        }
        record
    }

    /// A record that is part of the conversation's tree.
    fn tree(&mut self, kind: &str) -> Value {
        let id = Uuid::new_v4().to_string();
        let parent = self.leaf.replace(id.clone());
        json!({
            "parentUuid": parent, "isSidechain": false, "type": kind, "uuid": id, "timestamp": now(), "userType": "external",
            "entrypoint": "cli", "cwd": self.workdir, "sessionId": self.conversation, "version": VERSION, "gitBranch": self.branch,
        })
    }
}

/// The CLI's words for a limit.
pub(super) fn limit_text(limit: &Limit) -> String {
    let name = match limit.window.as_str() {
        "five_hour" => "5-hour",
        "seven_day" => "weekly",
        "seven_day_opus" => "Opus",
        other => other,
    };
    format!("You've hit your {name} limit · resets {}", clock(limit.resets_at))
}

/// A time as the CLI prints it: `2:10pm (UTC)`, and the day where it is not within a day.
pub(super) fn clock(epoch_seconds: i64) -> String {
    let time = Timestamp::from_second(epoch_seconds).unwrap_or(Timestamp::MAX);
    let far = epoch_seconds.saturating_sub(Timestamp::now().as_second()) > 24 * 3600;
    let format = match (far, epoch_seconds % 3600) {
        (false, 0) => "%-I%P (UTC)",
        (false, _) => "%-I:%M%P (UTC)",
        (true, 0) => "%b %-d, %-I%P (UTC)",
        (true, _) => "%b %-d, %-I:%M%P (UTC)",
    };
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// Now, with milliseconds, as in every record.
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_form_a_chain() {
        let mut records = Records::new("id".to_owned(), Path::new("/w"), "plan".to_owned(), "account".to_owned());
        let prompt = records.prompt("hello", "turn");
        let answer = records.answer("hi", 7);
        assert_eq!(prompt[1]["parentUuid"], Value::Null);
        assert_eq!(prompt[2]["attachment"]["type"], "session_context");
        assert_eq!(answer["parentUuid"], prompt[2]["uuid"]);
        assert_eq!(records.prompt("again", "turn").len(), 2, "the account is told once");
        assert_eq!(answer["message"]["usage"]["input_tokens"], 7);
    }

    #[test]
    fn a_limit_is_machine_readable() {
        let mut records = Records::new("id".to_owned(), Path::new("/w"), "plan".to_owned(), "account".to_owned());
        let record = records.limit_hit(&Limit { window: "five_hour".to_owned(), resets_at: 1_795_356_646 });
        assert_eq!(record["quotaLimits"]["resetsAt"], 1_795_356_646);
        assert_eq!(record["quotaLimits"]["rateLimitType"], "five_hour");
        assert_eq!(record["error"], "rate_limit");
        assert_eq!(record["isApiErrorMessage"], true);
    }
}
