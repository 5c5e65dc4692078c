//! What may follow what, and that the record is nothing but its journal.

use super::*;

fn open() -> SwapRecord {
    SwapRecord::open(plan(3))
}

#[test]
fn a_journal_gives_the_same_record_however_it_is_read() {
    let mut journal = vec![SwapEvent::Opened(plan(3))];
    journal.extend(up_to_rest("s0"));
    let mut grown = open();
    for event in &journal[1..] {
        grown.apply(event).expect("legal");
    }
    assert_eq!(SwapRecord::replay(&journal), Ok(Some(grown.clone())));
    let text = serde_json::to_string(&journal).expect("serializable");
    let back: Vec<SwapEvent> = serde_json::from_str(&text).expect("readable");
    assert_eq!(SwapRecord::replay(&back), Ok(Some(grown.clone())));
    let text = serde_json::to_string(&grown).expect("serializable");
    assert_eq!(serde_json::from_str::<SwapRecord>(&text).expect("readable"), grown);
}

#[test]
fn an_empty_journal_is_no_swap() {
    assert_eq!(SwapRecord::replay([]), Ok(None));
}

#[test]
fn a_journal_without_its_beginning_is_refused() {
    let error = SwapRecord::replay(&[turned_back(1)]).expect_err("it has no opening");
    assert_eq!(error.entry, 1);
    assert!(matches!(error.source, IllegalEvent::NotOpened { .. }), "{error:?}");
}

#[test]
fn the_entry_that_cannot_be_is_named() {
    let mut journal = vec![SwapEvent::Opened(plan(3))];
    journal.extend(did(Step::Hold, 0));
    journal.push(began(Step::Commit, 1));
    let error = SwapRecord::replay(&journal).expect_err("nothing was moved");
    assert_eq!(error.entry, 4);
    let message = error.source.to_string();
    assert!(message.contains("Canary") && message.contains("record the active account"), "{message}");
}

#[test]
fn an_illegal_entry_leaves_the_record_as_it_was() {
    let stranger = session("stranger");
    let cases: Vec<(&str, Vec<SwapEvent>, SwapEvent)> = vec![
        ("a second opening", vec![], SwapEvent::Opened(plan(1))),
        ("an end without a beginning", vec![], done(Step::Hold, 1)),
        ("a flip before the canary", did(Step::Hold, 0).to_vec(), began(Step::Flip(to()), 1)),
        ("a stop before the hold", vec![], began(Step::Stop(session("s0")), 1)),
        ("an unknown session", did(Step::Hold, 0).to_vec(), began(Step::Stop(stranger), 1)),
        ("a start under the account that is left", did(Step::Hold, 0).to_vec(), began(Step::Start(session("s0"), from()), 1)),
        ("a stop of a proven session", up_to_rest("s0"), began(Step::Stop(session("s0")), 9)),
        ("a proof on the wrong account", up_to_rest("s0"), proven("s1", from(), 9)),
        (
            "a proof of a session that is being stopped",
            [up_to_rest("s0"), vec![began(Step::Stop(session("s1")), 8)]].concat(),
            proven("s1", to(), 9),
        ),
        ("a second start at once", [up_to_rest("s0"), moved("s1", &to(), 8)].concat(), began(Step::Start(session("s1"), to()), 9)),
        ("a commit while sessions wait", up_to_rest("s0"), began(Step::Commit, 9)),
        ("a flip forward on the way back", [up_to_rest("s0"), vec![turned_back(8)]].concat(), began(Step::Flip(to()), 9)),
        ("a second turn", [up_to_rest("s0"), vec![turned_back(8)]].concat(), turned_back(9)),
        ("a close in the middle", up_to_rest("s0"), close(SwapVerdict::Committed, None)),
        ("a rollback that was not begun", up_to_rest("s0"), close(SwapVerdict::RolledBack, None)),
        ("a latch that did not go back", up_to_rest("s0"), close(SwapVerdict::Latched, Some("x"))),
        ("a latch with one error", [up_to_rest("s0"), vec![turned_back(8)]].concat(), close(SwapVerdict::Latched, None)),
        ("a turn once the target is being recorded", committing(), turned_back(20)),
    ];
    for (what, before, event) in cases {
        let record = fold(&plan(3), &before);
        let mut after = record.clone();
        assert!(after.apply(&event).is_err(), "{what} was accepted");
        assert_eq!(after, record, "{what} changed the record");
    }
}

