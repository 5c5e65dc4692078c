//! `init`: a first spec, and account homes ready for a person's own logins.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{
    cli::{CliError, Context, Exit, args::InitArgs},
    model::{AccountName, PoolName, shell_word},
    spec::{Starter, login_command},
};

/// Where a new account's home is, unless said otherwise.
const HOMES: &str = "~/.claude-accounts";

/// Where sessions start, unless said otherwise: not the user's home, since a start directory is trusted with all below it.
const WORKDIR: &str = "~/work";

/// Asks for what no flag says, unless `--yes`; writes the spec where `--spec` says, or `./pool.yaml`, and never over anything.
pub fn run(context: &Context, args: &InitArgs) -> Result<Exit, CliError> {
    let path = context.global.spec.clone().unwrap_or_else(|| PathBuf::from("pool.yaml"));
    let ask = !args.yes && io::stdin().is_terminal();
    let usage = |error: crate::model::NameError| CliError::Usage(error.to_string());
    let pool = PoolName::new(answer(ask, "Name of the pool", args.pool.as_deref(), "agents")?).map_err(usage)?;
    let accounts = if args.accounts.is_empty() {
        let listed = answer(ask, "Accounts, in order of preference", None, "primary backup")?;
        listed.split([' ', ',']).filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
    } else {
        args.accounts.clone()
    };
    let accounts = accounts.iter().map(|account| parse_account(account)).collect::<Result<Vec<_>, _>>()?;
    let sessions = answer(ask, "Names of the sessions", args.sessions.as_deref(), "agent-{0..3}")?;
    let workdir = args.workdir.as_ref().map(|path| path.display().to_string());
    let workdir = answer(ask, "Directory that they start in", workdir.as_deref(), WORKDIR)?;

    let home = context.surroundings()?.home;
    for (name, shown) in &accounts {
        make_home(context, name, &expand(shown, &home))?;
    }
    make_workdir(context, &expand(&workdir, &home))?;
    let text = Starter { pool, accounts: accounts.clone(), sessions, workdir }.render();
    write_new(&path, &text)?;
    context.out.print(&next_steps(&path, &accounts, &home))?;
    Ok(Exit::Ok)
}

fn answer(ask: bool, question: &str, given: Option<&str>, default: &str) -> Result<String, CliError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if !ask {
        return Ok(default.to_owned());
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} [{default}]: ").and_then(|()| err.flush()).map_err(CliError::Output)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(CliError::Output)?;
    let line = line.trim();
    Ok(if line.is_empty() { default } else { line }.to_owned())
}

/// `NAME`, or `NAME=HOME`.
fn parse_account(text: &str) -> Result<(AccountName, String), CliError> {
    let (name, home) = text.split_once('=').map_or((text, None), |(name, home)| (name, Some(home)));
    let name = AccountName::new(name).map_err(|error| CliError::Usage(error.to_string()))?;
    let home = home.map_or_else(|| format!("{HOMES}/{name}"), ToOwned::to_owned);
    Ok((name, home))
}

fn expand(shown: &str, home: &Path) -> PathBuf {
    match shown.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if shown == "~" => home.to_owned(),
        None => crate::cli::context::absolute(Path::new(shown)),
    }
}

/// A directory that only its owner can read. What exists stays as it is.
fn make_home(context: &Context, name: &AccountName, path: &Path) -> Result<(), CliError> {
    if path.is_dir() {
        context.out.tell(&format!("account {name}: {} exists and is left as it is", path.display()));
        return Ok(());
    }
    let failed = |source| CliError::File { what: "make the home", path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

/// A start directory that is missing would keep every session from starting.
fn make_workdir(context: &Context, path: &Path) -> Result<(), CliError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |source| CliError::File { what: "make the start directory", path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    context.out.tell(&format!("made the start directory {}", path.display()));
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source| CliError::File { what: "write", path: path.to_owned(), source };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return CliError::Usage(format!("{} exists already; name another file with --spec, or edit it", path.display()));
        }
        failed(error)
    })?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn next_steps(path: &Path, accounts: &[(AccountName, String)], home: &Path) -> String {
    let mut text = format!("Wrote {}.\n\nNext:\n", path.display());
    for (name, shown) in accounts {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {}     # your own login for {name}", login_command(&expand(shown, home)));
    }
    let path = shell_word(&path.to_string_lossy());
    let _ = writeln!(text, "  claude-failover -f {path} doctor\n  claude-failover -f {path} plan\n  claude-failover -f {path} apply");
    text
}
