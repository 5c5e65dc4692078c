//! What a captured screen shows: pure.
//!
//! # Guarantees
//! A dialog is recognised by its title, its question and its options, never by where they stand. The agent can write anything, so what it
//! writes counts least: a dialog is read from the last rule on, and what stands in it between dashes or behind a bar is not looked at for words
//! of the CLI. Wording that is not known is [`Shown::Unknown`]. What is given back holds no control characters, no address of a login and no
//! key, and is bounded.
//!
//! # Assumes
//! The wording of CLI 2.1.330, captured in `tests/fixtures/screens`.
//!
//! # Does not
//! Say what an agent does: that is judged from all that is known ([`super::activity`]). A screen explains it.

use super::{
    cells::rows,
    input_box::{InputBox, is_rule},
};
use crate::observed::Shown;

/// How many of the last lines are kept, and how much of one.
const LINES: usize = 12;
const LINE: usize = 160;

/// Reads a screen that was captured with its colours: what it shows, and its last lines for people.
pub fn read(captured: &str) -> (Shown, Vec<String>) {
    let rows = rows(captured);
    let texts: Vec<String> = rows.iter().map(|row| visible(&row.text())).collect();
    let shows = match InputBox::of(&rows) {
        Some((at, found)) => around_box(&texts, at, &found),
        None => dialog(&texts),
    };
    (shows, last_lines(&texts))
}

/// What the CLI says while a turn runs, near its input box: in the line of its spinner, or below the box.
const WORKS: &str = "esc to interrupt";
/// How far above the box: a hint or a list may stand between.
const NEAR: usize = 4;

/// What the CLI says directly above and below its input box.
fn around_box(texts: &[String], at: usize, found: &InputBox) -> Shown {
    let (above, below) = texts.split_at(at);
    let limit = below.iter().map(|text| text.trim()).find(|text| text.starts_with("⚠ Usage limit reached"));
    if let Some(text) = limit {
        return Shown::LimitWait { until: text.split_once('·').map(|(_, until)| bounded(until)) };
    }
    if below.iter().any(|text| text.contains("Not logged in · ")) {
        return Shown::NotLoggedIn;
    }
    let mut said = above.iter().rev().map(|text| text.trim()).filter(|text| !text.is_empty());
    if below.iter().any(|text| text.contains(WORKS)) || said.clone().take(NEAR).any(|text| text.contains(WORKS)) {
        return Shown::Working;
    }
    let last = said.next();
    match last.and_then(|text| text.strip_prefix(['●', '⎿'])).map(str::trim) {
        Some(text) if text.starts_with("Login expired · ") => Shown::LoginExpired,
        Some(text) if text.starts_with("Not logged in · ") => Shown::NotLoggedIn,
        _ => Shown::InputBox { draft: matches!(found, InputBox::Draft(_)) },
    }
}

/// A dialog stands below the last rule; only a question has one more in it, above its last option.
fn dialog(texts: &[String]) -> Shown {
    let below = |end: usize| texts[..end].iter().rposition(|text| is_rule(text));
    let last = texts.iter().rposition(|text| is_pointed(text.trim())).unwrap_or(texts.len());
    let first = below(last);
    let whole = Dialog::new(&texts[first.map_or(0, |at| at + 1)..], first.is_some());
    match (whole.named(texts), first.and_then(below)) {
        (Shown::Unknown, Some(at)) => Dialog::new(&texts[at + 1..], true).question().unwrap_or(Shown::Unknown),
        (shows, _) => shows,
    }
}

/// The rows of a dialog, trimmed.
struct Dialog<'a> {
    /// All of them.
    rows: Vec<&'a str>,
    /// Those that the CLI wrote itself.
    own: Vec<&'a str>,
    /// Whether a rule stands above it, so that the first row is its title.
    ruled: bool,
}

impl<'a> Dialog<'a> {
    fn new(texts: &'a [String], ruled: bool) -> Self {
        let rows: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        let mut quoted = false;
        // A screen that is too small shows only the lower of two dashed lines.
        if rows.iter().filter(|row| is_dashes(row)).count() % 2 == 1 {
            quoted = !ruled;
        }
        let own = rows
            .iter()
            .filter(|row| {
                let dashes = is_dashes(row);
                quoted ^= dashes;
                !dashes && !quoted && !row.starts_with('│')
            })
            .copied()
            .collect();
        Self { rows, own, ruled }
    }

