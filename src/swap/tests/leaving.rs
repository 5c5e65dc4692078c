//! The way out: each row of the swap's table, and what stands in its way.

use super::*;

fn answer(events: &[SwapEvent], change: impl FnOnce(&mut SwapFacts)) -> Decision {
    let plan = plan(3);
    let mut facts = facts(&plan, 10);
    change(&mut facts);
    next(&fold(&plan, events), &facts)
}

fn held() -> Vec<SwapEvent> {
    did(Step::Hold, 0).to_vec()
}

fn proving(name: &str) -> Vec<SwapEvent> {
    [did(Step::Stop(session(name)), 1), did(Step::Start(session(name), to()), 2)].concat()
}

fn stop(name: &str) -> Step {
    Step::Stop(session(name))
}

fn start(name: &str) -> Step {
    Step::Start(session(name), to())
}

#[test]
fn the_pool_is_held_first() {
    assert_eq!(answer(&[], |_| {}), act([Step::Hold]));
}

#[test]
fn one_idle_session_moves_first_and_alone() {
    assert_eq!(answer(&held(), |_| {}), act([stop("s0")]));
    let idle_last = |facts: &mut SwapFacts| {
        set(facts, "s0", |fact| fact.activity = Activity::Working);
        set(facts, "s1", |fact| fact.attached = 1);
    };
    assert_eq!(answer(&held(), idle_last), act([stop("s2")]), "the one that nobody looks at");
    let at_task = |facts: &mut SwapFacts| {
        set(facts, "s0", |fact| fact.at_task = true);
        set(facts, "s1", |fact| fact.attached = 1);
        set(facts, "s2", |fact| fact.at_task = true);
    };
    assert_eq!(answer(&held(), at_task), act([stop("s1")]), "the one without a task");
    let stopped = [held(), did(stop("s0"), 1).to_vec()].concat();
    assert_eq!(answer(&stopped, |facts| set(facts, "s0", |fact| fact.agent = AgentFact::None)), act([start("s0")]));
}

#[test]
fn without_an_idle_session_the_canary_waits_until_the_drain_deadline() {
    let busy = |facts: &mut SwapFacts| {
        set(facts, "s0", |fact| fact.activity = Activity::Unknown);
        set(facts, "s1", |fact| fact.activity = Activity::Working);
        set(facts, "s2", |fact| fact.activity = Activity::NeedsInput);
    };
    let waiting = answer(&held(), busy);
    assert_eq!(waits(&waiting), ("not to be seen: s0; finishing the turn: s1, s2", Some(at(600))));
    let late = |facts: &mut SwapFacts| {
        busy(facts);
        facts.now = at(600);
    };
    assert_eq!(answer(&held(), late), act([stop("s2")]), "the least busy one, and never one that is not known");
}

#[test]
fn with_no_session_whose_activity_is_known_nothing_is_touched() {
    let blind = |facts: &mut SwapFacts| {
        for name in ["s0", "s1", "s2"] {
            set(facts, name, |fact| fact.activity = Activity::Unknown);
        }
    };
    let at_deadline = answer(&held(), |facts| {
        blind(facts);
        facts.now = at(659);
    });
    waits(&at_deadline);
    let give_up = |facts: &mut SwapFacts| {
        blind(facts);
        facts.now = at(660);
    };
    turning_back(answer(&held(), give_up));
    let back = answer(&[held(), vec![turned_back(660)]].concat(), give_up);
    assert!(matches!(noted(back), SwapEvent::Closed { verdict: SwapVerdict::Abandoned, .. }));
    let only_just_looking = answer(&held(), |facts| {
        give_up(facts);
        facts.looking_since = at(650);
    });
    waits(&only_just_looking);
}

#[test]
fn a_session_whose_agent_has_ended_is_simply_started() {
    let ended = |facts: &mut SwapFacts| set(facts, "s1", |fact| fact.agent = AgentFact::None);
    assert_eq!(answer(&up_to_rest("s0"), ended), act([stop("s2"), start("s1")]), "it is the last to go, but it goes");
}

