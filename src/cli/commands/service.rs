//! `service`: units of systemd for the daemon and for the tmux server.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    cli::{
        CliError, Context, Exit,
        args::{ServiceArgs, ServiceCommand},
        context::absolute,
    },
    host::{
        agent::launch::SCRUBBED,
        real::{HostError, tmux_config},
        tmux::config_file,
    },
    store::StateDir,
};

/// A file that is shown or written.
struct Piece {
    path: PathBuf,
    mode: u32,
    text: String,
}

/// Two units, and the configuration of the server: a restart of the daemon must never touch the server that holds the sessions.
pub fn run(context: &Context, args: &ServiceArgs) -> Result<Exit, CliError> {
    let found = context.spec()?;
    let state = context.state_dir(&found.loaded.spec.pool)?;
    let units = context.surroundings()?.config.join("systemd/user");
    let pieces = pieces(context, &found, &units, &state)?;
    match args.command {
        ServiceCommand::Show => {
            for Piece { path, text, .. } in &pieces {
                context.out.print(&format!("# {}\n{text}\n", path.display()))?;
            }
        }
        ServiceCommand::Install => {
            fs::create_dir_all(&units).map_err(|source| CliError::File { what: "make", path: units.clone(), source })?;
            // The daemon refuses one that others can enter.
            StateDir::open(&state).map_err(CliError::Store)?;
            for piece in &pieces {
                write(piece)?;
                context.out.print(&format!("wrote {}\n", piece.path.display()))?;
            }
            let names = pieces.iter().filter(|piece| piece.path.starts_with(&units)).filter_map(|piece| piece.path.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            context.out.print(&format!(
                "\nEnable them with:\n  loginctl enable-linger\n  systemctl --user daemon-reload\n  systemctl --user enable --now {}\n",
                names.join(" ")
            ))?;
        }
    }
    Ok(Exit::Ok)
}

/// In one step: systemd may read a unit at any time.
fn write(piece: &Piece) -> Result<(), CliError> {
    let Piece { path, mode, text } = piece;
    let mut temporary = path.clone().into_os_string();
    temporary.push(".new");
    let put = || {
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(*mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    };
    put().map_err(|source| CliError::File { what: "write", path: path.clone(), source })
}

fn pieces(context: &Context, found: &crate::cli::context::SpecAtHand, units: &Path, state: &Path) -> Result<Vec<Piece>, CliError> {
    let spec = &found.loaded.spec;
    let station = context.station_in(state.to_owned())?;
    let tmux = tmux_config(&spec.tmux).map_err(|error| CliError::Host(HostError::Tmux(error)))?;
    let path = context.environment.get(std::ffi::OsStr::new("PATH")).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let config = state.join("tmux.conf");
    let server_name = format!("claude-failover-tmux-{}.service", spec.pool);
    let server = format!(
        "[Unit]\n\
         Description=tmux server of the pool {pool}\n\
         Documentation=man:tmux(1)\n\n\
         [Service]\n\
         # In the foreground, so that systemd owns it and nothing else does. A restart of the daemon leaves it alone.\n\
         # The shell takes out what agents must not inherit; UnsetEnvironment= knows no patterns.\n\
         ExecStart=/bin/sh -c {scrub} sh {tmux} -D -S {socket} -f {config}\n\
         RuntimeDirectory=claude-failover\n\
         RuntimeDirectoryMode=0700\n\
         RuntimeDirectoryPreserve=yes\n\
         KillMode=control-group\n\
         LimitNOFILE=65536\n\
         TasksMax=infinity\n\
         OOMPolicy=continue\n\
         Environment={path}\n\n\
         [Install]\n\
         WantedBy=default.target\n",
        pool = spec.pool,
        scrub = quote(&scrub().replace('$', "$$")),
        tmux = quote(&tmux.binary.display().to_string()),
        socket = quote(&tmux.socket.path().display().to_string()),
        config = quote(&config.display().to_string()),
        path = quote(&format!("PATH={path}")),
    );
    let daemon = format!(
        "[Unit]\n\
         Description=claude-failover for the pool {pool}\n\
         Wants={server_name}\n\
         After={server_name} network-online.target\n\
         StartLimitIntervalSec=300\n\
         StartLimitBurst=10\n\n\
         [Service]\n\
         Type=notify\n\
         ExecStart={program} --spec {spec} --state-dir {state} run\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=2\n\
         # 3 an invalid spec without a last good one, 6 another daemon holds the state: starting again would not help.\n\
         RestartPreventExitStatus=3 6\n\
         # A merge of directories may take ten minutes and is one step.\n\
         WatchdogSec=900\n\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         LimitCORE=0\n\
         Environment={path}\n\n\
         [Install]\n\
         WantedBy=default.target\n",
        pool = spec.pool,
        program = quote(&station.program.display().to_string()),
        spec = quote(&absolute(&found.path).display().to_string()),
        state = quote(&state.display().to_string()),
        path = quote(&format!("PATH={path}")),
    );
    let config_text = format!("# Written by `claude-failover service install`.\n{}", config_file(spec.tmux.history_limit));
    Ok(vec![
        Piece { path: units.join(&server_name), mode: 0o644, text: server },
        Piece { path: units.join(format!("claude-failover-{}.service", spec.pool)), mode: 0o644, text: daemon },
        Piece { path: config, mode: 0o600, text: config_text },
    ])
}

/// A script of the shell that becomes its arguments without the variables of [`SCRUBBED`].
fn scrub() -> String {
    let names = SCRUBBED.map(|name| name.replace('*', "[A-Za-z0-9_]*")).join("\\|");
    // A line of a value that looks like a variable of this kind unsets nothing.
    format!("for name in $(env | sed -n \"s/^\\({names}\\)=.*/\\1/p\"); do unset \"$name\"; done; exec \"$@\"")
}

/// A word of a unit file: `%` begins a specifier, and spaces separate (systemd.syntax(7)).
fn quote(word: &str) -> String {
    let word = word.replace('%', "%%");
    if word.contains([' ', '\t', '"', '\'', '\\']) { format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")) } else { word }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn agents_inherit_nothing_that_is_scrubbed() {
        let given = ["AI_AGENT", "CLAUDECODE", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"];
        let kept = ["CLAUDE", "AI_AGENTS", "LC_NAME", "MY_CLAUDE_THING"];
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &scrub(), "sh", "env"]).env_clear().env("PATH", "/usr/bin:/bin").env("LINES", "a\nCLAUDE_LINE=b");
        command.envs(given.into_iter().chain(kept).map(|name| (name, "two words")));
        let output = String::from_utf8(command.output().expect("it runs").stdout).expect("UTF-8");
        for name in given {
            assert!(!output.contains(&format!("{name}=two")), "{name} is left in {output}");
        }
        for name in kept {
            assert!(output.contains(&format!("{name}=two words")), "{name} is gone from {output}");
        }
        assert!(output.contains("LINES=a\nCLAUDE_LINE=b"), "a value is no variable: {output}");
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        assert_eq!(quote("/usr/bin/tmux"), "/usr/bin/tmux");
        assert_eq!(quote("/a b/100%"), "\"/a b/100%%\"");
        assert_eq!(quote(r#"a"\b"#), r#""a\"\\b""#);
    }
}
