//! What stands in a task's file: its front matter and its title. Pure.
//!
//! # Guarantees
//! Any bytes give an answer, in a bounded amount of time and memory. A mistake names the file and the line.

use std::time::Duration;

use crate::{
    model::{SessionName, TaskName},
    observed::TaskHeader,
    spec::{SourceText, Value, escaped, nearest, parse_duration, quoted, read_alone},
};

/// How many bytes of a file are read for it.
pub(super) const WINDOW: usize = 64 * 1024;
/// The longest front matter in bytes; five short keys stay far below.
const MAX_HEADER: usize = 16 * 1024;
/// The longest title in characters.
const MAX_TITLE: usize = 80;
/// The most tasks that one waits for.
const MAX_AFTER: usize = 100;
/// The most attempts that a task may ask for.
const MAX_ATTEMPTS: u32 = 100;
/// The most mistakes that are told at once.
const MAX_TOLD: usize = 5;

const KEYS: [&str; 5] = ["priority", "session", "after", "timeout", "attempts"];

/// Reads the beginning of a task's file: [`WINDOW`] bytes, or all of it if it is shorter. `None` when it does not say anything yet.
pub(super) fn read(task: &TaskName, bytes: &[u8]) -> Option<Result<TaskHeader, String>> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (mut header, body) = match split(task, bytes) {
        Ok((None, body)) => (TaskHeader::default(), body),
        Ok((Some(text), body)) => match front_matter(task, text) {
            Ok(header) => (header, body),
            Err(why) => return Some(Err(why)),
        },
        Err(why) => return Some(Err(why)),
    };
    match title(body) {
        Some(title) => header.title = title,
        // What is behind the window may say something.
        None if bytes.len() >= WINDOW - 3 => {}
        None => return None,
    }
    Some(Ok(header))
}

/// Parts the front matter from the rest.
fn split<'a>(task: &TaskName, bytes: &'a [u8]) -> Result<(Option<&'a str>, &'a [u8]), String> {
    let Some((_, mut rest)) = line_of(bytes).filter(|(first, _)| first.trim_ascii_end() == b"---") else { return Ok((None, bytes)) };
    let header = rest;
    let mut length = 0;
    loop {
        if length > MAX_HEADER {
            return Err(format!("{task}:1: the front matter that begins here has more than {} KiB", MAX_HEADER / 1024));
        }
        let Some((line, after)) = line_of(rest) else {
            return Err(format!("{task}:1: the front matter that begins here has no line `---` that closes it"));
        };
        if line.trim_ascii_end() == b"---" {
            rest = after;
            break;
        }
        length += rest.len() - after.len();
        rest = after;
    }
    let header = header.get(..length).unwrap_or_default();
    let text = std::str::from_utf8(header).map_err(|error| {
        let before = header.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.split(|byte| *byte == b'\n').count();
        format!("{task}:{line}: the front matter is not UTF-8")
    })?;
    Ok((Some(text), rest))
}

/// The first line without its end, and what follows it; `None` for nothing.
fn line_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some((bytes.get(..at)?, bytes.get(at + 1..)?)),
        None => Some((bytes, &[])),
    }
}

fn front_matter(task: &TaskName, text: &str) -> Result<TaskHeader, String> {
    // The line break stands for the line `---`, so that the lines count as in the file.
    let source = SourceText { name: task.to_string(), text: format!("\n{}", text.replace("\r\n", "\n")) };
    let tree = read_alone(&source).map_err(|diagnostics| {
        let told = diagnostics.iter().map(|found| match &found.place {
            Some(place) => format!("{task}:{}: {}", place.line, found.message),
            None => format!("{task}: {}", found.message),
        });
        together(told)
    })?;
    let mut header = TaskHeader::default();
    let mut wrong = Vec::new();
    let entries = match &tree.value {
        Value::Null => &[][..],
        Value::Map(entries) => entries,
        other => {
            return Err(format!(
                "{task}:{}: the front matter must be keys with values, such as `priority: 5`, but is {}",
                tree.place.line,
                other.kind()
            ));
        }
    };
    for entry in entries {
        let value = &entry.node.value;
        if *value == Value::Null && KEYS.contains(&entry.key.as_str()) {
            continue;
        }
        let taken = match entry.key.as_str() {
            "priority" => priority(value).map(|number| header.priority = Some(number)),
            "session" => session(value).map(|name| header.session = Some(name)),
            "after" => after(task, value).map(|names| header.after = names),
            "timeout" => timeout(value).map(|time| header.timeout = Some(time)),
            "attempts" => attempts(value).map(|number| header.attempts = Some(number)),
            other => Err(unknown(other)),
        };
        if let Err(why) = taken {
            wrong.push(format!("{task}:{}: {why}", entry.place.line));
        }
    }
    if wrong.is_empty() { Ok(header) } else { Err(together(wrong)) }
}

