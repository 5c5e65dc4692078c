//! The command line.

mod task;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use task::{TaskAddArgs, TaskArgs, TaskCancelArgs, TaskCommand, TaskListArgs, TaskMoveArgs, TaskOrderArgs, TaskShowArgs};

use super::Exit;

/// Keeps a pool of Claude Code sessions running in tmux, and carries it to the next account when one reaches its limit.
#[derive(Debug, Parser)]
#[command(
    name = "claude-failover",
    version,
    propagate_version = true,
    max_term_width = 110,
    after_help = Exit::help()
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The heading above [`Global`] in the help.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The spec: a file, or a directory with pool.yaml and pool.d/. Default: ./pool.yaml, then $XDG_CONFIG_HOME/claude-failover/pool.yaml.
    #[arg(short = 'f', long = "spec", global = true, help_heading = EVERYWHERE, env = "CLAUDE_FAILOVER_SPEC", hide_env_values = true, value_name = "PATH")]
    pub spec: Option<PathBuf>,
    /// Where the pool's memory is kept. Default: $XDG_STATE_HOME/claude-failover/POOL.
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "CLAUDE_FAILOVER_STATE_DIR", hide_env_values = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// More on stderr: -v for what is done, -vv for every look.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The form of the logs on stderr.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// When to use colour.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// The form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The form of data on stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The option of every listing.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputArgs {
    /// The form of the output.
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first spec and make account homes ready for your own logins.
    Init(InitArgs),
    /// Check a spec: every mistake in one go, with its place.
    Validate(OutputArgs),
    /// Show the spec that is in force, with every default and where each value came from.
    Show(ShowArgs),
    /// Print the JSON Schema of the spec.
    Schema,
    /// Show what would be done, and why.
    Plan(PlanArgs),
    /// Do it once.
    Apply(ApplyArgs),
    /// Do it for ever: the daemon.
    Run(RunArgs),
    /// Show the pool: accounts, sessions, conditions.
    Status(StatusArgs),
    /// Show what happened.
    Events(EventsArgs),
    /// Show all that is known of one object, and why it is as it is.
    Explain(ExplainArgs),
    /// Carry the pool to another account, through the same guard as the daemon.
    Swap(SwapArgs),
    /// Take over an existing tmux session of a declared name, or a shared root that holds something already.
    Adopt(AdoptArgs),
    /// Change nothing until resumed; sessions run on.
    Suspend(SuspendArgs),
    /// End a suspension.
    Resume,
    /// Take an account or a session out of use.
    Cordon(CordonArgs),
    /// Bring an account or a session back into use.
    Uncordon(ObjectArgs),
    /// Look again, show what is seen, and clear a latch or a quarantine.
    Clear(ClearArgs),
    /// Have the daemon look at everything now.
    Reconcile,
    /// Put tasks into queues, see how they stand, and have a say about single ones.
    Task(TaskArgs),
    /// Attach the terminal to a session.
    Attach(SessionArgs),
    /// What was kept of each session, to take it up again.
    Checkpoint(CheckpointArgs),
    /// Check the host: tmux, CLI, homes, logins, limits, clock, permissions.
    Doctor(OutputArgs),
    /// Units of systemd for the daemon and for the tmux server.
    Service(ServiceArgs),
    /// Print a shell's completion script.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory, or the main one to stdout.
    Man {
        /// The directory.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Called by the agent's hooks.
    #[command(hide = true)]
    Hook(HookArgs),
    /// Called by the agent for its status line.
    #[command(hide = true)]
    Statusline(IntakeArgs),
    /// An agent for tests and demonstrations.
    #[command(hide = true, disable_help_flag = true)]
    StandIn {
        /// The agent's own arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The pool's name.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// An account; may be given several times, in order of preference. NAME, or NAME=HOME.
    #[arg(long = "account", value_name = "NAME[=HOME]")]
    pub accounts: Vec<String>,
    /// The sessions' names, such as "agent-{0..3}".
    #[arg(long, value_name = "PATTERN")]
    pub sessions: Option<String>,
    /// The sessions' start directory.
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Do not ask; take the defaults for what is not given.
    #[arg(long)]
    pub yes: bool,
}

/// `show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// With every default, and where each value came from.
    #[arg(long)]
    pub effective: bool,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Save the plan, for `apply FILE`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan saved by `plan --out`. It is refused when the spec or the host has changed since.
    #[arg(value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Stop every session that is not declared any more, although they are more than `maxPrune`.
    #[arg(long, conflicts_with = "plan")]
    pub confirm_prune: bool,
    /// How long to wait for the pool to converge, such as 2m.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    pub timeout: String,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// How often everything is looked at again, 1s to 90s; up to a tenth is added, by the pool's identity.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub resync: String,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show it again whenever it changes, until interrupted; with json or yaml, one document each second.
    #[arg(short, long)]
    pub watch: bool,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only of this object.
    #[arg(value_name = "OBJECT")]
    pub object: Option<String>,
    /// The newest so many.
    #[arg(short = 'n', long, default_value_t = 50)]
    pub limit: usize,
    /// Only from this time on: RFC 3339, or a span such as 2h.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// pool, server, shared-root, active-link, state-dir, account/NAME, link/ACCOUNT/NAME, session/NAME, project/NAME or task/PROJECT/NAME.md; a bare name is a session or an account, PROJECT/NAME.md a task.
    #[arg(value_name = "OBJECT")]
    pub object: String,
    /// The form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `swap`
#[derive(Debug, Args)]
pub struct SwapArgs {
    /// Where to; the best target when absent.
    #[arg(long, value_name = "ACCOUNT")]
    pub to: Option<String>,
    /// Only say what would happen.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// A session.
#[derive(Debug, Args)]
pub struct SessionArgs {
    /// The session.
    #[arg(value_name = "SESSION")]
    pub session: String,
}

/// `adopt`
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The session, shared-root, or account/NAME.
    #[arg(value_name = "OBJECT")]
    pub object: String,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// An object.
#[derive(Debug, Args)]
pub struct ObjectArgs {
    /// account/NAME or session/NAME.
    #[arg(value_name = "OBJECT")]
    pub object: String,
}

/// `suspend`
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// Why; everybody who looks will see it.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// When it ends by itself: RFC 3339, or a span such as 2h.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `cordon`
#[derive(Debug, Args)]
pub struct CordonArgs {
    /// account/NAME or session/NAME.
    #[arg(value_name = "OBJECT")]
    pub object: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `clear`
#[derive(Debug, Args)]
pub struct ClearArgs {
    /// pool, account/NAME or session/NAME.
    #[arg(value_name = "OBJECT", default_value = "pool")]
    pub object: String,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// `checkpoint`
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CheckpointCommand,
}

/// `checkpoint …`
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// List what was kept.
    Ls {
        /// Only of this session.
        #[arg(value_name = "SESSION")]
        session: Option<String>,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show all that is needed to take a session over by hand.
    Show {
        /// The session.
        #[arg(value_name = "SESSION")]
        session: String,
        /// Which one; the newest good one when absent.
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// The form of the output.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Bind a session to the conversation of a checkpoint: its agent, which must be idle or gone, is started again with it.
    Restore {
        /// The session.
        #[arg(value_name = "SESSION")]
        session: String,
        /// Which one; the newest good one when absent.
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Keep what there is now.
    Take {
        /// Of these sessions.
        #[arg(value_name = "SESSION", required_unless_present = "all")]
        sessions: Vec<String>,
        /// Of all sessions.
        #[arg(long, conflicts_with = "sessions")]
        all: bool,
    },
}

/// `service`
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// `service …`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Print the units.
    Show,
    /// Write the units for your user, and say how to enable them.
    Install,
}

/// `hook`
#[derive(Debug, Args)]
pub struct HookArgs {
    /// The hook's event.
    pub event: String,
    /// Where to report.
    #[command(flatten)]
    pub intake: IntakeArgs,
}

/// Where hooks and status lines report.
#[derive(Debug, Args)]
pub struct IntakeArgs {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Where reports wait while no daemon listens.
    #[arg(long, value_name = "PATH")]
    pub spool: PathBuf,
}
