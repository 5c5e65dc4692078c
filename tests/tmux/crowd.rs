//! Many sessions at once.

use std::{collections::BTreeSet, time::Duration};

use claude_failover::{
    host::{
        process::{DeathWatch, environment_value, stop},
        tmux::TmuxOp,
    },
    model::ProcessId,
    plan::Outcome,
};

use crate::playground::*;

const MANY: usize = 200;

#[tokio::test]
async fn a_crowd_is_created_dies_and_rises_in_one_go_each() {
    let (_playground, mut server) = Playground::started().await;
    let names: Vec<String> = (0..MANY).map(|number| format!("s{number}")).collect();
    let ops: Vec<_> = names.iter().map(|name| create(name, sleeper())).collect();
    assert_eq!(server.perform(&ops).await, vec![Outcome::Changed; MANY]);
    assert!(server.is_connected());
    let before = server.list().await.expect("a list");
    assert_eq!(before.panes.len(), MANY);
    until(|| before.panes.values().all(|pane| runs(pane, "/bin/sleep".as_ref()))).await;

    let processes: BTreeSet<ProcessId> = before.panes.values().map(process_of).collect();
    let mut watch = DeathWatch::new().expect("epoll");
    for &process in &processes {
        assert!(watch.watch(process).expect("watched"));
    }
    let asked: Vec<_> = processes.iter().map(|&process| (process, Duration::from_secs(30))).collect();
    assert_eq!(stop(&asked).await, vec![Outcome::Changed; MANY]);
    let exits = soon(watch.next()).await.expect("exits");
    assert_eq!(exits.iter().map(|exit| exit.process).collect::<BTreeSet<_>>(), processes, "all in one answer");
    assert_eq!(stop(&asked).await, vec![Outcome::Unchanged; MANY]);

    let ops: Vec<_> = before.panes.iter().map(|(name, pane)| respawn(pane, name, sleeper())).collect();
    assert_eq!(server.perform(&ops).await, vec![Outcome::Changed; MANY]);
    let after = server.list().await.expect("a list");
    assert_eq!(after.panes.len(), MANY);
    for (name, pane) in &after.panes {
        assert_eq!((&pane.pane, &pane.dead), (&before.panes[name].pane, &None));
        assert!(!processes.contains(&process_of(pane)));
    }
    until(|| after.panes.values().all(|pane| runs(pane, "/bin/sleep".as_ref()))).await;
    for pane in after.panes.values() {
        assert_eq!(environment_value(process_of(pane), "CLAUDE_CONFIG_DIR").expect("readable"), Some("/home/first".into()));
    }

    let asked: Vec<_> = after.panes.values().map(|pane| (process_of(pane), Duration::from_secs(30))).collect();
    assert_eq!(stop(&asked).await, vec![Outcome::Changed; MANY]);
    let ops: Vec<_> =
        after.panes.iter().map(|(name, pane)| TmuxOp::Close { session_id: pane.session_id.clone(), mark: mark(name) }).collect();
    assert_eq!(server.perform(&ops).await, vec![Outcome::Changed; MANY]);
    assert!(server.list().await.expect("a list").panes.is_empty());
}

#[tokio::test]
async fn a_stubborn_agent_is_killed_after_its_grace_and_its_pane_stays() {
    let (_playground, mut server) = Playground::started().await;
    let stubborn = running(&mut server, "a", shell("trap '' TERM HUP; sleep 1000 & while :; do wait; done")).await;
    let process = process_of(&stubborn);
    let mut leftover = Vec::new();
    until(|| {
        leftover = claude_failover::host::process::ProcessTable::scan().expect("readable").children(process.pid).to_vec();
        leftover.iter().any(|child| std::fs::read_link(format!("/proc/{}/exe", child.pid)).is_ok_and(|exe| exe.ends_with("sleep")))
    })
    .await;
    let began = std::time::Instant::now();
    let grace = Duration::from_millis(400);
    assert_eq!(soon(stop(&[(process, grace)])).await, [Outcome::Changed]);
    assert!(began.elapsed() >= grace);
    assert!(!lives(process) && !leftover.into_iter().any(lives), "nor what it had started");

    assert_eq!(perform(&mut server, respawn(&stubborn, "a", sleeper())).await, Outcome::Changed);
    assert_eq!(pane(&mut server, "a").await.pane, stubborn.pane);
}
