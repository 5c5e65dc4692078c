use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A conversation of the tested CLI version, from its first prompt to a 5-hour limit; unknown record types and a long line are among it.
const LIMITED: &[u8] = include_bytes!("../../../tests/fixtures/agent/limited.jsonl");

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn records(records: &[Value]) -> TailFacts {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    parse(lines.join("\n").as_bytes())
}

fn user(content: &Value) -> Value {
    json!({ "type": "user", "message": { "role": "user", "content": content } })
}

fn answer(content: &Value, tokens: u64) -> Value {
    json!({ "type": "assistant", "message": { "model": "opus", "content": content, "usage": { "input_tokens": tokens } } })
}

fn failure(fields: &Value) -> Value {
    let mut record = json!({ "type": "assistant", "isApiErrorMessage": true, "model": "<synthetic>", "timestamp": "2026-11-22T10:00:00Z" });
    for (name, value) in fields.as_object().expect("fields") {
        record[name] = value.clone();
    }
    record
}

#[test]
fn the_end_of_a_limited_conversation_is_understood() {
    let facts = parse(LIMITED);
    let limit =
        LimitRecord { at: at("2026-11-22T10:41:07.120Z"), window: Some(WindowKind::FiveHour), resets_at: Some(at("2026-11-22T11:16:00Z")) };
    assert_eq!(
        facts,
        TailFacts {
            limit: Some(limit.clone()),
            login_refused: None,
            cut_off: Some(at("2026-11-22T10:41:07.120Z")),
            prompt: Some("now run the tests".to_owned()),
            prompt_at: Some(at("2026-11-22T10:40:00Z")),
            tool: Some(ToolCall { id: "toolu_02".to_owned(), name: "Bash".to_owned(), finished: true }),
            answer: Some("The parser is done.".to_owned()),
            context_tokens: Some(31_312),
            interrupted: false,
            cwd: Some("/work/api".into()),
        }
    );
    let usage = limit.usage().expect("a known window");
    let reading = &usage.windows[&WindowKind::FiveHour];
    assert_eq!((reading.used, reading.resets_at, reading.measured_at), (Percent::FULL, limit.resets_at, limit.at));
}

#[test]
fn a_turn_is_cut_off_by_any_error_until_a_prompt_or_an_answer_comes() {
    let overloaded = failure(&json!({ "error": "overloaded" }));
    let cut_off = |rest: &[Value]| records(&[&[user(&json!("do it")), overloaded.clone()], rest].concat()).cut_off;
    assert_eq!(cut_off(&[]), Some(at("2026-11-22T10:00:00Z")));
    assert_eq!(cut_off(&[user(&json!("<local-command-stdout>"))]), Some(at("2026-11-22T10:00:00Z")), "nobody said anything");
    assert_eq!(cut_off(&[user(&json!("go on"))]), None);
    assert_eq!(cut_off(&[answer(&json!([]), 5)]), None);
    let mut aside = overloaded.clone();
    aside["isSidechain"] = json!(true);
    assert_eq!(records(&[user(&json!("do it")), aside]).cut_off, None, "a subagent's error is its own");
}

#[test]
fn an_answer_ends_a_limit_and_a_refused_login() {
    let limit = failure(&json!({ "error": "rate_limit", "quotaLimits": { "rateLimitType": "seven_day", "resetsAt": 1_795_346_160 } }));
    let refused = failure(&json!({ "error": "authentication_failed" }));
    let standing = records(&[limit.clone(), refused.clone()]);
    assert_eq!(standing.limit.expect("it stands").window, Some(WindowKind::Weekly));
    assert_eq!(standing.login_refused, Some(at("2026-11-22T10:00:00Z")));
    let mut aside = answer(&json!([]), 5);
    aside["isSidechain"] = json!(true);
    for reply in [answer(&json!([]), 5), aside] {
        let after = records(&[limit.clone(), refused.clone(), reply]);
        assert_eq!((after.limit, after.login_refused), (None, None));
    }
}

