//! The queues of the projects: each is looked at and changed on a thread of its own, so that one that hangs holds up no other for long.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Place,
    ground::Ground,
    observe::{try_kept, within},
    perform::{cannot_tell, fill},
};
use crate::{
    host::queue::{self, DONE, FAILED, INBOX, QUEUE, QueueCache},
    model::{Now, ProjectName, TaskName},
    observed::{QueueView, Seen, Unseen},
    plan::{Outcome, QueueChange},
};

/// How long the changes of one queue may take. What is not done by then goes on, and its queue is looked at before anything else is done to it.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// What is kept between two looks.
#[derive(Debug, Default)]
pub(super) struct Queues {
    caches: BTreeMap<PathBuf, Arc<Mutex<QueueCache>>>,
    /// A file in one of them has not come to rest: they are looked at again in a moment.
    pub unsettled: bool,
}

impl Queues {
    /// Looks at all queues, side by side.
    pub async fn look(&mut self, ground: &Ground, now: Now) -> BTreeMap<ProjectName, Seen<QueueView>> {
        self.caches.retain(|path, _| ground.queues.iter().any(|(_, known)| known == path));
        let mut looks = tokio::task::JoinSet::new();
        for (name, path) in &ground.queues {
            let (name, path) = (name.clone(), path.clone());
            let cache = Arc::clone(self.caches.entry(path.clone()).or_default());
            looks.spawn(async move { (name, within("queue", move || look(&path, now, &cache)).await.unwrap_or_else(Seen::Unknown)) });
        }
        let mut found = BTreeMap::new();
        while let Some(look) = looks.join_next().await {
            found.extend(look.ok());
        }
        let is_unsettled = |view: &Seen<QueueView>| view.value().is_some_and(|view| view.unsettled);
        self.unsettled = found.values().any(is_unsettled);
        found
    }
}

fn look(path: &Path, now: Now, cache: &Mutex<QueueCache>) -> Seen<QueueView> {
    match try_kept(cache) {
        Ok(mut cache) => queue::look(path, now, &mut cache),
        Err(error) => Seen::Unknown(Unseen::Failed { source_name: "queue".to_owned(), message: error.to_string() }),
    }
}

/// Changes queues: those of different projects side by side, those of one project in their order.
pub(super) async fn change(changes: &[(usize, &Path, &QueueChange)], outcomes: &mut [Option<Outcome>]) {
    let mut projects: BTreeMap<&Path, Vec<(usize, QueueChange)>> = BTreeMap::new();
    for (index, project, change) in changes {
        projects.entry(project).or_default().push((*index, (*change).clone()));
    }
    let mut work = tokio::task::JoinSet::new();
    for (project, changes) in projects {
        let project = project.to_owned();
        work.spawn(async move {
            let (indexes, changes): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
            let perform = move || changes.iter().map(|change| queue::perform(&project, change)).collect();
            let done = tokio::time::timeout(CHANGE_WITHIN, tokio::task::spawn_blocking(perform)).await;
            let done = done.ok().and_then(Result::ok).unwrap_or_else(|| vec![cannot_tell(CHANGE_WITHIN); indexes.len()]);
            (indexes, done)
        });
    }
    while let Some(ended) = work.join_next().await {
        if let Ok((indexes, done)) = ended {
            fill(outcomes, &indexes, done);
        }
    }
    for (index, ..) in changes {
        // Only a task that panicked leaves one out.
        outcomes[*index].get_or_insert_with(|| cannot_tell(CHANGE_WITHIN));
    }
}

/// The directories to watch.
pub(super) fn places(ground: &Ground) -> impl Iterator<Item = (PathBuf, Place)> {
    ground.queues.iter().flat_map(|(_, project)| {
        let queue = project.join(QUEUE);
        let inside = [queue.join(INBOX), queue.join(DONE), queue.join(FAILED), queue].map(|path| (path, Place::Queue));
        inside.into_iter().chain([(project.clone(), Place::Project)])
    })
}

/// Whether a change of that name in a queue is about tasks: our own markers must not wake us.
pub(super) fn is_meant(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| [INBOX, DONE, FAILED].contains(&name) || TaskName::new(name).is_ok())
}
