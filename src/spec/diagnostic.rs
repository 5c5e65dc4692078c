//! What is wrong with a spec, where, and what to do about it.
//!
//! # Guarantees
//! Every [`Code`] is stable: programs may match it, and `docs/spec.md` lists it. Messages and hints never hold a raw control character.

use std::{cmp::Ordering, fmt, ops::Range, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::render;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The spec is refused.
    Error,
    /// The spec is taken; the operator should look.
    Warning,
}

macro_rules! codes {
    ($(#[doc = $meaning:literal] $name:ident = $text:literal, $severity:ident);+ $(;)?) => {
        /// The closed set of what can be wrong with a spec.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $meaning] $name),+ }

        impl Code {
            /// Every code, for the documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as programs match it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// Whether it refuses the spec. A code is always an error or always a warning.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),+ }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),+ }
            }
        }
    };
}

codes! {
    /// A file is larger than is read, or there are too many files.
    TooLarge = "too-large", Error;
    /// A file nests, repeats or refers to itself more than a spec ever does.
    TooComplex = "too-complex", Error;
    /// A file is not YAML, or holds more than one document.
    NotYaml = "not-yaml", Error;
    /// No file says anything.
    EmptySpec = "empty-spec", Error;
    /// A key stands twice in one map.
    DuplicateKey = "duplicate-key", Error;
    /// Two files set the same value.
    SetTwice = "set-twice", Error;
    /// A field does not exist there.
    UnknownField = "unknown-field", Error;
    /// A required field is absent.
    MissingField = "missing-field", Error;
    /// A value is of another kind than the field takes.
    WrongType = "wrong-type", Error;
    /// A word is not one of those that the field takes.
    UnknownWord = "unknown-word", Error;
    /// A number lies outside of its range.
    OutOfRange = "out-of-range", Error;
    /// A list has too few or too many entries.
    WrongLength = "wrong-length", Error;
    /// A name holds a character that a name must not hold, or is too long.
    BadName = "bad-name", Error;
    /// A name means something else to a command or to tmux.
    ReservedName = "reserved-name", Error;
    /// An entry stands twice in a list, or two accounts have one name.
    DuplicateEntry = "duplicate-entry", Error;
    /// Two projects have one name or one directory.
    DuplicateProject = "duplicate-project", Error;
    /// A project names a session that is not declared, or that takes no tasks.
    UnknownSession = "unknown-session", Error;
    /// A path is empty, holds control characters or cannot be resolved.
    BadPath = "bad-path", Error;
    /// A duration cannot be read, or is too short or too long.
    BadDuration = "bad-duration", Error;
    /// A home or the shared root would be the root directory, the user's own home or a directory above it.
    HomeTooWide = "home-too-wide", Error;
    /// Two accounts have the same home.
    SameHome = "same-home", Error;
    /// An account's home lies inside another one's.
    HomeInsideHome = "home-inside-home", Error;
    /// A home is the shared root, lies inside it or contains it.
    HomeAndRoot = "home-and-root", Error;
    /// The active link is a home or the shared root, or one lies inside the other.
    ActiveLinkOverlap = "active-link-overlap", Error;
    /// A shared link has a name that cannot or must not be shared.
    BadLink = "bad-link", Error;
    /// A link without which conversations cannot move is not among the links.
    RequiredLinkMissing = "required-link-missing", Error;
    /// The headroom is as large as a threshold, so that no account could ever be a target.
    HeadroomLeavesNoTarget = "headroom-leaves-no-target", Error;
    /// Usage would be read so often that the provider blocks the account.
    PollTooOften = "poll-too-often", Error;
    /// Every reading would be stale before the next one comes.
    StaleBeforePoll = "stale-before-poll", Error;
    /// A usage source is listed without what it reads from.
    SourceIncomplete = "source-incomplete", Error;
    /// A command has no program, or holds a control character.
    BadCommand = "bad-command", Error;
    /// A variable is set or removed by this program itself.
    ManagedVariable = "managed-variable", Error;
    /// The name or the value of a variable cannot be passed on.
    BadVariable = "bad-variable", Error;
    /// A pattern of session names cannot be read.
    BadPattern = "bad-pattern", Error;
    /// Two patterns, or one pattern twice, give the same session.
    DuplicateSession = "duplicate-session", Error;
    /// The patterns give more sessions than a pool may have.
    TooManySessions = "too-many-sessions", Error;
    /// There is only one account, so that there is nowhere to go.
    SingleAccount = "single-account", Warning;
    /// A value is set that nothing uses.
    UnusedField = "unused-field", Warning;
    /// The pool stays on an account for longer than its 5-hour window lasts.
    DwellLong = "dwell-long", Warning;
    /// The pool may leave an account before a new reading comes.
    DwellShort = "dwell-short", Warning;
    /// A start directory does not exist on this host.
    WorkdirMissing = "workdir-missing", Warning;
    /// A registered project's directory does not exist on this host.
    ProjectMissing = "project-missing", Warning;
    /// A file beside the drop-ins is not read.
    IgnoredFile = "ignored-file", Warning;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One source of a spec: a name to show, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// How diagnostics and origins name it, usually a path. No two sources share one.
    pub name: String,
    /// The YAML text.
    pub text: String,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name of the source.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes from the beginning of the source.
    pub span: Range<usize>,
}

