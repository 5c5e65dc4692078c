use std::{collections::BTreeMap, os::unix::net::UnixDatagram};

use jiff::tz::TimeZone;

use super::*;
use crate::{
    host::{
        intake::{Intake, Origin, pool_line, run_statusline},
        process,
    },
    model::Pid,
};

/// A runtime directory, and an agent in a session.
struct Agent {
    place: tempfile::TempDir,
    session: Option<SessionName>,
}

impl Agent {
    fn new() -> Self {
        Self { place: tempfile::tempdir().expect("a directory"), session: SessionName::new("s1").ok() }
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("intake.sock")
    }

    fn bind(&self) -> Intake {
        Intake::bind(&self.socket(), &self.place.path().join("spool")).expect("bound")
    }

    /// What is shown when the status line runs with so many tokens in the context.
    fn say(&self, tokens: u64, at: Timestamp) -> String {
        let process = process::identity(Pid(std::process::id().cast_signed())).expect("readable");
        let origin = Origin { process, home: None, session: self.session.clone() };
        let body = serde_json::json!({ "context_tokens": tokens }).to_string();
        let line = run_statusline(body.as_bytes(), origin, at, &TimeZone::UTC, &self.socket(), &BTreeMap::new(), &[]);
        String::from_utf8(line).expect("text")
    }
}

/// The sizes of the contexts that were reported by now.
async fn heard(intake: &mut Intake) -> Vec<u64> {
    let mut heard = Vec::new();
    while let Some(message) = crate::host::ready::now(intake.recv()).await {
        heard.extend(message.expect("received").report.context_tokens);
    }
    heard
}

#[tokio::test]
async fn what_was_just_said_is_not_said_again() {
    let agent = Agent::new();
    let mut intake = agent.bind();
    let at = Timestamp::now();
    for _ in 0..5 {
        agent.say(7, at);
    }
    assert_eq!(heard(&mut intake).await, [7]);
    agent.say(8, at);
    agent.say(7, at);
    assert_eq!(heard(&mut intake).await, [8, 7], "anything else is said at once, also what was said before that");
}

#[tokio::test]
async fn the_same_is_said_again_after_a_while_and_when_there_is_doubt() {
    let agent = Agent::new();
    let _intake = agent.bind();
    let begun = Timestamp::now();
    let after = |seconds: i64| begun + jiff::SignedDuration::from_secs(seconds);
    let message = |seconds: i64, answered: i64, pid: i32| Message {
        kind: crate::host::intake::Kind::StatusLine,
        process: Some(crate::model::ProcessId { pid: Pid(pid), started: 1 }),
        home: Some("/homes/a".into()),
        at: after(seconds),
        answered_at: Some(Timestamp::from_second(answered).expect("in range")),
        report: crate::host::agent::report::Report::default(),
    };
    let saying = |message: &Message| Saying::of(message, agent.session.as_ref(), &agent.socket()).expect("somebody listens");
    assert!(!saying(&message(0, 1000, 1)).is_known());
    saying(&message(0, 1000, 1)).keep();
    assert!(saying(&message(0, 1000, 1)).is_known());
    assert!(saying(&message(REPEATED - 1, 1003, 1)).is_known(), "a start time that is known to a few hundredths only");
    assert!(!saying(&message(REPEATED, 1000, 1)).is_known(), "a while later");
    assert!(!saying(&message(-2, 1000, 1)).is_known(), "the clock went back");
    assert!(!saying(&message(60, 1060, 1)).is_known(), "the same figures, known to be true for longer");
    assert!(!saying(&message(60, 1000, 2)).is_known(), "another process");
    let path = saying(&message(0, 1000, 1)).path;
    for odd in ["", "x\n", "9999999999999999999999\n"] {
        fs::write(&path, odd).expect("written");
        assert!(!saying(&message(0, 1000, 1)).is_known(), "{odd:?}");
    }
    assert!(Saying::of(&Message { process: None, ..message(0, 1000, 1) }, agent.session.as_ref(), &agent.socket()).is_none());
}

#[tokio::test]
async fn a_daemon_that_begins_anew_is_told_everything() {
    let agent = Agent::new();
    let mut first = agent.bind();
    let at = Timestamp::now();
    agent.say(7, at);
    assert_eq!(heard(&mut first).await, [7]);
    drop(first);
    agent.say(7, at);
    let mut second = agent.bind();
    agent.say(7, at);
    agent.say(7, at);
    assert_eq!(heard(&mut second).await, [7]);
    fs::remove_file(agent.socket()).expect("removed");
    assert!(second.ensure().expect("bound anew"), "somebody removed it");
    agent.say(7, at);
    assert_eq!(heard(&mut second).await, [7]);
}

#[tokio::test]
async fn without_a_session_everything_is_said() {
    let agent = Agent { session: None, ..Agent::new() };
    let mut intake = agent.bind();
    agent.say(7, Timestamp::now());
    agent.say(7, Timestamp::now());
    assert_eq!(heard(&mut intake).await, [7, 7]);
}

#[tokio::test]
async fn words_of_the_pool_are_shown_while_somebody_listens() {
    let agent = Agent::new();
    let at = Timestamp::now();
    let intake = agent.bind();
    pool_line::write(&pool_line::path(&agent.socket()), "8 idle 2 working").expect("written");
    assert_eq!(agent.say(7, at), "pool 8 idle 2 working\n", "said");
    assert_eq!(agent.say(7, at), "pool 8 idle 2 working\n", "known");
    // As one that is killed does: the file stays.
    let kept = agent.place.path().join("kept");
    fs::rename(agent.socket(), &kept).expect("kept");
    drop(intake);
    fs::rename(&kept, agent.socket()).expect("put back");
    assert_eq!(agent.say(7, at), "\n");
    agent.say(7, at);
    let other = agent.place.path().join("other");
    drop(UnixDatagram::bind(&other).expect("bound"));
    fs::rename(&other, agent.socket()).expect("replaced");
    assert_eq!(agent.say(7, at), "\n", "nobody listens there either");
}
