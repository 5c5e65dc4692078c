//! The page about the fields of the spec, made from its schema, so that it cannot differ from what is read.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{
    diagnostic::{Code, Severity},
    schema::{TEXT_KIND, schema},
};

/// `docs/spec.md`: how a spec is written, every field with its type, default and meaning, and every code that a diagnostic can have.
pub fn render() -> String {
    let mut page = PREFACE.to_owned();
    page.push_str("\n## Fields\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n");
    fields(schema(), "", &mut page);
    page.push_str(BETWEEN);
    for code in Code::ALL {
        let severity = match code.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| `{code}` | {severity} | {} |", code.meaning().trim());
    }
    page
}

/// What stands before the table of fields.
const PREFACE: &str = "\
# The spec

<!-- Generated from the types; `UPDATE_GENERATED=1 cargo test --test spec` writes it anew. -->

A spec says what one pool shall be. It is one YAML file, or a base with drop-ins:

- `pool.yaml`, with all `pool.d/*.yaml` beside it in the order of their names. A spec of another name, such as `web.yaml`, has its drop-ins
  in `web.d/`. Instead of the file its directory can be given.
- The file is looked for in this order: `--spec PATH`, `CLAUDE_FAILOVER_SPEC`, `./pool.yaml`,
  `$XDG_CONFIG_HOME/claude-failover/pool.yaml` (by default below `~/.config`).
- Maps are merged key by key, accounts by `name`, lines of sessions by `names`. A drop-in adds values and never overrides one: the same
  value in two files is an error that names both places. Only `apiVersion` and `kind` may stand in every file.

The first line of each example, `# yaml-language-server: $schema=…`, gives editors the schema: `specs/pool.schema.json` for a whole
spec, `specs/pool.drop-in.schema.json` for a drop-in.

- A path is absolute, or begins with `~/`, or is relative to the directory of the spec. `..` is taken away in text.
- A duration is whole numbers with units, the largest first: `90s`, `5m`, `1h30m`, `7d`. The units are `d`, `h`, `m`, `s` and `ms`.
- A name has 1 to 63 characters of A to Z, a to z, 0 to 9, `_` and `-`; the first is a letter or a digit.
- A pattern of names may hold ranges and lists in braces: `ccl-{0..9}` gives ten names, `{api,web}-{1..3}` six, `{01..10}` keeps its
  zeros. A pool has at most 10,000 sessions.
- A file has at most 256 KiB, 15,000 keys and values, 32 levels and 64 aliases; all files together have at most 10,000 values.

`claude-failover show --effective` prints the whole spec with its defaults and where each value came from.
";

/// What stands between the table of fields and the table of codes.
const BETWEEN: &str = "
## Diagnostics

Every mistake is reported in one go, with its place. An error refuses the spec, and the last good one stays in force; a warning does not.

| code | | meaning |
| --- | --- | --- |
";

/// The rows of all fields of a map, each followed by those below it.
fn fields(map: &Json, path: &str, page: &mut String) {
    let required: Vec<&str> = map["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    for (key, field) in map["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let default = match (&field["default"], required.contains(&key.as_str())) {
            (_, true) => "required".to_owned(),
            (Json::Null, _) => String::new(),
            (Json::Array(items), _) if items.is_empty() => String::new(),
            (default, _) => format!("`{}`", plain(default)),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| `{path}` | {} | {default} | {} |", kind(field), meaning(field));
        fields(field, &path, page);
        fields(&field["items"], &format!("{path}[]"), page);
    }
}

/// What a field takes, in words.
fn kind(field: &Json) -> String {
    match (field["type"].as_str(), field[TEXT_KIND].as_str()) {
        _ if choices(field).is_some() => "word".to_owned(),
        (Some("string"), Some("names")) => "pattern of names".to_owned(),
        (Some("string"), Some(kind)) => kind.to_owned(),
        (Some("string"), None) => "text".to_owned(),
        (Some("integer" | "number"), _) => {
            let whole = if field["type"] == "integer" { "whole number" } else { "number" };
            match (&field["minimum"], &field["maximum"]) {
                (Json::Number(least), Json::Number(most)) => format!("{whole}, {least} to {most}"),
                _ => whole.to_owned(),
            }
        }
        (Some("boolean"), _) => "`true` or `false`".to_owned(),
        (Some("array"), _) => format!("list of {}s", kind(&field["items"])),
        (Some("object"), _) if field["additionalProperties"].is_object() => "map of texts".to_owned(),
        _ => "map".to_owned(),
    }
}

/// What a field means, with the words that it takes, on one line of a table.
fn meaning(field: &Json) -> String {
    let mut text = field["description"].as_str().unwrap_or_default().to_owned();
    for (word, meaning) in choices(field).or_else(|| choices(&field["items"])).into_iter().flatten() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "<br>`{word}`: {meaning}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The words that a field takes, each with its meaning.
fn choices<'a>(field: &'a Json) -> Option<Vec<(&'a str, &'a str)>> {
    let pair = |choice: &'a Json| Some((choice["const"].as_str()?, choice["description"].as_str()?));
    Some(field["oneOf"].as_array()?.iter().filter_map(pair).collect())
}

/// A default as YAML writes it in one line.
fn plain(default: &Json) -> String {
    match default {
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Json::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        other => other.to_string(),
    }
}
