//! Thresholds and headroom.

use super::{Checked, Reported, Rules};
use crate::{
    model::Percent,
    spec::{
        diagnostic::{Code, Diagnostic},
        document,
        load::FieldPath,
        pool::Thresholds,
    },
};

/// The pool's thresholds.
pub(super) fn resolve(wanted: &document::Thresholds, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Thresholds> {
    let thresholds = Thresholds {
        five_hour: percent(wanted.five_hour, "fiveHour", at, rules)?,
        weekly: percent(wanted.weekly, "weekly", at, rules)?,
        headroom: percent(wanted.headroom, "headroom", at, rules)?,
    };
    leaves_a_target(thresholds, "the pool", at, rules)
}

/// An account's thresholds: its own over the pool's.
pub(super) fn resolve_overrides(
    wanted: &document::ThresholdOverrides,
    pool: &Thresholds,
    whose: &str,
    at: &FieldPath,
    rules: &mut Rules<'_>,
) -> Checked<Thresholds> {
    rules.in_shape(at)?;
    let own = |value: Option<f64>, inherited: Percent, key: &str, rules: &mut Rules<'_>| match value {
        Some(value) => percent(value, key, at, rules),
        None => rules.in_shape(&at.field(key)).map(|()| inherited),
    };
    let thresholds = Thresholds {
        five_hour: own(wanted.five_hour, pool.five_hour, "fiveHour", rules)?,
        weekly: own(wanted.weekly, pool.weekly, "weekly", rules)?,
        headroom: own(wanted.headroom, pool.headroom, "headroom", rules)?,
    };
    // Where nothing is its own, the pool's thresholds were judged already.
    if thresholds == *pool { Ok(thresholds) } else { leaves_a_target(thresholds, whose, at, rules) }
}

/// A percentage. Its range was checked with the shape.
fn percent(value: f64, key: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Percent> {
    let at = at.field(key);
    rules.in_shape(&at)?;
    Percent::new(value).map_err(|error| rules.refuse(Code::OutOfRange, &at, error.to_string(), "write a number from 0 to 100"))
}

/// Checks that an account can be below its thresholds by the headroom at all.
fn leaves_a_target(thresholds: Thresholds, whose: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<Thresholds> {
    let (key, lowest) =
        if thresholds.five_hour <= thresholds.weekly { ("fiveHour", thresholds.five_hour) } else { ("weekly", thresholds.weekly) };
    if thresholds.headroom < lowest {
        return Ok(thresholds);
    }
    // The mark goes to what was written; that the other side may be a default is said in words.
    let (here, there) = if rules.is_written(&at.field("headroom")) { ("headroom", key) } else { (key, "headroom") };
    let message =
        format!("headroom {} leaves no target in {whose}: a target must be that far below {key}, which is {lowest}", thresholds.headroom);
    let other = rules.is_written(&at.field(there)).then(|| rules.place(&at.field(there)));
    let diagnostic = Diagnostic::new(Code::HeadroomLeavesNoTarget, message).at(rules.place(&at.field(here))).related(other, there);
    rules.findings.report(diagnostic.hint("by default fiveHour is 85, weekly 95 and headroom 15"));
    Err(Reported)
}
