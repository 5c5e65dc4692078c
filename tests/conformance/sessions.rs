//! Sessions and their agents.

use std::time::Duration;

use claude_failover::{
    host::{Host as _, Look},
    model::{Activity, StartDigest},
    observed::Mark,
    plan::{Effect, LaunchMode, Outcome},
};

use crate::bench::{
    Bench, OTHER_POOL, Stage, assert_nothing_done, assert_refused, conversation, has_ended, is_ready, mark, session, tells_of_agents,
};

pub async fn a_created_session_is_ours_and_runs<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let create = stage.create("web1");
    stage.done(&create).await;
    stage.look().await;
    let pane = stage.pane("web1").expect("it is there").clone();
    assert_eq!((pane.mark, pane.dead, pane.attached), (Some(mark("web1")), None, 0));
    let process = stage.agent("web1").process.expect("it lives");
    assert_eq!(pane.pid, Some(process.pid));
    stage.until("it is idle", |seen| is_ready(seen, "web1") && seen.activity(&session("web1")) == Activity::Idle).await;
    let (home, agent) = (stage.home("primary"), stage.agent("web1").clone());
    assert_eq!((agent.process, agent.home), (Some(process), Some(home)));
    assert_eq!(agent.register.map(|register| register.conversation), Some(conversation("web1")));
    let report = agent.started.expect("its start hook has reported");
    assert_eq!((report.pid, report.conversation, report.source.as_str()), (process.pid, conversation("web1"), "startup"));
    assert_nothing_done(&stage.perform(&create).await);
    assert_eq!(stage.process("web1").await, process, "the same one");
}

pub async fn a_name_that_is_taken_is_left_alone<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.bench.start_foreign_session("web1");
    let before = stage.process("web1").await;
    assert_refused(&stage.perform(&stage.create("web1")).await);
    assert_eq!(stage.process("web1").await, before);
    assert_eq!(stage.pane("web1").expect("it is there").mark, None);
}

pub async fn nothing_starts_over_a_wrong_link<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let (path, target) = (stage.home("primary").join("tasks"), stage.spec.shared.root.join("projects"));
    stage.bench.put_link(&path, &target);
    assert_refused(&stage.perform(&stage.create("web1")).await);
    stage.bench.put_directory(&path, &[]);
    assert_refused(&stage.perform(&stage.create("web1")).await);
    stage.look().await;
    assert!(stage.pane("web1").is_none());
}

pub async fn nothing_starts_in_a_directory_that_is_not_there<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let mut create = stage.create("web1");
    if let Effect::CreateSession { launch, .. } = &mut create {
        launch.workdir = stage.bench.ground().join("gone");
    }
    assert_refused(&stage.perform(&create).await);
    stage.look().await;
    assert!(stage.pane("web1").is_none());
}

pub async fn names_are_exact<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web10").await;
    let longer = stage.process("web10").await;
    stage.start("web1").await;
    assert_ne!(stage.process("web1").await, longer);
    let pane = stage.pane("web1").expect("it is there").clone();
    let stop = stage.stop("web1").await;
    stage.done(&stop).await;
    stage.done(&Effect::CloseSession { session_id: pane.session_id, mark: mark("web1") }).await;
    assert_eq!(stage.process("web10").await, longer);
    assert!(stage.pane("web1").is_none());
}

pub async fn a_death_is_noticed<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    stage.bench.kill(process.pid);
    let deadline = stage.host.now().mono.plus(Duration::from_secs(30));
    while !tells_of_agents(&stage.host.wake(deadline).await) {
        assert!(stage.host.now().mono < deadline, "nobody was woken");
    }
    stage.until("it has ended", |seen| has_ended(seen, "web1")).await;
    let pane = stage.pane("web1").expect("its pane stays").clone();
    assert_eq!(pane.mark, Some(mark("web1")));
    assert_eq!(stage.agent("web1").activity, Activity::Exited);
    if let Some(death) = stage.agent("web1").death.or(pane.dead) {
        assert!(death.code.is_none() && death.signal.is_none_or(|signal| signal == 9), "{death:?}");
    }
}