impl fmt::Display for Place {
    /// `FILE:LINE:COLUMN`, control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", escaped(&self.file), self.line, self.column)
    }
}

/// Another place that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// What kind of mistake it is; this also says whether it is an error or a warning.
    pub code: Code,
    /// One sentence: what is wrong, with the particulars.
    pub message: String,
    /// Where. `None` when it is about no place in a source.
    pub place: Option<Place>,
    /// What to do.
    pub hint: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
    /// Whether the rest of the line may hold a secret, so that only the place itself is shown.
    pub(super) concealed: bool,
}

impl Diagnostic {
    /// A finding without a place. The message is made safe to show: shortened, and with control characters escaped.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = escaped(&shortened(&message.into(), MAX_MESSAGE));
        Self { code, message, place: None, hint: None, related: Vec::new(), concealed: false }
    }

    /// The same, at `place`.
    #[must_use]
    pub fn at(mut self, place: impl Into<Option<Place>>) -> Self {
        self.place = place.into();
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with another place. Nothing is added when that place is not known.
    #[must_use]
    pub fn related(mut self, place: impl Into<Option<Place>>, label: impl Into<String>) -> Self {
        if let Some(place) = place.into() {
            self.related.push(Related { place, label: label.into() });
        }
        self
    }

    /// The same, with the rest of its line kept out of sight.
    #[must_use]
    pub(super) fn concealed(mut self) -> Self {
        self.concealed = true;
        self
    }

    /// Whether it refuses the spec.
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `FILE:LINE:COLUMN: MESSAGE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Elsewhere<'a> {
            file: &'a str,
            line: usize,
            column: usize,
            span: [usize; 2],
            label: &'a str,
        }
        let related: Vec<_> = self
            .related
            .iter()
            .map(|Related { place, label }| Elsewhere {
                file: &place.file,
                line: place.line,
                column: place.column,
                span: [place.span.start, place.span.end],
                label,
            })
            .collect();
        let place = self.place.as_ref();
        let mut fields = serializer.serialize_struct("Diagnostic", 9)?;
        fields.serialize_field("severity", &self.severity())?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("message", &self.message)?;
        fields.serialize_field("file", &place.map(|place| &*place.file))?;
        fields.serialize_field("line", &place.map(|place| place.line))?;
        fields.serialize_field("column", &place.map(|place| place.column))?;
        fields.serialize_field("span", &place.map(|place| [place.span.start, place.span.end]))?;
        fields.serialize_field("hint", &self.hint)?;
        fields.serialize_field("related", &related)?;
        fields.end()
    }
}

/// Findings in the order of their places, with the sources that they point into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    sources: Vec<SourceText>,
}

impl Diagnostics {
    /// Sorts `list` by source, place and code, and drops what is said twice (a mistake behind a YAML anchor is met at each alias).
    pub fn new(mut list: Vec<Diagnostic>, sources: &[SourceText]) -> Self {
        list.sort_by(|left, right| order(left, sources).cmp(&order(right, sources)).then_with(|| left.message.cmp(&right.message)));
        list.dedup();
        Self { list, sources: sources.to_vec() }
    }

    /// The same findings and `more`, in order.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Diagnostic>) -> Self {
        let Self { mut list, sources } = self;
        list.extend(more);
        Self::new(list, &sources)
    }

    /// All findings, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many findings refuse the spec.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error).count()
    }

    /// How many findings do not.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// For people: each finding with the lines of the source that it is about. Ends with a line break unless it is empty.
    pub fn render(&self, colour: bool) -> String {
        render::render(&self.list, &self.sources, colour)
    }

    /// For programs: a list of objects with `severity`, `code`, `message`, `file`, `line`, `column`, `span` (bytes, from and to), `hint`
    /// and `related`. What is not known is `null`.
    pub fn to_json(&self) -> serde_json::Value {
        // The wire form holds texts and numbers only, so there is nothing that could fail.
        serde_json::to_value(&self.list).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Where a finding belongs: without a place first, then by source, offset and code.
fn order<'a>(diagnostic: &'a Diagnostic, sources: &[SourceText]) -> impl Ord + use<'a> {
    let place = diagnostic.place.as_ref();
    let source = place.map(|place| sources.iter().position(|source| *source.name == *place.file).unwrap_or(sources.len()));
    (source, place.map(|place| place.span.start), diagnostic.code, diagnostic.related.len())
}

/// The most findings that are collected: enough for any person, and a bound for a file that is wrong everywhere.
const MAX_FINDINGS: usize = 200;

/// Collects findings while a spec is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
}

impl Findings {
    /// Adds one, unless there are too many already. The first error is always added, since it decides.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() || !self.has_errors() {
            self.list.push(diagnostic);
        }
    }

    /// Whether looking for more is of no use.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_FINDINGS
    }

    /// Whether one of them refuses the spec.
    pub(super) fn has_errors(&self) -> bool {
        self.has(|code| code.severity() == Severity::Error)
    }

    /// Whether one of them has a code of that kind.
    pub(super) fn has(&self, kind: impl Fn(Code) -> bool) -> bool {
        self.list.iter().any(|diagnostic| kind(diagnostic.code))
    }

    /// All of them.
    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }
}

/// The longest message, in characters.
const MAX_MESSAGE: usize = 400;

/// The longest piece of a value that a message repeats, in characters.
const MAX_QUOTE: usize = 60;

/// A value as messages show it: in backquotes, shortened, control and direction-changing characters escaped.
pub(crate) fn quoted(value: &str) -> String {
    format!("`{}`", escaped(&shortened(value, MAX_QUOTE)))
}

/// The beginning of `text`, at most `longest` characters, with a mark where it was cut.
fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `text` with every character escaped that could steer a terminal or change the order of what is shown.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Whether a character is a control, a line separator or a direction mark (Unicode bidirectional algorithm, UAX #9, section 2).
pub(super) fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The known word that `found` most likely stands for, if one is near enough.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&found, &word.to_lowercase()), word))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|(left, _), (right, _)| left.partial_cmp(right).unwrap_or(Ordering::Equal))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_kebab_words() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(text.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{text}");
            assert!(seen.insert(text), "{text} stands twice");
            assert!(code.meaning().trim().ends_with('.'), "{text}: {}", code.meaning());
        }
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        let shown = quoted("a\u{1b}[31m\u{9b}\u{202e}\n\0é");
        assert!(!shown.chars().any(steers), "{shown:?}");
        assert!(shown.contains('é'));
        assert!(quoted(&"x".repeat(10_000)).len() < 80);
    }

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let known = ["fiveHour", "weekly", "headroom"];
        for (slip, word) in [("fivehour", "fiveHour"), ("wekly", "weekly"), ("headrom", "headroom")] {
            assert_eq!(nearest(slip, known), Some(word));
        }
        assert_eq!(nearest("zzz", known), None);
    }
}
