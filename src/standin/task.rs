//! Tasks that a dispatcher gives: a prompt that carries a claim and names a file in an inbox.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::model::ClaimId;

/// The longest task whose words are read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// A task as a prompt gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    path: PathBuf,
}

/// What becomes of the task at the end of its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its file is moved to `done/`.
    #[default]
    Done,
    /// Its file is moved to `failed/`.
    GivenUp,
    /// Nothing: the agent forgets to.
    Forgotten,
    /// Nothing the first time; done when it is asked again.
    ForgottenOnce,
}

impl Assignment {
    /// The task of a prompt: it carries a claim, and one of its words is a path that leads into an inbox.
    pub(super) fn of(prompt: &str) -> Option<Self> {
        if ClaimId::all_in(prompt).is_empty() {
            return None;
        }
        let path =
            words(prompt).into_iter().map(PathBuf::from).find(|path| path.parent().is_some_and(|parent| parent.ends_with("inbox")))?;
        Some(Self { path })
    }

    /// The task's text, for its words; empty when it is not there.
    pub(super) fn text(&self) -> String {
        let is_small = fs::metadata(&self.path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LIMIT);
        if is_small { fs::read_to_string(&self.path).unwrap_or_default() } else { String::new() }
    }

    /// Moves the file where the ending wants it. `again`: the agent was asked about this task before.
    pub(super) fn end(&self, ending: Ending, again: bool) {
        let directory = match ending {
            Ending::Forgotten => return,
            Ending::ForgottenOnce if !again => return,
            Ending::Done | Ending::ForgottenOnce => "done",
            Ending::GivenUp => "failed",
        };
        if let (Some(queue), Some(name)) = (self.path.parent().and_then(Path::parent), self.path.file_name()) {
            // A file that is not there any more was taken back; an agent would say so and go on.
            let _ = fs::rename(&self.path, queue.join(directory).join(name));
        }
    }
}

/// The words of a text as a shell reads them: bare, between quotation marks, or with escapes (`$'…'`).
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, used) = if let Some(quoted) = rest.strip_prefix("$'") {
            let (word, used) = unescape(quoted);
            (word, used + 2)
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let end = quoted.find('\'').unwrap_or(quoted.len());
            (quoted[..end].to_owned(), end + 2)
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            // A mark that ends the sentence does not belong to the word.
            (rest[..end].trim_end_matches(['.', ',', ';', ':']).to_owned(), end)
        };
        words.push(word);
        rest = rest.get(used..).unwrap_or_default().trim_start();
    }
    words
}

/// The text up to the next quotation mark, with the bytes that its escapes stand for, and how much of it was used.
fn unescape(text: &str) -> (String, usize) {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().enumerate();
    let mut used = text.len();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'\'' => {
                used = at + 1;
                break;
            }
            b'\\' => match rest.next().map(|(_, byte)| byte) {
                Some(b'n') => bytes.push(b'\n'),
                Some(b't') => bytes.push(b'\t'),
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(|(_, byte)| char::from(byte)).collect();
                    bytes.extend(u8::from_str_radix(&digits, 16));
                }
                other => bytes.extend(other),
            },
            byte => bytes.push(byte),
        }
    }
    (String::from_utf8_lossy(&bytes).into_owned(), used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_needs_a_claim_and_a_path() {
        for (word, path) in [
            ("/p/.agent-queue/inbox/a.md", "/p/.agent-queue/inbox/a.md"),
            ("'/p/.agent-queue/inbox/a b.md'", "/p/.agent-queue/inbox/a b.md"),
            ("$'/p/.agent-queue/inbox/it\\'s\\n\\x1b\\\\.md'", "/p/.agent-queue/inbox/it's\n\u{1b}\\.md"),
        ] {
            let prompt = format!("[claim 0123456789ab] Do the task that is written in {word} now. Move it to '/p/.agent queue/done/'.");
            assert_eq!(Assignment::of(&prompt), Some(Assignment { path: path.into() }), "{prompt}");
        }
        assert_eq!(Assignment::of("Do the task in /p/.agent-queue/inbox/a.md"), None);
        assert_eq!(Assignment::of("[claim 0123456789ab] look at /p/inbox"), None);
    }

    #[test]
    fn each_ending_leaves_the_file_in_its_place() {
        for (ending, again, place) in [
            (Ending::Done, false, "done"),
            (Ending::GivenUp, false, "failed"),
            (Ending::Forgotten, true, "inbox"),
            (Ending::ForgottenOnce, false, "inbox"),
            (Ending::ForgottenOnce, true, "done"),
        ] {
            let queue = tempfile::tempdir().expect("a directory");
            for name in ["inbox", "done", "failed"] {
                fs::create_dir(queue.path().join(name)).expect("made");
            }
            let path = queue.path().join("inbox/a.md");
            fs::write(&path, "x").expect("written");
            Assignment { path }.end(ending, again);
            assert!(queue.path().join(place).join("a.md").exists(), "{ending:?}");
        }
    }
}
