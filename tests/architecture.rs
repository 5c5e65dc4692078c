//! The rules about the shape of the source that a compiler does not know: which layer may use which, what is pure, how long a file may be,
//! and what the documentation must tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use claude_failover::model::{ConditionKind, EventReason};

/// Each layer with those that it may use, from the bottom up. What is not here is not a layer.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("model", &[]),
    // A leaf: the process that plays the agent in tests and demonstrations.
    ("standin", &["model"]),
    ("spec", &["model"]),
    ("observed", &["model"]),
    ("swap", &["model", "spec", "observed"]),
    ("retention", &["model", "spec", "observed"]),
    ("plan", &["model", "spec", "observed", "swap", "retention"]),
    ("status", &["model", "spec", "observed", "swap", "plan"]),
    ("host", &["model", "spec", "observed", "swap", "plan", "status"]),
    ("store", &["model", "spec", "observed", "swap", "plan", "status"]),
    ("sim", &["model", "spec", "observed", "swap", "plan", "status", "host"]),
    ("engine", &["model", "spec", "observed", "swap", "plan", "status", "host", "store"]),
    ("control", &["model", "spec", "observed", "swap", "plan", "status", "host", "store", "engine"]),
    ("cli", &["model", "spec", "observed", "swap", "plan", "status", "host", "store", "engine", "control", "standin"]),
];

/// What only tests may use, whatever their layer.
const FOR_TESTS: &str = "sim";

/// These hold neither clock nor file, process, network or randomness; `clippy.toml` has the list.
const PURE: [&str; 7] = ["model", "spec", "observed", "retention", "plan", "swap", "status"];

/// The longest file, in lines.
const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a directory, with its path from there.
fn sources(below: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let base = root().join(below);
    let mut rest = vec![base.clone()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                rest.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                found.insert(path.strip_prefix(&base).expect("below it").to_owned(), text);
            }
        }
    }
    found
}

