//! Taking a conversation up again under the other home (facts/claude-code.md, section 6).

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Place},
    waiting::wait_until,
};

const ID: &str = "33333333-0000-4000-8000-000000000001";
const GOES_ON: [(&str, &str); 1] = [("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1")];

/// Starts under `a`, has one turn, then gives `prompt`.
fn begun(place: &Place, prompt: &str) -> Agent {
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("remember the heron");
    place.wait_told("Stop", 1);
    agent.wait_status("idle");
    agent.say(prompt);
    place.wait_told("UserPromptSubmit", 2);
    agent
}

/// Goes on under `b`, waits until it is idle, and gives the records that this has added.
fn gone_on(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let before = place.transcript(ID).len();
    let arguments = [&["--resume", ID], arguments].concat();
    let mut agent = place.start_with("b", &arguments, &GOES_ON);
    let told = place.wait_told("SessionStart", 2);
    assert_eq!((told.input["source"].as_str(), told.home), (Some("resume"), place.home("b")));
    assert_eq!(agent.wait_status("idle")["sessionId"], ID);
    // The end tells that everything is on disk.
    agent.stop();
    place.transcript(ID).split_off(before)
}

fn texts(records: &[Value]) -> Vec<&str> {
    let users = records.iter().filter(|record| record["type"] == "user");
    users.filter_map(|record| record["message"]["content"].as_str().or(record["message"]["content"][0]["text"].as_str())).collect()
}

#[test]
fn an_idle_conversation_stays_idle() {
    let place = Place::new();
    let mut agent = begun(&place, "second");
    place.wait_told("Stop", 2);
    agent.stop();
    assert!(texts(&gone_on(&place, &[])).is_empty());
}

#[test]
fn an_unanswered_prompt_is_sent_again_as_it_was() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let place = Place::new();
        let mut agent = begun(&place, "second [[slow 1.5]]");
        wait_until("the record", || texts(&place.transcript(ID)).len() == 2);
        agent.signal(signal);
        agent.wait_end();
        let records = place.transcript(ID);
        let interrupted = records.iter().rfind(|record| record["type"] == "user").expect("it was written");
        let added = gone_on_after_stop(&place);
        assert_eq!(texts(&added), ["second [[slow 1.5]]"]);
        assert_eq!(place.wait_told("UserPromptSubmit", 3).input["prompt"], "second [[slow 1.5]]");
        let repeated = added.iter().find(|record| record["type"] == "user").expect("it was repeated");
        assert_eq!(repeated["parentUuid"], interrupted["parentUuid"]);
        assert_ne!(repeated["uuid"], interrupted["uuid"]);
    }
}

/// As [`gone_on`], but only stops after the turn that was taken up.
fn gone_on_after_stop(place: &Place) -> Vec<Value> {
    let before = place.transcript(ID).len();
    let mut agent = place.start_with("b", &["--resume", ID], &GOES_ON);
    place.wait_told("Stop", 2);
    agent.wait_status("idle");
    agent.stop();
    place.transcript(ID).split_off(before)
}

#[test]
fn the_first_prompt_of_all_is_gone_on_from_and_not_sent_again() {
    let place = Place::new();
    let mut agent = place.start("a", &["--session-id", ID]);
    agent.wait_status("idle");
    agent.say("first [[slow 60]]");
    wait_until("the record", || texts(&place.transcript(ID)).len() == 1);
    agent.stop();
    let before = place.transcript(ID).len();
    let mut agent = place.start_with("b", &["--resume", ID], &GOES_ON);
    place.wait_told("Stop", 1);
    agent.stop();
    assert_eq!(texts(&place.transcript(ID).split_off(before)), ["Continue from where you left off."]);
    assert_eq!(place.told().iter().filter(|told| told.event == "UserPromptSubmit").count(), 1);
}

