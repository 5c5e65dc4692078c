//! The loop: wait for a reason to look, look, act, publish, again.
//!
//! A wake-up only says where to look again; what to do comes from the look. Losing one costs latency, never correctness: everything is looked at
//! again at every resync.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Answer, Begun, Command, Engine, EngineError, Pass, Request, Ticket, Watched, unusable};
use crate::{
    host::{Host, Look, Wake},
    model::{Monotonic, PoolId, share_of},
    spec::Spec,
    status::Status,
    store::AcceptedSpec,
};

/// A command on its way to the engine, with the place for the answer.
pub type Asked = (Request, oneshot::Sender<Answer>);

/// What reaches the loop from outside the host.
#[derive(Debug)]
pub enum Signal {
    /// The spec on disk may have changed.
    SpecChanged,
    /// Look at everything now.
    Reconcile,
    /// End after the current effect.
    Stop,
}

/// The spec on disk, read anew: valid, or the diagnostic that says why not.
pub type SpecRead = Result<(Spec, AcceptedSpec), String>;

/// What connects the loop with its surroundings.
pub struct Channels {
    /// Commands of operators and programs, bounded.
    pub commands: mpsc::Receiver<Asked>,
    /// The spec watcher and the signal handlers, bounded.
    pub signals: mpsc::Receiver<Signal>,
    /// The published status. It is put together only while somebody listens.
    pub status: watch::Sender<Option<Status>>,
    /// Reads the spec on disk. Bounded in size and time by the parser's budget.
    pub read_spec: Box<dyn FnMut() -> SpecRead>,
}

/// What the loop tells its surroundings.
pub trait Witness {
    /// The first pass is done.
    fn ready(&mut self);
    /// A pass was finished: the watchdog is fed by progress, not by a timer.
    fn progress(&mut self, line: &str);
}

/// Passes without a pause that are taken for a livelock; the loop then waits before it goes on.
const MAX_PASSES_AT_ONCE: usize = 50;
/// The pause that ends such a row.
const PAUSE: Duration = Duration::from_secs(1);

