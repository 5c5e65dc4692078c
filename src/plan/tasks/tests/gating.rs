//! Whether anything is given out.

use super::*;
use crate::{
    model::{AccountName, Percent, WindowKind},
    plan::{Cordon, Latch, target::Choice},
    swap::SwapCause,
};

fn held(change: impl FnOnce(&mut World) -> (Choice, Option<Timestamp>)) -> Option<String> {
    let mut board = Board::new(1);
    let (choice, reaches) = change(&mut board.world);
    let World { spec, memory, now, .. } = &board.world;
    gate(&GateGrounds { spec, memory, choice: &choice, reaches, was_tight: false, now: *now }).hold.map(|hold| hold.reason)
}

#[test]
fn nothing_is_given_out_where_it_might_not_be_finished() {
    let backup = || AccountName::new("backup").expect("a name");
    let cause = SwapCause::Threshold { window: WindowKind::FiveHour, used: Percent::whole(90), threshold: Percent::whole(85) };
    assert_eq!(held(|_| (Choice::Stay, None)), None);
    assert_eq!(held(|_| (Choice::Stay, Some(at(601).wall))), None, "further off than the drain time");
    assert_eq!(held(|_| (Choice::Stay, Some(at(599).wall))).as_deref(), Some("NearThreshold"));
    assert_eq!(held(|_| (Choice::Swap { to: backup(), cause }, None)).as_deref(), Some("SwapOpen"));
    assert_eq!(held(|_| (Choice::Exhausted { until: None, why: BTreeMap::new() }, None)).as_deref(), Some("Exhausted"));
    let reason = crate::plan::target::BlockReason::MinDwell;
    let blocked = Choice::Blocked { reason, until: None, message: "m".to_owned() };
    assert_eq!(held(|_| (blocked, None)).as_deref(), Some("SwapBlocked"));
    let latch = Latch { reason: "PartialSwap".to_owned(), causes: Vec::new(), evidence: String::new(), since: at(0).wall };
    assert_eq!(
        held(|world| {
            world.memory.latches.insert(ObjectRef::Pool, latch);
            (Choice::Stay, None)
        })
        .as_deref(),
        Some("Latched")
    );
    let cordon = Cordon { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall };
    assert_eq!(
        held(|world| {
            world.memory.cordoned.insert(ObjectRef::Pool, cordon);
            (Choice::Stay, None)
        })
        .as_deref(),
        Some("Cordoned")
    );
    assert_eq!(
        held(|world| {
            world.memory.active = None;
            (Choice::Stay, None)
        })
        .as_deref(),
        Some("NoActiveAccount")
    );
}

#[test]
fn after_room_came_back_tasks_are_let_out_slowly() {
    let mut board = Board::new(6);
    board.put_taken("a", "s-0");
    let room = |board: &Board, seconds| {
        let World { spec, memory, .. } = &board.world;
        let gate = gate(&GateGrounds { spec, memory, choice: &Choice::Stay, reaches: None, was_tight: false, now: at(seconds) });
        (gate.room, gate.more_at)
    };
    board.world.memory.room_since = Some(at(0).wall);
    assert_eq!(room(&board, 0), (3, Some(at(10).wall)), "four at once, one of them under way");
    assert_eq!(room(&board, 9), (3, Some(at(10).wall)));
    assert_eq!(room(&board, 10), (7, Some(at(20).wall)));
    assert_eq!(room(&board, 600), (usize::MAX, None));
    assert_eq!(room(&board, -5), (usize::MAX, None), "a clock that jumped back holds nothing");
}

#[test]
fn in_the_moment_in_which_room_comes_back_no_more_begins_than_later() {
    let mut board = Board::new(6);
    board.put_taken("a", "s-0");
    let World { spec, memory, now, .. } = &board.world;
    let grounds = GateGrounds { spec, memory, choice: &Choice::Stay, reaches: None, was_tight: true, now: *now };
    let gate = gate(&grounds);
    assert_eq!((gate.hold.is_none(), gate.room, gate.more_at), (true, 3, Some(at(10).wall)));
}

#[test]
fn a_hold_says_until_when_as_far_as_that_is_known() {
    let until = |change: &dyn Fn(&mut World), choice: Choice, reaches| {
        let mut board = Board::new(1);
        change(&mut board.world);
        let World { spec, memory, now, .. } = &board.world;
        let gate = gate(&GateGrounds { spec, memory, choice: &choice, reaches, was_tight: false, now: *now });
        let hold = gate.hold.clone().expect("held");
        (hold.until, gate.is_tight())
    };
    let none = |_: &mut World| {};
    let blocked = |until| Choice::Blocked { reason: crate::plan::target::BlockReason::MinDwell, until, message: "m".to_owned() };
    let exhausted = Choice::Exhausted { until: Some(at(900).wall), why: BTreeMap::new() };
    assert_eq!(until(&none, Choice::Stay, Some(at(500).wall)), (Some(at(500).wall), true), "near its threshold");
    assert_eq!(until(&none, exhausted, None), (Some(at(900).wall), true));
    assert_eq!(until(&none, blocked(Some(at(70).wall)), None), (Some(at(70).wall), true));
    let swap = |world: &mut World| world.open_swap(&["s-0"]);
    let board = {
        let mut board = Board::new(1);
        swap(&mut board.world);
        board
    };
    let plan = &board.world.memory.swap.as_ref().expect("open").plan;
    let end = plan.drain_until + plan.prove_within;
    let told = until(&swap, Choice::Stay, None);
    assert_eq!(told, (Some(end).filter(|end| *end > at(0).wall), false), "a swap");
    let suspend = |world: &mut World| {
        world.memory.suspended =
            Some(crate::plan::Suspension { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall, until: Some(at(60).wall) });
    };
    assert_eq!(until(&suspend, Choice::Stay, None), (Some(at(60).wall), false));
}
