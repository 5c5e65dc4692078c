//! What a person sees: plain lines and the input box. It is enough to follow a session, and what is asked of a screen can be tested on it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};

use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::Error;

/// Standard output, and the mode of the terminal on standard input.
pub(super) struct Screen {
    /// Whether control sequences may be written.
    rich: bool,
    /// The mode to go back to.
    saved: Option<Termios>,
    /// How many rows the input box takes at the end of the screen.
    box_rows: usize,
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
        Ok(Self { rich, saved, box_rows: 0 })
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
        let clear = self.erase_box();
        write(&format!("{clear}{}\n", printable(text)));
    }

    /// The input box with a draft, between two rules as the CLI draws it.
    pub(super) fn input_box(&mut self, draft: &str) {
        if !self.rich {
            return;
        }
        let clear = self.erase_box();
        let columns = columns();
        let rule = "─".repeat(columns.saturating_sub(1));
        let lines: Vec<String> = draft.split('\n').map(printable).collect();
        let text = lines.join("\n  ");
        // The sign, or the space in its place, takes two columns.
        self.box_rows = 2 + lines.iter().map(|line| (line.chars().count() + 2).div_ceil(columns)).sum::<usize>();
        write(&format!("{clear}{rule}\n❯ {text}\n{rule}"));
    }

    /// What takes the box away: the cursor stands in its last row.
    fn erase_box(&mut self) -> String {
        match std::mem::take(&mut self.box_rows) {
            0 => String::new(),
            1 => "\r\x1b[J".to_owned(),
            rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }
}

/// The terminal's width.
fn columns() -> usize {
    tcgetwinsize(io::stdout().as_fd()).map_or(80, |size| usize::from(size.ws_col)).max(20)
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.rich {
            let clear = self.erase_box();
            write(&format!("{clear}\x1b[?2004l"));
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
