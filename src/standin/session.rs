//! An interactive session: its state, its loop, and its end.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    process::Child,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{
    Error, VERSION,
    behaviour::{BehaviourFile, Window},
    hooks::Runner,
    input::Input,
    records::Records,
    register::{Register, Status},
    screen::Screen,
    signals::Signals,
    task::Assignment,
    transcript::{Tail, Transcript},
    turn::Turn,
};

/// How long nothing happens before that is announced.
const IDLE_ANNOUNCED_AFTER: Duration = Duration::from_mins(1);

/// Tokens of the context that the model reads, as the real one tells (facts/claude-code.md, section 4).
const CONTEXT_WINDOW: u64 = 1_000_000;

/// A running session.
pub(super) struct Session {
    pub(super) behaviour: BehaviourFile,
    pub(super) signals: Signals,
    pub(super) runner: Runner,
    pub(super) register: Register,
    pub(super) records: Records,
    pub(super) transcript: Transcript,
    pub(super) screen: Screen,
    pub(super) input: Input,
    /// What stands in the input box.
    pub(super) draft: String,
    /// Prompts that were given while a turn ran.
    pub(super) queue: VecDeque<String>,
    pub(super) doing: Doing,
    /// How many prompts the conversation holds.
    pub(super) prompts: usize,
    /// The newest prompt of this process.
    pub(super) last_prompt: Option<String>,
    /// The task that the newest prompt with one gave.
    pub(super) task: Option<Assignment>,
    /// Whether the newest prompt asked about the same task as the one before.
    pub(super) asked_again: bool,
    /// The id of the newest prompt's turn, which its hooks carry.
    pub(super) turn_id: Option<String>,
    /// A shell that outlives its turn.
    pub(super) background: Option<Child>,
    /// Whether an answer of the server has told the account's usage.
    pub(super) usage_known: bool,
    /// When a register entry that is late is published.
    pub(super) publish_at: Option<Instant>,
    /// When a session that waits for a reset goes on.
    pub(super) continue_at: Option<Instant>,
    /// What is announced, and when.
    pub(super) announce_at: Option<(Instant, &'static str)>,
    /// When the first of two Ctrl-C or Ctrl-D came.
    pub(super) way_out_since: Option<Instant>,
    /// Set by whatever ends the process without cleaning up.
    pub(super) finished: Option<u8>,
    /// Whether the conversation had a transcript before.
    pub(super) resumed: bool,
    started: Instant,
    refresh_at: Option<Instant>,
    ending: Option<Ending>,
}

/// What a session does.
pub(super) enum Doing {
    Idle,
    /// The menu of a limit is open.
    Menu,
    Turn(Box<Turn>),
}

/// An end under way.
struct Ending {
    code: u8,
    reason: &'static str,
    at: Instant,
}

/// What a session is made of.
pub(super) struct Parts {
    pub(super) behaviour: BehaviourFile,
    pub(super) signals: Signals,
    pub(super) runner: Runner,
    pub(super) register: Register,
    pub(super) records: Records,
    pub(super) transcript: Transcript,
    pub(super) screen: Screen,
    pub(super) input: Input,
    pub(super) prompts: usize,
    pub(super) resumed: bool,
    pub(super) task: Option<Assignment>,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { behaviour, signals, runner, register, records, transcript, screen, input, prompts, resumed, task } = parts;
        Self {
            behaviour,
            signals,
            runner,
            register,
            records,
            transcript,
            screen,
            input,
            draft: String::new(),
            queue: VecDeque::new(),
            doing: Doing::Idle,
            prompts,
            last_prompt: None,
            task,
            asked_again: false,
            turn_id: None,
            background: None,
            usage_known: false,
            publish_at: None,
            continue_at: None,
            announce_at: None,
            way_out_since: None,
            finished: None,
            resumed,
            started: Instant::now(),
            refresh_at: None,
            ending: None,
        }
    }

