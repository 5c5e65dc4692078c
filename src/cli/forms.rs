//! The forms of data for programs, as JSON Schemas made from the types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value as Json;

use super::saved_plan::SavedPlan;
use crate::{host::intake::status_file::AgentStatus, observed::Checkpoint, plan::Planned, status::Status};

/// Each file below `specs/` with its schema, in draft-07 like that of the spec.
pub fn schemas() -> [(&'static str, Json); 5] {
    [
        (
            "checkpoint.schema.json",
            schema::<Checkpoint>("A checkpoint, as it stands under `checkpoint` in its file and in what `checkpoint` prints"),
        ),
        ("plan.schema.json", schema::<Planned>("What `plan -o json` prints")),
        ("saved-plan.schema.json", schema::<SavedPlan>("What `plan --out` saves")),
        ("agent-status.schema.json", schema::<AgentStatus>("What `.agent-queue/status.json` of a project holds")),
        ("status.schema.json", schema::<Status>("What `status -o json` prints")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Json {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::render::goldens::{status_of, with_usage},
        plan::tests::world::World,
        spec::schema::to_text,
        status::SpecState,
    };

    #[test]
    fn the_schemas_of_the_forms_are_current() {
        for (name, schema) in schemas() {
            let path = format!("{}/specs/{name}", env!("CARGO_MANIFEST_DIR"));
            let wanted = to_text(&schema);
            if std::env::var_os("UPDATE_GENERATED").is_some() {
                std::fs::write(&path, &wanted).expect("the file can be written");
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            let diff = similar::TextDiff::from_lines(&found, &wanted);
            assert!(found == wanted, "specs/{name} is not current\n{}", diff.unified_diff().header("found", "wanted"));
        }
    }

    /// The schema that a reference leads to.
    fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
        target.map_or(schema, |pointer| resolved(root, root.pointer(pointer).expect("the target of a reference")))
    }

    /// Whether a value has only what the schema tells of, and all that it requires. Patterns and bounds are not looked at.
    fn fits(root: &Json, schema: &Json, value: &Json) -> Result<(), String> {
        let schema = resolved(root, schema);
        for word in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(word).and_then(Json::as_array) {
                let fitting = choices.iter().filter(|choice| fits(root, choice, value).is_ok()).count();
                return if fitting > 0 { Ok(()) } else { Err(format!("{value} fits none of {choices:?}")) };
            }
        }
        if let Some(all) = schema.get("allOf").and_then(Json::as_array) {
            return all.iter().try_for_each(|one| fits(root, one, value));
        }
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            return if words.contains(value) { Ok(()) } else { Err(format!("{value} is none of {words:?}")) };
        }
        if let Some(word) = schema.get("const") {
            return if word == value { Ok(()) } else { Err(format!("{value} is not {word}")) };
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        let kind = match value {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(number) if number.is_f64() => "number",
            Json::Number(_) => "integer",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        };
        let fitting = kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number"));
        if !fitting {
            return Err(format!("{value} is no {kinds:?}"));
        }
        match value {
            Json::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| match &schema["items"] {
                Json::Array(places) => fits(root, places.get(at).ok_or("too many items")?, item),
                of_all => fits(root, of_all, item),
            }),
            Json::Object(fields) => {
                let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
                if let Some(missing) = required.into_iter().find(|key| !fields.contains_key(*key)) {
                    return Err(format!("{missing} is missing"));
                }
                fields.iter().try_for_each(|(key, inner)| {
                    let known = schema["properties"].get(key).or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()));
                    fits(root, known.ok_or_else(|| format!("{key} is not told of"))?, inner).map_err(|why| format!("{key}: {why}"))
                })
            }
            _ => Ok(()),
        }
    }

    #[test]
    fn what_is_printed_fits_its_schema() {
        let [_, (_, plan), (_, saved), _, (_, of_status)] = schemas();
        for world in [World::bare(2), World::converged(2)] {
            let mut world = world;
            world.home("backup").exists = false;
            let planned = world.plan();
            assert_eq!(fits(&plan, &plan, &serde_json::to_value(&planned).expect("JSON")), Ok(()));
            let file = SavedPlan::new(&world.spec, &world.seen, &world.memory, planned);
            assert_eq!(fits(&saved, &saved, &serde_json::to_value(&file).expect("JSON")), Ok(()));
        }
        let mut swapping = with_usage(2);
        swapping.open_swap(&["s-0"]);
        for world in [World::bare(1), with_usage(2), swapping] {
            let status = serde_json::to_value(status_of(&world, &SpecState::default())).expect("JSON");
            assert_eq!(fits(&of_status, &of_status, &status), Ok(()));
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let [_, (_, plan), ..] = schemas();
        let mut value = serde_json::to_value(World::bare(1).plan()).expect("JSON");
        value["plan"]["actions"][0][1]["verb"] = "explode".into();
        assert!(fits(&plan, &plan, &value).is_err());
    }
}
