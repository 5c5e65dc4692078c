//! How a server is started so that it lives outside of our cgroup: the decision and the command line, both pure.
//!
//! A server that is born in the cgroup of a systemd service dies with the next restart of that service, and every session with it. At least
//! seven public projects of this kind met that in one year (`facts/crates-and-reliability.md`, section 13).

use std::{ffi::OsString, path::Path};

use crate::host::process;

/// What the decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether systemd runs this host: `/run/systemd/system` exists (sd_booted(3)).
    pub systemd: bool,
    /// Whether systemd started us: `INVOCATION_ID` is set (systemd.exec(5)).
    pub invocation: bool,
    /// Our control group.
    pub cgroup: Option<String>,
    /// Whether we are root.
    pub root: bool,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Self {
        let us = i32::try_from(std::process::id()).ok().map(crate::model::Pid);
        Self {
            systemd: Path::new("/run/systemd/system").is_dir(),
            invocation: std::env::var_os("INVOCATION_ID").is_some(),
            cgroup: us.and_then(|pid| process::cgroup(pid).ok().flatten()),
            root: nix::unistd::geteuid().is_root(),
        }
    }
}

/// Through what a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// Directly: it leaves our process group and session by itself, and no cgroup ends with us.
    Direct,
    /// In a scope of the user's own systemd.
    UserScope,
    /// In a scope of the system's systemd: we are a system service of root, which has no systemd of its own.
    SystemScope,
}

impl Launcher {
    /// A scope is used when we may be part of a service.
    pub fn choose(surroundings: &Surroundings) -> Self {
        let cgroup = surroundings.cgroup.as_deref().unwrap_or_default();
        if !surroundings.systemd || !(surroundings.invocation || is_service(cgroup)) {
            Self::Direct
        } else if surroundings.root && !cgroup.split('/').any(|part| part.starts_with("user@")) {
            Self::SystemScope
        } else {
            Self::UserScope
        }
    }

    /// The whole command line. `limit` is the soft limit of descriptors that the server gets.
    ///
    /// The limit is set by a shell in between: the other ways are to change our own limit for a while, which every child started meanwhile
    /// inherits, or to change the server's afterwards, which leaves a server with the low limit when we are killed in between.
    pub fn command(self, limit: u64, tmux: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        let scope: &[&str] = match self {
            Self::Direct => &[],
            Self::UserScope => &["systemd-run", "--user"],
            Self::SystemScope => &["systemd-run"],
        };
        let description = ["--scope", "--collect", "--quiet", "--description=tmux server of claude-failover", "--"];
        let description = if scope.is_empty() { &description[..0] } else { &description[..] };
        let limit = limit.to_string();
        let shell = ["/bin/sh", "-c", "ulimit -S -n \"$1\" 2>/dev/null; shift; exec \"$@\"", "sh", &limit];
        scope.iter().chain(description).chain(&shell).map(OsString::from).chain(tmux).collect()
    }
}

/// Whether a control group is that of a service.
pub(super) fn is_service(cgroup: &str) -> bool {
    cgroup.rsplit('/').next().is_some_and(|unit| Path::new(unit).extension().is_some_and(|kind| kind == "service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(systemd: bool, invocation: bool, cgroup: &str, root: bool) -> Surroundings {
        Surroundings { systemd, invocation, cgroup: Some(cgroup.to_owned()), root }
    }

    #[test]
    fn a_service_never_bears_the_server_itself() {
        let user = "/user.slice/user-7.slice/user@7.service/app.slice/claude-failover.service";
        let login = "/user.slice/user-7.slice/session-2.scope";
        for (given, expected) in [
            (surroundings(true, true, user, false), Launcher::UserScope),
            (surroundings(true, false, user, false), Launcher::UserScope),
            (surroundings(true, true, user, true), Launcher::UserScope),
            (surroundings(true, true, login, false), Launcher::UserScope),
            (surroundings(true, true, "/system.slice/claude-failover.service", true), Launcher::SystemScope),
            (surroundings(true, true, "/system.slice/claude-failover.service", false), Launcher::UserScope),
            (surroundings(true, false, login, false), Launcher::Direct),
            (surroundings(true, false, "/", true), Launcher::Direct),
            // A container that inherited the variable has no systemd to ask.
            (surroundings(false, true, "/system.slice/docker.service", true), Launcher::Direct),
            (Surroundings::default(), Launcher::Direct),
            (Surroundings { systemd: true, invocation: true, cgroup: None, root: false }, Launcher::UserScope),
        ] {
            assert_eq!(Launcher::choose(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn the_command_lines_are_these() {
        let line = |launcher: Launcher| {
            let words = launcher.command(65_536, ["tmux", "-S", "/s", "start-server"].map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join("\u{1f}").replace('\u{1f}', " | ")
        };
        let shell = "/bin/sh | -c | ulimit -S -n \"$1\" 2>/dev/null; shift; exec \"$@\" | sh | 65536 | tmux | -S | /s | start-server";
        let scope = "--scope | --collect | --quiet | --description=tmux server of claude-failover | --";
        assert_eq!(line(Launcher::Direct), shell);
        assert_eq!(line(Launcher::UserScope), format!("systemd-run | --user | {scope} | {shell}"));
        assert_eq!(line(Launcher::SystemScope), format!("systemd-run | {scope} | {shell}"));
    }
}
