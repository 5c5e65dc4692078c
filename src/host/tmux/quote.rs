//! Puts any text on one line of tmux's command language, so that it comes out as one argument, unchanged.

use std::fmt::Write as _;

/// The text as one double-quoted argument.
///
/// Inside double quotes tmux still reads `\`, `"`, `$` and, as the first character, `~` (verified with 3.3a: `"~/x"` becomes a home).
/// Control characters become `\ooo`: a raw line end would end the command. The text must not hold NUL, which no argument can.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '\\' | '"' | '$' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '~' => quoted.push_str("\\176"),
            '\0'..='\x1f' | '\x7f' => {
                // Writing to a `String` cannot fail.
                let _ = write!(quoted, "\\{:03o}", u32::from(character));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The text as a format that expands to it. tmux expands a start directory: without this, a directory named `#(command)` would run the
/// command (verified with 3.3a). `None` for a text with `#[`, which no version of tmux can be told to take literally.
pub(super) fn literal(text: &str) -> Option<String> {
    (!text.contains("#[")).then(|| text.replace('#', "##"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What tmux makes of a double-quoted argument (`yylex_token` in tmux's `cmd-parse.y`); `None` when it would not be one whole argument.
    fn unquote(line: &str) -> Option<Vec<u8>> {
        let inner = line.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
        let mut text = Vec::new();
        let mut at = 0;
        while let Some(&byte) = inner.get(at) {
            at += 1;
            match byte {
                b'"' | b'$' | b'\n' | b'\r' => return None,
                b'~' if at == 1 => return None,
                b'\\' => {
                    let escaped = *inner.get(at)?;
                    if (b'0'..=b'7').contains(&escaped) {
                        let digits = std::str::from_utf8(inner.get(at..at + 3)?).ok()?;
                        text.push(u8::from_str_radix(digits, 8).ok()?);
                        at += 3;
                    } else if matches!(escaped, b'\\' | b'"' | b'$') {
                        text.push(escaped);
                        at += 1;
                    } else {
                        return None;
                    }
                }
                other => text.push(other),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn any_text_comes_out_unchanged_on_one_line(text in any::<String>()) {
            let line = quote(&text);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(unquote(&line), Some(text.into_bytes()));
        }
    }

    #[test]
    fn a_directory_is_no_format() {
        assert_eq!(literal("/a#(touch x)#{pid}##").as_deref(), Some("/a##(touch x)##{pid}####"));
        assert_eq!(literal("/100%H/a b").as_deref(), Some("/100%H/a b"));
        assert_eq!(literal("/a#[b]"), None);
    }
}
