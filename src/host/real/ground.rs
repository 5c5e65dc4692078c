//! What the host must know of the spec, cut down so that it can be handed to other threads.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

use super::Station;
use crate::{
    host::agent::settings::Settings,
    model::{AccountName, LinkName, PoolId, PoolName, ProjectName, SessionName},
    plan::{LinkNeed, link_needs},
    spec::{Spec, Tmux},
};

/// The parts of a spec that are looked at or acted on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub pool: PoolId,
    pub pool_name: PoolName,
    pub sessions: BTreeSet<SessionName>,
    pub state: PathBuf,
    pub tmux: Tmux,
    pub homes: Vec<(AccountName, PathBuf)>,
    pub links: Vec<(AccountName, LinkName, LinkNeed)>,
    pub root: PathBuf,
    pub targets: Vec<(LinkName, PathBuf)>,
    pub active_link: Option<PathBuf>,
    pub workdirs: Vec<PathBuf>,
    /// The projects whose queues are looked at.
    pub queues: Vec<(ProjectName, PathBuf)>,
    pub command: Vec<String>,
    pub operator: BTreeMap<String, String>,
    pub environment: BTreeMap<OsString, OsString>,
    pub settings: Settings,
    pub settings_path: PathBuf,
    pub file: Option<PathBuf>,
    pub usage_command: Vec<String>,
    /// An empty directory of ours, for commands that must not pick up a project's settings.
    pub scratch: PathBuf,
}

impl Ground {
    pub fn new(spec: &Spec, pool: PoolId, station: &Station) -> Self {
        let links = spec.accounts.iter().flat_map(|account| {
            let needs = link_needs(spec, account);
            spec.shared.links.iter().cloned().zip(needs).map(|(name, need)| (account.name.clone(), name, need))
        });
        let mut workdirs: Vec<_> = spec.sessions.values().map(|session| session.workdir.clone()).collect();
        workdirs.sort();
        workdirs.dedup();
        let homes: Vec<_> = spec.accounts.iter().map(|account| (account.name.clone(), account.home.clone())).collect();
        Self {
            pool,
            pool_name: spec.pool.clone(),
            sessions: spec.sessions.keys().cloned().collect(),
            state: station.state.clone(),
            tmux: spec.tmux.clone(),
            links: links.collect(),
            root: spec.shared.root.clone(),
            targets: spec.shared.links.iter().map(|name| (name.clone(), spec.shared.root.join(name.as_str()))).collect(),
            active_link: spec.active_link.clone(),
            workdirs,
            queues: spec.projects.iter().map(|project| (project.name.clone(), project.path.clone())).collect(),
            command: spec.agent.command.clone(),
            operator: spec.agent.environment.clone(),
            environment: station.environment.clone(),
            settings: Settings {
                program: station.program.clone(),
                socket: station.intake_socket(),
                spool: station.spool(),
                homes: homes.iter().cloned().collect(),
                status_line: spec.agent.status_line.clone(),
            },
            settings_path: station.settings(),
            file: spec.quota.file.clone(),
            usage_command: spec.quota.command.clone(),
            scratch: station.state.join("empty"),
            homes,
        }
    }

    /// The account whose home this is.
    pub fn account_of(&self, home: &std::path::Path) -> Option<&AccountName> {
        self.homes.iter().find(|(_, known)| known == home).map(|(account, _)| account)
    }
}
