//! What a person at a terminal is asked and shown.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    pool::{Pool, Terminal},
    waiting::wait_until,
};

#[test]
fn apply_asks_and_does_what_is_agreed_to() {
    let pool = Pool::new(1);
    let terminal = Terminal::run(&pool, &["-f", "pool.yaml", "apply"]);
    terminal.wait_for("Apply this? [y/N]");
    let shown = terminal.screen();
    assert!(shown.contains("session s-0") && shown.contains("start on primary"), "what is asked about is shown: {shown}");
    assert!(pool.agents().is_empty() && !pool.path("shared").exists(), "nothing is done before the answer");
    terminal.answer("y");
    terminal.expect(0);
    pool.assert_whole("a", 1);
}

#[test]
fn apply_does_nothing_for_any_other_answer() {
    for answer in ["", "n", "no", "yess", "Y e s"] {
        let pool = Pool::new(1);
        let terminal = Terminal::run(&pool, &["-f", "pool.yaml", "apply"]);
        terminal.wait_for("Apply this? [y/N]");
        terminal.answer(answer);
        terminal.expect(1);
        assert!(pool.agents().is_empty() && !pool.path("shared").exists(), "{answer:?} is no yes");
        assert!(pool.tmux_pid().is_none(), "no server was started");
    }
}

#[test]
fn swap_asks_and_shows_its_price_first() {
    let pool = Pool::running(2);
    let before = pool.talk();
    let agents = pool.agents();
    let terminal = Terminal::run(&pool, &["-f", "pool.yaml", "swap"]);
    terminal.wait_for("Swap now? [y/N]");
    assert!(terminal.screen().contains("backup"), "where to is said: {}", terminal.screen());
    terminal.answer("n");
    terminal.expect(1);
    assert_eq!((pool.active().as_str(), pool.agents()), ("primary", agents), "nothing moved");
    drop(terminal);
    let terminal = Terminal::run(&pool, &["-f", "pool.yaml", "swap"]);
    terminal.wait_for("Swap now? [y/N]");
    terminal.answer("yes");
    terminal.expect(0);
    pool.assert_whole("b", 2);
    pool.assert_kept(&before);
}

#[test]
fn attach_shows_the_agent_and_hands_over_what_is_typed() {
    let pool = Pool::applied(2);
    let before = pool.agents();
    let terminal = Terminal::run(&pool, &["-f", "pool.yaml", "attach", "s-1"]);
    terminal.wait_for("Claude Code stand-in");
    terminal.answer("hello from a person");
    wait_until("the words to arrive", || {
        let conversation = pool.conversation("s-1");
        pool.transcripts().get(&conversation).is_some_and(|bytes| crate::pool::contains(bytes, "hello from a person"))
    });
    let clients = || pool.tmux(&["list-clients", "-t", "=s-1"]).unwrap_or_default().lines().count();
    assert_eq!(clients(), 1, "the person is attached to that session");
    // Two servers take the prefix: this goes through the outer one as it is.
    terminal.keys(&["C-b", "d"]);
    terminal.expect(0);
    assert_eq!(clients(), 0);
    assert_eq!(pool.agents(), before, "the agent runs on");
}

#[test]
fn attach_refuses_what_is_not_there() {
    let pool = Pool::new(1);
    pool.cli(&["attach", "s-0"]).expect(1).says("no tmux server listens");
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.cli(&["attach", "s-9"]).expect(64).says("no session s-9");
    pool.tmux(&["rename-session", "-t", "=s-0", "s-00"]).expect("renamed");
    pool.cli(&["attach", "s-0"]).expect(1).says("explain s-0");
}

#[test]
fn init_asks_for_what_no_flag_says() {
    let pool = Pool::new(1);
    let terminal = Terminal::run(&pool, &["-f", "mine.yaml", "init", "--sessions", "w-{0..1}"]);
    terminal.wait_for("Name of the pool [agents]:");
    terminal.answer("mine");
    terminal.wait_for("Accounts, in order of preference [primary backup]:");
    terminal.answer(&format!("one, two={}", pool.path("second").display()));
    terminal.wait_for("Directory that they start in [~/work]:");
    assert!(!terminal.screen().contains("Names of the sessions"), "a flag said that: {}", terminal.screen());
    terminal.answer("");
    terminal.expect(0);
    assert!(terminal.screen().contains("claude auth login"), "and says how to log in: {}", terminal.screen());
    let text = fs::read_to_string(pool.path("mine.yaml")).expect("written");
    for wanted in ["name: mine", "name: one", "name: two", "w-{0..1}", "second"] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    for home in ["home/.claude-accounts/one", "second"] {
        let mode = fs::metadata(pool.path(home)).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{home} is for its owner alone");
    }
    assert!(pool.path("home/work").is_dir(), "the start directory is made");
}
