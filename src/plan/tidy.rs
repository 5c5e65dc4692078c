//! What is old is cleaned away: by lists that [`crate::retention`] makes.

use super::{
    Effect, Phase, Verb,
    planner::{Planner, action},
};
use crate::{
    model::ObjectRef,
    observed::Seen,
    retention::{Standing, expired_checkpoints},
};

impl Planner<'_> {
    /// Plans the removal of checkpoints that are over the number or the age that the spec allows.
    pub fn plan_tidying(&mut self) {
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
