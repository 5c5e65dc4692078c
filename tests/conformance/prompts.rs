//! Prompts that are typed into agents.

use claude_failover::{
    host::Host as _,
    model::{ClaimId, ProcessId},
    plan::{Effect, Outcome},
};

use crate::{
    bench::{Bench, Stage, assert_refused, run, session},
    real::Real,
};

fn claim() -> ClaimId {
    ClaimId("0123456789ab".to_owned())
}

/// A prompt for an agent as it is now, with the claim's tag.
async fn prompt<B: Bench>(stage: &mut Stage<B>, name: &str) -> Effect {
    let process = stage.process(name).await;
    Effect::TypePrompt {
        session: session(name),
        pane: stage.pane(name).expect("a pane").pane.clone(),
        process,
        home: stage.home("primary"),
        text: format!("{} say something", claim().tag()),
        claim: claim(),
    }
}

/// Waits until the agent's own word shows the claim, and that it took nothing else.
async fn until_taken<B: Bench>(stage: &mut Stage<B>, name: &str) {
    let named = session(name);
    stage
        .until("the agent says that it took the prompt", |seen| {
            seen.agents.get(&named).and_then(|agent| agent.value()).is_some_and(|agent| !agent.prompts.is_empty())
        })
        .await;
    let claims: Vec<_> = stage.agent(name).prompts.iter().map(|prompt| prompt.claim.clone()).collect();
    assert_eq!(claims, [claim()]);
}

pub async fn a_prompt_reaches_an_idle_agent<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    stage.start("web10").await;
    let effect = prompt(&mut stage, "web1").await;
    stage.done(&effect).await;
    until_taken(&mut stage, "web1").await;
    let taken = stage.agent("web1").prompts[0].at;
    let named = session("web1");
    stage
        .until("the agent says that its turn is over", |seen| {
            seen.agents.get(&named).and_then(|agent| agent.value()).is_some_and(|agent| agent.turn_ended_at.is_some_and(|at| at >= taken))
        })
        .await;
    assert_eq!(stage.agent("web10").prompts, [], "nobody else got it");
}

pub async fn a_prompt_is_for_the_very_process<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let mut effect = prompt(&mut stage, "web1").await;
    if let Effect::TypePrompt { process, .. } = &mut effect {
        *process = ProcessId { started: process.started - 1, ..*process };
    }
    let outcome = stage.perform(&effect).await;
    assert_refused(&outcome);
    stage.look().await;
    assert_eq!(stage.agent("web1").prompts, []);
}

pub async fn nothing_is_typed_to_an_agent_that_has_ended<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    stage.start("web2").await;
    let effects = [prompt(&mut stage, "web1").await, prompt(&mut stage, "web2").await];
    let process = stage.process("web1").await;
    stage.bench.kill(process.pid);
    while stage.bench.lives(process.pid) {
        stage.look().await;
    }
    let outcomes = stage.host.perform(&effects).await;
    assert_refused(&outcomes[0]);
    assert_eq!(outcomes[1], Outcome::Changed, "and it holds up nobody else");
    until_taken(&mut stage, "web2").await;
}

/// The text in the box of a session, as soon as it is the wanted one.
fn put_draft(stage: &Stage<Real>, name: &str, text: &str) {
    let target = format!("={name}:");
    stage.bench.tmux(&["send-keys", "-t", &target, "C-u"]);
    stage.bench.tmux(&["send-keys", "-t", &target, "-l", text]);
    stage.bench.wait_shown(name, text);
}

#[test]
fn what_a_person_has_begun_to_type_is_left_alone() {
    run::<Real, _>(async |mut stage| {
        stage.prepare().await;
        stage.start("web1").await;
        let effect = prompt(&mut stage, "web1").await;
        put_draft(&stage, "web1", "what I think");
        let outcome = stage.perform(&effect).await;
        assert_refused(&outcome);
        assert!(outcome.failure().is_some_and(|failure| failure.message().contains("draft")), "{outcome:?}");
        stage.bench.wait_shown("web1", "what I think");
        assert_eq!(stage.bench.records("web1", "user"), 0);
    });
}

#[test]
fn a_prompt_that_stands_in_the_box_already_is_only_submitted() {
    run::<Real, _>(async |mut stage| {
        stage.prepare().await;
        stage.start("web1").await;
        let effect = prompt(&mut stage, "web1").await;
        put_draft(&stage, "web1", &format!("{} say something", claim().tag()));
        stage.done(&effect).await;
        until_taken(&mut stage, "web1").await;
        // The agent says that it took it before it writes it down.
        stage.bench.wait_records("web1", "assistant", 1);
        assert_eq!(stage.bench.records("web1", "user"), 1);
    });
}

#[test]
fn an_agent_at_work_is_not_disturbed() {
    run::<Real, _>(async |mut stage| {
        let home = stage.home("primary");
        stage.bench.put_file(&home.join("stand-in.json"), r#"{"turnMillis": 60000}"#);
        stage.prepare().await;
        stage.start("web1").await;
        let effect = prompt(&mut stage, "web1").await;
        stage.done(&effect).await;
        until_taken(&mut stage, "web1").await;
        stage.bench.wait_records("web1", "user", 1);
        let outcome = stage.perform(&effect).await;
        assert_refused(&outcome);
        assert!(outcome.failure().is_some_and(|failure| failure.message().contains("not idle")), "{outcome:?}");
        assert_eq!(stage.bench.records("web1", "user"), 1);
    });
}
