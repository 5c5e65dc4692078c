//! What the program costs, each figure beside its raw floor and beside what a user would run instead, all in one run.
//!
//! `make bench` runs it. The two sides of a pair alternate on the same machine, the same tmux binary and the same agents; what is kept is
//! the median of each side and the median of the ratios of the pairs. The table is printed and written into `docs/benchmarks.md`.
//!
//! Words after `--` choose rows and sizes: `cargo bench --profile dist --bench floors -- repair observe 200`. A run of some rows is only
//! printed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

mod agent;
mod enduring;
mod figures;
mod hooking;
mod idling;
mod machine;
mod observing;
mod planning;
mod pool;
mod raw;
mod repairing;
mod report;
mod resting;
mod starting;
mod swapping;
#[expect(dead_code, reason = "a benchmark ends with an error, not with a panic")]
#[path = "../support/waiting.rs"]
mod waiting;
mod working;

use std::{error::Error, process::ExitCode};

use figures::Row;

/// What goes wrong in a benchmark ends it; the words are for whoever ran it.
type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("agent") => agent::run(&arguments[1..]),
        _ => benchmark(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The rows, by the word that chooses them.
fn benchmark(arguments: &[String]) -> Fallible<()> {
    // Cargo passes `--bench`.
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let (sizes, rows_wanted): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.parse::<usize>().is_ok());
    let chosen = |word: &str| rows_wanted.is_empty() || rows_wanted.contains(&word);
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |found: Vec<Row>| {
        for row in &found {
            eprintln!("{row}");
        }
        rows.extend(found);
    };
    if chosen("planning") {
        add(planning::rows()?);
    }
    if chosen("start") {
        add(starting::rows()?);
    }
    for size in [20, 200, 1_000].into_iter().filter(|size: &usize| sizes.is_empty() || sizes.contains(&size.to_string().as_str())) {
        if chosen("repair") || chosen("observe") {
            let (mut pool, mut twin) = repairing::pools(size)?;
            if chosen("repair") {
                add(repairing::rows(&mut pool, &mut twin)?);
            }
            if chosen("observe") {
                drop(twin);
                add(observing::rows(pool)?);
            }
        }
    }
    if chosen("swap") {
        add(swapping::rows()?);
    }
    if chosen("tasks") {
        add(working::rows()?);
    }
    if chosen("endure") {
        add(enduring::rows()?);
    }
    if chosen("hook") {
        add(hooking::rows()?);
    }
    if chosen("idle") {
        add(idling::rows()?);
    }
    rows.sort_by_key(|row| row.place);
    report::publish(&rows, words.is_empty())
}
