//! What the CLI shows while it waits for a person is recognised.

use claude_failover::{host::agent::screen::read, observed::Shown};

use crate::{
    api::Reply,
    lab::{Lab, Session},
    waiting::{DEADLINE, found_within},
};

/// Waits until the screen of a session shows what is wanted.
#[track_caller]
fn wait_shown(session: &Session<'_>, wanted: impl Fn(&Shown) -> bool) {
    let found = found_within(DEADLINE, || wanted(&read(&session.screen()).0).then_some(()));
    assert!(found.is_some(), "it shows {:?}\n{}", read(&session.screen()), session.screen());
}

#[test]
fn dialogs_are_recognised() {
    let Some(lab) = Lab::open() else { return };

    // At a start in a home that does not trust the directory.
    std::fs::write(lab.home("b").join(".claude.json"), r#"{"hasCompletedOnboarding": true}"#).expect("written");
    let session = lab.start("b", &["--permission-mode", "manual"]);
    wait_shown(&session, |shows| matches!(shows, Shown::Trust { directory: Some(directory) } if directory.ends_with("/work")));
    session.stop();

    let session = lab.start("a", &["--permission-mode", "manual"]);
    session.wait_status("idle");
    wait_shown(&session, |shows| *shows == Shown::InputBox { draft: false });
    lab.api.change("a", |account| account.reply = Reply::Tool { command: "rm -rf build".to_owned() });
    session.say("clean up");
    session.wait_status("waiting");
    let is_asked = |shows: &Shown| {
        let Shown::Permission { tool, subject, question } = shows else { return false };
        tool.as_deref() == Some("Bash command") && subject.as_deref() == Some("rm -rf build") && question == "Do you want to proceed?"
    };
    wait_shown(&session, is_asked);
    session.stop();

    lab.api.change("a", |account| account.reply = Reply::Limit { claim: "seven_day" });
    let session = lab.start("a", &["--permission-mode", "manual"]);
    session.wait_status("idle");
    session.say("go on");
    session.wait_status("waiting");
    wait_shown(&session, |shows| matches!(shows, Shown::LimitMenu { limit: Some(limit) } if limit.contains("weekly limit")));
    session.stop();
}

#[test]
fn a_turn_is_told_from_an_input_box_at_rest() {
    let Some(lab) = Lab::open() else { return };
    let session = lab.start("a", &["--permission-mode", "acceptEdits"]);
    session.wait_status("idle");
    wait_shown(&session, |shows| *shows == Shown::InputBox { draft: false });
    // While it answers, and while a tool runs.
    for reply in [Reply::Slow, Reply::Tool { command: "sleep 600".to_owned() }] {
        lab.api.change("a", |account| account.reply = reply);
        session.say("go on");
        session.wait_status("busy");
        wait_shown(&session, |shows| *shows == Shown::Working);
        session.press("Escape");
        session.wait_status("idle");
        wait_shown(&session, |shows| matches!(shows, Shown::InputBox { .. }));
    }
    session.stop();
}
