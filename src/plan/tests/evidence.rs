use super::*;
use crate::{
    observed::{Checkpoint, CheckpointCause, CheckpointsView},
    plan::tests::world::{OTHER_POOL, POOL, World, account, at, home, session, unseen},
};

/// A pool that runs on `backup`, and remembers nothing.
fn world() -> World {
    let mut world = World::converged(3);
    world.memory = Memory { renewed: true, ..Memory::new(POOL) };
    world.seen.active_link = Seen::known(LinkView::Link { target: home("backup"), target_ok: true }, at(0));
    for name in ["s-0", "s-1", "s-2"] {
        world.agent(name).home = Some(home("backup"));
    }
    world
}

fn checkpoint(world: &mut World, name: &str, by: &str, when: i64) {
    let drafted = World::converged(3).draft(name, CheckpointCause::Periodic, when).expect("it is ours");
    world.put_checkpoint(name, Checkpoint { account: account(by), ..drafted });
}

fn said(world: &World) -> String {
    match active_evidence(&world.spec, &world.seen, &world.memory, world.now) {
        ActiveEvidence::Nothing => "nothing".to_owned(),
        ActiveEvidence::Names(name, by) => format!("{name}: {by}"),
        ActiveEvidence::Undecided(found) => format!("undecided: {found}"),
    }
}

/// Nothing runs, and no link says anything.
fn silent() -> World {
    let mut world = world();
    world.tmux().panes.clear();
    world.seen.agents.clear();
    world.seen.active_link = Seen::known(LinkView::Absent, at(0));
    world
}

#[test]
fn the_link_and_the_agents_say_where_the_pool_is() {
    let mut world = world();
    assert_eq!(said(&world), "backup: the active link leads to backup; session s-0 and 2 more run under backup");
    // What is older is not asked.
    checkpoint(&mut world, "s-0", "primary", -10);
    assert!(said(&world).starts_with("backup: "));
    world.seen.active_link = Seen::known(LinkView::Absent, at(0));
    assert_eq!(said(&world), "backup: session s-0 and 2 more run under backup");
    let mut world = silent();
    world.seen.active_link = Seen::known(LinkView::Link { target: home("backup"), target_ok: true }, at(0));
    assert_eq!(said(&world), "backup: the active link leads to backup");
    // One that leads elsewhere is nobody's word; nor is an agent of somebody else.
    world.seen.active_link = Seen::known(LinkView::Link { target: "/elsewhere".into(), target_ok: true }, at(0));
    assert_eq!(said(&world), "nothing");
}

#[test]
fn agents_that_are_not_ours_or_not_under_an_account_say_nothing() {
    let mut world = world();
    world.seen.active_link = Seen::known(LinkView::Absent, at(0));
    world.agent("s-1").home = Some("/elsewhere".into());
    world.agent("s-2").process = None;
    assert_eq!(said(&world), "backup: session s-0 runs under backup");
    world.tmux().panes.get_mut("s-0").and_then(|pane| pane.mark.as_mut()).expect("marked").pool = OTHER_POOL;
    assert_eq!(said(&world), "nothing");
}

#[test]
fn what_disagrees_is_for_a_person_to_decide() {
    let mut world = world();
    world.seen.active_link = Seen::known(LinkView::Link { target: home("primary"), target_ok: true }, at(0));
    assert_eq!(said(&world), "undecided: the active link leads to primary; session s-0 and 2 more run under backup");
    world.seen.active_link = Seen::known(LinkView::Absent, at(0));
    world.agent("s-1").home = Some(home("primary"));
    assert!(said(&world).starts_with("undecided: "), "a swap may have been under way: {}", said(&world));
    // Nothing is started, stopped or led elsewhere.
    world.agent("s-2").process = None;
    assert_eq!(world.told(), ["waits session/s-2 ActiveUnknown", "warns pool ActiveUnknown"]);
}

#[test]
fn what_cannot_be_looked_at_decides_nothing() {
    let changes: [fn(&mut World); 4] = [
        |world| world.seen.active_link = unseen(),
        |world| world.seen.tmux = unseen(),
        |world| {
            *world = self::world();
            world.seen.active_link = Seen::known(LinkView::Absent, at(0));
            world.seen.agents.values_mut().for_each(|agent| *agent = unseen());
        },
        |world| drop(world.seen.checkpoints.insert(session("s-1"), unseen())),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = silent();
        change(&mut world);
        assert!(said(&world).starts_with("undecided: "), "{number}: {}", said(&world));
    }
    // What somebody else says for certain goes before what is not known.
    let mut world = world();
    world.seen.active_link = unseen();
    assert!(said(&world).starts_with("backup: "), "{}", said(&world));
}

#[test]
fn without_a_word_of_now_the_newest_checkpoint_tells() {
    let mut world = silent();
    checkpoint(&mut world, "s-0", "primary", -500);
    checkpoint(&mut world, "s-1", "backup", -100);
    checkpoint(&mut world, "s-2", "gone", -10);
    assert!(said(&world).starts_with("backup: the newest checkpoint, of session s-1 at "), "{}", said(&world));
    // One that was taken before a swap says where the pool was about to leave from, and not where it came to.
    let view = world.seen.checkpoints.get_mut(&session("s-1")).and_then(Seen::value_mut).expect("known");
    view.newest.as_mut().expect("there").checkpoint.why = CheckpointCause::BeforeSwap;
    assert!(said(&world).contains("before a swap away from backup"), "{}", said(&world));
    assert!(said(&world).starts_with("undecided: "), "{}", said(&world));
}

#[test]
fn a_new_pool_begins_on_the_first_account_that_is_fit() {
    let mut world = silent();
    world.memory.renewed = false;
    assert_eq!(said(&world), "nothing");
    assert_eq!(world.told()[0], "Create account/primary: make it the active account");
}

#[test]
fn the_pool_stays_where_it_runs() {
    let mut world = world();
    let absorbed = world.absorb();
    for change in &absorbed.changes {
        world.memory.apply(change);
    }
    assert_eq!(world.told(), ["Create account/backup: make it the active account"]);
    // What is remembered is not asked for again.
    world.memory.active = Some(crate::plan::Active { account: account("primary"), since: at(0).wall });
    assert!(world.told().iter().any(|line| line.contains("active-link")), "{:?}", world.told());
}

/// With the identity its first conversation is known: the CLI would refuse to begin it a second time.
#[test]
fn a_session_without_a_checkpoint_goes_on_with_its_first_conversation() {
    let mut world = silent();
    world.seen.checkpoints = ["s-0", "s-1", "s-2"].map(|name| (session(name), Seen::known(CheckpointsView::default(), at(0)))).into();
    assert!(world.absorb().changes.iter().all(|change| !matches!(change, crate::plan::MemoryChange::PutSession(..))));
    assert_eq!(
        world.told(),
        [
            "Create account/primary: make it the active account",
            "Create active-link: -> /accounts/primary",
            "waits session/s-0 CheckpointsUnknown",
            "waits session/s-1 CheckpointsUnknown",
            "waits session/s-2 CheckpointsUnknown"
        ]
    );
    world.memory.active = Some(crate::plan::Active { account: account("primary"), since: at(0).wall });
    for change in &world.absorb().changes {
        world.memory.apply(change);
    }
    assert_eq!(world.memory.sessions[&session("s-0")].conversation, POOL.conversation(&session("s-0"), 1));
    world.memory.renewed = false;
    world.memory.sessions.clear();
    assert!(world.absorb().changes.iter().all(|change| !matches!(change, crate::plan::MemoryChange::PutSession(..))));
}
