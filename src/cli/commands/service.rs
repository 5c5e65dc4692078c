//! `service`: units of systemd for the daemon and for the tmux server.

use std::{fs, path::PathBuf};

use crate::{
    cli::{
        CliError, Context, Exit,
        args::{ServiceArgs, ServiceCommand},
        context::absolute,
    },
    host::real::{HostError, tmux_config},
};

/// Two units: a restart of the daemon must never touch the server that holds the sessions.
pub fn run(context: &Context, args: &ServiceArgs) -> Result<Exit, CliError> {
    let units = units(context)?;
    match args.command {
        ServiceCommand::Show => {
            for (name, text) in &units {
                context.out.print(&format!("# {name}\n{text}\n"))?;
            }
        }
        ServiceCommand::Install => {
            let directory = unit_directory(context)?;
            let failed = |path: &PathBuf| {
                let path = path.clone();
                move |source| CliError::File { what: "write", path, source }
            };
            fs::create_dir_all(&directory).map_err(failed(&directory))?;
            for (name, text) in &units {
                let path = directory.join(name);
                fs::write(&path, text).map_err(failed(&path))?;
                context.out.print(&format!("wrote {}\n", path.display()))?;
            }
            let config = station_state(context)?.join("tmux.conf");
            fs::create_dir_all(config.parent().unwrap_or(&directory)).map_err(failed(&config))?;
            fs::write(&config, server_config(context)?).map_err(failed(&config))?;
            context.out.print(&format!("wrote {}\n", config.display()))?;
            let names: Vec<_> = units.iter().map(|(name, _)| name.as_str()).collect();
            context.out.print(&format!(
                "\nEnable them with:\n  loginctl enable-linger\n  systemctl --user daemon-reload\n  systemctl --user enable --now {}\n",
                names.join(" ")
            ))?;
        }
    }
    Ok(Exit::Ok)
}

fn unit_directory(context: &Context) -> Result<PathBuf, CliError> {
    Ok(context.surroundings()?.config.join("systemd/user"))
}

fn units(context: &Context) -> Result<Vec<(String, String)>, CliError> {
    let found = context.spec()?;
    let spec = &found.loaded.spec;
    let station = context.station(&spec.pool)?;
    let tmux = tmux_config(&spec.tmux).map_err(|error| CliError::Host(HostError::Tmux(error)))?;
    let path = context.environment.get(std::ffi::OsStr::new("PATH")).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let config = station.state.join("tmux.conf");
    let server_name = format!("claude-failover-tmux-{}.service", spec.pool);
    let server = format!(
        "[Unit]\n\
         Description=tmux server of the pool {pool}\n\
         Documentation=man:tmux(1)\n\n\
         [Service]\n\
         # In the foreground, so that systemd owns it and nothing else does. A restart of the daemon leaves it alone.\n\
         ExecStart={tmux} -D -S {socket} -f {config}\n\
         RuntimeDirectory=claude-failover\n\
         RuntimeDirectoryMode=0700\n\
         RuntimeDirectoryPreserve=yes\n\
         KillMode=control-group\n\
         LimitNOFILE=65536\n\
         TasksMax=infinity\n\
         OOMPolicy=continue\n\
         UnsetEnvironment=CLAUDE_CONFIG_DIR CLAUDECODE ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN\n\
         Environment=PATH={path}\n\n\
         [Install]\n\
         WantedBy=default.target\n",
        pool = spec.pool,
        tmux = quote(&tmux.binary.display().to_string()),
        socket = quote(&tmux.socket.path().display().to_string()),
        config = quote(&config.display().to_string()),
        path = quote(&path),
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
         Environment=PATH={path}\n\n\
         [Install]\n\
         WantedBy=default.target\n",
        pool = spec.pool,
        program = quote(&station.program.display().to_string()),
        spec = quote(&absolute(&found.path).display().to_string()),
        state = quote(&station.state.display().to_string()),
        path = quote(&path),
    );
    Ok(vec![(server_name, server), (format!("claude-failover-{}.service", spec.pool), daemon)])
}

fn station_state(context: &Context) -> Result<PathBuf, CliError> {
    context.state_dir(&context.spec()?.loaded.spec.pool)
}

/// What a server that we start ourselves is told with its first commands.
fn server_config(context: &Context) -> Result<String, CliError> {
    let found = context.spec()?;
    Ok(format!(
        "# Written by `claude-failover service install`.\n\
         set-option -s exit-empty off\n\
         set-option -s default-terminal tmux-256color\n\
         set-option -g history-limit {}\n\
         set-option -gw remain-on-exit on\n\
         set-option -g update-environment ''\n",
        found.loaded.spec.tmux.history_limit
    ))
}

/// A word of a unit file: `%` begins a specifier, and spaces separate (systemd.syntax(7)).
fn quote(word: &str) -> String {
    let word = word.replace('%', "%%");
    if word.contains([' ', '\t', '"', '\'', '\\']) { format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")) } else { word }
}
