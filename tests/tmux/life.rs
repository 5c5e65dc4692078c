//! The life of a session: create, respawn, adopt, release, close; and what is refused.

use claude_failover::{
    host::tmux::TmuxOp,
    model::{PaneId, Pid, StartDigest, TmuxSessionId},
    observed::Mark,
    plan::{Happened, Outcome},
};
use uuid::Uuid;

use crate::playground::*;

fn adopt(pane: &claude_failover::observed::PaneView, mark: Mark) -> TmuxOp {
    TmuxOp::Adopt { session_id: pane.session_id.clone(), pane: pane.pane.clone(), mark }
}

fn release(pane: &claude_failover::observed::PaneView, mark: Mark) -> TmuxOp {
    TmuxOp::Release { session_id: pane.session_id.clone(), mark }
}

fn close(pane: &claude_failover::observed::PaneView, mark: Mark) -> TmuxOp {
    TmuxOp::Close { session_id: pane.session_id.clone(), mark }
}

#[tokio::test]
async fn a_session_is_created_once() {
    let (playground, mut server) = Playground::started().await;
    let pane = running(&mut server, "web1", sleeper()).await;
    assert_eq!(
        playground.person(&["display-message", "-p", "-t", "=web1:", "#{window_width}x#{window_height} #{remain-on-exit}"]),
        "100x30 on"
    );
    assert_eq!(perform(&mut server, create("web1", sleeper())).await, Outcome::Unchanged);

    // The same name with another mark, or with none, is somebody else's.
    let mut other = mark("web1");
    other.digest = StartDigest("fff".into());
    let outcome = perform(&mut server, TmuxOp::Create { exec: sleeper(), size: (80, 24), mark: other }).await;
    assert_eq!(failure(&outcome).happened, Happened::No);
    playground.person(&["new-session", "-d", "-s", "web2", "sleep", "1000"]);
    let outcomes = server.perform(&[create("web2", sleeper()), create("web3", sleeper())]).await;
    assert_eq!((failure(&outcomes[0]).happened, &outcomes[1]), (Happened::No, &Outcome::Changed));

    let view = server.list().await.expect("a list");
    assert_eq!(view.panes["web1"], pane);
    assert_eq!(view.panes["web2"].mark, None, "nobody else's session was marked");
}

#[tokio::test]
async fn a_name_is_never_matched_by_its_beginning() {
    let (_playground, mut server) = Playground::started().await;
    let longer = running(&mut server, "web10", sleeper()).await;
    assert_eq!(perform(&mut server, create("web1", sleeper())).await, Outcome::Changed);
    let shorter = pane(&mut server, "web1").await;
    end(&shorter).await;
    assert_eq!(perform(&mut server, close(&shorter, mark("web1"))).await, Outcome::Changed);
    assert_eq!(perform(&mut server, close(&shorter, mark("web1"))).await, Outcome::Unchanged);
    assert_eq!(pane(&mut server, "web10").await, longer);
}

