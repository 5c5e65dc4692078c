//! Bytes of a terminal or a pipe, as keys.

/// What a person, or tmux on their behalf, has typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Printable text.
    Text(String),
    /// A bracketed paste, whatever it holds.
    Paste(String),
    Enter,
    /// A line feed on a terminal: a new line in the text, which does not submit it.
    Newline,
    Escape,
    Up,
    Down,
    /// Ctrl-C
    Interrupt,
    /// Ctrl-D
    EndOfInput,
    /// Ctrl-U
    ClearLine,
    Backspace,
}

const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";
const ESCAPE: u8 = 0x1b;

/// Turns bytes into keys; sequences may come in pieces.
pub(super) struct Decoder {
    pending: Vec<u8>,
    /// Whether a line feed submits, as on a pipe.
    line_feed_submits: bool,
}

impl Decoder {
    pub(super) fn new(line_feed_submits: bool) -> Self {
        Self { pending: Vec::new(), line_feed_submits }
    }

    /// Takes bytes and gives the keys that are complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some((key, used)) = self.next() {
            keys.extend(key);
            self.pending.drain(..used);
        }
        keys
    }

    /// Whether an escape character stands alone: it is the key if nothing follows soon.
    pub(super) fn is_undecided(&self) -> bool {
        self.pending == [ESCAPE]
    }

    /// Decides that a lone escape character is the key.
    pub(super) fn decide(&mut self) -> Option<Key> {
        let lone = self.is_undecided();
        if lone {
            self.pending.clear();
        }
        lone.then_some(Key::Escape)
    }

    /// The first key with the number of its bytes; a sequence that means nothing has no key. `None` when more bytes are needed.
    fn next(&self) -> Option<(Option<Key>, usize)> {
        let rest = self.pending.as_slice();
        let &first = rest.first()?;
        if rest.starts_with(PASTE_BEGINS) {
            let end = rest.windows(PASTE_ENDS.len()).position(|window| window == PASTE_ENDS)?;
            let text = rest.get(PASTE_BEGINS.len()..end).unwrap_or_default();
            // tmux sends line ends of a paste as carriage returns.
            let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
            return Some((Some(Key::Paste(text)), end + PASTE_ENDS.len()));
        }
        let single = |key| Some((Some(key), 1));
        match first {
            ESCAPE => self.escape_sequence(),
            b'\r' => single(Key::Enter),
            b'\n' => single(if self.line_feed_submits { Key::Enter } else { Key::Newline }),
            0x03 => single(Key::Interrupt),
            0x04 => single(Key::EndOfInput),
            0x15 => single(Key::ClearLine),
            0x08 | 0x7f => single(Key::Backspace),
            0x00..0x20 => Some((None, 1)),
            _ => text(rest),
        }
    }

    fn escape_sequence(&self) -> Option<(Option<Key>, usize)> {
        match self.pending.get(1)? {
            b'[' => {
                // A control sequence ends with a byte of 0x40 to 0x7e (ECMA-48, section 5.4).
                let last = self.pending.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))? + 2;
                let key = match self.pending.get(2..=last) {
                    Some(b"A") => Some(Key::Up),
                    Some(b"B") => Some(Key::Down),
                    _ => None,
                };
                // The beginning of a paste whose end has not come yet is handled before us.
                Some((key, last + 1)).filter(|_| self.pending.get(..=last) != Some(PASTE_BEGINS))
            }
            b'O' => self.pending.get(2).map(|_| (None, 3)),
            _ => Some((Some(Key::Escape), 1)),
        }
    }
}

/// The printable text at the beginning; a character that is cut waits for its rest.
fn text(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let end = bytes.iter().position(|&byte| byte < 0x20 || byte == 0x7f).unwrap_or(bytes.len());
    let run = bytes.get(..end).unwrap_or_default();
    let whole = match std::str::from_utf8(run) {
        Err(error) if error.error_len().is_none() && end == bytes.len() => error.valid_up_to(),
        _ => end,
    };
    let text = String::from_utf8_lossy(run.get(..whole).unwrap_or_default()).into_owned();
    (whole > 0).then_some((Some(Key::Text(text)), whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Key {
        Key::Text(value.to_owned())
    }

    #[test]
    fn text_and_enter_are_two_keys() {
        assert_eq!(Decoder::new(false).feed(b"hello\r"), [text("hello"), Key::Enter]);
        assert_eq!(Decoder::new(false).feed(b"one\ntwo"), [text("one"), Key::Newline, text("two")]);
        assert_eq!(Decoder::new(true).feed(b"one\n"), [text("one"), Key::Enter]);
    }

    #[test]
    fn a_paste_comes_whole_even_in_pieces() {
        let mut decoder = Decoder::new(false);
        assert_eq!(decoder.feed(b"\x1b[20"), []);
        assert_eq!(decoder.feed(b"0~one\rtwo \x1b"), []);
        assert_eq!(decoder.feed(b"[201~\r"), [Key::Paste("one\ntwo ".to_owned()), Key::Enter]);
    }

    #[test]
    fn escape_is_the_key_only_when_nothing_follows() {
        let mut decoder = Decoder::new(false);
        assert_eq!(decoder.feed(b"\x1b"), []);
        assert!(decoder.is_undecided());
        assert_eq!(decoder.feed(b"[B"), [Key::Down]);
        assert_eq!(decoder.feed(b"\x1b"), []);
        assert_eq!(decoder.decide(), Some(Key::Escape));
        assert_eq!(decoder.decide(), None);
        assert_eq!(decoder.feed(b"\x1b[1;5C\x1bOPx"), [text("x")]);
    }

    #[test]
    fn a_character_that_is_cut_waits() {
        let mut decoder = Decoder::new(false);
        assert_eq!(decoder.feed(b"a\xc3"), [text("a")]);
        assert_eq!(decoder.feed(b"\xa9"), [text("é")]);
        assert_eq!(decoder.feed(b"\xff!"), [text("\u{fffd}!")]);
    }
}
