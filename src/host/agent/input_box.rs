//! The CLI's input box as it stands on the screen, and the prompts that are typed into it (facts/claude-code.md, section 7): pure.
//!
//! # Guarantees
//! A box is seen only where the CLI draws it: after a rule, before a rule, below everything else. What is not certainly an empty box is never
//! called one. The agent's own words may hold anything, also a drawing of a box; they stand above it.
//!
//! # Does not
//! Say whether the agent listens: the register does.

use super::cells::{Cell, Row, is_blank, rows};
use crate::model::ClaimId;

/// The longest prompt that is typed, in bytes. Its text belongs into a file.
pub const PROMPT_LIMIT: usize = 64 << 10;

/// The CLI shows a longer paste as `[Pasted text #1 +3 lines]`: with 2.1.330, from 800 characters or from three line ends on. The margin is for
/// versions that do so sooner.
const SHOWN_CHARACTERS: usize = 600;
const SHOWN_LINES: usize = 2;

/// What stands in the input box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputBox {
    /// There is none to be seen.
    Absent,
    /// Nothing, or only a hint of the CLI's own.
    Empty,
    /// A text, as far as it is shown. Untrusted.
    Draft(String),
}

impl InputBox {
    /// Reads the box of a screen that was captured with its colours.
    pub fn read(captured: &str) -> Self {
        Self::of(&rows(captured)).map_or(Self::Absent, |(_, found)| found)
    }

    /// The box, and the row that it begins in.
    pub(super) fn of(rows: &[Row]) -> Option<(usize, Self)> {
        let texts: Vec<String> = rows.iter().map(Row::text).collect();
        let last = (1..rows.len()).rev().find(|&at| is_prompt_line(&texts[at]) && is_rule(&texts[at - 1]))?;
        let height = texts[last..].iter().position(|text| is_rule(text))?;
        // Below the box there are a few lines that say what it listens to. Another dialog there means that the box was only drawn.
        let below = &texts[last + height + 1..];
        let is_footer =
            below.iter().filter(|text| !text.is_empty()).count() <= FOOTER && !below.iter().any(|text| is_prompt_line(text.trim_start()));
        is_footer.then(|| (last - 1, content(&rows[last..last + height])))
    }
}

/// How many lines may stand below the box. The CLI shows its mode, hints, warnings, and up to a few lines of a status line.
const FOOTER: usize = 8;