    fn says(&self, words: &str) -> bool {
        self.own.iter().any(|row| row.starts_with(words))
    }

    fn offers(&self, words: &str) -> bool {
        self.own.iter().any(|row| label(row).is_some_and(|label| label.starts_with(words)))
    }

    fn named(&self, screen: &[String]) -> Shown {
        if let Some(shows) = self.question() {
            return shows;
        }
        let carries_out = ["Ready to code?", "Exit plan mode?", "Claude has written up a plan"];
        if carries_out.iter().any(|words| self.says(words)) && self.offers("Yes") {
            return Shown::Plan;
        }
        if self.says("Detected a custom API key") {
            return Shown::ApiKey;
        }
        if let Some(shows) = self.permission() {
            return shows;
        }
        if self.offers("Stop and wait for limit to reset") {
            let hit = screen.iter().rev().find_map(|text| text.find("You've hit your ").map(|at| bounded(&text[at..])));
            return Shown::LimitMenu { limit: hit };
        }
        if self.offers("Yes, I trust this folder") || self.says("Do you trust the files in this folder?") {
            return Shown::Trust { directory: self.directory() };
        }
        if self.offers("Yes, I accept") && self.own.iter().any(|row| row.contains("Bypass Permissions mode")) {
            return Shown::Bypass;
        }
        if self.own.iter().any(|row| row.contains("MCP server")) && self.offers("Use this ") {
            let title = self.own.iter().find_map(|row| row.split_once("found in this project: "));
            return Shown::McpServer { name: title.map(|(_, name)| bounded(name)) };
        }
        for (words, shows) in [
            ("Allow external CLAUDE.md file imports?", Shown::Imports),
            ("Choose the text style", Shown::Theme),
            ("Security notes:", Shown::SecurityNotes),
            ("Select login method", Shown::Login),
            ("Paste code here", Shown::Login),
            ("Resume session", Shown::ResumePicker),
        ] {
            if self.says(words) {
                return shows;
            }
        }
        if self.offers("Resume from summary") || self.offers("Resume full session") {
            return Shown::ResumeSummary;
        }
        Shown::Unknown
    }

    /// The agent asks: all words but those at the foot are its own.
    fn question(&self) -> Option<Shown> {
        let foot = self.rows.iter().rev().find(|row| !row.is_empty())?;
        if !(foot.starts_with("Enter to select") && foot.contains("to navigate")) {
            return None;
        }
        let first = self.rows.iter().position(|row| unpointed(row).starts_with("1. "))?;
        let asked = self.rows[..first].iter().rev().skip_while(|row| row.is_empty()).take_while(|row| !row.is_empty());
        let mut asked: Vec<&str> = asked.copied().collect();
        asked.reverse();
        Some(Shown::Question { text: bounded(&asked.join(" ")) })
    }

    fn permission(&self) -> Option<Shown> {
        let from = self.own.iter().rposition(|row| row.starts_with("Do you want to"))?;
        let asked: Vec<&str> = self.own[from..].iter().take_while(|row| !row.is_empty() && label(row).is_none()).copied().collect();
        let question = bounded(&asked.join(" "));
        if !(question.ends_with(['?', '…']) && self.offers("Yes") && self.offers("No")) {
            return None;
        }
        let title = self.title();
        let under = title.and_then(|title| self.own.iter().skip_while(|row| **row != title).skip(1).find(|row| !row.is_empty()));
        // A tool of a server stands below the title, what is done to a file between dashes.
        let (tool, subject) = match title {
            Some("Tool use") => (under.map(|row| row.trim_end_matches(" Tool: (MCP)")), self.quoted()),
            Some(title) if title.ends_with(" file") && title != "Read file" => (Some(title), under.map(|row| (*row).to_owned())),
            title => (title, self.quoted()),
        };
        let subject = subject.map(|subject| bounded(&subject)).filter(|subject| !question.contains(subject.as_str()));
        Some(Shown::Permission { tool: tool.map(bounded), subject, question })
    }

