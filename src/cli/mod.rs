//! Parses, calls, renders. Data goes to stdout, logs to stderr, and exit codes are a contract.

pub mod args;
pub mod commands;
mod context;
mod error;
mod exit;
pub mod forms;
mod logs;
mod output;
pub mod reference;
pub mod render;
mod saved_plan;
mod times;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;

pub use context::Context;
pub use error::CliError;
pub use exit::Exit;

use self::args::{Cli, Command};
use crate::model::error_line;

/// Runs the command line and answers how it ended.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // Called by every agent at every hook: nothing that costs time may stand before it.
    if let Some(exit) = commands::intake::run_early(&arguments) {
        return exit;
    }
    run_parsed(arguments).into()
}

fn run_parsed(arguments: Vec<OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return if wrong { Exit::Usage } else { Exit::Ok };
        }
    };
    crate::host::usage::api::install_crypto_provider();
    logs::start(&cli.global, &cli.command);
    let context = Context::new(cli.global);
    match dispatch(&context, cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            if !error.is_quiet() {
                context.out.tell(&format!("{} {}", render::paint(render::style::BAD, "error:"), render::escape(&error_line(&error))));
            }
            error.exit()
        }
    }
}

fn dispatch(context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Init(args) => commands::init::run(context, &args),
        Command::Validate(args) => commands::validate::run(context, args),
        Command::Show(args) => commands::show::run(context, &args),
        Command::Schema => commands::schema::run(context),
        Command::Plan(args) => commands::plan::run(context, &args),
        Command::Apply(args) => commands::apply::run(context, &args),
        Command::Run(args) => commands::run::run(context, &args),
        Command::Status(args) => commands::status::run(context, &args),
        Command::Events(args) => commands::events::run(context, &args),
        Command::Explain(args) => commands::explain::run(context, &args),
        Command::Swap(args) => commands::swap::run(context, &args),
        Command::Adopt(args) => commands::operate::adopt(context, &args),
        Command::Suspend(args) => commands::operate::suspend(context, &args),
        Command::Resume => commands::operate::resume(context),
        Command::Cordon(args) => commands::operate::cordon(context, &args),
        Command::Uncordon(args) => commands::operate::uncordon(context, &args),
        Command::Clear(args) => commands::operate::clear(context, &args),
        Command::Reconcile => commands::operate::reconcile(context),
        Command::Task(args) => commands::task::run(context, &args),
        Command::Attach(args) => commands::attach::run(context, &args),
        Command::Checkpoint(args) => commands::checkpoint::run(context, &args),
        Command::Doctor(args) => commands::doctor::run(context, args),
        Command::Service(args) => commands::service::run(context, &args),
        Command::Completions { shell } => commands::completions::run(context, shell),
        Command::Man { out } => commands::man::run(context, out.as_deref()),
        Command::Hook(_) | Command::Statusline(_) | Command::StandIn { .. } => {
            Err(CliError::Usage("this command is called by agents, with its own arguments first".to_owned()))
        }
    }
}
