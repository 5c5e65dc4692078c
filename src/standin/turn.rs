//! One turn: from the prompt to the answer, through whatever the prompt's words ask for.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Error,
    behaviour::{Limit, Login},
    records,
    register::Status,
    session::{Doing, Session},
    task::{Assignment, Ending},
    transcript::Tail,
};

/// What is said when an interrupted turn goes on, unless `CLAUDE_CODE_RESUME_PROMPT` says otherwise.
const GO_ON: &str = "Continue from where you left off.";

/// A reset that is further away than this opens the menu; up to a day away the CLI waits by itself.
const WAITS_BY_ITSELF: i64 = 24 * 3600;

/// How long a permission prompt stands before it is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(6);

/// What a prompt's words ask for; the module docs of [`super`] list them.
#[derive(Debug, Default, PartialEq)]
struct Words {
    slow: Option<Duration>,
    tool: Option<Duration>,
    shell: Option<Duration>,
    ask: bool,
    limit: bool,
    exit: Option<u8>,
    crash: bool,
    ending: Ending,
}

impl Words {
    fn of(prompt: &str) -> Self {
        let mut words = Self::default();
        for word in prompt.split("[[").skip(1).filter_map(|rest| rest.split_once("]]")).map(|(word, _)| word.trim()) {
            let (name, number) = word.split_once(' ').unwrap_or((word, ""));
            let seconds = || number.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            match name {
                "slow" => words.slow = seconds(),
                "tool" => words.tool = seconds(),
                "shell" => words.shell = seconds(),
                "ask" => words.ask = true,
                "limit" => words.limit = true,
                "exit" => words.exit = number.trim().parse().ok(),
                "crash" => words.crash = true,
                "give" if number == "up" => words.ending = Ending::GivenUp,
                "forget" if number == "once" => words.ending = Ending::ForgottenOnce,
                "forget" => words.ending = Ending::Forgotten,
                // Anything else is text.
                _ => {}
            }
        }
        words
    }
}

/// A turn under way.
pub(super) struct Turn {
    started: Instant,
    words: Words,
    prompt: String,
    phase: Phase,
}

enum Phase {
    /// The model thinks, until then.
    Thinking(Instant),
    /// A permission dialog is open.
    Asking(Call),
    /// The tool runs.
    Running(Call, Child),
    /// The model answers the tool's result, until then.
    Answering(Instant),
}

/// A call of the tool.
struct Call {
    id: String,
    input: Value,
    takes: Duration,
    started: Instant,
}

impl Turn {
    /// Whether a dialog is open.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking(_))
    }

    /// Whether its present phase is over.
    fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Thinking(until) | Phase::Answering(until) => *until <= now,
            Phase::Asking(_) => false,
            Phase::Running(_, child) => !matches!(child.try_wait(), Ok(None)),
        }
    }

    /// When it goes on by itself.
    pub(super) const fn due_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Thinking(until) | Phase::Answering(until) => Some(until),
            Phase::Asking(_) | Phase::Running(..) => None,
        }
    }
}

impl Session {
    /// A prompt from a person.
    pub(super) fn submit(&mut self, text: &str) -> Result<(), Error> {
        let turn = Uuid::new_v4().to_string();
        self.prompts += 1;
        self.last_prompt = Some(text.to_owned());
        self.screen.line(&format!("❯ {text}"));
        let records = self.records.prompt(text, &turn);
        self.turn_id = Some(turn);
        self.register.set(Status::Busy)?;
        self.fire("UserPromptSubmit", "", json!({"prompt": text}));
        self.write(&records)?;
        let task = Assignment::of(text);
        // A task's own words count as if they stood in the prompt.
        let words = task.as_ref().map_or_else(|| Words::of(text), |task| Words::of(&format!("{text}\n{}", task.text())));
        self.asked_again = self.task.is_some() && self.task == task;
        self.task = task;
        self.begin_turn(text, words)
    }

