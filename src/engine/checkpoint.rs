//! Has checkpoints taken when they are due. Which and when is decided by the plan's schedule; nothing waits for them but a person and, for a
//! moment, a swap.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{Answer, Engine, EngineError, Request, View};
use crate::{
    host::{Host, Look},
    model::{EventReason, Now, ObjectRef, SessionName, Severity},
    observed::{Checkpoint, CheckpointCause, CheckpointEnd, EndedCheckpoint, Seen},
    plan::{
        checkpoints::{CheckpointState, OpenAttempts, draft, ground_truth, next_checkpoint, signs},
        tasks::{TaskGrounds, Truth, wanted_truths},
    },
};

/// How long a swap waits for the checkpoints of the sessions that it stops.
const BEFORE_SWAP: Duration = Duration::from_millis(250);
/// How long a person waits for those that were asked for.
const BY_HAND: Duration = Duration::from_secs(20);

/// What an engine knows of checkpoints.
#[derive(Debug)]
pub(super) struct Checkpointing {
    states: BTreeMap<SessionName, CheckpointState>,
    /// Since when this process looks.
    begun: Now,
    /// Those that will be due, as of the last look.
    due: BTreeMap<SessionName, (Now, CheckpointCause)>,
    /// When the next one is due.
    next: Option<Timestamp>,
    /// Whose last one could not be kept: it is said of the first of them, and not again before all can be kept.
    failing: BTreeSet<SessionName>,
}

impl Checkpointing {
    pub const fn new(begun: Now) -> Self {
        Self { states: BTreeMap::new(), begun, due: BTreeMap::new(), next: None, failing: BTreeSet::new() }
    }
}

impl<H: Host> View<H> {
    /// Keeps what a checkpoint tells of a session that is at a task. One without a transcript could not be gathered, and tells nothing.
    fn know(&mut self, checkpoint: &Checkpoint) {
        let (name, at) = (&checkpoint.session, checkpoint.taken_at);
        if checkpoint.transcript.is_some() && self.ground_truth.get(name).is_none_or(|known| known.at <= at) {
            self.ground_truth.insert(name.clone(), Truth { text: ground_truth(checkpoint), at });
        }
    }

    /// What this process has not seen itself, the newest checkpoint on disk tells. What is known of sessions that are at no task is forgotten.
    fn know_from_disk(&mut self) {
        let open: BTreeMap<_, _> = self.memory.open_attempts().map(|(_, attempt)| (&attempt.session, attempt.conversation)).collect();
        let newest = open.iter().filter(|(name, _)| !self.ground_truth.contains_key(**name)).filter_map(|(name, conversation)| {
            let found = self.seen.checkpoints.get(*name).and_then(Seen::value)?.newest.as_ref()?;
            (found.checkpoint.conversation == *conversation).then(|| found.checkpoint.clone())
        });
        let newest: Vec<_> = newest.collect();
        self.ground_truth.retain(|name, _| open.contains_key(name));
        for checkpoint in &newest {
            self.know(checkpoint);
        }
    }
}

impl<H: Host> Engine<H> {
    /// Looks when the checkpoint of each session is due, and begins every one that is. It follows a look at the pool.
    pub(super) fn start_checkpoints(&mut self) {
        let sessions = &self.view.spec.sessions;
        self.checkpointing.states.retain(|name, _| sessions.contains_key(name));
        self.checkpointing.failing.retain(|name| sessions.contains_key(name));
        let open = OpenAttempts::of(&self.view.memory);
        let due = |name: &SessionName| Some((name.clone(), self.checkpoint_due(name, &open)?));
        self.checkpointing.due = sessions.keys().filter_map(due).collect();
        let now = self.view.host.now();
        let grounds = TaskGrounds { spec: &self.view.spec, seen: &self.view.seen, memory: &self.view.memory, now };
        for (name, ended_at) in wanted_truths(&grounds, &self.view.ground_truth) {
            // One for each end of a turn: if it fails, what is known has to do.
            if !self.checkpointing.states.get(&name).is_some_and(|state| state.is_of(ended_at)) {
                self.checkpointing.due.insert(name, (now, CheckpointCause::TurnEnded));
            }
        }
        self.start_due_checkpoints();
    }

    /// Takes over those that ended and begins those that are due, where nothing was looked at since: a session has nothing new to be asked about.
    pub(super) fn go_on_with_checkpoints(&mut self) {
        let ended = self.end_checkpoints();
        let open = OpenAttempts::of(&self.view.memory);
        for name in ended.into_iter().map(|ended| ended.checkpoint.session) {
            if self.view.spec.sessions.contains_key(&name)
                && let Some(due) = self.checkpoint_due(&name, &open)
            {
                self.checkpointing.due.insert(name, due);
            }
        }
        self.start_due_checkpoints();
    }

    fn checkpoint_due(&self, name: &SessionName, open: &OpenAttempts<'_>) -> Option<(Now, CheckpointCause)> {
        let signs = signs(&self.view.seen, &self.view.memory, open, name)?;
        next_checkpoint(&self.view.spec.checkpoints, self.checkpointing.states.get(name), name, &signs, self.checkpointing.begun)
    }

    fn start_due_checkpoints(&mut self) {
        let now = self.view.host.now().mono;
        let due: Vec<_> = self.checkpointing.due.extract_if(.., |_, (at, _)| at.mono <= now).collect();
        self.begin_checkpoints(due.iter().map(|(name, (_, why))| (name, *why)));
        self.checkpointing.next = self.checkpointing.due.values().map(|(at, _)| at.wall).min();
    }

