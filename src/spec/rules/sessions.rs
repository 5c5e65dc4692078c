//! Sessions: patterns to names, each name once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use super::{Checked, Reported, Rules, paths};
use crate::{
    model::SessionName,
    spec::{
        brace::{self, MAX_NAMES},
        diagnostic::{Code, Diagnostic, quoted},
        document,
        load::FieldPath,
        pool::{Restart, Session},
    },
};

/// Words that commands use for no session or for all of them.
const RESERVED: [&str; 2] = ["all", "none"];

/// One line of sessions as it was written, with its path resolved: what the effective spec prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionGroup {
    /// The pattern of names.
    pub names: String,
    /// The start directory.
    pub workdir: PathBuf,
    /// What happens when an agent ends.
    pub restart: Restart,
    /// Whether existing tmux sessions are taken over.
    pub adopt: bool,
    /// Whether they take tasks.
    pub dispatch: bool,
}

/// A name that two lines give, by the lines' numbers.
type Overlaps = BTreeMap<(usize, usize), Vec<String>>;

/// Expands all lines.
pub(super) fn resolve(
    wanted: &[document::SessionLine],
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<(BTreeMap<SessionName, Session>, Vec<SessionGroup>)> {
    let mut sessions = BTreeMap::new();
    let mut groups = Vec::with_capacity(wanted.len());
    let mut first = BTreeMap::<String, usize>::new();
    let mut overlaps = Overlaps::new();
    for (index, line) in wanted.iter().enumerate() {
        let here = at.item(index);
        let (names_at, workdir_at) = (here.field("names"), here.field("workdir"));
        let workdir = rules.present(&workdir_at).and_then(|()| paths::resolve(&line.workdir, &workdir_at, rules));
        let names = rules.present(&names_at).and_then(|()| expand(line, &names_at, rules));
        let Ok(names) = names else { continue };
        if first.len() + names.len() > MAX_NAMES {
            let message = format!("with this line the pool has more than {MAX_NAMES} sessions");
            return Err(rules.refuse(Code::TooManySessions, &names_at, message, "make the ranges smaller"));
        }
        let mut sound = true;
        for name in names {
            match first.entry(name) {
                Entry::Occupied(known) => overlaps.entry((*known.get(), index)).or_default().push(known.key().clone()),
                Entry::Vacant(free) => {
                    // One bad name speaks for its whole line.
                    let checked = if sound { check(free.key(), &names_at, rules) } else { Err(Reported) };
                    sound = checked.is_ok();
                    if let (Ok(name), Ok(workdir)) = (checked, &workdir) {
                        let session = Session {
                            name: name.clone(),
                            workdir: workdir.clone(),
                            restart: line.restart,
                            adopt: line.adopt,
                            dispatch: line.dispatch,
                        };
                        sessions.insert(name, session);
                    }
                    free.insert(index);
                }
            }
        }
        if let Ok(workdir) = workdir {
            groups.push(SessionGroup {
                names: line.names.clone(),
                workdir,
                restart: line.restart,
                adopt: line.adopt,
                dispatch: line.dispatch,
            });
        }
    }
    for ((first, second), names) in &overlaps {
        report_overlap(wanted, (*first, *second), names, at, rules);
    }
    if groups.len() == wanted.len() && overlaps.is_empty() && sessions.len() == first.len() {
        Ok((sessions, groups))
    } else {
        Err(Reported)
    }
}

/// The names of one line.
fn expand(line: &document::SessionLine, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Vec<String>> {
    match brace::expand(&line.names) {
        Ok(names) => Ok(names),
        Err(brace::PatternError::TooMany) => {
            let message = format!("{}: {}", quoted(&line.names), brace::PatternError::TooMany);
            Err(rules.refuse(Code::TooManySessions, at, message, "make the ranges smaller"))
        }
        Err(error) => Err(rules.refuse(Code::BadPattern, at, format!("{}: {error}", quoted(&line.names)), "for example ccl-{0..9}")),
    }
}

/// Checks one name.
fn check(name: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<SessionName> {
    if RESERVED.contains(&name) {
        let message = format!("a session cannot be called {}: commands use that word", quoted(name));
        return Err(rules.refuse(Code::ReservedName, at, message, "choose another name"));
    }
    SessionName::new(name).map_err(|error| rules.refuse(Code::BadName, at, error.to_string(), "a pattern gives names such as ccl-0"))
}

/// Reports that two lines, or one line twice, give the same names.
fn report_overlap(
    wanted: &[document::SessionLine],
    (first, second): (usize, usize),
    names: &[String],
    at: &FieldPath,
    rules: &mut Rules<'_>,
) {
    let (first_at, second_at) = (at.item(first).field("names"), at.item(second).field("names"));
    let some: Vec<String> = names.iter().take(3).map(|name| quoted(name)).collect();
    let more = if names.len() > some.len() { format!(" and {} more", names.len() - some.len()) } else { String::new() };
    let (whose, hint) = if first == second {
        (format!("the pattern {} gives", quoted(&wanted[first].names)), "give each session once")
    } else {
        (
            format!("the patterns {} and {} both give", quoted(&wanted[first].names), quoted(&wanted[second].names)),
            "make the ranges disjoint, or remove one of the lines",
        )
    };
    let twice = if first == second { " twice" } else { "" };
    let message = format!("{whose} {}{more}{twice}", some.join(", "));
    let other = (first != second).then(|| rules.place(&first_at));
    let diagnostic = Diagnostic::new(Code::DuplicateSession, message).at(rules.place(&second_at)).related(other, "also given here");
    rules.findings.report(diagnostic.hint(hint));
}
