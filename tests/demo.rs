//! `make demo` ends well, leaves nothing behind, and the README shows what it shows.

use std::{fs, path::Path, process::Command};

/// The sections of the demo that stand in the README. The others are worth to be seen once, not read.
const SHOWN: [&str; 5] = [
    "The pool: two accounts, four sessions, in YAML",
    "What would be done, and why",
    "The daemon makes it so; this is its log as it happens",
    "The task went along with its session, and is done once",
    "What happened to the pool",
];
/// Further words of a section's heading in the README, where what it announces is left out.
const HEADINGS: [(&str, &str); 1] = [("The daemon makes it so; this is its log as it happens", "The daemon makes it so")];
/// Commands of these sections that are left out.
const LEFT_OUT: [&str; 1] = ["checkpoint ls"];

const BEGIN: &str = "<!-- demo: begin (written by `make generate`) -->\n";
const END: &str = "<!-- demo: end -->";

/// What the demo prints, without colours.
fn demo() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo.sh");
    let output = Command::new(script).arg(env!("CARGO_BIN_EXE_claude-failover")).output().expect("bash");
    let said = anstream::adapter::strip_str(&String::from_utf8_lossy(&output.stdout)).to_string();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The sections that are shown, as a block for the README.
fn block(said: &str) -> String {
    let mut text = String::from("```console\n");
    for section in said.split("\n== ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        if !SHOWN.contains(&heading) {
            continue;
        }
        let heading = HEADINGS.iter().find(|(long, _)| *long == heading).map_or(heading, |(_, short)| short);
        if text.lines().count() > 1 {
            text.push('\n');
        }
        text.extend(["# ", heading, "\n"]);
        let mut skip = false;
        // The daemon writes its log in between, whenever it has something to say.
        for line in body.trim_end().lines().filter(|line| !line.starts_with("  | ")) {
            if let Some(command) = line.strip_prefix("$ claude-failover ") {
                skip = LEFT_OUT.contains(&command);
            }
            if !skip {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text.push_str("```\n");
    text
}

/// What two runs have in common: numbers, times, bars and widths of columns are each run's own, and so is which agent was idle first.
fn normalised(block: &str) -> Vec<String> {
    let word = |word: &str| {
        let hex = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_id = hex.len() >= 12 && hex.chars().all(|c| c.is_ascii_hexdigit());
        let is_bar = word.starts_with('[') && word.contains(['#', '.', '|']);
        match (is_id, is_bar) {
            (true, _) => "ID".to_owned(),
            (_, true) => "BAR".to_owned(),
            _ => {
                let mut text = String::new();
                for c in word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }) {
                    if !(c == '0' && text.ends_with('0')) {
                        text.push(c);
                    }
                }
                // A span is in other units in another run: `5s`, `2m`, `1h 29m`.
                if text.starts_with('0') && text.trim_start_matches(['0', 's', 'm', 'h', 'd']).is_empty() { String::new() } else { text }
            }
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    block.lines().map(line).collect()
}

#[test]
fn the_demo_ends_well_and_is_what_the_readme_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let said = demo();
    for heading in SHOWN {
        assert!(said.contains(&format!("\n== {heading}\n")), "the demo has no section {heading:?}");
    }
    let shown = block(&said);
    let page = fs::read_to_string(&path).expect("readable");
    let (head, rest) = page.split_once(BEGIN).expect("the README has the first marker");
    let (found, tail) = rest.split_once(END).expect("the README has the second marker");
    if normalised(found) == normalised(&shown) {
        return;
    }
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        return fs::write(&path, format!("{head}{BEGIN}{shown}{END}{tail}")).expect("written");
    }
    let (found, shown) = (normalised(found).join("\n"), normalised(&shown).join("\n"));
    let diff = similar::TextDiff::from_lines(&found, &shown).unified_diff().header("README.md", "the demo").to_string();
    panic!("the README does not show what the demo does; `make generate` writes it anew\n{diff}");
}

#[test]
fn what_differs_from_run_to_run_is_not_compared_and_all_else_is() {
    let one = "primary  active  [#.......|.]  12%  resets in 1h 29m  1s ago, file\n5s ago  pool  resumed 4/4 in 2.2 s (claim 22bbf17d3689)";
    let other = "primary  active  [###.....|.]  9%  resets in 59m  12s ago, file\n1m ago  pool  resumed 4/4 in 13.4 s (claim 9af0e57d368a)";
    assert_eq!(normalised(one), normalised(other));
    for (changed, into) in [("active", "idle"), ("resumed", "lost"), ("file", "cli"), ("2.2 s", "2.2 s, late")] {
        assert_ne!(normalised(one), normalised(&one.replace(changed, into)), "{changed}");
    }
}
