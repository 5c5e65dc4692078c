//! A command of the operator that prints readings in the format of the [`file`](mod@super::file).
//!
//! It gets no shell, no input, and of our environment only what finding itself needs; `CLAUDE_FAILOVER_ACCOUNT` names the account that is
//! asked about. It may print other accounts as well.

use std::{env, path::Path, time::Duration};

use jiff::Timestamp;

use super::{
    UsageError,
    child::{self, Output, Run},
    file,
};
use crate::model::{AccountName, AccountUsage, ReadingSource};

/// How long the command may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// One reading through the operator's command.
#[derive(Debug, Clone, Copy)]
pub struct CommandPoll<'a> {
    /// The operator's `quota.command`.
    pub command: &'a [String],
    /// The account.
    pub account: &'a AccountName,
    /// Where the command starts.
    pub workdir: &'a Path,
    /// When it begins.
    pub at: Timestamp,
    /// How long it may take: [`DEADLINE`].
    pub deadline: Duration,
}

/// Runs the command and reads what it prints of the account.
///
/// # Errors
/// [`UsageError`].
pub async fn read(poll: &CommandPoll<'_>) -> Result<AccountUsage, UsageError> {
    let run = Run {
        command: poll.command,
        arguments: &[],
        environment: child::environment(env::vars_os(), [("CLAUDE_FAILOVER_ACCOUNT", poll.account.as_str())]),
        workdir: poll.workdir,
        deadline: poll.deadline,
        grace: child::GRACE,
        output: Output::Read { limit: file::LIMIT },
    };
    let output = child::run(run).await?;
    let malformed = |source| UsageError::Malformed { what: "the output of quota.command".to_owned(), source };
    file::parse(&output, poll.account, poll.at, ReadingSource::Command).map_err(malformed)
}

#[cfg(test)]
mod tests;
