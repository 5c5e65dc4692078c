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
        note(Some(self.0.path()), None, &name(session), event, report, at(second));
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

/// What the file of a project says of a session.
fn read(project: &Path, session: &SessionName) -> Option<Word> {
    read_all(&[project.to_owned()]).into_iter().find_map(|(name, word)| (name == *session).then_some(word))
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
fn many_places_in_few_projects_are_few_files() {
    let projects: Vec<Project> = (0..=FILES).map(|_| Project::new()).collect();
    let mut places = Vec::new();
    for (number, project) in projects.iter().enumerate() {
        project.note(&format!("s{number}"), "UserPromptSubmit", &prompt("go on"), 0);
        let inside = |count: usize| (0..count).map(|place| project.0.path().join(format!("place-{place}")));
        places.extend(inside(if number == 0 { 2 * FILES } else { 1 }));
    }
    for place in &places {
        fs::create_dir(place).expect("made");
    }
    let said: Vec<_> = read_all(&places).into_iter().map(|(session, _)| session).collect();
    let expected: Vec<_> = (0..FILES).map(|number| name(&format!("s{number}"))).collect();
    assert_eq!(said, expected, "each once, and no more than are read in one look");
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
    note(Some(elsewhere.path()), None, &name("s1"), "UserPromptSubmit", &prompt("go"), at(0));
    untouched();
    let other = tempfile::tempdir().expect("a directory");
    symlink(elsewhere.path(), other.path().join(QUEUE)).expect("linked");
    note(Some(other.path()), None, &name("s1"), "UserPromptSubmit", &prompt("go"), at(0));
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
fn an_agent_below_a_project_is_in_it() {
    let project = Project::new();
    let deep = project.0.path().join("a/b");
    fs::create_dir_all(&deep).expect("made");
    let say = |cwd: &Path, event: &str, second| note(Some(cwd), None, &name("s1"), event, &prompt("go"), at(second));
    say(&deep, "UserPromptSubmit", 0);
    assert_eq!(project.status().first.state, AgentState::Working);
    assert_eq!(read(&deep, &name("s1")).map(|word| word.activity), Some(Activity::Working), "and it is read from there");

    // A project inside of it has its own, and so has whatever stands in the place of a queue.
    fs::create_dir_all(deep.join(QUEUE)).expect("made");
    say(&deep, "Stop", 1);
    assert_eq!(project.status().first.state, AgentState::Working);
    assert!(deep.join(QUEUE).join(FILE).exists());
    fs::remove_dir_all(deep.join(QUEUE)).expect("removed");
    fs::write(deep.join(QUEUE), "").expect("written");
    say(&deep, "Stop", 2);
    assert_eq!(project.status().first.state, AgentState::Working);

    // Not through a link that is the agent's own way there, but where it really is.
    let elsewhere = tempfile::tempdir().expect("a directory");
    symlink(elsewhere.path(), project.0.path().join("out")).expect("linked");
    say(&project.0.path().join("out"), "Stop", 3);
    assert_eq!(project.status().first.state, AgentState::Working);
    assert_eq!(fs::read_dir(elsewhere.path()).expect("listed").count(), 0);

    let far = (0..=LEVELS).fold(project.0.path().to_owned(), |path, _| path.join("x"));
    fs::create_dir_all(&far).expect("made");
    say(&far, "Stop", 4);
    assert_eq!(project.status().first.state, AgentState::Working, "the search is bounded");
}

#[test]
fn who_has_a_task_of_another_project_is_told_of_in_both() {
    let (own, other) = (Project::new(), Project::new());
    let say = |cwd: &Project, at_work: &Project, event: &str| {
        note(Some(cwd.0.path()), Some(at_work.0.path()), &name("s1"), event, &prompt("go"), at(0));
    };
    say(&own, &other, "UserPromptSubmit");
    assert_eq!((own.status().first.state, other.status().first.state), (AgentState::Working, AgentState::Working));
    say(&own, &own, "Stop");
    assert_eq!((own.status().first.state, other.status().first.state), (AgentState::Idle, AgentState::Working));
    // The project of a task is named by us: nothing is looked for above it.
    let below = other.0.path().join("below");
    fs::create_dir(&below).expect("made");
    note(None, Some(&below), &name("s1"), "Stop", &prompt("go"), at(0));
    assert_eq!(other.status().first.state, AgentState::Working);
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
