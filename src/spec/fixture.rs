//! Specs for the tests of this crate.

use std::sync::LazyLock;

use super::{LoadPlace, Project, SourceText, Spec, load};
use crate::model::{ProjectName, SessionName};

const AGENTS: &str = "
apiVersion: claude-failover/v1
kind: Pool
metadata: { name: agents }
spec:
  accounts:
    - { name: primary, home: /accounts/primary }
    - { name: backup, home: /accounts/backup }
  shared: { root: /shared }
  sessions:
    - { names: s-0, workdir: /work }
";

/// The spec that a text declares.
pub(crate) fn read(text: &str) -> Spec {
    let source = SourceText { name: "pool.yaml".to_owned(), text: text.to_owned() };
    let place = LoadPlace { home: "/people".into(), base: "/etc/pool".into() };
    load(&[source], &place).unwrap_or_else(|wrong| panic!("{}", wrong.diagnostics.render(false))).spec
}

/// Two accounts and the sessions `s-0` to `s-(n-1)`; all else is as an operator gets it by default.
pub(crate) fn agents(sessions: usize) -> Spec {
    /// Read once: some tests make thousands.
    static ONE: LazyLock<Spec> = LazyLock::new(|| read(AGENTS));
    let mut spec = ONE.clone();
    if let Some((_, first)) = spec.sessions.pop_first() {
        for number in 0..sessions {
            let name = SessionName::new(format!("s-{number}")).expect("a name");
            spec.sessions.insert(name.clone(), super::Session { name, ..first.clone() });
        }
    }
    spec
}

/// A project in `/src/api`.
pub(crate) fn project(name: ProjectName) -> Project {
    static ONE: LazyLock<Project> =
        LazyLock::new(|| read(&format!("{AGENTS}  projects:\n    - {{ path: /src/api }}\n")).projects.remove(0));
    Project { name, ..ONE.clone() }
}