#[test]
fn nothing_follows_the_close() {
    let mut journal = up_to_rest("s0");
    journal.extend([moved("s1", &to(), 4), moved("s2", &to(), 5), did(Step::Commit, 6).to_vec()].concat());
    journal.push(close(SwapVerdict::Committed, None));
    let mut record = fold(&plan(3), &journal);
    assert_eq!(record.verdict, Some(SwapVerdict::Committed));
    assert!(matches!(record.apply(&turned_back(9)), Err(IllegalEvent::AfterClose { .. })));
}

#[test]
fn a_step_that_ended_in_doubt_stays_pending() {
    let mut events = did(Step::Hold, 0).to_vec();
    events.extend([began(Step::Stop(session("s0")), 1), in_doubt(Step::Stop(session("s0")), 2, "no answer")]);
    let record = fold(&plan(3), &events);
    let pending = record.pending(&Step::Stop(session("s0"))).expect("pending");
    assert_eq!((pending.since, pending.doubt.as_deref()), (at(2), Some("no answer")));
    assert_eq!(record.moves[&session("s0")].failures, 0, "a doubt is no failure");
}

#[test]
fn the_first_mark_of_a_transcript_is_kept() {
    let mark = |length| {
        let (path, tail) = (PathBuf::from("/shared/t.jsonl"), "00".to_owned());
        crate::observed::TranscriptMark { path, device: 1, inode: 2, length, tail }
    };
    let stop = Step::Stop(session("s0"));
    let ended = |second, length| SwapEvent::Ended { step: stop.clone(), at: at(second), result: StepResult::Done(Some(mark(length))) };
    let mut events = did(Step::Hold, 0).to_vec();
    events.extend([began(stop.clone(), 1), ended(2, 10)]);
    events.extend(did(Step::Start(session("s0"), to()), 3));
    events.extend([unproven("s0", to(), 4), began(stop.clone(), 5), ended(6, 99)]);
    assert_eq!(fold(&plan(3), &events).moves[&session("s0")].transcript, Some(mark(10)));
}

#[test]
fn turning_back_asks_every_session_anew() {
    let mut events = up_to_rest("s0");
    events.extend([began(Step::Stop(session("s1")), 4), turned_back(5)]);
    let record = fold(&plan(3), &events);
    assert_eq!(record.stage, Stage::Unflip);
    assert_eq!(record.goal(), &from());
    assert!(record.pending.is_empty(), "{:?}", record.pending);
    let places: Vec<_> = record.moves.values().map(|movement| (movement.place.clone(), movement.touched)).collect();
    assert_eq!(places, [(Place::Waiting, true), (Place::Unsettled, true), (Place::Waiting, false)]);
}

#[test]
fn the_link_is_flipped_back_only_if_it_may_have_been_flipped() {
    let canary = [did(Step::Hold, 0).to_vec(), moved("s0", &to(), 1)].concat();
    let flip = Step::Flip(to());
    let cases = [
        ("before the flip", vec![], Stage::Reensure),
        ("a flip that was cut off", vec![began(flip.clone(), 2)], Stage::Unflip),
        ("a flip in doubt", vec![began(flip.clone(), 2), in_doubt(flip.clone(), 3, "?")], Stage::Unflip),
        ("a flip that failed", vec![began(flip.clone(), 2), failed(flip.clone(), 3, "no")], Stage::Reensure),
        ("a flip that was done", did(flip, 2).to_vec(), Stage::Unflip),
    ];
    for (what, more, stage) in cases {
        let record = fold(&plan(3), &[canary.clone(), more, vec![turned_back(9)]].concat());
        assert_eq!(record.stage, stage, "{what}");
    }
}

/// A journal in which the target is being recorded.
fn committing() -> Vec<SwapEvent> {
    [up_to_rest("s0"), moved("s1", &to(), 4), moved("s2", &to(), 5), vec![began(Step::Commit, 6)]].concat()
}

fn close(verdict: SwapVerdict, rollback_error: Option<&str>) -> SwapEvent {
    SwapEvent::Closed { at: at(30), verdict, rollback_error: rollback_error.map(str::to_owned) }
}