#[tokio::test]
async fn what_cannot_be_started_is_not() {
    let (playground, mut server) = Playground::started().await;
    let directory = playground.path("not executable");
    std::fs::write(&directory, "").expect("written");
    let with = |program: &str, workdir: &std::path::Path| {
        let mut exec = exec(program, &["x"]);
        exec.workdir = workdir.to_owned();
        exec
    };
    let root = std::path::Path::new("/");
    let mut bad_variable = sleeper();
    bad_variable.environment.insert("A-B".into(), "x".into());
    let ops = [
        create("a", with("/nowhere/claude", root)),
        create("b", with("sleep", root)),
        create("c", with("/bin", root)),
        create("d", with(directory.to_str().expect("text"), root)),
        create("e", with("/bin/sleep", std::path::Path::new("/nowhere"))),
        create("f", with("/bin/sleep", &directory)),
        create("g", with("/bin/sleep", std::path::Path::new("relative"))),
        create("h", bad_variable),
        create("i", exec("/bin/sleep", &["a\0b"])),
        create("good", sleeper()),
    ];
    let outcomes = server.perform(&ops).await;
    for outcome in &outcomes[..9] {
        assert_eq!(failure(outcome).happened, Happened::No);
    }
    assert_eq!(outcomes[9], Outcome::Changed, "one that fails holds up no other");
    assert_eq!(server.list().await.expect("a list").panes.into_keys().collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn a_program_without_arguments_is_the_panes_process_too() {
    let (playground, mut server) = Playground::started().await;
    let program = playground.path("a program");
    std::fs::copy("/bin/cat", &program).expect("copied");
    let pane = running(&mut server, "a", exec(program.to_str().expect("text"), &[])).await;
    assert!(runs(&pane, &program));
}

#[tokio::test]
async fn a_dead_pane_gets_a_new_process_and_keeps_its_ids() {
    let (playground, mut server) = Playground::started().await;
    let before = running(&mut server, "a", sleeper()).await;
    // Gone for the kernel; whether tmux knows it already is left to chance.
    end(&before).await;
    assert_eq!(perform(&mut server, respawn(&before, "a", sleeper())).await, Outcome::Changed);
    let after = pane(&mut server, "a").await;
    assert_eq!((&after.session_id, &after.pane, &after.dead, &after.mark), (&before.session_id, &before.pane, &None, &before.mark));
    assert_ne!(after.pid, before.pid);
    until(|| runs(&after, "/bin/sleep".as_ref())).await;

    // And once tmux has seen it dead.
    end(&after).await;
    let dead = until_listed(&mut server, |view| view.panes["a"].dead.is_some()).await.panes["a"].clone();
    let mut changed = mark("a");
    changed.digest = StartDigest("ffff".into());
    let op = TmuxOp::Respawn {
        session_id: dead.session_id.clone(),
        pane: dead.pane.clone(),
        expect_pid: dead.pid,
        exec: sleeper(),
        mark: changed.clone(),
    };
    assert_eq!(perform(&mut server, op).await, Outcome::Changed);
    assert_eq!(pane(&mut server, "a").await.mark, Some(changed), "the mark tells what runs now");
    assert_eq!(playground.person(&["list-panes", "-a"]).lines().count(), 2);
}

#[tokio::test]
async fn a_respawn_never_touches_a_live_process() {
    let (_playground, mut server) = Playground::started().await;
    let alive = running(&mut server, "a", sleeper()).await;
    let other = running(&mut server, "b", sleeper()).await;
    let (process, neighbour) = (process_of(&alive), process_of(&other));

    let outcome = perform(&mut server, respawn(&alive, "a", sleeper())).await;
    assert_eq!(failure(&outcome).happened, Happened::No, "its process lives");

    // A plan that is out of date: it names a process that is gone, but another one runs there.
    for expect_pid in [None, Some(Pid(i32::MAX)), Some(Pid(1)), other.pid, Some(Pid(0)), Some(Pid(-1))] {
        let op = TmuxOp::Respawn {
            session_id: alive.session_id.clone(),
            pane: alive.pane.clone(),
            expect_pid,
            exec: sleeper(),
            mark: mark("a"),
        };
        let outcome = perform(&mut server, op).await;
        assert_eq!(failure(&outcome).happened, Happened::No, "{expect_pid:?}: {outcome:?}");
    }
    assert!(lives(process) && lives(neighbour));
    assert_eq!(pane(&mut server, "a").await, alive);
}

#[tokio::test]
async fn a_pane_that_tmux_calls_dead_may_have_a_live_process() {
    let (_playground, mut server) = Playground::started().await;
    // It closes the terminal and lives on: tmux shows the pane as dead.
    let script = "trap '' HUP; exec </dev/null >/dev/null 2>&1; sleep 1000 & wait";
    let pane = running(&mut server, "a", exec("/usr/bin/setsid", &["-w", "/bin/sh", "-c", script])).await;
    let process = process_of(&pane);
    let mut op = respawn(&pane, "a", sleeper());
    let outcome = perform(&mut server, op.clone()).await;
    assert_eq!(failure(&outcome).happened, Happened::No);
    assert!(lives(process));

    if let TmuxOp::Respawn { expect_pid, .. } = &mut op {
        *expect_pid = None;
    }
    assert_eq!(failure(&perform(&mut server, op).await).happened, Happened::No, "tmux names a process, so one is expected");
    assert!(lives(process));
}

#[tokio::test]
async fn nothing_without_our_mark_is_changed() {
    let (playground, mut server) = Playground::started().await;
    playground.person(&["new-session", "-d", "-s", "theirs", "sleep", "1000"]);
    playground.person(&["new-session", "-d", "-s", "dead", "true", "x"]);
    let mut foreign = mark("foreign");
    foreign.pool.0 = Uuid::from_u128(1);
    let op = TmuxOp::Create { exec: sleeper(), size: (80, 24), mark: foreign.clone() };
    assert_eq!(perform(&mut server, op).await, Outcome::Changed);
    let before = until_listed(&mut server, |view| view.panes["dead"].dead.is_some()).await;

    for name in ["theirs", "dead", "foreign"] {
        let pane = &before.panes[name];
        let outcomes = server.perform(&[respawn(pane, name, sleeper()), close(pane, mark(name))]).await;
        for outcome in &outcomes {
            assert_eq!(failure(outcome).happened, Happened::No, "{name}");
        }
    }
    // Without a mark there is nothing to release; with another pool's there is, but not for us.
    assert_eq!(perform(&mut server, release(&before.panes["theirs"], mark("theirs"))).await, Outcome::Unchanged);
    let outcomes =
        server.perform(&[release(&before.panes["foreign"], mark("foreign")), adopt(&before.panes["foreign"], mark("foreign"))]).await;
    for outcome in &outcomes {
        assert_eq!(failure(outcome).happened, Happened::No);
    }
    assert_eq!(server.list().await.expect("a list"), before);
}

#[tokio::test]
async fn a_session_is_adopted_and_released() {
    let (playground, mut server) = Playground::started().await;
    playground.person(&["set-option", "-gw", "remain-on-exit", "off"]);
    playground.person(&["new-session", "-d", "-s", "a", "sleep", "1000"]);
    let before = pane(&mut server, "a").await;
    assert_eq!(failure(&perform(&mut server, adopt(&before, mark("b"))).await).happened, Happened::No, "it has another name");
    assert_eq!(perform(&mut server, adopt(&before, mark("a"))).await, Outcome::Changed);
    assert_eq!(perform(&mut server, adopt(&before, mark("a"))).await, Outcome::Unchanged);
    let mut changed = mark("a");
    changed.digest = StartDigest("ff".into());
    assert_eq!(perform(&mut server, adopt(&before, changed.clone())).await, Outcome::Changed, "ours, with another digest");
    let adopted = pane(&mut server, "a").await;
    assert_eq!((adopted.pid, &adopted.mark), (before.pid, &Some(changed.clone())), "its process goes on");

    // Its pane stays when its process ends, although the server does not keep panes.
    end(&adopted).await;
    let dead = until_listed(&mut server, |view| view.panes["a"].dead.is_some()).await;
    assert_eq!(perform(&mut server, respawn(&dead.panes["a"], "a", sleeper())).await, Outcome::Changed);
    let running = pane(&mut server, "a").await;

    assert_eq!(failure(&perform(&mut server, release(&running, changed)).await).happened, Happened::No, "another mark by now");
    assert_eq!(perform(&mut server, release(&running, mark("a"))).await, Outcome::Changed);
    assert_eq!(perform(&mut server, release(&running, mark("a"))).await, Outcome::Unchanged);
    let released = pane(&mut server, "a").await;
    assert_eq!((released.pid, released.mark), (running.pid, None));
}

#[tokio::test]
async fn a_mark_that_does_not_name_its_bearer_may_be_adopted_over() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "old", sleeper()).await;
    playground.person(&["rename-session", "-t", "=old:", "new"]);
    let renamed = pane(&mut server, "new").await;
    assert_eq!(renamed.mark, None);
    assert_eq!(perform(&mut server, adopt(&renamed, mark("new"))).await, Outcome::Changed);
    assert_eq!(pane(&mut server, "new").await.mark, Some(mark("new")));
}

