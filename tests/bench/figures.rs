//! Samples, medians and rows.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::Fallible;

/// Where a row stands in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    NoOp,
    Resync,
    Asked,
    Plan,
    Status,
    Start,
    Repair,
    Burst,
    Swap,
    Tasks,
    Hook,
    Idle,
    Planning,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub place: Place,
    pub what: String,
    pub ours: String,
    pub floor: String,
    pub ratio: String,
    pub goal: String,
    /// Whether the goal is met; `None` for a row without one.
    pub met: Option<bool>,
    /// What a user would run instead, or what else was seen.
    pub beside: String,
}

impl Row {
    /// A figure that has no floor, and no goal yet.
    pub fn alone(place: Place, what: String, ours: String, beside: String) -> Self {
        let none = || "–".to_owned();
        Self { place, what, ours, floor: none(), ratio: none(), goal: none(), met: None, beside }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, ours, floor, ratio, goal, met, beside, .. } = self;
        let met = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        write!(f, "| {what} | {ours} | {floor} | {ratio} | {goal} | {met} | {beside} |")
    }
}

/// The two sides of a comparison, sample by sample.
#[derive(Debug, Default)]
pub struct Pairs {
    pub ours: Vec<Duration>,
    pub floor: Vec<Duration>,
}

impl Pairs {
    /// Takes `count` pairs, after one of each that is thrown away.
    pub fn take(
        count: usize,
        mut ours: impl FnMut() -> Fallible<Duration>,
        mut floor: impl FnMut() -> Fallible<Duration>,
    ) -> Fallible<Self> {
        ours()?;
        floor()?;
        let mut pairs = Self::default();
        for _ in 0..count {
            pairs.ours.push(ours()?);
            pairs.floor.push(floor()?);
        }
        Ok(pairs)
    }

    /// The median of the ratios of the pairs.
    pub fn ratio(&self) -> f64 {
        let mut ratios: Vec<f64> =
            self.ours.iter().zip(&self.floor).map(|(ours, floor)| ours.as_secs_f64() / floor.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    /// The row of this comparison.
    pub fn row(&self, place: Place, what: impl Into<String>, floor: &str, goal: f64) -> Row {
        let ratio = self.ratio();
        Row {
            place,
            what: what.into(),
            ours: shown(median(&self.ours)),
            floor: format!("{} ({floor})", shown(median(&self.floor))),
            ratio: format!("{ratio:.2}"),
            goal: format!("≤ {goal}"),
            met: Some(ratio <= goal),
            beside: String::new(),
        }
    }
}

/// The middle of some samples, of which there is at least one.
pub fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// How long `work` takes.
pub fn timed(work: impl FnOnce() -> Fallible<()>) -> Fallible<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// How many tasks a second.
pub fn rate(count: usize, took: Duration) -> Fallible<String> {
    Ok(format!("{:.0} tasks a second", f64::from(u32::try_from(count)?) / took.as_secs_f64()))
}

/// Three digits and a unit.
pub fn shown(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..0.1 => format!("{:.1} µs", millis * 1e3),
        ..10.0 => format!("{millis:.2} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}
