//! Waits for a reason to look again.

use std::{collections::BTreeSet, ffi::OsStr, time::Duration};

use super::{Place, RealHost, track::UNSETTLED_PAUSE};
use crate::{
    host::{
        Host as _, Wake,
        intake::{Kind, Message},
        process::Exit,
        ready,
        watch::Hint,
    },
    model::{Monotonic, Pid},
};

/// How long after a first notice others are still taken into the same wake-up: 200 agents that end together are one look. The end of a single
/// agent waits for nobody.
const GATHER: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Heard {
    Tmux,
    Deaths(Vec<Exit>),
    Message(Box<Message>),
    Files(BTreeSet<Hint<Place>>),
    Reading,
    Time,
}

impl RealHost {
    pub(super) async fn hear(&mut self, deadline: Monotonic) -> BTreeSet<Wake> {
        let mut wakes = BTreeSet::new();
        let now = self.now().mono;
        let mut until = deadline.0.saturating_sub(now.0);
        if !self.tracks.unsettled.is_empty() {
            until = until.min(UNSETTLED_PAUSE);
        }
        let first = self.hear_one(until, true).await;
        let gather = if matches!(&first, Heard::Deaths(exits) if exits.len() == 1) { Duration::ZERO } else { GATHER };
        self.note(first, &mut wakes);
        let gathered = tokio::time::Instant::now() + gather;
        while !wakes.contains(&Wake::Timer) {
            // tmux goes on saying that it is to be looked at until it is: asking again would only hear that.
            let tmux = !wakes.contains(&Wake::Tmux);
            let left = gathered.saturating_duration_since(tokio::time::Instant::now());
            let heard = if left.is_zero() { ready::now(self.hear_one(GATHER, tmux)).await } else { Some(self.hear_one(left, tmux).await) };
            match heard {
                None | Some(Heard::Time) => break,
                Some(heard) => self.note(heard, &mut wakes),
            }
        }
        if wakes.remove(&Wake::Timer) && !self.tracks.unsettled.is_empty() {
            wakes.insert(Wake::Agents);
        }
        if wakes.is_empty() {
            wakes.insert(Wake::Timer);
        }
        wakes
    }

    async fn hear_one(&mut self, within: Duration, tmux: bool) -> Heard {
        tokio::select! {
            biased;
            // Cancel-safe: what ended stays readable until it is answered.
            exits = self.deaths.next() => match exits {
                Ok(exits) => Heard::Deaths(exits),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot wait for the ends of processes");
                    // Looking is then all that is left; not at full speed.
                    tokio::time::sleep(within.min(Duration::from_secs(1))).await;
                    Heard::Tmux
                }
            },
            // Cancel-safe: a message is either handed out or still in the socket or the spool.
            message = async {
                match &mut self.intake {
                    Some(intake) => intake.recv().await,
                    None => std::future::pending().await,
                }
            } => match message {
                Ok(message) => Heard::Message(Box::new(message)),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot take reports of agents any more");
                    self.intake = None;
                    Heard::Tmux
                }
            },
            // Cancel-safe by its own word.
            () = async {
                match &mut self.tmux {
                    Some(server) if tmux => server.notice().await,
                    _ => std::future::pending().await,
                }
            } => Heard::Tmux,
            // Cancel-safe: changes stay queued.
            changes = async {
                match &mut self.watch {
                    Some(watch) => watch.changed().await,
                    None => std::future::pending().await,
                }
            } => Heard::Files(changes),
            // Cancel-safe: results stay in the channel.
            () = self.readings.arrived() => Heard::Reading,
            () = tokio::time::sleep(within) => Heard::Time,
        }
    }

    fn note(&mut self, heard: Heard, wakes: &mut BTreeSet<Wake>) {
        tracing::trace!(?heard, "woken");
        match heard {
            Heard::Tmux => drop(wakes.insert(Wake::Tmux)),
            Heard::Time => drop(wakes.insert(Wake::Timer)),
            Heard::Reading => drop(wakes.insert(Wake::Readings)),
            Heard::Deaths(exits) => {
                self.tracks.died(&exits);
                wakes.insert(Wake::Agents);
            }
            Heard::Message(message) => self.note_message(&message, wakes),
            Heard::Files(changes) => {
                for Hint { tag: place, name } in changes {
                    match place {
                        Place::Home => drop(wakes.insert(Wake::Homes)),
                        Place::Links => drop(wakes.insert(Wake::Links)),
                        Place::Readings => {
                            if let Some(ground) = &self.ground {
                                // A file is at hand: reading it at once costs nothing and asks nobody.
                                self.readings.start_file(ground);
                            }
                        }
                        Place::Register => {
                            if let Some(pid) = name.as_deref().and_then(pid_of_entry) {
                                self.tracks.register_changed(pid);
                                wakes.insert(Wake::Agents);
                            }
                        }
                    }
                    if place == Place::Home {
                        // The links of a home stand in it.
                        wakes.insert(Wake::Links);
                    }
                }
            }
        }
    }

    fn note_message(&mut self, message: &Message, wakes: &mut BTreeSet<Wake>) {
        let Some(process) = message.process else { return };
        if let Some((process, report)) = message.start_report() {
            self.tracks.started(process, report);
            wakes.insert(Wake::Agents);
        }
        let report = &message.report;
        // An idle agent's status line comes every minute and mostly says nothing new.
        let hook = message.kind != Kind::StatusLine;
        if self.tracks.spoke(process, report.transcript.as_deref(), report.context_tokens, hook) {
            wakes.insert(Wake::Agents);
        }
        // A reading belongs to the account that the process runs under, as its own environment says; never to a path.
        let home = self.tracks.home_of(process).map(ToOwned::to_owned).or_else(|| message.home.clone());
        let account = home.and_then(|home| self.ground.as_ref()?.account_of(&home).cloned());
        if let (Some(account), Some(usage)) = (account, message.usage()) {
            self.readings.put(&account, &usage);
            wakes.insert(Wake::Readings);
        }
    }
}

/// `4711.json`: the register entry of a process.
fn pid_of_entry(name: &OsStr) -> Option<Pid> {
    name.to_str()?.strip_suffix(".json")?.parse().ok().map(Pid)
}
