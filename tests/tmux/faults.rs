//! What breaks, and what it must not be taken for.

use std::{
    fs,
    time::{Duration, Instant},
};

use claude_failover::{
    host::{
        process::ProcessTable,
        tmux::{TmuxError, TmuxServer},
    },
    model::{Pid, ProcessId},
    plan::{Happened, Outcome},
};
use nix::sys::signal::Signal;

use crate::playground::*;

const SHORT: Duration = Duration::from_millis(1500);

fn impatient(playground: &Playground) -> TmuxServer {
    let mut config = playground.config();
    config.deadline = SHORT;
    TmuxServer::new(config)
}

/// Our client of a playground whose arguments hold `word`.
fn client(playground: &Playground, word: &str) -> Option<ProcessId> {
    let us = Pid(i32::try_from(std::process::id()).expect("a number"));
    let children = ProcessTable::scan().expect("readable").children(us).to_vec();
    children.into_iter().find(|child| {
        let line = fs::read(format!("/proc/{}/cmdline", child.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(playground.socket.to_str().expect("text")) && line.contains(word)
    })
}

fn connection(playground: &Playground) -> ProcessId {
    client(playground, " -C ").expect("a connection")
}

#[tokio::test]
async fn a_server_that_hangs_is_unknown_until_it_wakes() {
    let (playground, mut ready) = Playground::started().await;
    let before = running(&mut ready, "a", sleeper()).await;
    for connected in [true, false] {
        let mut server = impatient(&playground);
        if connected {
            assert_eq!(perform(&mut server, create("a", sleeper())).await, Outcome::Unchanged);
        }
        assert_eq!(server.is_connected(), connected);
        let open = fs::read_dir("/proc/self/fd").expect("readable").count();

        playground.signal_server(Signal::SIGSTOP);
        for _ in 0..3 {
            let began = Instant::now();
            assert!(matches!(server.list().await, Err(TmuxError::TimedOut { .. })));
            assert!(began.elapsed() < SHORT * 3, "it took {:?}", began.elapsed());
        }
        let began = Instant::now();
        let outcome = perform(&mut server, create("b", sleeper())).await;
        // Sent or not, nobody can say that it was done.
        assert_ne!(failure(&outcome).happened, Happened::Yes);
        assert!(began.elapsed() < SHORT * 5, "it took {:?}", began.elapsed());
        assert!(!server.is_connected());
        until(|| client(&playground, "source-file").is_none()).await;
        assert!(fs::read_dir("/proc/self/fd").expect("readable").count() <= open + 8, "descriptors leak");

        playground.signal_server(Signal::SIGCONT);
        let view = until_answered(&mut server).await;
        assert_eq!(view.panes["a"], before, "nothing was lost");
    }
}

/// Five control clients that are started and killed while tmux 3.3a hangs crash it as soon as it wakes, 100 times in 100.
#[tokio::test]
async fn a_server_that_hung_survives_our_attempts() {
    let (playground, mut ready) = Playground::started().await;
    let before = running(&mut ready, "a", sleeper()).await;
    let pid = playground.server_pid();
    let mut config = playground.config();
    config.deadline = Duration::from_millis(150);
    let mut server = TmuxServer::new(config);
    for round in 0..2 {
        playground.signal_server(Signal::SIGSTOP);
        for _ in 0..6 {
            assert!(server.list().await.is_err());
            let _ = tokio::time::timeout(Duration::from_millis(300), server.notice()).await;
            assert!(perform(&mut server, create("b", sleeper())).await.failure().is_some());
        }
        playground.signal_server(Signal::SIGCONT);
        assert_eq!(until_answered(&mut server).await.panes["a"], before, "round {round}");
        until_connected(&mut server).await;
        assert_eq!(playground.server_pid(), pid);
    }
}

/// tmux 3.3a crashes when a control client is killed before it has introduced itself.
#[tokio::test]
async fn a_server_survives_attempts_that_are_dropped() {
    let (playground, mut ready) = Playground::started().await;
    let before = running(&mut ready, "a", sleeper()).await;
    let pid = playground.server_pid();
    drop(ready);
    for attempt in 0..40 {
        // A new one each time: it has no pause behind it, and is dropped while it connects.
        let mut server = playground.server();
        let _ = tokio::time::timeout(Duration::from_micros(attempt * 400), server.notice()).await;
        drop(server);
        // The next one is not started while this one introduces itself: the daemon and a command hold one lock.
        until(|| client(&playground, " -C ").is_none()).await;
    }
    assert_eq!(pane(&mut playground.server(), "a").await, before);
    assert_eq!(playground.server_pid(), pid);
}

async fn until_answered(server: &mut TmuxServer) -> claude_failover::observed::TmuxView {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match server.list().await {
            Ok(view) => return view,
            Err(error) => assert!(Instant::now() < deadline, "it never came back: {error}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_is_killed_says_nothing_about_sessions() {
    let (playground, mut ready) = Playground::started().await;
    running(&mut ready, "a", sleeper()).await;
    // As a client of a hung server does after SIGTERM: status 0, no output (facts/crates-and-reliability.md, section 13).
    let silent = playground.path("silent");
    let mut config = playground.config();
    config.binary = playground.wrapper(&format!("[ -e {} ] && exit 0", silent.display()));
    let mut server = TmuxServer::new(config);
    assert!(server.list().await.expect("a list").panes.contains_key("a"));
    fs::write(&silent, "").expect("written");
    assert!(matches!(server.list().await, Err(TmuxError::Unanswered { .. })));
    let outcome = perform(&mut server, create("b", sleeper())).await;
    assert_eq!(failure(&outcome).happened, Happened::No, "who does not answer a greeting is not sent a change");
    let outcome = perform(&mut server, create("b", sleeper())).await;
    assert_eq!(failure(&outcome).happened, Happened::CannotTell);
    fs::remove_file(&silent).expect("there");
    assert!(until_answered(&mut server).await.panes.contains_key("a"));
}

#[tokio::test]
async fn a_server_that_is_killed_is_seen_to_be_gone_and_can_be_started_again() {
    let (playground, mut server) = Playground::started().await;
    let pane = running(&mut server, "a", sleeper()).await;
    let process = process_of(&pane);
    server.list().await.expect("a list");
    playground.signal_server(Signal::SIGKILL);
    soon(server.notice()).await;
    until_listed(&mut server, |view| view.server.is_none()).await;
    let outcome = perform(&mut server, create("b", sleeper())).await;
    assert_eq!(failure(&outcome).happened, Happened::No);
    until(|| !lives(process)).await;

    assert_eq!(start(&mut server).await, Outcome::Changed);
    assert!(server.list().await.expect("a list").panes.is_empty());
    running(&mut server, "a", sleeper()).await;
    assert!(server.is_connected(), "at once, for it is another server");
}

#[tokio::test]
async fn a_connection_that_is_lost_comes_back() {
    let (playground, mut server) = Playground::started().await;
    let before = running(&mut server, "a", sleeper()).await;
    for _ in 0..3 {
        server.list().await.expect("a list");
        let lost = connection(&playground);
        send(lost.pid, Signal::SIGKILL);
        soon(server.notice()).await;
        assert_eq!(pane(&mut server, "a").await, before, "another way is used at once");
        until_connected(&mut server).await;
        assert_ne!(connection(&playground), lost);

        // Lost without anybody listening: the next change is not thrown away with it.
        let lost = connection(&playground);
        send(lost.pid, Signal::SIGKILL);
        until(|| !lives(lost)).await;
        assert_eq!(perform(&mut server, create("a", sleeper())).await, Outcome::Unchanged);
        until_connected(&mut server).await;
    }
}

/// Does what the engine does: looks whenever it is told to.
async fn until_connected(server: &mut TmuxServer) {
    let deadline = Instant::now() + PATIENCE;
    while !server.is_connected() {
        assert!(Instant::now() < deadline, "it was never tried again");
        soon(server.notice()).await;
        server.list().await.expect("a list");
    }
}

#[tokio::test]
async fn a_refused_connection_is_replaced_by_clients_and_tried_again() {
    let (playground, mut ready) = Playground::started().await;
    let before = running(&mut ready, "a", sleeper()).await;
    // As tmux 3.6a can wedge: every new control client ends at once.
    let wedged = playground.path("wedged");
    fs::write(&wedged, "").expect("written");
    let mut config = playground.config();
    config.binary = playground.wrapper(&format!("case \" $* \" in *' -C '*) [ -e {} ] && echo %exit && exit 0;; esac", wedged.display()));
    let mut server = TmuxServer::new(config);

    let outcomes =
        server.perform(&[create("a", sleeper()), create("b", sleeper()), respawn(&before, "a", sleeper()), create("c", sleeper())]).await;
    assert!(!server.is_connected());
    assert_eq!((&outcomes[0], &outcomes[1], &outcomes[3]), (&Outcome::Unchanged, &Outcome::Changed, &Outcome::Changed));
    assert_eq!(failure(&outcomes[2]).happened, Happened::No, "the same semantics");
    let view = server.list().await.expect("a list");
    assert_eq!(view, ready.list().await.expect("a list"), "the same list");
    assert_eq!(view.panes.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    end(&before).await;
    assert_eq!(perform(&mut server, respawn(&before, "a", sleeper())).await, Outcome::Changed);
    assert!(!server.is_connected());

    fs::remove_file(&wedged).expect("there");
    until_connected(&mut server).await;
}

#[tokio::test]
async fn a_lost_anchor_is_made_again() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    server.list().await.expect("a list");
    playground.person(&["kill-session", "-t", "=_claude-failover"]);
    soon(server.notice()).await;
    assert_eq!(server.list().await.expect("a list").panes.len(), 1);
    until_connected(&mut server).await;
    playground.person(&["has-session", "-t", "=_claude-failover"]);
}

#[tokio::test]
async fn a_notice_means_look_again_and_is_told_once() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    let quiet = Duration::from_millis(300);
    assert!(tokio::time::timeout(quiet, server.notice()).await.is_err(), "nothing happened");

    for change in
        [&["new-session", "-d", "-s", "x", "sleep", "1000"][..], &["rename-session", "-t", "=x:", "y"], &["kill-session", "-t", "=y"]]
    {
        playground.person(change);
        // Dropped half-way, it is told again.
        let _ = tokio::time::timeout(Duration::from_millis(1), server.notice()).await;
        soon(server.notice()).await;
        soon(server.notice()).await;
        server.list().await.expect("a list");
        assert!(tokio::time::timeout(quiet, server.notice()).await.is_err(), "{change:?} is told until the next look, and no longer");
    }
}

#[tokio::test]
async fn a_dropped_call_does_not_mix_up_the_next_one() {
    let (_playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    for micros in [0, 50, 100, 200, 400, 800, 1600] {
        let _ = tokio::time::timeout(Duration::from_micros(micros), server.list()).await;
        let _ =
            tokio::time::timeout(Duration::from_micros(micros), server.perform(&[create("b", sleeper()), create("c", sleeper())])).await;
        let view = server.list().await.expect("a list");
        assert!(view.panes.contains_key("a"), "{micros} {view:?}");
    }
}