#[tokio::test]
async fn only_a_session_without_processes_is_closed() {
    let (playground, mut server) = Playground::started().await;
    let agent = running(&mut server, "a", sleeper()).await;
    assert_eq!(failure(&perform(&mut server, close(&agent, mark("a"))).await).happened, Happened::No);
    assert!(lives(process_of(&agent)));

    // The agent has ended, but a person works in a split.
    playground.person(&["split-window", "-d", "-t", "=a:", "sleep", "1000"]);
    end(&agent).await;
    let outcome = perform(&mut server, close(&agent, mark("a"))).await;
    assert_eq!(failure(&outcome).happened, Happened::No, "{outcome:?}");
    let theirs = playground.person(&["list-panes", "-s", "-t", "=a:", "-F", "#{pane_id}"]).lines().last().expect("two").to_owned();
    playground.person(&["kill-pane", "-t", &theirs]);
    assert_eq!(perform(&mut server, close(&agent, mark("a"))).await, Outcome::Changed);
    assert!(server.list().await.expect("a list").panes.is_empty());
}

#[tokio::test]
async fn what_is_gone_cannot_be_changed() {
    let (_playground, mut server) = Playground::started().await;
    let (session_id, pane) = (TmuxSessionId("$99".into()), PaneId("%99".into()));
    let outcomes = server
        .perform(&[
            TmuxOp::Respawn { session_id: session_id.clone(), pane: pane.clone(), expect_pid: None, exec: sleeper(), mark: mark("a") },
            TmuxOp::Adopt { session_id: session_id.clone(), pane: pane.clone(), mark: mark("a") },
            TmuxOp::Release { session_id: session_id.clone(), mark: mark("a") },
            TmuxOp::Close { session_id, mark: mark("a") },
            // Not what tmux gives: it never gets there.
            TmuxOp::Close { session_id: TmuxSessionId("$1' ; kill-server".into()), mark: mark("a") },
            TmuxOp::Adopt { session_id: TmuxSessionId("$0".into()), pane: PaneId("=x".into()), mark: mark("a") },
        ])
        .await;
    assert_eq!(outcomes[2..4], [Outcome::Unchanged, Outcome::Unchanged]);
    for at in [0, 1, 4, 5] {
        assert_eq!(failure(&outcomes[at]).happened, Happened::No, "{at}");
    }
    assert!(server.list().await.expect("a list").server.is_some());
    assert_eq!(server.perform(&[]).await, []);
}