impl<H: Host> Engine<H> {
    /// Runs until [`Signal::Stop`]. While something cannot be recorded, nothing is done.
    ///
    /// # Errors
    /// [`EngineError`] when a command could not be recorded, or when it was told to stop while the state could not be used.
    pub async fn run(&mut self, mut channels: Channels, resync: Duration, witness: &mut impl Witness) -> Result<(), EngineError> {
        let mut look = Look::all();
        let mut resync_at = self.resync_at(resync);
        let mut ready = false;
        let mut row = 0;
        let mut tickets: Vec<(Ticket, oneshot::Sender<Answer>)> = Vec::new();
        loop {
            let pass = match self.pass(look).await {
                Ok(pass) => pass,
                Err(error) => {
                    // Sessions run on; nothing is done that cannot be recorded.
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the pool is only watched until its state can be written again"
                    );
                    if self.stand_by(&mut channels, &error, witness).await {
                        return Err(error);
                    }
                    look = Look::all();
                    continue;
                }
            };
            self.start_polls();
            self.start_checkpoints();
            if !channels.status.is_closed() {
                channels.status.send_replace(Some(self.view.status()));
            }
            if !ready {
                ready = true;
                witness.ready();
            }
            witness.progress(&self.view.status_line());
            if !tickets.is_empty() && self.is_settled(&pass) {
                for (ticket, reply) in tickets.drain(..) {
                    // The asker may have gone; what it asked for is done all the same.
                    let _ = reply.send(self.finish(&ticket)?);
                }
            }
            row = if pass.again { row + 1 } else { 0 };
            if pass.again && row < MAX_PASSES_AT_ONCE {
                look = after_effects(&pass);
                // Nobody who stops the daemon waits for the end of the row.
                match channels.signals.try_recv() {
                    Ok(Signal::Stop) => return Ok(()),
                    Ok(Signal::Reconcile) => look = Look::all(),
                    Ok(Signal::SpecChanged) if self.reread_spec(&mut channels)? => look = Look::all(),
                    Ok(Signal::SpecChanged) | Err(_) => {}
                }
                continue;
            }
            row = 0;
            let event = loop {
                let deadline = self.next_look(pass.next, resync_at);
                let deadline = if pass.again { deadline.min(self.view.host.now().mono.plus(PAUSE)) } else { deadline };
                tracing::trace!(next = ?pass.next, poll = ?self.next_poll_at(), "waiting");
                match self.wait(&mut channels, deadline).await {
                    // Nothing that a decision rests on has changed: the next reading is started, or the checkpoint that waited for one that
                    // ended, and the wait goes on. What comes due by the clock, a checkpoint too, is begun behind a pass.
                    Event::Woken(wakes) if self.is_about_polls_alone(&wakes, &pass, resync_at) => {
                        self.go_on_with_checkpoints();
                        self.start_polls();
                    }
                    // What is only asked is answered from what was seen last.
                    Event::Asked(request, reply) if request.command.is_answered_by_what_was_seen() => {
                        if let Begun::Answered(answer) = self.begin(&request).await? {
                            // The asker may have gone.
                            drop(reply.send(answer));
                        }
                    }
                    // It is asked for again and again, since not every change can be heard of.
                    Event::Signal(Signal::SpecChanged) if !self.reread_spec(&mut channels)? => {}
                    event => break event,
                }
            };
            match event {
                Event::Woken(wakes) => look = look_of(&wakes),
                Event::Asked(request, reply) => {
                    if matches!(request.command, Command::Apply { .. }) {
                        // Whoever applies means the spec as it is on disk now.
                        self.reread_spec(&mut channels)?;
                    }
                    look = if request.command.is_read() { Look::default() } else { Look::all() };
                    match self.begin(&request).await? {
                        Begun::Answered(answer) => drop(reply.send(answer)),
                        Begun::Converging(ticket) => tickets.push((ticket, reply)),
                    }
                }
                // The spec was read, and is another one or is refused now.
                Event::Signal(Signal::SpecChanged | Signal::Reconcile) => look = Look::all(),
                Event::Signal(Signal::Stop) => return Ok(()),
            }
            let now = self.view.host.now();
            if self.view.tasks_due.is_some_and(|due| due <= now.wall) {
                // What is due rests on what agents and files show now.
                (look.tmux, look.agents, look.queues) = (true, true, true);
            }
            let now = now.mono;
            if now >= resync_at {
                look = Look::all();
                resync_at = self.resync_at(resync);
                self.tidy();
            }
        }
    }

    /// Whether a wake-up only says that a reading is due, or that one or a checkpoint ended without news.
    fn is_about_polls_alone(&self, wakes: &BTreeSet<Wake>, pass: &Pass, resync_at: Monotonic) -> bool {
        let now = self.view.host.now();
        // Whatever else ends a wait is due once its time has come: otherwise the wait would begin again and end at once, for ever.
        let ends = [pass.next, self.view.tasks_due, self.next_checkpoint_at()];
        let due = pass.again || now.mono >= resync_at || ends.into_iter().flatten().any(|at| at <= now.wall);
        // A reading that makes something known, or fresh again, is news, and wakes as such.
        !due && wakes.iter().all(|wake| matches!(wake, Wake::Polls | Wake::Checkpoints | Wake::Timer))
    }

    /// Waits until the state can be used again. Answers whether the loop was told to stop meanwhile.
    async fn stand_by(&mut self, channels: &mut Channels, error: &EngineError, witness: &mut impl Witness) -> bool {
        self.view.blind = Some(unusable(error));
        loop {
            if self.view.watch(channels, witness).await == Watched::Stopped {
                return true;
            }
            match self.recover() {
                Ok(()) => {
                    self.view.blind = None;
                    return false;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the state cannot be used yet");
                    self.view.blind = Some(unusable(&error));
                }
            }
        }
    }

    /// Answers whether another spec is in force now. One that reads the same, or is refused for the same, changes nothing; a bad
    /// one never replaces the good one.
    fn reread_spec(&mut self, channels: &mut Channels) -> Result<bool, EngineError> {
        match (channels.read_spec)() {
            Ok((spec, _)) if spec == self.view.spec && self.view.spec_state.rejected.is_none() => Ok(false),
            Ok((spec, accepted)) => self.replace_spec(spec, &accepted).map(|()| true),
            Err(diagnostic) if self.view.spec_state.rejected.as_ref() == Some(&diagnostic) => Ok(false),
            Err(diagnostic) => self.reject_spec(diagnostic).map(|()| true),
        }
    }

    /// Waits for the first reason to go on.
    async fn wait(&mut self, channels: &mut Channels, deadline: Monotonic) -> Event {
        tokio::select! {
            // An operator's word goes first; otherwise a busy host could keep it waiting.
            biased;
            // Cancel-safe: a message is taken only when the arm is chosen (tokio, `mpsc::Receiver::recv`).
            Some(signal) = channels.signals.recv() => Event::Signal(signal),
            Some((request, reply)) = channels.commands.recv() => Event::Asked(request, reply),
            // Cancel-safe by the contract of `Host::wake`.
            wakes = self.view.host.wake(deadline) => Event::Woken(wakes),
        }
    }

    /// When to look again if nothing wakes us. A share that depends on the pool keeps hosts apart.
    fn next_look(&self, next: Option<Timestamp>, resync_at: Monotonic) -> Monotonic {
        let now = self.view.host.now();
        let due = |at: Timestamp| now.mono.plus(Duration::try_from(at.duration_since(now.wall)).unwrap_or(Duration::ZERO));
        let others = [self.next_poll_at(), self.view.tasks_due, self.next_checkpoint_at()];
        others.into_iter().chain([next]).flatten().map(due).chain([resync_at]).min().unwrap_or(resync_at)
    }

    fn resync_at(&self, resync: Duration) -> Monotonic {
        self.view.host.now().mono.plus(apart(resync, self.view.memory.pool))
    }

    /// Forgets what is too old to be of use.
    fn tidy(&mut self) {
        let at = self.view.wall();
        if let Err(error) = self.store.prune(at) {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot forget old history");
        }
    }
}

