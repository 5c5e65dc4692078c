//! Every promise can be broken here, and is then noticed. A world that notices nothing would prove nothing.

use super::*;
use crate::{
    model::{ClaimId, TaskName},
    observed::{Marker, TaskHeader},
    plan::QueueChange,
};

fn only(ground: &Ground) -> Violation {
    let mut all = ground.world.borrow().violations();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A start that does not check its links, as a faulty one of ours might be.
fn careless(ground: &Ground, name: &str, under: &str, mode: LaunchMode) -> Effect {
    let launch = Launch { needs: Vec::new(), ..ground.launch(name, under, mode) };
    Effect::CreateSession { launch, mark: mark(name) }
}

#[test]
fn a_second_agent_on_one_conversation() {
    let mut ground = Ground::ready(2);
    let create = ground.create("s-0", "primary");
    ground.done(&create);
    assert_eq!(ground.world.borrow().violations(), []);
    let first = ground.process("s-0").pid;
    // It has not registered yet, so that the start cannot be refused for it.
    let mut launch = ground.launch("s-1", "backup", LaunchMode::Fresh);
    launch.conversation = POOL.conversation(&session("s-0"), 1);
    ground.done(&Effect::CreateSession { launch, mark: mark("s-1") });
    assert!(matches!(only(&ground), Violation::SecondAgent { others, .. } if others == [first]));
}

#[test]
fn a_second_agent_in_one_session() {
    let mut ground = Ground::ready(1);
    let manner = Manner { ignores_hang_up: true, ..Manner::default() };
    ground.world.borrow_mut().set_manner(Who::default(), manner);
    ground.with_transcript("s-0", "primary");
    ground.world.borrow_mut().person().kill_session("s-0");
    ground.advance(60);
    let mut launch = ground.launch("s-0", "primary", LaunchMode::Fresh);
    launch.conversation = conversation(99);
    ground.done(&Effect::CreateSession { launch, mark: mark("s-0") });
    assert!(matches!(only(&ground), Violation::SecondAgent { .. }));
}

#[test]
fn an_agent_that_is_still_ending_is_still_there() {
    let mut ground = Ground::ready(1);
    let create = ground.create("s-0", "primary");
    ground.done(&create);
    ground.world.borrow_mut().person().kill_session("s-0");
    ground.done(&create);
    assert!(matches!(only(&ground), Violation::SecondAgent { .. }));
}

#[test]
fn a_start_over_a_missing_link() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().person().remove(Path::new("/accounts/primary/tasks"));
    let start = careless(&ground, "s-0", "primary", LaunchMode::Fresh);
    ground.done(&start);
    assert!(matches!(only(&ground), Violation::StartedOverBadLink { link, .. } if link == Path::new("/accounts/primary/tasks")));
}

#[test]
fn a_conversation_that_begins_anew() {
    let mut ground = Ground::ready(2);
    ground.with_transcript("s-0", "primary");
    let stop = ground.stop("s-0");
    ground.done(&stop);
    ground.world.borrow_mut().person().put_directory(Path::new("/accounts/backup/projects"), &[]);
    let mut launch = Launch { needs: Vec::new(), ..ground.launch("s-0", "backup", LaunchMode::Fresh) };
    launch.session = session("s-1");
    ground.done(&Effect::CreateSession { launch, mark: mark("s-1") });
    let all = ground.world.borrow().violations();
    assert!(all.iter().any(|violation| matches!(violation, Violation::Blanked { .. })), "{all:?}");
}

#[test]
fn a_flip_to_a_home_whose_links_are_not_right() {
    let mut ground = Ground::ready(1);
    let link = Path::new("/people/.claude");
    ground.done(&Effect::CreateLink { path: link.into(), target: "/accounts/primary".into() });
    ground.world.borrow_mut().person().put_file(Path::new("/accounts/backup/history.jsonl"), "mine");
    let flip = |expect: &str, target: &str| Effect::RepointLink { path: link.into(), expect: expect.into(), target: target.into() };
    ground.done(&flip("/accounts/primary", "/accounts/backup"));
    assert!(matches!(only(&ground), Violation::FlippedOverBadLink { home, .. } if home == Path::new("/accounts/backup")));
    ground.world.borrow_mut().person().remove(Path::new("/accounts/primary/tasks"));
    ground.done(&flip("/accounts/backup", "/accounts/primary"));
    only(&ground);
}

