//! tmux's control mode, as lines in and events out: no reading, no waiting (tmux(1), "CONTROL MODE"; `facts/tmux.md`, section 3.4).

/// The most that one block may hold: a list of 4,000 panes is 1 MB.
const BLOCK_LIMIT: usize = 16 << 20;

/// How much is read at once, if there is as much: a pipe holds 64 KiB.
const READ_SIZE: usize = 64 << 10;

/// One thing that the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// What one command wrote.
    Block(Block),
    /// Something changed; `true` when it may concern the sessions, so that it is worth another look.
    Notice(bool),
    /// The server ends the connection.
    Exit(String),
}

/// What one command wrote, between `%begin` and `%end` or `%error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Whether the command failed; the lines are its error then.
    pub(super) failed: bool,
    /// Whether it came from our input, and not from a hook or from attaching.
    pub(super) ours: bool,
    /// Raw lines: they may look like anything, also like notices.
    pub(super) lines: Vec<String>,
}

/// The server said something that cannot be: the stream is out of step and must be given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutOfStep {
    /// What is wrong.
    pub(super) why: &'static str,
    /// The line.
    pub(super) line: String,
}

/// The state between two reads.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    open: Option<Open>,
}

/// A block that has begun.
#[derive(Debug)]
struct Open {
    /// `T N F` of its `%begin`: time, number and flags. Only the same three end it.
    key: String,
    lines: Vec<String>,
    size: usize,
}

impl Parser {
    /// Where what is read is appended.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.reserve(READ_SIZE);
        &mut self.bytes
    }

    /// The next event, if its last line has arrived.
    pub(super) fn next(&mut self) -> Option<Result<Event, OutOfStep>> {
        while let Some(line) = self.line() {
            if let Some(event) = self.take(line).transpose() {
                return Some(event);
            }
        }
        (self.bytes.len() - self.start > BLOCK_LIMIT).then(|| Err(OutOfStep { why: "the line has no end", line: String::new() }))
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<String> {
        let Some(length) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + length;
        let line = String::from_utf8_lossy(&self.bytes[self.start..end]).into_owned();
        self.start = end + 1;
        self.searched = self.start;
        Some(line)
    }

    fn take(&mut self, line: String) -> Result<Option<Event>, OutOfStep> {
        let Some(open) = &mut self.open else { return self.outside(line) };
        let (word, key) = line.split_once(' ').unwrap_or((&line, ""));
        if matches!(word, "%end" | "%error") && key == open.key {
            let failed = word == "%error";
            // The lowest bit of the flags is set for what came from our input.
            let ours = key.rsplit(' ').next().and_then(|flags| flags.parse::<u32>().ok()).is_some_and(|flags| flags & 1 == 1);
            return Ok(self.open.take().map(|open| Event::Block(Block { failed, ours, lines: open.lines })));
        }
        open.size += line.len();
        if open.size > BLOCK_LIMIT {
            return Err(OutOfStep { why: "the answer is too long", line });
        }
        open.lines.push(line);
        Ok(None)
    }

    fn outside(&mut self, line: String) -> Result<Option<Event>, OutOfStep> {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "%begin" => {
                if rest.split(' ').count() != 3 || !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ') {
                    return Err(OutOfStep { why: "the beginning of an answer is not `%begin TIME NUMBER FLAGS`", line });
                }
                self.open = Some(Open { key: rest.to_owned(), lines: Vec::new(), size: 0 });
                Ok(None)
            }
            "%end" | "%error" => Err(OutOfStep { why: "an answer ends that has not begun", line }),
            "%exit" => Ok(Some(Event::Exit(rest.to_owned()))),
            _ if word.starts_with('%') => Ok(Some(Event::Notice(concerns_sessions(word)))),
            _ => Err(OutOfStep { why: "a line stands outside of every answer", line }),
        }
    }
}

/// Whether a notice can mean that a session was made, closed, renamed, attached or detached. A word that we do not know can.
fn concerns_sessions(word: &str) -> bool {
    !matches!(
        word,
        "%client-session-window-changed"
            | "%config-error"
            | "%continue"
            | "%extended-output"
            | "%layout-change"
            | "%message"
            | "%output"
            | "%pane-mode-changed"
            | "%paste-buffer-changed"
            | "%paste-buffer-deleted"
            | "%pause"
            | "%session-changed"
            | "%session-window-changed"
            | "%subscription-changed"
            | "%unlinked-window-renamed"
            | "%window-pane-changed"
            | "%window-renamed"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<Result<Event, OutOfStep>> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.room().extend_from_slice(chunk);
            while let Some(event) = parser.next() {
                let failed = event.is_err();
                events.push(event);
                if failed {
                    return events;
                }
            }
        }
        events
    }

    fn block(failed: bool, lines: &[&str]) -> Event {
        Event::Block(Block { failed, ours: true, lines: lines.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn what_tmux_says_on_attach_is_understood() {
        // As recorded from 3.3a.
        let recorded = b"%begin 1795353836 264 0\n%end 1795353836 264 0\n%session-changed $0 _anchor\n%begin 1795353837 275 1\n\
                         duplicate session: w2\n%error 1795353837 275 1\n%unlinked-window-add @1\n%sessions-changed\n%exit server exited\n";
        let found: Vec<Event> = events(&[recorded]).into_iter().collect::<Result<_, _>>().expect("in step");
        assert_eq!(
            found,
            [
                Event::Block(Block { failed: false, ours: false, lines: vec![] }),
                Event::Notice(false),
                block(true, &["duplicate session: w2"]),
                Event::Notice(true),
                Event::Notice(true),
                Event::Exit("server exited".into()),
            ]
        );
    }

    #[test]
    fn only_the_same_three_end_a_block() {
        let hostile = b"%begin 5 6 1\n%end 5 7 1\n%end 5 6 0\n%error 4 6 1\n%begin 5 8 1\n%sessions-changed\nplain\n%end 5 6 1\n";
        let lines = ["%end 5 7 1", "%end 5 6 0", "%error 4 6 1", "%begin 5 8 1", "%sessions-changed", "plain"];
        assert_eq!(events(&[hostile]), [Ok(block(false, &lines))]);
    }

    #[test]
    fn a_word_that_is_not_known_means_look_again() {
        assert_eq!(events(&[b"%brand-new-thing @1\n"]), [Ok(Event::Notice(true))]);
        assert_eq!(events(&[b"%output %1 %sessions-changed\n"]), [Ok(Event::Notice(false))]);
    }

    #[test]
    fn a_stream_out_of_step_is_given_up() {
        for broken in ["row without a block\n", "%end 1 2 1\n", "%begin 1 2\n", "%begin a b c\n", "\n"] {
            assert!(matches!(events(&[broken.as_bytes()])[..], [Err(_)]), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            lines in proptest::collection::vec("(%begin 1 2 1|%end 1 2 1|%error 1 2 1|%sessions-changed|%exit|[ -~]{0,20}|é\t)", 0..30),
            cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let whole = events(&[&bytes]);
            let mut chunks = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, left) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = left;
            }
            prop_assert_eq!(events(&chunks), whole);
        }

        #[test]
        fn any_lines_in_a_block_come_out_as_they_are(lines in proptest::collection::vec("[^\n]{0,30}", 0..20)) {
            let text = [&["%begin 17 4 1".to_owned()], &lines[..], &["%end 17 4 1\n".to_owned()]].concat().join("\n");
            prop_assume!(!lines.iter().any(|line| line == "%end 17 4 1" || line == "%error 17 4 1"));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(events(&[text.as_bytes()]), [Ok(block(false, &lines))]);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let _ = events(&chunks);
        }
    }
}
