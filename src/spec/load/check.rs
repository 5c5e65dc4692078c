//! The walk over the schema: every field that is unknown, absent or of the wrong kind, in one go.
//!
//! # Guarantees
//! What is returned holds only values that the schema accepts, so that the rules can go on with what is right: a value that is not right
//! is left out. Items of a list keep their numbers: a map that is not right stays as an empty one, and a list of plain values with a wrong
//! one among them is left out as a whole.
//!
//! # Assumes
//! The schema uses the subset that `spec::schema` makes: `type`, `properties`, `required`, `additionalProperties`, `items`, `minItems`,
//! `maxItems`, `maxProperties`, `enum`, `oneOf` of constants, `minimum`, `maximum` and `x-kind`. `pattern` is for editors; the rules check texts, with
//! better words than a pattern has.

use serde_json::Value as Json;

use super::tree::{Entry, FieldPath, Node, Value};
use crate::spec::{
    diagnostic::{Code, Diagnostic, Findings, Place, nearest, quoted},
    schema,
};

/// Checks `root` against `schema` and returns what is right of it. Without `complete`, absent fields are no mistake: a part of the spec
/// could not be read.
pub(super) fn check(root: &Node, schema: &Json, complete: bool, findings: &mut Findings) -> Node {
    let mut walk = Walk { schema, complete, findings };
    let empty = Node { place: root.place.clone(), value: Value::Map(Vec::new()) };
    walk.value(root, schema, &FieldPath::root(), &root.place).unwrap_or(empty)
}

/// One walk.
struct Walk<'a> {
    schema: &'a Json,
    complete: bool,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    /// Checks one value. `key` is the place of its key, to which a finding about what it lacks belongs. `None` when it is of no use.
    fn value(&mut self, node: &Node, schema: &Json, path: &FieldPath, key: &Place) -> Option<Node> {
        if let Some(words) = schema::words(schema) {
            return self.word(node, &words, path, key);
        }
        let kept = |value| Node { place: node.place.clone(), value };
        match (schema["type"].as_str(), &node.value) {
            (Some("object"), Value::Map(entries)) => Some(kept(Value::Map(self.map(entries, schema, path, key)))),
            (Some("array"), Value::List(items)) => self.list(items, schema, path, &node.place).map(|items| kept(Value::List(items))),
            (Some("string"), Value::Text(_)) | (Some("boolean"), Value::Bool(_)) => Some(node.clone()),
            (Some("number"), Value::Number(_)) => self.number(node, schema, path),
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => self.number(node, schema, path),
            (wanted, _) => {
                self.wrong_type(node, wanted.unwrap_or_default(), schema, path, key);
                None
            }
        }
    }

    /// Checks a map: known keys go on, unknown ones and absent required ones are reported.
    fn map(&mut self, entries: &[Entry], schema: &Json, path: &FieldPath, place: &Place) -> Vec<Entry> {
        self.length(entries.len(), (0, limit(schema, "maxProperties").unwrap_or(usize::MAX)), path, place);
        let properties = schema["properties"].as_object();
        let mut kept = Vec::with_capacity(entries.len());
        let mut unknown = Vec::new();
        for entry in entries {
            if self.findings.is_full() {
                break;
            }
            let inner = properties.and_then(|known| known.get(&entry.key));
            match inner.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object())) {
                Some(inner) => {
                    if let Some(node) = self.value(&entry.node, inner, &path.field(&entry.key), &entry.place) {
                        kept.push(Entry { key: entry.key.clone(), place: entry.place.clone(), node });
                    }
                }
                None => unknown.push(entry),
            }
        }
        let known: Vec<&str> = properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let is_free = |key: &str| !entries.iter().any(|entry| entry.key == key);
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut missing: Vec<&str> = required.filter(|key| is_free(key)).collect();
        let free: Vec<&str> = if unknown.is_empty() { Vec::new() } else { known.iter().copied().filter(|key| is_free(key)).collect() };
        for entry in unknown {
            self.unknown(entry, &known, &free, path, &mut missing);
        }
        if self.complete {
            for key in missing {
                self.missing(key, path, place);
            }
        }
        kept
    }

    /// Reports an unknown field. One that looks like a required field that is absent is one mistake and not two, so that field is taken
    /// out of `missing`. `free` are the known fields that are not there.
    fn unknown(&mut self, entry: &Entry, known: &[&str], free: &[&str], path: &FieldPath, missing: &mut Vec<&str>) {
        if self.findings.is_full() {
            return;
        }
        let message = format!("{} has no field {}", path.title(), quoted(&entry.key));
        let hint = if let Some(meant) = nearest(&entry.key, missing.iter().copied()) {
            missing.retain(|key| *key != meant);
            format!("did you mean `{meant}`, which is required and absent?")
        } else if let Some(meant) = nearest(&entry.key, free.iter().copied()) {
            format!("did you mean `{meant}`?")
        } else if let Some(homes) = schema::fields_named(self.schema, &entry.key) {
            format!("`{}` belongs under {homes}", entry.key)
        } else {
            format!("this version reads {} there", listed(known, "and"))
        };
        self.findings.report(Diagnostic::new(Code::UnknownField, message).at(entry.place.clone()).hint(hint));
    }

    /// Reports a required field that is absent.
    fn missing(&mut self, key: &str, path: &FieldPath, place: &Place) {
        let message = format!("{} lacks the field `{key}`", path.title());
        let diagnostic = Diagnostic::new(Code::MissingField, message).at(place.clone());
        let hint = match key {
            "apiVersion" => format!("write `apiVersion: {}` first", schema::API_VERSION),
            "kind" => format!("write `kind: {}`", schema::KIND),
            _ => format!("add `{key}:`"),
        };
        self.findings.report(diagnostic.hint(hint));
    }

    /// Checks a list.
    fn list(&mut self, items: &[Node], schema: &Json, path: &FieldPath, place: &Place) -> Option<Vec<Node>> {
        let bounds = (limit(schema, "minItems").unwrap_or(0), limit(schema, "maxItems").unwrap_or(usize::MAX));
        if !self.length(items.len(), bounds, path, place) {
            return None;
        }
        let inner = &schema["items"];
        let mut checked = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            checked.push(match self.value(item, inner, &path.item(index), &item.place) {
                None if inner["type"] == "object" => Some(Node { place: item.place.clone(), value: Value::Map(Vec::new()) }),
                item => item,
            });
        }
        checked.into_iter().collect()
    }

    /// Checks how many entries there are.
    fn length(&mut self, found: usize, (least, most): (usize, usize), path: &FieldPath, place: &Place) -> bool {
        let right = (least..=most).contains(&found);
        if !right {
            let wanted = if found < least { format!("at least {least}") } else { format!("at most {most}") };
            let message = format!("`{path}` has {found} entries; it takes {wanted}");
            self.findings.report(Diagnostic::new(Code::WrongLength, message).at(place.clone()));
        }
        right
    }

    /// Checks a number against its range.
    fn number(&mut self, node: &Node, schema: &Json, path: &FieldPath) -> Option<Node> {
        let Value::Number(number) = &node.value else { return None };
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        let value = number.as_f64().unwrap_or(f64::NAN);
        if least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
            return Some(node.clone());
        }
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (_, most) => format!("at most {}", most.unwrap_or(f64::MAX)),
        };
        let message = format!("`{path}` is {number}; it must be {range}");
        self.findings.report(Diagnostic::new(Code::OutOfRange, message).at(node.place.clone()));
        None
    }

    /// Checks a word against those that the field takes.
    fn word(&mut self, node: &Node, words: &[&str], path: &FieldPath, key: &Place) -> Option<Node> {
        let Some(found) = node.text() else {
            self.wrong_type(node, "string", &Json::Null, path, key);
            return None;
        };
        if words.contains(&found) {
            return Some(node.clone());
        }
        let message = format!("`{path}` is {}; it takes {}", quoted(found), listed(words, "or"));
        let diagnostic = Diagnostic::new(Code::UnknownWord, message).at(node.place.clone());
        self.findings.report(match nearest(found, words.iter().copied()) {
            Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
            None => diagnostic,
        });
        None
    }

    /// Reports a value of the wrong kind, with a hint for the slips that YAML invites.
    fn wrong_type(&mut self, node: &Node, wanted: &str, schema: &Json, path: &FieldPath, key: &Place) {
        let takes = match wanted {
            "object" => "a map",
            "array" => "a list",
            "string" => "text",
            "integer" => "a whole number",
            "number" => "a number",
            _ => "true or false",
        };
        // A variable may hold a secret: neither it nor its line is shown.
        let secret = path.is_below(&FieldPath::root().field("spec").field("agent").field("environment"));
        let found = match &node.value {
            other if secret => other.kind().to_owned(),
            Value::Number(number) => format!("the number {number}"),
            Value::Bool(truth) => format!("`{truth}`"),
            Value::Text(text) => format!("the text {}", quoted(text)),
            other => other.kind().to_owned(),
        };
        let mut diagnostic = Diagnostic::new(Code::WrongType, format!("{} is {found}; it takes {takes}", path.title()));
        if secret {
            diagnostic = diagnostic.at(key.clone()).concealed().hint("put it in quotes");
        } else {
            diagnostic = diagnostic.at(node.place.clone());
            diagnostic.hint = hint_for_slip(node, wanted, schema[schema::TEXT_KIND].as_str());
        }
        self.findings.report(diagnostic);
    }
}

