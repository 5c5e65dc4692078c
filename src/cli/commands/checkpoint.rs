//! `checkpoint`: what was kept of each session, to take it up again.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{among, finish, operate::ask};
use crate::{
    cli::{
        CliError, Context, Exit,
        args::{CheckpointArgs, CheckpointCommand, OutputArgs},
        render,
    },
    engine::Command,
    host::checkpoint::files,
    model::{AccountName, SessionName, error_line},
    observed::{Checkpoint, CheckpointId},
    spec::Spec,
    store::{Reader, StoreError},
};

/// A line of `checkpoint ls`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedCheckpoint {
    /// Whose it is.
    pub session: SessionName,
    /// Its name.
    pub id: CheckpointId,
    /// What it says, if it may be used.
    pub checkpoint: Option<Checkpoint>,
    /// Why it may not be used.
    pub refused: Option<String>,
}

/// What `checkpoint show` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShownCheckpoint {
    /// Its name.
    pub id: CheckpointId,
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The account to take it up on: the active one, else the one that it was taken on.
    pub account: AccountName,
    /// That account's home; absent when the spec no longer declares it.
    pub home: Option<PathBuf>,
    /// The command that takes the conversation up by hand, for a shell, once the session's own agent has ended.
    pub resume: Option<String>,
    /// Newer ones that may not be used, each with why.
    pub refused: Vec<String>,
}

/// Listing and showing read the files, with or without a daemon; taking and restoring go through it when it runs.
pub fn run(context: &Context, args: &CheckpointArgs) -> Result<Exit, CliError> {
    match &args.command {
        CheckpointCommand::Ls { session, output } => list(context, session.as_deref(), *output),
        CheckpointCommand::Show { session, id, output } => show(context, session, id.as_deref(), *output),
        CheckpointCommand::Restore { session, id } => restore(context, session, id.as_deref()),
        CheckpointCommand::Take { sessions, all } => take(context, sessions, *all),
    }
}

fn list(context: &Context, session: Option<&str>, output: OutputArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let state = context.state_dir(&spec.pool)?;
    let only = session.map(name).transpose()?;
    let mut listed = Vec::new();
    let kept = files::Shelf::default().list(&state).map_err(CliError::Checkpoint)?;
    if let Some(only) = only.as_ref().filter(|only| !spec.sessions.contains_key(*only) && !kept.contains_key(*only)) {
        let known: std::collections::BTreeSet<_> = spec.sessions.keys().chain(kept.keys()).map(ToString::to_string).collect();
        return Err(CliError::Usage(format!("there is no session {only}, and no checkpoint of one; there are {}", among(known))));
    }
    for (session, ids) in kept {
        if only.as_ref().is_some_and(|only| *only != session) {
            continue;
        }
        for id in ids.map_err(CliError::Checkpoint)? {
            let (checkpoint, refused) = match files::read(&state, &spec.pool, &session, &id) {
                Ok(Some(Ok(checkpoint))) => (Some(checkpoint), None),
                Ok(Some(Err(bad))) => (None, Some(bad.to_string())),
                // Removed since it was listed.
                Ok(None) => continue,
                Err(error) => (None, Some(error_line(&error))),
            };
            listed.push(ListedCheckpoint { session: session.clone(), id, checkpoint, refused });
        }
    }
    context.out.show(output.output, &listed, |wide| render::checkpoint::list(&listed, wide, Timestamp::now()))?;
    Ok(Exit::Ok)
}

fn show(context: &Context, session: &str, id: Option<&str>, output: OutputArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let state = context.state_dir(&spec.pool)?;
    let shown = shown(spec, &state, &name(session)?, id)?;
    context.out.show(output.output, &shown, |_| render::checkpoint::show(&shown, Timestamp::now()))?;
    Ok(Exit::Ok)
}

fn shown(spec: &Spec, state: &std::path::Path, session: &SessionName, id: Option<&str>) -> Result<ShownCheckpoint, CliError> {
    let (id, checkpoint, refused) = find(spec, state, session, id)?;
    let active = match Reader::attach(state) {
        Ok(reader) => reader.memory().map_err(CliError::Store)?.active.map(|active| active.account),
        // Without a memory, the account that it was taken on is the best that is known.
        Err(error) if error.leaves_sight() || matches!(error, StoreError::Missing { .. }) => None,
        Err(error) => return Err(CliError::Store(error)),
    };
    let account = active.unwrap_or_else(|| checkpoint.account.clone());
    let home = spec.account(&account).map(|account| account.home.clone());
    let resume = home.as_deref().map(|home| render::checkpoint::resume_command(spec, home, &checkpoint));
    let file = files::directory(state, session).join(format!("{id}.json"));
    Ok(ShownCheckpoint { id, file, checkpoint, account, home, resume, refused })
}

/// The checkpoint of that name, or the newest good one, with those that were passed over.
fn find(
    spec: &Spec,
    state: &std::path::Path,
    session: &SessionName,
    id: Option<&str>,
) -> Result<(CheckpointId, Checkpoint, Vec<String>), CliError> {
    let none =
        || CliError::Refused(format!("there is no such checkpoint of {session}; `claude-failover checkpoint ls` shows what there is"));
    let Some(id) = id else {
        let found = files::newest(state, &spec.pool, session).map_err(CliError::Checkpoint)?;
        let (id, checkpoint) = found.newest.ok_or_else(|| {
            if found.refused.is_empty() {
                none()
            } else {
                CliError::Refused(format!("no checkpoint of {session} may be used: {}", found.refused.join("; ")))
            }
        })?;
        return Ok((id, checkpoint, found.refused));
    };
    let id = CheckpointId::parse(id).map_err(|error| CliError::Usage(error.to_string()))?;
    match files::read(state, &spec.pool, session, &id).map_err(CliError::Checkpoint)? {
        Some(Ok(checkpoint)) => Ok((id, checkpoint, Vec::new())),
        Some(Err(bad)) => Err(CliError::Refused(format!("{id} may not be used: {bad}"))),
        None => Err(none()),
    }
}

fn take(context: &Context, sessions: &[String], all: bool) -> Result<Exit, CliError> {
    let sessions: Vec<_> = if all { Vec::new() } else { sessions.iter().map(|session| name(session)).collect::<Result<_, _>>()? };
    let answer = ask(context, context.spec_in_force()?, Command::TakeCheckpoints { sessions })?;
    finish(context, answer)
}

fn restore(context: &Context, session: &str, id: Option<&str>) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let session = name(session)?;
    let (from, checkpoint, refused) = find(spec, &context.state_dir(&spec.pool)?, &session, id)?;
    for why in refused {
        context.out.tell(&format!("refused: {}", render::escape(&why)));
    }
    let Checkpoint { conversation, workdir, .. } = checkpoint;
    let answer = ask(context, found, Command::Restore { session, from, conversation, workdir })?;
    finish(context, answer)
}

fn name(session: &str) -> Result<SessionName, CliError> {
    SessionName::new(session).map_err(|error| CliError::Usage(error.to_string()))
}
