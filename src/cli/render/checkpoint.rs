//! Checkpoints for people.

use std::{fmt::Write as _, path::Path};

use jiff::Timestamp;

use super::{escape, paint, paragraph, relative, style, table};
use crate::{
    cli::commands::checkpoint::{ListedCheckpoint, ShownCheckpoint},
    observed::{Checkpoint, GitState},
    spec::Spec,
};

/// A table, by session, oldest first.
pub fn list(listed: &[ListedCheckpoint], wide: bool, now: Timestamp) -> String {
    if listed.is_empty() {
        return "No checkpoints.\n".to_owned();
    }
    let mut heading = vec!["SESSION", "ID", "WHEN", "WHY", "ACCOUNT", "ACTIVITY", "TASK"];
    if wide {
        heading.extend(["GIT", "CONVERSATION", "LAST PROMPT"]);
    }
    let rows = listed.iter().map(|line| {
        let mut row = vec![line.session.to_string(), line.id.to_string(), relative(line.id.taken_at(), now)];
        match (&line.checkpoint, &line.refused) {
            (Some(checkpoint), _) => {
                let task = checkpoint.task.as_ref().map_or_else(|| "-".to_owned(), |task| escape(&task.task.to_string()));
                row.extend([checkpoint.why.to_string(), checkpoint.account.to_string(), checkpoint.activity.to_string(), task]);
                if wide {
                    let git = checkpoint.git.as_ref().map_or_else(|| "-".to_owned(), |git| escape(&git_words(git)));
                    let prompt = checkpoint.prompt.as_deref().unwrap_or("-");
                    row.extend([git, checkpoint.conversation.to_string(), escape(&first_line(prompt))]);
                }
            }
            (None, why) => row.push(format!("refused: {}", escape(why.as_deref().unwrap_or_default()))),
        }
        row.resize(heading.len(), String::new());
        row
    });
    table(&heading, rows)
}

/// The first line, cut.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(60).collect()
}

/// All that a person needs to take the session over.
pub fn show(shown: &ShownCheckpoint, now: Timestamp) -> String {
    let checkpoint = &shown.checkpoint;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{:<14}{}", format!("{name}:"), paragraph(value, 14));
    };
    line("session", checkpoint.session.as_str());
    line("checkpoint", &format!("{} ({}, {})", shown.id, relative(shown.id.taken_at(), now), checkpoint.why));
    line("file", &shown.file.display().to_string());
    line("conversation", &checkpoint.conversation.to_string());
    let transcript = checkpoint.transcript.as_ref();
    line(
        "transcript",
        &transcript.map_or_else(
            || "none: nothing was said in it yet".to_owned(),
            |mark| format!("{} ({} bytes then)", mark.path.display(), mark.length),
        ),
    );
    line("started in", &checkpoint.workdir.display().to_string());
    if checkpoint.directory != checkpoint.workdir {
        line("worked in", &checkpoint.directory.display().to_string());
    }
    line("account", &format!("{} then, {} now", checkpoint.account, shown.account));
    line("home", &shown.home.as_ref().map_or_else(|| "not declared any more".to_owned(), |home| home.display().to_string()));
    let interrupted = if checkpoint.interrupted { ", its last turn interrupted by a person" } else { "" };
    line("activity", &format!("{}{interrupted}", checkpoint.activity));
    if let Some(tokens) = checkpoint.context_tokens {
        line("context", &format!("{tokens} tokens"));
    }
    line("git", &checkpoint.git.as_ref().map_or_else(|| "no repository, or it did not answer".to_owned(), git_words));
    if let Some(git) = checkpoint.git.as_ref().filter(|git| !git.dirty.is_empty()) {
        line("uncommitted", &git.dirty.iter().map(|file| escape(file)).collect::<Vec<_>>().join("\n"));
    }
    match &checkpoint.task {
        Some(task) => {
            let file = task.file.as_ref().map(|file| format!("\n{}", escape(&file.display().to_string()))).unwrap_or_default();
            let taken = if task.delivered { "the agent took it" } else { "not known to have been taken" };
            line("task", &format!("{} [claim {}], {taken}{file}", task.task, task.claim));
        }
        None => line("task", "none"),
    }
    match &checkpoint.tool {
        Some(tool) if tool.finished => line("last tool", &format!("{}, its result is in the transcript", escape(&tool.name))),
        Some(tool) => line("last tool", &format!("{}, its result is not known: look whether it took effect", escape(&tool.name))),
        None => line("last tool", "none"),
    }
    line("last prompt", checkpoint.prompt.as_deref().unwrap_or("none"));
    line("last words", checkpoint.answer.as_deref().unwrap_or("none"));
    for why in &shown.refused {
        let _ = writeln!(text, "{}", paint(style::WARN, format!("refused: {}", escape(why))));
    }
    if let Some(resume) = &shown.resume {
        let _ = writeln!(text, "\n{}", paint(style::HEAD, "To take it over by hand, once no agent has the conversation open:"));
        let _ = writeln!(text, "  {}", escape(resume));
    }
    text
}

fn git_words(git: &GitState) -> String {
    let branch = git.branch.as_deref().unwrap_or("detached head");
    let head = git.head.as_deref().map_or("no commit", |head| head.get(..12).unwrap_or(head));
    let more = if git.more { "at least " } else { "" };
    format!("{branch} at {head}, {more}{} uncommitted", git.dirty_count)
}

/// The command that takes the conversation up, for a shell.
pub fn resume_command(spec: &Spec, home: &Path, checkpoint: &Checkpoint) -> String {
    let command: Vec<_> = spec.agent.command.iter().map(|word| quote(word)).collect();
    format!(
        "cd {} && CLAUDE_CONFIG_DIR={} {} --resume {}",
        quote(&checkpoint.workdir.to_string_lossy()),
        quote(&home.to_string_lossy()),
        command.join(" "),
        checkpoint.conversation
    )
}

/// One word of a POSIX shell, in quotes where it needs them.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
