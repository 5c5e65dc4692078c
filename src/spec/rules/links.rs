//! The shared root and its links.

use std::collections::BTreeMap;

use super::{Checked, Reported, Rules, paths};
use crate::{
    model::LinkName,
    spec::{
        diagnostic::{Code, Diagnostic, quoted},
        document,
        load::FieldPath,
        pool::Shared,
    },
};

/// The links without which a conversation cannot be resumed whole under another account, in the order in which they are made
/// (`facts/claude-code.md`, section 2: transcripts, snapshots for rewinding, task lists). A spec may add to them, never drop one.
pub const REQUIRED_LINKS: [&str; 3] = ["projects", "file-history", "tasks"];

/// Checks the shared tree. The required links come first, in their own order, then the others in that of the spec.
pub(super) fn resolve(wanted: &document::Shared, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Shared> {
    let root = paths::resolve(&wanted.root, &at.field("root"), rules);
    let links = links(&wanted.links, &at.field("links"), rules);
    rules.in_shape(&at.field("root"))?;
    Ok(Shared { root: root?, links: links?, adopt: wanted.adopt })
}

/// Checks the names of the links.
fn links(wanted: &[String], at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Vec<LinkName>> {
    rules.in_shape(at)?;
    let mut first = BTreeMap::<&str, usize>::new();
    let mut names = Vec::with_capacity(wanted.len());
    for (index, text) in wanted.iter().enumerate() {
        let here = at.item(index);
        if let Some(earlier) = first.get(text.as_str()) {
            let diagnostic = Diagnostic::new(Code::DuplicateEntry, format!("the link {} stands twice", quoted(text)))
                .at(rules.place(&here))
                .related(rules.place(&at.item(*earlier)), "first here");
            rules.findings.report(diagnostic.hint("remove one of them"));
            continue;
        }
        first.insert(text, index);
        match LinkName::new(text.as_str()) {
            Ok(name) => names.push(name),
            Err(error) => {
                rules.refuse(Code::BadLink, &here, error.to_string(), "remove it from the links");
            }
        }
    }
    let missing: Vec<&str> = REQUIRED_LINKS.into_iter().filter(|required| !first.contains_key(required)).collect();
    if !missing.is_empty() {
        let listed = missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let message = format!("the links lack {listed}, without which conversations cannot move between accounts");
        rules.refuse(Code::RequiredLinkMissing, at, message, format!("begin the list with {}", REQUIRED_LINKS.join(", ")));
    }
    let rank = |name: &LinkName| REQUIRED_LINKS.iter().position(|required| *required == name.as_str()).unwrap_or(REQUIRED_LINKS.len());
    // A stable sort: those that are not required keep their order.
    names.sort_by_key(rank);
    if names.len() == wanted.len() && missing.is_empty() { Ok(names) } else { Err(Reported) }
}