    /// Takes up what an earlier process left. Answers whether there was anything.
    pub(super) fn take_up(&mut self, tail: Tail) -> Result<bool, Error> {
        match tail {
            Tail::Settled => Ok(false),
            Tail::Prompt { text, parent } => {
                // The new record takes the old one's place in the tree.
                self.records.leaf = parent;
                self.prompts = self.prompts.saturating_sub(1);
                // It is the same asking, not another one.
                self.task = None;
                self.submit(&text)?;
                Ok(true)
            }
            Tail::Open => {
                let text = std::env::var("CLAUDE_CODE_RESUME_PROMPT").unwrap_or_else(|_| GO_ON.to_owned());
                self.go_on(&text)?;
                Ok(true)
            }
        }
    }

    /// A prompt on the person's behalf; no hook tells of it.
    pub(super) fn go_on(&mut self, text: &str) -> Result<(), Error> {
        self.turn_id = None;
        let records = self.records.go_on(text);
        self.write(&records)?;
        // What the task asks of its turn was begun already; what becomes of its file is still to come.
        let ending = self.task.as_ref().map(|task| Words::of(&task.text()).ending).unwrap_or_default();
        self.begin_turn(text, Words { ending, ..Words::default() })
    }

    fn begin_turn(&mut self, prompt: &str, words: Words) -> Result<(), Error> {
        self.announce_at = None;
        self.continue_at = None;
        self.register.set(Status::Busy)?;
        if words.crash {
            self.finished = Some(1);
        }
        let takes = words.slow.unwrap_or(self.turn_takes());
        let started = Instant::now();
        let phase = Phase::Thinking(started + takes);
        self.doing = Doing::Turn(Box::new(Turn { started, words, prompt: prompt.to_owned(), phase }));
        Ok(())
    }

    fn turn_takes(&self) -> Duration {
        Duration::from_millis(self.behaviour.get().turn_millis)
    }

