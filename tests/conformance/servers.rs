//! The tmux server.

use claude_failover::{model::PaneId, observed::Seen, plan::Effect};

use crate::bench::{Bench, Stage, assert_refused, mark};

pub async fn a_server_is_started_once<B: Bench>(mut stage: Stage<B>) {
    stage.look().await;
    let tmux = stage.seen.tmux.value().expect("that none runs is a fact");
    assert_eq!((tmux.server.clone(), tmux.panes.len()), (None, 0));
    stage.done_once(&Effect::StartServer).await;
    stage.look().await;
    let tmux = stage.seen.tmux.value().expect("known");
    assert!(stage.bench.lives(tmux.server.as_ref().expect("it runs").pid));
    assert_eq!(tmux.panes.len(), 0, "nothing of ours is among the sessions");
}

pub async fn a_server_that_ended_is_known_to_be_gone<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    stage.remember("web1");
    stage.memory.sessions.values_mut().for_each(|record| record.process = Some(process));
    stage.bench.kill_server();
    stage.until("the server is gone", |seen| seen.tmux.value().is_some_and(|tmux| tmux.server.is_none())).await;
    stage.until("its agent has ended", |seen| crate::bench::has_ended(seen, "web1")).await;
    assert!(!stage.bench.lives(process.pid));
    stage.done(&Effect::StartServer).await;
}

pub async fn a_server_that_hangs_is_unknown<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    stage.bench.hang_server(true);
    stage.look().await;
    assert!(matches!(stage.seen.tmux, Seen::Unknown(_)), "no answer is not an empty answer: {:?}", stage.seen.tmux);
    assert!(stage.seen.agents.values().all(|agent| agent.value().is_none()), "without panes nobody knows whose process is whose");
    stage.bench.hang_server(false);
    stage.until("it answers again", |seen| seen.tmux.value().is_some_and(|tmux| tmux.panes.contains_key("web1"))).await;
    assert!(stage.agent("web1").process.is_some());
}

pub async fn without_a_server_nothing_starts<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.bench.kill_server();
    stage.until("the server is gone", |seen| seen.tmux.value().is_some_and(|tmux| tmux.server.is_none())).await;
    assert_refused(&stage.perform(&stage.create("web1")).await);
    let session_id = claude_failover::model::TmuxSessionId("$0".to_owned());
    let adopt = Effect::AdoptSession { session_id, pane: PaneId("%0".to_owned()), mark: mark("web1") };
    assert_refused(&stage.perform(&adopt).await);
    stage.look().await;
    assert_eq!(stage.seen.tmux.value().expect("known").server, None, "none was started by the way");
}
