//! What keys do: the draft, the queue, answers to dialogs, and the ways out.

use std::{
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use super::{
    Error,
    keys::{Decoder, Key},
    session::{Doing, Session},
};

/// How long an escape character may stand alone before it is the key.
const ESCAPE_DELAY: Duration = Duration::from_millis(30);

/// How close two Ctrl-C or Ctrl-D must be to end the session.
const TWICE_WITHIN: Duration = Duration::from_secs(1);

/// Standard input.
pub(super) struct Input {
    decoder: Decoder,
    /// Whether more may come.
    pub(super) open: bool,
    undecided_since: Option<Instant>,
}

impl Input {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self { decoder: Decoder::new(!is_terminal), open: true, undecided_since: None }
    }

    /// Reads what is there; to be called when standard input is readable.
    pub(super) fn read(&mut self) -> Vec<Key> {
        let mut bytes = [0; 4096];
        match rustix::io::read(io::stdin().as_fd(), &mut bytes) {
            Ok(0) => {
                self.open = false;
                Vec::new()
            }
            Ok(count) => {
                let keys = self.decoder.feed(bytes.get(..count).unwrap_or_default());
                self.undecided_since = self.decoder.is_undecided().then(Instant::now);
                keys
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Vec::new(),
            Err(_) => {
                self.open = false;
                Vec::new()
            }
        }
    }

    /// When a lone escape character becomes the key.
    pub(super) fn decision_at(&self) -> Option<Instant> {
        self.undecided_since.map(|since| since + ESCAPE_DELAY)
    }

    /// The escape key, if its time has come.
    pub(super) fn decide(&mut self, now: Instant) -> Option<Key> {
        self.decision_at().filter(|&at| at <= now)?;
        self.undecided_since = None;
        self.decoder.decide()
    }
}

impl Session {
    /// Obeys one key.
    pub(super) fn press(&mut self, key: Key) -> Result<(), Error> {
        if self.is_ending() {
            return Ok(());
        }
        match self.doing {
            Doing::Menu => self.press_in_menu(&key),
            Doing::Turn(ref turn) if turn.is_asking() => self.press_in_dialog(&key),
            _ => self.press_in_box(key),
        }
    }

    /// Keys typed before the session was ready stand in the box as a draft; Enter is lost (facts/claude-code.md, section 7).
    pub(super) fn keep_as_draft(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            if let Key::Text(text) | Key::Paste(text) = key {
                self.draft.push_str(&text);
            }
        }
        self.screen.input_box(&self.draft);
    }

    fn press_in_box(&mut self, key: Key) -> Result<(), Error> {
        match key {
            Key::Text(text) | Key::Paste(text) => self.draft.push_str(&text),
            Key::Newline => self.draft.push('\n'),
            Key::Backspace => drop(self.draft.pop()),
            Key::ClearLine => {
                let kept = self.draft.rfind('\n').map_or(0, |at| at + 1);
                self.draft.truncate(kept);
            }
            Key::Up | Key::Down => {}
            Key::Escape => self.stop_turn()?,
            Key::Interrupt if matches!(self.doing, Doing::Turn(_)) => self.stop_turn()?,
            Key::Interrupt | Key::EndOfInput => {
                let again = self.way_out_since.take().is_some_and(|since| since.elapsed() <= TWICE_WITHIN);
                if key == Key::EndOfInput && !self.draft.is_empty() {
                    return Ok(());
                }
                if again {
                    self.end(0, "prompt_input_exit");
                    return Ok(());
                }
                self.draft.clear();
                self.way_out_since = Some(Instant::now());
                self.screen.line("Press again to exit");
            }
            Key::Enter => {
                let text = std::mem::take(&mut self.draft);
                let text = text.trim();
                match text {
                    "" => {}
                    "/exit" => self.end(0, "prompt_input_exit"),
                    _ if matches!(self.doing, Doing::Turn(_)) => {
                        self.queue.push_back(text.to_owned());
                        self.screen.line("Press up to edit queued messages");
                    }
                    _ => self.submit(text)?,
                }
            }
        }
        if !self.is_ending() {
            self.screen.input_box(&self.draft);
        }
        Ok(())
    }

    /// A permission dialog takes Enter for its first answer, and swallows text.
    fn press_in_dialog(&mut self, key: &Key) -> Result<(), Error> {
        match key {
            Key::Enter => self.allow_tool(),
            Key::Escape | Key::Interrupt => self.stop_turn(),
            Key::Text(text) if text.starts_with('4') => self.stop_turn(),
            Key::Text(text) if text.starts_with('1') => self.allow_tool(),
            _ => Ok(()),
        }
    }

    /// The menu of a limit that is far from its reset: every way out of it leads back to the box.
    fn press_in_menu(&mut self, key: &Key) -> Result<(), Error> {
        match key {
            Key::Enter | Key::Escape | Key::Interrupt => self.become_idle(),
            _ => Ok(()),
        }
    }
}
