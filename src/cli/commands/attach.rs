//! `attach`: the terminal, on a session.

use std::os::unix::process::CommandExt as _;

use crate::{
    cli::{CliError, Context, Exit, args::SessionArgs},
    host::real::{HostError, tmux_config},
    model::SessionName,
};

/// Becomes tmux: what is typed goes to the session, and detaching ends the command.
pub fn run(context: &Context, args: &SessionArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let name = SessionName::new(args.session.as_str()).map_err(|error| CliError::Usage(error.to_string()))?;
    if !spec.sessions.contains_key(&name) {
        return Err(CliError::Usage(format!("the spec declares no session {name}")));
    }
    let config = tmux_config(&spec.tmux).map_err(|error| CliError::Host(HostError::Tmux(error)))?;
    let socket = config.socket.path();
    if std::os::unix::net::UnixStream::connect(socket).is_err() {
        let message = format!("no tmux server listens on {}; `claude-failover apply` or `run` starts the pool", socket.display());
        return Err(CliError::Refused(message));
    }
    let there = std::process::Command::new(&config.binary)
        .arg("-S")
        .arg(socket)
        .args(["has-session", "-t", &format!("={name}")])
        .env_remove("TMUX")
        .stderr(std::process::Stdio::null())
        .status();
    if there.is_ok_and(|status| !status.success()) {
        return Err(CliError::Refused(format!("session {name} is not on the tmux server; `claude-failover explain {name}` says why")));
    }
    // `=` keeps web1 from matching web10 (facts/tmux.md, section 1).
    let error = std::process::Command::new(&config.binary)
        .arg("-S")
        .arg(socket)
        .args(["attach-session", "-t", &format!("={name}")])
        .env_remove("TMUX")
        .exec();
    Err(CliError::File { what: "start", path: config.binary, source: error })
}
