//! kill -9 in the middle of writes.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use claude_failover::{
    model::EventReason,
    plan::{MemoryChange, Outcome},
    store::EventQuery,
};

use crate::samples::{Place, event, intent, open, record, say, session};

const CHILD: &str = "STORE_TEST_CRASH";
/// How many rounds a child has told of when it is killed, one child after the other.
const KILLED_AFTER: [usize; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

#[test]
#[ignore = "is run by the next test, as a process that is killed"]
fn write_until_killed() {
    let path = std::env::var(CHILD).expect("a directory");
    let mut store = open(path.as_ref()).expect("a store");
    let begin = i64::from(store.memory().expect("a memory").sessions.values().map(|record| record.incarnation).max().unwrap_or(0));
    for round in begin + 1.. {
        let ids = store.begin_intents(&[intent(round), intent(round)]).expect("written");
        say(&format!("began {round}"));
        let mut record = record(round);
        record.incarnation = u32::try_from(round).expect("small");
        let changes = ["a", "b"].map(|name| MemoryChange::PutSession(session(name), record.clone()));
        let told = event(round * 1_000, EventReason::SessionStarted, &format!("round {round}"));
        let ended: Vec<_> = ids.into_iter().map(|id| (id, Outcome::Changed)).collect();
        store.end_intents(&ended, &changes, &[told]).expect("written");
        say(&format!("ended {round}"));
    }
}

#[test]
fn what_was_acknowledged_is_there_and_what_was_not_is_whole() {
    let place = Place::new();
    place.store();
    for rounds in KILLED_AFTER {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "crash::write_until_killed", "--ignored", "--nocapture"])
            .env(CHILD, place.state())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let acknowledged = lines.filter_map(|line| line.rsplit_once("ended ")?.1.parse::<u32>().ok()).nth(rounds - 1);
        child.kill().expect("killed");
        child.wait().expect("gone");
        let acknowledged = acknowledged.expect("it came so far");

        let mut store = place.store();
        let memory = store.memory().expect("a memory");
        let (a, b) = (&memory.sessions[&session("a")], &memory.sessions[&session("b")]);
        assert_eq!(a, b, "one transaction wrote both");
        assert!(a.incarnation >= acknowledged, "{} was acknowledged, {} is there", acknowledged, a.incarnation);
        let events = store.events(&EventQuery { limit: 1_000, ..EventQuery::default() }).expect("events");
        let told: Vec<_> = events.iter().map(|stored| stored.event.message.clone()).collect();
        let expected: Vec<_> = (1..=a.incarnation).map(|round| format!("round {round}")).collect();
        assert_eq!(told, expected, "each event once, and as many as there were changes");
        assert!(events.iter().all(|stored| stored.count == 1));
        let unfinished = store.unfinished_intents().expect("intents");
        assert!(unfinished.is_empty() || unfinished.len() == 2, "both intents of a round, or none: {unfinished:?}");
        let given_up: Vec<_> = unfinished.into_iter().map(|(id, _)| (id, Outcome::Unchanged)).collect();
        store.end_intents(&given_up, &[], &[]).expect("written");
    }
}
