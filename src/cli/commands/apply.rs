//! `apply`: do it once. Through the daemon when one runs, by itself otherwise.

use std::{collections::BTreeSet, io::IsTerminal as _};

use jiff::Timestamp;

use super::{ANSWER_WITHIN, block_on, finish, plan, request};
use crate::{
    cli::{
        CliError, Context, Exit,
        args::ApplyArgs,
        context::{SpecAtHand, engine_for_once},
        output::Printer,
        render,
        saved_plan::SavedPlan,
        times,
    },
    engine::{Answer, Command},
    host::real::{RealHost, Station},
    model::{SessionName, later},
    store::is_older,
};

/// Plans, shows, asks, and acts.
pub fn run(context: &Context, args: &ApplyArgs) -> Result<Exit, CliError> {
    let saved = args.plan.as_deref().map(SavedPlan::read).transpose()?;
    let found = context.spec()?;
    let within = times::duration(&args.timeout)?;
    let station = context.station(&found.loaded.spec.pool)?;
    if is_older(&station.state) {
        // An older version's state is brought up to date by opening it.
        drop(context.store(&station)?);
    }
    let (mut view, mut planned) = plan::preview(context, &found, &station)?;
    if let Some(why) = view.blindness() {
        return Err(CliError::Refused(format!("{why}; nothing was done")));
    }
    let mut confirm_prune = BTreeSet::new();
    if args.confirm_prune {
        (planned, confirm_prune) = view.preview_confirmed();
    }
    if let Some(saved) = &saved {
        saved.check(&SavedPlan::new(view.spec(), view.seen(), view.memory(), planned.clone()))?;
    }
    let beside = plan::beside(&view, &planned, &found, &station);
    let degraded = view.is_degraded();
    let open_swap = view.memory().swap.as_ref().map(|swap| swap.plan.clone());
    drop(view);
    context.out.print(&render::plan::plan(&planned, &beside))?;
    // What a command or a daemon began and did not finish is taken to its end, whatever else is to be done.
    if let Some(swap) = &open_swap {
        context.out.tell(&format!("a swap from {} to {} is open: it is taken to its end first", swap.from, swap.to));
    } else if planned.plan.is_empty() && planned.report.waiting.is_empty() {
        return Ok(if planned.report.warnings.is_empty() { Exit::Ok } else { Exit::Degraded });
    }
    if planned.plan.is_empty() && open_swap.is_none() {
        context.out.tell("nothing can be done now; what waits is shown above");
        return Ok(if degraded { Exit::Degraded } else { Exit::Ok });
    }
    // A saved plan was looked at when it was made.
    if !args.yes && saved.is_none() && !Printer::confirm("Apply this?")? {
        return Err(CliError::Declined);
    }
    let answer = match context.daemon(&station)? {
        Some(daemon) => {
            context.out.tell("applying through the daemon");
            let expect = Some(found.loaded.spec.digest());
            daemon.ask(&request(Command::Apply { expect, confirm_prune }), ANSWER_WITHIN).map_err(CliError::Daemon)?
        }
        None => {
            context.out.tell("no daemon runs: applying from here");
            let deadline = later(Timestamp::now(), within);
            apply_here(context, found, &station, deadline, &confirm_prune)?
        }
    };
    finish(context, answer)
}

/// Takes the lock and passes until nothing is left to do.
fn apply_here(
    context: &Context,
    found: SpecAtHand,
    station: &Station,
    deadline: Timestamp,
    confirm_prune: &BTreeSet<SessionName>,
) -> Result<Answer, CliError> {
    let store = context.store(station)?;
    let progress = std::io::stderr().is_terminal().then(spinner);
    let answer = block_on(async {
        let mut host = RealHost::new(station.clone()).map_err(CliError::Host)?;
        host.listen();
        let mut engine = engine_for_once(host, store, found)?;
        engine.confirm_removals().await;
        engine.confirm_prune(confirm_prune).map_err(CliError::Engine)?;
        engine.converge(deadline).await.map_err(CliError::Engine)
    })?;
    if let Some(progress) = progress {
        progress.finish_and_clear();
    }
    answer
}

fn spinner() -> indicatif::ProgressBar {
    let spinner = indicatif::ProgressBar::new_spinner();
    spinner.set_message("converging");
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    spinner
}
