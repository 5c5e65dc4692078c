//! Each rule is broken once.

use std::path::Path;

use super::*;
use crate::plan::{Action, Disruption, Phase, Verb};

type Breach = (&'static str, fn(&mut Board) -> Vec<(ObjectRef, Effect)>);

fn about(text: &str) -> ObjectRef {
    ObjectRef::Task(task(text))
}

/// The first effect that would be planned, with what it is about.
fn planned(board: &Board) -> (ObjectRef, Effect) {
    let action = board.plan().plan.actions.remove(0).1;
    (action.object, action.effect.expect("an effect"))
}

/// A claim of a free task, or the prompt of a claimed one.
fn claim(board: &mut Board, text: &str) -> (ObjectRef, Effect) {
    board.put(text, 10);
    let found = board.plan().plan.actions.into_iter().find(|(_, action)| action.object == about(text)).expect("a claim").1;
    (found.object, found.effect.expect("an effect"))
}

fn prompt(board: &mut Board) -> (ObjectRef, Effect) {
    board.put_taken("a", "s-0");
    board.rest("s-0", 4);
    planned(board)
}

fn ended(board: &mut Board) -> ClaimId {
    board.put_taken("a", "s-0").claim.clone()
}

const BREACHES: [Breach; 16] = [
    ("a queue is made that the spec does not declare", |_| vec![(about("a"), QueueChange::Create.at(Path::new("/etc")))]),
    ("a task is given out while a swap is open", |board| {
        let claim = claim(board, "a");
        board.world.open_swap(&[]);
        vec![claim]
    }),
    ("a task is given out while a swap is open", |board| {
        let prompt = prompt(board);
        board.world.open_swap(&[]);
        vec![prompt]
    }),
    ("a session is given two prompts in one plan", |board| vec![prompt(board); 2]),
    ("a prompt is typed into an agent that is not known to be idle", |board| {
        let prompt = prompt(board);
        board.world.agent("s-0").activity = Activity::Working;
        vec![prompt]
    }),
    ("a prompt is typed into a pane that is not ours", |board| {
        let prompt = prompt(board);
        board.world.pane("s-0").mark = None;
        vec![prompt]
    }),
    ("a prompt carries a claim that its session does not hold", |board| {
        let prompt = prompt(board);
        board.attempt("a").session = session("s-1");
        vec![prompt]
    }),
    ("a claim is taken away while its attempt is open", |board| {
        let claim = Some(ended(board));
        vec![(about("a"), QueueChange::Release { task: name("a"), claim }.at(Path::new("/src/api")))]
    }),
    ("a claim is taken away while its attempt is open", |board| {
        let claim = Some(ended(board));
        vec![(about("a"), QueueChange::Fail { task: name("a"), claim, reason: String::new() }.at(Path::new("/src/api")))]
    }),
    ("a task is put aside while an attempt at it is open", |board| {
        ended(board);
        vec![(about("a"), QueueChange::Fail { task: name("a"), claim: None, reason: String::new() }.at(Path::new("/src/api")))]
    }),
    ("a task is marked done that no agent took", |board| {
        let claim = ended(board);
        board.attempt("a").taken_at = None;
        vec![(about("a"), QueueChange::Finish { task: name("a"), claim }.at(Path::new("/src/api")))]
    }),
    ("a claim is not about a task", |board| vec![(ObjectRef::Pool, claim(board, "a").1)]),
    ("a task is claimed twice in one plan", |board| vec![claim(board, "a"); 2]),
    ("a session is given a task while it has one", |board| {
        let claim = claim(board, "b");
        board.put_taken("a", "s-0");
        vec![claim]
    }),
    ("a task is claimed while an attempt at it is open", |board| {
        let claim = claim(board, "a");
        board.put_taken("a", "s-1");
        vec![claim]
    }),
    ("a task is claimed that is not known to wait", |board| {
        let claim = claim(board, "a");
        board.queue().inbox.clear();
        vec![claim]
    }),
];

fn plan_of(effects: Vec<(ObjectRef, Effect)>) -> Plan {
    let action = |(object, effect): (ObjectRef, Effect)| Action {
        object,
        verb: Verb::Dispatch,
        what: "it".to_owned(),
        why: "so".to_owned(),
        disruption: Disruption::None,
        effect: Some(effect),
        relies_on: None,
    };
    Plan { actions: effects.into_iter().map(|effect| (Phase::Dispatch, action(effect))).collect(), ..Plan::default() }
}

#[test]
fn each_rule_is_noticed_when_it_is_broken() {
    for (number, (rule, breach)) in BREACHES.iter().enumerate() {
        let mut board = Board::new(2);
        let plan = plan_of(breach(&mut board));
        assert!(board.lint(&plan).contains(rule), "breach {number}, {rule}: {:?}", board.lint(&plan));
    }
}

#[test]
fn each_rule_has_its_breach() {
    let source = include_str!("../../lint/tasks.rs");
    let quoted =
        source.lines().filter(|line| line.contains("self.check(") && line.contains('"')).filter_map(|line| line.rsplit('"').nth(1));
    let rules: std::collections::BTreeSet<_> = quoted.collect();
    let broken: std::collections::BTreeSet<_> = BREACHES.iter().map(|(rule, _)| *rule).collect();
    assert!(rules.len() >= 12, "the source is read wrong: {rules:?}");
    assert_eq!(rules, broken);
    let _ = lint(&Plan::default(), &Board::new(1).world.spec, &Board::new(1).world.seen, &Board::new(1).world.memory, at(0));
}
