use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Barrier};

use super::*;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(directory.path().join(QUEUE).join("inbox")).expect("a queue");
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(QUEUE).join(FILE)
    }

    fn note(&self, session: &str, event: &str, report: &Report, second: i64) {
        note(self.0.path(), &name(session), event, report, at(second));
    }

    fn status(&self) -> AgentStatus {
        parse(&fs::read(self.file()).expect("there")).expect("it reads")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path().join(QUEUE)).expect("listed");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

fn name(name: &str) -> SessionName {
    SessionName::new(name).expect("valid")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_341_600 + second).expect("in range")
}

fn prompt(prompt: &str) -> Report {
    Report { prompt: Some(prompt.to_owned()), ..Report::default() }
}

fn source(source: &str) -> Report {
    Report { source: Some(source.to_owned()), ..Report::default() }
}

#[test]
fn a_turn_is_told_from_its_beginning_to_its_end() {
    let project = Project::new();
    project.note("s1", "SessionStart", &source("startup"), 0);
    let status = project.status();
    assert_eq!(
        (status.first.state, status.session, status.first.heartbeat, status.first.since),
        (AgentState::Idle, Some(name("s1")), at(0), Some(at(0)))
    );

    project.note("s1", "UserPromptSubmit", &prompt("go"), 10);
    project.note("s1", "Notification", &Report::default(), 20);
    let status = project.status();
    assert_eq!((status.first.state, status.first.heartbeat, status.first.since), (AgentState::Working, at(20), Some(at(10))));
    let word = read(project.0.path(), &name("s1")).expect("a word");
    assert_eq!((word.activity, word.at, word.since), (Activity::Working, at(20), at(10)));

    for (event, report) in [("SessionStart", source("resume")), ("SessionStart", source("compact"))] {
        project.note("s1", event, &report, 25);
        assert_eq!(project.status().first.state, AgentState::Working, "its turn goes on behind {report:?}");
    }
    project.note("s1", "Stop", &Report::default(), 30);
    assert_eq!((project.status().first.state, project.status().first.since), (AgentState::Idle, Some(at(30))));
    project.note("s1", "SessionEnd", &Report::default(), 40);
    assert_eq!(
        (project.status().first.state, project.status().session),
        (AgentState::Idle, None),
        "nothing is left of a session that ended"
    );
    assert_eq!(project.names(), ["inbox", FILE]);
}

