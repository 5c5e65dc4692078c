//! What is old is cleaned away: by lists that [`crate::retention`] makes.

use super::{
    Effect, Phase, QueueChange, Verb,
    planner::{MAX_FACT_AGE, Planner, action},
};
use crate::{
    model::ObjectRef,
    observed::Seen,
    retention::{Standing, archivable_tasks, expired_checkpoints},
};

impl Planner<'_> {
    /// Plans what is cleaned away.
    pub fn plan_tidying(&mut self) {
        self.plan_old_checkpoints();
        self.plan_archives();
    }

    /// Plans the archives of what was done long ago.
    fn plan_archives(&mut self) {
        for project in &self.spec.projects {
            let Some(queue) = self.seen.queues.get(&project.name).and_then(|queue| queue.fresh(self.now, MAX_FACT_AGE)) else { continue };
            let age = self.spec.janitor.archive_done_after;
            for (month, tasks) in archivable_tasks(queue, age, self.now.wall) {
                let what = format!("archive {} done tasks of {month}", tasks.len());
                let why = format!("done more than {} hours ago", age.as_secs() / 3_600);
                let effect = QueueChange::Archive { month, tasks }.at(&project.path);
                self.act(Phase::Tidy, action(ObjectRef::Project(project.name.clone()), Verb::Tidy, what, why, effect));
            }
        }
    }

    /// Plans the removal of checkpoints that are over the number or the age that the spec allows.
    fn plan_old_checkpoints(&mut self) {
        for (session, seen) in &self.seen.checkpoints {
            let Seen::Known(fact) = seen else { continue };
            let is_known = self.spec.sessions.contains_key(session) || self.memory.sessions.contains_key(session);
            let standing = if is_known { Standing::Known } else { Standing::Gone };
            let expired = expired_checkpoints(&fact.value.taken, &self.spec.checkpoints, standing, self.now.wall);
            if expired.is_empty() {
                continue;
            }
            let policy = &self.spec.checkpoints;
            let why = format!("{} are kept, for {} hours at most", policy.keep, policy.max_age.as_secs() / 3_600);
            let effect = Effect::RemoveCheckpoints { session: session.clone(), checkpoints: expired };
            let what = format!("remove old checkpoints of {session}");
            // Not about the session: what fails here must not hold its restarts back.
            self.act(Phase::Tidy, action(ObjectRef::StateDir, Verb::Tidy, what, why, effect));
        }
    }
}