pub async fn an_agent_is_started_again_in_its_pane<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let (first, pane) = (stage.process("web1").await, stage.pane("web1").expect("a pane").clone());
    assert_refused(&stage.perform(&stage.respawn("web1", "primary", LaunchMode::Fresh)).await);
    assert_eq!(stage.process("web1").await, first, "one that lives is never replaced");
    stage.bench.kill(first.pid);
    stage.until("it has ended", |seen| has_ended(seen, "web1")).await;

    let mut outdated = stage.respawn("web1", "primary", LaunchMode::Fresh);
    if let Effect::RespawnAgent { expect_pid, .. } = &mut outdated {
        *expect_pid = Some(claude_failover::model::Pid(1));
    }
    assert_refused(&stage.perform(&outdated).await);
    stage.look().await;
    assert!(has_ended(&stage.seen, "web1"), "the pane's last process was another one");

    let mut respawn = stage.respawn("web1", "primary", LaunchMode::Fresh);
    let digest = StartDigest("ba9876543210".to_owned());
    if let Effect::RespawnAgent { mark, .. } = &mut respawn {
        mark.digest = digest.clone();
    }
    stage.done(&respawn).await;
    stage.until("it is ready", |seen| is_ready(seen, "web1")).await;
    let second = stage.process("web1").await;
    assert_ne!(second, first);
    let now = stage.pane("web1").expect("a pane").clone();
    assert_eq!((now.session_id, now.pane, now.dead), (pane.session_id, pane.pane, None));
    assert_eq!(now.mark, Some(Mark { digest, ..mark("web1") }));
    assert_nothing_done(&stage.perform(&respawn).await);
    assert_eq!(stage.process("web1").await, second);
}

pub async fn a_conversation_that_is_open_is_not_opened_again<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let mut launch = stage.launch("web2", "backup", LaunchMode::Resume);
    launch.conversation = conversation("web1");
    assert_refused(&stage.perform(&Effect::CreateSession { launch, mark: mark("web2") }).await);
    stage.look().await;
    assert!(stage.pane("web2").is_none());
}

pub async fn a_conversation_goes_on_under_another_account<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    stage.remember("web1");
    let look = |mark| Look { transcripts: [(session("web1"), mark)].into(), ..Look::default() };
    stage.host.observe(&stage.memory, &look(None), &mut stage.seen).await;
    let before = stage.seen.transcripts[&session("web1")].value().expect("known").clone();
    assert_eq!((before.mark, before.keeps), (None, None), "nothing was said yet");
    stage.bench.prompt("web1");
    let stop = stage.stop("web1").await;
    stage.done(&stop).await;
    stage.host.observe(&stage.memory, &look(None), &mut stage.seen).await;
    let kept = stage.seen.transcripts[&session("web1")].value().expect("known").mark.clone().expect("there is one now");

    stage.look().await;
    stage.done(&stage.respawn("web1", "backup", LaunchMode::Resume)).await;
    stage.until("it is ready", |seen| is_ready(seen, "web1")).await;
    stage.bench.prompt("web1");
    stage.host.observe(&stage.memory, &look(Some(kept.clone())), &mut stage.seen).await;
    let after = stage.seen.transcripts[&session("web1")].value().expect("known").clone();
    let grown = after.mark.expect("it is there");
    assert_eq!((after.keeps, &grown.path, grown.inode), (Some(true), &kept.path, kept.inode));
    assert!(grown.length > kept.length);
    let (home, agent) = (stage.home("backup"), stage.agent("web1"));
    assert_eq!(agent.home.as_ref(), Some(&home));
    assert_eq!(agent.started.as_ref().map(|report| report.source.as_str()), Some("resume"));

    let other = claude_failover::observed::TranscriptMark { tail: "0".repeat(64), ..kept };
    stage.host.observe(&stage.memory, &look(Some(other)), &mut stage.seen).await;
    assert_eq!(stage.seen.transcripts[&session("web1")].value().expect("known").keeps, Some(false));
}

