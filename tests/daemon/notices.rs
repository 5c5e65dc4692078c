//! What tells the daemon to look, and what it tells systemd. Each must come long before the next look that would find the same by itself.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    time::{Duration, Instant},
};

use claude_failover::store::Reader;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    pool::{Pool, wait_until_within},
    waiting::{DEADLINE, found_within, wait_until},
};

/// Well before the spec is read again unasked (30 s) and everything is looked at again (60 s).
const SOON: Duration = Duration::from_secs(10);
/// How long silence is listened to, where it has no end to wait for.
const SILENCE: Duration = Duration::from_secs(2);

/// systemd's end of the notifications.
struct Systemd(UnixDatagram);

impl Systemd {
    /// Listens, and has the daemon of `pool` told where.
    fn listen(pool: &mut Pool) -> Self {
        let path = pool.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bound");
        pool.daemon_environ.insert("NOTIFY_SOCKET", path);
        Self(socket)
    }

    /// The next notification, if one comes within this time.
    fn next(&self, within: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.0.set_read_timeout(Some(within)).expect("set");
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    }

    /// Everything until one of these lines comes; that one is the last.
    #[track_caller]
    fn until(&self, line: &str) -> Vec<String> {
        let mut all = Vec::new();
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            let Some(next) = self.next(DEADLINE) else { break };
            let found = next.lines().any(|found| found == line);
            all.push(next);
            if found {
                return all;
            }
        }
        panic!("no {line} among {all:?}");
    }

    /// Takes what is there until nothing has come for a while.
    fn settle(&self) {
        let until = Instant::now() + DEADLINE;
        while self.next(SILENCE).is_some() {
            assert!(Instant::now() < until, "the pool comes to no rest");
        }
    }
}

#[test]
fn systemd_is_told_of_readiness_progress_and_the_end() {
    let mut pool = Pool::applied(1);
    let systemd = Systemd::listen(&mut pool);
    pool.start_daemon();
    let before = systemd.until("READY=1");
    assert_eq!(before, ["READY=1"], "ready comes first, and behind the first pass");
    let progress = systemd.until("WATCHDOG=1").pop().expect("one");
    assert!(progress.lines().any(|line| line.strip_prefix("STATUS=").is_some_and(|status| status.contains("primary"))), "{progress}");
    // Fed by progress: a timer would feed it while nothing moves.
    systemd.settle();
    assert_eq!(systemd.next(SILENCE), None, "a quiet pool feeds nothing");
    pool.signal_daemon(Signal::SIGUSR1);
    systemd.until("WATCHDOG=1");
    systemd.settle();
    assert_eq!(pool.stop_daemon(Signal::SIGTERM).code(), Some(0));
    systemd.until("STOPPING=1");
    assert_eq!(systemd.next(Duration::from_millis(1)), None, "and nothing behind it");
}

#[test]
fn a_loop_that_stands_still_feeds_no_watchdog() {
    let mut pool = Pool::applied(1);
    pool.edit(|spec| {
        spec["prune"] = json!(true);
        spec["agent"]["stopGrace"] = json!("6s");
        spec["sessions"][0]["names"] = json!("s-{0..1}");
    });
    let systemd = Systemd::listen(&mut pool);
    pool.start_daemon();
    wait_until("both agents", || pool.agents().len() == 2);
    pool.talk();
    pool.behave("a", &json!({"exitMillis": 4_000}));
    systemd.settle();
    // One step that takes four seconds, in which nobody comes back to the loop.
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-0"));
    let ends = || is_ending(&pool);
    wait_until("the stop to be under way", ends);
    while systemd.next(Duration::from_millis(1)).is_some() {}
    assert_eq!(systemd.next(SILENCE), None, "no progress, no word");
    assert!(ends(), "all that time");
    systemd.until("WATCHDOG=1");
}

/// Whether an agent was told to end, and has not yet.
fn is_ending(pool: &Pool) -> bool {
    let intents = Reader::attach(&pool.state_dir()).and_then(|reader| reader.unfinished_intents()).unwrap_or_default();
    intents.iter().any(|(_, intent)| format!("{intent:?}").contains("StopAgent")) && pool.agents().len() == 2
}

#[test]
fn a_changed_spec_is_heard_of() {
    let mut pool = Pool::running(1);
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-{0..1}"));
    wait_until_within(SOON, "the new session", || pool.agents().len() == 2);
}

#[test]
fn a_hangup_reloads_what_nobody_heard_of() {
    let mut pool = Pool::new(1);
    // What is written through another name in another directory is told to nobody.
    let (file, other) = (pool.path("pool.yaml"), pool.path("elsewhere/pool.yaml"));
    fs::create_dir(pool.path("elsewhere")).expect("made");
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.start_daemon();
    // A change that is heard of, so that the next look at the spec is half a minute away.
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-{0..1}"));
    let heard = Instant::now();
    wait_until_within(SOON, "the new session", || pool.agents().len() == 2);
    wait_until("the pool to be in sync", || pool.condition("Synced") == "True" && pool.condition("Ready") == "True");
    // What else is written beside the spec, such as the daemon's log, also makes it look: silence first, and silence behind it.
    let quiet = pool.log();
    let is_disturbed = || (pool.log() != quiet).then_some(());
    assert_eq!(found_within(SILENCE, is_disturbed), None, "the pool is at rest");
    fs::hard_link(&file, &other).expect("linked");
    let written = fs::read_to_string(&file).expect("readable").replace("s-{0..1}", "s-{0..2}");
    write_in_place(&other, &written);
    assert_eq!(found_within(SILENCE, is_disturbed), None, "nobody has told the daemon");
    assert_eq!(pool.agents().len(), 2);
    pool.signal_daemon(Signal::SIGHUP);
    wait_until("what was written to be in force", || pool.agents().len() == 3);
    assert!(heard.elapsed() < Duration::from_secs(28), "by then it would have been read again unasked");
}

fn write_in_place(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_link_that_is_removed_is_back_at_once() {
    let pool = Pool::running(1);
    for link in ["b/tasks", "a/projects", "active"] {
        fs::remove_file(pool.path(link)).expect("removed");
        wait_until_within(SOON, link, || pool.link(link).is_some());
    }
    assert!(pool.links_are_right("a") && pool.links_are_right("b"));
}

#[test]
fn a_stop_in_the_middle_of_a_step_waits_for_its_end() {
    let mut pool = Pool::applied(2);
    pool.talk();
    pool.edit(|spec| {
        spec["prune"] = json!(true);
        spec["agent"]["stopGrace"] = json!("20s");
    });
    pool.cli(&["apply", "--yes"]);
    pool.start_daemon();
    pool.behave("a", &json!({"exitMillis": 4_000}));
    pool.edit(|spec| spec["sessions"][0]["names"] = json!("s-0"));
    wait_until("the stop to be under way", || is_ending(&pool));
    let ended = pool.stop_daemon(Signal::SIGTERM);
    assert_eq!(ended.code(), Some(0), "{ended:?}\n{}", pool.log());
    assert_eq!(pool.agents().len(), 1, "the step has ended before the daemon did");
    assert_eq!(pool.count("SessionStopped"), 1, "and its outcome is on disk: {:?}", pool.events());
    pool.start_daemon();
    wait_until("the pool to be in sync", || pool.condition("Synced") == "True");
    assert_eq!(pool.count("ActionInterrupted"), 0, "nothing was left in the middle");
    assert_eq!(pool.count("SessionExited"), 0, "and the end is not taken for a loss");
}