    /// Goes one step further if the step's time has come.
    pub(super) fn advance_turn(&mut self, now: Instant) -> Result<(), Error> {
        let due = if let Doing::Turn(turn) = &mut self.doing { turn.is_due(now) } else { false };
        if !due {
            return Ok(());
        }
        let Doing::Turn(mut turn) = std::mem::replace(&mut self.doing, Doing::Idle) else { return Ok(()) };
        match &turn.phase {
            Phase::Thinking(_) => return self.after_thinking(turn),
            Phase::Answering(_) => return self.answer(&turn),
            Phase::Asking(_) => {}
            Phase::Running(call, _) => {
                let millis = u64::try_from(call.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let told = json!({"tool_name": "Bash", "tool_input": call.input, "tool_use_id": call.id,
                    "tool_response": {"stdout": "", "stderr": "", "interrupted": false}, "duration_ms": millis});
                let record = self.records.tool_result(&call.id, "(Bash completed with no output)", false);
                self.fire("PostToolUse", "Bash", told);
                self.write(&[record])?;
                turn.phase = Phase::Answering(now + self.turn_takes());
            }
        }
        self.doing = Doing::Turn(turn);
        Ok(())
    }

    /// The model has been asked: what comes back depends on the account first and on the prompt then.
    fn after_thinking(&mut self, mut turn: Box<Turn>) -> Result<(), Error> {
        self.refresh_behaviour();
        let now = Timestamp::now();
        if let Some(code) = turn.words.exit {
            self.end(code, "other");
            self.doing = Doing::Turn(turn);
            return Ok(());
        }
        match self.behaviour.get().login {
            Login::Ok => {}
            Login::Missing => return self.fail_at_login("Not logged in · Please run /login"),
            Login::Dead => return self.fail_at_login("Login expired · Please run /login"),
        }
        self.usage_known = true;
        let own = turn.words.limit.then(|| Limit { window: "five_hour".to_owned(), resets_at: now.as_second() + 1800 });
        if let Some(limit) = own.or_else(|| self.behaviour.get().limit_at(now).cloned()) {
            return self.hit_limit(&limit);
        }
        if turn.words.tool.is_none() && !turn.words.ask {
            return self.answer(&turn);
        }
        let takes = turn.words.tool.unwrap_or_default();
        let input = json!({"command": format!("sleep {}", takes.as_secs_f64()), "description": "Waits"});
        let call = Call { id: format!("toolu_{}", Uuid::new_v4().simple()), input, takes, started: Instant::now() };
        let records = self.records.tool_call(&call.id, &call.input, self.context_tokens());
        self.write(&records)?;
        self.screen.line(&format!("● Bash(sleep {})", takes.as_secs_f64()));
        let told = json!({"tool_name": "Bash", "tool_input": call.input, "tool_use_id": call.id});
        self.fire("PreToolUse", "Bash", told.clone());
        if turn.words.ask {
            self.register.set(Status::Waiting("permission prompt"))?;
            self.fire("PermissionRequest", "Bash", told);
            self.announce_at = Some((Instant::now() + ANNOUNCE_AFTER, "permission_prompt"));
            for line in ["Do you want to proceed?", "❯ 1. Yes", "  4. No", "Esc to cancel"] {
                self.screen.line(line);
            }
            turn.phase = Phase::Asking(call);
        } else {
            turn.phase = self.run_tool(call)?;
        }
        self.doing = Doing::Turn(turn);
        Ok(())
    }

    fn run_tool(&self, mut call: Call) -> Result<Phase, Error> {
        call.started = Instant::now();
        let child = self.runner.sleeper(call.takes).map_err(Error::io("start sleep"))?;
        Ok(Phase::Running(call, child))
    }

    /// The person allows the tool.
    pub(super) fn allow_tool(&mut self) -> Result<(), Error> {
        self.announce_at = None;
        let Doing::Turn(turn) = std::mem::replace(&mut self.doing, Doing::Idle) else { return Ok(()) };
        let Turn { started, words, prompt, mut phase } = *turn;
        if let Phase::Asking(call) = phase {
            self.register.set(Status::Busy)?;
            phase = self.run_tool(call)?;
        }
        self.doing = Doing::Turn(Box::new(Turn { started, words, prompt, phase }));
        Ok(())
    }

    /// The turn's end, as it should be.
    fn answer(&mut self, turn: &Turn) -> Result<(), Error> {
        let head: String = turn.prompt.chars().take(60).collect();
        // The number shows how much of the conversation this process knows.
        let text = format!("Prompt {} of this conversation, answered by the stand-in: {head}", self.prompts);
        self.screen.line(&format!("● {text}"));
        let tokens = self.context_tokens();
        let record = self.records.answer(&text, tokens);
        self.write(&[record])?;
        if let Some(task) = &self.task {
            task.end(turn.words.ending, self.asked_again);
        }
        let shell = turn.words.shell.map(|takes| self.runner.sleeper(takes)).transpose().map_err(Error::io("start sleep"))?;
        let background = if shell.is_some() { json!([{"type": "shell", "status": "running"}]) } else { json!([]) };
        let told = json!({"last_assistant_message": text, "stop_hook_active": false, "background_tasks": background, "session_crons": []});
        self.fire("Stop", "", told);
        let records = self.records.turn_over(self.runner.settings().count("Stop"), turn.started.elapsed().as_millis());
        self.write(&records)?;
        self.background = shell;
        self.become_idle()
    }

    fn fail_at_login(&mut self, text: &str) -> Result<(), Error> {
        self.screen.line(&format!("● {text}"));
        let record = self.records.login_failed(text);
        self.write(&[record])?;
        self.fire("StopFailure", "authentication_failed", json!({"error": "authentication_failed", "last_assistant_message": text}));
        self.become_idle()
    }

    fn hit_limit(&mut self, limit: &Limit) -> Result<(), Error> {
        let text = records::limit_text(limit);
        self.screen.line(&format!("  ⎿  {text}"));
        let record = self.records.limit_hit(limit);
        self.write(&[record])?;
        self.fire("StopFailure", "rate_limit", json!({"error": "rate_limit", "last_assistant_message": text}));
        self.become_idle()?;
        let left = limit.resets_at - Timestamp::now().as_second();
        if left > WAITS_BY_ITSELF {
            return self.open_menu();
        }
        let notice = format!("Usage limit reached · set to continue automatically at {}", records::clock(limit.resets_at));
        self.screen.line(&format!("● {notice}"));
        let record = self.records.notice(&notice);
        self.write(&[record])?;
        self.continue_at = Some(Instant::now() + Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1));
        Ok(())
    }