#[test]
fn several_sessions_stand_side_by_side() {
    let project = Project::new();
    project.note("s1", "UserPromptSubmit", &prompt("go"), 0);
    project.note("s2", "SessionStart", &source("startup"), 5);
    let status = project.status();
    assert_eq!(
        (status.first.state, status.session, status.first.heartbeat),
        (AgentState::Working, Some(name("s1")), at(0)),
        "who works goes first"
    );
    assert_eq!(status.sessions.keys().map(SessionName::as_str).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!(read(project.0.path(), &name("s2")).map(|word| word.activity), Some(Activity::Idle));
    assert_eq!(read(project.0.path(), &name("s3")), None);
    project.note("s1", "SessionEnd", &Report::default(), 6);
    assert_eq!((project.status().session, project.status().sessions.len()), (Some(name("s2")), 0));
    project.note("s3", "SessionStart", &source("startup"), 2 * 86_400);
    assert_eq!(project.status().session, Some(name("s3")));
    assert_eq!(project.status().sessions.len(), 0, "who said nothing for a day is forgotten");
}

#[test]
fn the_task_is_the_one_whose_marker_carries_the_claim() {
    let project = Project::new();
    let marker = |task: &str, claim: &str| {
        let marker = serde_json::json!({ "session": "s1", "attempt": 1, "claim": claim, "claimedAt": at(0), "leaseUntil": at(60) });
        fs::write(project.0.path().join(QUEUE).join("inbox").join(format!("{task}.dispatched")), marker.to_string()).expect("written");
    };
    marker("one.md", "000000000001");
    marker("two words.md", "000000000002");
    project.note("s1", "UserPromptSubmit", &prompt("do it [claim 000000000002]"), 0);
    assert_eq!(project.status().first.task.expect("a task").as_str(), "two words.md");
    project.note("s1", "UserPromptSubmit", &prompt("hurry"), 1);
    assert_eq!(project.status().first.task.expect("still").as_str(), "two words.md");
    assert_eq!(read(project.0.path(), &name("s1")).expect("a word").says, "working on two%20words.md");
    project.note("s1", "Stop", &Report::default(), 2);
    assert_eq!(project.status().first.task, None);
    project.note("s1", "UserPromptSubmit", &prompt("[claim 00000000000f]"), 3);
    assert_eq!(project.status().first.task, None, "a claim that nobody made names nothing");
}

#[test]
fn a_broken_or_foreign_file_says_nothing_and_is_replaced() {
    let project = Project::new();
    let long = format!("{{\"state\":\"idle\",\"heartbeat\":\"{}\",\"x\":\"{}\"}}", at(0), "x".repeat(70_000));
    for content in [
        "",
        "{",
        "null",
        "[]",
        "{\"state\":\"idle\"}",
        "{\"state\":\"dreaming\",\"heartbeat\":\"2026-11-22T10:00:00Z\"}",
        "\0\u{1b}",
        &long,
    ] {
        fs::write(project.file(), content).expect("written");
        assert_eq!(read(project.0.path(), &name("s1")), None, "{content:.40}");
        project.note("s1", "UserPromptSubmit", &prompt("go"), 1);
        assert_eq!(project.status().first.state, AgentState::Working, "{content:.40}");
    }
    let script = format!("{{\"state\":\"working\",\"session\":\"s9\",\"heartbeat\":\"{}\",\"mine\":1}}", at(0));
    fs::write(project.file(), script).expect("written");
    assert_eq!(read(project.0.path(), &name("s9")).map(|word| word.activity), Some(Activity::Working));
    project.note("s1", "SessionStart", &source("startup"), 1);
    assert!(project.status().sessions.contains_key(&name("s9")), "what a script said is kept");
}

#[test]
fn nothing_is_written_but_to_a_queue_of_ours() {
    let project = Project::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let untouched = || assert_eq!(fs::read_dir(elsewhere.path()).expect("listed").count(), 0);
    // No queue, and a queue that leads away.
    note(elsewhere.path(), &name("s1"), "UserPromptSubmit", &prompt("go"), at(0));
    untouched();
    let other = tempfile::tempdir().expect("a directory");
    symlink(elsewhere.path(), other.path().join(QUEUE)).expect("linked");
    note(other.path(), &name("s1"), "UserPromptSubmit", &prompt("go"), at(0));
    untouched();
    // A file, or a draft, that leads away.
    symlink(elsewhere.path().join("f"), project.0.path().join(QUEUE).join(DRAFT)).expect("linked");
    project.note("s1", "UserPromptSubmit", &prompt("go"), 0);
    untouched();
    fs::remove_file(project.0.path().join(QUEUE).join(DRAFT)).expect("removed");
    symlink(elsewhere.path().join("f"), project.file()).expect("linked");
    project.note("s1", "UserPromptSubmit", &prompt("go"), 0);
    untouched();
    assert!(fs::symlink_metadata(project.file()).expect("there").is_symlink(), "what is not a file is left alone");
    assert_eq!(read(project.0.path(), &name("s1")), None);
}

#[test]
fn a_writer_gives_up_on_one_that_does_not_end() {
    let project = Project::new();
    project.note("s1", "SessionStart", &source("startup"), 0);
    let held = take_turn(open_queue(project.0.path()).expect("a queue").as_fd()).expect("a turn");
    let begun = Instant::now();
    project.note("s1", "UserPromptSubmit", &prompt("go"), 1);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(project.status().first.state, AgentState::Idle);
    drop(held);
    project.note("s1", "UserPromptSubmit", &prompt("go"), 2);
    assert_eq!(project.status().first.state, AgentState::Working, "what it left behind is taken over");
}

#[test]
fn writers_at_the_same_time_lose_no_session_and_never_leave_half_a_file() {
    let project = Project::new();
    let barrier = Barrier::new(4);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (project, barrier) = (&project, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let session = format!("s{writer}");
                // A writer may give up when it does not get its turn; it says it again at its next event.
                for round in 0..2000 {
                    project.note(&session, "UserPromptSubmit", &prompt("go"), round);
                    if read(project.0.path(), &name(&session)).is_some_and(|word| word.at == at(round)) && round > 20 {
                        break;
                    }
                    assert!(fs::read(project.file()).map_or(true, |bytes| parse(&bytes).is_some()), "it is whole at any time");
                }
            });
        }
    });
    assert_eq!(project.status().sessions.len(), 4);
    assert_eq!(project.names(), ["inbox", FILE]);
}
