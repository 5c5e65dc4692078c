//! Which links an account must have.

use super::{LinkNeed, TargetKind};
use crate::{
    model::LinkName,
    spec::{Account, Spec},
};

/// The shared links of `account`, in the order of the spec, which is the order in which they are made and checked.
///
/// Each one is `<home>/<name>` with the literal, absolute target `<root>/<name>`; all targets have the shared root as their one parent.
pub fn link_needs(spec: &Spec, account: &Account) -> Vec<LinkNeed> {
    spec.shared.links.iter().map(|name| link_need(spec, account, name)).collect()
}

/// One of them.
pub fn link_need(spec: &Spec, account: &Account, name: &LinkName) -> LinkNeed {
    LinkNeed {
        path: account.home.join(name.as_str()),
        target: spec.shared.root.join(name.as_str()),
        kind: if name.is_file() { TargetKind::File } else { TargetKind::Directory },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::spec::fixture;

    fn spec(links: &[&str]) -> Spec {
        let mut spec = fixture::agents(1);
        spec.shared.links = links.iter().map(|name| LinkName::new(*name).expect("a link name")).collect();
        spec
    }

    fn need(path: &str, target: &str, kind: TargetKind) -> LinkNeed {
        LinkNeed { path: PathBuf::from(path), target: PathBuf::from(target), kind }
    }

    #[test]
    fn an_account_needs_exactly_the_links_of_the_spec_in_their_order() {
        let spec = spec(&["projects", "file-history", "tasks", "history.jsonl"]);
        assert_eq!(
            link_needs(&spec, &spec.accounts[1]),
            [
                need("/accounts/backup/projects", "/shared/projects", TargetKind::Directory),
                need("/accounts/backup/file-history", "/shared/file-history", TargetKind::Directory),
                need("/accounts/backup/tasks", "/shared/tasks", TargetKind::Directory),
                need("/accounts/backup/history.jsonl", "/shared/history.jsonl", TargetKind::File),
            ]
        );
    }

    #[test]
    fn all_accounts_share_the_same_targets() {
        let spec = spec(&["tasks", "projects"]);
        let targets = |account| link_needs(&spec, account).into_iter().map(|need| need.target).collect::<Vec<_>>();
        assert_eq!(targets(&spec.accounts[0]), targets(&spec.accounts[1]));
    }

    #[test]
    fn every_target_is_absolute_and_all_have_one_parent() {
        let spec = spec(&["projects", "file-history", "tasks", "plans", "paste-cache", "history.jsonl"]);
        for account in &spec.accounts {
            let needs = link_needs(&spec, account);
            assert_eq!(needs.len(), spec.shared.links.len());
            for need in needs {
                assert!(need.target.is_absolute(), "{} is relative", need.target.display());
                assert_eq!(need.target.parent(), Some(spec.shared.root.as_path()));
                assert_eq!(need.path.parent(), Some(account.home.as_path()));
                assert_eq!(need.path.file_name(), need.target.file_name());
            }
        }
    }
}