    /// Opens the menu of a limit whose reset is far away.
    pub(super) fn open_menu(&mut self) -> Result<(), Error> {
        for line in ["What do you want to do?", "❯ 1. Stop and wait for limit to reset", "  2. Wait here, then continue automatically"] {
            self.screen.line(line);
        }
        self.doing = Doing::Menu;
        self.register.set(Status::Waiting("dialog open"))
    }

    /// Whether the account is limited until a time that is too far away to wait for.
    pub(super) fn is_limited_for_long(&self) -> bool {
        let now = Timestamp::now();
        self.behaviour.get().limit_at(now).is_some_and(|limit| limit.resets_at - now.as_second() > WAITS_BY_ITSELF)
    }

    /// A person stops the turn, or the waiting for a reset. No hook tells of it.
    pub(super) fn stop_turn(&mut self) -> Result<(), Error> {
        self.continue_at = None;
        self.announce_at = None;
        let Doing::Turn(turn) = std::mem::replace(&mut self.doing, Doing::Idle) else { return Ok(()) };
        let tokens = self.context_tokens();
        let records = match turn.phase {
            Phase::Thinking(_) | Phase::Answering(_) => {
                vec![self.records.broken_answer("I was about to", tokens), self.records.interruption(records::INTERRUPTED)]
            }
            Phase::Asking(call) => vec![
                self.records.tool_result(&call.id, "The user doesn't want to proceed with this tool use.", true),
                self.records.interruption(records::INTERRUPTED_TOOL),
            ],
            Phase::Running(call, child) => {
                kill(child);
                vec![self.records.tool_result(&call.id, records::KILLED, true), self.records.interruption(records::INTERRUPTED_TOOL)]
            }
        };
        self.write(&records)?;
        self.screen.line("  ⎿  Interrupted · What should the stand-in do instead?");
        self.become_idle()
    }

    /// The process ends in the middle of a turn: a running tool is killed and its result recorded, anything else stays unanswered.
    pub(super) fn cut_turn(&mut self) -> Result<(), Error> {
        if let Some(shell) = self.background.take() {
            kill(shell);
        }
        let Doing::Turn(turn) = std::mem::replace(&mut self.doing, Doing::Idle) else { return Ok(()) };
        if let Phase::Running(call, child) = turn.phase {
            kill(child);
            let record = self.records.tool_result(&call.id, records::KILLED, true);
            self.write(&[record])?;
        }
        Ok(())
    }
}

/// Kills a tool with all that it has started, and collects it.
fn kill(mut child: Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It is its own group's leader. It may have ended by itself.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_wherever_they_stand() {
        let words = Words::of("please [[slow 1.5]] and [[ask]] then [[tool 3]] [[exit 7]]");
        let expected = Words {
            slow: Some(Duration::from_millis(1500)),
            ask: true,
            tool: Some(Duration::from_secs(3)),
            exit: Some(7),
            ..Words::default()
        };
        assert_eq!(words, expected);
    }

    #[test]
    fn other_text_in_brackets_means_nothing() {
        assert_eq!(Words::of("a [[link]] and [[slow -1]] and [[tool"), Words::default());
    }
}
