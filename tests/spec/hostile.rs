//! Files that mean harm, or nothing at all.

use std::time::{Duration, Instant};

use claude_failover::spec::load;
use proptest::prelude::*;

use crate::{
    effective::FULL,
    support::{load_text, numbered, place, source, spec_with},
};

/// An optimised build needs a few milliseconds, an unoptimised one on a busy machine some hundred; what must not come back are the
/// seconds of a parser whose time grows with the square of its input.
const DEADLINE: Duration = Duration::from_secs(1);

/// Lists that grow ninefold with each level of aliases.
fn alias_bomb() -> String {
    let level = |level: usize| match level {
        0 => "l0: &l0 [x, x, x, x, x, x, x, x, x]\n".to_owned(),
        level => format!("l{level}: &l{level} [{}]\n", vec![format!("*l{}", level - 1); 9].join(", ")),
    };
    numbered(9, level)
}

#[test]
fn a_hostile_file_is_refused_at_once() {
    let merges: String = numbered(63, |index| format!("m{index}: {{ <<: *a }}\n"));
    let files = [
        ("brackets", "[".repeat(100_000)),
        ("maps in maps", "{a: ".repeat(50_000)),
        ("alias bomb", alias_bomb()),
        ("merge bomb", format!("a: &a {{ {} }}\n{merges}", numbered(300, |index| format!("k{index}: 1, ")))),
        ("keys", numbered(30_000, |index| format!("k{index}: 1\n"))),
        ("one key", "a: 1\n".repeat(50_000)),
        ("dashes", "- ".repeat(100_000)),
        ("question marks", "? ".repeat(100_000)),
        ("colons", ":".repeat(250_000)),
        ("ampersands", "&a ".repeat(80_000)),
        ("exclamation marks", "!".repeat(200_000)),
        ("items", format!("[{}]", "a, ".repeat(80_000))),
        ("unknown fields", format!("spec:\n{}", numbered(4_900, |index| format!("  acount{index}: 1\n")))),
        ("wrong items", format!("spec: {{ sessions: [{}] }}", "{ names: 1 }, ".repeat(990))),
        ("long name", spec_with("").replace("agents", &"x".repeat(200_000))),
        (
            "mistakes on one long line",
            format!("{{ spec: {{ sessions: [{}] }}, x: \"{}\" }}", "{ names: 1 }, ".repeat(300), "y".repeat(240_000)),
        ),
        ("long key", format!("{}: 1\n", "x".repeat(1_000))),
        ("too large", "#".repeat(10_000_000)),
    ];
    for (what, text) in files {
        let start = Instant::now();
        let rejected = load_text(&text).expect_err(what);
        let took = start.elapsed();
        let start = Instant::now();
        let shown = rejected.diagnostics.render(false);
        let showing = start.elapsed();
        assert!(showing < DEADLINE, "{what} took {showing:?} to show {} bytes", shown.len());
        assert!(took < DEADLINE, "{what} took {took:?}");
        assert!(rejected.diagnostics.iter().count() <= 200, "{what} has too many findings");
        assert!(rejected.diagnostics.iter().all(|found| found.message.len() < 2_000), "{what} has a message without end");
    }
}

#[test]
fn comments_and_line_breaks_alone_do_no_harm() {
    for text in ["#\n".repeat(100_000), "\n".repeat(250_000), format!("a: |\n{}", " \n".repeat(120_000))] {
        let start = Instant::now();
        load_text(&text).expect_err("no spec");
        assert!(start.elapsed() < DEADLINE);
    }
}

/// Pieces that YAML and the spec give a meaning to.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "accounts",
        "name",
        "names",
        "home",
        "sessions",
        "workdir",
        "links",
        "root",
        "swap",
        "fiveHour",
        "claude-failover/v1",
        "Pool",
        "~",
        "~/",
        "..",
        "true",
        "null",
        "85",
        "-1",
        "1e999",
        ".nan",
        "5m",
        "ccl-{0..9}",
        "{a,b}",
        ": ",
        ":\n  ",
        "\n",
        "\n  ",
        "\n    - ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "|\n",
        ">\n",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "!x ",
        "? ",
        "%YAML 1.2\n",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "\u{9b}",
        "\u{202e}",
        "é",
        "𝄞",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_answered(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(rejected) = load_text(&text) {
            prop_assert!(rejected.diagnostics.errors() > 0);
            let shown = rejected.diagnostics.render(false) + &rejected.to_string();
            let harmful = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            prop_assert!(!shown.contains(harmful), "{:?}", shown);
            check_places(&rejected.diagnostics, &text)?;
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_text(&String::from_utf8_lossy(&bytes));
    }

    /// A spec that is right, with a few characters changed.
    #[test]
    fn a_damaged_spec_is_answered(changes in prop::collection::vec((any::<prop::sample::Index>(), piece()), 1..6)) {
        let mut text: Vec<String> = FULL.chars().map(String::from).collect();
        for (index, piece) in changes {
            *index.get_mut(&mut text) = piece;
        }
        let text = text.concat();
        match load_text(&text) {
            Ok(loaded) => prop_assert!(!loaded.spec.accounts.is_empty() && !loaded.spec.sessions.is_empty()),
            Err(rejected) => check_places(&rejected.diagnostics, &text)?,
        }
    }

    #[test]
    fn a_damaged_drop_in_is_answered(pieces in prop::collection::vec(piece(), 0..40)) {
        let sources = [source("pool.yaml", FULL), source("pool.d/x.yaml", pieces.concat())];
        if let Err(rejected) = load(&sources, &place()) {
            prop_assert!(!rejected.diagnostics.render(true).is_empty());
        }
    }
}

/// Every place lies in the text, and its line is that of its first byte.
fn check_places(diagnostics: &claude_failover::spec::Diagnostics, text: &str) -> Result<(), TestCaseError> {
    for found in diagnostics {
        let Some(place) = &found.place else { continue };
        prop_assert!(text.get(place.span.clone()).is_some(), "{:?} is no part of {:?}", place, text);
        let breaks = text[..place.span.start].replace("\r\n", "\n").matches(['\n', '\r']).count();
        prop_assert_eq!(place.line, breaks + 1, "{:?} in {:?}", place, text);
    }
    Ok(())
}