/// A limit of a schema.
fn limit(schema: &Json, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|number| usize::try_from(number).ok())
}

/// What to do about a value of the wrong kind.
fn hint_for_slip(node: &Node, wanted: &str, text_kind: Option<&str>) -> Option<String> {
    let hint = match (wanted, &node.value) {
        ("string", Value::Number(number)) if text_kind == Some(schema::DURATION) => {
            format!("a duration has a unit: `{number}s`, `{number}m` or `{number}h`")
        }
        ("string", Value::Number(number)) => format!("put it in quotes: \"{number}\""),
        ("string", Value::Bool(truth)) => format!("put it in quotes: \"{truth}\""),
        ("string", Value::Null) if text_kind == Some(schema::PATH) && !node.place.span.is_empty() => {
            "a lone ~ means nothing in YAML; write ~/ for the home directory".to_owned()
        }
        (_, Value::Null) => "give it a value, or remove the key".to_owned(),
        ("boolean", Value::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" => "write true".to_owned(),
            "no" | "off" | "n" | "false" => "write false".to_owned(),
            _ => return None,
        },
        ("number" | "integer", Value::Text(text)) => {
            let bare = text.trim_end_matches('%').trim();
            bare.parse::<f64>().ok().filter(|number| number.is_finite())?;
            format!("write the bare number: {bare}")
        }
        ("integer", Value::Number(_)) => "write it without a fraction".to_owned(),
        ("array", Value::Text(_) | Value::Number(_) | Value::Bool(_)) => "write a list, even of one: [...]".to_owned(),
        ("array", Value::Map(_)) => "begin each entry with `- `".to_owned(),
        _ => return None,
    };
    Some(hint)
}

/// Words in backquotes: `a`, `b` or `c`.
fn listed(words: &[&str], last_but_one: &str) -> String {
    match words {
        [] => "none".to_owned(),
        [only] => format!("`{only}`"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|word| format!("`{word}`")).collect();
            format!("{} {last_but_one} `{last}`", most.join(", "))
        }
    }
}