#[test]
fn the_canary_proven_the_link_is_flipped_and_the_links_are_ensured() {
    let canary = [held(), moved("s0", &to(), 1)].concat();
    assert_eq!(answer(&canary, |_| {}), act([Step::Flip(to())]));
    let flipped = [canary, did(Step::Flip(to()), 2).to_vec()].concat();
    assert_eq!(answer(&flipped, |_| {}), act([Step::Ensure(to())]));
    let unseen = answer(&flipped, |facts| facts.target_links = LinksState::Unknown);
    assert_eq!(unseen, act([Step::Ensure(to())]), "the step itself looks");
}

#[test]
fn without_an_active_link_the_links_are_ensured_all_the_same() {
    let mut plan = plan(1);
    plan.has_active_link = false;
    let facts = facts(&plan, 10);
    let canary = [held(), moved("s0", &to(), 1)].concat();
    assert_eq!(next(&fold(&plan, &canary), &facts), act([Step::Ensure(to())]));
    plan.canary = 0;
    assert_eq!(next(&fold(&plan, &held()), &facts), act([Step::Ensure(to())]), "no canary was asked for");
}

#[test]
fn a_pool_without_sessions_is_carried_over_by_its_links() {
    let plan = plan(0);
    let facts = facts(&plan, 10);
    let mut events = held();
    assert_eq!(next(&fold(&plan, &events), &facts), act([Step::Flip(to())]));
    events.extend([did(Step::Flip(to()), 1), did(Step::Ensure(to()), 2)].concat());
    assert_eq!(next(&fold(&plan, &events), &facts), act([Step::Commit]));
}

#[test]
fn the_rest_moves_as_a_sliding_window() {
    let mut plan = plan(5);
    plan.batch = 3;
    let record = fold(&plan, &[up_to_rest("s0"), proving("s1")].concat());
    let mut facts = facts(&plan, 10);
    set(&mut facts, "s1", |fact| fact.agent = running(to(), 1));
    assert_eq!(next(&record, &facts), act([stop("s2"), stop("s3")]), "one is in flight already");
    plan.batch = 9;
    let record = fold(&plan, &[up_to_rest("s0"), proving("s1")].concat());
    assert_eq!(next(&record, &facts), act([stop("s2"), stop("s3"), stop("s4")]), "a wide window is full parallelism");
}

#[test]
fn work_is_not_interrupted_before_the_drain_deadline() {
    let busy = [Activity::Working, Activity::NeedsInput, Activity::Starting, Activity::Unknown];
    for activity in busy {
        let now = |second| {
            answer(&up_to_rest("s0"), |facts| {
                facts.now = at(second);
                set(facts, "s1", |fact| fact.activity = activity);
                set(facts, "s2", |fact| fact.activity = activity);
            })
        };
        assert_eq!(waits(&now(599)).1, Some(at(600)), "{activity}");
        assert_eq!(now(600), act([stop("s1"), stop("s2")]), "{activity}");
    }
}

#[test]
fn an_agent_that_cannot_be_seen_is_never_touched() {
    let blind = |facts: &mut SwapFacts| {
        facts.now = at(9999);
        facts.sessions.clear();
    };
    let places = [
        vec![],
        proving("s1"),
        did(stop("s1"), 1).to_vec(),
        vec![began(stop("s1"), 1)],
        vec![began(stop("s1"), 1), in_doubt(stop("s1"), 2, "?")],
        [did(stop("s1"), 1).to_vec(), vec![began(start("s1"), 2)]].concat(),
        [proving("s1"), vec![unproven("s1", to(), 3)]].concat(),
    ];
    for more in places {
        let decision = answer(&[up_to_rest("s0"), more.clone()].concat(), blind);
        let (why, until) = waits(&decision);
        assert!(why.contains("not to be seen: s1, s2"), "{more:?}: {why}");
        assert_eq!(until, None);
    }
}