    /// Begins those of some sessions at once. Answers which of them have anything to keep.
    fn begin_checkpoints<'a>(&mut self, sessions: impl Iterator<Item = (&'a SessionName, CheckpointCause)>) -> Vec<SessionName> {
        let View { spec, seen, memory, .. } = &self.view;
        let (open, now) = (OpenAttempts::of(memory), self.view.host.now());
        let mut drafts = Vec::new();
        for (name, why) in sessions {
            let Some(draft) = draft(spec, seen, memory, &open, name, why, now) else { continue };
            self.checkpointing.states.entry(name.clone()).or_default().started(signs(seen, memory, &open, name), now);
            tracing::debug!(session = %name, %why, "taking a checkpoint");
            drafts.push(draft);
        }
        let begun = drafts.iter().map(|draft| draft.session.clone()).collect();
        self.view.host.start_checkpoints(drafts);
        begun
    }

    /// When the next checkpoint is due.
    pub(super) const fn next_checkpoint_at(&self) -> Option<Timestamp> {
        self.checkpointing.next
    }

    /// Takes over what came of checkpoints. Each is answered with its session.
    pub(super) fn end_checkpoints(&mut self) -> Vec<EndedCheckpoint> {
        let ended = self.view.host.ended_checkpoints();
        let mut events = Vec::new();
        for EndedCheckpoint { checkpoint, how, refused } in &ended {
            let name = &checkpoint.session;
            let object = ObjectRef::Session(name.clone());
            self.checkpointing.states.entry(name.clone()).or_default().ended();
            for why in refused {
                events.push(self.view.event(object.clone(), EventReason::CheckpointRefused, Severity::Warning, why.clone()));
            }
            match how {
                CheckpointEnd::Failed(why) if self.checkpointing.failing.is_empty() => {
                    let message = format!("checkpoints cannot be kept: {why}; sessions run on, and it is tried again");
                    events.push(self.view.event(object, EventReason::ActionFailed, Severity::Warning, message));
                }
                CheckpointEnd::Failed(why) => tracing::debug!(session = %name, "a checkpoint was not kept: {why}"),
                // Those that come by themselves are too many to be told.
                CheckpointEnd::Written(id) if matches!(checkpoint.why, CheckpointCause::ByHand | CheckpointCause::BeforeSwap) => {
                    events.push(self.view.event(
                        object,
                        EventReason::CheckpointTaken,
                        Severity::Normal,
                        format!("{id}, {}", checkpoint.why),
                    ));
                }
                CheckpointEnd::Written(id) => tracing::debug!(session = %name, %id, why = %checkpoint.why, "a checkpoint was kept"),
                CheckpointEnd::Unchanged(_) | CheckpointEnd::Nothing => {}
            }
            match how {
                CheckpointEnd::Failed(_) => drop(self.checkpointing.failing.insert(name.clone())),
                _ => drop(self.checkpointing.failing.remove(name)),
            }
            self.view.know(checkpoint);
        }
        self.view.know_from_disk();
        if !ended.is_empty() {
            self.learn(Vec::new(), events);
        }
        ended
    }

    /// Keeps what the sessions that are about to be stopped leave behind. Neither a failure nor slowness holds a swap up.
    pub(super) async fn checkpoint_before_stop(&mut self, sessions: &[SessionName]) {
        if !self.begin_checkpoints(sessions.iter().map(|name| (name, CheckpointCause::BeforeSwap))).is_empty() {
            self.view.host.finish_checkpoints(BEFORE_SWAP).await;
            self.end_checkpoints();
        }
    }

    /// Takes checkpoints at an operator's word.
    pub(super) async fn checkpoint_by_hand(&mut self, request: &Request, sessions: &[SessionName]) -> Result<Answer, EngineError> {
        let known = &self.view.spec.sessions;
        if let Some(stranger) = sessions.iter().find(|name| !known.contains_key(*name)) {
            return Ok(Answer::Refused { message: format!("the spec declares no session {stranger}") });
        }
        let sessions: Vec<_> = if sessions.is_empty() { known.keys().cloned().collect() } else { sessions.to_vec() };
        self.view.look(&Look { tmux: true, agents: true, everything: true, ..Look::default() }).await;
        let (lines, changed, degraded) = self.take_checkpoints(&sessions).await;
        self.answer(request, Answer::Done { lines, changed, degraded }, Vec::new(), Vec::new())
    }

    /// Takes them and waits for them. Answers a line for each session, and whether anything was written or failed.
    async fn take_checkpoints(&mut self, sessions: &[SessionName]) -> (Vec<String>, bool, bool) {
        let (mut changed, mut failed) = (false, false);
        let mut open = self.begin_checkpoints(sessions.iter().map(|name| (name, CheckpointCause::ByHand)));
        let bare = sessions.iter().filter(|name| !open.contains(name));
        let mut lines: Vec<_> = bare.map(|name| format!("{name}: nothing was ever started in it")).collect();
        if !open.is_empty() {
            self.view.host.finish_checkpoints(BY_HAND).await;
        }
        for ended in self.end_checkpoints() {
            let name = &ended.checkpoint.session;
            // One that was under way already ends among them.
            if ended.checkpoint.why != CheckpointCause::ByHand || !open.contains(name) {
                continue;
            }
            open.retain(|other| other != name);
            lines.push(match ended.how {
                CheckpointEnd::Written(id) => {
                    changed = true;
                    format!("{name}: {id}")
                }
                CheckpointEnd::Unchanged(id) => format!("{name}: unchanged since {id}"),
                CheckpointEnd::Nothing => format!("{name}: nothing was said in it yet"),
                CheckpointEnd::Failed(why) => {
                    failed = true;
                    format!("{name}: not kept: {why}")
                }
            });
        }
        failed |= !open.is_empty();
        lines.extend(open.into_iter().map(|name| format!("{name}: not taken within {BY_HAND:?}; it may still come")));
        (lines, changed, failed)
    }
}
