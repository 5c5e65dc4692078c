//! Patterns of names: `ccl-{0..9}`, `{api,web}-{01..10}`.
//!
//! # Guarantees
//! The number of names is known before any is made, so that a pattern cannot explode. Names come in the order in which a shell would
//! give them: the last braces turn fastest.

use super::diagnostic::quoted;

/// The most names that one pattern may give, and the most sessions of a pool.
pub const MAX_NAMES: usize = 10_000;

/// Why a pattern cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// A brace is not closed, or closed twice.
    #[error("its braces do not match")]
    Unbalanced,
    /// A brace inside braces.
    #[error("braces cannot be put inside braces")]
    Nested,
    /// Braces around nothing, one word, or with an empty word.
    #[error("{found} is no choice; write a range as {{0..9}} or a list as {{a,b}}")]
    NoChoice {
        /// The braces and what stands between them, as messages show it.
        found: String,
    },
    /// A range whose ends are not whole numbers of at most nine digits.
    #[error("{found} is no range; its ends are whole numbers of at most nine digits")]
    BadRange {
        /// The braces and what stands between them, as messages show it.
        found: String,
    },
    /// A range that goes down.
    #[error("{found} goes down; write the smaller number first")]
    Descending {
        /// The braces and what stands between them, as messages show it.
        found: String,
    },
    /// More names than a pool may have sessions.
    #[error("it gives more than {MAX_NAMES} names, which is the most sessions that a pool may have")]
    TooMany,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Text that every name has.
    Fixed(String),
    /// One of several words.
    Words(Vec<String>),
    /// A number from the first to the last, with zeros in front up to a width.
    Range { first: usize, last: usize, width: usize },
}

impl Piece {
    /// How many choices it gives.
    fn choices(&self) -> usize {
        match self {
            Self::Fixed(_) => 1,
            Self::Words(words) => words.len(),
            Self::Range { first, last, .. } => last - first + 1,
        }
    }

    /// The choice of that number, from 0.
    fn choice(&self, index: usize) -> String {
        match self {
            Self::Fixed(text) => text.clone(),
            Self::Words(words) => words[index].clone(),
            Self::Range { first, width, .. } => format!("{:0width$}", first + index),
        }
    }
}

/// All names that a pattern gives, in order. A text without braces gives itself.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, PatternError> {
    let pieces = pieces(pattern)?;
    let count = pieces.iter().try_fold(1_usize, |count, piece| {
        let count = count.saturating_mul(piece.choices());
        if count > MAX_NAMES { Err(PatternError::TooMany) } else { Ok(count) }
    })?;
    Ok((0..count).map(|index| name(&pieces, index)).collect())
}

/// The name of that number: the index read as a number whose digits are the choices, the last piece the lowest.
fn name(pieces: &[Piece], mut index: usize) -> String {
    let mut parts: Vec<String> = pieces
        .iter()
        .rev()
        .map(|piece| {
            let choice = piece.choice(index % piece.choices());
            index /= piece.choices();
            choice
        })
        .collect();
    parts.reverse();
    parts.concat()
}

/// Takes a pattern apart.
fn pieces(pattern: &str) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(open) = rest.find(['{', '}']) {
        let (fixed, tail) = rest.split_at(open);
        let inside = tail.strip_prefix('{').ok_or(PatternError::Unbalanced)?;
        let close = inside.find(['{', '}']).ok_or(PatternError::Unbalanced)?;
        let (inside, tail) = inside.split_at(close);
        rest = tail.strip_prefix('}').ok_or(PatternError::Nested)?;
        pieces.push(Piece::Fixed(fixed.to_owned()));
        pieces.push(choice(inside)?);
    }
    pieces.push(Piece::Fixed(rest.to_owned()));
    Ok(pieces)
}

/// Reads what stands between braces.
fn choice(inside: &str) -> Result<Piece, PatternError> {
    let found = || quoted(&format!("{{{inside}}}"));
    if let Some((first, last)) = inside.split_once("..") {
        let number = |text: &str| {
            let plain = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<usize>().ok()).flatten()
        };
        let (Some(from), Some(to)) = (number(first), number(last)) else {
            return Err(PatternError::BadRange { found: found() });
        };
        if from > to {
            return Err(PatternError::Descending { found: found() });
        }
        // As in a shell, a leading zero asks for numbers of one width.
        let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
        let width = if padded { first.len().max(last.len()) } else { 0 };
        return Ok(Piece::Range { first: from, last: to, width });
    }
    let words: Vec<String> = inside.split(',').map(str::to_owned).collect();
    if words.len() < 2 || words.iter().any(String::is_empty) {
        return Err(PatternError::NoChoice { found: found() });
    }
    Ok(Piece::Words(words))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_expand_as_in_a_shell() {
        for (pattern, names) in [
            ("ccl", "ccl"),
            ("ccl-{0..3}", "ccl-0 ccl-1 ccl-2 ccl-3"),
            ("{08..11}", "08 09 10 11"),
            ("{7..7}x", "7x"),
            ("{a,b}-{1..2}", "a-1 a-2 b-1 b-2"),
            ("{a,b}{c,d}", "ac ad bc bd"),
            ("", ""),
        ] {
            assert_eq!(expand(pattern).expect(pattern).join(" "), names, "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for pattern in ["{", "a{0..2", "a}", "}{", "{a,b}}"] {
            assert_eq!(expand(pattern), Err(PatternError::Unbalanced), "{pattern}");
        }
        assert_eq!(expand("{a,{b,c}}"), Err(PatternError::Nested));
        for pattern in ["{}", "{a}", "{a,}", "{,}"] {
            assert!(matches!(expand(pattern), Err(PatternError::NoChoice { .. })), "{pattern}");
        }
        for pattern in ["{..}", "{a..c}", "{-1..2}", "{0..}", "{0..9..2}", "{0..10000000000}"] {
            assert!(matches!(expand(pattern), Err(PatternError::BadRange { .. })), "{pattern}");
        }
        assert!(matches!(expand("{9..0}"), Err(PatternError::Descending { .. })));
    }

    #[test]
    fn a_pattern_cannot_explode() {
        assert_eq!(expand("{1..10000}").map(|names| names.len()), Ok(MAX_NAMES));
        for pattern in ["{0..10000}", "{0..999999999}", &"{0..99}".repeat(20), &"{0..999999999}".repeat(1_000)] {
            assert_eq!(expand(pattern), Err(PatternError::TooMany), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            if let Ok(names) = expand(&text) {
                prop_assert!(!names.is_empty() && names.len() <= MAX_NAMES);
                let bare = names.iter().all(|name| !name.contains(['{', '}']));
                prop_assert!(bare);
            }
        }

        #[test]
        fn a_range_gives_each_number_once(first in 0_usize..2_000, more in 0_usize..2_000, prefix in "[a-z]{0,3}") {
            let last = first + more;
            let names = expand(&format!("{prefix}{{{first}..{last}}}")).expect("a range");
            prop_assert_eq!(names.len(), more + 1);
            prop_assert_eq!(names.first(), Some(&format!("{prefix}{first}")));
            prop_assert_eq!(names.last(), Some(&format!("{prefix}{last}")));
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), more + 1);
        }

        #[test]
        fn braces_multiply(words in prop::collection::btree_set("[a-z]{1,3}", 2..6), last in 0_usize..30) {
            let list = words.iter().cloned().collect::<Vec<_>>().join(",");
            let names = expand(&format!("{{{list}}}-{{0..{last}}}")).expect("a pattern");
            prop_assert_eq!(names.len(), words.len() * (last + 1));
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
    }
}
