//! What a person sees: plain lines and the input box. It is enough to follow a session, and what is asked of a screen can be tested on it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};

use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

use super::Error;

/// Standard output, and the mode of the terminal on standard input.
pub(super) struct Screen {
    /// Whether control sequences may be written.
    rich: bool,
    /// The mode to go back to.
    saved: Option<Termios>,
    /// Whether the input box stands on the last line.
    box_shown: bool,
}

impl Screen {
    /// Takes the terminal over: keys come one by one, and pastes in brackets.
    pub(super) fn open() -> Result<Self, Error> {
        let stdin = io::stdin();
        let saved = if stdin.is_terminal() {
            let saved = tcgetattr(stdin.as_fd()).map_err(|errno| Error::io("read the terminal's mode")(errno.into()))?;
            let mut raw = saved.clone();
            raw.make_raw();
            // Lines end as usual.
            raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
            tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).map_err(|errno| Error::io("set the terminal's mode")(errno.into()))?;
            Some(saved)
        } else {
            None
        };
        let rich = io::stdout().is_terminal();
        if rich {
            write("\x1b[?2004h");
        }
        Ok(Self { rich, saved, box_shown: false })
    }

    /// Whether keys come from a terminal.
    pub(super) const fn is_terminal(&self) -> bool {
        self.saved.is_some()
    }

    /// The window's title.
    pub(super) fn title(&self, text: &str) {
        if self.rich {
            write(&format!("\x1b]0;{}\x07", printable(text)));
        }
    }

    /// One line above the input box.
    pub(super) fn line(&mut self, text: &str) {
        let clear = if self.rich && self.box_shown { "\r\x1b[K" } else { "" };
        self.box_shown = false;
        write(&format!("{clear}{}\n", printable(text)));
    }

    /// The input box with a draft; only its last line is shown.
    pub(super) fn input_box(&mut self, draft: &str) {
        if self.rich {
            let last = draft.rsplit('\n').next().unwrap_or_default();
            write(&format!("\r\x1b[K❯ {}", printable(last)));
            self.box_shown = true;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.rich {
            write(if self.box_shown { "\r\x1b[K\x1b[?2004l" } else { "\x1b[?2004l" });
        }
        if let Some(saved) = &self.saved {
            // The terminal may be gone.
            let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, saved);
        }
    }
}

/// Writes at once. A terminal that has gone is noticed by its signal, not here.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Text from outside without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
