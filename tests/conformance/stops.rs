//! The end of agents.

use std::time::Duration;

use claude_failover::{
    host::Host as _,
    model::ProcessId,
    plan::{Effect, Outcome},
};

use crate::bench::{Bench, Stage, has_ended, session};

pub async fn an_agent_is_stopped<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    let stop = stage.stop("web1").await;
    stage.done_once(&stop).await;
    assert!(!stage.bench.lives(process.pid), "when it answers, it is gone");
    stage.look().await;
    assert!(has_ended(&stage.seen, "web1"));
    assert!(stage.pane("web1").is_some(), "its pane stays");
}

pub async fn another_process_of_that_number_is_spared<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    let former = ProcessId { started: process.started - 1, ..process };
    let stop = Effect::StopAgent { session: session("web1"), process: former, grace: Duration::from_secs(1) };
    assert_eq!(stage.perform(&stop).await, Outcome::Unchanged);
    assert!(stage.bench.lives(process.pid));
}

pub async fn a_stubborn_agent_is_killed_after_the_grace<B: Bench>(mut stage: Stage<B>) {
    stage.bench.make_agents_stubborn();
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    let before = stage.host.now();
    let grace = Duration::from_secs(2);
    stage.done(&Effect::StopAgent { session: session("web1"), process, grace }).await;
    assert!(!stage.bench.lives(process.pid));
    let took = stage.host.now().since(before);
    assert!(took >= grace && took < Duration::from_secs(10), "{took:?}");
}

pub async fn agents_are_stopped_together<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let names = ["web1", "web2", "web10"];
    let mut stops = Vec::new();
    for name in names {
        stage.start(name).await;
        stops.push(stage.stop(name).await);
    }
    assert_eq!(stage.host.perform(&stops).await, [const { Outcome::Changed }; 3]);
    stage.look().await;
    assert!(names.iter().all(|name| has_ended(&stage.seen, name)));
    assert_eq!(stage.host.perform(&stops).await, [const { Outcome::Unchanged }; 3]);
}
