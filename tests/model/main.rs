//! The swap machine under a model checker: every interleaving of a small pool with everything that can befall it.
//!
//! The transition function is the product's own [`next`](claude_failover::swap::next) and
//! [`SwapRecord::apply`](claude_failover::swap::SwapRecord::apply). The model only adds the host, the store and the adversaries, each with
//! a budget: the process ends at any point and keeps nothing but the journal; steps fail, or end in doubt with and without having been
//! done; agents are refused on the target; for a while nothing can be seen of agents or of links; a person ends an agent, starts or
//! moves one, aborts the swap or breaks links; a second daemon acts on an older record.
//!
//! What is so in each of the states below:
//! - there is at most one agent on a conversation;
//! - an agent is started only where none runs, and at most a batch of sessions is on the move;
//! - the target is recorded only after its links were ensured behind the flip, and over links that are right at that moment;
//! - a swap that is committed or rolled back has every session that no person touched on that one account, or says that it is lost;
//! - a latch keeps both errors and leaves the previous account the active one;
//! - the journal stays legal;
//! - once every deadline has passed there is something to do, until the swap is closed.
//!
//! That a swap can be committed, rolled back, abandoned and latched, and committed without a session that is lost, is checked as well: a
//! model in which nothing happens proves nothing. With the store's fence off the checker must find the damage that a second daemon does.
//!
//! | model | sessions | crashes | faults | people | unique states |
//! | --- | --- | --- | --- | --- | --- |
//! | everything at once | 3 | 1 | 1 | 1 | 382 930 |
//! | crash upon crash | 2 | 2 | 1 | 1 | 215 293 |
//! | people | 2 | 0 | 0 | 3 | 121 474 |
//! | faults | 3 | 1 | 2 | 0 | 9 064 |
//! | two daemons | 2 | 0 | 0 | 1 | 286 205 |
//!
//! About a million states in all, and 30 seconds of processor time unoptimised. The tests hold each model to nine tenths of its figure, so
//! that a change which quietly takes away what can happen is seen.

mod pool;

use pool::Swap;
use stateright::{Checker as _, HasDiscoveries, Model as _};

/// Checks the whole model and says how many states it has.
fn explore(model: Swap) -> usize {
    let checker = model.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

#[test]
fn everything_at_once() {
    let states = explore(Swap { crashes: 1, faults: 1, people: 1, ticks: 1, ..Swap::new(3) });
    assert!(states >= 340_000, "only {states} states were explored");
}

#[test]
fn crash_upon_crash() {
    let states = explore(Swap { crashes: 2, faults: 1, people: 1, ticks: 1, ..Swap::new(2) });
    assert!(states >= 190_000, "only {states} states were explored");
}

#[test]
fn people() {
    let states = explore(Swap { people: 3, ticks: 1, ..Swap::new(2) });
    assert!(states >= 109_000, "only {states} states were explored");
}

#[test]
fn faults() {
    let states = explore(Swap { crashes: 1, faults: 2, ..Swap::new(3) });
    assert!(states >= 8_000, "only {states} states were explored");
}

#[test]
fn two_daemons() {
    let states = explore(Swap { daemons: 2, loads: 1, people: 1, ticks: 1, ..Swap::new(2) });
    assert!(states >= 257_000, "only {states} states were explored");
}

#[test]
fn two_daemons_without_the_fence_do_damage() {
    let model = Swap { daemons: 2, loads: 1, fenced: false, ..Swap::new(2) };
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.discovery(pool::NO_SIN).is_some(), "the model cannot tell a fenced store from one without");
}
