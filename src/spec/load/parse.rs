//! Text to tree: the only code that knows the YAML library.
//!
//! # Guarantees
//! A hostile file costs a bounded amount of time and memory: bytes, depth, nodes, aliases and events are capped before anything is built.

use std::{fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_yaml::{Location, MessageFormatter as _, Spanned};

use super::tree::{Entry, Node, Value};
use crate::spec::diagnostic::{Code, Diagnostic, Findings, Place, SourceText, escaped, quoted};

/// The most bytes that one source may have. A pool of a hundred accounts and a thousand lines of sessions stays far below.
pub const MAX_SOURCE_BYTES: usize = 256 * 1024;

/// How deep maps and lists may nest; a spec needs six levels.
const MAX_DEPTH: usize = 32;

/// The most keys and values of one source, repeated ones counted each time.
const MAX_NODES: usize = 15_000;

/// The most aliases and the most anchors of one source.
const MAX_ALIASES: usize = 64;

/// Parses one source. `None` after a finding was reported; a duplicate key is reported, its first value kept and the tree returned.
pub(super) fn parse(source: &SourceText, findings: &mut Findings) -> Option<Node> {
    let file: Arc<str> = source.name.as_str().into();
    if source.text.len() > MAX_SOURCE_BYTES {
        let message = format!("this file has {} bytes; at most {MAX_SOURCE_BYTES} are read", source.text.len());
        let place = Place { file, line: 1, column: 1, span: 0..0 };
        findings.report(Diagnostic::new(Code::TooLarge, message).at(place));
        return None;
    }
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(&source.text, options()) {
        Ok(raw) => Some(Reader { file, text: &source.text, findings }.node(raw)),
        Err(error) => {
            findings.report(refusal(&error, &file, &source.text));
            None
        }
    }
}

/// How the library is asked to read: bounded, YAML 1.2 booleans, nothing guessed from odd numbers, no unknown tags, duplicate keys passed
/// through so that all of them are reported and not only the first.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_depth: MAX_DEPTH,
            max_events: 2 * MAX_NODES,
            max_inclusion_depth: 0,
            max_merge_keys: MAX_ALIASES,
            max_nodes: MAX_NODES,
            max_recorded_anchor_events: MAX_NODES / 8,
        },
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        emit_comments: false,
        leading_zero_numbers_as_strings: true,
        non_finite_float_policy: serde_yaml::NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// What the library says, as a finding.
fn refusal(error: &serde_yaml::Error, file: &Arc<str>, text: &str) -> Diagnostic {
    use serde_yaml::Error;

    let error = error.without_snippet();
    let place = error.location().map(|location| place(file, text, location));
    let said = serde_yaml::UserMessageFormatter.format_message(error);
    let too_complex = "this file nests or repeats more than a spec ever does";
    match error {
        Error::MultipleDocuments { .. } => Diagnostic::new(Code::NotYaml, "a second document begins here; a file holds one")
            .hint("remove the `---`, or put the second document into a file of its own"),
        Error::Budget { .. }
        | Error::AliasError { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Diagnostic::new(Code::TooComplex, too_complex)
            .hint(format!("at most {MAX_NODES} keys and values, {MAX_DEPTH} levels and {MAX_ALIASES} aliases are read")),
        _ if said.contains("recursion limit") => Diagnostic::new(Code::TooComplex, too_complex)
            .hint(format!("at most {MAX_NODES} keys and values, {MAX_DEPTH} levels and {MAX_ALIASES} aliases are read")),
        _ if said.contains("a tab") || said.contains("tabs") => {
            Diagnostic::new(Code::NotYaml, escaped(&said)).hint("YAML is indented with spaces; replace the tab")
        }
        _ => Diagnostic::new(Code::NotYaml, escaped(&said)),
    }
    .at(place)
}

/// The library's location as ours. Its scanner gives no byte offsets, so that they are counted here.
fn place(file: &Arc<str>, text: &str, location: Location) -> Place {
    let span = location.span();
    let start = span.byte_offset().and_then(|offset| usize::try_from(offset).ok()).unwrap_or_else(|| {
        let characters = usize::try_from(span.offset()).unwrap_or(usize::MAX);
        text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
    });
    let start = floor_boundary(text, start);
    let length = span.byte_len().unwrap_or_else(|| span.len());
    let end = floor_boundary(text, start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)));
    let at_least_one = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Place { file: file.clone(), line: at_least_one(location.line()), column: at_least_one(location.column()), span: start..end.max(start) }
}

/// The last beginning of a character at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Gives the library's values their places.
struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    /// The place where a value stands; for one that came through an alias, the place of its definition.
    fn place(&self, location: Location) -> Place {
        place(&self.file, self.text, location)
    }

    /// One value and all below it. The depth was bounded by the parser.
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let place = self.place(raw.defined);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(truth) => Value::Bool(truth),
            Raw::Number(number) => Value::Number(number),
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(pairs) => Value::Map(self.entries(pairs)),
        };
        Node { place, value }
    }

    /// The entries of a map, the first of each key.
    fn entries(&mut self, pairs: Vec<(Spanned<String>, Spanned<Raw>)>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(pairs.len());
        let mut first = std::collections::BTreeMap::<String, Place>::new();
        for (key, value) in pairs {
            let place = self.place(key.defined);
            let node = self.node(value);
            if let Some(earlier) = first.get(&key.value) {
                let message = format!("the key {} stands twice in this map", quoted(&key.value));
                let diagnostic = Diagnostic::new(Code::DuplicateKey, message).at(place).related(earlier.clone(), "first here");
                self.findings.report(diagnostic.hint("keep one of the two"));
            } else {
                first.insert(key.value.clone(), place.clone());
                entries.push(Entry { key: key.value, place, node });
            }
        }
        entries
    }
}

/// A value as the library hands it over.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

/// Takes whatever comes.
struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        // Numbers without end come as text, see `options`.
        Ok(Number::from_f64(number).map_or(Raw::Null, Raw::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}
