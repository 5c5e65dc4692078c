//! Turns: prompts, tools, dialogs, the queue.

use serde_json::{Value, json};

use crate::agent::{Place, lives, read_until};

const ID: &str = "11111111-0000-4000-8000-000000000001";

fn prompts(records: &[Value]) -> Vec<&str> {
    records.iter().filter(|record| record["type"] == "user").filter_map(|record| record["message"]["content"].as_str()).collect()
}

#[test]
fn a_prompt_becomes_a_turn_in_hooks_register_and_transcript() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("remember the heron [[slow 0.6]]");
    agent.wait_status("busy");
    let submitted = place.wait_told("UserPromptSubmit", 1);
    assert_eq!(submitted.input["prompt"], "remember the heron [[slow 0.6]]");
    agent.wait_status("idle");
    let stopped = place.wait_told("Stop", 1);
    assert_eq!(stopped.input["prompt_id"], submitted.input["prompt_id"]);

    let records = place.transcript(ID);
    let kinds: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    let expected =
        ["mode", "permission-mode", "session-owner", "file-history-snapshot", "user", "attachment", "assistant", "system", "system"];
    assert_eq!(kinds, expected);
    assert_eq!(records[4]["cwd"], json!(place.workdir));
    assert_eq!(records[6]["message"]["content"][0]["text"], stopped.input["last_assistant_message"]);
    assert!(records[6]["message"]["usage"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
}

#[test]
fn the_status_line_is_refreshed_and_tells_the_limits_only_after_the_first_call() {
    let place = Place::new();
    place.behave("a", &json!({"usage": {"fiveHour": {"usedPercent": 42, "resetsAt": 1_795_357_546}}}));
    place.set_hooks(true);
    let _agent = place.start("a", &[]);
    assert!(place.wait_told("StatusLine", 1).input.get("rate_limits").is_none());
    let limits = place.wait_told("StatusLine", 2).input["rate_limits"].clone();
    assert_eq!(limits, json!({"five_hour": {"used_percentage": 42.0, "resets_at": 1_795_357_546}}));
}

#[test]
fn a_bracketed_paste_is_one_prompt() {
    let place = Place::new();
    let mut agent = place.start_on_terminal("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.press("\x1b[200~first line\rsecond line\r\x1b[201~");
    agent.press("\r");
    assert_eq!(place.wait_told("UserPromptSubmit", 1).input["prompt"], "first line\nsecond line");
}

#[test]
fn a_terminal_shows_the_draft_in_the_box() {
    let place = Place::new();
    let mut agent = place.start_on_screen("a", &[]);
    agent.wait_status("idle");
    agent.press("half a prompt");
    read_until(&agent, "❯ half a prompt");
}

#[test]
fn a_permission_dialog_takes_enter_and_loses_text() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("do it [[ask]] [[tool 0.05]]");
    let entry = agent.wait_status("waiting");
    assert_eq!(entry["waitingFor"], "permission prompt");
    place.wait_told("PermissionRequest", 1);
    agent.say("a lost prompt");
    place.wait_told("PostToolUse", 1);
    place.wait_told("Stop", 1);
    let records = place.transcript(ID);
    assert_eq!(prompts(&records), ["do it [[ask]] [[tool 0.05]]"]);
    assert!(agent.wait_status("idle").get("waitingFor").is_none());
}

#[test]
fn a_prompt_during_a_turn_waits_for_its_end() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("first [[slow 0.3]]");
    agent.wait_status("busy");
    agent.say("second");
    place.wait_told("Stop", 2);
    assert_eq!(prompts(&place.transcript(ID)), ["first [[slow 0.3]]", "second"]);
}

#[test]
fn escape_stops_a_turn_and_no_hook_tells_of_it() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("[[tool 60]]");
    place.wait_told("PreToolUse", 1);
    let tool = agent.wait_tool();
    agent.press("\x1b");
    agent.wait_status("idle");
    let records = place.transcript(ID);
    let last = records.last().expect("records");
    assert_eq!(last["message"]["content"][0]["text"], "[Request interrupted by user for tool use]");
    assert!(!place.was_told("Stop"));
    assert!(!lives(tool));
}

#[test]
fn a_background_shell_keeps_the_status_and_wakes_the_session() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("[[shell 0.8]]");
    agent.wait_status("shell");
    let stopped = place.wait_told("Stop", 1);
    assert_eq!(stopped.input["background_tasks"].as_array().map(Vec::len), Some(1));
    place.wait_told("Stop", 2);
    agent.wait_status("idle");
}
