//! What is typed into an agent's box.
//!
//! A task's name was chosen by whoever wrote it. Whatever in it is not plainly printable stands in the text in its escaped form, as a shell reads it,
//! so that it can neither steer the terminal nor pass for a claim.

use std::{fmt::Write as _, path::Path};

use crate::{
    model::{ClaimId, TaskName, is_hidden},
    spec::{Completion, Project},
};

/// The directory of the queue below a project.
const QUEUE: &str = ".agent-queue";
/// How much of what is known of a session goes into a prompt.
const TRUTH: usize = 1_500;

/// The prompt that gives a task to an agent.
pub fn prompt_text(project: &Project, task: &TaskName, claim: &ClaimId) -> String {
    let file = task_path(project, task);
    let marker = quote_path(&format!("{}.dispatched", task.as_str()));
    let end = ending(project);
    format!(
        "{} Do the task that is written in {file} now. Look first whether {marker} beside it names this claim; if it does not, the task is not \
         yours any more: stop. {end}",
        claim.tag()
    )
}

/// The prompt that asks once more about a task that is not done. `truth` is what is known of the session.
pub fn follow_up_text(project: &Project, task: &TaskName, claim: &ClaimId, truth: Option<&str>) -> String {
    let file = task_path(project, task);
    let marker = quote_path(&format!("{}.dispatched", task.as_str()));
    let truth = truth.map(plain).filter(|truth| !truth.is_empty()).map_or_else(String::new, |truth| format!("What is known: {truth} "));
    let end = ending(project);
    format!(
        "{} The task in {file} is not done: its file still stands in the inbox. {truth}Look whether {marker} beside it names claim {claim}; if it \
         does not, stop. Otherwise go on from where you are, without doing anything twice. {end}",
        claim.again().tag()
    )
}

fn ending(project: &Project) -> String {
    let queue = project.path.join(QUEUE);
    let failed = quote_path(&format!("{}/", queue.join("failed").display()));
    match project.completion {
        Completion::File => {
            let done = quote_path(&format!("{}/", queue.join("done").display()));
            format!(
                "When it is done, move its file to {done}. If it cannot be done, add a line that says why to its end and move it to {failed}. \
                 Leave the .dispatched file alone."
            )
        }
        Completion::Turn => {
            format!("Leave its file where it is. If the task cannot be done, add a line that says why to its end and move it to {failed}.")
        }
    }
}

fn task_path(project: &Project, task: &TaskName) -> String {
    let path: &Path = &project.path.join(QUEUE).join("inbox").join(task.as_str());
    quote_path(&path.display().to_string())
}

/// A path as one word that a shell reads back: as it is, in quotation marks, or with escapes (`$'…'`) when it holds what must not reach a terminal.
pub fn quote_path(path: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c) || (!c.is_ascii() && is_printable(c));
    if path.chars().all(is_bare) {
        return path.to_owned();
    }
    let is_quotable = |c: char| is_printable(c) && c != '\'' && c != '[';
    if path.chars().all(is_quotable) {
        return format!("'{path}'");
    }
    let mut word = String::from("$'");
    for c in path.chars() {
        match c {
            '\'' => word.push_str("\\'"),
            '\\' => word.push_str("\\\\"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            // What looks like a tag in a name is none.
            '[' => word.push_str("\\x5b"),
            c if is_printable(c) => word.push(c),
            c => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // Writing to a text does not fail.
                    let _ = write!(word, "\\x{byte:02x}");
                }
            }
        }
    }
    word.push('\'');
    word
}

/// Whether a character shows itself and nothing else: no control character, no line end, none that turns the direction of writing or is not seen.
fn is_printable(c: char) -> bool {
    !c.is_control() && !is_hidden(c) && (c == ' ' || !c.is_whitespace())
}

/// A text on one line, without anything that could steer a terminal or pass for a claim, cut to a bearable length.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| is_printable(*c)).map(|c| if c == '[' { '(' } else { c }).take(TRUTH).collect()
}
