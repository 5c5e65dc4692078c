//! Checkpoints for people.

use std::{fmt::Write as _, path::Path};

use jiff::Timestamp;

use super::{escape, paint, paragraph, relative, style, table};
use crate::{
    cli::commands::checkpoint::{ListedCheckpoint, ShownCheckpoint},
    model::shell_word,
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
    let command: Vec<_> = spec.agent.command.iter().map(|word| shell_word(word)).collect();
    format!(
        "cd {} && CLAUDE_CONFIG_DIR={} {} --resume {}",
        shell_word(&checkpoint.workdir.to_string_lossy()),
        shell_word(&home.to_string_lossy()),
        command.join(" "),
        checkpoint.conversation
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observed::{CheckpointCause, CheckpointId, ToolAtHand, TranscriptMark},
        plan::tests::world::{World, at, session},
    };

    /// One with everything in it, also what wants to look like something else.
    fn checkpoint(world: &World) -> Checkpoint {
        let draft = world.draft("s-0", CheckpointCause::TurnEnded, -90);
        let path = "/shared/projects/-work/x.jsonl".into();
        Checkpoint {
            transcript: Some(TranscriptMark { path, device: 1, inode: 2, length: 4_711, tail: String::new() }),
            git: Some(GitState {
                branch: Some("main".to_owned()),
                head: Some("0123456789abcdef".to_owned()),
                dirty: vec!["src/a b.rs".to_owned(), "new\u{1b}[31m".to_owned()],
                dirty_count: 2,
                more: false,
            }),
            prompt: Some("fix the login\nsession:      s-9".to_owned()),
            tool: Some(ToolAtHand { name: "Bash".to_owned(), finished: false }),
            answer: Some("I am on it".to_owned()),
            interrupted: true,
            context_tokens: Some(31_000),
            ..draft.expect("it is ours")
        }
    }

    fn id() -> CheckpointId {
        CheckpointId::new(at(-90).wall, "0123456789ab")
    }

    #[test]
    fn a_listing_reads_well() {
        let world = World::converged(1);
        let good = ListedCheckpoint { session: session("s-0"), id: id(), checkpoint: Some(checkpoint(&world)), refused: None };
        let bad = ListedCheckpoint { session: session("s-1"), id: id(), checkpoint: None, refused: Some("it is torn".to_owned()) };
        insta::assert_snapshot!(list(&[good, bad], true, at(0).wall));
        assert_eq!(list(&[], false, at(0).wall), "No checkpoints.\n");
    }

    #[test]
    fn one_that_is_shown_has_all_that_a_person_needs() {
        let world = World::converged(1);
        let checkpoint = checkpoint(&world);
        let home = Path::new("/homes/it's mine");
        let shown = ShownCheckpoint {
            id: id(),
            file: "/state/checkpoints/s-0/x.json".into(),
            account: checkpoint.account.clone(),
            home: Some(home.to_owned()),
            resume: Some(resume_command(&world.spec, home, &checkpoint)),
            refused: vec!["y.json was passed over: it is torn".to_owned()],
            checkpoint,
        };
        insta::assert_snapshot!(show(&shown, at(0).wall));
    }
}
