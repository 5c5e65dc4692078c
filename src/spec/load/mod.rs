//! Text to [`Spec`]: parse, merge the drop-ins, check the shape, run the rules.
//!
//! # Guarantees
//! Every mistake of all sources is reported in one go. The same sources and place give the same answer. A hostile source costs a bounded
//! amount of time and memory.
//!
//! # Does not
//! Read files: that is `host::specfile`.

mod check;
mod merge;
mod parse;
mod tree;

use std::{fmt, path::PathBuf};

pub use parse::MAX_SOURCE_BYTES;
pub use tree::FieldPath;
pub(crate) use tree::{Node, Value};

use super::{
    diagnostic::{Code, Diagnostic, Diagnostics, Findings, Place, SourceText},
    document::{ApiVersion, Document, Kind},
    origin::Origins,
    pool::{Spec, Thresholds},
    render::tally,
    rules::{self, SessionGroup},
    schema::schema,
};

/// The most sources of one spec: a base and its drop-ins.
pub const MAX_SOURCES: usize = 100;

/// What paths of a spec are resolved with. Both are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPlace {
    /// The user's home directory: what `~` means.
    pub home: PathBuf,
    /// The directory of the spec: what relative paths begin at.
    pub base: PathBuf,
}

/// A spec that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The spec.
    pub spec: Spec,
    /// The pool's thresholds; [`Spec::accounts`] holds those of each account.
    pub thresholds: Thresholds,
    /// Its lines of sessions as they were written, from which [`Spec::sessions`] was expanded.
    pub groups: Vec<SessionGroup>,
    /// Where its values came from.
    pub origins: Origins,
    /// What the operator should look at.
    pub warnings: Diagnostics,
}

/// Why a spec is refused: at least one error, and all warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// All findings.
    pub diagnostics: Diagnostics,
}

impl fmt::Display for Rejected {
    /// One line: how many errors there are, and the first of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the spec is refused ({})", tally(self.diagnostics.errors(), self.diagnostics.warnings()))?;
        let first = self.diagnostics.iter().find(|diagnostic| diagnostic.severity() == super::Severity::Error);
        first.map_or(Ok(()), |first| write!(f, ": {first}"))
    }
}

impl std::error::Error for Rejected {}

/// Makes a spec of its sources: the base first, then the drop-ins in their order.
///
/// # Errors
/// [`Rejected`] with every finding, in the order of the sources.
pub fn load(sources: &[SourceText], place: &LoadPlace) -> Result<Loaded, Rejected> {
    let mut findings = Findings::default();
    let loaded = read(sources, place, &mut findings);
    let refused = findings.has_errors();
    let diagnostics = Diagnostics::new(findings.into_list(), sources);
    match loaded {
        Some((resolved, origins)) if !refused => {
            let rules::Resolved { spec, thresholds, groups } = resolved;
            Ok(Loaded { spec, thresholds, groups, origins, warnings: diagnostics })
        }
        _ => Err(Rejected { diagnostics }),
    }
}

/// The most values of all sources together. The longest lists that the schema takes, with every field of every item, stay below: so does
/// the effective text of any spec.
const MAX_VALUES: usize = 10_000;

/// Parses all sources. What is too large or too complex ends it, so that a hundred such files cost no more than one.
fn parse_all(sources: &[SourceText], findings: &mut Findings) -> Vec<Node> {
    let mut trees = Vec::with_capacity(sources.len());
    let mut values = 0_usize;
    for source in sources {
        match parse::parse(source, findings) {
            Some(tree) => {
                values = values.saturating_add(tree.count());
                trees.push(tree);
            }
            None if findings.has(|code| matches!(code, Code::TooLarge | Code::TooComplex)) => break,
            None => {}
        }
        if values > MAX_VALUES {
            let place = Place { file: source.name.as_str().into(), line: 1, column: 1, span: 0..0 };
            let message = format!("with this file the spec has more than {MAX_VALUES} values");
            findings.report(Diagnostic::new(Code::TooComplex, message).at(place).hint("use patterns of names, such as ccl-{0..9}"));
            break;
        }
    }
    trees
}

/// Reads one YAML text that is no spec, bounded like one: the front matter of a task.
///
/// # Errors
/// Every mistake of its form.
pub(crate) fn read_alone(source: &SourceText) -> Result<Node, Diagnostics> {
    let mut findings = Findings::default();
    let tree = parse::parse(source, &mut findings);
    match tree {
        Some(tree) if !findings.has_errors() => Ok(tree),
        _ => Err(Diagnostics::new(findings.into_list(), std::slice::from_ref(source))),
    }
}

/// The way from text to spec. `None` after an error was reported.
fn read(sources: &[SourceText], place: &LoadPlace, findings: &mut Findings) -> Option<(rules::Resolved, Origins)> {
    if sources.len() > MAX_SOURCES {
        let message = format!("the spec has {} files; at most {MAX_SOURCES} are read", sources.len());
        findings.report(Diagnostic::new(Code::TooLarge, message).hint("put several drop-ins into one"));
        return None;
    }
    let trees = parse_all(sources, findings);
    let complete = trees.len() == sources.len();
    if complete && trees.iter().all(|tree| tree.value == Value::Null) {
        let first = sources.first().map(|source| Place { file: source.name.as_str().into(), line: 1, column: 1, span: 0..0 });
        let hint = "`claude-failover init` writes a spec to begin with";
        findings.report(Diagnostic::new(Code::EmptySpec, "the spec is empty").at(first).hint(hint));
        return None;
    }
    let written = merge::merge(trees, findings)?;
    let checked = check::check(&written, schema(), complete, findings);
    if !complete {
        return None;
    }
    // What the check lets through fits the types; if it does not, the schema is wrong, and the spec is refused rather than guessed at.
    let document: Document = match serde_json::from_value(checked.to_json()) {
        Ok(document) => document,
        Err(error) => {
            let message = format!("the spec does not have the shape of its schema: {error}");
            findings.report(Diagnostic::new(Code::WrongType, message).at(checked.place.clone()));
            return None;
        }
    };
    // The version and the kind choose what the rest means; there is one of each.
    let (ApiVersion::V1, Kind::Pool) = (document.api_version, document.kind);
    let resolved = rules::resolve(&document, &written, &checked, place, findings).ok()?;
    Some((resolved, Origins::of_tree(&checked)))
}