/// The time to the next resync of this pool. Two pools, or two hosts, must not fall into step: up to a tenth is added, by the pool's identity.
fn apart(resync: Duration, pool: PoolId) -> Duration {
    resync + share_of(resync / 10, &pool.to_string())
}

enum Event {
    Woken(BTreeSet<Wake>),
    Asked(Request, oneshot::Sender<Answer>),
    Signal(Signal),
}

/// After effects, what they may have touched is looked at again.
fn after_effects(pass: &Pass) -> Look {
    Look {
        tmux: true,
        agents: true,
        homes: pass.files,
        links: pass.files,
        checkpoints: pass.files,
        queues: pass.queues,
        usage: true,
        ..Look::default()
    }
}

fn look_of(wakes: &BTreeSet<Wake>) -> Look {
    Look {
        tmux: wakes.contains(&Wake::Tmux),
        agents: wakes.contains(&Wake::Agents) || wakes.contains(&Wake::Tmux),
        homes: wakes.contains(&Wake::Homes),
        links: wakes.contains(&Wake::Links),
        queues: wakes.contains(&Wake::Queues),
        usage: wakes.contains(&Wake::Readings),
        ..Look::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pools_that_were_started_together_do_not_look_at_everything_together() {
        let minute = Duration::from_mins(1);
        let pool = |number| PoolId(uuid::Uuid::from_u128(number));
        let spans: BTreeSet<Duration> = (0..20).map(|number| apart(minute, pool(number))).collect();
        assert!(spans.iter().all(|span| (minute..=minute * 11 / 10).contains(span)), "{spans:?}");
        assert_eq!(spans.len(), 20, "{spans:?}");
        assert_eq!(apart(minute, pool(7)), apart(minute, pool(7)), "the same after a restart");
    }
}
