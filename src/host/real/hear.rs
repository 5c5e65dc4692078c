//! Waits for a reason to look again.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Place, RealHost, queues, track::UNSETTLED_PAUSE};
use crate::{
    host::{
        Host as _, Wake,
        intake::{Kind, Message, status_file},
        process::Exit,
        queue, ready,
        watch::Hint,
    },
    model::{Monotonic, Pid},
};

/// How long after a first notice others are still taken into the same wake-up: 200 agents that end together are one look. The end of a single
/// agent waits for nobody.
const GATHER: Duration = Duration::from_millis(1);

/// How many reports one look takes in: a flood of them must not keep it from looking.
const MESSAGES_AT_ONCE: usize = 10_000;

#[derive(Debug)]
enum Heard {
    Tmux,
    Deaths(Vec<Exit>),
    Message(Box<Message>),
    Files(BTreeSet<Hint<Place>>),
    Reading,
    Checkpoint,
    Time,
}

impl RealHost {
    /// Cancel-safe: what was heard before the future is dropped stays in `heard`, and the next call gives it at once.
    pub(super) async fn hear(&mut self, deadline: Monotonic) -> BTreeSet<Wake> {
        self.tell_pool();
        let now = self.now().mono;
        let mut until = deadline.0.saturating_sub(now.0);
        if self.tracks.is_unsettled() || self.screens.is_unsettled() {
            until = until.min(UNSETTLED_PAUSE);
        }
        if self.queues.unsettled {
            until = until.min(queue::REST);
        }
        let end = now.plus(until);
        let mut gather = GATHER;
        // What says nothing new, such as an idle agent's status line, is no reason to end the wait; nor can any number of them put its end off.
        while self.heard.is_empty() {
            let left = end.0.saturating_sub(self.now().mono.0);
            let first = self.hear_one(left, true).await;
            gather = if matches!(&first, Heard::Deaths(exits) if exits.len() == 1) { Duration::ZERO } else { GATHER };
            self.note(first);
            if self.heard.is_empty() && left.is_zero() {
                self.heard.insert(Wake::Timer);
            }
        }
        let gathered = tokio::time::Instant::now() + gather;
        while !self.heard.contains(&Wake::Timer) {
            // tmux goes on saying that it is to be looked at until it is: asking again would only hear that.
            let tmux = !self.heard.contains(&Wake::Tmux);
            let left = gathered.saturating_duration_since(tokio::time::Instant::now());
            let heard = if left.is_zero() { ready::now(self.hear_one(GATHER, tmux)).await } else { Some(self.hear_one(left, tmux).await) };
            match heard {
                None | Some(Heard::Time) => break,
                Some(heard) => self.note(heard),
            }
        }
        // From here on nothing is awaited, so that nothing that was heard can be lost.
        let mut wakes = std::mem::take(&mut self.heard);
        if wakes.remove(&Wake::Timer) {
            if self.tracks.is_unsettled() || self.screens.is_unsettled() {
                wakes.insert(Wake::Agents);
            }
            if self.queues.unsettled {
                wakes.insert(Wake::Queues);
            }
        }
        if wakes.is_empty() {
            wakes.insert(Wake::Timer);
        }
        wakes
    }

