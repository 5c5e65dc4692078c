//! `status`: the pool. From the daemon when one runs, by looking otherwise.

use std::time::Duration;

use jiff::Timestamp;

use super::{block_on, request};
use crate::{
    cli::{
        CliError, Context, Exit,
        args::{Output, StatusArgs},
        render,
    },
    engine::{Answer, Command},
    host::real::Station,
    model::{ConditionKind, Truth},
    spec::Spec,
    status::Status,
};

/// How long a daemon may take to answer. It answers between two effects.
const STATUS_WITHIN: Duration = Duration::from_secs(30);
/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Exit code 5 says that something is degraded or latched.
pub fn run(context: &Context, args: &StatusArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let spec = &found.loaded.spec;
    let station = context.station(&spec.pool)?;
    let mut shown = String::new();
    loop {
        let status = status(context, spec, &station)?;
        if !args.watch {
            context.out.show(args.output.output, &status, |wide| render::status::status(&status, Timestamp::now(), wide))?;
            return Ok(if is_degraded(&status) { Exit::Degraded } else { Exit::Ok });
        }
        match args.output.output {
            // A program gets each look, and one document stays one line.
            Output::Json => context.out.print(&format!("{}\n", line(&status)?))?,
            Output::Yaml => {
                context.out.print("---\n")?;
                context.out.show(Output::Yaml, &status, |_| String::new())?;
            }
            form @ (Output::Table | Output::Wide) => {
                let text = render::status::status(&status, Timestamp::now(), matches!(form, Output::Wide));
                if text != shown {
                    // Home, the text, then clear what is left of the former one: nothing flickers.
                    context.out.print(&format!("\x1b[H\x1b[2J{text}"))?;
                    shown = text;
                }
            }
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn line(status: &Status) -> Result<String, CliError> {
    serde_json::to_string(status).map_err(|error| CliError::Internal(error.to_string()))
}

/// The status, from the daemon or from a look of our own.
pub fn status(context: &Context, spec: &Spec, station: &Station) -> Result<Status, CliError> {
    if let Some(daemon) = context.daemon(station)? {
        return match daemon.ask(&request(Command::Status), STATUS_WITHIN).map_err(CliError::Daemon)? {
            Answer::Status(status) => Ok(*status),
            Answer::Refused { message } => Err(CliError::Refused(message)),
            Answer::Planned(_) | Answer::Tasks { .. } | Answer::Done { .. } => {
                Err(CliError::Internal("the answer is no status".to_owned()))
            }
        };
    }
    context.out.tell("no daemon runs for this pool; this is what is seen now");
    block_on(async {
        let mut view = context.view_with_times(spec, station)?;
        let _ = view.preview().await;
        view.refresh_conditions();
        Ok(view.status())
    })?
}

fn is_degraded(status: &Status) -> bool {
    let bad = [ConditionKind::Degraded, ConditionKind::PartialSwap, ConditionKind::PlanRejected];
    status.conditions.iter().any(|condition| bad.contains(&condition.kind) && condition.status == Truth::True)
}