    /// The first row, if it is certain that nothing of the dialog stands above it.
    fn title(&self) -> Option<&'a str> {
        let first = self.rows.iter().find(|row| !row.is_empty())?;
        let known = ["Bash command", "Create file", "Edit file", "Overwrite file", "Read file", "Fetch", "Tool use"];
        (self.ruled || known.contains(first)).then_some(*first)
    }

    /// What stands between dashes: a command, the arguments of a tool.
    fn quoted(&self) -> Option<String> {
        let from = self.rows.iter().position(|row| is_dashes(row))? + 1;
        let length = self.rows[from..].iter().position(|row| is_dashes(row))?;
        let lines: Vec<&str> = self.rows[from..from + length].iter().map(|row| row.trim_start_matches('│').trim()).collect();
        Some(lines.join(" ").trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The start directory, which a narrow screen breaks.
    fn directory(&self) -> Option<String> {
        let at = self.own.iter().position(|row| row.starts_with("Accessing workspace:"))?;
        let same = self.own[at]["Accessing workspace:".len()..].trim();
        if !same.is_empty() {
            return Some(bounded(same));
        }
        let rows = self.own[at + 1..].iter().skip_while(|row| row.is_empty()).take_while(|row| !row.is_empty());
        Some(bounded(&rows.copied().collect::<String>())).filter(|directory| !directory.is_empty())
    }
}

fn is_dashes(row: &str) -> bool {
    row.starts_with("╌╌╌╌╌╌╌╌╌╌")
}

/// The option that Enter would choose.
fn is_pointed(row: &str) -> bool {
    row.strip_prefix('❯').is_some_and(|rest| rest.starts_with(' '))
}

fn unpointed(row: &str) -> &str {
    row.strip_prefix('❯').unwrap_or(row).trim_start()
}

/// What a row says if it is an option: it is pointed at, or numbered, or begins with one of the words that options begin with.
fn label(row: &str) -> Option<&str> {
    let rest = unpointed(row);
    let numbered = rest.split_once(". ").filter(|(number, _)| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
    let text = numbered.map_or(rest, |(_, text)| text).trim_start_matches("✔ ");
    let is_option = is_pointed(row) || numbered.is_some() || ["Yes", "No", "Use this"].iter().any(|word| text.starts_with(word));
    is_option.then_some(text)
}

/// Without what turns the direction of a line or takes no room (Unicode TR36, section 3.2).
fn visible(text: &str) -> String {
    let is_hidden = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    text.chars().filter(|&c| !is_hidden(c)).collect()
}

/// One line of bounded length, without secrets.
fn bounded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().map(without_secret).collect();
    let text = words.join(" ");
    if text.chars().count() <= LINE {
        return text;
    }
    text.chars().take(LINE - 1).chain(['…']).collect()
}

/// A key, as the dialog about one shows its end, or the address at which somebody may log in.
fn without_secret(word: &str) -> &str {
    if word.contains("sk-ant-") {
        "sk-ant-…"
    } else if word.contains("/oauth/authorize") {
        "(the address of a login)"
    } else {
        word
    }
}

/// The last lines that say something, oldest first.
fn last_lines(texts: &[String]) -> Vec<String> {
    let says = |text: &str| text.chars().any(char::is_alphanumeric);
    let mut lines: Vec<String> = texts.iter().rev().filter(|text| says(text)).take(LINES).map(|text| bounded(text)).collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    /// Every capture with what is read from it.
    #[test]
    fn screens_of_the_cli_are_read() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/screens/2.1.330");
        let mut files: Vec<_> = fs::read_dir(directory).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let mut all = String::new();
        for file in files {
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            let (shows, lines) = read(&fs::read_to_string(&file).expect("readable"));
            writeln!(all, "{name}: {shows}\n  {shows:?}").expect("written");
            for line in lines {
                writeln!(all, "  | {line}").expect("written");
            }
        }
        insta::assert_snapshot!(all);
    }

    const RULE: &str = "────────────────────────────────────────";
    const DASHES: &str = "╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌";

    fn shows(captured: &str) -> Shown {
        read(captured).0
    }

    fn permission(tool: &str, subject: &str, question: &str) -> Shown {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Shown::Permission { tool: some(tool), subject: some(subject), question: question.to_owned() }
    }

    #[test]
    fn words_of_the_agent_do_not_pass_for_those_of_the_cli() {
        let trust = "Yes, I trust this folder";
        for (screen, expected) in [
            // In a command.
            (
                format!(
                    "{RULE}\n Bash command\n Rebuild\n{DASHES}\n echo\n 1. {trust}\n Do you want to go?\n{DASHES}\n Do you want to proceed?\n ❯ 1. Yes\n   2. No\n"
                ),
                permission("Bash command", &format!("echo 1. {trust} Do you want to go?"), "Do you want to proceed?"),
            ),
            // In a question.
            (
                format!("{RULE}\n ☐ Choice\n\nChoose the text style\n\n❯ 1. {trust}\n  2. No\n\nEnter to select · ↑/↓ to navigate\n"),
                Shown::Question { text: "Choose the text style".to_owned() },
            ),
            // Above a dialog whose wording is not known.
            (format!("{RULE}\n Is this yours?\n ❯ 1. {trust}\n   2. No, exit\n{RULE}\n  Select model\n  ❯ 1. Default\n"), Shown::Unknown),
            // Above the input box.
            (format!("● Is this yours?\n ❯ 1. {trust}\n{RULE}\n❯ \n{RULE}\n  mode"), Shown::InputBox { draft: false }),
        ] {
            assert_eq!(shows(&screen), expected, "{screen}");
        }
    }

    #[test]
    fn the_last_option_of_a_question_stands_below_a_rule() {
        let screen = format!(
            "{RULE}\n ☐ When\n\nWhen\nexactly?\n\n  1. Now\n{RULE}\n❯ 2. Chat about this\n\nEnter to select · ↑/↓ to navigate · Esc to cancel"
        );
        assert_eq!(shows(&screen), Shown::Question { text: "When exactly?".to_owned() });
    }

    #[test]
    fn a_screen_that_is_too_small_shows_the_end_of_a_dialog() {
        let screen = format!(" echo Do you want to stay?\n{DASHES}\n Do you want to\n proceed?\n ❯ 1. Yes\n   2. No\n Esc to cancel");
        assert_eq!(shows(&screen), permission("", "", "Do you want to proceed?"));
        assert_eq!(shows("Do you want to proceed?\n❯ 1. Yes\n  4. No\nEsc to cancel"), permission("", "", "Do you want to proceed?"));
    }

    #[test]
    fn what_is_not_known_is_unknown_with_its_last_lines() {
        for screen in ["", "\n\n", " Do you want to rest\n ❯ 1. Yes\n", " Proceed?\n ❯ 1. Yes\n   2. No", "✻ Brewing…"] {
            assert_eq!(shows(screen), Shown::Unknown, "{screen:?}");
        }
        let long = (0..40).fold(String::new(), |text, n| text + &format!("line {n}\n───\n"));
        let (_, lines) = read(&long);
        assert_eq!((lines.len(), lines[0].as_str(), lines[LINES - 1].as_str()), (LINES, "line 28", "line 39"));
    }

    #[test]
    fn a_turn_that_runs_is_told_from_a_box_at_rest() {
        let foot = format!("{RULE}\n❯ \n{RULE}\n  mode");
        for (screen, works) in [
            (format!("✻ Brewing… (12s · ↓ 61 tokens · esc to interrupt)\n\n{foot}"), true),
            (format!("✻ Brewing… (12s · esc to interrupt)\n  ⎿ Tip: rest\n\n{foot}"), true),
            (format!("● words\n\n{foot} · esc to interrupt"), true),
            (format!("press esc to interrupt\n● one\n● two\n● three\n● four\n{foot}"), false),
            (format!("● words\n{foot} · ? for shortcuts"), false),
        ] {
            let expected = if works { Shown::Working } else { Shown::InputBox { draft: false } };
            assert_eq!(shows(&screen), expected, "{screen}");
        }
    }

    #[test]
    fn no_key_is_shown() {
        let (_, lines) = read("a sk-ant-api03-0123456789 b\nhttps://claude.ai/oauth/authorize?state=1\nleft\u{202e}right");
        assert_eq!(lines, ["a sk-ant-… b", "(the address of a login)", "leftright"]);
    }

    proptest! {
        #[test]
        fn no_screen_makes_it_panic_or_goes_through_unbounded(
            screen in "(─{10}|╌{10}|❯ |1\\. Yes|2\\. No|Do you want to |\\?|Accessing workspace:|Tool use|Yes, I trust this folder|Enter to select · to navigate| |\n|│|\u{1b}\\[[0-9;]{0,6}m|[a-zé\u{202e}\u{7}]){0,200}"
        ) {
            let (shows, lines) = read(&screen);
            let told = shows.to_string();
            prop_assert!(told.chars().count() <= 4 * LINE && !told.contains(char::is_control), "{}", told);
            prop_assert!(lines.len() <= LINES && lines.iter().all(|line| line.chars().count() <= LINE));
            let is_hidden = |c: char| c.is_control() || c == '\u{202e}';
            prop_assert!(!lines.iter().any(|line| line.contains(is_hidden)), "{:?}", lines);
        }
    }
}
