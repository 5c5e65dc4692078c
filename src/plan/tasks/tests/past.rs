//! What is kept of tasks that are over.

use super::*;
use crate::plan::tests::world::unseen;

/// A board with a task that is done and over.
fn done() -> Board {
    let mut board = Board::new(1);
    board.put_taken("a", "s-0");
    board.queue().inbox.clear();
    board.queue().done.insert(name("a"), at(-1).wall);
    board.learn();
    board.queue().markers.clear();
    board.learn();
    assert!(board.world.memory.tasks.is_empty());
    board
}

#[test]
fn what_became_of_a_task_is_kept_while_its_file_stands_there() {
    let mut board = done();
    let attempts = &board.world.memory.past_tasks[&task("a")].attempts;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].session, session("s-0"));
    assert_eq!(attempts[0].end.as_ref().map(|end| end.how), Some(AttemptVerdict::Done));
    assert!(board.absorb().is_empty(), "nothing more is to be done about it");
    let queue = std::mem::take(board.queue());
    board.world.seen.queues.insert(project_name(), unseen());
    assert!(board.absorb().is_empty(), "what is not known is kept");
    board.world.seen.queues.insert(project_name(), Seen::known(QueueView { exists: true, project_exists: true, ..queue }, at(0)));
    board.queue().done.clear();
    assert_eq!(board.absorb().changes, [MemoryChange::ForgetTask(task("a"))]);
}

#[test]
fn another_task_of_the_same_name_takes_its_place() {
    let mut board = done();
    board.put_taken("a", "s-0");
    assert!(board.absorb().is_empty(), "the older one is kept beside it");
    board.queue().inbox.clear();
    board.queue().done.insert(name("a"), at(0).wall);
    board.learn();
    board.queue().markers.clear();
    board.learn();
    assert_eq!(board.world.memory.past_tasks.len(), 1);
}

#[test]
fn the_oldest_are_forgotten_when_there_are_too_many() {
    let mut board = done();
    let record = board.world.memory.past_tasks[&task("a")].clone();
    for number in 1..=1_000_i64 {
        let mut newer = record.clone();
        newer.attempts[0].end.as_mut().expect("an end").at = at(number).wall;
        board.world.memory.past_tasks.insert(task(&format!("t-{number}")), newer);
        board.queue().done.insert(name(&format!("t-{number}")), at(number).wall);
    }
    assert_eq!(board.absorb().changes, [MemoryChange::ForgetTask(task("a"))]);
}
