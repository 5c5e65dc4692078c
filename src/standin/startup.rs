//! From the arguments to a session that is ready: refusals, the first screens, and the time that a start takes.

use std::{
    collections::VecDeque,
    env, hint, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Error,
    arguments::{Conversation, Start},
    behaviour::{BehaviourFile, Crash, Login},
    home::Home,
    hooks::{Runner, Settings},
    input::Input,
    keys::Key,
    records::Records,
    register::Register,
    screen::Screen,
    session::{Parts, Session, exit_code},
    signals::Signals,
    transcript::{History, Transcript},
};

/// Runs an interactive session; the answer is the exit code.
pub(super) fn session(home: &Home, start: Start) -> Result<u8, Error> {
    let signals = Signals::block()?;
    let workdir = env::current_dir().map_err(Error::io("find the start directory"))?;
    let behaviour = BehaviourFile::open(home.behaviour_file())?;
    let settings = Settings::read(&home.settings())?;
    let settings = match &start.settings {
        Some(given) => settings.merge(Settings::given(given)?),
        None => settings,
    };
    let opened = Opened::find(home, &workdir, &start.conversation, behaviour.get().refuse_resume)?;
    if behaviour.get().crash == Some(Crash::AtStart) {
        return Err(Error::Usage("the stand-in was told to crash at its start".to_owned()));
    }
    let mut screen = Screen::open()?;
    let mut input = Input::new(screen.is_terminal());
    let mut desk = Desk { screen: &mut screen, input: &mut input, signals: &signals, keys: VecDeque::new() };
    if let Some(code) = first_screens(home, &workdir, behaviour.get().login, &mut desk)? {
        return Ok(code);
    }
    burn(Duration::from_millis(behaviour.get().cpu_millis));
    if let Some(code) = desk.wait(Duration::from_millis(behaviour.get().startup_millis))? {
        return Ok(code);
    }
    let early = desk.keys;

    // A session that is started from inside another one keeps out of the transcripts and the register (facts/claude-code.md, section 1).
    let kept = env::var_os("CLAUDE_CODE_CHILD_SESSION").is_none();
    let Opened { conversation, transcript, history } =
        if behaviour.get().blank_conversation { Opened::blank(home, &workdir) } else { opened };
    let resumed = history.is_some();
    let history = history.unwrap_or_default();
    let mode = start.permission_mode.unwrap_or_else(|| "auto".to_owned());
    let mut records = Records::new(conversation.clone(), &workdir, mode, home.account_id());
    records.leaf.clone_from(&history.leaf);
    records.told_account.clone_from(&history.told_account);
    screen.title("✳ stand-in");
    screen.line(&format!("Claude Code stand-in v{} · {}", super::VERSION, workdir.display()));
    if !kept {
        screen.line("Transcript saving is off");
    }
    if behaviour.get().login == Login::Missing {
        screen.line("Not logged in · run /login");
    }
    let crash = behaviour.get().crash;
    let register = Register::new(kept.then(|| home.register()).as_deref(), &conversation, &workdir)?;
    let mut session = Session::new(Parts {
        behaviour,
        signals,
        runner: Runner::new(settings, workdir, &conversation),
        register,
        records,
        transcript: Transcript::new(transcript, kept),
        screen,
        input,
        prompts: history.prompts(),
        resumed,
        task: history.task.clone(),
    });
    session.keep_as_draft(early);
    let goes_on = env::var("CLAUDE_CODE_RESUME_INTERRUPTED_TURN").is_ok_and(|value| value == "1");
    let report = start_report(resumed, &history);
    let tail = if goes_on { history.tail } else { super::transcript::Tail::Settled };
    session.begin(report, tail, start.prompt)?;
    if crash == Some(Crash::AfterStart) {
        // As after SIGKILL, the register entry stays.
        return Ok(1);
    }
    session.run()
}

/// Which conversation a session opens, and what is in it.
struct Opened {
    conversation: String,
    transcript: PathBuf,
    /// `None` for a conversation that begins.
    history: Option<History>,
}

impl Opened {
    fn find(home: &Home, workdir: &Path, conversation: &Conversation, refuse_resume: bool) -> Result<Self, Error> {
        match conversation {
            Conversation::Any => Ok(Self::blank(home, workdir)),
            Conversation::New(id) => {
                let conversation = id.to_string();
                let transcript = home.transcript(workdir, &conversation);
                // An id is free as long as nothing was said under it, even while another process has it open.
                if transcript.exists() {
                    return Err(Error::IdInUse(conversation));
                }
                Ok(Self { conversation, transcript, history: None })
            }
            Conversation::Resume(id) => {
                let conversation = id.to_string();
                match home.find_transcript(workdir, &conversation) {
                    Some(transcript) if !refuse_resume => {
                        let history = Some(History::read(&transcript)?);
                        Ok(Self { conversation, transcript, history })
                    }
                    _ => Err(Error::NoConversation(conversation)),
                }
            }
        }
    }

    fn blank(home: &Home, workdir: &Path) -> Self {
        let conversation = Uuid::new_v4().to_string();
        Self { transcript: home.transcript(workdir, &conversation), conversation, history: None }
    }
}

