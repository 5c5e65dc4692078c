//! `plan`: what would be done, and why.

use crate::{
    cli::{
        CliError, Context, Exit,
        args::PlanArgs,
        context::SpecAtHand,
        render::{self, plan::Beside},
        saved_plan::SavedPlan,
    },
    engine::View,
    host::{real::RealHost, real::Station},
    plan::{Planned, Verb, pool_wide_hold},
    store::Reader,
};

use super::block_on;

/// Looks and plans; writes nothing but the file that was asked for.
pub fn run(context: &Context, args: &PlanArgs) -> Result<Exit, CliError> {
    let found = context.spec()?;
    let station = context.station(&found.loaded.spec.pool)?;
    let (view, planned) = preview(context, &found, &station)?;
    if view.blindness().is_some() {
        context.out.show(args.output.output, &planned, |_| render::plan::plan(&planned, &Beside::default()))?;
        return Ok(Exit::Degraded);
    }
    if let Some(path) = &args.out {
        SavedPlan::new(view.spec(), view.seen(), view.memory(), planned.clone()).write(path)?;
        context.out.tell(&format!("saved to {}; apply it with `claude-failover apply {}`", path.display(), path.display()));
    }
    let beside = beside(&view, &planned, &found, &station);
    context.out.show(args.output.output, &planned, |_| render::plan::plan(&planned, &beside))?;
    if let Some(swap) = &view.memory().swap {
        context.out.tell(&format!("a swap from {} to {} is open; it is taken to its end first", swap.plan.from, swap.plan.to));
        return Ok(Exit::Changes);
    }
    Ok(if planned.plan.is_empty() { Exit::Ok } else { Exit::Changes })
}

/// The pool as this process sees it, with the plan.
pub fn preview(context: &Context, found: &SpecAtHand, station: &Station) -> Result<(View<RealHost>, Planned), CliError> {
    block_on(async {
        let mut view = context.view(&found.loaded.spec, station)?;
        let planned = view.preview().await;
        Ok((view, planned))
    })?
}

/// What is shown beside a plan: how the spec changed, and what a swap costs.
pub fn beside(view: &View<RealHost>, planned: &Planned, found: &SpecAtHand, station: &Station) -> Beside {
    // The store is asked once more only for a spec that is another one: one that reads the same differs in nothing.
    let is_new = view.memory().spec.as_ref() != Some(&found.accepted.digest);
    let before = is_new.then(|| Reader::attach(&station.state).and_then(|reader| reader.last_good_spec()).ok().flatten()).flatten();
    let spec_diff = before.map_or_else(String::new, |(entry, accepted)| {
        let name = format!("generation {}", entry.generation);
        render::diff::unified(&accepted.canonical, &found.accepted.canonical, &name, &found.path.display().to_string())
    });
    let swaps = planned.plan.actions.iter().any(|(_, action)| action.verb == Verb::Swap);
    let hold = pool_wide_hold(view.memory(), view.now()).map(|(_, message)| message);
    Beside { spec_diff, price: if swaps { vec![view.price()] } else { Vec::new() }, hold }
}
