//! Diagnostics as text, in the look of the Rust compiler.

use std::{fmt::Write as _, ops::Range};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Place, Severity, SourceText, escaped, steers};

/// Renders each of `list` with the lines of its source, and a last line that counts them.
pub(super) fn render(list: &[Diagnostic], sources: &[SourceText], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in list {
        text.push_str(&render_one(diagnostic, sources, &renderer));
        text.push_str("\n\n");
    }
    if !list.is_empty() {
        let errors = list.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error).count();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}", tally(errors, list.len() - errors));
    }
    text
}

/// `2 errors, 1 warning`.
pub(super) fn tally(errors: usize, warnings: usize) -> String {
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    match (errors, warnings) {
        (errors, 0) => count(errors, "error"),
        (0, warnings) => count(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// Renders one finding.
fn render_one(diagnostic: &Diagnostic, sources: &[SourceText], renderer: &Renderer) -> String {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&*diagnostic.message).id(diagnostic.code.as_str()));
    let here = diagnostic.place.iter().map(|place| (place, None));
    let elsewhere = diagnostic.related.iter().map(|related| (&related.place, Some(&*related.label)));
    let mut marks: Vec<(&Place, Option<&str>)> = here.chain(elsewhere).collect();
    while let Some((first, _)) = marks.first().copied() {
        // Marks on one line share its snippet.
        let (same_line, others): (Vec<_>, Vec<_>) =
            marks.into_iter().partition(|(place, _)| place.file == first.file && place.line == first.line);
        group = match snippet(first, &same_line, diagnostic.concealed, sources) {
            Some(snippet) => group.element(snippet),
            None => group.element(Origin::path(escaped(&first.file)).line(first.line).char_column(first.column)),
        };
        marks = others;
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(&**hint));
    }
    renderer.render(&[group])
}

/// The longest line that is shown, in bytes. Nobody writes longer ones by hand, and to show one costs time.
const LONGEST_LINE: usize = 1_000;

/// The line of a place with marks on it. `None` when the source is not at hand or the line too long; then the place has to do.
fn snippet<'a>(
    first: &Place,
    marks: &[(&Place, Option<&'a str>)],
    concealed: bool,
    sources: &[SourceText],
) -> Option<Snippet<'a, Annotation<'a>>> {
    let text = &sources.iter().find(|source| *source.name == *first.file)?.text;
    let line = line_of(text, first)?;
    let shown = text.get(line.clone()).filter(|shown| shown.len() <= LONGEST_LINE)?;
    let source: String = if concealed {
        // Nothing but the place itself, at its column.
        let visible = within(&first.span, &line);
        let hidden = |character: char| " ".repeat(character.len_utf8());
        let part = |(at, character)| if visible.contains(&at) { tame(character).to_string() } else { hidden(character) };
        shown.char_indices().take_while(|(at, _)| *at < visible.end).map(part).collect()
    } else {
        shown.chars().map(tame).collect()
    };
    let annotations = marks.iter().map(|(place, label)| {
        let kind = if label.is_some() { AnnotationKind::Context } else { AnnotationKind::Primary };
        kind.span(within(&place.span, &line)).label(*label)
    });
    Some(Snippet::source(source).line_start(first.line).path(escaped(&first.file)).annotations(annotations))
}

/// The bytes of the line that a place begins in, without its line break. Only one line is shown, so that a block of a thousand lines does
/// not bury the message.
fn line_of(text: &str, place: &Place) -> Option<Range<usize>> {
    let start = text.get(..place.span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let end = text[place.span.start..].find('\n').map_or(text.len(), |at| place.span.start + at);
    Some(start..end)
}

/// The part of a span that lies on a line, in bytes from its beginning.
fn within(span: &Range<usize>, line: &Range<usize>) -> Range<usize> {
    let inside = |at: usize| at.clamp(line.start, line.end) - line.start;
    inside(span.start)..inside(span.end)
}

/// Replaces what the renderer would pass on and a terminal could obey by something of the same length in bytes, so that spans stay right.
fn tame(character: char) -> char {
    match character {
        '\t' => '\t',
        character if !steers(character) => character,
        character => match character.len_utf8() {
            1 => '?',
            2 => '¿',
            _ => '\u{fffd}',
        },
    }
}
