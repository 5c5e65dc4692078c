//! How few clients are started: each costs the server and us milliseconds.

use std::fs;

use claude_failover::{host::tmux::TmuxServer, plan::Outcome};

use crate::playground::*;

/// A server that is spoken to through a program that notes how it is called.
struct Noted {
    playground: Playground,
    server: TmuxServer,
}

impl Noted {
    fn new() -> Self {
        let playground = Playground::empty();
        let mut config = playground.config();
        config.binary = playground.wrapper(&format!("echo \"$*\" >> {}", playground.path("calls").display()));
        Self { playground, server: TmuxServer::new(config) }
    }

    /// The calls so far, each by its last argument.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.playground.path("calls")).unwrap_or_default();
        text.lines().filter_map(|line| line.rsplit(' ').next().map(ToOwned::to_owned)).collect()
    }
}

#[tokio::test]
async fn where_there_is_no_socket_no_client_is_started() {
    let mut noted = Noted::new();
    noted.server.ask_ahead();
    for _ in 0..2 {
        assert_eq!(noted.server.list().await.expect("an answer").server, None);
    }
    assert_eq!(noted.calls(), [""; 0]);
}

#[tokio::test]
async fn a_new_server_is_greeted_once_before_it_is_connected_to() {
    let mut noted = Noted::new();
    assert_eq!(start(&mut noted.server).await, Outcome::Changed);
    assert_eq!(noted.calls().last().map(String::as_str), Some("-"), "it was greeted");
    let before = noted.calls().len();
    assert_eq!(perform(&mut noted.server, create("a", sleeper())).await, Outcome::Changed);
    assert!(noted.server.is_connected());
    // One more where the machine is so busy that the first greeting is old by now.
    let since = &noted.calls()[before..];
    assert_eq!(since.iter().filter(|call| *call != "-").count(), 1, "the connection: {since:?}");
    assert_eq!(noted.server.list().await.expect("a list").panes.len(), 1);
    assert_eq!(noted.calls()[before..], *since, "and then it is used");
}

#[tokio::test]
async fn a_list_that_is_asked_for_ahead_is_answered_by_its_own_client_and_only_once() {
    let mut noted = Noted::new();
    let mut other = noted.playground.server();
    assert_eq!(start(&mut other).await, Outcome::Changed);
    for name in ["a", "b"] {
        assert_eq!(perform(&mut other, create(name, sleeper())).await, Outcome::Changed);
    }
    noted.server.ask_ahead();
    let listed = noted.server.list().await.expect("a list");
    assert_eq!(listed, other.list().await.expect("a list"));
    assert_eq!(noted.calls(), ["-"]);
    assert_eq!(perform(&mut other, create("c", sleeper())).await, Outcome::Changed);
    assert_eq!(noted.server.list().await.expect("a list").panes.len(), 3, "the next look is a new one");
    assert_eq!(noted.calls(), ["-", "-"]);
}