#[test]
fn a_process_of_somebody_else_that_is_stopped() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().person().start_shell("s-0");
    let stop = ground.stop("s-0");
    ground.done(&stop);
    assert!(matches!(only(&ground), Violation::ForeignTouched { .. }));
}

#[test]
fn a_session_that_is_taken_over_unasked() {
    for asked in [true, false] {
        let mut ground = Ground::ready(1);
        ground.world.borrow_mut().person().start_shell("s-0");
        if asked {
            ground.world.borrow_mut().person().allow_adoption(&session("s-0"));
        }
        let pane = ground.pane("s-0");
        ground.done(&Effect::AdoptSession { session_id: pane.session_id, pane: pane.pane, mark: mark("s-0") });
        assert_eq!(ground.world.borrow().violations().is_empty(), asked);
    }
}

const QUEUE: &str = "/src/api";

fn task(name: &str) -> TaskName {
    TaskName::new(format!("{name}.md")).expect("a name")
}

/// A host with a project whose inbox has a task, and two sessions whose agents are idle.
fn with_task() -> Ground {
    let mut ground = Ground::ready(2);
    for name in ["s-0", "s-1"] {
        let create = ground.create(name, "primary");
        ground.done(&create);
    }
    ground.advance(10);
    ground.world.borrow_mut().files.make_directories(Path::new(QUEUE));
    ground.done(&QueueChange::Create.at(Path::new(QUEUE)));
    ground.world.borrow_mut().person().put_task(Path::new(QUEUE), &task("a"), Ok(TaskHeader::default()));
    ground
}

fn claim(name: &str) -> ClaimId {
    ClaimId(format!("{name:0>12}").replace(|c: char| !c.is_ascii_hexdigit(), "0"))
}

fn mark_task(ground: &mut Ground, name: &str) -> Effect {
    let expect = ground.world.borrow().queue(Path::new(QUEUE)).expect("a queue").inbox[&task("a")].identity;
    let at = ground.host.now().wall;
    let marker = Marker { session: session(name), attempt: 1, claim: claim(name), claimed_at: at, lease_until: at };
    QueueChange::Claim { task: task("a"), expect, marker }.at(Path::new(QUEUE))
}

fn prompt(ground: &mut Ground, name: &str) -> Effect {
    let (pane, process) = (ground.pane(name).pane, ground.process(name));
    let text = format!("{} do it", claim(name).tag());
    Effect::TypePrompt { session: session(name), pane, process, home: "/accounts/primary".into(), text, claim: claim(name) }
}

fn release(name: &str) -> Effect {
    QueueChange::Release { task: task("a"), claim: Some(claim(name)) }.at(Path::new(QUEUE))
}

/// Takes a task from the agent that is at it, or was, and gives it to another one.
fn give_to_another(ground: &mut Ground) {
    for effect in [mark_task, prompt] {
        let effect = effect(ground, "s-1");
        ground.done(&effect);
    }
}

#[test]
fn a_task_that_is_given_to_a_second_agent() {
    // While the first one works, while it waits for a person, while it is down and will go on, and once its turn is over.
    type Meanwhile = fn(&mut Ground);
    let cases: [(&str, Meanwhile, bool); 4] = [
        ("at work", |_| {}, true),
        ("asking", |ground| ground.world.borrow_mut().person().let_ask("s-0"), true),
        ("killed in the turn", |ground| ground.world.borrow_mut().person().kill_agent("s-0"), true),
        ("over", |ground| ground.advance(60), false),
    ];
    for (what, meanwhile, broken) in cases {
        let mut ground = with_task();
        ground.world.borrow_mut().set_work(&task("a"), Work { result: WorkResult::Forgotten(1), ..Work::default() });
        for effect in [mark_task, prompt] {
            let effect = effect(&mut ground, "s-0");
            ground.done(&effect);
        }
        ground.advance(5);
        meanwhile(&mut ground);
        ground.done(&release("s-0"));
        give_to_another(&mut ground);
        let found = ground.world.borrow().violations();
        let others = [POOL.conversation(&session("s-0"), 1)];
        let is_twice = |violation: &Violation| matches!(violation, Violation::TaskTwice { task: name, others: found, .. } if *name == task("a") && *found == others);
        assert_eq!(found.iter().filter(|violation| is_twice(violation)).count(), usize::from(broken), "{what}: {found:?}");
        assert_eq!(found.len(), usize::from(broken), "{what}: {found:?}");
    }
}

