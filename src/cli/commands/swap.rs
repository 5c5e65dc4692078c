//! `swap`: carry the pool to another account by hand.

use std::time::Duration;

use super::{ANSWER_WITHIN, block_on, finish, request};
use crate::{
    cli::{CliError, Context, Exit, args::SwapArgs, context::engine_for_once, output::Printer},
    engine::{Answer, Command},
    host::real::RealHost,
    model::AccountName,
};

/// How long the sources may take to say what is used: the agent's CLI needs seconds.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Through the same guard, steps and proof as an automatic swap.
pub fn run(context: &Context, args: &SwapArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let station = context.station(&found.loaded.spec.pool)?;
    let to = args.to.as_deref().map(AccountName::new).transpose().map_err(|error| CliError::Usage(error.to_string()))?;
    let ask = |dry_run| request(Command::Swap { to: to.clone(), dry_run });
    if let Some(daemon) = context.daemon(&station)? {
        let preview = daemon.ask(&ask(true), ANSWER_WITHIN).map_err(CliError::Daemon)?;
        if args.dry_run || !agreed(context, args, &preview)? {
            return finish(context, preview);
        }
        context.out.tell("swapping through the daemon");
        let daemon = context.daemon(&station)?.ok_or(CliError::NoDaemon)?;
        return finish(context, daemon.ask(&ask(false), ANSWER_WITHIN).map_err(CliError::Daemon)?);
    }
    if args.dry_run {
        context.out.tell("no daemon runs: judged by the readings that were recorded last");
        let preview = block_on(async {
            let mut view = context.view(&found.loaded.spec, &station)?;
            let _ = view.preview().await;
            Ok::<_, CliError>(view.preview_swap(to.as_ref()))
        })??;
        return finish(context, preview);
    }
    context.out.tell("no daemon runs: swapping from here");
    let store = context.store(&station)?;
    let answer = block_on(async {
        let mut host = RealHost::new(station.clone()).map_err(CliError::Host)?;
        host.listen();
        let mut engine = engine_for_once(host, store, found)?;
        engine.pass(crate::host::Look::all()).await.map_err(CliError::Engine)?;
        engine.read_usage(READ_WITHIN).await.map_err(CliError::Engine)?;
        let preview = engine.handle(&ask(true)).await.map_err(CliError::Engine)?;
        if !agreed(context, args, &preview)? {
            return Ok(preview);
        }
        engine.handle(&ask(false)).await.map_err(CliError::Engine)
    })??;
    finish(context, answer)
}

/// Whether to go on. What would happen is shown first; a refusal goes back as it is.
fn agreed(context: &Context, args: &SwapArgs, preview: &Answer) -> Result<bool, CliError> {
    let Answer::Done { lines, .. } = preview else { return Ok(false) };
    if args.yes {
        return Ok(true);
    }
    for line in lines {
        context.out.tell(line);
    }
    if Printer::confirm("Swap now?")? { Ok(true) } else { Err(CliError::Declined) }
}
