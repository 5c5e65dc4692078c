//! Where each value of a spec came from.

use std::{collections::BTreeMap, fmt};

use super::{
    diagnostic::Place,
    load::{FieldPath, Node, Value},
};

/// Where one value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Nobody wrote it.
    Default,
    /// It stands in a source.
    Written(&'a Place),
}

impl fmt::Display for Origin<'_> {
    /// `default` or `FILE:LINE:COLUMN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Written(place) => place.fmt(f),
        }
    }
}

/// The origins of all values that were written. What is not among them is a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<FieldPath, Place>);

impl Origins {
    /// The origins of every value of a checked tree, maps and lists included.
    pub(super) fn of_tree(root: &Node) -> Self {
        let mut origins = Self::default();
        origins.collect(root, &FieldPath::root());
        origins
    }

    /// Where the value at `path` came from.
    pub fn of(&self, path: &FieldPath) -> Origin<'_> {
        self.0.get(path).map_or(Origin::Default, Origin::Written)
    }

    /// The place of the first of `paths` that was written.
    pub(super) fn of_first(&self, paths: &[FieldPath]) -> Origin<'_> {
        paths.iter().find_map(|path| self.0.get(path)).map_or(Origin::Default, Origin::Written)
    }

    /// Adds a value and all below it.
    fn collect(&mut self, node: &Node, path: &FieldPath) {
        self.0.insert(path.clone(), node.place.clone());
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|entry| self.collect(&entry.node, &path.field(&entry.key))),
            Value::List(items) => items.iter().enumerate().for_each(|(index, item)| self.collect(item, &path.item(index))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }
}
