use super::*;
use crate::{
    model::ConversationId,
    observed::{CheckpointCause, CheckpointsView},
    plan::tests::world::{World, at, session, unseen},
};

/// A world that has lost all memory of its first session, and its tmux session; a checkpoint of it is there.
fn world() -> World {
    let mut world = World::converged(2);
    let checkpoint = world.draft("s-0", CheckpointCause::Periodic, -60).expect("it is ours");
    world.put_checkpoint("s-0", checkpoint);
    newest(&mut world).refused.push("a torn one".to_owned());
    world.memory.sessions.remove(&session("s-0"));
    world.tmux().panes.remove("s-0");
    world.seen.agents.remove(&session("s-0"));
    world
}

fn newest(world: &mut World) -> &mut FoundCheckpoint {
    let view = world.seen.checkpoints.get_mut(&session("s-0")).and_then(Seen::value_mut);
    view.and_then(|view| view.newest.as_mut()).expect("one is there")
}

fn absorbed(world: &World) -> Absorbed {
    absorb_checkpoints(&world.spec, &world.seen, &world.memory, world.now)
}

#[test]
fn it_goes_on_with_the_conversation_of_its_checkpoint_and_says_so() {
    let mut world = world();
    let conversation = newest(&mut world).checkpoint.conversation;
    let found = absorbed(&world);
    let reasons: Vec<_> = found.events.iter().map(|event| event.reason).collect();
    assert_eq!(reasons, [EventReason::CheckpointRefused, EventReason::CheckpointRestored]);
    world.learn();
    let record = world.record("s-0").clone();
    assert_eq!((record.conversation, record.spoken, record.ended, record.process), (conversation, true, true, None));
    assert!(absorbed(&world).is_empty(), "once is enough");
    world.put_transcript("s-0", true);
    assert_eq!(world.told(), ["Create session/s-0: resume on primary", "drift session/s-0"]);
}

#[test]
fn nothing_is_bound_that_is_not_lost_or_not_its_own() {
    type Change = fn(&mut World);
    let cases: [(&str, Change); 5] = [
        ("no transcript", |world| newest(world).resumable = false),
        ("another session has the conversation", |world| {
            let conversation = newest(world).checkpoint.conversation;
            world.record("s-1").conversation = conversation;
        }),
        ("a tmux session of the name is there", |world| world.put_running("s-0")),
        ("tmux is not known", |world| world.seen.tmux = unseen()),
        ("a swap is open", |world| world.open_swap(&["s-1"])),
    ];
    for (name, change) in cases {
        let mut world = world();
        change(&mut world);
        let found = absorbed(&world);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    // Two that name one conversation: nobody can say whose it is.
    let mut world = world();
    world.memory.sessions.remove(&session("s-1"));
    world.tmux().panes.remove("s-1");
    let view = world.seen.checkpoints[&session("s-0")].clone();
    world.seen.checkpoints.insert(session("s-1"), view);
    assert!(absorbed(&world).is_empty());
    newest(&mut world).checkpoint.conversation = ConversationId(uuid::Uuid::nil());
    assert_eq!(absorbed(&world).changes.len(), 2);
}

#[test]
fn nothing_is_begun_while_what_is_left_cannot_be_looked_at() {
    let mut world = world();
    world.seen.checkpoints.insert(session("s-0"), unseen());
    assert_eq!(world.told(), ["waits session/s-0 CheckpointsUnknown"]);
    world.seen.checkpoints.insert(session("s-0"), Seen::known(CheckpointsView::default(), at(0)));
    assert_eq!(world.told(), ["Create session/s-0: start on primary"]);
}