/// The box begins with a sign and a blank.
fn is_prompt_line(text: &str) -> bool {
    text.strip_prefix(['❯', '>']).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A rule, which may have words in it.
pub(super) fn is_rule(text: &str) -> bool {
    text.starts_with("──────────")
}

fn content(rows: &[Row]) -> InputBox {
    let cells =
        rows.iter().enumerate().flat_map(|(at, row)| row.0.iter().skip(usize::from(at == 0))).filter(|cell| !is_blank(cell.character));
    let (grey, plain): (Vec<&Cell>, Vec<&Cell>) = cells.partition(|cell| cell.grey);
    // The cursor stands on the first character of a hint, in reverse colours.
    let only_hint = plain.is_empty() || (!grey.is_empty() && matches!(plain.as_slice(), [one] if one.reverse));
    if only_hint {
        return InputBox::Empty;
    }
    let lines: Vec<String> =
        rows.iter().enumerate().map(|(at, row)| row.text().chars().skip(usize::from(at == 0)).collect::<String>()).collect();
    InputBox::Draft(lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n"))
}

/// Whether a draft holds the tag of a claim, also when the box has broken the line in it.
pub fn holds_tag(draft: &str, claim: &ClaimId) -> bool {
    let dense = |text: &str| text.chars().filter(|&c| !is_blank(c)).collect::<String>();
    dense(draft).contains(&dense(&claim.tag()))
}

/// Why a prompt is not typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Nothing is left of it.
    #[error("the prompt holds nothing that can be typed")]
    Empty,
    /// It is too long.
    #[error("the prompt has {0} bytes, more than the {PROMPT_LIMIT} that are typed; put the text into a file and name that")]
    TooLong(usize),
}

/// Makes a prompt ready, as what is pasted one after the other: line ends stay, tabs become spaces, other control characters go. A first character
/// that the CLI would take for a command gets a space in front. A text that the box would not show is cut behind the tag that it begins with, so that
/// the box shows the tag.
///
/// # Errors
/// [`PromptError`].
pub fn prepare(text: &str, claim: &ClaimId) -> Result<Vec<String>, PromptError> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', "    ");
    let text: String = text.chars().filter(|&c| c == '\n' || !c.is_control()).collect();
    let text = text.trim();
    if text.is_empty() {
        return Err(PromptError::Empty);
    }
    if text.len() > PROMPT_LIMIT {
        return Err(PromptError::TooLong(text.len()));
    }
    let is_shown = text.chars().count() <= SHOWN_CHARACTERS && text.matches('\n').count() < SHOWN_LINES;
    if let Some(rest) = text.strip_prefix(&claim.tag()).filter(|_| !is_shown) {
        return Ok(vec![claim.tag(), rest.to_owned()]);
    }
    let is_command = text.starts_with(['/', '!', '#', '@', '&', '?']);
    Ok(vec![format!("{}{text}", if is_command { " " } else { "" })])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: &str = "────────────────────────────────────────";

    fn claim() -> ClaimId {
        ClaimId("0123456789ab".to_owned())
    }

    fn boxed(content: &str, footer: &str) -> InputBox {
        InputBox::read(&format!("● some answer\n\n{RULE}\n{content}\n{RULE}\n{footer}\n"))
    }

    fn draft(text: &str) -> InputBox {
        InputBox::Draft(text.to_owned())
    }

    #[test]
    fn a_draft_is_told_from_a_hint() {
        for (content, expected) in [
            ("❯\u{a0}", InputBox::Empty),
            ("❯\u{a0}\u{1b}[7m \u{1b}[27m", InputBox::Empty),
            ("❯ \u{1b}[7mT\u{1b}[27m\u{1b}[2mry \"fix lint errors\"\u{1b}[22m", InputBox::Empty),
            ("❯ \u{1b}[38;5;246mPress up to edit queued messages\u{1b}[39m", InputBox::Empty),
            ("> ", InputBox::Empty),
            ("❯\u{a0}a draft of mine\u{1b}[7m \u{1b}[27m", draft("a draft of mine")),
            ("❯\u{a0}x", draft("x")),
            ("❯\u{a0}\u{1b}[7mx\u{1b}[27m", draft("x")),
            ("❯ one\n  two", draft("one\ntwo")),
            ("❯\u{a0}\n  below an empty line", draft("\nbelow an empty line")),
            ("❯ [Pasted text #37 +3 lines]", draft("[Pasted text #37 +3 lines]")),
        ] {
            assert_eq!(boxed(content, "  ⏸ manual mode on · ? for shortcuts"), expected, "{content:?}");
        }
    }

    #[test]
    fn what_is_not_certainly_a_box_is_none() {
        for screen in [
            String::new(),
            "❯ of the agent\n\nmore words".to_owned(),
            format!("{RULE}\n❯ "),
            format!("❯ \n{RULE}"),
            format!("{RULE}\n  What do you want to do?\n  ❯ 1. Stop\n    2. Wait\n  Enter to confirm · Esc to cancel\n"),
            // Drawn by the agent, with a dialog below.
            format!("{RULE}\n❯ \n{RULE}\n\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n"),
            format!("{RULE}\n❯ \n{RULE}\n{}", "more words\n".repeat(20)),
        ] {
            assert_eq!(InputBox::read(&screen), InputBox::Absent, "{screen}");
        }
    }

    #[test]
    fn the_last_box_counts() {
        let screen = format!("{RULE}\n❯ of the agent\n{RULE}\n● words\n{RULE}\n❯ \n{RULE}\n  mode");
        assert_eq!(InputBox::read(&screen), InputBox::Empty);
    }

    #[test]
    fn a_tag_is_found_across_a_broken_line() {
        assert!(holds_tag("do it [claim\n0123456789ab]", &claim()));
        assert!(!holds_tag("do it [claim 0123456789ac]", &claim()));
    }

    #[test]
    fn a_prompt_is_made_ready() {
        let tag = claim().tag();
        let ready = |text: &str| prepare(text, &claim()).expect("can be typed");
        assert_eq!(ready(&format!("a\tb\r\nc\u{1b}[201~\u{9b}\0 {tag}\n")), [format!("a    b\nc[201~ {tag}")]);
        assert_eq!(ready(&format!("/exit {tag}")), [format!(" /exit {tag}")]);
        assert_eq!(ready(&format!("{tag} do it")), [format!("{tag} do it")]);
        let long = "long ".repeat(200);
        assert_eq!(ready(&format!("{tag} {long}")), [tag.clone(), format!(" {}", long.trim_end())]);
        assert_eq!(ready(&format!("{tag} 1\n2\n3")), [tag.clone(), " 1\n2\n3".to_owned()]);
        assert_eq!(prepare("\n\u{1b}\t", &claim()), Err(PromptError::Empty));
        assert_eq!(prepare(&"x".repeat(PROMPT_LIMIT + 1), &claim()), Err(PromptError::TooLong(PROMPT_LIMIT + 1)));
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>()) {
            if let Ok(pastes) = prepare(&text, &claim()) {
                prop_assert!(!pastes.concat().contains(|c: char| c.is_control() && c != '\n'));
            }
        }

        #[test]
        fn no_screen_makes_it_panic(screen in "(─{10}|❯|>| |\n|\u{1b}\\[[0-9;]{0,6}m|[a-z]){0,200}") {
            let _ = InputBox::read(&screen);
        }
    }
}
