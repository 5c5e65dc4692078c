//! Starting a server.

use std::{fs, os::unix::fs::PermissionsExt as _};

use claude_failover::{
    host::{
        process::{ProcessState, descriptor_limit, state},
        tmux::{RuntimeDirectory, Socket, TmuxServer},
    },
    plan::{Happened, Outcome},
    spec::SocketSpec,
};
use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
    },
    unistd,
};

use crate::playground::*;

#[tokio::test]
async fn a_server_is_started_once_and_lives_on_its_own() {
    let (playground, mut server) = Playground::started().await;
    let pid = playground.server_pid().expect("a server");
    assert_eq!(start(&mut server).await, Outcome::Unchanged);
    assert_eq!(start(&mut playground.server()).await, Outcome::Unchanged);
    assert_eq!(playground.server_pid(), Some(pid));

    // No signal to our group or session reaches it, and it is not our child.
    let its = unistd::Pid::from_raw(pid.0);
    assert_ne!(unistd::getpgid(Some(its)).expect("alive"), unistd::getpgrp());
    assert_ne!(unistd::getsid(Some(its)).expect("alive"), unistd::getsid(None).expect("ours"));
    let us = i32::try_from(std::process::id()).expect("a number");
    assert!(matches!(state(pid).expect("readable"), ProcessState::Alive { parent, .. } if parent.0 != us));
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("readable"), std::path::Path::new("/"), "it holds no directory");

    for (option, value) in [("history-limit", "1234"), ("remain-on-exit", "on"), ("default-terminal", "tmux-256color")] {
        assert_eq!(playground.person(&["display-message", "-p", &format!("#{{{option}}}")]), value, "{option}");
    }
    assert_eq!(playground.person(&["list-sessions", "-F", "#{session_name}"]), "_claude-failover");
    let check = server.check().await.expect("a server");
    assert_eq!((check.pid, check.ends_with_us()), (pid, false), "no service here");
    assert!(check.cgroup.is_some() && check.cgroup == check.our_cgroup);
}

#[tokio::test]
async fn a_server_has_room_for_many_panes() {
    let playground = Playground::empty();
    // As on a host with the usual soft limit. It holds for the other tests too, and is enough for each.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("readable");
    let usual = 1024.min(hard / 2);
    setrlimit(Resource::RLIMIT_NOFILE, usual, hard).expect("lowered");
    let mut server = playground.server();
    assert_eq!(start(&mut server).await, Outcome::Changed);
    let view = server.list().await.expect("a list").server.expect("a server");
    assert_eq!(view.descriptor_limit, descriptor_limit(view.pid).expect("readable"));
    assert_eq!(view.descriptor_limit, Some(hard.min(65_536)));
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("readable").0, usual, "our own limit is as it was");
}

#[tokio::test]
async fn an_existing_server_of_somebody_keeps_its_ways() {
    let playground = Playground::empty();
    playground.person(&["-f", "/dev/null", "new-session", "-d", "-s", "theirs", "sleep", "1000"]);
    let options = playground.person(&["show-options", "-g"])
        + &playground.person(&["show-options", "-gw"])
        + &playground.person(&["show-options", "-s"]);
    let mut server = playground.server();
    assert_eq!(server.list().await.expect("a list").panes.keys().collect::<Vec<_>>(), ["theirs"]);
    assert_eq!(playground.person(&["list-sessions"]).lines().count(), 1, "a look makes no anchor");

    assert_eq!(start(&mut server).await, Outcome::Changed, "it has our anchor now");
    assert_eq!(start(&mut server).await, Outcome::Unchanged);
    let pane = running(&mut server, "a", sleeper()).await;
    // Although the server does not keep panes, ours stays.
    end(&pane).await;
    let dead = until_listed(&mut server, |view| view.panes["a"].dead.is_some()).await;
    assert_eq!(perform(&mut server, respawn(&dead.panes["a"], "a", sleeper())).await, Outcome::Changed);
    let after = playground.person(&["show-options", "-g"])
        + &playground.person(&["show-options", "-gw"])
        + &playground.person(&["show-options", "-s"]);
    assert_eq!(after, options);
}

#[tokio::test]
async fn a_server_that_shuts_down_is_waited_for() {
    let (playground, mut server) = Playground::started().await;
    for _ in 0..3 {
        let ops: Vec<_> = (0..20).map(|number| create(&format!("s{number}"), sleeper())).collect();
        assert!(server.perform(&ops).await.iter().all(|outcome| *outcome == Outcome::Changed));
        playground.person(&["kill-server"]);
        let mut outcome = start(&mut server).await;
        // While it still answers, it is there; while it does not, it must be gone before another one comes.
        while outcome != Outcome::Changed {
            assert!(!matches!(&outcome, Outcome::Failed(failure) if failure.happened == Happened::CannotTell), "{outcome:?}");
            outcome = soon(start(&mut server)).await;
        }
        assert!(soon(server.list()).await.expect("a list").panes.is_empty());
    }
}

#[tokio::test]
async fn a_name_is_a_socket_in_a_directory_of_our_own() {
    let playground = Playground::empty();
    let runtime = RuntimeDirectory::choose(Some(playground.directory.path()), 0);
    let mut config = playground.config();
    config.socket = Socket::resolve(&SocketSpec::Name("agents".into()), &runtime).expect("a name");
    let socket = config.socket.path().to_owned();
    let named = Playground { directory: tempfile::tempdir().expect("a directory"), socket: socket.clone() };
    let mut server = TmuxServer::new(config);
    assert_eq!(server.list().await.expect("an answer").server, None);
    assert!(!socket.parent().expect("a directory").exists(), "a look makes nothing");
    assert_eq!(start(&mut server).await, Outcome::Changed);
    running(&mut server, "a", sleeper()).await;

    // From the moment that others could put a socket there, it is not spoken to.
    fs::set_permissions(socket.parent().expect("a directory"), fs::Permissions::from_mode(0o777)).expect("ours");
    assert!(named.server_pid().is_some());
    let mut other = TmuxServer::new(server_config(&named, &runtime));
    assert!(other.list().await.is_err());
    assert_eq!(failure(&start(&mut other).await).happened, Happened::No);
    assert_eq!(failure(&perform(&mut other, create("b", sleeper())).await).happened, Happened::No);
}

fn server_config(playground: &Playground, runtime: &RuntimeDirectory) -> claude_failover::host::tmux::TmuxConfig {
    let mut config = playground.config();
    config.socket = Socket::resolve(&SocketSpec::Name("agents".into()), runtime).expect("a name");
    config
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let playground = Playground::empty();
    let mut config = playground.config();
    config.binary = playground.path("nowhere");
    let outcome = start(&mut TmuxServer::new(config)).await;
    assert_eq!(failure(&outcome).happened, Happened::No, "{outcome:?}");

    let mut config = playground.config();
    config.binary = playground.wrapper("echo 'no room left' >&2; exit 1");
    let outcome = start(&mut TmuxServer::new(config)).await;
    assert_eq!(failure(&outcome).happened, Happened::No);
    assert!(failure(&outcome).message().contains("no room left"), "{outcome:?}");

    // One that hangs is neither absent nor replaced.
    let (hung, mut server) = Playground::started().await;
    hung.signal_server(Signal::SIGSTOP);
    let mut config = hung.config();
    config.deadline = std::time::Duration::from_secs(1);
    let outcome = start(&mut TmuxServer::new(config)).await;
    assert_eq!(failure(&outcome).happened, Happened::No, "{outcome:?}");
    hung.signal_server(Signal::SIGCONT);
    assert!(server.list().await.expect("a list").server.is_some());
}
