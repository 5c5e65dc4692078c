//! The machine among facts that make no sense together: it never writes an entry that its own journal refuses.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// What is seen in one round, and how its steps go.
#[derive(Debug, Clone)]
struct Round {
    seconds: i64,
    abort: bool,
    target: LinksState,
    from: LinksState,
    link: ActiveLinkState,
    sessions: Vec<SessionFacts>,
    results: Vec<StepResult>,
}

const SESSIONS: usize = 4;

fn links() -> impl Strategy<Value = LinksState> {
    prop_oneof![8 => Just(LinksState::Right), 1 => Just(LinksState::Unknown), 1 => Just(LinksState::Wrong("gone".to_owned()))]
}

fn link() -> impl Strategy<Value = ActiveLinkState> {
    let foreign = ActiveLinkState::Foreign(PathBuf::from("/elsewhere"));
    select(vec![ActiveLinkState::At(from()), ActiveLinkState::At(to()), ActiveLinkState::Unknown, ActiveLinkState::Absent, foreign])
}

fn session_facts() -> impl Strategy<Value = SessionFacts> {
    let account = select(vec![Some(from()), Some(to()), Some(to()), Some(account("third")), None]);
    let opened = prop_oneof![6 => Just(None), 1 => (0..SESSIONS).prop_map(|index| Some(conversation(index)))];
    let running = (account, opened).prop_map(|(account, conversation)| AgentFact::Running { account, conversation });
    let agent = prop_oneof![3 => running, 3 => Just(AgentFact::None), 1 => Just(AgentFact::Unknown)];
    let activity = select(vec![Activity::Idle, Activity::Working, Activity::NeedsInput, Activity::LimitHit, Activity::Unknown]);
    let (pending, refuted) = (ProofState::Pending("more".to_owned()), ProofState::Refuted("wrong".to_owned()));
    let proof = select(vec![ProofState::Proven, ProofState::Proven, pending, refuted, ProofState::Unknown]);
    (agent, activity, proof, 0..2_u32, any::<bool>()).prop_map(|(agent, activity, proof, attached, at_task)| SessionFacts {
        agent,
        activity,
        proof,
        attached,
        at_task,
    })
}

fn result() -> impl Strategy<Value = StepResult> {
    let failed = |in_doubt| StepResult::Failed { error: "it failed".to_owned(), in_doubt };
    prop_oneof![6 => Just(StepResult::Done(None)), 1 => Just(failed(false)), 1 => Just(failed(true))]
}

fn round() -> impl Strategy<Value = Round> {
    let sights = (links(), links(), link(), vec(session_facts(), SESSIONS));
    (0..40_i64, prop::bool::weighted(0.01), sights, vec(result(), SESSIONS)).prop_map(
        |(seconds, abort, (target, from, link, sessions), results)| Round { seconds, abort, target, from, link, sessions, results },
    )
}

proptest! {
    #[test]
    fn every_entry_is_legal_and_moves_the_record_on(rounds in vec(round(), 1..120), canary in 0..4_usize, batch in 0..4_usize) {
        let mut plan = plan(SESSIONS);
        (plan.canary, plan.batch) = (canary, batch);
        let mut record = SwapRecord::open(plan.clone());
        let mut second = 0;
        for round in rounds {
            second += round.seconds;
            let facts = SwapFacts {
                now: at(second),
                looking_since: at(0),
                abort: round.abort.then(|| "abort".to_owned()),
                target_links: round.target,
                from_links: round.from,
                active_link: round.link,
                sessions: plan.sessions.keys().cloned().zip(round.sessions).collect(),
            };
            let before = record.clone();
            match next(&record, &facts) {
                Decision::Wait { .. } => continue,
                Decision::Note(events) => {
                    for event in events {
                        record.apply(&event).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    }
                }
                Decision::Act(steps) => {
                    for step in &steps {
                        if let Step::Start(name, _) = step {
                            prop_assert_eq!(&facts.sessions[name].agent, &AgentFact::None, "started where an agent may run");
                        }
                        record.apply(&began(step.clone(), second)).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    }
                    prop_assert!(record.in_flight() <= batch.max(1));
                    for (step, result) in steps.into_iter().zip(round.results) {
                        let ended = SwapEvent::Ended { step, at: at(second), result };
                        record.apply(&ended).map_err(|error| TestCaseError::fail(error.to_string()))?;
                    }
                }
            }
            prop_assert_ne!(&before, &record);
            if record.verdict.is_some() {
                break;
            }
        }
    }
}