#[test]
fn a_killed_tool_is_gone_on_from() {
    let place = Place::new();
    let mut agent = begun(&place, "[[tool 60]]");
    place.wait_told("PreToolUse", 1);
    agent.wait_tool();
    agent.stop();
    assert_eq!(texts(&gone_on_after_stop(&place)), ["Continue from where you left off."]);
    let submitted = place.told().iter().filter(|told| told.event == "UserPromptSubmit").count();
    assert_eq!(submitted, 2, "no hook tells of a prompt on the person's behalf");
}

#[test]
fn the_resume_prompt_replaces_the_default_one() {
    let place = Place::new();
    let mut agent = begun(&place, "[[tool 60]]");
    place.wait_told("PreToolUse", 1);
    agent.wait_tool();
    agent.stop();
    let mut agent = place.start_with("b", &["--resume", ID], &[GOES_ON[0], ("CLAUDE_CODE_RESUME_PROMPT", "The tool was cut off.")]);
    place.wait_told("Stop", 2);
    agent.stop();
    assert_eq!(texts(&place.transcript(ID)).last(), Some(&"The tool was cut off."));
}

#[test]
fn a_tool_that_died_with_its_agent_falls_back_to_the_prompt() {
    let place = Place::new();
    let mut agent = begun(&place, "second [[tool 2]]");
    place.wait_told("PreToolUse", 1);
    agent.signal(Signal::SIGKILL);
    agent.wait_end();
    assert_eq!(texts(&gone_on_after_stop(&place))[0], "second [[tool 2]]");
}

#[test]
fn a_limit_on_one_account_is_gone_on_from_under_the_other() {
    let place = Place::new();
    let mut agent = begun(&place, "[[limit]]");
    assert_eq!(place.wait_told("StopFailure", 1).input["error"], "rate_limit");
    agent.wait_status("idle");
    agent.stop();
    assert_eq!(texts(&gone_on_after_stop(&place)), ["Continue from where you left off."]);
}

#[test]
fn a_stop_by_a_person_is_respected() {
    let place = Place::new();
    let mut agent = begun(&place, "[[slow 60]]");
    agent.wait_status("busy");
    agent.press("\x1b");
    agent.wait_status("idle");
    agent.stop();
    assert!(texts(&gone_on(&place, &[])).is_empty());
}

#[test]
fn without_the_variable_nothing_goes_on() {
    let place = Place::new();
    let mut agent = begun(&place, "[[slow 60]]");
    wait_until("the record", || texts(&place.transcript(ID)).len() == 2);
    agent.stop();
    let before = place.transcript(ID).len();
    let mut agent = place.start("b", &["--resume", ID]);
    agent.wait_status("idle");
    agent.stop();
    assert!(texts(&place.transcript(ID).split_off(before)).is_empty());
}

#[test]
fn a_prompt_argument_is_given_to_an_idle_conversation_and_dropped_for_an_interrupted_one() {
    let place = Place::new();
    let mut agent = begun(&place, "second [[slow 1.5]]");
    wait_until("the record", || texts(&place.transcript(ID)).len() == 2);
    agent.stop();
    let mut agent = place.start_with("b", &["--resume", ID, "third"], &GOES_ON);
    place.wait_told("Stop", 2);
    agent.wait_status("idle");
    agent.stop();
    let mut agent = place.start_with("a", &["--resume", ID, "fourth"], &GOES_ON);
    place.wait_told("Stop", 3);
    agent.stop();
    let records = place.transcript(ID);
    assert_eq!(texts(&records), ["remember the heron", "second [[slow 1.5]]", "second [[slow 1.5]]", "fourth"]);
    let answer = place.wait_told("Stop", 3).input["last_assistant_message"].clone();
    assert!(answer.as_str().is_some_and(|text| text.starts_with("Prompt 3 of this conversation")), "{answer}");
}

#[test]
fn a_home_may_refuse_to_resume() {
    let place = Place::new();
    let mut agent = begun(&place, "second");
    place.wait_told("Stop", 2);
    agent.stop();
    place.behave("b", &json!({"refuseResume": true}));
    let refused = place.run("b", &["--resume", ID]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).starts_with("No conversation found"));
}
