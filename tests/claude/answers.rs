//! What the played API answers, by path.

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, response::Builder},
    response::Response,
};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Account, Exchange, Reply, WORD_EVERY, now};

/// The account that a fake token names: `fake-at-NAME`, or `fake-at-NAME.N` after a refresh.
pub fn account_of(token: &str) -> Option<String> {
    let name = token.strip_prefix("fake-at-").or_else(|| token.strip_prefix("fake-rt-"))?;
    Some(name.split('.').next().unwrap_or(name).to_owned())
}

/// Answers one request.
pub fn answer(exchange: &Exchange, account: &Account) -> Response {
    let path = exchange.path.split('?').next().unwrap_or_default();
    let name = exchange.account.as_deref().unwrap_or("nobody");
    match (exchange.method.as_str(), path) {
        ("POST", "/v1/messages") => messages(exchange, account, name),
        ("POST", "/v1/messages/count_tokens") => json_answer(StatusCode::OK, &[], &json!({"input_tokens": 100})),
        ("GET", "/api/oauth/usage") => json_answer(StatusCode::OK, &[], &usage(account)),
        ("GET", "/api/oauth/profile") => json_answer(StatusCode::OK, &[], &profile(name)),
        ("POST", "/v1/oauth/token") if account.refreshes => json_answer(StatusCode::OK, &[], &tokens(name)),
        ("POST", "/v1/oauth/token") => json_answer(
            StatusCode::BAD_REQUEST,
            &[],
            &json!({"error": "invalid_grant", "error_description": "Refresh token not found or invalid"}),
        ),
        _ => json_answer(StatusCode::NOT_FOUND, &[], &error("not_found_error", "not played here")),
    }
}

/// The id that an account has in the profile.
pub fn account_id(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("account {name}").as_bytes()).to_string()
}

fn organization_id(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("organization {name}").as_bytes()).to_string()
}

fn profile(name: &str) -> Value {
    json!({
        "account": {"uuid": account_id(name), "full_name": name, "display_name": name, "email": format!("{name}@example.invalid"),
            "has_claude_max": true, "has_claude_pro": false},
        "organization": {"uuid": organization_id(name), "name": name, "organization_type": "claude_max",
            "billing_type": "stripe_subscription", "rate_limit_tier": "default_claude_max_20x"},
    })
}

fn tokens(name: &str) -> Value {
    let serial = Uuid::new_v4().simple();
    json!({
        "token_type": "Bearer", "access_token": format!("fake-at-{name}.{serial}"), "refresh_token": format!("fake-rt-{name}.{serial}"),
        "expires_in": 28_800, "scope": "user:inference user:profile user:sessions:claude_code",
        "organization": {"uuid": organization_id(name), "name": name},
        "account": {"uuid": account_id(name), "email_address": format!("{name}@example.invalid")},
    })
}

fn usage(account: &Account) -> Value {
    let window = |(used, seconds): (f64, u64)| json!({"utilization": used * 100.0, "resets_at": iso(now() + seconds)});
    let entry = |kind: &str, (used, seconds): (f64, u64), scope: Value| json!({"kind": kind, "percent": used * 100.0, "resets_at": iso(now() + seconds), "scope": scope, "is_active": false});
    let [five_hour, weekly] = account.told_windows();
    json!({
        "five_hour": window(five_hour), "seven_day": window(weekly), "seven_day_oauth_apps": null, "seven_day_opus": null,
        "seven_day_sonnet": null,
        "limits": [entry("session", five_hour, Value::Null), entry("weekly_all", weekly, Value::Null),
            entry("weekly_scoped", (0.91, weekly.1), json!({"model": {"display_name": "Fable"}}))],
        "extra_usage": {"is_enabled": false, "monthly_limit": null, "used_credits": null, "utilization": null},
    })
}

fn iso(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).expect("a time");
    format!("{time:.6}").replace('Z', "+00:00")
}

fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn messages(exchange: &Exchange, account: &Account, name: &str) -> Response {
    let body = &exchange.body;
    let users: Vec<String> = body["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|message| message["role"] == "user")
        .map(|message| own_words(&message["content"]))
        .filter(|text| !text.is_empty())
        .collect();
    let last = users.last().map_or("", String::as_str);
    let reply = match &account.reply {
        Reply::Text if exchange.is_turn() && last.contains("[[slow]]") => Reply::Slow,
        Reply::Text if exchange.is_turn() && last.contains("[[tool]]") => Reply::Tool { command: "echo tool-ran".to_owned() },
        // Probes and titles are answered at once; a limit and a login hold for them too.
        Reply::Slow | Reply::Tool { .. } if !exchange.is_turn() => Reply::Text,
        Reply::Tool { .. } if last.contains("<tool_result>") => Reply::Text,
        other => other.clone(),
    };
    let text = format!("REPLY users={} account={name}: {}", users.len(), users.join(" | "));
    match reply {
        Reply::Limit { claim } => {
            let resets_in = account.windows[usize::from(claim != "five_hour")].1;
            let mut headers = unified(account, claim, "rejected");
            headers.push((format!("{UNIFIED}-reset"), (now() + resets_in).to_string()));
            headers.push(("retry-after".to_owned(), resets_in.to_string()));
            headers.push(("x-should-retry".to_owned(), "false".to_owned()));
            let body = error("rate_limit_error", "This request would exceed your account's rate limit. Please try again later.");
            json_answer(StatusCode::TOO_MANY_REQUESTS, &headers, &body)
        }
        Reply::Unauthorized => json_answer(StatusCode::UNAUTHORIZED, &[], &error("authentication_error", "OAuth token has expired.")),
        Reply::Text => success(body, account, &[Part::Text(text)], "end_turn"),
        Reply::Tool { command } => success(body, account, &[Part::Text("I will run a tool.".to_owned()), Part::Tool(command)], "tool_use"),
        Reply::Slow => slow(body, account),
    }
}

/// The prompt's own text, without what the CLI adds to it; a tool's result is marked.
fn own_words(content: &Value) -> String {
    let mut text = match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().map(|part| match part["type"].as_str() {
                Some("text") => part["text"].as_str().unwrap_or_default().to_owned(),
                Some("tool_result") => format!("<tool_result> {}", own_words(&part["content"])),
                _ => String::new(),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    while let (Some(from), Some(to)) = (text.find("<system-reminder>"), text.find("</system-reminder>")) {
        text.replace_range(from..(to + "</system-reminder>".len()).max(from), "");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The prefix of the headers that tell an account's windows.
const UNIFIED: &str = "anthropic-ratelimit-unified";

fn unified(account: &Account, claim: &str, status: &str) -> Vec<(String, String)> {
    let mut headers = vec![
        (format!("{UNIFIED}-status"), status.to_owned()),
        (format!("{UNIFIED}-representative-claim"), claim.to_owned()),
        (format!("{UNIFIED}-fallback-percentage"), "0.5".to_owned()),
        (format!("{UNIFIED}-overage-status"), "rejected".to_owned()),
        (format!("{UNIFIED}-overage-disabled-reason"), "overage_not_provisioned".to_owned()),
    ];
    for (key, (used, seconds)) in ["5h", "7d"].into_iter().zip(account.told_windows()) {
        headers.push((format!("{UNIFIED}-{key}-utilization"), used.to_string()));
        let state = if used < 1.0 { "allowed" } else { "rejected" };
        headers.push((format!("{UNIFIED}-{key}-status"), state.to_owned()));
        headers.push((format!("{UNIFIED}-{key}-reset"), (now() + seconds).to_string()));
    }
    headers
}

/// A part of an answer's content.
enum Part {
    Text(String),
    Tool(String),
}

impl Part {
    /// The part whole, then as it begins in a stream, then what is added to that.
    fn forms(&self) -> [Value; 3] {
        match self {
            Self::Text(text) => {
                [json!({"type": "text", "text": text}), json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": text})]
            }
            Self::Tool(command) => {
                let id = format!("toolu_{}", Uuid::new_v4().simple());
                let input = json!({"command": command, "description": "test"});
                let call = |input: Value| json!({"type": "tool_use", "id": id, "name": "Bash", "input": input});
                [call(input.clone()), call(json!({})), json!({"type": "input_json_delta", "partial_json": input.to_string()})]
            }
        }
    }
}

/// A message without its content.
fn message(body: &Value, output_tokens: u32) -> Value {
    let input_tokens = 100 + body["messages"].to_string().len() / 4;
    json!({
        "id": format!("msg_{}", Uuid::new_v4().simple()), "type": "message", "role": "assistant", "model": body["model"], "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": input_tokens, "output_tokens": output_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
    })
}

fn success(body: &Value, account: &Account, parts: &[Part], stop_reason: &str) -> Response {
    let headers = unified(account, "five_hour", "allowed");
    if body["stream"] != true {
        let mut whole = message(body, 25);
        whole["content"] = parts.iter().map(|part| part.forms()[0].clone()).collect();
        whole["stop_reason"] = json!(stop_reason);
        return json_answer(StatusCode::OK, &headers, &whole);
    }
    let mut events = event("message_start", json!({"message": message(body, 1)}));
    for (index, part) in parts.iter().enumerate() {
        let [_, begin, delta] = part.forms();
        events += &event("content_block_start", json!({"index": index, "content_block": begin}));
        events += &event("content_block_delta", json!({"index": index, "delta": delta}));
        events += &event("content_block_stop", json!({"index": index}));
    }
    events +=
        &event("message_delta", json!({"delta": {"stop_reason": stop_reason, "stop_sequence": null}, "usage": {"output_tokens": 25}}));
    events += &event("message_stop", json!({}));
    builder(StatusCode::OK, &headers, "text/event-stream").body(Body::from(events)).expect("valid headers")
}

/// A word now and then, for a minute; whoever does not want to wait hangs up.
fn slow(body: &Value, account: &Account) -> Response {
    let begin = event("message_start", json!({"message": message(body, 1)}))
        + &event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}}));
    let words = stream::unfold(0_u32, move |count| {
        let begin = begin.clone();
        async move {
            if count == 600 {
                return None;
            }
            tokio::time::sleep(WORD_EVERY).await;
            let word = event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": format!("word{count} ")}}));
            let text = if count == 0 { begin + &word } else { word };
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), count + 1))
        }
    });
    let headers = unified(account, "five_hour", "allowed");
    builder(StatusCode::OK, &headers, "text/event-stream").body(Body::from_stream(words)).expect("valid headers")
}

/// One server-sent event.
fn event(name: &str, mut data: Value) -> String {
    data["type"] = json!(name);
    format!("event: {name}\ndata: {data}\n\n")
}

fn json_answer(status: StatusCode, headers: &[(String, String)], body: &Value) -> Response {
    builder(status, headers, "application/json").body(Body::from(body.to_string())).expect("valid headers")
}

fn builder(status: StatusCode, headers: &[(String, String)], kind: &str) -> Builder {
    let start =
        Response::builder().status(status).header("content-type", kind).header("request-id", format!("req_{}", Uuid::new_v4().simple()));
    headers.iter().fold(start, |builder, (name, value)| builder.header(name, value))
}
