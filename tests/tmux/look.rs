//! Listing, and what a listing must never be taken for.

use std::time::Instant;

use claude_failover::{
    host::tmux::TmuxError,
    model::PaneId,
    observed::{Death, TmuxView},
    plan::Outcome,
};
use nix::sys::signal::Signal;

use crate::playground::*;

#[tokio::test]
async fn no_server_is_an_answer() {
    let playground = Playground::empty();
    let mut server = playground.server();
    assert_eq!(server.list().await.expect("an answer").server, None);
    assert!(matches!(server.check().await, Err(TmuxError::NoServer { .. })));

    // The socket of a server that was killed stays behind.
    assert_eq!(start(&mut server).await, Outcome::Changed);
    let former = server.list().await.expect("a list").server.expect("a server").pid;
    send(former, Signal::SIGKILL);
    until_listed(&mut server, |view| view.server.is_none()).await;
    assert!(playground.socket.exists());
    assert_eq!(playground.server().list().await.expect("an answer").server, None, "without a connection too");
}

#[tokio::test]
async fn a_list_shows_sessions_and_how_they_ended() {
    let (playground, mut server) = Playground::started().await;
    let ops = [create("web1", sleeper()), create("web10", shell("exit 3")), create("killed", sleeper())];
    assert_eq!(server.perform(&ops).await, [Outcome::Changed, Outcome::Changed, Outcome::Changed]);
    let killed = pane(&mut server, "killed").await;
    until(|| runs(&killed, "/bin/sleep".as_ref())).await;
    end(&killed).await;

    let view = until_listed(&mut server, |view| view.panes.values().filter(|pane| pane.dead.is_some()).count() == 2).await;
    assert_eq!(view.server.as_ref().map(|server| server.pid), playground.server_pid());
    assert_eq!(view.server.map(|server| server.version), Some(playground.person(&["display-message", "-p", "#{version}"])));
    assert_eq!(view.panes.keys().collect::<Vec<_>>(), ["killed", "web1", "web10"], "our anchor is not among them");
    for (name, pane) in &view.panes {
        assert_eq!(pane.mark, Some(mark(name)));
        assert_eq!(pane.attached, 0);
    }
    assert_eq!(view.panes["web1"].dead, None);
    // tmux up to 3.5 may lose a death's status, but never invents one (facts/tmux.md, finding 4).
    let death = |name: &str, known: Death| {
        assert!([Some(known), Some(Death::default())].contains(&view.panes[name].dead), "{:?}", view.panes[name]);
    };
    death("web10", Death { code: Some(3), signal: None });
    death("killed", Death { code: None, signal: Some(9) });
}

#[tokio::test]
async fn a_look_asks_as_much_of_a_crowd_as_of_one() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "one", sleeper()).await;
    let mut asked = Vec::new();
    for more in [Vec::new(), (0..40).map(|number| create(&format!("more-{number}"), sleeper())).collect()] {
        assert!(server.perform(&more).await.iter().all(|outcome| *outcome == Outcome::Changed));
        server.list().await.expect("a list");
        let idle = playground.commands();
        // What it costs to ask, beside the look.
        let alone = playground.commands() - idle;
        let before = playground.commands();
        assert!(server.is_connected());
        server.list().await.expect("a list");
        asked.push(playground.commands() - before - alone);
    }
    assert_eq!(asked, [2, 2], "the list and the word that ends it");
}

#[tokio::test]
async fn both_ways_show_the_same() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    playground.person(&["new-session", "-d", "-s", "übel | name", "sleep", "1000"]);
    assert!(server.is_connected());
    let mut other = playground.server();
    assert_eq!(other.list().await.expect("a list"), server.list().await.expect("a list"));
    assert!(!other.is_connected(), "a program that only looks changes nothing");
    assert!(server.list().await.expect("a list").panes.contains_key("übel | name"));
}

#[tokio::test]
async fn a_list_is_read_again_only_when_it_shows_something_else() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    let mut before = server.list().await.expect("a list");
    assert_eq!(server.list_changed().await.expect("a list"), None);
    let changes: [(&str, &[&str]); 3] = [
        ("another session", &["new-session", "-d", "-s", "b", "sleep", "1000"]),
        ("another mark", &["set-option", "-t", "=a:", "@claude_failover", "x"]),
        ("another name", &["rename-session", "-t", "=b", "c"]),
    ];
    for (what, change) in changes {
        playground.person(change);
        let after = server.list_changed().await.expect("a list");
        assert!(after.as_ref().is_some_and(|after| *after != before), "{what}: {after:?}");
        assert_eq!(server.list_changed().await.expect("a list"), None, "{what}");
        before = server.list().await.expect("a list");
        assert_eq!(Some(&before), after.as_ref(), "{what}");
    }
    playground.signal_server(Signal::SIGKILL);
    until_listed(&mut server, |view| view.server.is_none()).await;
    assert_eq!(
        server.list_changed().await.expect("an answer"),
        Some(TmuxView::default()),
        "that nobody is there is never taken for a list"
    );
}

#[tokio::test]
async fn what_others_write_into_our_option_hides_nothing() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "ours", sleeper()).await;
    let value = playground.person(&["show-options", "-v", "-t", "=ours:", "@claude_failover"]);
    // In the order of the list, before and after ours.
    for (name, value) in [("a", format!("x\n{value}")), ("p", format!("{value}\n%end 1 1 1\n%exit")), ("web", value.clone())] {
        playground.person(&["new-session", "-d", "-s", name, "sleep", "1000"]);
        playground.person(&["set-option", "-t", &format!("={name}:"), "@claude_failover", &value]);
    }
    for _ in 0..3 {
        let view = server.list().await.expect("a list");
        assert_eq!(view.panes.keys().collect::<Vec<_>>(), ["a", "ours", "p", "web"]);
        let marked: Vec<_> = view.panes.iter().filter(|(_, pane)| pane.mark.is_some()).map(|(name, _)| name.as_str()).collect();
        assert_eq!(marked, ["ours"], "a mark that does not name its bearer is none");
    }
}

#[tokio::test]
async fn the_agents_pane_is_the_oldest_whatever_a_person_opens() {
    let (playground, mut server) = Playground::started().await;
    let before = running(&mut server, "a", sleeper()).await;
    playground.person(&["split-window", "-d", "-b", "-t", "=a:", "sleep", "1000"]);
    playground.person(&["new-window", "-d", "-b", "-t", "=a:", "sleep", "1000"]);
    assert_eq!(playground.person(&["list-panes", "-s", "-t", "=a:"]).lines().count(), 3);
    assert_eq!(pane(&mut server, "a").await, before);
}

#[tokio::test]
async fn a_screen_is_text_and_cannot_break_the_connection() {
    let (_playground, mut server) = Playground::started().await;
    let script = "printf 'one\\n%%end 1 1 1\\n%%exit\\n\\033[1mtwo\\033[0m\\n'; exec sleep 1000";
    assert_eq!(perform(&mut server, create("a", shell(script))).await, Outcome::Changed);
    let pane = pane(&mut server, "a").await;
    let mut screen = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !screen.contains("two") {
        assert!(Instant::now() < deadline, "it was never shown: {screen:?}");
        screen = soon(server.capture(&pane.pane)).await.expect("a screen");
    }
    assert_eq!(screen.lines().take(4).collect::<Vec<_>>(), ["one", "%end 1 1 1", "%exit", "two"]);
    assert!(server.is_connected());
    for bad in ["%999", "=a", "", "%1; kill-server"] {
        assert!(server.capture(&PaneId(bad.into())).await.is_err(), "{bad:?}");
    }
}
