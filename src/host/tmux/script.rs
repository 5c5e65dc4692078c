//! Requests and how their answers are told apart, the same for the control connection and for a spawned client.
//!
//! A request is a few lines of tmux's command language. Each line that it prints begins with our tag, a random word that nobody else knows,
//! so that no option, name or screen can pass for one of them. After each request stands a line that prints its number, the server's process
//! and its version: the marker. What came before it belongs to the request, however many blocks it took; without it, nothing is believed.

use uuid::Uuid;

use super::wire::{Block, OutOfStep};
use crate::model::Pid;

/// The word that begins each line that we print.
#[derive(Debug, Clone)]
pub(super) struct Tag(String);

impl Tag {
    /// A new random one.
    pub(super) fn random() -> Self {
        let mut word = Uuid::new_v4().simple().to_string();
        word.truncate(16);
        Self(word)
    }

    /// The word.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// A command that prints a line of ours. `format` must hold no single quote, and no text that others can choose.
    pub(super) fn print(&self, target: Option<&str>, format: &str) -> String {
        match target {
            Some(target) => format!("display-message -p -t '{target}' '{} {format}'", self.0),
            None => format!("display-message -p '{} {format}'", self.0),
        }
    }

    /// What a line of ours says.
    fn strip<'line>(&self, line: &'line str) -> Option<&'line str> {
        line.strip_prefix(&self.0)?.strip_prefix(' ')
    }
}

/// Lines of tmux's command language that belong together. A line may chain commands with `;`: tmux drops the rest once one has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request(pub(super) Vec<String>);

impl Request {
    /// A request of one line.
    pub(super) fn line(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }
}

/// Several requests, as the bytes that are sent.
#[derive(Debug)]
pub(super) struct Batch {
    /// All lines, with the markers.
    pub(super) bytes: Vec<u8>,
    /// Where each request begins.
    begins: Vec<usize>,
    /// The number of the first request.
    first: u64,
}

impl Batch {
    /// Numbers the requests from `first` on.
    pub(super) fn new(tag: &Tag, first: u64, requests: &[Request]) -> Self {
        let mut batch = Self { bytes: Vec::new(), begins: Vec::with_capacity(requests.len()), first };
        for (number, request) in (first..).zip(requests) {
            batch.begins.push(batch.bytes.len());
            for line in &request.0 {
                batch.bytes.extend_from_slice(line.as_bytes());
                batch.bytes.push(b'\n');
            }
            batch.bytes.extend_from_slice(tag.print(None, &format!("end {number} #{{pid}} #{{version}}")).as_bytes());
            batch.bytes.push(b'\n');
        }
        batch
    }

    /// How many requests have begun when `written` bytes are out.
    pub(super) fn begun(&self, written: usize) -> usize {
        self.begins.partition_point(|&begin| begin < written)
    }
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// One that a request of ours prints, without the tag.
    Ours(String),
    /// Any other.
    Raw(String),
}

/// The server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Speaker {
    /// Its process.
    pub(super) pid: Pid,
    /// Its version.
    pub(super) version: String,
}

/// What a request brought, marker included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// What was printed.
    pub(super) lines: Vec<Line>,
    /// What failed, in tmux's words. A spawned client does not say which of its requests failed, so all of them get its errors.
    pub(super) errors: Vec<String>,
    /// Who answered.
    pub(super) speaker: Speaker,
}

impl Reply {
    /// The first line of ours that begins with `word`, without it.
    pub(super) fn word<'reply>(&'reply self, word: &str) -> Option<&'reply str> {
        self.lines.iter().find_map(|line| match line {
            Line::Ours(text) => text.strip_prefix(word).map(str::trim_start),
            Line::Raw(_) => None,
        })
    }
}

/// Collects the answers to a batch.
#[derive(Debug)]
pub(super) struct Answers<'batch> {
    tag: &'batch Tag,
    first: u64,
    wanted: usize,
    lines: Vec<Line>,
    errors: Vec<String>,
    replies: Vec<Reply>,
}

impl<'batch> Answers<'batch> {
    pub(super) fn new(tag: &'batch Tag, batch: &Batch) -> Self {
        Self { tag, first: batch.first, wanted: batch.begins.len(), lines: Vec::new(), errors: Vec::new(), replies: Vec::new() }
    }

