//! What the tests of the spec share.

use claude_failover::spec::{LoadPlace, Loaded, Rejected, SourceText, load};

/// The head of every spec.
pub const HEAD: &str = "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: { name: agents }\nspec:\n";

/// Two accounts and one line of sessions: the smallest useful body.
pub const BODY: &str = r#"  accounts:
    - { name: primary, home: ~/.claude-accounts/primary }
    - { name: backup, home: ~/.claude-accounts/backup }
  sessions:
    - { names: "ccl-{0..9}", workdir: ~/work }
"#;

/// A source.
pub fn source(name: &str, text: impl Into<String>) -> SourceText {
    SourceText { name: name.to_owned(), text: text.into() }
}

/// A whole spec with more fields under `spec`.
pub fn spec_with(fields: &str) -> String {
    format!("{HEAD}{BODY}{fields}")
}

/// As many pieces of text as asked for, made from their numbers.
pub fn numbered(count: usize, piece: impl Fn(usize) -> String) -> String {
    (0..count).map(piece).collect::<Vec<_>>().concat()
}

/// The place that the tests load at.
pub fn place() -> LoadPlace {
    LoadPlace { home: "/home/user".into(), base: "/etc/pool".into() }
}

/// Loads one text.
pub fn load_text(text: &str) -> Result<Loaded, Rejected> {
    load(&[source("pool.yaml", text)], &place())
}

/// Loads a text that is right.
pub fn load_right(text: &str) -> Loaded {
    match load_text(text) {
        Ok(loaded) => loaded,
        Err(rejected) => panic!("refused:\n{}\n{text}", rejected.diagnostics.render(false)),
    }
}
