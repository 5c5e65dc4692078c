//! Specs as texts.

use claude_failover::spec::{LoadPlace, SourceText, Spec, load};

/// The spec that a text declares; all its paths are absolute.
pub fn declared(text: impl Into<String>) -> Spec {
    let source = SourceText { name: "pool.yaml".to_owned(), text: text.into() };
    let place = LoadPlace { home: "/nobody".into(), base: "/nowhere".into() };
    load(&[source], &place).unwrap_or_else(|rejected| panic!("{}", rejected.diagnostics.render(false))).spec
}