/// The code without comments, and without the test module at its end.
fn code(text: &str) -> (String, String) {
    let bare: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(String::new(), |all, line| all + line + "\n");
    match bare.find("#[cfg(test)]\nmod tests {") {
        Some(at) => (bare[..at].to_owned(), bare[at..].to_owned()),
        None => (bare, String::new()),
    }
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    path.components().any(|part| part.as_os_str() == "tests") || ["tests", "goldens", "fuzz"].contains(&name) || name.ends_with("_tests")
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The first names of a use tree: of `a::b`, of `{a::b, c::{d, e}}`.
fn heads(tree: &str) -> Vec<&str> {
    let Some(inside) = tree.strip_prefix('{') else { return vec![word(tree)] };
    let (mut depth, mut begins, mut found) = (0_usize, 0, Vec::new());
    for (at, character) in inside.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(word(inside[begins..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(word(inside[begins..at].trim_start()));
                begins = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The names that follow `before` in the code, each use tree taken apart.
fn named<'a>(code: &'a str, before: &str) -> BTreeSet<&'a str> {
    code.match_indices(before)
        // Not `super::crate_name::` and the like: the word begins here.
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$'))
        .flat_map(|(at, _)| heads(&code[at + before.len()..]))
        .collect()
}

/// The layers that a file uses: through the root, and by climbing to it.
fn uses<'a>(path: &Path, code: &'a str) -> BTreeSet<&'a str> {
    let is_root_of_module = path.file_name().is_some_and(|name| name == "mod.rs");
    let depth = path.components().count() - usize::from(is_root_of_module);
    let climb = "super::".repeat(depth);
    let mut used = named(code, "crate::");
    used.extend(named(code, &climb));
    used.retain(|name| MAY_USE.iter().any(|(layer, _)| layer == name));
    used
}

#[test]
fn lower_layers_never_use_higher_ones() {
    let mut upward = Vec::new();
    let mut edges = BTreeSet::new();
    for (path, text) in sources("src") {
        let layer = path.iter().next().and_then(|part| part.to_str()).unwrap_or_default().to_owned();
        if path.components().count() == 1 {
            // The library's root declares the layers, the program starts the top one.
            continue;
        }
        let (_, may_use) = MAY_USE.iter().find(|(known, _)| *known == layer).unwrap_or_else(|| panic!("{layer} is no layer of the table"));
        let (plain, tests) = code(&text);
        for (part, for_tests) in [(plain, is_test(&path)), (tests, true)] {
            for used in uses(&path, &part) {
                let allowed = used == layer || may_use.contains(&used) || (for_tests && used == FOR_TESTS);
                edges.insert(format!("{layer} -> {used}"));
                if !allowed {
                    upward.push(format!("src/{} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
    for known in ["engine -> host", "cli -> engine", "plan -> model", "swap -> observed"] {
        assert!(edges.contains(known), "the source is read wrong: {edges:#?}");
    }
}

#[test]
fn what_is_read_of_the_source_is_right() {
    let text = "use crate::{\n    model::{A, B},\n    plan, spec::C,\n};\nfn f() { crate::host::g(); super::super::engine::h() } // crate::cli::x\n";
    let (plain, _) = code(text);
    let wanted = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(uses(Path::new("store/a.rs"), &plain), wanted(&["model", "plan", "spec", "host", "engine"]));
    assert_eq!(uses(Path::new("store/a/b.rs"), &plain), wanted(&["model", "plan", "spec", "host"]), "that is store::engine");
    assert_eq!(uses(Path::new("store/a/mod.rs"), &plain), wanted(&["model", "plan", "spec", "host", "engine"]));
    let (plain, tests) = code("use crate::model::A;\n#[cfg(test)]\nmod tests {\n    use crate::sim::World;\n}\n");
    assert_eq!(uses(Path::new("engine/a.rs"), &plain), wanted(&["model"]));
    assert_eq!(uses(Path::new("engine/a.rs"), &tests), wanted(&["sim"]));
}

#[test]
fn the_table_has_no_cycle() {
    for (position, (layer, may_use)) in MAY_USE.iter().enumerate() {
        for used in *may_use {
            assert!(MAY_USE[..position].iter().any(|(lower, _)| lower == used), "{layer} may use {used}, which is not below it");
        }
    }
}

#[test]
fn the_pure_layers_turn_the_lints_on() {
    for layer in PURE {
        let text = read(&format!("src/{layer}/mod.rs"));
        assert!(text.contains("\n#![deny(clippy::disallowed_methods, clippy::disallowed_types)]\n"), "src/{layer}/mod.rs lacks the line");
    }
    let bans = read("clippy.toml");
    for banned in
        ["Timestamp::now", "Instant::now", "SystemTime::now", "env::var", "fs::read", "fs::File", "process::Command", "Uuid::new_v4"]
    {
        assert!(bans.contains(banned), "clippy.toml does not ban {banned}");
    }
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for below in ["src", "tests"] {
        for (path, text) in sources(below) {
            let lines = text.lines().count();
            if lines > LONGEST {
                long.push(format!("{below}/{}: {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "split them: {long:#?}");
}

#[test]
fn every_condition_has_its_section_in_the_recovery_page() {
    let page = read("docs/recovery.md");
    let missing: Vec<_> =
        ConditionKind::ALL.iter().filter(|kind| !page.lines().any(|line| line.trim_end() == format!("### {kind}"))).collect();
    assert!(missing.is_empty(), "docs/recovery.md has no section for {missing:?}");
}

#[test]
fn every_reason_in_a_report_has_its_row_in_the_recovery_page() {
    let page = read("docs/recovery.md");
    let table = page.split("## Every reason in a report").nth(1).expect("its heading");
    let cells = table.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    let told: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    // Each is one word in CamelCase, and stands in the code as such.
    let is_word = |text: &&str| {
        let mut letters = text.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.next().is_some_and(|second| second.is_ascii_lowercase())
            && letters.all(|c| c.is_ascii_alphabetic())
    };
    let is_condition = |text: &str| ConditionKind::ALL.iter().any(|kind| kind.as_str() == text);
    let sources = sources("src");
    let mut missing = BTreeSet::new();
    for (path, text) in &sources {
        let tells = ["plan", "engine", "cli/context.rs"].iter().any(|part| path.starts_with(part));
        if !tells || is_test(path) {
            continue;
        }
        let code = code(text).0;
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("#["));
        let words = lines.flat_map(|line| line.split('"').filter(is_word)).filter(|word| !is_condition(word) && !told.contains(word));
        missing.extend(words.map(ToOwned::to_owned));
    }
    let surplus: Vec<_> = told.iter().filter(|word| !sources.values().any(|text| text.contains(&format!("\"{word}\"")))).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "docs/recovery.md has no row for {missing:?}, and tells of {surplus:?}");
}

#[test]
fn every_event_has_its_row_in_the_page_about_events() {
    let page = read("docs/events.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let names: Vec<&str> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(names, EventReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, severity, meaning] = cells[..] else { panic!("three cells: {row}") };
        assert!(severity.split(", ").all(|word| ["normal", "warning", "critical"].contains(&word)), "{row}");
        assert!(meaning.len() > 10, "{row}");
    }
}
