//! How usage is read.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{Checked, Reported, Rules, paths};
use crate::spec::{
    diagnostic::{Code, Diagnostic, quoted},
    document, duration,
    load::FieldPath,
    pool::{Quota, QuotaSource},
};

/// About 30 reads an hour are all that an account has, and a burst blocks it for an hour (`facts/claude-code.md`, section 0).
const LEAST_POLL: Duration = Duration::from_mins(3);

/// Checks the sources and the times.
pub(super) fn resolve(wanted: &document::Quota, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Quota> {
    let times = times(wanted, at, rules);
    let sources = sources(&wanted.sources, &at.field("sources"), rules);
    let file = file(wanted, at, rules);
    let command = command(wanted, at, rules);
    let (poll_every, stale_after) = times?;
    Ok(Quota { sources: sources?, poll_every, stale_after, file: file?, command: command? })
}

/// Checks the sources: each once.
fn sources(wanted: &[QuotaSource], at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Vec<QuotaSource>> {
    rules.in_shape(at)?;
    let mut seen = BTreeSet::new();
    let repeated = wanted.iter().position(|source| !seen.insert(*source));
    match repeated {
        Some(index) => Err(rules.refuse(Code::DuplicateEntry, &at.item(index), "this source stands twice", "remove one of them")),
        None => Ok(wanted.to_vec()),
    }
}

/// Checks how often is polled, and that a reading outlives the wait for the next.
fn times(wanted: &document::Quota, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<(Duration, Duration)> {
    let (poll_at, stale_at) = (at.field("pollEvery"), at.field("staleAfter"));
    let poll = rules.duration(&wanted.poll_every, Duration::ZERO, &poll_at);
    let stale = rules.duration(&wanted.stale_after, Duration::ZERO, &stale_at);
    let (poll, stale) = (poll?, stale?);
    if poll < LEAST_POLL {
        let message =
            format!("`{poll_at}` is {}; an account that is asked more often than every 3m is blocked for an hour", duration::format(poll));
        return Err(rules.refuse(Code::PollTooOften, &poll_at, message, "write 3m or more"));
    }
    if stale <= poll {
        let message = format!(
            "`{stale_at}` is {}, not longer than `{poll_at}`, which is {}: each reading would be stale before the next one comes",
            duration::format(stale),
            duration::format(poll)
        );
        let (here, there) = if rules.is_written(&stale_at) { (&stale_at, &poll_at) } else { (&poll_at, &stale_at) };
        let other = rules.is_written(there).then(|| rules.place(there));
        let diagnostic = Diagnostic::new(Code::StaleBeforePoll, message).at(rules.place(here)).related(other, "the other one");
        rules.findings.report(diagnostic.hint("make staleAfter three times pollEvery"));
        return Err(Reported);
    }
    Ok((poll, stale))
}

/// Checks the file of the source `file`.
fn file(wanted: &document::Quota, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Option<PathBuf>> {
    let here = at.field("file");
    check_use(wanted, (QuotaSource::File, "file"), wanted.file.is_some(), at, rules)?;
    paths::resolve_optional(wanted.file.as_deref(), &here, rules)
}

/// Checks the command of the source `command`.
fn command(wanted: &document::Quota, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Vec<String>> {
    let here = at.field("command");
    check_use(wanted, (QuotaSource::Command, "command"), !wanted.command.is_empty(), at, rules)?;
    if wanted.command.is_empty() { Ok(Vec::new()) } else { program(&wanted.command, &here, rules) }
}

/// Checks that a source and what it reads from are given together.
fn check_use(
    wanted: &document::Quota,
    (source, key): (QuotaSource, &str),
    given: bool,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<()> {
    let (sources, field) = (at.field("sources"), at.field(key));
    rules.in_shape(&sources)?;
    rules.in_shape(&field)?;
    let listed = wanted.sources.iter().position(|listed| *listed == source);
    match (listed, given) {
        (Some(index), false) => {
            let message = format!("the source `{key}` is listed, but `{field}` does not say what it reads from");
            Err(rules.refuse(
                Code::SourceIncomplete,
                &sources.item(index),
                message,
                format!("add `{key}:` under `{at}`, or remove the source"),
            ))
        }
        (None, true) => {
            let message = format!("`{field}` is set, but the source `{key}` is not listed");
            let diagnostic = Diagnostic::new(Code::UnusedField, message).at(rules.place(&field));
            rules.findings.report(diagnostic.hint(format!("add `{key}` to `{sources}`, or remove `{field}`")));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A program with its arguments. A program with a `/` is a path and is resolved; any other is looked for in `PATH` when it is started.
pub(super) fn program(command: &[String], at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Vec<String>> {
    let program = command.first().filter(|program| !program.trim().is_empty());
    let Some(program) = program else {
        return Err(rules.refuse(Code::BadCommand, at, format!("`{at}` names no program"), "begin it with a program, such as [claude]"));
    };
    if let Some(index) = command.iter().position(|part| part.chars().any(char::is_control)) {
        let message = format!("{} holds a control character", quoted(&command[index]));
        return Err(rules.refuse(Code::BadCommand, &at.item(index), message, "remove it, or put the text into a file"));
    }
    let mut command = command.to_vec();
    if paths::is_path(program) {
        let path = paths::resolve(program, &at.item(0), rules)?;
        // A resolved path is UTF-8.
        command[0] = path.to_string_lossy().into_owned();
    }
    Ok(command)
}