#[test]
fn a_task_that_is_marked_done_and_was_not() {
    for worked in [false, true] {
        let mut ground = with_task();
        let mark = mark_task(&mut ground, "s-0");
        ground.done(&mark);
        if worked {
            // Its prompt does not tell the agent to move the file, so that we have to.
            let prompt = prompt(&mut ground, "s-0");
            ground.done(&prompt);
            ground.advance(60);
        }
        ground.done(&QueueChange::Finish { task: task("a"), claim: claim("s-0") }.at(Path::new(QUEUE)));
        if worked {
            assert_eq!(ground.world.borrow().violations(), []);
        } else {
            assert!(matches!(only(&ground), Violation::FalselyDone { task: name, .. } if name == task("a")));
        }
    }
}

#[test]
fn a_task_that_is_in_no_place_any_more() {
    let ground = with_task();
    assert_eq!(ground.world.borrow().violations(), []);
    ground.world.borrow_mut().mislay_task(Path::new(QUEUE), &task("a"));
    assert_eq!(only(&ground), Violation::TaskLost { task: task("a") });
    let ground = with_task();
    ground.world.borrow_mut().person().remove_task(Path::new(QUEUE), &task("a"));
    assert_eq!(ground.world.borrow().violations(), [], "who wrote it may take it away");
}

#[test]
fn bytes_that_are_nowhere_any_more() {
    let mut ground = Ground::ready(1);
    ground.with_transcript("s-0", "primary");
    let transcript = transcript("s-0");
    ground.world.borrow_mut().files.remove(&transcript);
    assert!(matches!(only(&ground), Violation::BytesLost { beginning, .. } if beginning.starts_with("user 1")));
}

#[test]
fn bytes_that_a_person_removed_or_that_only_moved_are_no_loss_of_ours() {
    let mut ground = Ground::ready(1);
    ground.with_transcript("s-0", "primary");
    let transcript = transcript("s-0");
    ground.world.borrow_mut().files.rename(&transcript, Path::new("/data/moved"));
    assert_eq!(ground.world.borrow().violations(), []);
    ground.world.borrow_mut().person().remove(Path::new("/data/moved"));
    assert_eq!(ground.world.borrow().violations(), []);
}

#[test]
fn a_merge_loses_nothing_and_puts_one_side_of_a_clash_away() {
    let mut ground = Ground::ready(1);
    let home = Path::new("/accounts/primary/projects");
    let shared = Path::new("/data/shared/projects");
    {
        let mut world = ground.world.borrow_mut();
        let there = [("grown", "one"), ("newer", "there"), ("same", "same"), ("deep/a", "a")];
        world.person().put_directory(shared, &there);
        world.advance(Duration::from_secs(1));
        let here = [("grown", "one two"), ("newer", "here!"), ("same", "same"), ("deep/b", "b"), ("only", "only")];
        world.person().put_directory(home, &here);
    }
    let quarantine = PathBuf::from("/data/shared/.quarantine");
    let merge = Effect::MergeDirectory { path: home.into(), target: shared.into(), quarantine: quarantine.clone() };
    ground.done(&merge);
    assert_eq!(ground.perform(&merge), Outcome::Unchanged);
    let read = |path: &str| ground.read(&shared.join(path));
    assert_eq!(
        ["grown", "newer", "same", "deep/a", "deep/b", "only"].map(|name| read(name).expect("there")),
        ["one two", "here!", "same", "a", "b", "only"]
    );
    assert_eq!(ground.read(&quarantine.join("newer")).as_deref(), Some("there"));
    assert_eq!(ground.world.borrow().files().node(home), Some(&Node::Link(shared.into())));
    assert_eq!(ground.world.borrow().violations(), []);
}
