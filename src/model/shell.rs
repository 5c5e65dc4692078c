//! Text that people and agents put into a shell.

use std::fmt::Write as _;

/// A text as one word that a shell reads back: as it is, in quotation marks, or with escapes (`$'…'`) when it holds what must not reach a terminal.
pub fn shell_word(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c) || (!c.is_ascii() && is_printable(c));
    if !text.is_empty() && text.chars().all(is_bare) {
        return text.to_owned();
    }
    let is_quotable = |c: char| is_printable(c) && c != '\'' && c != '[';
    if text.chars().all(is_quotable) {
        return format!("'{text}'");
    }
    let mut word = String::from("$'");
    for c in text.chars() {
        match c {
            '\'' => word.push_str("\\'"),
            '\\' => word.push_str("\\\\"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            // What looks like a tag in a name is none.
            '[' => word.push_str("\\x5b"),
            c if is_printable(c) => word.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // Writing to a text does not fail.
                    let _ = write!(word, "\\x{byte:02x}");
                }
            }
        }
    }
    word.push('\'');
    word
}

/// Whether a character shows itself and nothing else: no control character, no line end, none that turns the direction of writing or is not seen.
pub fn is_printable(c: char) -> bool {
    let hidden = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden && (c == ' ' || !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_reads_back_and_carries_nothing_that_steers() {
        for (text, word) in [
            ("", "''"),
            ("/p/fix-1.md", "/p/fix-1.md"),
            ("/p/two words.md", "'/p/two words.md'"),
            ("/p/ümläut.md", "/p/ümläut.md"),
            ("/p/$(rm -rf x);.md", "'/p/$(rm -rf x);.md'"),
            ("/p/it's.md", "$'/p/it\\'s.md'"),
            ("/p/a\nb\u{1b}[31m\u{85}.md", "$'/p/a\\nb\\x1b\\x5b31m\\xc2\\x85.md'"),
            ("/p/[claim 0123456789ab].md", "$'/p/\\x5bclaim 0123456789ab].md'"),
            ("/p/a\u{202e}dm.b\\.md", "$'/p/a\\xe2\\x80\\xaedm.b\\\\.md'"),
        ] {
            assert_eq!(shell_word(text), word, "{text:?}");
        }
    }
}
