use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    host::{agent::report::Report, process},
    model::{AccountName, ConversationId, Percent, Pid, ProcessId, ReadingSource, WindowKind},
    observed::StartReport,
};

const START: &[u8] = include_bytes!("../../../tests/fixtures/agent/session-start.json");
const STATUS_LINE: &[u8] = include_bytes!("../../../tests/fixtures/agent/statusline.json");
const CONVERSATION: ConversationId = ConversationId(Uuid::from_u128(0x0b0e_7c1e_6f0f_4c58_9b52_1d6a_3f2b_9c10));
const PATIENCE: Duration = Duration::from_secs(10);

/// A runtime directory and a state directory.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("run/intake.sock")
    }

    fn spool(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    fn bind(&self) -> Intake {
        Intake::bind(&self.socket(), &self.spool()).expect("bound")
    }

    fn hook(&self, event: &str, body: &[u8]) -> Delivery {
        run_hook(event, body, origin(), now(), &self.socket(), &self.spool())
    }

    fn prompt(&self, prompt: &str) -> Delivery {
        self.hook("UserPromptSubmit", serde_json::json!({ "prompt": prompt }).to_string().as_bytes())
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// This test as the agent: a process that lives, with its start time.
fn ourselves() -> ProcessId {
    process::identity(Pid(std::process::id().cast_signed())).expect("readable").expect("we live")
}

fn origin() -> Origin {
    Origin { process: Some(ourselves()), home: Some("/homes/backup".into()), session: None }
}

async fn next(intake: &mut Intake) -> Message {
    tokio::time::timeout(PATIENCE, intake.recv()).await.expect("in time").expect("received")
}

async fn next_prompt(intake: &mut Intake) -> String {
    next(intake).await.report.prompt.expect("a prompt")
}

/// Lets the receiver look once, and then give up: nothing waits.
fn finds_nothing(intake: &mut Intake) {
    let waiting = std::pin::pin!(intake.recv());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = waiting.poll(&mut context);
    assert!(polled.is_pending(), "{polled:?}");
}

#[tokio::test]
async fn a_start_is_attributed_to_the_process_that_reported_it() {
    let place = Place::new();
    let mut intake = place.bind();
    assert_eq!(place.hook("SessionStart", START), Delivery::Sent);
    let message = next(&mut intake).await;
    assert_eq!(message.home.as_deref(), Some(Path::new("/homes/backup")));
    let report = StartReport { pid: ourselves().pid, conversation: CONVERSATION, source: "resume".to_owned() };
    assert_eq!(message.start_report(), Some((ourselves(), report)));
    assert_eq!(message.usage(), None);

    // The same words at another event, or of a process that was gone, report no start.
    assert_eq!(Message { kind: Kind::Hook("Stop".to_owned()), ..message.clone() }.start_report(), None);
    assert_eq!(Message { process: None, ..message }.start_report(), None);
}

#[tokio::test]
async fn a_status_line_is_a_reading_and_a_line() {
    let place = Place::new();
    let mut intake = place.bind();
    let transcript = place.0.path().join("transcript.jsonl");
    fs::write(&transcript, "").expect("written");
    let mut body: serde_json::Value = serde_json::from_slice(STATUS_LINE).expect("JSON");
    body["transcript_path"] = transcript.to_str().expect("UTF-8").into();
    let homes = BTreeMap::from([
        (AccountName::new("primary").expect("valid"), PathBuf::from("/homes/primary")),
        (AccountName::new("backup").expect("valid"), PathBuf::from("/homes/backup")),
    ]);
    // Of a process that is gone by now, so that only the transcript tells how old the figures are.
    let gone = || Origin { process: None, ..origin() };
    let run = |at| run_statusline(body.to_string().as_bytes(), gone(), at, &TimeZone::UTC, &place.socket(), &homes, &[]);
    let at: Timestamp = "2026-11-22T10:00:00Z".parse().expect("an instant");
    let line = "backup · 5h 42.5% until 11:16 · week 12% until Fri 09:00";
    assert_eq!(String::from_utf8_lossy(&run(at)), format!("{line}\n"));
    next(&mut intake).await;
    pool_line::write(&pool_line::path(&place.socket()), "8 idle 2 working").expect("written");
    assert_eq!(String::from_utf8_lossy(&run(at)), format!("{line} · pool 8 idle 2 working\n"));
    next(&mut intake).await;

    // An idle agent says the same an hour later: the figures are as old as its last answer.
    let later = now() + Duration::from_hours(1);
    run(later);
    let message = next(&mut intake).await;
    assert_eq!((message.at, message.start_report()), (later, None));
    let usage = message.usage().expect("a reading");
    let five_hour = &usage.windows[&WindowKind::FiveHour];
    assert_eq!((five_hour.used, five_hour.source), (Percent::new(42.5).expect("valid"), ReadingSource::Statusline));
    let written = Timestamp::try_from(fs::metadata(&transcript).expect("there").modified().expect("a time")).expect("a time");
    assert_eq!(five_hour.measured_at, written);
    assert_eq!(usage.windows.len(), 2);
}

#[tokio::test]
async fn without_an_answer_the_figures_are_as_old_as_the_process() {
    let place = Place::new();
    let mut intake = place.bind();
    let transcript = place.0.path().join("transcript.jsonl");
    let file = fs::File::create(&transcript).expect("made");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("of an earlier process");
    let mut body: serde_json::Value = serde_json::from_slice(STATUS_LINE).expect("JSON");
    body["transcript_path"] = transcript.to_str().expect("UTF-8").into();
    let before = now();
    run_statusline(body.to_string().as_bytes(), origin(), before, &TimeZone::UTC, &place.socket(), &BTreeMap::new(), &[]);
    let answered_at = next(&mut intake).await.answered_at.expect("a living process");
    // The process of the tests is younger than an hour and did not start in the future.
    assert!(answered_at <= before && answered_at > before - Duration::from_hours(1), "{answered_at}");
}

#[tokio::test]
async fn no_figures_are_no_reading() {
    let place = Place::new();
    let mut intake = place.bind();
    let line = run_statusline(&b"{}"[..], origin(), now(), &TimeZone::UTC, &place.socket(), &BTreeMap::new(), &[]);
    assert_eq!((line.as_slice(), next(&mut intake).await.usage()), (b"\n".as_slice(), None));
}

#[tokio::test]
async fn what_is_said_while_nobody_listens_is_handed_out_later_and_in_order() {
    let place = Place::new();
    assert_eq!(place.prompt("a"), Delivery::Spooled);
    assert_eq!(place.prompt("b"), Delivery::Spooled);
    // The next status line says it anew.
    run_statusline(STATUS_LINE, origin(), now(), &TimeZone::UTC, &place.socket(), &BTreeMap::new(), &[]);
    let mut intake = place.bind();
    assert_eq!(place.prompt("c"), Delivery::Sent);
    let heard = [next_prompt(&mut intake).await, next_prompt(&mut intake).await, next_prompt(&mut intake).await];
    assert_eq!(heard, ["a", "b", "c"]);
    finds_nothing(&mut intake);
    assert!(!place.spool().exists());
}

#[tokio::test]
async fn a_daemon_that_dies_with_messages_in_hand_gets_them_again() {
    let place = Place::new();
    place.prompt("a");
    place.prompt("b");
    let mut intake = place.bind();
    assert_eq!(next_prompt(&mut intake).await, "a");
    drop(intake);
    let mut intake = place.bind();
    assert_eq!([next_prompt(&mut intake).await, next_prompt(&mut intake).await], ["a", "b"]);
}

#[tokio::test]
async fn a_full_socket_holds_nobody_up_and_loses_nothing() {
    let place = Place::new();
    let mut intake = place.bind();
    let began = Instant::now();
    let mut sent = 0;
    let mut spooled = 0;
    // More than the kernel queues, whatever net.unix.max_dgram_qlen says, until twenty had to be spooled.
    while spooled < 20 {
        match place.prompt(&format!("{:06}", sent + spooled)) {
            Delivery::Sent => sent += 1,
            Delivery::Spooled => spooled += 1,
            Delivery::Lost => panic!("lost after {sent} and {spooled}"),
        }
        assert!(began.elapsed() < PATIENCE, "the sender was held up");
    }
    assert!(sent > 0);
    let mut heard = Vec::new();
    while heard.len() < sent + spooled {
        heard.push(next_prompt(&mut intake).await);
    }
    let expected: Vec<_> = (0..sent + spooled).map(|number| format!("{number:06}")).collect();
    assert_eq!(heard, expected);
    finds_nothing(&mut intake);
}

/// The race at the edge: the receiver looked at the spool just before the line was written, and sleeps.
#[tokio::test]
async fn a_line_that_comes_to_the_spool_late_wakes_the_receiver() {
    let place = Place::new();
    let mut intake = place.bind();
    let mut waiting = std::pin::pin!(intake.recv());
    assert!(waiting.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
    let late = Message {
        kind: Kind::Hook("Stop".to_owned()),
        process: None,
        home: None,
        at: now(),
        answered_at: None,
        report: Report { prompt: Some("late".to_owned()), ..Report::default() },
    };
    assert_eq!(call::set_aside(&place.socket(), &place.spool(), &late.encode()), Delivery::Spooled);
    let message = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("received");
    assert_eq!(message.report.prompt.as_deref(), Some("late"));
}

#[tokio::test]
async fn garbage_is_skipped() {
    let place = Place::new();
    let mut intake = place.bind();
    let sender = UnixDatagram::unbound().expect("a socket");
    let whole = Message::encode(&Message {
        kind: Kind::StatusLine,
        process: None,
        home: None,
        at: now(),
        answered_at: None,
        report: Report::default(),
    });
    for bytes in [&b"\xff"[..], b"{}", &whole[..whole.len() / 2], &vec![b' '; MESSAGE_LIMIT + 100]] {
        sender.send_to(bytes, place.socket()).expect("sent");
    }
    assert_eq!(place.prompt("good"), Delivery::Sent);
    assert_eq!(next_prompt(&mut intake).await, "good");
}

#[tokio::test]
async fn an_input_that_cannot_be_read_still_wakes_the_daemon() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let place = Place::new();
    let mut intake = place.bind();
    assert_eq!(run_hook("Stop\n; rm", Broken, origin(), now(), &place.socket(), &place.spool()), Delivery::Sent);
    let message = next(&mut intake).await;
    assert_eq!((message.kind, message.report), (Kind::Hook("Stoprm".to_owned()), Report::default()));
}

#[tokio::test]
async fn the_socket_is_for_us_alone() {
    let place = Place::new();
    let intake = place.bind();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let directory = place.socket().parent().expect("below").to_owned();
    assert_eq!((mode(&place.socket()), mode(&directory)), (0o600, 0o700));
    assert!(matches!(Intake::bind(&place.socket(), &place.spool()), Err(IntakeError::InUse { .. })), "a second daemon");
    drop(intake);
    assert_eq!(fs::read_dir(&directory).expect("listed").count(), 0);

    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("opened");
    let error = Intake::bind(&place.socket(), &place.spool()).expect_err("anybody could take our place");
    assert!(matches!(error, IntakeError::UnsafeDirectory { mode: 0o777, .. }), "{error}");
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_anything_else_is_not() {
    let place = Place::new();
    let directory = place.socket().parent().expect("below").to_owned();
    fs::create_dir(&directory).expect("made");
    // Dropped without being removed, as after a kill.
    drop(UnixDatagram::bind(place.socket()).expect("bound"));
    assert_eq!(place.prompt("a"), Delivery::Spooled, "nobody listens");
    let mut intake = place.bind();
    assert_eq!(next_prompt(&mut intake).await, "a");
    drop(intake);
    fs::write(place.socket(), "a file").expect("written");
    assert!(matches!(Intake::bind(&place.socket(), &place.spool()), Err(IntakeError::NotASocket { .. })));
    assert_eq!(fs::read(place.socket()).expect("there"), b"a file");
}

#[tokio::test]
async fn a_socket_that_was_removed_is_bound_anew() {
    let place = Place::new();
    let mut intake = place.bind();
    assert!(!intake.ensure().expect("looked at"));
    fs::remove_file(place.socket()).expect("removed");
    assert_eq!(place.prompt("a"), Delivery::Spooled);
    assert!(intake.ensure().expect("bound"));
    assert_eq!(place.prompt("b"), Delivery::Sent);
    assert_eq!([next_prompt(&mut intake).await, next_prompt(&mut intake).await], ["a", "b"]);
}

/// The daemon waits in a `select!`: dropping the wait must not drop a message.
#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let place = Place::new();
    let mut intake = place.bind();
    for number in 0..50 {
        finds_nothing(&mut intake);
        let prompt = number.to_string();
        assert_eq!(place.prompt(&prompt), Delivery::Sent);
        assert_eq!(next_prompt(&mut intake).await, prompt);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn every_message_fits_and_keeps_who_it_is_about(prompt in ".{0,2000}", path in ".{0,4000}", control in "[\\x00-\\x1f]{0,5000}") {
        let message = Message {
            kind: Kind::Hook("UserPromptSubmit".to_owned()),
            process: Some(ProcessId { pid: Pid(7), started: 9 }),
            home: Some(control.clone().into()),
            at: Timestamp::UNIX_EPOCH,
            answered_at: None,
            report: Report { prompt: Some(prompt + &control), transcript: Some((path + &control).into()), ..Report::default() },
        };
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MESSAGE_LIMIT);
        let read = Message::decode(&bytes).expect("whole");
        prop_assert_eq!((&read.kind, read.process, read.at), (&message.kind, message.process, message.at));
        if message.report.prompt == read.report.prompt {
            prop_assert_eq!(read, message);
        }
    }
}
