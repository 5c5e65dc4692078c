//! Every field of the schema, made wrong in every way that the schema knows, is refused at its place; made right, it is taken.

use std::ops::Range;

use claude_failover::spec::{Diagnostics, LoadPlace, load, schema};
use serde_json::{Value, json};

use crate::{
    effective::FULL,
    support::{place, source},
};

/// The findings about a spec that is given as JSON, which is YAML.
fn findings(spec: &Value) -> Diagnostics {
    match load(&[source("pool.yaml", spec.to_string())], &place()) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    }
}

/// A spec in which every field of the schema is written.
fn full() -> Value {
    json!({
        "apiVersion": "claude-failover/v1",
        "kind": "Pool",
        "metadata": { "name": "agents" },
        "spec": {
            "accounts": [
                { "name": "a", "home": "/a", "thresholds": { "fiveHour": 80, "weekly": 90, "headroom": 10 } },
                { "name": "b", "home": "/b" }
            ],
            "activeLink": "/link",
            "shared": { "root": "/shared", "links": ["projects", "file-history", "tasks"], "adopt": "never" },
            "thresholds": { "fiveHour": 80, "weekly": 90, "headroom": 10 },
            "quota": { "sources": ["file", "command"], "pollEvery": "5m", "staleAfter": "15m", "file": "/usage", "command": ["usage"] },
            "swap": {
                "drain": "10m", "hardDrain": "1m", "canary": 1, "batch": 4, "proveWithin": "1m", "minDwell": "45m", "failback": "never"
            },
            "agent": {
                "command": ["claude"], "permissionMode": "plan", "trustWorkdirs": true, "environment": { "A": "b" },
                "statusLine": ["line"], "stopGrace": "15s"
            },
            "sessions": [{ "names": "s-{0..3}", "workdir": "/w", "restart": "never", "adopt": false, "dispatch": true }],
            "tmux": { "socket": "agents", "width": 150, "height": 50, "historyLimit": 10000 },
            "projects": [{
                "name": "api", "path": "/api", "priority": 5, "sessions": ["s-{0..1}"], "maxInFlight": 2, "completion": "turn", "attempts": 2,
                "timeout": "1h", "lease": "5m"
            }],
            "checkpoints": { "every": "60s", "keep": 20, "maxAge": "7d" },
            "janitor": { "archiveDoneAfter": "7d", "staleMarkerAfter": "30m" },
            "prune": false,
            "maxPrune": 1
        }
    })
}

/// Every field below a schema, as JSON pointers into the full spec, with its schema.
fn fields<'a>(schema: &'a Value, pointer: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((pointer.to_owned(), schema));
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        fields(inner, &format!("{pointer}/{key}"), found);
    }
    if schema["items"].is_object() {
        fields(&schema["items"], &format!("{pointer}/0"), found);
    }
    if schema["additionalProperties"].is_object() {
        fields(&schema["additionalProperties"], &format!("{pointer}/A"), found);
    }
}