#[test]
fn what_an_earlier_process_ran_into_is_not_of_this_one() {
    let facts =
        records(&[failure(&json!({ "error": "rate_limit", "quotaLimits": {} })), failure(&json!({ "error": "authentication_failed" }))]);
    let hit = at("2026-11-22T10:00:00Z");
    assert_eq!(facts.clone().since(hit), facts);
    let later = facts.since(hit + std::time::Duration::from_millis(1));
    assert_eq!((later.limit, later.login_refused), (None, None));
}

#[test]
fn only_a_typed_limit_is_a_limit() {
    for other in [
        json!({ "error": "rate_limit", "apiErrorStatus": 429 }),
        json!({ "error": "overloaded", "apiErrorStatus": 529 }),
        json!({ "error": "rate_limit", "quotaLimits": {}, "timestamp": null }),
    ] {
        assert_eq!(records(&[failure(&other)]).limit, None, "{other}");
    }
    let newer = records(&[failure(&json!({ "error": "rate_limit", "apiError": "usage_limit_reached" }))]).limit.expect("a limit");
    assert_eq!((newer.window.clone(), newer.resets_at, newer.usage()), (None, None, None));
}

#[test]
fn a_prompt_has_the_time_of_its_own_record() {
    let prompt = |text: &str, at: &str| json!({ "type": "user", "message": { "content": text }, "timestamp": at });
    let last = |text: &str| json!({ "type": "last-prompt", "lastPrompt": text });
    let first = prompt("first", "2026-11-22T10:00:00Z");
    assert_eq!(records(&[first.clone(), last("first")]).prompt_at, Some(at("2026-11-22T10:00:00Z")));
    assert_eq!(records(&[first.clone(), last("another")]).prompt_at, None);
    assert_eq!(records(&[first, prompt("first", "2026-11-22T11:00:00Z")]).prompt_at, Some(at("2026-11-22T11:00:00Z")));
}

#[test]
fn windows_of_models_have_the_model_s_name() {
    for (word, window) in [
        ("five_hour", Some(WindowKind::FiveHour)),
        ("seven_day", Some(WindowKind::Weekly)),
        ("seven_day_opus", Some(WindowKind::Model("Opus".to_owned()))),
        ("seven_day_", None),
        ("seven_day_x y", None),
        ("monthly", None),
    ] {
        assert_eq!(window_kind(word), window, "{word}");
    }
}

#[test]
fn a_tool_without_a_result_was_running() {
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "Bash", "input": { "command": "make" } });
    let result = |id: &str| user(&json!([{ "type": "tool_result", "tool_use_id": id, "content": "ok" }]));
    let finished = |records: &[Value]| self::records(records).tool.expect("a call").finished;
    assert!(!finished(&[answer(&json!([call("1")]), 1)]));
    assert!(finished(&[answer(&json!([call("1")]), 1), result("1")]));
    assert!(!finished(&[answer(&json!([call("1"), call("2")]), 1), result("1")]), "the last one counts");
}

#[test]
fn an_interruption_lasts_until_somebody_says_something() {
    let stop = user(&json!([{ "type": "text", "text": "[Request interrupted by user for tool use]" }]));
    assert!(records(std::slice::from_ref(&stop)).interrupted);
    assert!(!records(&[stop.clone(), user(&json!("go on"))]).interrupted);
    assert!(!records(&[stop, answer(&json!([]), 1)]).interrupted);
}

