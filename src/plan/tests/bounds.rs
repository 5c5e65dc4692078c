//! What sessions share: conversations, an open swap, the server's descriptors, and time.

use super::{
    world::{at, unseen},
    *,
};
use crate::model::{ObjectRef, StartDigest};

#[test]
fn a_conversation_is_never_opened_twice() {
    check(&[
        (
            "another agent has it open",
            |world| {
                world.close("s-0");
                let conversation = World::conversation("s-0");
                world.record("s-1").conversation = conversation;
                world.agent("s-1").register.as_mut().expect("registered").conversation = conversation;
            },
            &["waits session/s-0 ConversationOpen"],
        ),
        (
            "another agent may have it open",
            |world| {
                world.close("s-0");
                world.record("s-1").conversation = World::conversation("s-0");
                world.seen.agents.insert(session("s-1"), unseen());
            },
            &["waits session/s-0 ConversationOpen", "waits session/s-1 AgentUnknown"],
        ),
        (
            "two that ended are bound to it: the first has it",
            |world| {
                world.close("s-0");
                world.close("s-1");
                world.record("s-1").conversation = World::conversation("s-0");
            },
            &["Create session/s-0: resume on primary", "drift session/s-0", "waits session/s-1 ConversationOpen"],
        ),
    ]);
}

#[test]
fn an_open_swap_has_its_sessions_and_nothing_new_is_begun_beside_it() {
    check(&[
        (
            "its own",
            |world| {
                world.close("s-0");
                world.end_agent("s-1");
                world.open_swap(&["s-0", "s-1"]);
            },
            &[],
        ),
        (
            "one beside it, gone",
            |world| {
                world.close("s-0");
                world.open_swap(&["s-1"]);
            },
            &["waits session/s-0 SwapOpen"],
        ),
        (
            "one beside it, other settings",
            |world| {
                world.pane("s-0").mark.as_mut().expect("marked").digest = StartDigest("000000000000".to_owned());
                world.open_swap(&["s-1"]);
            },
            &["waits session/s-0 SwapOpen"],
        ),
    ]);
}

#[test]
fn no_more_panes_are_planned_than_the_server_has_descriptors_for() {
    let mut world = World::converged(4);
    for name in ["s-1", "s-2", "s-3"] {
        world.close(name);
    }
    let limit = |world: &mut World, limit| world.tmux().server.as_mut().expect("a server").descriptor_limit = limit;
    limit(&mut world, Some(RESERVED_DESCRIPTORS + 3));
    assert_eq!(
        world.told(),
        [
            "Create session/s-1: resume on primary",
            "Create session/s-2: resume on primary",
            "drift session/s-1",
            "drift session/s-2",
            "warns session/s-3 NoRoom",
        ]
    );
    limit(&mut world, None);
    assert!(!world.told().iter().any(|line| line.contains("NoRoom")));
    limit(&mut world, Some(0));
    assert_eq!(world.told().iter().filter(|line| line.contains("NoRoom")).count(), 3);
}

#[test]
fn ten_thousand_sessions_take_ten_thousand_actions_and_no_more() {
    let mut world = World::bare(10_000);
    let planned = world.plan();
    let starts = planned.plan.actions.iter().filter(|(phase, _)| *phase == Phase::Start).count();
    assert_eq!(starts, 10_000);
    assert_eq!(planned.plan.actions.len(), starts + 15, "root, targets, homes, links, account, link, server");
    assert_eq!(world.lint(&planned.plan), [] as [&str; 0]);
    assert_eq!(planned.report, Report::default());
    world.memory.latches.insert(ObjectRef::Server, latch());
    assert_eq!(filter(planned.clone(), &world.memory, world.now), planned, "a latch of another object holds nothing back");
}

fn latch() -> Latch {
    Latch { reason: "Test".to_owned(), causes: Vec::new(), evidence: String::new(), since: at(0).wall }
}