/// Values that a schema does not take.
fn wrong_values(schema: &Value) -> Vec<Value> {
    let every_kind = [json!(null), json!("a text"), json!(-7), json!(1.5), json!(true), json!([{ "a": 1 }]), json!({ "zzz": 1 })];
    let kind = schema["type"].as_str();
    let takes = |value: &Value| match kind {
        Some("object") => schema["additionalProperties"].is_object() && value.is_object(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_i64().is_some_and(|value| schema["minimum"].as_i64().is_some_and(|least| least <= value)),
        // Only the fraction among them lies in every range.
        Some("number") => value.is_f64(),
        _ => false,
    };
    let mut wrong: Vec<Value> = every_kind.into_iter().filter(|value| !takes(value)).collect();
    wrong.extend(schema["minimum"].as_f64().map(|least| json!(least - 1.0)));
    wrong.extend(schema["maximum"].as_f64().map(|most| json!(most + 1.0)));
    if schema["minItems"].as_u64() == Some(1) {
        wrong.push(json!([]));
    }
    if schema["maxItems"].is_u64() {
        wrong.push(json!(vec![json!({}); 1_001]));
    }
    if schema["maxProperties"].is_u64() {
        wrong.push((0..1_001).map(|index| (format!("V{index}"), json!("x"))).collect());
    }
    match schema["x-kind"].as_str() {
        Some("duration") => wrong.extend(["", "5", "5 minutes", "-5m", "1.5h", "400d"].map(Value::from)),
        Some("name") => wrong.extend(["", "-a", "a b", "a.b", "é"].map(Value::from).into_iter().chain([json!("x".repeat(64))])),
        Some("path") => wrong.extend(["", "~other/x", "/a\u{7}"].map(Value::from)),
        Some("names") => wrong.extend(["", "a{", "a{0..", "a{b}", "a{0..99999}", "a.{0..3}"].map(Value::from)),
        _ => {}
    }
    wrong
}

#[test]
fn the_full_spec_uses_every_field() {
    let spec = full();
    assert!(findings(&spec).is_empty(), "{}", findings(&spec).render(false));
    let mut found = Vec::new();
    fields(schema::schema(), "", &mut found);
    for (pointer, _) in found {
        assert!(spec.pointer(&pointer).is_some(), "{pointer} is not used");
    }
}

#[test]
fn every_wrong_value_is_refused_at_its_place() {
    let mut found = Vec::new();
    fields(schema::schema(), "", &mut found);
    let mut tried = 0;
    for (pointer, schema) in found {
        for wrong in wrong_values(schema) {
            let mut spec = full();
            *spec.pointer_mut(&pointer).expect("a field") = wrong.clone();
            let found = findings(&spec);
            assert!(found.errors() > 0, "{pointer}: {wrong} was taken");
            let here = stretch(&pointer, &wrong);
            let marked = found.iter().filter_map(|found| found.place.as_ref()).any(|place| here.contains(&place.span.start));
            assert!(marked, "{pointer}: {wrong} was refused elsewhere:\n{}", found.render(false));
            tried += 1;
        }
    }
    assert!(tried > 300, "only {tried} wrong values were tried");
}

/// Where a field with that value stands in the text, its key included.
fn stretch(pointer: &str, value: &Value) -> Range<usize> {
    const MARK: &str = "here it is";
    let mut spec = full();
    *spec.pointer_mut(pointer).expect("a field") = MARK.into();
    let text = spec.to_string();
    let start = text.find(&format!("\"{MARK}\"")).expect("the mark");
    let key = pointer.rsplit('/').next().unwrap_or_default();
    let before = text[..start].strip_suffix(&format!("\"{key}\":")).map_or(start, str::len);
    before..start + value.to_string().len()
}

#[test]
fn every_field_can_be_misspelt_and_left_out() {
    let mut found = Vec::new();
    fields(schema::schema(), "", &mut found);
    for (pointer, schema) in found {
        let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for key in schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()) {
            let mut spec = full();
            let map = spec.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("a map");
            let value = map.remove(key).expect("a field");
            assert_eq!(findings(&spec).errors() > 0, required.contains(&key) || needed(&pointer, key), "{pointer}: without {key}");

            let slip = format!("{key}x");
            spec.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("a map").insert(slip.clone(), value);
            let found = findings(&spec);
            let unknown = found.iter().find(|found| found.message.contains(&format!("has no field `{slip}`")));
            let unknown = unknown.unwrap_or_else(|| panic!("{pointer}: {slip} was taken"));
            let hint = unknown.hint.as_deref().unwrap_or_default();
            assert!(hint.starts_with(&format!("did you mean `{key}`")), "{pointer}: {slip}: {hint}");
            if required.contains(&key) {
                assert!(!found.iter().any(|found| found.message.contains("lacks the field")), "{pointer}: {slip} was reported twice");
            }
        }
    }
}

/// Fields that the full spec needs for another one: what the sources read from, and that the sessions which a project names take tasks.
fn needed(pointer: &str, key: &str) -> bool {
    (pointer == "/spec/quota" && ["file", "command"].contains(&key)) || (pointer == "/spec/sessions/0" && key == "dispatch")
}

#[test]
fn nothing_depends_on_where_the_spec_lies() {
    let elsewhere = LoadPlace { home: "/root".into(), base: "/".into() };
    assert!(load(&[source("x.yaml", FULL)], &elsewhere).is_ok());
}
