use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::{
    model::{ProjectName, TaskName},
    observed::{GitState, Marker, ToolAtHand},
    plan::{
        TaskRecord,
        tests::world::{World, at, session},
    },
};

fn policy() -> Checkpoints {
    Checkpoints { every: Duration::from_mins(1), keep: 20, max_age: Duration::from_hours(168) }
}

fn world() -> World {
    World::converged(2)
}

fn signs_of(world: &World) -> Signs {
    signs(&world.seen, &world.memory, &OpenAttempts::of(&world.memory), &session("s-0")).expect("its agent is known")
}

fn next(state: &CheckpointState, now: &Signs) -> Option<(Now, CheckpointCause)> {
    next_checkpoint(&policy(), Some(state), &session("s-0"), now, at(0))
}

fn taken(signs: &Signs, when: i64) -> CheckpointState {
    let mut state = CheckpointState::default();
    state.started(Some(signs.clone()), at(when));
    state.ended();
    state
}

#[test]
fn an_idle_session_is_asked_about_once_and_then_left_alone() {
    let world = world();
    let signs = signs_of(&world);
    let (due, why) = next_checkpoint(&policy(), None, &session("s-0"), &signs, at(0)).expect("due");
    assert!(due >= at(0) && due <= at(60) && why == CheckpointCause::Periodic);
    assert_eq!(next(&taken(&signs, 5), &signs), None);
}

#[test]
fn at_first_sessions_are_asked_about_one_after_the_other() {
    let signs = signs_of(&world());
    let due = |name: &str| next_checkpoint(&policy(), None, &session(name), &signs, at(0)).expect("due").0;
    let mut times = std::collections::BTreeMap::new();
    for number in 0..1000 {
        *times.entry(due(&format!("s-{number}")).mono).or_insert(0) += 1;
    }
    assert!(times.len() > 20, "not at the same moment: {times:?}");
    assert!(times.len() < 30, "and not each at one of its own, which would be a thousand reasons to wake up: {times:?}");
    assert!(times.values().all(|together| *together < 100), "{times:?}");
}

#[test]
fn one_that_works_is_asked_about_every_so_often_and_a_turn_that_ended_soon() {
    let mut world = world();
    world.agent("s-0").activity = Activity::Working;
    let working = signs_of(&world);
    assert_eq!(next(&taken(&working, 5), &working), Some((at(65), CheckpointCause::Periodic)));
    world.agent("s-0").activity = Activity::Idle;
    let idle = signs_of(&world);
    assert_eq!(next(&taken(&working, 5), &idle), Some((at(15), CheckpointCause::TurnEnded)));
    // A turn that was too short to be seen as one.
    world.agent("s-0").turn_ended_at = Some(at(7).wall);
    assert_eq!(next(&taken(&idle, 5), &signs_of(&world)), Some((at(15), CheckpointCause::TurnEnded)));
    // Whatever else changed can wait.
    world.agent("s-0").turn_ended_at = None;
    world.agent("s-0").context_tokens = Some(9);
    assert_eq!(next(&taken(&idle, 5), &signs_of(&world)), Some((at(65), CheckpointCause::Periodic)));
}

#[test]
fn nothing_is_begun_while_one_is_under_way() {
    let signs = signs_of(&world());
    let mut state = CheckpointState::default();
    state.started(Some(signs.clone()), at(0));
    assert_eq!(next(&state, &signs), None);
    state.ended();
    let other = Signs { context_tokens: Some(1), ..signs };
    assert!(next(&state, &other).is_some());
}

#[test]
fn a_session_that_is_not_known_is_not_asked_about() {
    let mut unknown = world();
    unknown.seen.agents.insert(session("s-0"), crate::plan::tests::world::unseen());
    assert_eq!(signs(&unknown.seen, &unknown.memory, &OpenAttempts::of(&unknown.memory), &session("s-0")), None);
    assert!(unknown.draft("s-0", CheckpointCause::ByHand, 0).is_some());
    assert!(unknown.draft("s-9", CheckpointCause::ByHand, 0).is_none());
}

#[test]
fn the_ground_truth_says_what_is_known_and_what_is_not_and_may_be_typed() {
    let world = world();
    let mut checkpoint = world.draft("s-0", CheckpointCause::TurnEnded, 0).expect("it is ours");
    assert_eq!(ground_truth(&checkpoint), "Last tool call: none.");
    let project = ProjectName::new("api").expect("a name");
    checkpoint.task = Some(TaskAtHand {
        task: TaskId { project, name: TaskName::new("a\n.md").expect("a name") },
        file: Some("/w/.agent-queue/inbox/a\n.md".into()),
        claim: ClaimId("0".to_owned()),
        delivered: true,
    });
    checkpoint.tool = Some(ToolAtHand { name: "Bash\u{1b}".to_owned(), finished: false });
    let dirty = (0..12).map(|number| format!("f{number}")).collect();
    let head = Some("0123456789abcdef".to_owned());
    checkpoint.git = Some(GitState { branch: Some("main".to_owned()), head, dirty, dirty_count: 12, more: false });
    let text = ground_truth(&checkpoint);
    assert!(text.contains("api/a%0A.md") && text.contains("NOT known") && text.contains("branch main at 0123456789ab,"), "{text}");
    assert!(text.contains("f9 and 2 more"), "{text}");
    assert!(text.lines().count() == 3 && !text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    checkpoint.tool = Some(ToolAtHand { name: "Bash".to_owned(), finished: true });
    assert!(!ground_truth(&checkpoint).contains("NOT known"));
}

#[test]
fn the_open_attempt_is_what_a_session_is_at() {
    let mut world = world();
    let task = TaskId { project: ProjectName::new("api").expect("a name"), name: TaskName::new("a.md").expect("a name") };
    let claim = ClaimId("0".to_owned());
    let marker = Marker { session: session("s-0"), attempt: 1, claim, claimed_at: at(0).wall, lease_until: at(60).wall };
    let attempt = TaskAttempt { typed: 1, ..TaskAttempt::begun(&marker, ConversationId(Uuid::nil())) };
    let before = signs_of(&world);
    world.memory.tasks.insert(task.clone(), TaskRecord { attempts: vec![attempt], ..TaskRecord::default() });
    assert_ne!(signs_of(&world), before);
    let of = |name: &str| {
        let draft = world.draft(name, CheckpointCause::ByHand, 0);
        draft.expect("it is ours").task.map(|task| task.task)
    };
    assert_eq!((of("s-0"), of("s-1")), (Some(task), None));
}
