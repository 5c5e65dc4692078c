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
    use std::{
        collections::BTreeMap,
        path::{Path, PathBuf},
        time::Duration,
    };

    use super::*;
    use crate::{
        model::{AccountName, Percent, PoolName},
        spec::{AdoptMode, Agent, Failback, PermissionMode, Quota, Shared, SocketSpec, SwapPolicy, Thresholds, Tmux},
    };

    fn account(name: &str) -> Account {
        Account {
            name: AccountName::new(name).expect("a name"),
            home: Path::new("/accounts").join(name),
            thresholds: Thresholds { five_hour: Percent::whole(85), weekly: Percent::whole(95), headroom: Percent::whole(15) },
        }
    }

    fn spec(links: &[&str]) -> Spec {
        Spec {
            pool: PoolName::new("agents").expect("a name"),
            accounts: vec![account("primary"), account("backup")],
            active_link: None,
            shared: Shared {
                root: PathBuf::from("/shared"),
                links: links.iter().map(|name| LinkName::new(*name).expect("a link name")).collect(),
                adopt: AdoptMode::Never,
            },
            quota: Quota {
                sources: vec![],
                poll_every: Duration::from_mins(5),
                stale_after: Duration::from_mins(15),
                file: None,
                command: vec![],
            },
            swap: SwapPolicy {
                drain: Duration::from_mins(10),
                hard_drain: Duration::from_mins(1),
                canary: 1,
                batch: 4,
                prove_within: Duration::from_mins(1),
                min_dwell: Duration::from_mins(45),
                failback: Failback::OnReset,
            },
            agent: Agent {
                command: vec!["claude".to_owned()],
                permission_mode: PermissionMode::AcceptEdits,
                trust_workdirs: true,
                environment: BTreeMap::new(),
                status_line: Vec::new(),
                stop_grace: Duration::from_secs(10),
            },
            sessions: BTreeMap::new(),
            tmux: Tmux { socket: SocketSpec::Name("agents".to_owned()), width: 200, height: 50, history_limit: 2000 },
            prune: false,
            max_prune: 1,
            projects: Vec::new(),
            checkpoints: crate::spec::Checkpoints { every: Duration::from_mins(1), keep: 20, max_age: Duration::from_hours(168) },
            janitor: crate::spec::Janitor { archive_done_after: Duration::from_hours(168), stale_marker_after: Duration::from_mins(30) },
        }
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