#[test]
fn nothing_is_stopped_or_started_before_links_that_cannot_be_seen() {
    let unknown = |facts: &mut SwapFacts| facts.target_links = LinksState::Unknown;
    let decision = answer(&held(), unknown);
    assert!(waits(&decision).0.contains("behind links that cannot be seen"), "{decision:?}");
    let stopped = [up_to_rest("s0"), did(stop("s1"), 1).to_vec()].concat();
    waits(&answer(&stopped, |facts| {
        unknown(facts);
        set(facts, "s1", |fact| fact.agent = AgentFact::None);
    }));
    let canary = [held(), moved("s0", &to(), 1)].concat();
    waits(&answer(&canary, unknown));
}

#[test]
fn a_proof_is_noted_and_a_missing_one_is_waited_for() {
    let events = [up_to_rest("s0"), proving("s1"), moved("s2", &to(), 3)].concat();
    let with = |proof: ProofState, second: i64| {
        answer(&events, |facts| {
            facts.now = at(second);
            set(facts, "s1", |fact| (fact.agent, fact.proof) = (running(to(), 1), proof));
        })
    };
    assert!(matches!(noted(with(ProofState::Proven, 10)), SwapEvent::Proven { .. }));
    for open in [ProofState::Unknown, ProofState::Pending("no start hook".to_owned())] {
        assert_eq!(waits(&with(open.clone(), 61)), ("being proven: s1", Some(at(62))));
        assert!(matches!(noted(with(open, 62)), SwapEvent::Unproven { .. }));
    }
    match noted(with(ProofState::Refuted("no conversation found".to_owned()), 10)) {
        SwapEvent::Unproven { why, account, .. } => assert_eq!((why.as_str(), account), ("no conversation found", to())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn time_in_which_nobody_looked_does_not_count_against_a_proof() {
    let events = [up_to_rest("s0"), proving("s1"), moved("s2", &to(), 3)].concat();
    let decision = answer(&events, |facts| {
        (facts.now, facts.looking_since) = (at(5000), at(4990));
        set(facts, "s1", |fact| fact.agent = running(to(), 1));
    });
    assert_eq!(waits(&decision).1, Some(at(5050)));
}

#[test]
fn what_contradicts_the_proof_refutes_it() {
    type Change = fn(&mut SessionFacts);
    let cases: [(&str, Change); 5] = [
        ("a limit", |fact| fact.activity = Activity::LimitHit),
        ("a dead login", |fact| fact.activity = Activity::LoggedOut),
        ("no agent", |fact| fact.agent = AgentFact::None),
        ("another account", |fact| fact.agent = running(from(), 1)),
        ("another conversation", |fact| fact.agent = running(to(), 8)),
    ];
    for (what, change) in cases {
        let decision = answer(&[up_to_rest("s0"), proving("s1"), moved("s2", &to(), 3)].concat(), |facts| {
            set(facts, "s1", |fact| (fact.agent, fact.proof) = (running(to(), 1), ProofState::Proven));
            set(facts, "s1", change);
        });
        assert!(matches!(noted(decision), SwapEvent::Unproven { .. }), "{what}");
    }
}

#[test]
fn an_unproven_session_is_tried_once_more_and_then_given_up_alone() {
    let once = [up_to_rest("s0"), proving("s1"), vec![unproven("s1", to(), 3)], moved("s2", &to(), 3)].concat();
    let ours = |facts: &mut SwapFacts| set(facts, "s1", |fact| fact.agent = running(to(), 1));
    assert_eq!(answer(&once, ours), act([stop("s1")]));
    let stopped = [once, did(stop("s1"), 4).to_vec()].concat();
    let ended = |facts: &mut SwapFacts| set(facts, "s1", |fact| fact.agent = AgentFact::None);
    assert_eq!(answer(&stopped, ended), act([start("s1")]));
    let twice = [stopped, did(start("s1"), 5).to_vec(), vec![unproven("s1", to(), 6)]].concat();
    let lost = noted(answer(&twice, ours));
    assert!(matches!(lost, SwapEvent::GivenUp { .. }));
    let given_up = [twice, vec![lost]].concat();
    assert_eq!(answer(&given_up, ours), act([Step::Commit]), "one of three is not more than a third");
}

#[test]
fn steps_that_fail_count_as_tries() {
    for step in [stop("s1"), start("s1")] {
        let before = if step == start("s1") { did(stop("s1"), 1).to_vec() } else { vec![] };
        let twice = [began(step.clone(), 2), failed(step.clone(), 3, "no"), began(step.clone(), 4), failed(step.clone(), 5, "never")];
        let events = [up_to_rest("s0"), moved("s2", &to(), 1), before, twice.to_vec()].concat();
        match noted(answer(&events, |_| {})) {
            SwapEvent::GivenUp { why, .. } => assert_eq!(why, "never"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_first_session_that_fails_turns_the_swap_back_at_once() {
    let events = [held(), proving("s0"), vec![unproven("s0", to(), 3)]].concat();
    let why = turning_back(answer(&events, |_| {}));
    assert!(why.contains("s0") && why.contains("no proof"), "{why}");
}

#[test]
fn more_than_a_third_lost_turns_the_swap_back() {
    let lost = |name: &str| SwapEvent::GivenUp { session: session(name), at: at(4), why: "it hangs".to_owned() };
    let why = turning_back(answer(&[up_to_rest("s0"), vec![lost("s1"), lost("s2")]].concat(), |_| {}));
    assert!(why.contains("2 of 3") && why.contains("s1, s2"), "{why}");
}

#[test]
fn agents_that_end_right_behind_their_proof_turn_the_swap_back() {
    let ended = |names: &'static [&'static str]| {
        move |facts: &mut SwapFacts| names.iter().for_each(|name| set(facts, name, |fact| fact.agent = AgentFact::None))
    };
    let canary = [held(), moved("s0", &to(), 1)].concat();
    assert!(matches!(noted(answer(&canary, ended(&["s0"]))), SwapEvent::TurnedBack { .. }));
    let all = [up_to_rest("s0"), moved("s1", &to(), 1), moved("s2", &to(), 1)].concat();
    assert_eq!(answer(&all, ended(&["s1"])), act([Step::Commit]), "one of many is started again later");
    match noted(answer(&all, ended(&["s0", "s2"]))) {
        SwapEvent::TurnedBack { why, .. } => assert_eq!(why, "2 of 3 sessions ended again on backup behind their proof: s0, s2"),
        other => panic!("{other:?}"),
    }
    let given_up = SwapEvent::GivenUp { session: session("s1"), at: at(4), why: "it hangs".to_owned() };
    let why = turning_back(answer(&[up_to_rest("s0"), vec![given_up], moved("s2", &to(), 1)].concat(), ended(&["s2"])));
    assert_eq!(why, "1 of 3 sessions ended again on backup behind their proof: s2; 1 failed there");
}

#[test]
fn somebody_elses_agent_in_a_stopped_session_counts_as_a_failure() {
    let events = [up_to_rest("s0"), did(stop("s1"), 1).to_vec(), moved("s2", &to(), 3)].concat();
    assert!(matches!(noted(answer(&events, |_| {})), SwapEvent::Unproven { .. }));
}

#[test]
fn a_conversation_that_another_session_has_open_is_not_started_again() {
    let events = [up_to_rest("s0"), did(stop("s1"), 1).to_vec()].concat();
    let decision = answer(&events, |facts| {
        set(facts, "s1", |fact| fact.agent = AgentFact::None);
        set(facts, "s2", |fact| fact.agent = running(from(), 1));
    });
    match noted(decision) {
        SwapEvent::GivenUp { session: lost, why, .. } => {
            assert_eq!(lost, session("s1"));
            assert!(why.contains("s2"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_moved_by_hand_and_is_proven_needs_no_restart() {
    let by_hand = |name: &'static str, index| {
        move |facts: &mut SwapFacts| set(facts, name, |fact| (fact.agent, fact.proof) = (running(to(), index), ProofState::Proven))
    };
    let proof = noted(answer(&up_to_rest("s0"), by_hand("s1", 1)));
    assert!(matches!(proof, SwapEvent::Proven { .. }));
    let back = [up_to_rest("s0"), vec![proof, turned_back(5)]].concat();
    let record = fold(&plan(3), &back);
    assert!(!record.is_settled(&record.moves[&session("s1")]), "it is on the target, so it goes back too");
    let all = answer(&held(), |facts| {
        by_hand("s0", 0)(facts);
        by_hand("s1", 1)(facts);
    });
    let mut record = fold(&plan(3), &held());
    record.apply(&noted(all)).expect("one at a time: the first ends the stage");
    assert_eq!(record.stage, Stage::Flip);
}

#[test]
fn wrong_links_of_the_target_turn_the_swap_back_at_every_stage_before_the_commit() {
    let canary = [held(), moved("s0", &to(), 1)].concat();
    let all = [up_to_rest("s0"), moved("s1", &to(), 4), moved("s2", &to(), 5)].concat();
    for events in [vec![], held(), canary, up_to_rest("s0"), all] {
        let why = turning_back(answer(&events, |facts| facts.target_links = LinksState::Wrong("projects is a directory".to_owned())));
        assert!(why.contains("backup") && why.contains("projects is a directory"), "{why}");
    }
}

#[test]
fn an_operator_can_turn_the_swap_back_until_the_commit() {
    let abort = |facts: &mut SwapFacts| facts.abort = Some("aborted by ann".to_owned());
    let all = [up_to_rest("s0"), moved("s1", &to(), 4), moved("s2", &to(), 5)].concat();
    for events in [vec![], held(), up_to_rest("s0"), all.clone()] {
        assert_eq!(turning_back(answer(&events, abort)), "aborted by ann");
    }
    let committing = [all, vec![began(Step::Commit, 6)]].concat();
    assert_eq!(answer(&committing, abort), act([Step::Commit]), "from here on there is only forward");
}

#[test]
fn the_target_is_recorded_only_over_links_that_are_seen_right() {
    let all = [up_to_rest("s0"), moved("s1", &to(), 4), moved("s2", &to(), 5)].concat();
    assert_eq!(answer(&all, |_| {}), act([Step::Commit]));
    waits(&answer(&all, |facts| facts.target_links = LinksState::Unknown));
    let recorded = [all, did(Step::Commit, 6).to_vec()].concat();
    assert!(matches!(noted(answer(&recorded, |_| {})), SwapEvent::Closed { verdict: SwapVerdict::Committed, rollback_error: None, .. }));
}

#[test]
fn a_commit_that_fails_is_tried_again_more_and_more_slowly() {
    let all = [up_to_rest("s0"), moved("s1", &to(), 4), moved("s2", &to(), 5)].concat();
    let failing = [all, vec![began(Step::Commit, 6), failed(Step::Commit, 10, "disk full")]].concat();
    let waiting = answer(&failing, |_| {});
    assert_eq!(waits(&waiting).1, Some(at(11)));
    assert!(waits(&waiting).0.contains("disk full"), "{waiting:?}");
    assert_eq!(answer(&failing, |facts| facts.now = at(11)), act([Step::Commit]));
    let wrong = |facts: &mut SwapFacts| (facts.now, facts.target_links) = (at(11), LinksState::Wrong("gone".to_owned()));
    assert_eq!(answer(&failing, wrong), act([Step::Ensure(to())]), "forward: the links are put right first");
    let ensured = [failing.clone(), did(Step::Ensure(to()), 12).to_vec()].concat();
    assert_eq!(answer(&ensured, |facts| facts.now = at(12)), act([Step::Commit]));
    let often = (0..40).fold(failing, |events, _| [events, vec![began(Step::Commit, 10), in_doubt(Step::Commit, 10, "?")]].concat());
    assert_eq!(waits(&answer(&often, |_| {})).1, Some(at(70)), "the pause has a bound");
}

#[test]
fn steps_that_a_crash_cut_off_are_done_again_or_found_done() {
    let flip = [held(), moved("s0", &to(), 1), vec![began(Step::Flip(to()), 2)]].concat();
    assert_eq!(answer(&flip, |_| {}), act([Step::Flip(to())]));
    let found = answer(&flip, |facts| facts.active_link = ActiveLinkState::At(to()));
    assert!(matches!(noted(found), SwapEvent::Ended { step: Step::Flip(_), result: StepResult::Done(None), .. }));

    let ensure = [held(), moved("s0", &to(), 1), did(Step::Flip(to()), 2).to_vec(), vec![began(Step::Ensure(to()), 3)]].concat();
    assert!(matches!(noted(answer(&ensure, |_| {})), SwapEvent::Ended { step: Step::Ensure(_), result: StepResult::Done(None), .. }));
    assert_eq!(answer(&ensure, |facts| facts.target_links = LinksState::Wrong("gone".to_owned())), act([Step::Ensure(to())]));

    let stopping = [held(), vec![began(stop("s0"), 1)]].concat();
    assert_eq!(answer(&stopping, |_| {}), act([stop("s0")]));
    let gone = |facts: &mut SwapFacts| set(facts, "s0", |fact| fact.agent = AgentFact::None);
    assert_eq!(answer(&stopping, gone), act([stop("s0")]), "done again for the mark of the transcript");
    let busy_again = |facts: &mut SwapFacts| set(facts, "s0", |fact| fact.activity = Activity::Working);
    assert_eq!(waits(&answer(&stopping, busy_again)).1, Some(at(600)), "it found work in the meantime");

    let starting = [held(), did(stop("s0"), 1).to_vec(), vec![began(start("s0"), 2)]].concat();
    assert_eq!(answer(&starting, gone), act([start("s0")]));
    let runs = answer(&starting, |facts| set(facts, "s0", |fact| fact.agent = running(to(), 0)));
    assert!(matches!(noted(runs), SwapEvent::Ended { step: Step::Start(..), result: StepResult::Done(None), .. }));
    let not_ours = answer(&starting, |facts| set(facts, "s0", |fact| fact.agent = running(from(), 0)));
    assert!(matches!(noted(not_ours), SwapEvent::Ended { result: StepResult::Failed { in_doubt: false, .. }, .. }));

    assert_eq!(answer(&[began(Step::Hold, 0)], |_| {}), act([Step::Hold]));
}

#[test]
fn steps_in_doubt_are_decided_by_a_look_and_not_repeated_for_ever() {
    let doubted = |step: Step| vec![began(step.clone(), 1), in_doubt(step, 2, "no answer")];
    let failure = |decision| match noted(decision) {
        SwapEvent::Ended { result: StepResult::Failed { error, in_doubt: false }, .. } => error,
        other => panic!("{other:?}"),
    };
    let flip = [held(), moved("s0", &to(), 1), doubted(Step::Flip(to()))].concat();
    assert_eq!(failure(answer(&flip, |_| {})), "no answer");
    assert_eq!(failure(answer(&[held(), doubted(stop("s0"))].concat(), |_| {})), "no answer");
    let gone = |facts: &mut SwapFacts| set(facts, "s0", |fact| fact.agent = AgentFact::None);
    let starting = [held(), did(stop("s0"), 1).to_vec(), doubted(start("s0"))].concat();
    assert_eq!(failure(answer(&starting, gone)), "no answer");
    let stopped = answer(&[held(), doubted(stop("s0"))].concat(), gone);
    assert!(matches!(noted(stopped), SwapEvent::Ended { result: StepResult::Done(None), .. }));
    assert_eq!(failure(answer(&doubted(Step::Hold), |_| {})), "no answer");
}

#[test]
fn a_flip_of_which_nothing_can_be_seen_turns_back_in_the_end() {
    let flip = [held(), moved("s0", &to(), 1), vec![began(Step::Flip(to()), 2), in_doubt(Step::Flip(to()), 3, "no answer")]].concat();
    let blind = |second| {
        answer(&flip, |facts| {
            (facts.now, facts.active_link) = (at(second), ActiveLinkState::Unknown);
        })
    };
    assert_eq!(waits(&blind(62)).1, Some(at(63)));
    assert!(turning_back(blind(63)).contains("no answer"));
}

#[test]
fn an_active_link_that_leads_elsewhere_is_left_alone() {
    let canary = [held(), moved("s0", &to(), 1)].concat();
    let why = turning_back(answer(&canary, |facts| facts.active_link = ActiveLinkState::Foreign(PathBuf::from("/home/ann/own"))));
    assert!(why.contains("/home/ann/own"), "{why}");
}
