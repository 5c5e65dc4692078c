//! `hook`, `statusline` and `stand-in`: what agents call. Parsed by hand before anything else is set up, since every hook pays for it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    cli::Exit,
    host::intake::{Origin, run_hook, run_statusline},
    model::AccountName,
    standin,
};

/// Carries the command out if it is one of these. A hook succeeds whatever happens, and prints nothing.
pub fn run_early(arguments: &[OsString]) -> Option<ExitCode> {
    let verb = arguments.get(1)?.to_str()?;
    let rest = arguments.get(2..).unwrap_or_default();
    match verb {
        "hook" => {
            let event = rest.first().and_then(|event| event.to_str()).unwrap_or_default().to_owned();
            if let (Some(socket), Some(spool)) = (option(rest, "--socket"), option(rest, "--spool")) {
                let origin = Origin::find(|name| std::env::var_os(name));
                run_hook(&event, std::io::stdin().lock(), origin, Timestamp::now(), &socket, &spool);
            }
            Some(Exit::Ok.into())
        }
        "statusline" => {
            let socket = option(rest, "--socket").unwrap_or_default();
            let origin = Origin::find(|name| std::env::var_os(name));
            // Behind `--` stands the operator's own command.
            let (ours, command) = rest.iter().position(|word| word == "--").map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 1..]));
            let command: Vec<String> = command.iter().filter_map(|word| word.to_str().map(str::to_owned)).collect();
            let (zone, homes) = (TimeZone::system(), homes(ours));
            let line = run_statusline(std::io::stdin().lock(), origin, Timestamp::now(), &zone, &socket, &homes, &command);
            // The agent may have gone.
            let _ = std::io::stdout().lock().write_all(&line);
            Some(Exit::Ok.into())
        }
        "stand-in" => Some(standin::main(rest.iter().map(|argument| argument.to_string_lossy().into_owned()))),
        _ => None,
    }
}

/// The value behind a flag.
fn option(arguments: &[OsString], flag: &str) -> Option<PathBuf> {
    let at = arguments.iter().position(|argument| argument == OsStr::new(flag))?;
    arguments.get(at + 1).map(PathBuf::from)
}

/// Every `--account NAME=HOME`.
fn homes(arguments: &[OsString]) -> BTreeMap<AccountName, PathBuf> {
    let pairs = arguments.iter().zip(arguments.iter().skip(1)).filter(|(flag, _)| *flag == OsStr::new("--account"));
    let parse = |(_, value): (&OsString, &OsString)| {
        let (name, home) = value.to_str()?.split_once('=')?;
        Some((AccountName::new(name).ok()?, PathBuf::from(home)))
    };
    pairs.filter_map(parse).collect()
}
