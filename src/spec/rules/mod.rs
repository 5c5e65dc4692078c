//! What a spec must be beyond its shape, one file per subject. Each rule turns a part of the document into its checked form, and reports
//! what stands in the way.
//!
//! # Guarantees
//! All rules are run on all that is right in shape, so that every mistake is reported in one go. A value that was already refused for its
//! shape is not judged again through the default that stands in for it.

mod accounts;
mod agent;
mod links;
mod paths;
mod projects;
mod quota;
mod sessions;
mod swap;
mod thresholds;
mod tmux;

use std::time::Duration;

pub use agent::managed_variable;
pub use links::REQUIRED_LINKS;
pub use sessions::SessionGroup;

use super::{
    diagnostic::{Code, Diagnostic, Findings, Place, quoted},
    document::Document,
    duration,
    load::{FieldPath, LoadPlace, Node},
    pool::{Spec, Thresholds},
};
use crate::model::PoolName;

/// A part of a spec in its checked form, or the word that why not was reported.
type Checked<T> = Result<T, Reported>;

/// Why a part of a spec is refused was reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// What the rules make of a document.
pub(super) struct Resolved {
    pub(super) spec: Spec,
    pub(super) thresholds: Thresholds,
    pub(super) groups: Vec<SessionGroup>,
}

/// Runs all rules. `written` is what the sources say, `checked` the part of it that is right in shape and that `document` was made from.
pub(super) fn resolve(
    document: &Document,
    written: &Node,
    checked: &Node,
    place: &LoadPlace,
    findings: &mut Findings,
) -> Checked<Resolved> {
    let mut rules = Rules { written, checked, place, findings };
    let at = FieldPath::root().field("spec");
    let wanted = &document.spec;
    let pool = rules.pool_name(document);
    let thresholds = thresholds::resolve(&wanted.thresholds, &at.field("thresholds"), &mut rules);
    let accounts = accounts::resolve(&wanted.accounts, thresholds.as_ref().ok(), &at.field("accounts"), &mut rules);
    let shared = links::resolve(&wanted.shared, &at.field("shared"), &mut rules);
    let active_link = paths::resolve_optional(wanted.active_link.as_deref(), &at.field("activeLink"), &mut rules);
    paths::check_overlaps(&accounts, shared.as_ref().ok(), active_link.as_ref().ok().and_then(Option::as_deref), &at, &mut rules);
    let quota = quota::resolve(&wanted.quota, &at.field("quota"), &mut rules);
    let swap = swap::resolve(&wanted.swap, quota.as_ref().ok(), &at.field("swap"), &mut rules);
    let agent = agent::resolve(&wanted.agent, &at.field("agent"), &mut rules);
    let sessions = sessions::resolve(&wanted.sessions, &at.field("sessions"), &mut rules);
    let tmux = tmux::resolve(&wanted.tmux, pool.as_ref().ok(), &at.field("tmux"), &mut rules);
    let declared = sessions.as_ref().ok().map(|(sessions, _)| sessions);
    let projects = projects::resolve(&wanted.projects, declared, &at.field("projects"), &mut rules);
    let checkpoints = projects::checkpoints(&wanted.checkpoints, &at.field("checkpoints"), &mut rules);
    let janitor = projects::janitor(&wanted.janitor, &at.field("janitor"), &mut rules);
    let (sessions, groups) = sessions?;
    let accounts: Checked<Vec<_>> = accounts.into_iter().map(|account| account.value).collect();
    let spec = Spec {
        pool: pool?,
        accounts: accounts?,
        active_link: active_link?,
        shared: shared?,
        quota: quota?,
        swap: swap?,
        agent: agent?,
        sessions,
        tmux: tmux?,
        projects: projects?,
        checkpoints: checkpoints?,
        janitor: janitor?,
        prune: wanted.prune,
        max_prune: wanted.max_prune,
    };
    Ok(Resolved { spec, thresholds: thresholds?, groups })
}

/// What every rule works with.
struct Rules<'a> {
    written: &'a Node,
    checked: &'a Node,
    place: &'a LoadPlace,
    findings: &'a mut Findings,
}

impl Rules<'_> {
    /// Reports a mistake at a field, or at what encloses it when it is a default.
    fn refuse(&mut self, code: Code, at: &FieldPath, message: impl Into<String>, hint: impl Into<String>) -> Reported {
        let diagnostic = Diagnostic::new(code, message).at(self.place(at)).hint(hint);
        self.findings.report(diagnostic);
        Reported
    }

    /// The place of a field, or of what encloses it.
    fn place(&self, at: &FieldPath) -> Place {
        self.checked.place_of(at).clone()
    }

    /// Whether a field was written.
    fn is_written(&self, at: &FieldPath) -> bool {
        self.written.at(at).is_some()
    }

    /// Fails for a field that was written and refused for its shape, alone or with what encloses it: the document holds a default in its
    /// place, which says nothing.
    fn in_shape(&self, at: &FieldPath) -> Checked<()> {
        if self.checked.lacks_of(self.written, at) { Err(Reported) } else { Ok(()) }
    }

    /// Fails for a required field that is absent or was refused: the document holds an empty value in its place.
    fn present(&self, at: &FieldPath) -> Checked<()> {
        self.checked.at(at).map(|_| ()).ok_or(Reported)
    }

    /// `metadata.name`.
    fn pool_name(&mut self, document: &Document) -> Checked<PoolName> {
        let at = FieldPath::root().field("metadata").field("name");
        self.present(&at)?;
        let name = &document.metadata.name;
        match PoolName::new(name.as_str()) {
            Ok(_) if name == tmux::PERSONAL_SERVER => {
                let message = format!("a pool cannot be called {}: its tmux socket would be named as a person's own server", quoted(name));
                Err(self.refuse(Code::ReservedName, &at, message, "choose another name"))
            }
            Ok(name) => Ok(name),
            Err(error) => Err(self.refuse(Code::BadName, &at, error.to_string(), "rename the pool, for example to `agents`")),
        }
    }

    /// A duration of at least `least`.
    fn duration(&mut self, text: &str, least: Duration, at: &FieldPath) -> Checked<Duration> {
        self.in_shape(at)?;
        match duration::parse(text) {
            Ok(found) if found < least => {
                let message = format!("`{at}` is {}; it must be at least {}", duration::format(found), duration::format(least));
                Err(self.refuse(Code::BadDuration, at, message, format!("write {} or more", duration::format(least))))
            }
            Ok(found) => Ok(found),
            Err(error) => {
                Err(self.refuse(Code::BadDuration, at, format!("`{at}` is {}: {error}", quoted(text)), "for example 90s, 5m or 7d"))
            }
        }
    }
}
