//! A spec as a tree of values, each with its place.

use std::fmt;

use serde_json::Number;

use crate::spec::diagnostic::Place;

/// One value of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it begins; of a map or a list in block form, where its first entry does.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the source, each key once.
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its key.
    pub(crate) key: String,
    /// Where the key is.
    pub(crate) place: Place,
    /// Its value.
    pub(crate) node: Node,
}

impl Value {
    /// What it is, for messages: "text", "a list".
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The entries of a map; none for anything else.
    pub(in crate::spec) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; none for anything else.
    pub(crate) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The text, if it is one.
    pub(in crate::spec) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The value of a key.
    pub(in crate::spec) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value at `path`.
    pub(in crate::spec) fn at(&self, path: &FieldPath) -> Option<&Node> {
        path.0.iter().try_fold(self, |node, step| step.of(node))
    }

    /// The place of the value at `path`, or of the nearest value that encloses it.
    pub(in crate::spec) fn place_of(&self, path: &FieldPath) -> &Place {
        let mut node = self;
        for step in &path.0 {
            match step.of(node) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        &node.place
    }

    /// The place of the key of the value at `path`; for an item of a list, or for what does not exist, that of [`Self::place_of`].
    pub(in crate::spec) fn key_place_of(&self, path: &FieldPath) -> &Place {
        let (last, above) = match path.0.split_last() {
            Some((Step::Field(key), above)) => (key, FieldPath(above.to_vec())),
            _ => return self.place_of(path),
        };
        let entry = self.at(&above).and_then(|node| node.entries().iter().find(|entry| entry.key == *last));
        entry.map_or_else(|| self.place_of(path), |entry| &entry.place)
    }

    /// Whether this tree lacks a value that `whole` has on the way to `path`, the value at `path` included.
    pub(in crate::spec) fn lacks_of(&self, whole: &Self, path: &FieldPath) -> bool {
        let (mut mine, mut theirs) = (self, whole);
        for step in &path.0 {
            match (step.of(theirs), step.of(mine)) {
                (None, _) => return false,
                (Some(_), None) => return true,
                (Some(their), Some(my)) => (theirs, mine) = (their, my),
            }
        }
        false
    }

    /// How many values there are in it, itself included.
    pub(in crate::spec) fn count(&self) -> usize {
        let below = match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
        };
        1_usize.saturating_add(below)
    }

    /// The value without places.
    pub(in crate::spec) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
        }
    }
}

/// One step down a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// Into the value of a key.
    Field(String),
    /// Into an item of a list, from 0.
    Item(usize),
}

impl Step {
    /// The value that this step leads to.
    fn of<'a>(&self, node: &'a Node) -> Option<&'a Node> {
        match self {
            Self::Field(key) => node.get(key),
            Self::Item(index) => node.items().get(*index),
        }
    }
}

/// The way from the root of a spec to one of its values, such as `spec.accounts[0].home`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The root of the document.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The value of `key` below this one.
    #[must_use]
    pub fn field(&self, key: &str) -> Self {
        self.then(Step::Field(key.to_owned()))
    }

    /// The item at `index`, from 0, of this list.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    /// What messages call it.
    pub(in crate::spec) fn title(&self) -> String {
        if self.0.is_empty() { "the document".to_owned() } else { format!("`{self}`") }
    }

    /// Whether it lies below `outer`.
    pub(in crate::spec) fn is_below(&self, outer: &Self) -> bool {
        self.0.len() > outer.0.len() && self.0.starts_with(&outer.0)
    }

    /// One step further.
    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(key) if index == 0 => f.write_str(key)?,
                Step::Field(key) => write!(f, ".{key}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}