pub async fn a_mark_that_does_not_name_its_bearer_is_none<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    stage.bench.rename_session("web1", "visitor");
    stage.until("it has its new name", |seen| seen.tmux.value().is_some_and(|tmux| tmux.panes.contains_key("visitor"))).await;
    assert!(stage.pane("web1").is_none());
    assert_eq!(stage.pane("visitor").expect("it is there").mark, None);
    assert!(stage.bench.lives(process.pid));
}

pub async fn a_session_is_adopted<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.bench.start_foreign_session("web1");
    let process = stage.process("web1").await;
    let pane = stage.pane("web1").expect("it is there").clone();
    assert_eq!(pane.mark, None);
    stage.done_once(&Effect::AdoptSession { session_id: pane.session_id, pane: pane.pane, mark: mark("web1") }).await;
    assert_eq!(stage.process("web1").await, process, "it runs on");
    assert_eq!(stage.pane("web1").expect("it is there").mark, Some(mark("web1")));
    stage.bench.kill(process.pid);
    stage.until("it has ended", |seen| has_ended(seen, "web1")).await;
    assert!(stage.pane("web1").is_some(), "its pane stays from now on");
}

pub async fn a_session_of_another_pool_is_not_adopted<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let theirs = Mark { pool: OTHER_POOL, ..mark("web1") };
    stage.done(&Effect::CreateSession { launch: stage.launch("web1", "primary", LaunchMode::Fresh), mark: theirs.clone() }).await;
    stage.look().await;
    let pane = stage.pane("web1").expect("it is there").clone();
    assert_eq!(pane.mark, Some(theirs.clone()));
    for effect in [
        Effect::AdoptSession { session_id: pane.session_id.clone(), pane: pane.pane, mark: mark("web1") },
        Effect::ReleaseSession { session_id: pane.session_id.clone(), mark: mark("web1") },
        Effect::CloseSession { session_id: pane.session_id, mark: mark("web1") },
    ] {
        assert_refused(&stage.perform(&effect).await);
    }
    stage.look().await;
    assert_eq!(stage.pane("web1").expect("it is there").mark, Some(theirs));
}

pub async fn a_session_is_released<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    let pane = stage.pane("web1").expect("it is there").clone();
    stage.done_once(&Effect::ReleaseSession { session_id: pane.session_id, mark: mark("web1") }).await;
    assert_eq!(stage.process("web1").await, process, "it runs on");
    assert_eq!(stage.pane("web1").expect("it is there").mark, None);
}

pub async fn a_session_is_closed_when_its_agent_has_ended<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let process = stage.process("web1").await;
    let pane = stage.pane("web1").expect("it is there").clone();
    let close = Effect::CloseSession { session_id: pane.session_id, mark: mark("web1") };
    assert_refused(&stage.perform(&close).await);
    assert_eq!(stage.process("web1").await, process, "an agent that lives is not closed");
    let stop = stage.stop("web1").await;
    stage.done(&stop).await;
    stage.until("it has ended", |seen| has_ended(seen, "web1")).await;
    stage.done_once(&close).await;
    stage.look().await;
    assert!(stage.pane("web1").is_none());
    assert_eq!(stage.perform(&Effect::StartServer).await, Outcome::Unchanged, "the server lives on without sessions");
}

pub async fn a_session_without_our_mark_is_not_closed<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let pane = stage.pane("web1").expect("it is there").clone();
    stage.done(&Effect::ReleaseSession { session_id: pane.session_id.clone(), mark: mark("web1") }).await;
    let process = stage.process("web1").await;
    stage.bench.kill(process.pid);
    stage.until("it has ended", |seen| has_ended(seen, "web1")).await;
    assert_refused(&stage.perform(&Effect::CloseSession { session_id: pane.session_id, mark: mark("web1") }).await);
    assert_refused(&stage.perform(&stage.respawn("web1", "primary", LaunchMode::Fresh)).await);
    stage.look().await;
    assert!(stage.pane("web1").is_some() && has_ended(&stage.seen, "web1"));
}
