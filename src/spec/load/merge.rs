//! Drop-ins: several trees become one.
//!
//! # Guarantees
//! Maps are merged key by key at every depth, lists of maps by the name of their items. Nothing is overridden: a value that two sources
//! set is reported with both places, whichever is equal to which. Only `apiVersion` and `kind` may stand in every file, since they say
//! what the file is.

use std::collections::BTreeMap;

use super::tree::{Entry, FieldPath, Node, Value};
use crate::spec::diagnostic::{Code, Diagnostic, Findings, Place};

/// The keys that every source may repeat with the same value.
const HEADER: [&str; 2] = ["apiVersion", "kind"];

/// The keys by which items of a list are the same item: accounts by `name`, lines of sessions by `names`.
const ITEM_KEYS: [&str; 2] = ["name", "names"];

/// Merges `trees`, the base first. `None` when there are none.
pub(super) fn merge(trees: Vec<Node>, findings: &mut Findings) -> Option<Node> {
    trees.into_iter().reduce(|mut base, more| {
        merge_roots(&mut base, more, findings);
        base
    })
}

/// Merges two documents.
fn merge_roots(base: &mut Node, more: Node, findings: &mut Findings) {
    match (&mut base.value, more.value) {
        (Value::Map(base), Value::Map(more)) => {
            let repeated = |entry: &Entry| {
                HEADER.contains(&entry.key.as_str())
                    && base.iter().any(|known| known.key == entry.key && known.node.value == entry.node.value)
            };
            let more = more.into_iter().filter(|entry| !repeated(entry)).collect();
            merge_entries(base, more, &FieldPath::root(), findings);
        }
        // A document without content adds nothing.
        (_, Value::Null) => {}
        (Value::Null, value) => *base = Node { place: more.place, value },
        _ => report_twice(&base.place, &more.place, &FieldPath::root(), findings),
    }
}

/// Merges the entries of two maps into the first.
fn merge_entries(base: &mut Vec<Entry>, more: Vec<Entry>, path: &FieldPath, findings: &mut Findings) {
    let known: BTreeMap<String, usize> = base.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
    for entry in more {
        match known.get(&entry.key) {
            Some(index) => {
                let path = path.field(&entry.key);
                merge_values(&mut base[*index], entry, &path, findings);
            }
            None => base.push(entry),
        }
    }
}

/// Merges the value that two sources give for one key into the first.
fn merge_values(known: &mut Entry, entry: Entry, path: &FieldPath, findings: &mut Findings) {
    match (&mut known.node.value, entry.node.value) {
        (Value::Map(base), Value::Map(more)) => merge_entries(base, more, path, findings),
        (Value::List(base), Value::List(more)) if is_keyed(base, &more) => merge_items(base, more, path, findings),
        _ => report_twice(&known.place, &entry.place, path, findings),
    }
}

/// Whether two lists hold maps only, and at least one.
fn is_keyed(base: &[Node], more: &[Node]) -> bool {
    let mut items = base.iter().chain(more).peekable();
    items.peek().is_some() && items.all(|item| matches!(item.value, Value::Map(_)))
}

/// Merges the items of two lists of maps into the first: items of one name become one, the others are appended. Items of one name within
/// one source are left alone; that is a mistake of its own, which the rules report.
fn merge_items(base: &mut Vec<Node>, more: Vec<Node>, path: &FieldPath, findings: &mut Findings) {
    let mut known = BTreeMap::new();
    for (index, item) in base.iter().enumerate() {
        if let Some(key) = item_key(item) {
            known.entry(key).or_insert(index);
        }
    }
    for item in more {
        let same = item_key(&item).and_then(|key| known.get(&key).copied());
        match (same.map(|index| (index, &mut base[index].value)), item.value) {
            (Some((index, Value::Map(known))), Value::Map(mut entries)) => {
                entries.retain(|entry| !ITEM_KEYS.contains(&entry.key.as_str()));
                merge_entries(known, entries, &path.item(index), findings);
            }
            (_, value) => base.push(Node { place: item.place, value }),
        }
    }
}

/// What names an item of a list: the key and its text.
fn item_key(item: &Node) -> Option<(&'static str, String)> {
    ITEM_KEYS.into_iter().find_map(|key| Some((key, item.get(key)?.text()?.to_owned())))
}

/// Reports a value that two sources set.
fn report_twice(first: &Place, second: &Place, path: &FieldPath, findings: &mut Findings) {
    let diagnostic = Diagnostic::new(Code::SetTwice, format!("{} is set in two files", path.title()))
        .at(second.clone())
        .related(first.clone(), "also set here");
    findings.report(diagnostic.hint("keep it in one file: a drop-in adds values, it never overrides one"));
}