fn together(told: impl IntoIterator<Item = String>) -> String {
    told.into_iter().take(MAX_TOLD).collect::<Vec<_>>().join("; ")
}

fn unknown(key: &str) -> String {
    match nearest(key, KEYS) {
        Some(meant) => format!("unknown key {}; did you mean `{meant}`?", quoted(key)),
        None => format!("unknown key {}; known are {}", quoted(key), KEYS.join(", ")),
    }
}

fn whole<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    match value {
        Value::Number(number) => T::try_from(number.as_i64()?).ok(),
        _ => None,
    }
}

fn priority(value: &Value) -> Result<i32, String> {
    whole(value).ok_or_else(|| format!("`priority` must be a whole number, but is {}", told(value)))
}

fn attempts(value: &Value) -> Result<u32, String> {
    whole(value)
        .filter(|number| (1..=MAX_ATTEMPTS).contains(number))
        .ok_or_else(|| format!("`attempts` must be a whole number from 1 to {MAX_ATTEMPTS}, but is {}", told(value)))
}

fn session(value: &Value) -> Result<SessionName, String> {
    let Value::Text(text) = value else { return Err(format!("`session` must be the name of a session, but is {}", told(value))) };
    SessionName::new(text.as_str()).map_err(|error| format!("`session`: {}", escaped(&error.to_string())))
}

fn timeout(value: &Value) -> Result<Duration, String> {
    let Value::Text(text) = value else { return Err(format!("`timeout` must be a duration such as 30m, but is {}", told(value))) };
    let found = parse_duration(text).map_err(|error| format!("`timeout` is {}: {error}", quoted(text)))?;
    if found.is_zero() { Err("`timeout` must be longer than nothing".to_owned()) } else { Ok(found) }
}

fn after(task: &TaskName, value: &Value) -> Result<Vec<TaskName>, String> {
    let one = |value: &Value| {
        let Value::Text(text) = value else {
            return Err(format!("`after` must name tasks, such as [first.md], but holds {}", told(value)));
        };
        let name = TaskName::new(TaskName::with_ending(text)).map_err(|error| format!("`after`: {}", escaped(&error.to_string())))?;
        if name == *task { Err("`after` names the task itself, which would wait for ever".to_owned()) } else { Ok(name) }
    };
    match value {
        Value::List(items) if items.len() > MAX_AFTER => Err(format!("`after` names {} tasks; at most {MAX_AFTER} are taken", items.len())),
        Value::List(items) => items.iter().map(|item| one(&item.value)).collect(),
        value => one(value).map(|name| vec![name]),
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => format!("`{number}`"),
        other => other.kind().to_owned(),
    }
}

/// The first line that says something; `None` when there is none. It is cut, and what could steer a terminal is escaped.
fn title(mut body: &[u8]) -> Option<String> {
    let mut only_marks = None;
    while let Some((line, rest)) = line_of(body) {
        body = rest;
        let text = String::from_utf8_lossy(line);
        let text = text.trim().trim_start_matches('#').trim_start();
        if text.chars().any(char::is_alphanumeric) {
            return Some(cut(text));
        }
        if !text.is_empty() && only_marks.is_none() {
            only_marks = Some(cut(text));
        }
    }
    only_marks
}

fn cut(text: &str) -> String {
    let mut title = String::new();
    let mut length = 0;
    for character in text.chars() {
        let piece = if character == '\t' { " ".to_owned() } else { escaped(character.encode_utf8(&mut [0; 4])) };
        let more = piece.chars().count();
        if length + more > MAX_TITLE {
            while length >= MAX_TITLE {
                title.pop();
                length -= 1;
            }
            title.push('…');
            break;
        }
        title.push_str(&piece);
        length += more;
    }
    title
}

#[cfg(test)]
mod tests;
