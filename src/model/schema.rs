//! How the words that are texts or numbers in JSON look there, for the published schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    AccountName, ConversationId, LinkName, Month, ObjectRef, Percent, PoolId, PoolName, ProjectName, SessionName, TaskId, TaskName,
    WindowKind,
};

macro_rules! texts {
    ($($kind:ident $pattern:literal $meaning:literal,)+) => {
        $(impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $meaning })
            }
        })+

        /// Each text with its pattern, for the test that each is anchored.
        #[cfg(test)]
        const PATTERNS: &[(&str, &str)] = &[$((stringify!($kind), $pattern)),+];
    };
}

texts! {
    PoolName "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" "The name of a pool.",
    AccountName "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" "The name of an account.",
    SessionName "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" "The name of a session.",
    ProjectName "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" "The name of a registered project.",
    TaskName "^[^./][^/]*[.]md$" "The file name of a task, escaped as in a URL.",
    Month "^[0-9]{4}-(0[1-9]|1[0-2])$" "A month of the calendar, in UTC.",
    TaskId "^[^/]+/[^/]+$" "A task: PROJECT/NAME.md.",
    LinkName "^[^/]{1,255}$" "The name of a shared link: one plain path component.",
    ObjectRef "^(pool|server|shared-root|active-link|state-dir|account/[^/]+|link/[^/]+/[^/]+|session/[^/]+|project/[^/]+|task/[^/]+/[^/]+)$" "What something is about, as `explain` takes it.",
    PoolId "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" "The identity of a state directory.",
    ConversationId "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" "The id of a conversation.",
    WindowKind "^(fiveHour|weekly|model:.+)$" "A usage window.",
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": Self::MAX, "description": "A share in percent, exact to 0.01." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_is_anchored() {
        for (kind, pattern) in PATTERNS {
            assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{kind}: {pattern}");
        }
    }
}
