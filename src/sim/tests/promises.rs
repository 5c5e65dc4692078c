//! Every promise can be broken here, and is then noticed. A world that notices nothing would prove nothing.

use super::*;

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
