//! Kill -9 of the daemon in the middle of a swap that it began by itself, and in the middle of a way back, in both directions, with one
//! session at work.
//!
//! The points are those of the journal: the daemon is killed as soon as the open swap has so many entries on disk. The next daemon must take
//! the swap to its end: the pool is wholly on one account, with every conversation, each in one agent only, and a turn that was under way is
//! taken up. Which points are taken is chosen as in [`killed`](crate::killed).

use std::{collections::BTreeMap, time::Instant};

use claude_failover::store::Reader;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    killed::points,
    pool::Pool,
    swap::wait_until_read,
    vandal::Vandal,
    waiting::{DEADLINE, wait_until},
};

/// From one account to the other, with their homes.
#[derive(Debug, Clone, Copy)]
struct Way {
    from: (&'static str, &'static str),
    to: (&'static str, &'static str),
}

const THERE: Way = Way { from: ("primary", "a"), to: ("backup", "b") };
const BACK: Way = Way { from: THERE.to, to: THERE.from };

impl Way {
    /// A pool on the first account with a daemon, one session at work and one idle.
    fn pool(self) -> (Pool, BTreeMap<String, Vec<u8>>) {
        let mut pool = Pool::new(2);
        pool.edit(|spec| spec["swap"] = json!({"drain": "1s", "proveWithin": "20s", "minDwell": "1s", "failback": "never"}));
        pool.cli(&["apply", "--yes"]).expect(0);
        if self.from.0 == "backup" {
            pool.cli(&["swap", "--to", "backup", "--yes"]).expect(0);
            // Otherwise the way back would rest for a while.
            pool.cli(&["clear", "pool", "--yes"]).expect(0);
        }
        pool.talk();
        pool.start_daemon();
        wait_until_read(&pool, "primary", 10.0);
        pool.send("s-1", "[[tool 3]] a long one");
        wait_until("a busy session", || pool.register_statuses().iter().any(|status| status == "busy"));
        let before = pool.transcripts();
        (pool, before)
    }

    /// Says that the first account is used up so far, and the other one hardly.
    fn usage(self, pool: &Pool, used: f64) {
        if self.from.0 == "primary" { pool.usage(used, 10.0) } else { pool.usage(10.0, used) }
    }
}

/// Waits for the swap and kills the daemon when its journal has `at` entries. Answers how many there were at most, and whether it was killed.
fn kill_at(pool: &mut Pool, at: usize) -> (usize, bool) {
    let until = Instant::now() + DEADLINE;
    let mut most = 0;
    loop {
        let entries = Reader::attach(&pool.state_dir()).and_then(|reader| reader.open_swap_events()).map_or(0, |entries| entries.len());
        if entries >= at {
            pool.stop_daemon(Signal::SIGKILL);
            return (entries, true);
        }
        if most > 0 && entries == 0 {
            return (most, false);
        }
        most = most.max(entries);
        assert!(Instant::now() < until, "the swap neither began nor ended: {:?}", pool.events());
    }
}

/// One swap with one kill. Answers the same as [`kill_at`].
fn kill(way: Way, is_undone: bool, at: usize) -> (usize, bool) {
    let (mut pool, before) = way.pool();
    let vandal = is_undone.then(|| Vandal::start(&pool, way.to.1, &[way.to.1]));
    way.usage(&pool, 91.0);
    let (entries, killed) = kill_at(&mut pool, at);
    let what = format!("{way:?}, undone: {is_undone}, killed: {killed}, entries: {entries}");
    if killed {
        pool.assert_no_rivals();
        // Nothing new shall begin, so that what is seen at the end is what became of this swap.
        way.usage(&pool, 30.0);
        pool.start_daemon();
    }
    wait_until(&format!("the pool to be settled ({what})"), || {
        pool.status()["swap"].is_null() && pool.agents().len() == 2 && pool.sessions_ready()
    });
    wait_until("the turn to be over", || pool.register_statuses().iter().all(|status| status == "idle"));
    if let Some(vandal) = vandal {
        vandal.end();
    }
    let status = pool.status();
    assert!(status["latches"].as_object().expect("a map").is_empty(), "{what}: every way was open: {status}");
    // What a start hook has said dies with the daemon that had not yet taken it from its socket: the canary is then unproven, and the swap undone.
    let is_unheard = killed && !is_undone && pool.count("SwapRolledBack") == 1;
    if is_unheard {
        let why = pool.told("SwapTurnedBack");
        assert!(why.contains("its start hook has not reported yet"), "{what}: {why}");
    }
    let is_undone = is_undone || is_unheard;
    let (account, home) = if is_undone { way.from } else { way.to };
    assert_eq!(status["active"], account, "{what}: {:?}", pool.events());
    pool.assert_whole(home, 2);
    pool.assert_kept(&before);
    assert_eq!(pool.link("active"), Some(pool.path(home)), "{what}: the active link follows");
    assert!(pool.links_are_right(home), "{what}: the links of the active account are right");
    let told = ["SwapStarted", "SwapCommitted", "SwapRolledBack"].map(|reason| pool.count(reason));
    let by_hand = usize::from(way.from.0 == "backup");
    assert_eq!(told, [1 + by_hand, usize::from(!is_undone) + by_hand, usize::from(is_undone)], "{what}: one swap, with one end");
    (entries, killed)
}

fn matrix(way: Way, is_undone: bool) {
    let (count, _) = kill(way, is_undone, usize::MAX);
    assert!(count > 5, "a swap has more than {count} entries in its journal");
    let (first, stride) = points(count, &format!("{way:?} {is_undone}"));
    let kills = (first..=count).step_by(stride).filter(|at| kill(way, is_undone, *at).1).count();
    assert!(kills > 0, "the daemon was never killed");
}

#[test]
fn in_a_swap_of_its_own() {
    matrix(THERE, false);
}

#[test]
fn in_a_swap_of_its_own_the_other_way() {
    matrix(BACK, false);
}

#[test]
fn on_the_way_back() {
    matrix(THERE, true);
}

#[test]
fn on_the_way_back_from_the_other_way() {
    matrix(BACK, true);
}
