//! What is old is cleaned away: by lists that [`crate::retention`] makes.

use super::{
    Effect, Phase, QueueChange, Verb,
    planner::{MAX_FACT_AGE, Planner, action},
};
use crate::{
    model::{ObjectRef, TaskName},
    observed::Seen,
    retention::{Standing, archivable_tasks, expired_checkpoints},
    spec::format_duration,
};

/// How many names a plan says before it only counts.
const NAMED: usize = 3;

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
                let what = format!("archive {} done in {month}: {}", count(tasks.len(), "task"), few(&tasks));
                let why = format!("done more than {} ago", format_duration(age));
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
            let why = format!("{} are kept, for {} at most", policy.keep, format_duration(policy.max_age));
            let oldest = expired.first().map(|id| format!(", the oldest of {}", id.taken_at().strftime("%Y-%m-%d"))).unwrap_or_default();
            let what = format!("remove {} of {session}{oldest}", count(expired.len(), "checkpoint"));
            let effect = Effect::RemoveCheckpoints { session: session.clone(), checkpoints: expired };
            // Not about the session: what fails here must not hold its restarts back.
            self.act(Phase::Tidy, action(ObjectRef::StateDir, Verb::Tidy, what, why, effect));
        }
    }
}

/// The first names of a list, and how many more there are.
fn few(tasks: &[TaskName]) -> String {
    let first = tasks.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if tasks.len() > NAMED { format!("{first} and {} more", tasks.len() - NAMED) } else { first }
}

/// So many of something, in words.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
