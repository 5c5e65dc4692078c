//! A terminal with a person at it: a pane of a tmux server of its own, which is no server of the pool.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::waiting::DEADLINE;

/// How many there were.
static TERMINALS: AtomicUsize = AtomicUsize::new(0);

/// The terminal, with one command of the CLI in it.
pub struct Terminal<'a> {
    pool: &'a Pool,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    /// Starts a command of the CLI in a new terminal.
    #[track_caller]
    pub fn run(pool: &'a Pool, arguments: &[&str]) -> Self {
        // A server of its own each: one that has just been ended may still hold its socket.
        let number = TERMINALS.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { pool, socket: pool.path(&format!("person-{number}.sock")) };
        // It stays open, so that what it shows at the end can be seen.
        let line = [
            "new-session",
            "-d",
            "-s",
            "person",
            "-x",
            "160",
            "-y",
            "50",
            "sh",
            "-c",
            "\"$@\"; echo \"ended: $?\"; exec cat",
            "sh",
            BINARY,
        ];
        terminal.tmux(&[&line, arguments].concat()).expect("started");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(arguments);
        let ended = self.pool.end(command);
        (ended.code == Some(0)).then_some(ended.stdout)
    }

    /// What it shows.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-J", "-t", "=person:"]).unwrap_or_default()
    }

    /// Waits until it shows a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = found_within(DEADLINE, || self.screen().contains(text).then_some(()));
        assert!(found.is_some(), "no {text:?} on the terminal:\n{}", self.screen());
    }

    /// Types a line.
    #[track_caller]
    pub fn answer(&self, line: &str) {
        self.tmux(&["send-keys", "-t", "=person:", "-l", "--", line]).expect("typed");
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names.
    #[track_caller]
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "=person:"], keys].concat()).expect("pressed");
    }

    /// Waits until the command has ended with this exit code.
    #[track_caller]
    pub fn expect(&self, code: i32) {
        self.wait_for("ended: ");
        assert!(self.screen().contains(&format!("ended: {code}\n")), "another end than {code}:\n{}", self.screen());
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}
