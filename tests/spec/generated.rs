//! Files that are made from the types are current, and the examples are right.

use std::{fs, path::Path};

use claude_failover::spec::{Code, reference, schema};

/// Compares a file of the repository with what it should hold; with `UPDATE_GENERATED=1` it is written instead.
fn check_current(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, wanted).expect("the file can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    check_equal(&found, wanted, &format!("{path} is not current; `UPDATE_GENERATED=1 cargo test --test spec` writes it anew"));
}

/// Fails with the lines that differ.
fn check_equal(found: &str, wanted: &str, message: &str) {
    let diff = similar::TextDiff::from_lines(found, wanted);
    assert!(found == wanted, "{message}\n{}", diff.unified_diff().header("found", "wanted"));
}

#[test]
fn the_schemas_are_current() {
    check_current("specs/pool.schema.json", &schema::to_text(schema::schema()));
    check_current("specs/pool.drop-in.schema.json", &schema::to_text(&schema::drop_in_schema()));
}

#[test]
fn the_reference_is_current() {
    let page = reference::render();
    check_current("docs/spec.md", &page);
    for code in Code::ALL {
        assert!(page.contains(&format!("| `{code}` |")), "{code} is not in the reference");
    }
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        assert!(!line.ends_with("|  |"), "no meaning: {line}");
    }
}