#[test]
fn what_the_cli_says_in_a_person_s_name_is_no_prompt() {
    let typed = user(&json!("fix the bug"));
    let mut meta = user(&json!("a caveat"));
    meta["isMeta"] = json!(true);
    let mut summary = user(&json!("a summary"));
    summary["isCompactSummary"] = json!(true);
    let mut aside = user(&json!("a subagent's prompt"));
    aside["isSidechain"] = json!(true);
    for other in [meta, summary, aside, user(&json!("<command-name>/usage</command-name>")), user(&json!("<task-notification>x"))] {
        assert_eq!(records(&[typed.clone(), other.clone()]).prompt.as_deref(), Some("fix the bug"), "{other}");
    }
    let with_image = user(&json!([{ "type": "image" }, { "type": "text", "text": "what is this?" }]));
    assert_eq!(records(&[typed, with_image]).prompt.as_deref(), Some("what is this?"));
}

#[test]
fn a_compaction_shrinks_the_context() {
    let compacted = json!({ "type": "system", "subtype": "compact_boundary", "compactMetadata": { "preTokens": 9, "postTokens": 3 } });
    assert_eq!(records(&[answer(&json!([]), 9), compacted.clone()]).context_tokens, Some(3));
    assert_eq!(records(&[compacted, answer(&json!([]), 4)]).context_tokens, Some(4));
}

/// The whole conversation does not fit into the first window, and the first window begins in the middle of a line.
#[test]
fn more_is_read_until_the_prompt_is_met() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("t.jsonl");
    assert_eq!(tail(&path).expect("absent is fine"), None);
    let filler = format!("{}\n", json!({ "type": "api-request-blob", "blob": "x".repeat(60_000) }));
    let mut content = format!("{}\n{}\n", user(&json!("the first prompt")), answer(&json!([]), 7));
    content.push_str(&filler.repeat(10));
    fs::write(&path, &content).expect("written");
    let facts = tail(&path).expect("readable").expect("there");
    assert_eq!((facts.prompt.as_deref(), facts.context_tokens), (Some("the first prompt"), Some(7)));
    // Beyond the largest window it is unknown, and not an error.
    content.push_str(&filler.repeat(80));
    fs::write(&path, &content).expect("written");
    assert_eq!(tail(&path).expect("readable").expect("there"), TailFacts::default());
}

/// Not even where the largest window begins is a line lost that is wholly inside it.
#[test]
fn a_line_that_begins_with_the_window_is_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("t.jsonl");
    let line = format!("{}\n", user(&json!("the prompt")));
    let reply = format!("{}\n", answer(&json!([]), 7));
    let inside = usize::try_from(WINDOWS[2]).expect("small") - line.len() - reply.len();
    let before = format!("{}\n", user(&json!("an earlier prompt")));
    let after = format!("\"{}\"\n", "x".repeat(inside - 3));
    fs::write(&path, [before.as_str(), &line, &reply, &after].concat()).expect("written");
    assert_eq!(tail(&path).expect("readable").expect("there").prompt.as_deref(), Some("the prompt"));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_damaged_transcript_never_panics(begin in 0usize..8192, end in 0usize..8192, at in 0usize..8192, byte: u8) {
        let mut bytes = LIMITED.get(begin..end.max(begin).min(LIMITED.len())).unwrap_or_default().to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = parse(&bytes);
    }

    #[test]
    fn fields_of_any_type_never_panic(record in any_json()) {
        let mut facts = TailFacts::default();
        for kind in ["user", "assistant", "system", "last-prompt"] {
            let mut record = record.clone();
            if record.is_object() {
                record["type"] = json!(kind);
                record["subtype"] = json!("compact_boundary");
            }
            facts.absorb(&record);
        }
    }
}

/// Objects with the names that we look for and values of any type.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "message",
        "content",
        "usage",
        "input_tokens",
        "quotaLimits",
        "rateLimitType",
        "resetsAt",
        "timestamp",
        "error",
        "isApiErrorMessage",
        "lastPrompt",
        "tool_use_id",
        "id",
        "name",
        "text",
        "compactMetadata",
        "postTokens",
        "cwd",
        "type",
    ]);
    let words = prop::sample::select(vec!["rate_limit", "authentication_failed", "tool_use", "text", "five_hour", "seven_day_é", "é"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
