//! A conversation moves from one account to another with only `projects` shared.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    lab::{Lab, Told},
    waiting::{wait_for, wait_until},
};

const GOES_ON: [(&str, &str); 1] = [("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")];

#[test]
fn an_idle_conversation_is_resumed_whole_under_the_other_account_and_stays_idle() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    let session = lab.start("a", &["--session-id", &id, "--permission-mode", "acceptEdits"]);
    session.wait_status("idle");
    session.say("remember the heron");
    wait_for("the turn", || lab.api.turns("a").into_iter().next());
    wait_until("the answer", || session.screen().contains("REPLY users=1 account=a"));
    session.wait_status("idle");
    session.stop();
    let before = std::fs::read(lab.transcript_path(&id).expect("it was written")).expect("readable");

    let session = lab.start_with("b", &["--resume", &id, "--permission-mode", "acceptEdits"], &GOES_ON);
    assert_eq!(session.wait_status("idle")["sessionId"], id.as_str());
    assert!(lab.api.turns("b").is_empty(), "an idle conversation asks for nothing");
    session.say("what do you remember");
    let turn = wait_for("the turn under the other account", || lab.api.turns("b").into_iter().next());
    assert!(turn.body["messages"].to_string().contains("remember the heron"));
    wait_until("the answer", || session.screen().contains("REPLY users=2 account=b"));
    let after = std::fs::read(lab.transcript_path(&id).expect("still there")).expect("readable");
    assert!(after.starts_with(&before) && after.len() > before.len(), "the same file, with what stood in it");
}

/// Cuts a turn off under `a` after `before` other ones, resumes under `b`, and gives the records that this has added.
fn cut_off(lab: &Lab, before: usize) -> Vec<Value> {
    let id = Uuid::new_v4().to_string();
    let settings = lab.write_settings(true);
    let flags = ["--permission-mode", "acceptEdits", "--settings", &settings];
    let session = lab.start("a", &[&["--session-id", &id][..], &flags].concat());
    session.wait_status("idle");
    for turn in 0..before {
        session.say("remember the heron");
        wait_until("the turn's end", || lab.told().iter().filter(|told| told.event == "Stop").count() > turn);
        session.wait_status("idle");
    }
    session.say("count [[slow]]");
    wait_until("a part of the answer", || session.screen().contains("word1"));
    session.wait_status("busy");
    session.stop();
    let left = lab.transcript(&id).len();

    let session = lab.start_with("b", &[&["--resume", &id][..], &flags].concat(), &GOES_ON);
    let turn = wait_for("the turn under the other account", || lab.api.turns("b").into_iter().next());
    assert!(turn.body["messages"].to_string().contains("count [[slow]]"));
    session.wait_status("busy");
    session.stop();
    lab.transcript(&id).split_off(left)
}

fn prompts_told(lab: &Lab) -> Vec<Told> {
    lab.told().into_iter().filter(|told| told.event == "UserPromptSubmit").collect()
}

#[test]
fn a_prompt_without_an_answer_is_sent_again_under_the_other_account() {
    let Some(lab) = Lab::open() else { return };
    let added = cut_off(&lab, 1);
    let prompt = added.iter().find(|record| record["type"] == "user").expect("a record");
    assert_eq!(prompt["message"]["content"], "count [[slow]]");
    let told = prompts_told(&lab);
    assert_eq!((told.len(), &told[1].input["prompt"]), (3, &told[2].input["prompt"]));
    assert_ne!(told[1].input["prompt_id"], told[2].input["prompt_id"], "it is a turn of its own");
}

#[test]
fn the_first_prompt_of_all_is_gone_on_from_and_no_hook_tells_of_it() {
    let Some(lab) = Lab::open() else { return };
    let added = cut_off(&lab, 0);
    let prompt = added.iter().find(|record| record["type"] == "user").expect("a record");
    assert_eq!(prompt["message"]["content"][0]["text"], "Continue from where you left off.");
    assert_eq!(prompt["isMeta"], true);
    assert_eq!(prompts_told(&lab).len(), 1);
}

#[test]
fn a_running_tool_is_killed_its_result_recorded_and_gone_on_from() {
    let Some(lab) = Lab::open() else { return };
    let id = Uuid::new_v4().to_string();
    lab.answer_with_long_tool("a");
    let flags = ["--permission-mode", "bypassPermissions"];
    let session = lab.start("a", &[&["--session-id", &id][..], &flags].concat());
    session.wait_status("idle");
    session.say("use the tool");
    wait_until("the running tool", || lab.has_long_tool());
    session.stop();
    assert!(!lab.has_long_tool(), "the tool outlives the CLI");
    let record = lab.transcript(&id).into_iter().rfind(|record| record["type"] == "user").expect("a record");
    assert_eq!(record["message"]["content"][0]["content"], "Exit code 137", "{record:#} {}", session.screen());

    let _session = lab.start_with("b", &[&["--resume", &id][..], &flags].concat(), &GOES_ON);
    let turn = wait_for("the turn under the other account", || lab.api.turns("b").into_iter().next());
    let asked = turn.body["messages"].to_string();
    assert!(asked.contains("Exit code 137") && asked.contains("Continue from where you left off."), "{asked}");
}