    /// Takes in what agents have reported by now, without waiting for more.
    pub(super) async fn take_messages(&mut self) {
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(intake) = &mut self.intake else { return };
            // Cancel-safe: a message is either handed out or still in the socket or the spool.
            let Some(Ok(message)) = ready::now(intake.recv()).await else { return };
            self.note_message(&message);
        }
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
            // Cancel-safe: results stay in the channel.
            () = self.checkpoints.arrived() => Heard::Checkpoint,
            () = tokio::time::sleep(within) => Heard::Time,
        }
    }

    fn note(&mut self, heard: Heard) {
        tracing::trace!(?heard, "heard");
        match heard {
            Heard::Tmux => drop(self.heard.insert(Wake::Tmux)),
            Heard::Time => drop(self.heard.insert(Wake::Timer)),
            Heard::Checkpoint => drop(self.heard.insert(Wake::Checkpoints)),
            Heard::Reading => drop(self.heard.insert(if self.readings.take_news() { Wake::Readings } else { Wake::Polls })),
            Heard::Deaths(exits) => {
                self.tracks.died(&exits);
                self.heard.insert(Wake::Agents);
            }
            Heard::Message(message) => self.note_message(&message),
            Heard::Files(changes) => {
                for Hint { tag: place, name } in changes {
                    if !self.is_meant(place, name.as_deref()) {
                        continue;
                    }
                    match place {
                        Place::Home => drop(self.heard.insert(Wake::Homes)),
                        Place::Links | Place::ActiveLink => drop(self.heard.insert(Wake::Links)),
                        Place::Queue if name.as_deref() == Some(OsStr::new(status_file::FILE)) => {
                            if self.tracks.status_file_changed() {
                                self.heard.insert(Wake::Agents);
                            }
                        }
                        Place::Queue | Place::Project => drop(self.heard.insert(Wake::Queues)),
                        Place::Readings => {
                            if let Some(ground) = &self.ground {
                                // A file is at hand: reading it at once costs nothing and asks nobody.
                                self.readings.start_file(ground);
                            }
                        }
                        Place::Register => {
                            if let Some(pid) = name.as_deref().and_then(pid_of_entry) {
                                self.tracks.register_changed(pid);
                                self.heard.insert(Wake::Agents);
                            }
                        }
                    }
                    if place == Place::Home {
                        // The links of a home stand in it.
                        self.heard.insert(Wake::Links);
                    }
                }
            }
        }
    }

    /// Whether a hint is about what is watched for: the directory of a single file may be full of others, such as our own log.
    fn is_meant(&self, place: Place, name: Option<&OsStr>) -> bool {
        let (Some(ground), Some(name)) = (&self.ground, name) else { return true };
        let is_named = |path: &Option<PathBuf>| path.as_deref().and_then(Path::file_name) == Some(name);
        match place {
            Place::Readings => is_named(&ground.file),
            Place::ActiveLink => is_named(&ground.active_link),
            Place::Queue => name == status_file::FILE || queues::is_meant(name),
            Place::Project => name == queue::QUEUE,
            Place::Home | Place::Register | Place::Links => true,
        }
    }

    fn note_message(&mut self, message: &Message) {
        let Some(process) = message.process else { return };
        if let Some((process, report)) = message.start_report() {
            self.tracks.started(process, report);
            self.heard.insert(Wake::Agents);
        }
        if let Some(word) = message.word() {
            self.tracks.said(process, word);
        }
        let report = &message.report;
        match (&message.kind, &report.prompt) {
            (Kind::Hook(event), Some(prompt)) if event == "UserPromptSubmit" => self.tracks.prompted(process, prompt, message.at),
            (Kind::Hook(event), _) if event == "Stop" => self.tracks.turn_ended(process, message.at),
            // A turn that a failure or a limit cut off has ended, and has not come to its end.
            (Kind::Hook(event), _) if event == "StopFailure" => self.tracks.turn_cut_off(process, message.at),
            _ => {}
        }
        // An idle agent's status line comes every minute and mostly says nothing new.
        let hook = message.kind != Kind::StatusLine;
        if self.tracks.spoke(process, report.transcript.as_deref(), report.context_tokens, hook) {
            self.heard.insert(Wake::Agents);
        }
        // A reading belongs to the account that the process runs under, as its own environment says; never to a path.
        let home = self.tracks.home_of(process).map(ToOwned::to_owned).or_else(|| message.home.clone());
        let account = home.and_then(|home| self.ground.as_ref()?.account_of(&home).cloned());
        if let (Some(account), Some(usage)) = (account, message.usage()) {
            // The same figures, measured later, are taken up by the next regular look.
            if self.readings.put(&account, &usage) {
                self.heard.insert(Wake::Readings);
            }
        }
    }
}

