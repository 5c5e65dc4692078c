//! Kill -9 at every point of a swap: the unmodified binary runs under strace, which kills it at the N-th call of a kind.
//!
//! The kinds are those that stand between a decision and its effect: the syncs of the journal, the signals to agents, the exchange of the active
//! link, and the writes to tmux. After each kill somebody runs `apply`, or the daemon, and the pool must be wholly on one account or latched,
//! with every conversation, each in one agent only.
//!
//! N goes over all calls when `CLAUDE_FAILOVER_KILL_ALL` is set, which takes some minutes; otherwise over a sample whose offset comes from a
//! seed. The seed is printed, and `CLAUDE_FAILOVER_KILL_SEED` sets it. Without strace the tests say so and pass, unless `CI` is set.
//!
//! `--seccomp-bpf` is not used: with a filter, strace 6.1 injects nothing and says nothing (facts/crates-and-reliability.md, section 23).

use std::{collections::BTreeMap, env, process::Command};

use crate::{
    pool::{BINARY, Pool},
    waiting::wait_until,
};

/// How many kills of a kind a usual run makes, in each direction.
const SAMPLES: usize = 3;
/// More calls than any swap of two sessions makes: the guard against a count that never ends.
const MOST: usize = 400;

#[expect(clippy::print_stderr, reason = "a test that tests nothing must say so")]
pub fn has_strace() -> bool {
    let found = Command::new("strace").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found || env::var_os("CI").is_none(), "strace is needed in CI");
    if !found {
        eprintln!("strace is not installed: nothing is killed, so nothing is tested here");
    }
    found
}

/// Which points of `count` to kill at, from the first to the last one: the first, and the step to the next. All of them when that is asked for.
#[expect(clippy::print_stderr, reason = "a sample that finds something must be found again")]
pub fn points(count: usize, kind: &str) -> (usize, usize) {
    if env::var_os("CLAUDE_FAILOVER_KILL_ALL").is_some() {
        return (1, 1);
    }
    // What lands must not hang on luck: there, the seed is given.
    let given = ["CLAUDE_FAILOVER_KILL_SEED", "PROPTEST_RNG_SEED"].into_iter().find_map(|name| env::var(name).ok()?.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs()));
    let stride = count.div_ceil(SAMPLES);
    let offset = (seed ^ kind.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))) % stride as u64;
    let first = 1 + usize::try_from(offset).expect("less than the count");
    eprintln!("{kind}: CLAUDE_FAILOVER_KILL_SEED={seed} kills at {first} of {count}, then at every {stride}th");
    (first, stride)
}

/// Runs a swap under strace. Answers how many calls of the kind its busiest thread made until the end or the kill, and whether it was killed.
fn swap(pool: &Pool, to: &str, call: &str, kill_at: Option<usize>) -> (usize, bool) {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "180", "strace", "-f", "-qq", "-e", "signal=none", "-o", "strace.out"]);
    command.args(["-e", &format!("trace={call}")]);
    if let Some(at) = kill_at {
        command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={at}")]);
    }
    command.args([BINARY, "-f", "pool.yaml", "swap", "--to", to, "--yes"]);
    let ended = pool.end(command);
    let seen = std::fs::read_to_string(pool.path("strace.out")).unwrap_or_default();
    // strace counts for each thread by itself, and so is the number meant at which it kills.
    let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
    for line in seen.lines().filter(|line| line.contains(&format!("{call}(")) && !line.contains("resumed>")) {
        *threads.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    let calls = threads.into_values().max().unwrap_or(0);
    let killed = kill_at.is_some() && ended.code != Some(0);
    if !killed {
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    }
    (calls, killed)
}

/// The pool is whole: on one account with every conversation, or latched.
fn assert_sound(pool: &mut Pool, before: &BTreeMap<String, Vec<u8>>, by_daemon: bool, what: &str) {
    pool.assert_no_rivals();
    if by_daemon {
        pool.start_daemon();
        wait_until(&format!("the pool to be settled after {what}"), || {
            let status = pool.status();
            status["swap"].is_null() && pool.agents().len() == 2 && pool.sessions_ready()
        });
        pool.stop_daemon(nix::sys::signal::Signal::SIGTERM);
    } else {
        let ended = pool.cli(&["apply", "--yes"]);
        assert!(matches!(ended.code, Some(0 | 5)), "after {what}: {ended:?}");
    }
    let status = pool.status();
    assert!(status["swap"].is_null(), "after {what} the swap is closed: {status}");
    assert!(
        status["latches"].as_object().expect("a map").is_empty(),
        "after {what} nothing is latched, since every way was open: {status}"
    );
    let home = if status["active"] == "primary" { "a" } else { "b" };
    pool.assert_whole(home, 2);
    pool.assert_kept(before);
    assert_eq!(pool.link("active"), Some(pool.path(home)), "after {what} the active link follows");
    assert!(pool.links_are_right(home), "after {what} the links of the active account are right");
}

/// Swaps there and back, killed at each chosen call of a kind.
fn matrix(call: &str) {
    if !has_strace() {
        return;
    }
    let mut pool = Pool::applied(2);
    pool.talk();
    // A swap in peace says how many calls there are.
    let (calls, _) = swap(&pool, "backup", call, None);
    assert!(calls > 0, "a swap calls {call}; otherwise this tests nothing");
    let (first, stride) = points(calls, call);
    let (mut kills, mut at) = (0, first);
    let mut by_daemon = false;
    loop {
        let mut killed_once = false;
        // Both directions: from wherever the last one left the pool, there and back.
        for _ in 0..2 {
            pool.cli(&["clear", "pool", "--yes"]).expect(0);
            let to = if pool.active() == "primary" { "backup" } else { "primary" };
            let before = pool.transcripts();
            let (_, killed) = swap(&pool, to, call, Some(at));
            killed_once |= killed;
            kills += usize::from(killed);
            assert_sound(&mut pool, &before, by_daemon, &format!("a kill at {call} {at} on the way to {to}"));
            by_daemon = !by_daemon;
        }
        if !killed_once || at > MOST {
            break;
        }
        at += stride;
    }
    assert!(kills >= 2, "{call} was killed {kills} times only");
    assert!(at <= MOST, "{call}: the count has no end");
}

#[test]
fn at_each_sync_of_the_journal() {
    matrix("fsync");
}

#[test]
fn at_each_signal_to_an_agent() {
    matrix("pidfd_send_signal");
}

#[test]
fn at_each_exchange_of_the_active_link() {
    matrix("renameat2");
}

#[test]
fn at_each_word_to_tmux() {
    matrix("write");
}
