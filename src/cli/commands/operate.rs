//! Short commands of an operator: through the daemon when one runs, on the store otherwise.

use jiff::Timestamp;

use super::{ANSWER_WITHIN, block_on, finish, request};
use crate::{
    cli::{
        CliError, Context, Exit,
        args::{AdoptArgs, ClearArgs, CordonArgs, ObjectArgs, SuspendArgs},
        context::{SpecAtHand, engine_for_once},
        output::Printer,
        times,
    },
    engine::{Answer, Command},
    host::real::RealHost,
    model::{AccountName, SessionName},
};

/// `adopt`
pub fn adopt(context: &Context, args: &AdoptArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    if let Some(account) = args.object.strip_prefix("account/") {
        return adopt_account(context, found, account, args.yes);
    }
    let name = SessionName::new(args.object.strip_prefix("session/").unwrap_or(&args.object));
    let declared = name.as_ref().is_ok_and(|name| found.loaded.spec.sessions.contains_key(name));
    if args.object != "shared-root" || declared {
        let session = name.map_err(|error| CliError::Usage(error.to_string()))?;
        let answer = ask(context, found, Command::Adopt { session })?;
        return finish(context, answer);
    }
    if !args.yes {
        let looked = ask(context, found.clone(), Command::AdoptSharedRoot { look_only: true })?;
        if !confirmed(context, &looked, "Take it over with all that it holds?")? {
            return finish(context, looked);
        }
    }
    let answer = ask(context, found, Command::AdoptSharedRoot { look_only: false })?;
    finish(context, answer)
}

fn adopt_account(context: &Context, found: SpecAtHand, account: &str, yes: bool) -> Result<Exit, CliError> {
    let account = AccountName::new(account).map_err(|error| CliError::Usage(error.to_string()))?;
    if !yes {
        let looked = ask(context, found.clone(), Command::AdoptAccount { account: account.clone(), look_only: true })?;
        if !confirmed(context, &looked, &format!("Is the pool on account {account}?"))? {
            return finish(context, looked);
        }
    }
    let answer = ask(context, found, Command::AdoptAccount { account, look_only: false })?;
    finish(context, answer)
}

/// Shows what was seen. Whether there is something to do, and the person says that it be done.
fn confirmed(context: &Context, looked: &Answer, question: &str) -> Result<bool, CliError> {
    let Answer::Done { lines, degraded: true, .. } = looked else { return Ok(false) };
    for line in lines {
        context.out.tell(&crate::cli::render::paragraph(line, 2));
    }
    if Printer::confirm(question)? { Ok(true) } else { Err(CliError::Declined) }
}

/// `suspend`
pub fn suspend(context: &Context, args: &SuspendArgs) -> Result<Exit, CliError> {
    let until = args.until.as_deref().map(|text| times::point(text, Timestamp::now(), true)).transpose()?;
    let answer = ask(context, context.spec_in_force()?, Command::Suspend { reason: args.reason.clone(), until })?;
    finish(context, answer)
}

/// `resume`
pub fn resume(context: &Context) -> Result<Exit, CliError> {
    let answer = ask(context, context.spec_in_force()?, Command::Resume)?;
    finish(context, answer)
}

/// `cordon`
pub fn cordon(context: &Context, args: &CordonArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let object = super::explain::object(&found.loaded.spec, &args.object)?;
    let answer = ask(context, found, Command::Cordon { object, reason: args.reason.clone() })?;
    finish(context, answer)
}

/// `uncordon`
pub fn uncordon(context: &Context, args: &ObjectArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let object = super::explain::object(&found.loaded.spec, &args.object)?;
    let answer = ask(context, found, Command::Uncordon { object })?;
    finish(context, answer)
}

/// `clear`: what is seen is shown before anything is cleared.
pub fn clear(context: &Context, args: &ClearArgs) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let object = super::explain::object(&found.loaded.spec, &args.object)?;
    if !args.yes {
        let looked = ask(context, found.clone(), Command::Clear { object: object.clone(), look_only: true })?;
        if !confirmed(context, &looked, &format!("Clear {object}?"))? {
            return finish(context, looked);
        }
    }
    let answer = ask(context, found, Command::Clear { object, look_only: false })?;
    finish(context, answer)
}

/// `reconcile`
pub fn reconcile(context: &Context) -> Result<Exit, CliError> {
    let found = context.spec_in_force()?;
    let station = context.station(&found.loaded.spec.pool)?;
    let daemon = context.daemon(&station)?.ok_or(CliError::NoDaemon)?;
    let answer = daemon.ask(&request(Command::Reconcile), ANSWER_WITHIN).map_err(CliError::Daemon)?;
    finish(context, answer)
}

/// Sends a command to the daemon, or carries it out here, and says which.
pub(super) fn ask(context: &Context, found: SpecAtHand, command: Command) -> Result<Answer, CliError> {
    let station = context.station(&found.loaded.spec.pool)?;
    let request = request(command);
    if let Some(daemon) = context.daemon(&station)? {
        context.out.tell("through the daemon");
        return daemon.ask(&request, ANSWER_WITHIN).map_err(CliError::Daemon);
    }
    context.out.tell("no daemon runs: done from here");
    let store = context.store(&station)?;
    block_on(async {
        let host = RealHost::new(station.clone()).map_err(CliError::Host)?;
        let mut engine = engine_for_once(host, store, found)?;
        engine.handle(&request).await.map_err(CliError::Engine)
    })?
}
