//! Plans in files. One is applied only to the world that it was made for.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CliError;
use crate::{
    model::{SpecDigest, sha256_hex},
    observed::{Seen, Snapshot},
    plan::{Memory, Phase, Planned},
    spec::Spec,
};

/// The present form of the file.
const FORMAT: u32 = 1;

/// A plan with what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavedPlan {
    /// The form of this file.
    pub format: u32,
    /// The effective spec's digest.
    pub spec: SpecDigest,
    /// SHA-256 over the facts that the plan rests on.
    pub based_on: String,
    /// The plan with its report.
    pub planned: Planned,
}

impl SavedPlan {
    /// Binds a plan to the spec and the facts of this moment.
    pub fn new(spec: &Spec, seen: &Snapshot, memory: &Memory, planned: Planned) -> Self {
        Self { format: FORMAT, spec: spec.digest(), based_on: fingerprint(spec, seen, memory), planned }
    }

    /// Reads a saved plan.
    ///
    /// # Errors
    /// [`CliError::File`], [`CliError::PlanStale`] for a file of another form.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|source| CliError::File { what: "read", path: path.to_owned(), source })?;
        let plan: Self =
            serde_json::from_str(&text).map_err(|error| CliError::Usage(format!("{} is no saved plan: {error}", path.display())))?;
        if plan.format != FORMAT {
            return Err(CliError::PlanStale(format!("it has form {}, this version writes form {FORMAT}", plan.format)));
        }
        Ok(plan)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(self).map_err(|error| CliError::Internal(error.to_string()))?;
        std::fs::write(path, json + "\n").map_err(|source| CliError::File { what: "write", path: path.to_owned(), source })
    }

    /// Whether the world and the spec are still as they were.
    ///
    /// # Errors
    /// [`CliError::PlanStale`] with what moved.
    pub fn check(&self, fresh: &Self) -> Result<(), CliError> {
        if self.spec != fresh.spec {
            return Err(CliError::PlanStale("the spec has changed since".to_owned()));
        }
        // Tasks come and go by themselves, and a claim names its instant: a plan is not stale by them.
        let fixed = |plan: &Self| {
            let actions = plan.planned.plan.actions.clone();
            actions.into_iter().filter(|(phase, _)| !matches!(phase, Phase::Settle | Phase::Dispatch | Phase::Tidy)).collect::<Vec<_>>()
        };
        if self.based_on != fresh.based_on || fixed(self) != fixed(fresh) {
            return Err(CliError::PlanStale("the host has changed since".to_owned()));
        }
        Ok(())
    }
}

/// The facts that a plan depends on, without their ages and without what changes by itself (activity, readings).
fn fingerprint(spec: &Spec, seen: &Snapshot, memory: &Memory) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let mut line = |fact: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{fact}");
    };
    for name in spec.sessions.keys().chain(memory.sessions.keys()) {
        let pane = seen.tmux.value().and_then(|tmux| tmux.panes.get(name.as_str()));
        let agent = seen.agents.get(name).and_then(Seen::value).map(|agent| (agent.process, &agent.home));
        line(format_args!(
            "session {name} {:?} {agent:?}",
            pane.map(|pane| (&pane.session_id, &pane.pane, pane.pid, pane.dead, &pane.mark))
        ));
    }
    for (link, view) in &seen.links {
        line(format_args!("link {link:?} {:?}", view.value()));
    }
    line(format_args!("root {:?} active link {:?}", seen.shared_root.value(), seen.active_link.value()));
    line(format_args!("active {:?} swap {:?}", memory.active, memory.swap.as_ref().map(|swap| (swap.plan.id, swap.stage))));
    sha256_hex(text.as_bytes())
}