    /// Puts the session into the register, tells the hooks, and takes up what was interrupted or what was given as an argument.
    pub(super) fn begin(&mut self, start_report: Value, tail: Tail, prompt: Option<String>) -> Result<(), Error> {
        self.screen.input_box(&self.draft);
        let delay = self.behaviour.get().register_delay_millis;
        if delay == 0 {
            self.register.publish()?;
        } else {
            self.publish_at = Some(Instant::now() + Duration::from_millis(delay));
        }
        let source = start_report["source"].as_str().unwrap_or_default().to_owned();
        self.fire("SessionStart", &source, start_report);
        self.show_status();
        self.usage_known = true;
        if !self.take_up(tail)? {
            if let Some(prompt) = prompt {
                self.submit(&prompt)?;
            } else if self.resumed && self.is_limited_for_long() {
                self.open_menu()?;
            }
        }
        Ok(())
    }

    /// Runs until the session ends; the answer is the exit code.
    pub(super) fn run(mut self) -> Result<u8, Error> {
        loop {
            self.advance(Instant::now())?;
            if let Some(code) = self.finished {
                return Ok(code);
            }
            let stdin = io::stdin();
            let input: &[BorrowedFd<'_>] = if self.input.open { &[stdin.as_fd()] } else { &[] };
            let woken = self.signals.wait(input, true, self.next_deadline())?;
            self.signals.drain_children();
            self.runner.reap();
            while let Some(signal) = self.signals.take_end() {
                self.take_signal(signal);
            }
            if woken.other {
                for key in self.input.read() {
                    self.press(key)?;
                }
                if !self.input.open && self.screen.is_terminal() {
                    // The terminal is gone; a signal may or may not follow.
                    self.end(129, "other");
                }
            }
        }
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(ending) = &self.ending {
            return if ending.at <= now { self.finish() } else { Ok(()) };
        }
        if take_due(&mut self.publish_at, now) {
            self.register.publish()?;
        }
        if let Some(key) = self.input.decide(now) {
            self.press(key)?;
        }
        self.advance_turn(now)?;
        if take_due(&mut self.continue_at, now) {
            self.go_on("Your claude.ai usage limit has reset. Continue from where you left off.")?;
        }
        if let Some((_, kind)) = self.announce_at.take_if(|(at, _)| *at <= now) {
            self.fire("Notification", kind, json!({"notification_type": kind, "message": "The stand-in waits for you"}));
        }
        if self.background.as_mut().is_some_and(|shell| !matches!(shell.try_wait(), Ok(None))) {
            self.background = None;
            // The end of a background shell wakes the session with a prompt of its own.
            if matches!(self.doing, Doing::Idle) {
                self.go_on("<task-notification>A background command has ended.</task-notification>")?;
            }
        }
        if take_due(&mut self.refresh_at, now) {
            self.refresh_behaviour();
            self.show_status();
        }
        Ok(())
    }

    /// The earliest time at which something is due.
    fn next_deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return Some(ending.at);
        }
        let turn = if let Doing::Turn(turn) = &self.doing { turn.due_at() } else { None };
        let announced = self.announce_at.map(|(at, _)| at);
        [self.publish_at, self.continue_at, self.refresh_at, self.input.decision_at(), turn, announced].into_iter().flatten().min()
    }

    /// The turn is over: the next prompt of the queue, or nothing.
    pub(super) fn become_idle(&mut self) -> Result<(), Error> {
        self.doing = Doing::Idle;
        // The CLI shows its box all the time: it is there before anybody hears that the session is idle.
        self.screen.input_box(&self.draft);
        self.register.set(if self.background.is_some() { Status::Shell } else { Status::Idle })?;
        self.show_status();
        self.announce_at =
            Some((Instant::now() + IDLE_ANNOUNCED_AFTER, "idle_prompt")).filter(|_| self.runner.settings().count("Notification") > 0);
        if let Some(text) = self.queue.pop_front() {
            return self.submit(&text);
        }
        Ok(())
    }

    /// Looks at the account's behaviour again. A file that cannot be understood just now leaves it as it was.
    pub(super) fn refresh_behaviour(&mut self) {
        if let Err(error) = self.behaviour.refresh() {
            self.screen.line(&format!("{error}"));
        }
    }

    /// Appends to the transcript; the first write puts its opening in front.
    pub(super) fn write(&mut self, records: &[Value]) -> Result<(), Error> {
        if self.transcript.begun {
            self.transcript.append(records)
        } else {
            self.transcript.append(&[self.records.opening().as_slice(), records].concat())
        }
    }

    /// What the conversation's context costs: a fixed part, and some for each prompt.
    pub(super) fn context_tokens(&self) -> u64 {
        3000 + 200 * u64::try_from(self.prompts).unwrap_or(u64::MAX / 1000)
    }

    /// Runs the hooks of an event with its own fields and those that every event has.
    pub(super) fn fire(&mut self, event: &str, subject: &str, own: Value) {
        let input = self.hook_input(event, own);
        self.runner.fire(event, subject, &input, &self.signals);
    }

    fn hook_input(&self, event: &str, own: Value) -> Value {
        let mut input = json!({
            "session_id": self.records.conversation, "transcript_path": self.transcript.path, "cwd": self.runner.workdir(),
            "hook_event_name": event,
        });
        if let Some(turn) = &self.turn_id {
            input["prompt_id"] = json!(turn);
            input["permission_mode"] = json!(self.records.permission_mode);
        }
        if let (Some(all), Value::Object(own)) = (input.as_object_mut(), own) {
            all.extend(own);
        }
        input
    }

    /// Hands the status line what it shows.
    fn show_status(&mut self) {
        let workdir = self.runner.workdir();
        let mut input = json!({
            "session_id": self.records.conversation, "transcript_path": self.transcript.path, "cwd": workdir, "version": VERSION,
            "model": {"id": "stand-in", "display_name": "Stand-in"},
            "workspace": {"current_dir": workdir, "project_dir": workdir, "added_dirs": []},
            "cost": {"total_cost_usd": 0, "total_duration_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)},
            "context_window": {"total_input_tokens": self.context_tokens(), "context_window_size": CONTEXT_WINDOW},
            "exceeds_200k_tokens": false,
        });
        if let Some(limits) = self.rate_limits() {
            input["rate_limits"] = limits;
        }
        self.runner.show_status(&input);
        self.refresh_at = self.runner.settings().refresh_interval().map(|interval| Instant::now() + interval);
    }

    /// The windows as the status line shows them; absent until the server has answered once, and for an account without any.
    fn rate_limits(&self) -> Option<Value> {
        let behaviour = self.behaviour.get();
        let limit = behaviour.limit_at(Timestamp::now());
        let shown = |window: &Option<Window>, name: &str| match limit.filter(|limit| limit.window == name) {
            Some(limit) => Some(json!({"used_percentage": 100, "resets_at": limit.resets_at})),
            None => window.as_ref().map(|window| json!({"used_percentage": window.used_percent, "resets_at": window.resets_at})),
        };
        let mut limits = serde_json::Map::new();
        for (name, window) in [("five_hour", &behaviour.usage.five_hour), ("seven_day", &behaviour.usage.weekly)] {
            limits.extend(shown(window, name).map(|value| (name.to_owned(), value)));
        }
        (self.usage_known && !limits.is_empty()).then_some(Value::Object(limits))
    }

    fn take_signal(&mut self, signal: Signal) {
        self.refresh_behaviour();
        if !self.behaviour.get().stubborn {
            self.end(exit_code(signal), "other");
        }
    }

    /// Whether the end has begun.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Begins the end; a second wish for it changes nothing.
    pub(super) fn end(&mut self, code: u8, reason: &'static str) {
        if self.ending.is_none() {
            let takes = Duration::from_millis(self.behaviour.get().exit_millis);
            self.ending = Some(Ending { code, reason, at: Instant::now() + takes });
        }
    }

    /// Ends: what is known goes to disk, the hooks are told, the register entry goes last.
    fn finish(&mut self) -> Result<(), Error> {
        let Some(Ending { code, reason, .. }) = self.ending.take() else { return Ok(()) };
        if self.transcript.begun || self.resumed {
            let records = self.records.closing(self.last_prompt.as_deref(), self.context_tokens());
            self.write(&records)?;
        }
        self.cut_turn()?;
        let input = self.hook_input("SessionEnd", json!({"reason": reason}));
        self.runner.fire_at_end("SessionEnd", reason, &input);
        self.register.remove();
        self.finished = Some(code);
        Ok(())
    }
}

/// The exit code after a signal. SIGINT counts as a person's wish, and ends well.
pub(super) const fn exit_code(signal: Signal) -> u8 {
    match signal {
        Signal::SIGINT => 0,
        Signal::SIGHUP => 129,
        _ => 143,
    }
}

/// Takes a time that has come.
fn take_due(at: &mut Option<Instant>, now: Instant) -> bool {
    at.take_if(|at| *at <= now).is_some()
}