    /// Takes a block of the control connection.
    pub(super) fn block(&mut self, block: Block) -> Result<(), OutOfStep> {
        if block.failed {
            // A hook that somebody set may fail as well; that is not an answer to us.
            if block.ours {
                self.errors.extend(block.lines);
            }
            return Ok(());
        }
        block.lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Takes a line that was printed.
    pub(super) fn line(&mut self, mut line: String) -> Result<(), OutOfStep> {
        let Some(text) = self.tag.strip(&line) else {
            self.lines.push(Line::Raw(line));
            return Ok(());
        };
        let Some(marker) = text.strip_prefix("end ") else {
            line.drain(..line.len() - text.len());
            self.lines.push(Line::Ours(line));
            return Ok(());
        };
        let expected = self.first + self.replies.len() as u64;
        match speaker(marker, expected) {
            Some(speaker) if !self.complete() => {
                let reply = Reply { lines: std::mem::take(&mut self.lines), errors: std::mem::take(&mut self.errors), speaker };
                self.replies.push(reply);
                Ok(())
            }
            _ => Err(OutOfStep { why: "an answer has a marker that was not due", line }),
        }
    }

    /// How many requests were answered.
    pub(super) const fn answered(&self) -> usize {
        self.replies.len()
    }

    /// Whether every request was answered.
    pub(super) const fn complete(&self) -> bool {
        self.replies.len() == self.wanted
    }

    /// The answers, for the first requests of the batch.
    pub(super) fn into_replies(self) -> Vec<Reply> {
        self.replies
    }
}

/// Reads `NUMBER PID VERSION`.
fn speaker(marker: &str, expected: u64) -> Option<Speaker> {
    let mut words = marker.splitn(3, ' ');
    let number: u64 = words.next()?.parse().ok()?;
    let pid = Pid(words.next()?.parse().ok()?);
    let version = words.next()?.to_owned();
    (number == expected).then_some(Speaker { pid, version })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag() -> Tag {
        Tag("0123456789abcdef".into())
    }

    fn ok(lines: &[&str]) -> Block {
        Block { failed: false, ours: true, lines: lines.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn each_request_gets_the_blocks_before_its_marker() {
        let tag = tag();
        let batch = Batch::new(&tag, 7, &[Request::line("a"), Request(vec!["b".into(), "c".into()])]);
        let text = String::from_utf8(batch.bytes.clone()).expect("text");
        let marker = |number| format!("display-message -p '0123456789abcdef end {number} #{{pid}} #{{version}}'");
        assert_eq!(text.lines().collect::<Vec<_>>(), ["a", &marker(7), "b", "c", &marker(8)]);

        let mut answers = Answers::new(&tag, &batch);
        answers.block(ok(&["0123456789abcdef done"])).expect("in step");
        answers.block(Block { failed: true, ours: false, lines: vec!["a hook failed".into()] }).expect("in step");
        answers.block(ok(&["0123456789abcdef end 7 42 3.3a"])).expect("in step");
        answers.block(Block { failed: true, ours: true, lines: vec!["no space".into()] }).expect("in step");
        answers.block(ok(&["screen"])).expect("in step");
        assert_eq!((answers.answered(), answers.complete()), (1, false));
        answers.block(ok(&["0123456789abcdef end 8 42 next-3.8"])).expect("in step");
        assert!(answers.complete());

        let replies = answers.into_replies();
        assert_eq!((replies[0].word("done"), replies[0].errors.len()), (Some(""), 0));
        assert_eq!(replies[1].lines, [Line::Raw("screen".into())]);
        assert_eq!(replies[1].errors, ["no space"]);
        assert_eq!(replies[1].speaker, Speaker { pid: Pid(42), version: "next-3.8".into() });
    }

    #[test]
    fn a_marker_of_another_request_is_out_of_step() {
        let tag = tag();
        let batch = Batch::new(&tag, 7, &[Request::default()]);
        for marker in ["end 6 42 3.3a", "end 8 42 3.3a", "end 7", "end 7 x 3.3a", "end "] {
            assert!(Answers::new(&tag, &batch).line(format!("0123456789abcdef {marker}")).is_err(), "{marker:?}");
        }
        let mut answers = Answers::new(&tag, &batch);
        answers.line("0123456789abcdef end 7 42 3.3a".into()).expect("due");
        assert!(answers.line("0123456789abcdef end 8 42 3.3a".into()).is_err(), "nothing more is due");
    }

    #[test]
    fn what_was_not_written_has_not_begun() {
        let batch = Batch::new(&tag(), 0, &[Request::line("a"), Request::line("b"), Request::line("c")]);
        let third = batch.bytes.len() / 3;
        let begun = [0, 1, third, third + 1, 2 * third + 1, 3 * third].map(|written| batch.begun(written));
        assert_eq!(begun, [0, 1, 1, 2, 3, 3]);
    }

    proptest! {
        #[test]
        fn no_lines_without_the_tag_are_an_answer(lines in proptest::collection::vec(".{0,60}", 0..20)) {
            let tag = tag();
            let batch = Batch::new(&tag, 0, &[Request::default()]);
            let mut answers = Answers::new(&tag, &batch);
            for line in &lines {
                prop_assert!(answers.line(line.clone()).is_ok());
            }
            prop_assert_eq!(answers.answered(), 0);
        }
    }
}