/// What the start hook is told.
fn start_report(resumed: bool, history: &History) -> Value {
    if !resumed {
        return json!({"source": "startup", "model": "stand-in"});
    }
    let mut report = json!({"source": "resume", "context_tokens": history.context_tokens});
    if let Some(at) = history.answered_at {
        report["seconds_since_last_response"] = json!((Timestamp::now().as_second() - at.as_second()).max(0));
        report["prompt_cache_likely_expired"] = json!(false);
    }
    report
}

/// The screens of a home that is not ready (facts/claude-code.md, section 1). While one is open there is no register entry. The answer
/// is an exit code if the session ends there.
fn first_screens(home: &Home, workdir: &Path, login: Login, desk: &mut Desk<'_>) -> Result<Option<u8>, Error> {
    if !home.is_onboarded() {
        if let Chosen::Ended(code) =
            desk.choose("Choose the text style that looks best with your terminal", &["Dark mode", "Light mode"])?
        {
            return Ok(Some(code));
        }
        if login == Login::Missing {
            if let Chosen::Ended(code) = desk.choose("Select login method:", &["Claude account with subscription"])? {
                return Ok(Some(code));
            }
            desk.screen.line("Unable to connect to Anthropic services");
            return Ok(Some(1));
        }
        home.set_onboarded()?;
    }
    if !home.trusts(workdir) {
        desk.screen.line(&format!("Accessing workspace: {}", workdir.display()));
        match desk.choose("Is this a project you created or one you trust?", &["No, exit", "Yes, I trust this folder"])? {
            Chosen::Ended(code) => return Ok(Some(code)),
            Chosen::Item(1) => home.set_trusted(workdir)?,
            Chosen::Item(_) | Chosen::None => return Ok(Some(1)),
        }
    }
    Ok(None)
}

/// Screen, keys and signals before there is a session.
struct Desk<'a> {
    screen: &'a mut Screen,
    input: &'a mut Input,
    signals: &'a Signals,
    /// Typed, and not yet looked at.
    keys: VecDeque<Key>,
}

/// What became of a dialog.
enum Chosen {
    Item(usize),
    /// Esc.
    None,
    /// A signal came; this is the exit code.
    Ended(u8),
}

impl Desk<'_> {
    /// A dialog whose first item is the default.
    fn choose(&mut self, question: &str, items: &[&str]) -> Result<Chosen, Error> {
        let mut chosen = 0;
        self.screen.line(question);
        loop {
            for (index, item) in items.iter().enumerate() {
                self.screen.line(&format!("{} {item}", if index == chosen { "❯" } else { " " }));
            }
            self.screen.line("Enter to confirm · Esc to cancel");
            while self.keys.is_empty() {
                if let Some(code) = self.read_keys(None)? {
                    return Ok(Chosen::Ended(code));
                }
            }
            match self.keys.pop_front() {
                Some(Key::Enter) => return Ok(Chosen::Item(chosen)),
                Some(Key::Down) => chosen = (chosen + 1).min(items.len() - 1),
                Some(Key::Up) => chosen = chosen.saturating_sub(1),
                Some(Key::Escape | Key::Interrupt) => return Ok(Chosen::None),
                _ => {}
            }
        }
    }

    /// Lets time pass. The answer is an exit code if a signal came.
    fn wait(&mut self, duration: Duration) -> Result<Option<u8>, Error> {
        let until = Instant::now() + duration;
        loop {
            let ended = self.read_keys(Some(until))?;
            if ended.is_some() || Instant::now() >= until {
                return Ok(ended);
            }
        }
    }

    /// Waits for keys, at most until `until`. The answer is an exit code if a signal came.
    fn read_keys(&mut self, until: Option<Instant>) -> Result<Option<u8>, Error> {
        let stdin = io::stdin();
        let deadline = [until, self.input.decision_at()].into_iter().flatten().min();
        let watched = [stdin.as_fd()];
        let woken = self.signals.wait(if self.input.open { &watched } else { &[] }, false, deadline)?;
        if woken.other {
            self.keys.extend(self.input.read());
        }
        self.keys.extend(self.input.decide(Instant::now()));
        Ok(self.signals.take_end().map(exit_code))
    }
}

/// Uses that much processor time, however long it takes to get it: on a busy machine a start takes longer, as the CLI's does.
fn burn(amount: Duration) {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec.unsigned_abs().try_into().unwrap_or(0))
    };
    let until = used() + amount;
    while used() < until {
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Three times as many threads as there are processors get a third of one each.
    #[test]
    fn what_is_burnt_is_processor_time() {
        let amount = Duration::from_millis(60);
        let processors = thread::available_parallelism().expect("known").get();
        let begun = Instant::now();
        let all: Vec<_> = (0..3 * processors).map(|_| thread::spawn(move || burn(amount))).collect();
        for one in all {
            one.join().expect("it ends");
        }
        assert!(begun.elapsed() >= amount * 3, "{amount:?} three times on each processor took {:?}", begun.elapsed());
    }
}
