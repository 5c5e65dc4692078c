//! One suite for every host: what the simulated one does, the real one does, and the other way round.
//!
//! The suite knows a host only through [`claude_failover::host::Host`], and the world only through [`bench::Bench`]. A bench for another
//! host is one more line at the end of this file.

mod bench;
#[path = "../support/declared.rs"]
mod declared;
mod homes;
mod links;
mod looks;
mod prompts;
mod real;
mod servers;
mod sessions;
mod simulated;
mod stops;
#[path = "../support/waiting.rs"]
mod waiting;

/// Runs the whole suite on one bench.
macro_rules! conformance {
    ($name:ident, $bench:ty, [$($suite:ident::{$($test:ident),+ $(,)?}),+ $(,)?]) => {
        mod $name {
            $(mod $suite {
                $(#[test]
                fn $test() {
                    crate::bench::run::<$bench, _>(crate::$suite::$test);
                })+
            })+
        }
    };
}

/// The suite, with the bench to run it on.
macro_rules! on {
    ($name:ident, $bench:ty) => {
        conformance!(
            $name,
            $bench,
            [
                servers::{
                    a_server_is_started_once, a_server_that_ended_is_known_to_be_gone, a_server_that_hangs_is_unknown,
                    without_a_server_nothing_starts,
                },
                sessions::{
                    a_created_session_is_ours_and_runs, a_name_that_is_taken_is_left_alone, nothing_starts_over_a_wrong_link,
                    nothing_starts_in_a_directory_that_is_not_there, names_are_exact, a_death_is_noticed,
                    an_agent_is_started_again_in_its_pane, a_conversation_that_is_open_is_not_opened_again,
                    a_conversation_goes_on_under_another_account, a_mark_that_does_not_name_its_bearer_is_none, a_session_is_adopted,
                    a_session_of_another_pool_is_not_adopted, a_session_is_released, a_session_is_closed_when_its_agent_has_ended,
                    a_session_without_our_mark_is_not_closed,
                },
                stops::{
                    an_agent_is_stopped, another_process_of_that_number_is_spared, a_stubborn_agent_is_killed_after_the_grace,
                    agents_are_stopped_together,
                },
                prompts::{
                    a_prompt_reaches_an_idle_agent, a_prompt_is_for_the_very_process, nothing_is_typed_to_an_agent_that_has_ended,
                },
                links::{
                    a_root_is_made_once, a_root_of_another_pool_is_left_alone, a_root_with_content_is_left_alone, a_target_is_made_once,
                    no_target_is_made_in_a_root_that_is_not_ours, a_link_is_made_once, a_link_is_never_made_over_anything,
                    a_link_to_nothing_is_not_made, a_link_is_pointed_elsewhere, a_link_that_changed_meanwhile_is_left_alone,
                    a_directory_is_merged_and_nothing_is_lost,
                },
                homes::{a_home_is_prepared_once, a_home_in_use_is_not_prepared, an_account_is_recorded_only_over_right_links},
                looks::{
                    what_stands_where_a_link_should_be, what_is_at_the_root, what_is_not_asked_for_keeps_its_age,
                    waiting_ends_with_the_timer,
                },
            ]
        );
    };
}

on!(simulation, crate::simulated::Simulated);
on!(machine, crate::real::Real);
