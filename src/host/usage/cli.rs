//! The official CLI's own usage answer.
//!
//! `claude -p "/usage"` makes no model call, refreshes the login when that is needed, asks the endpoint once, and leaves the whole answer in
//! the home's `.claude.json` (facts/claude-code.md, section 5.1). What it prints is for people and varies; what it leaves is read.
//!
//! # Guarantees
//! No token is touched. A run that ends well and leaves the figures as they were is [`UsageError::NotRefreshed`]: that is how the CLI shows
//! that the endpoint asked it to wait.

use std::{collections::BTreeMap, env, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Malformed, UsageError, answer,
    bounded::{self, Symlink},
    child::{self, Output, Run},
    json,
};
use crate::{
    model::{AccountUsage, ReadingSource, later},
    plan::{burn::CLOCK_TOLERANCE, poll::MIN_INTERVAL},
};

/// How long the CLI may take. It needs 0.6 to 1.6 s by itself, more when it refreshes the login, and more than 20 s beside a pool that is
/// just starting on two cores. To give up early costs more than to wait: without its reading an account is unknown until the next one.
pub const DEADLINE: Duration = Duration::from_mins(2);

const _: () = assert!(DEADLINE.as_secs() < MIN_INTERVAL.as_secs(), "two readings of one home would overlap");

/// Where the CLI keeps what it knows of a home.
const CONFIG: &str = ".claude.json";
/// It grows with the number of projects.
const CONFIG_LIMIT: usize = 16 * 1024 * 1024;
/// Asked again within this, the CLI shows what it has and makes no request. Somebody else has just asked, and the figures are good.
const CACHED_FOR: SignedDuration = SignedDuration::from_mins(1);
/// It makes the CLI ask nothing and show nothing.
const SILENCES_USAGE: &str = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC";

/// One reading through the CLI.
#[derive(Debug, Clone, Copy)]
pub struct CliPoll<'a> {
    /// The operator's `agent.command`.
    pub command: &'a [String],
    /// The operator's `agent.environment`.
    pub environment: &'a BTreeMap<String, String>,
    /// The account's home.
    pub home: &'a Path,
    /// An empty directory for the CLI to start in; made when it is absent.
    pub workdir: &'a Path,
    /// When it begins.
    pub at: Timestamp,
    /// How long it may take: [`DEADLINE`].
    pub deadline: Duration,
}

/// Has the CLI read the usage of a home, and reads what it left.
///
/// # Errors
/// [`UsageError`]; `NotRefreshed` when the CLI ran and left nothing new.
pub async fn read(poll: &CliPoll<'_>) -> Result<AccountUsage, UsageError> {
    let config = poll.home.join(CONFIG);
    std::fs::create_dir_all(poll.workdir).map_err(|source| UsageError::Path { path: poll.workdir.to_owned(), source })?;
    let before = fetched_at(&config, poll.at).await?;
    let operators = poll.environment.iter().filter(|(name, _)| *name != SILENCES_USAGE);
    let mut environment = child::environment(env::vars_os(), operators);
    environment.insert("CLAUDE_CONFIG_DIR".into(), poll.home.into());
    // A reading must not become an update of the program that the sessions run.
    environment.insert("DISABLE_AUTOUPDATER".into(), "1".into());
    let run = Run {
        command: poll.command,
        arguments: &["-p", "/usage", "--safe-mode", "--no-session-persistence"],
        environment,
        workdir: poll.workdir,
        deadline: poll.deadline,
        grace: child::GRACE,
        output: Output::Discard,
    };
    child::run(run).await?;
    let Some(cached) = cached(&config, poll.at).await? else { return Err(UsageError::NotRefreshed { fetched_at: None }) };
    let is_new = before.is_none_or(|before| cached.fetched_at > before);
    let age = poll.at.duration_since(cached.fetched_at);
    if !is_new && age > CACHED_FOR {
        return Err(UsageError::NotRefreshed { fetched_at: Some(cached.fetched_at) });
    }
    if cached.is_of_other_login {
        return Err(UsageError::OtherLogin { home: poll.home.to_owned() });
    }
    let malformed = |source| UsageError::Malformed { what: what(&config), source };
    answer::read(&cached.utilization, cached.fetched_at, ReadingSource::Cli).map_err(malformed)
}

/// What the CLI left.
#[derive(Debug)]
struct Cached {
    fetched_at: Timestamp,
    is_of_other_login: bool,
    utilization: Value,
}

/// The part of `.claude.json` that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    cached_usage_utilization: Option<Value>,
    #[serde(default)]
    oauth_account: Option<Value>,
}

/// The words for the cache in an error.
fn what(config: &Path) -> String {
    format!("cachedUsageUtilization in {}", config.display())
}

/// When the figures in the cache were fetched. A cache that cannot be read counts as none here: the CLI is about to write it anew, and what
/// is wrong with it then is said then.
async fn fetched_at(config: &Path, at: Timestamp) -> Result<Option<Timestamp>, UsageError> {
    match cached(config, at).await {
        Ok(cached) => Ok(cached.map(|cached| cached.fetched_at)),
        Err(UsageError::Malformed { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Reads the cache.
async fn cached(config: &Path, at: Timestamp) -> Result<Option<Cached>, UsageError> {
    match bounded::read::<Vec<u8>>(config, CONFIG_LIMIT, Symlink::Follow).await? {
        Some(bytes) => parse(&bytes, at).map_err(|source| UsageError::Malformed { what: what(config), source }),
        None => Ok(None),
    }
}

/// The cache in the bytes of `.claude.json`, if there is one.
fn parse(bytes: &[u8], at: Timestamp) -> Result<Option<Cached>, Malformed> {
    let config: Config = json::parse(bytes)?;
    let Some(cache) = config.cached_usage_utilization.filter(|cache| !cache.is_null()) else { return Ok(None) };
    let cache = json::object(&cache, "cachedUsageUtilization")?;
    let missing = |field: &str| Malformed::Missing { field: field.to_owned() };
    let field = "fetchedAtMs";
    let millis = cache.get(field).ok_or_else(|| missing(field))?;
    let millis = millis.as_f64().ok_or_else(|| json::wrong_kind(field, "a number", millis))?;
    let fetched_at = json::from_epoch_millis(millis).ok_or_else(|| Malformed::Time { field: field.to_owned() })?;
    if fetched_at > later(at, CLOCK_TOLERANCE) {
        return Err(Malformed::FromTheFuture { field: field.to_owned(), at: fetched_at });
    }
    let owner = cache.get("accountUuid").and_then(Value::as_str);
    let login = config.oauth_account.as_ref().and_then(|account| account.get("accountUuid")).and_then(Value::as_str);
    let is_of_other_login = owner.zip(login).is_some_and(|(owner, login)| owner != login);
    let utilization = cache.get("utilization").cloned().ok_or_else(|| missing("utilization"))?;
    Ok(Some(Cached { fetched_at, is_of_other_login, utilization }))
}

#[cfg(test)]
mod tests;
