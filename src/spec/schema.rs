//! The JSON Schema of the spec, made from the types.
//!
//! # Guarantees
//! One self-contained schema in draft-07, which is what YAML editors check: no references, no `null`, a `default` for every value that
//! has one. `specs/pool.schema.json` is this schema, and a test holds it to that.

use std::sync::LazyLock;

use schemars::{Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde_json::Value as Json;

use super::document::Document;

/// The version of the format.
pub const API_VERSION: &str = "claude-failover/v1";

/// The only kind of document.
pub const KIND: &str = "Pool";

/// Our own keyword for texts of a certain kind. Not `format`, whose `duration` is that of ISO 8601.
pub(super) const TEXT_KIND: &str = "x-kind";

/// The [`TEXT_KIND`] of a duration.
pub(super) const DURATION: &str = "duration";

/// The [`TEXT_KIND`] of a path.
pub(super) const PATH: &str = "path";

/// What a duration looks like, for editors; [`super::duration::parse`] decides.
pub(super) const DURATION_PATTERN: &str = "^([0-9]+(d|h|m|s|ms))+$";

/// The schema of a whole spec.
pub fn schema() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).with_transform(tidy);
        settings.into_generator().into_root_schema_for::<Document>().to_value()
    });
    &SCHEMA
}

/// The schema of a drop-in: nothing is required of it as a whole, since the base or another drop-in may say it.
pub fn drop_in_schema() -> Json {
    let mut schema = schema().clone();
    schema["title"] = "claude-failover pool drop-in".into();
    for object in ["", "/properties/metadata", "/properties/spec"] {
        if let Some(object) = schema.pointer_mut(object).and_then(Json::as_object_mut) {
            object.retain(|key, _| key != "required");
        }
    }
    for key in ["accounts", "sessions"] {
        let list = schema.pointer_mut(&format!("/properties/spec/properties/{key}")).and_then(Json::as_object_mut);
        let item = list.and_then(|list| list.get_mut("items")).and_then(|items| items.get_mut("required"));
        if let Some(required) = item.and_then(Json::as_array_mut) {
            // What names an item is needed to find it in the base.
            required.truncate(1);
        }
    }
    schema
}

/// A schema as the text of its file.
pub fn to_text(schema: &Json) -> String {
    format!("{schema:#}\n")
}

/// Makes a generated schema say what the reader does: `null` is never a value, what is required has no default, and the defaults of a
/// map stand at its fields.
fn tidy(schema: &mut Schema) {
    transform_subschemas(&mut tidy, schema);
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Json::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let is_map = object.get("type").is_some_and(|kind| kind == "object");
    object.retain(|key, value| match key.as_str() {
        "default" => !is_map && !value.is_null(),
        // The widths of Rust's numbers mean nothing to an operator.
        "format" => false,
        _ => true,
    });
    let required: Vec<String> =
        object.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
    for key in required {
        if let Some(property) = object.get_mut("properties").and_then(|known| known.get_mut(&key)).and_then(Json::as_object_mut) {
            property.retain(|key, _| key != "default");
        }
    }
}

/// The words that a schema of words takes; `None` for any other schema.
pub(super) fn words(schema: &Json) -> Option<Vec<&str>> {
    let listed = |words: &'static str| schema.get(words).and_then(Json::as_array);
    listed("enum")
        .map(|words| words.iter().filter_map(Json::as_str).collect())
        .or_else(|| listed("oneOf").map(|choices| choices.iter().filter_map(|choice| choice["const"].as_str()).collect()))
}

/// Where fields of that name exist, in backquotes: for a field that was written at the wrong level.
pub(super) fn fields_named(root: &Json, name: &str) -> Option<String> {
    let mut homes = Vec::new();
    collect_homes(root, name, "", &mut homes);
    (!homes.is_empty()).then(|| homes.iter().map(|home| format!("`{home}`")).collect::<Vec<_>>().join(" or "))
}

/// Collects the paths of all maps that have a field of that name.
fn collect_homes(schema: &Json, name: &str, path: &str, homes: &mut Vec<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        if key == name && !path.is_empty() {
            homes.push(path.to_owned());
        }
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect_homes(inner, name, &below, homes);
        collect_homes(&inner["items"], name, &format!("{below}[]"), homes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema below `schema`, with its path.
    fn all<'a>(schema: &'a Json, path: &str, found: &mut Vec<(String, &'a Json)>) {
        found.push((path.to_owned(), schema));
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            all(inner, &format!("{path}.{key}"), found);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
                all(inner, &format!("{path}.{key}"), found);
            }
        }
    }

    #[test]
    fn only_what_the_walk_understands_is_used() {
        let known = [
            "$schema",
            "title",
            "description",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "minItems",
            "maxItems",
            "maxProperties",
            "enum",
            "oneOf",
            "minimum",
            "maximum",
            TEXT_KIND,
            "pattern",
            "default",
        ];
        let mut found = Vec::new();
        all(schema(), "", &mut found);
        assert!(found.len() > 40, "only {} schemas were found", found.len());
        for (path, schema) in found {
            for key in schema.as_object().expect("an object").keys() {
                assert!(known.contains(&key.as_str()), "{path} uses {key}");
            }
            assert!(schema["type"].is_string() || words(schema).is_some(), "{path} has no single type");
            assert!(!schema.to_string().contains("null"), "{path} takes null");
            if schema["type"] == "object" && schema.get("properties").is_some() {
                assert_eq!(schema["additionalProperties"], false, "{path} takes unknown fields");
            }
        }
    }

    #[test]
    fn the_constants_are_the_words() {
        assert_eq!(words(&schema()["properties"]["apiVersion"]), Some(vec![API_VERSION]));
        assert_eq!(words(&schema()["properties"]["kind"]), Some(vec![KIND]));
    }
}
