//! Paths: resolved in text, compared in text.
//!
//! # Does not
//! Look at the disk. That two homes are one directory through a link or a mount is seen later, by device and inode.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use super::{Checked, Rules, accounts::Draft};
use crate::spec::{
    diagnostic::{Code, Diagnostic, quoted},
    load::FieldPath,
    pool::Shared,
};

/// Resolves a path: `~` and `~/…` with the home directory, what is relative with the directory of the spec, `.` and `..` in text.
pub(super) fn resolve(text: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<PathBuf> {
    if text.is_empty() {
        return Err(rules.refuse(Code::BadPath, at, format!("`{at}` is empty"), "write a path"));
    }
    if text.chars().any(char::is_control) {
        let message = format!("the path {} holds a control character", quoted(text));
        return Err(rules.refuse(Code::BadPath, at, message, "remove it; tmux and terminals cannot show such a path"));
    }
    let joined = match text.strip_prefix('~') {
        Some("") => rules.place.home.clone(),
        Some(rest) => {
            let Some(below) = rest.strip_prefix('/') else {
                let message = format!("the path {} names another user's home", quoted(text));
                return Err(rules.refuse(Code::BadPath, at, message, "write the whole path, or ./ in front if the name begins with ~"));
            };
            rules.place.home.join(below.trim_start_matches('/'))
        }
        None => rules.place.base.join(text),
    };
    let plain = without_dots(&joined);
    if !plain.is_absolute() || plain.to_str().is_none() {
        let message = format!("the path {} cannot be resolved: the home directory or the spec's directory is unusable", quoted(text));
        return Err(rules.refuse(Code::BadPath, at, message, "write an absolute path, or set HOME to one in UTF-8"));
    }
    Ok(plain)
}

/// The same for a path that may be absent.
pub(super) fn resolve_optional(text: Option<&str>, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Option<PathBuf>> {
    match text {
        Some(text) => resolve(text, at, rules).map(Some),
        None => rules.in_shape(at).map(|()| None),
    }
}

/// Takes `.` and `..` out of a path, in text: `..` goes to the directory that was named, as `cd` does, and not to where a link leads.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Checks homes, shared root and active link against each other.
pub(super) fn check_overlaps(
    accounts: &[Draft],
    shared: Option<&Shared>,
    active_link: Option<&Path>,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) {
    let root = shared.map(|shared| shared.root.as_path());
    let root_at = at.field("shared").field("root");
    let link_at = at.field("activeLink");
    let homes: Vec<(&Draft, &Path)> = accounts.iter().filter_map(|draft| Some((draft, draft.home.as_deref()?))).collect();

    if let Some(root) = root {
        check_not_wide(root, "the shared root", &root_at, rules);
    }
    for (draft, home) in &homes {
        check_not_wide(home, &format!("the home of {}", draft.title), &draft.home_at, rules);
    }
    check_homes(&homes, rules);
    for (draft, home) in &homes {
        if let Some(root) = root.filter(|root| overlap(root, home)) {
            let relation = relation(home, root);
            let message = format!("the home of {} {relation} the shared root {}", draft.title, shown(root));
            let hint = "give the shared root a directory of its own, such as ~/.claude-shared";
            report_pair(Code::HomeAndRoot, message, hint, (&draft.home_at, &root_at), "the shared root", rules);
        }
        if let Some(link) = active_link.filter(|link| overlap(link, home)) {
            let relation = relation(link, home);
            let message = format!("the active link {} {relation} the home of {}", shown(link), draft.title);
            let hint = "the active link is a link that points at a home: give it a path of its own, such as ~/.claude";
            report_pair(Code::ActiveLinkOverlap, message, hint, (&link_at, &draft.home_at), "the home", rules);
        }
    }
    if let (Some(root), Some(link)) = (root, active_link)
        && overlap(root, link)
    {
        let message = format!("the active link {} {} the shared root {}", shown(link), relation(link, root), shown(root));
        let hint = "the active link points at a home: give it a path of its own, such as ~/.claude";
        report_pair(Code::ActiveLinkOverlap, message, hint, (&link_at, &root_at), "the shared root", rules);
    }
}

/// Checks that a directory of ours is not the root directory, the user's home, or above it: everything below it would be taken for ours.
fn check_not_wide(path: &Path, what: &str, at: &FieldPath, rules: &mut Rules<'_>) {
    if without_dots(&rules.place.home).starts_with(path) {
        let message = format!("{what} is {}, which is or contains the user's own home directory", shown(path));
        rules.refuse(Code::HomeTooWide, at, message, "give it a directory of its own, such as ~/.claude-accounts/NAME");
    }
}

/// Checks that no home is another one or lies inside it.
fn check_homes(homes: &[(&Draft, &Path)], rules: &mut Rules<'_>) {
    let mut first = BTreeMap::<&Path, &Draft>::new();
    for (draft, home) in homes {
        if let Some(other) = first.get(home) {
            let message = format!("{} and {} have the same home {}", other.title, draft.title, shown(home));
            let hint = "each account needs a home of its own: a login cannot be shared";
            report_pair(Code::SameHome, message, hint, (&draft.home_at, &other.home_at), "the same home", rules);
        } else {
            first.insert(home, draft);
        }
    }
    for (draft, home) in homes {
        let outer = home.ancestors().skip(1).find_map(|above| first.get(above));
        if let Some(outer) = outer {
            let message = format!("the home of {} lies inside the home of {}", draft.title, outer.title);
            let hint = "put the homes side by side, such as ~/.claude-accounts/NAME";
            report_pair(Code::HomeInsideHome, message, hint, (&draft.home_at, &outer.home_at), "the outer home", rules);
        }
    }
}

/// Reports a mistake that has two places. The first one gets the mark if it was written, else the second.
fn report_pair(code: Code, message: String, hint: &str, places: (&FieldPath, &FieldPath), label: &str, rules: &mut Rules<'_>) {
    let (here, there) = places;
    let (here, there) = if rules.is_written(here) { (here, Some(there)) } else { (there, None) };
    let other = there.filter(|there| rules.is_written(there)).map(|there| rules.place(there));
    rules.findings.report(Diagnostic::new(code, message).at(rules.place(here)).related(other, label).hint(hint));
}

/// Whether one of two paths is the other or lies inside it.
fn overlap(left: &Path, right: &Path) -> bool {
    left.starts_with(right) || right.starts_with(left)
}

/// How two paths that overlap lie to each other.
fn relation(left: &Path, right: &Path) -> &'static str {
    if left == right {
        "is"
    } else if left.starts_with(right) {
        "lies inside"
    } else {
        "contains"
    }
}

/// A path for messages.
fn shown(path: &Path) -> String {
    quoted(&path.as_os_str().to_string_lossy())
}

/// Whether a program or a socket is given by a path, and not by a name.
pub(super) fn is_path(text: &str) -> bool {
    text.contains('/') || text == "~"
}
