//! What is typed into an agent's box.
//!
//! A task's name was chosen by whoever wrote it. Whatever in it is not plainly printable stands in the text in its escaped form, as a shell reads it,
//! so that it can neither steer the terminal nor pass for a claim.

use std::path::Path;

use crate::{
    model::{ClaimId, TaskName, is_printable, shell_word},
    spec::{Completion, Project},
};

/// The directory of the queue below a project.
const QUEUE: &str = ".agent-queue";
/// How much of what is known of a session goes into a prompt.
const TRUTH: usize = 1_500;

/// The prompt that gives a task to an agent.
pub fn prompt_text(project: &Project, task: &TaskName, claim: &ClaimId) -> String {
    let file = task_path(project, task);
    let marker = shell_word(&format!("{}.dispatched", task.as_str()));
    let end = ending(project);
    format!(
        "{} Do the task that is written in {file} now. Look first whether {marker} beside it names this claim; if it does not, the task is not \
         yours any more: stop. {end}",
        claim.tag()
    )
}

/// The prompt that asks once more about a task that is not done: of an attempt's claim, and with the claim of its own. `truth` is what is known of
/// the session.
pub fn follow_up_text(project: &Project, task: &TaskName, (claim, own): (&ClaimId, &ClaimId), truth: Option<&str>) -> String {
    let file = task_path(project, task);
    let marker = shell_word(&format!("{}.dispatched", task.as_str()));
    let truth = truth.map(plain).filter(|truth| !truth.is_empty()).map_or_else(String::new, |truth| format!("What is known: {truth} "));
    let end = ending(project);
    format!(
        "{} The task in {file} is not done: its file still stands in the inbox. {truth}Look whether {marker} beside it names claim {claim}; if it \
         does not, stop. Otherwise go on from where you are, without doing anything twice. {end}",
        own.tag()
    )
}

fn ending(project: &Project) -> String {
    let queue = project.path.join(QUEUE);
    let failed = shell_word(&format!("{}/", queue.join("failed").display()));
    match project.completion {
        Completion::File => {
            let done = shell_word(&format!("{}/", queue.join("done").display()));
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
    shell_word(&path.display().to_string())
}

/// A text on one line, without anything that could steer a terminal or pass for a claim, cut to a bearable length.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| is_printable(*c)).map(|c| if c == '[' { '(' } else { c }).take(TRUTH).collect()
}
