//! One file for each command, named after it.

pub mod apply;
pub mod attach;
pub mod checkpoint;
pub mod completions;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod init;
pub mod intake;
pub mod man;
pub mod operate;
pub mod plan;
pub mod run;
pub mod schema;
pub mod service;
pub mod show;
pub mod status;
pub mod swap;
pub mod task;
pub mod validate;

use std::time::Duration;

use super::CliError;
use crate::engine::{Answer, Command, Request};

/// How long an operator's command may take: a swap drains, moves and proves.
const ANSWER_WITHIN: Duration = Duration::from_hours(2);

/// A request of this user with an id of its own.
fn request(command: Command) -> Request {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let actor = user.map_or_else(|| nix::unistd::getuid().to_string(), |user| user.name);
    Request { id: uuid::Uuid::new_v4().to_string(), actor, command }
}

/// Runs a future of the engine to its end on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| CliError::Internal(error.to_string()))?;
    let result = runtime.block_on(work);
    // A file system that hangs keeps its thread; it must not keep us.
    runtime.shutdown_background();
    Ok(result)
}

/// Names for a message, not too many of them.
fn among(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 12;
    let names: Vec<_> = names.into_iter().collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
        _ => names.join(", "),
    }
}

/// Prints an answer and turns it into an exit code.
fn finish(context: &super::Context, answer: Answer) -> Result<super::Exit, CliError> {
    use super::{Exit, render::paragraph};
    match answer {
        Answer::Refused { message } => Err(CliError::Refused(message)),
        Answer::Done { lines, changed, degraded } => {
            for line in &lines {
                context.out.print(&format!("{}\n", paragraph(line, 2)))?;
            }
            if lines.is_empty() && !changed {
                context.out.print("Nothing to do.\n")?;
            }
            Ok(if degraded { Exit::Degraded } else { Exit::Ok })
        }
        Answer::Status(_) | Answer::Planned(_) | Answer::Tasks { .. } => {
            Err(CliError::Internal("the answer is not one to this command".to_owned()))
        }
    }
}
