//! The page about the commands, made from the parser itself, so that it cannot differ from what is understood.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::{Exit, args::Cli};

/// `docs/cli.md`: every command that people use, with its arguments, and the exit codes.
pub fn render() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = PREFACE.to_owned();
    page.push_str("\n| code | meaning |\n| --- | --- |\n");
    for (exit, meaning) in Exit::ALL {
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| {} | {meaning} |", exit.code());
    }
    page.push_str("\n## Options of every command\n\n");
    let global: Vec<_> = root.get_arguments().filter(|argument| argument.is_global_set()).collect();
    arguments(&global, &mut page);
    for command in visible(&root) {
        describe(command, "claude-failover", &mut page);
    }
    page
}

const PREFACE: &str = "\
# The command line

<!-- Generated from the parser; `UPDATE_GENERATED=1 cargo test --lib current` writes it anew. -->

Data goes to stdout, everything else to stderr. `-o json` and `-o yaml` are forms for programs; `specs/plan.schema.json` and
`specs/status.schema.json` describe them, `specs/checkpoint.schema.json` a checkpoint, `specs/saved-plan.schema.json` the file of `plan --out`. An OBJECT is `pool`, `server`, `shared-root`, `active-link`, `state-dir`, `account/NAME`,
`link/ACCOUNT/NAME`, `session/NAME`, `project/NAME` or `task/PROJECT/NAME.md`; where it cannot be mistaken, the bare name of a session or an account will do.

## Exit codes
";

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

fn describe(command: &Command, before: &str, page: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, "\n## {name}\n\n{about}");
    let own: Vec<_> = command.get_arguments().filter(|argument| !argument.is_global_set()).filter(|argument| is_own(argument)).collect();
    let usage: Vec<_> = own.iter().map(|argument| form(argument)).collect();
    let has_commands = visible(command).next().is_some();
    let rest = if has_commands { " COMMAND".to_owned() } else { usage.iter().fold(String::new(), |all, one| all + " " + one) };
    let _ = writeln!(page, "\n```text\n{name}{rest}\n```");
    if !own.is_empty() {
        page.push('\n');
        arguments(&own, page);
    }
    for inner in visible(command) {
        describe(inner, &name, page);
    }
}

fn is_own(argument: &Arg) -> bool {
    !matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version)
}

/// `[--out FILE]`, `OBJECT` and the like.
fn form(argument: &Arg) -> String {
    let name = name(argument);
    if argument.is_required_set() { name } else { format!("[{name}]") }
}

fn name(argument: &Arg) -> String {
    let value = value(argument);
    match (argument.get_long(), argument.get_short()) {
        (Some(long), _) => format!("--{long}{}", value.map(|value| format!(" {value}")).unwrap_or_default()),
        (None, Some(short)) => format!("-{short}{}", value.map(|value| format!(" {value}")).unwrap_or_default()),
        (None, None) => value.unwrap_or_default(),
    }
}

/// What is written for the argument's value, if it takes one.
fn value(argument: &Arg) -> Option<String> {
    argument.get_action().takes_values().then(|| {
        let names = argument.get_value_names().unwrap_or_default();
        let words: Vec<_> = argument.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
        if words.is_empty() { names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ") } else { words.join("|") }
    })
}

fn arguments(arguments: &[&Arg], page: &mut String) {
    page.push_str("| argument | default | meaning |\n| --- | --- | --- |\n");
    for argument in arguments {
        let short = argument.get_short().filter(|_| argument.get_long().is_some()).map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let name = name(argument).replace('|', "\\|");
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
        let flag = !argument.get_action().takes_values();
        let default = if flag || defaults.is_empty() { String::new() } else { defaults.join(", ") };
        let environment = argument.get_env().map(|name| format!(" Also `{}`.", name.display())).unwrap_or_default();
        let meaning = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let stop = if meaning.ends_with('.') { "" } else { "." };
        let _ = writeln!(page, "| {short}`{name}` | {default} | {meaning}{stop}{environment} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_the_commands_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
        let wanted = render();
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(path, &wanted).expect("the file can be written");
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        let diff = similar::TextDiff::from_lines(&found, &wanted);
        assert!(found == wanted, "docs/cli.md is not current\n{}", diff.unified_diff().header("found", "wanted"));
    }

    /// The text of a command's `--help`, with the commands below it.
    fn helps(command: &mut Command, before: &str) {
        let name = format!("{before}{}", command.get_name());
        let text = command.render_long_help().to_string();
        let text: Vec<_> = text.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(format!("help-{}", name.replace(' ', "-")), text.join("\n"));
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            helps(inner, &format!("{name} "));
        }
    }

    #[test]
    fn every_command_has_its_help() {
        // The width of the terminal that the tests run in must not show.
        let mut root = Cli::command().term_width(100);
        root.build();
        helps(&mut root, "");
    }

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
        let help = Cli::command().term_width(1_000).render_long_help().to_string();
        assert!(help.contains(&Exit::help()), "{help}");
    }
}
