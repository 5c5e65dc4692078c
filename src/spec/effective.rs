//! The whole spec as YAML, with every default, in one fixed form.
//!
//! # Guarantees
//! The same spec gives the same bytes. Without origins the text loads again and gives the same [`Spec`](super::Spec), whatever the place
//! that it is loaded with, since its paths are absolute; only a text that became larger than a source may be is refused. A text that cannot be misread stands bare; any other is quoted.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::{
    Loaded,
    diagnostic::steers,
    duration,
    load::FieldPath,
    origin::Origin,
    pool::{SocketSpec, Thresholds},
    schema::{API_VERSION, KIND},
};

/// The effective spec as YAML. With `with_origins`, each value carries a comment that says where it came from: `# default` or
/// `# FILE:LINE:COLUMN`; values that are not set and have no default are named in comments.
pub fn render_effective(loaded: &Loaded, with_origins: bool) -> String {
    let mut page = Page { loaded, with_origins, text: String::new(), depth: 0 };
    page.document();
    page.text
}

/// The text as it grows.
struct Page<'a> {
    loaded: &'a Loaded,
    with_origins: bool,
    text: String,
    depth: usize,
}

impl Page<'_> {
    /// The whole document.
    fn document(&mut self) {
        let root = FieldPath::root();
        self.value("apiVersion", API_VERSION, &root);
        self.value("kind", KIND, &root);
        let metadata = root.field("metadata");
        self.map("metadata", |page| page.value("name", &quote(page.loaded.spec.pool.as_str()), &metadata));
        self.map("spec", |page| page.spec(&root.field("spec")));
    }

    /// What the pool shall be.
    fn spec(&mut self, at: &FieldPath) {
        let spec = &self.loaded.spec;
        self.map("accounts", |page| page.accounts(&at.field("accounts")));
        self.optional("activeLink", spec.active_link.as_deref().map(quote_path), at);
        self.map("shared", |page| {
            let at = at.field("shared");
            page.value("root", &quote_path(&spec.shared.root), &at);
            page.value("links", &list(spec.shared.links.iter().map(|link| quote(link.as_str()))), &at);
            page.value("adopt", &word(spec.shared.adopt), &at);
        });
        self.map("thresholds", |page| {
            page.thresholds(&page.loaded.thresholds, &[at.field("thresholds")]);
        });
        self.map("quota", |page| {
            let (quota, at) = (&spec.quota, at.field("quota"));
            page.value("sources", &list(quota.sources.iter().map(word)), &at);
            page.value("pollEvery", &duration::format(quota.poll_every), &at);
            page.value("staleAfter", &duration::format(quota.stale_after), &at);
            page.optional("file", quota.file.as_deref().map(quote_path), &at);
            let command = (!quota.command.is_empty()).then(|| list(quota.command.iter().map(|part| quote(part))));
            page.optional("command", command, &at);
        });
        self.map("swap", |page| {
            let (swap, at) = (&spec.swap, at.field("swap"));
            page.value("drain", &duration::format(swap.drain), &at);
            page.value("hardDrain", &duration::format(swap.hard_drain), &at);
            page.value("canary", &swap.canary.to_string(), &at);
            page.value("batch", &swap.batch.to_string(), &at);
            page.value("proveWithin", &duration::format(swap.prove_within), &at);
            page.value("minDwell", &duration::format(swap.min_dwell), &at);
            page.value("failback", &word(swap.failback), &at);
        });
        self.map("agent", |page| page.agent(&at.field("agent")));
        self.map("sessions", |page| page.sessions(&at.field("sessions")));
        self.map("tmux", |page| {
            let (tmux, at) = (&spec.tmux, at.field("tmux"));
            let socket = match &tmux.socket {
                SocketSpec::Name(name) => quote(name),
                SocketSpec::Path(path) => quote_path(path),
            };
            page.value("socket", &socket, &at);
            page.value("width", &tmux.width.to_string(), &at);
            page.value("height", &tmux.height.to_string(), &at);
            page.value("historyLimit", &tmux.history_limit.to_string(), &at);
        });
        if spec.projects.is_empty() {
            self.value("projects", "[]", at);
        } else {
            self.map("projects", |page| page.projects(&at.field("projects")));
        }
        self.map("checkpoints", |page| {
            let (checkpoints, at) = (&spec.checkpoints, at.field("checkpoints"));
            page.value("every", &duration::format(checkpoints.every), &at);
            page.value("keep", &checkpoints.keep.to_string(), &at);
            page.value("maxAge", &duration::format(checkpoints.max_age), &at);
        });
        self.map("janitor", |page| {
            let (janitor, at) = (&spec.janitor, at.field("janitor"));
            page.value("archiveDoneAfter", &duration::format(janitor.archive_done_after), &at);
            page.value("staleMarkerAfter", &duration::format(janitor.stale_marker_after), &at);
        });
        self.value("prune", &spec.prune.to_string(), at);
        self.value("maxPrune", &spec.max_prune.to_string(), at);
    }

    /// The accounts, each with the thresholds that hold for it.
    fn accounts(&mut self, at: &FieldPath) {
        let pool = FieldPath::root().field("spec").field("thresholds");
        for (index, account) in self.loaded.spec.accounts.iter().enumerate() {
            let at = at.item(index);
            self.item(|page| {
                page.value("name", &quote(account.name.as_str()), &at);
                page.value("home", &quote_path(&account.home), &at);
                page.map("thresholds", |page| page.thresholds(&account.thresholds, &[at.field("thresholds"), pool.clone()]));
            });
        }
    }

    /// Thresholds, whose origin is the first of `places` that has them.
    fn thresholds(&mut self, thresholds: &Thresholds, places: &[FieldPath]) {
        let values = [("fiveHour", thresholds.five_hour), ("weekly", thresholds.weekly), ("headroom", thresholds.headroom)];
        for (key, percent) in values {
            let places: Vec<FieldPath> = places.iter().map(|place| place.field(key)).collect();
            let origin = self.loaded.origins.of_first(&places);
            self.line(key, &percent.value().to_string(), origin);
        }
    }

    /// How an agent is started.
    fn agent(&mut self, at: &FieldPath) {
        let agent = &self.loaded.spec.agent;
        self.value("command", &list(agent.command.iter().map(|part| quote(part))), at);
        self.value("permissionMode", agent.permission_mode.as_str(), at);
        self.value("trustWorkdirs", &agent.trust_workdirs.to_string(), at);
        if agent.environment.is_empty() {
            self.value("environment", "{}", at);
        } else {
            self.map("environment", |page| {
                let at = at.field("environment");
                for (name, value) in &agent.environment {
                    page.line(&quote(name), &quote(value), page.loaded.origins.of(&at.field(name)));
                }
            });
        }
        self.value("statusLine", &list(agent.status_line.iter().map(|part| quote(part))), at);
        self.value("stopGrace", &duration::format(agent.stop_grace), at);
    }

    /// The lines of sessions, as patterns.
    fn sessions(&mut self, at: &FieldPath) {
        for (index, group) in self.loaded.groups.iter().enumerate() {
            let at = at.item(index);
            self.item(|page| {
                page.value("names", &quote(&group.names), &at);
                page.value("workdir", &quote_path(&group.workdir), &at);
                page.value("restart", &word(group.restart), &at);
                page.value("adopt", &group.adopt.to_string(), &at);
                page.value("dispatch", &group.dispatch.to_string(), &at);
            });
        }
    }

    /// The registered projects.
    fn projects(&mut self, at: &FieldPath) {
        for (index, project) in self.loaded.spec.projects.iter().enumerate() {
            let at = at.item(index);
            self.item(|page| {
                page.value("name", &quote(project.name.as_str()), &at);
                page.value("path", &quote_path(&project.path), &at);
                page.value("priority", &project.priority.to_string(), &at);
                page.value("sessions", &list(project.sessions.iter().map(|name| quote(name.as_str()))), &at);
                page.optional("maxInFlight", project.max_in_flight.map(|most| most.to_string()), &at);
                page.value("completion", &word(project.completion), &at);
                page.value("attempts", &project.attempts.to_string(), &at);
                page.value("timeout", &duration::format(project.timeout), &at);
                page.value("lease", &duration::format(project.lease), &at);
            });
        }
    }

    /// A key with a map or a list below it.
    fn map(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.indented(&format!("{key}:"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    /// An item of a list: a map, with a dash before its first line.
    fn item(&mut self, body: impl FnOnce(&mut Self)) {
        let dash = self.text.len() + 2 * self.depth;
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.text.replace_range(dash..=dash, "-");
    }

    /// A value of the map at `at`.
    fn value(&mut self, key: &str, value: &str, at: &FieldPath) {
        let origin = self.loaded.origins.of(&at.field(key));
        self.line(key, value, origin);
    }

    /// A value that may be absent, of the map at `at`.
    fn optional(&mut self, key: &str, value: Option<String>, at: &FieldPath) {
        match value {
            Some(value) => self.value(key, &value, at),
            None if self.with_origins => self.indented(&format!("# {key} is not set")),
            None => {}
        }
    }

    /// One line: key, value and origin.
    fn line(&mut self, key: &str, value: &str, origin: Origin<'_>) {
        if self.with_origins {
            self.indented(&format!("{key}: {value}  # {origin}"));
        } else {
            self.indented(&format!("{key}: {value}"));
        }
    }

    /// One line of text at the present depth.
    fn indented(&mut self, line: &str) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{:width$}{line}", "", width = 2 * self.depth);
    }
}

/// A list on one line.
fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The word of a unit variant, as the spec writes it.
fn word(value: impl Serialize) -> String {
    // A unit variant is a JSON text, which is what it would be quoted as; the words need no quotes.
    serde_json::to_string(&value).unwrap_or_default().trim_matches('"').to_owned()
}

/// A path; it is UTF-8, as the rules have checked.
fn quote_path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

/// A text, bare if YAML cannot take it for anything else, in double quotes otherwise.
pub(super) fn quote(text: &str) -> String {
    // Words that some YAML reader takes for a truth value, for nothing or for a number (YAML 1.1 types; YAML 1.2, section 10.3).
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if bare {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // Writing to a `String` cannot fail.
            character if steers(character) => drop(write!(quoted, "\\U{:08x}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
