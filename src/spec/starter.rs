//! The first spec of a new user.

use std::fmt::Write as _;

use super::{
    document::{Agent, Quota, Shared, Swap, Thresholds},
    effective::quote,
    schema::{API_VERSION, KIND},
};
use crate::model::{AccountName, PoolName};

/// What a first spec is made of. Texts go into the spec as they are, quoted where YAML asks for it; whether they are right is for
/// [`load`](super::load()) to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Starter {
    /// The pool's name.
    pub pool: PoolName,
    /// The accounts with their homes, in order of preference.
    pub accounts: Vec<(AccountName, String)>,
    /// A pattern of session names, such as `ccl-{0..9}`.
    pub sessions: String,
    /// The start directory of the sessions.
    pub workdir: String,
}

impl Starter {
    /// A commented spec: what was given, then the defaults that people change most, each in a comment of its own.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (shared, thresholds, quota, swap, agent) =
            (Shared::default(), Thresholds::default(), Quota::default(), Swap::default(), Agent::default());
        writeln!(text, "# What this pool shall be. Fields: docs/spec.md, or `claude-failover schema`.")?;
        writeln!(text, "# Check it with `claude-failover validate`, see what it would do with `claude-failover plan`.")?;
        writeln!(text, "apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata:\n  name: {}\nspec:", quote(self.pool.as_str()))?;
        writeln!(text, "  # In order of preference. Log in to each home once: CLAUDE_CONFIG_DIR=HOME claude auth login")?;
        writeln!(text, "  accounts:")?;
        for (name, home) in &self.accounts {
            writeln!(text, "    - name: {}\n      home: {}", quote(name.as_str()), quote_home(home))?;
        }
        writeln!(text, "  sessions:\n    - names: {}\n      workdir: {}", quote(&self.sessions), quote_home(&self.workdir))?;
        writeln!(text, "\n  # What follows is the default; take the # away to change it.")?;
        writeln!(text, "\n  # A symlink that follows the active account, for people and tools outside the pool. None by default.")?;
        writeln!(text, "  # activeLink: ~/.claude")?;
        writeln!(text, "\n  # The tree that the accounts share, so that conversations can move between them.")?;
        writeln!(text, "  # shared:\n  #   root: {}\n  #   links: [{}]", shared.root, shared.links.join(", "))?;
        writeln!(text, "\n  # In percent. The pool leaves an account at or above fiveHour or weekly,")?;
        writeln!(text, "  # and enters one only when it is below its own by the headroom.")?;
        writeln!(text, "  # thresholds:\n  #   fiveHour: {}\n  #   weekly: {}", thresholds.five_hour, thresholds.weekly)?;
        writeln!(text, "  #   headroom: {}", thresholds.headroom)?;
        writeln!(text, "\n  # quota:\n  #   pollEvery: {}\n  #   staleAfter: {}", quota.poll_every, quota.stale_after)?;
        writeln!(text, "\n  # How long busy sessions may finish their turn, and how many sessions move first and then at a time.")?;
        writeln!(text, "  # swap:\n  #   drain: {}\n  #   canary: {}\n  #   batch: {}", swap.drain, swap.canary, swap.batch)?;
        writeln!(text, "\n  # agent:\n  #   command: [{}]", agent.command.join(", "))?;
        writeln!(text, "  #   permissionMode: {}", agent.permission_mode.as_str())
    }
}

/// A path as YAML, bare also when it begins with `~/`, which no reader takes for anything else.
fn quote_home(path: &str) -> String {
    match path.strip_prefix("~/") {
        // The rest is judged as part of a longer path, since it may begin with a dot.
        Some(rest) if !quote(&format!("/{rest}")).starts_with('"') => path.to_owned(),
        _ => quote(path),
    }
}
