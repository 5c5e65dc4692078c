//! The command line of `task`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// `task`
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TaskCommand,
}

/// `task …`
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Put a task into a project's inbox, as dropping a file there does.
    Add(TaskAddArgs),
    /// List tasks: those that sessions have, those that wait and why, those that failed.
    Ls(TaskListArgs),
    /// Show one task with its attempts.
    Show(TaskShowArgs),
    /// Offer a failed task again, with all its attempts.
    Retry(TaskOrderArgs),
    /// Take a task out of the queue, into `failed/`. The session that has it is not interrupted.
    Cancel(TaskCancelArgs),
    /// Move a task that nobody has to another project.
    Mv(TaskMoveArgs),
}

/// `task add`
#[derive(Debug, Args)]
pub struct TaskAddArgs {
    /// The project.
    #[arg(value_name = "PROJECT")]
    pub project: String,
    /// The file with the task's text; `-` or none for stdin.
    #[arg(value_name = "FILE", conflicts_with = "text")]
    pub file: Option<PathBuf>,
    /// The task's text.
    #[arg(short = 't', long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Its name, with or without `.md`. Default: that of the file, or one made of the time.
    #[arg(short = 'n', long, value_name = "NAME")]
    pub name: Option<String>,
    /// Higher goes first.
    #[arg(short = 'p', long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub priority: Option<i32>,
    /// Only this session may do it.
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// A task of the same project that must be done before; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub after: Vec<String>,
    /// How long one attempt may take, such as 90m.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// How many attempts it gets.
    #[arg(long, value_name = "NUMBER")]
    pub attempts: Option<u32>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `task ls`
#[derive(Debug, Args)]
pub struct TaskListArgs {
    /// Only of this project.
    #[arg(value_name = "PROJECT")]
    pub project: Option<String>,
    /// Also those that are done.
    #[arg(short, long)]
    pub all: bool,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `task show`
#[derive(Debug, Args)]
pub struct TaskShowArgs {
    /// The task, as `task ls` shows it.
    #[arg(value_name = "PROJECT/NAME.md")]
    pub task: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `task retry`
#[derive(Debug, Args)]
pub struct TaskOrderArgs {
    /// The task, as `task ls` shows it.
    #[arg(value_name = "PROJECT/NAME.md")]
    pub task: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `task cancel`
#[derive(Debug, Args)]
pub struct TaskCancelArgs {
    /// The task, as `task ls` shows it.
    #[arg(value_name = "PROJECT/NAME.md")]
    pub task: String,
    /// Why; it is written beside the task.
    #[arg(long, value_name = "TEXT", default_value = "not wanted any more")]
    pub reason: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `task mv`
#[derive(Debug, Args)]
pub struct TaskMoveArgs {
    /// The task, as `task ls` shows it.
    #[arg(value_name = "PROJECT/NAME.md")]
    pub task: String,
    /// The other project.
    #[arg(value_name = "PROJECT")]
    pub project: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}
