//! How the pool changes its account.

use std::time::Duration;

use super::{Checked, Rules};
use crate::spec::{
    diagnostic::{Code, Diagnostic},
    document, duration,
    load::FieldPath,
    pool::{Quota, SwapPolicy},
};

/// The length of the shorter usage window.
const FIVE_HOURS: Duration = Duration::from_hours(5);

/// Checks the times of a swap. The counts were checked with the shape.
pub(super) fn resolve(wanted: &document::Swap, quota: Option<&Quota>, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<SwapPolicy> {
    let drain = rules.duration(&wanted.drain, Duration::ZERO, &at.field("drain"));
    let hard_drain = rules.duration(&wanted.hard_drain, Duration::ZERO, &at.field("hardDrain"));
    let prove_within = rules.duration(&wanted.prove_within, Duration::from_secs(1), &at.field("proveWithin"));
    let dwell_at = at.field("minDwell");
    let min_dwell = rules.duration(&wanted.min_dwell, Duration::ZERO, &dwell_at);
    if let Ok(min_dwell) = min_dwell {
        check_dwell(min_dwell, quota, &dwell_at, rules);
    }
    Ok(SwapPolicy {
        drain: drain?,
        hard_drain: hard_drain?,
        canary: wanted.canary,
        batch: wanted.batch,
        prove_within: prove_within?,
        min_dwell: min_dwell?,
        failback: wanted.failback,
    })
}

/// Warns of a stay that is of no use: too long to leave before the window is used up, or too short to be told apart from none.
fn check_dwell(dwell: Duration, quota: Option<&Quota>, at: &FieldPath, rules: &mut Rules<'_>) {
    let diagnostic = if dwell > FIVE_HOURS {
        let message =
            format!("`{at}` is {}, longer than the 5-hour window: no threshold of it could ever be acted on", duration::format(dwell));
        Diagnostic::new(Code::DwellLong, message).hint("45m is the default")
    } else if let Some(quota) = quota.filter(|quota| dwell < quota.poll_every) {
        let message = format!(
            "`{at}` is {}, shorter than `spec.quota.pollEvery`, which is {}: the pool could move twice on one reading",
            duration::format(dwell),
            duration::format(quota.poll_every)
        );
        Diagnostic::new(Code::DwellShort, message).hint("45m is the default")
    } else {
        return;
    };
    let place = if rules.is_written(at) {
        rules.place(at)
    } else {
        rules.place(&FieldPath::root().field("spec").field("quota").field("pollEvery"))
    };
    rules.findings.report(diagnostic.at(place));
}