/// `4711.json`: the register entry of a process.
fn pid_of_entry(name: &OsStr) -> Option<Pid> {
    name.to_str()?.strip_suffix(".json")?.parse().ok().map(Pid)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, task::Poll};

    use super::*;
    use crate::{
        host::{
            Look,
            agent::report::{Report, Share},
            intake::{Delivery, deliver},
            real::Station,
        },
        model::{AccountName, Activity, PaneId, Percent, PoolId, ProcessId, SessionName, TmuxSessionId, WindowKind},
        observed::{PaneView, Seen, Snapshot, TmuxView},
        plan::Memory,
        spec::fixture,
    };

    fn host(dir: &Path) -> RealHost {
        let station = Station { state: dir.to_owned(), runtime: dir.to_owned(), program: "/bin/true".into(), environment: BTreeMap::new() };
        RealHost::new(station).expect("a host")
    }

    #[tokio::test]
    async fn a_status_line_that_says_nothing_new_wakes_nobody() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut host = host(dir.path());
        let text = "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: { name: p }\nspec:\n  accounts: [{ name: a, home: /homes/a }]\n  \
                    sessions: [{ names: s1, workdir: /work }]\n  tmux: { socket: /nowhere/tmux.sock }\n";
        host.configure(&fixture::read(text), PoolId(uuid::Uuid::nil()));
        // It would only say that its server is not there.
        host.tmux = None;
        host.listen();

        let account = AccountName::new("a").expect("valid");
        let begun = jiff::Timestamp::now();
        let say = |used: u8, second: i64| {
            let share = Share { used: Percent::whole(used), resets_at: Some(begun + Duration::from_hours(3)) };
            let report = Report { windows: [(WindowKind::FiveHour, share)].into(), ..Report::default() };
            let process = Some(ProcessId { pid: Pid(4711), started: 1 });
            let at = begun + Duration::from_secs(second.unsigned_abs());
            let home = Some("/homes/a".into());
            let message = Message { kind: Kind::StatusLine, process, home, at, answered_at: Some(at), report };
            assert_eq!(deliver(&dir.path().join("intake.sock"), None, &message), Delivery::Sent);
            at
        };
        let soon = |host: &RealHost, millis: u64| host.now().mono.plus(Duration::from_millis(millis));
        let hear = async |host: &mut RealHost, millis: u64| {
            let deadline = soon(host, millis);
            host.hear(deadline).await
        };
        say(42, 0);
        assert_eq!(hear(&mut host, 60_000).await, BTreeSet::from([Wake::Readings]), "the first figure is news");
        say(42, 1);
        let last = say(42, 2);
        assert_eq!(hear(&mut host, 100).await, BTreeSet::from([Wake::Timer]), "the same figure is none");
        assert_eq!(
            host.readings.take()[&account].windows[&WindowKind::FiveHour].measured_at,
            last,
            "but its time is kept for the next look"
        );
        say(42, 3);
        assert_eq!(hear(&mut host, 0).await, BTreeSet::from([Wake::Timer]), "it does not put the end of the wait off");
        say(43, 4);
        assert_eq!(hear(&mut host, 60_000).await, BTreeSet::from([Wake::Readings]), "another figure is news again");
        say(43, 60);
        assert_eq!(hear(&mut host, 60_000).await, BTreeSet::from([Wake::Readings]), "and so is that it holds much later");
        let ground = host.ground.clone().expect("configured");
        host.readings.start_file(&ground);
        assert_eq!(hear(&mut host, 60_000).await, BTreeSet::from([Wake::Polls]), "a poll that brings nothing only says that it ended");
    }

    #[tokio::test]
    async fn who_ends_behind_the_wake_up_is_seen_by_the_look() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut host = host(dir.path());
        let text = "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: { name: p }\nspec:\n  accounts: [{ name: a, home: /homes/a }]\n  \
                    sessions: [{ names: s1, workdir: /work }]\n  tmux: { socket: /nowhere/tmux.sock }\n";
        host.configure(&fixture::read(text), PoolId(uuid::Uuid::nil()));
        host.tmux = None;
        host.listen();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pane = PaneView {
            session_id: TmuxSessionId("$1".to_owned()),
            pane: PaneId("%1".to_owned()),
            pid: i32::try_from(child.id()).ok().map(Pid),
            dead: None,
            mark: None,
            attached: 0,
        };
        let tmux = TmuxView { server: None, panes: [("s1".to_owned(), pane)].into() };
        let mut seen = Snapshot { tmux: Seen::known(tmux, host.now()), ..Snapshot::default() };
        let (memory, look) = (Memory::new(PoolId(uuid::Uuid::nil())), Look { agents: true, ..Look::default() });
        let name = SessionName::new("s1").expect("valid");
        host.observe(&memory, &look, &mut seen).await;
        assert_eq!(seen.activity(&name), Activity::Starting);
        child.kill().and_then(|()| child.wait()).expect("our child");
        host.observe(&memory, &look, &mut seen).await;
        assert_eq!(seen.activity(&name), Activity::Exited);
    }

    #[tokio::test]
    async fn what_was_heard_outlives_whoever_waited_for_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut host = host(dir.path());
        host.note(Heard::Files(BTreeSet::from([Hint { tag: Place::Home, name: None }])));
        let deadline = host.now().mono.plus(Duration::from_mins(1));
        {
            // As the loop does when a command comes in while more is gathered: the wait is begun, and dropped.
            let mut wait = std::pin::pin!(host.hear(deadline));
            std::future::poll_fn(|context| {
                assert!(wait.as_mut().poll(context).is_pending(), "it gathers");
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(host.hear(deadline).await, BTreeSet::from([Wake::Homes, Wake::Links]));
        assert_eq!(host.hear(host.now().mono).await, BTreeSet::from([Wake::Timer]), "and it is told once");
    }
}
