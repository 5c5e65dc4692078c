//! How each account stands: whether the pool could work under it, and if not, why, in words for an operator.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Grounds, LinksState, history};
use crate::{
    model::{AccountName, ObjectRef, Percent, ReadingSource, WindowKind, WindowReading},
    observed::LoginView,
    plan::burn::{self, Effective, Ignorance, Span},
    spec::Account,
};

/// Whether the pool could work under an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether the pool works under it now. Then the refusals are what speaks for leaving it.
    pub active: bool,
    /// Everything that speaks against it; empty when nothing does.
    pub refusals: Vec<Refusal>,
}

impl Standing {
    /// Whether the pool may go there.
    pub const fn is_viable(&self) -> bool {
        !self.active && self.refusals.is_empty()
    }

    /// When the last refusal ends by itself. `None` when one of them does not, or does not say when.
    pub fn relief(&self) -> Option<Timestamp> {
        let ends: Option<Vec<Timestamp>> = self.refusals.iter().map(Refusal::ends_at).collect();
        ends?.into_iter().max()
    }

    /// Whether only the memory of a recent swap speaks against it.
    pub fn is_held_by_history(&self) -> bool {
        let of_history = |refusal: &Refusal| matches!(refusal, Refusal::CoolingDown { .. } | Refusal::JustLeft { .. });
        !self.refusals.is_empty() && self.refusals.iter().all(of_history)
    }

    /// Each refusal as a sentence without its first capital and its full stop.
    pub fn reasons(&self) -> Vec<String> {
        self.refusals.iter().map(Refusal::to_string).collect()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.active, self.refusals.is_empty()) {
            (true, true) => f.write_str("active, below its thresholds as far as is known"),
            (true, false) => write!(f, "active, but {}", self.reasons().join("; ")),
            (false, true) => f.write_str("has room"),
            (false, false) => f.write_str(&self.reasons().join("; ")),
        }
    }
}

/// One thing that speaks against an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// An operator took it out of use.
    Cordoned {
        /// Why.
        reason: String,
        /// Who.
        actor: String,
    },
    /// The account, or one of its links, is latched.
    Latched {
        /// What is latched.
        object: ObjectRef,
        /// The latch's word.
        reason: String,
    },
    /// Nobody knows whether its login works.
    LoginUnknown,
    /// Its home has no login.
    LoginMissing,
    /// Its login no longer works.
    LoginDead {
        /// In the CLI's words.
        reason: String,
    },
    /// Its login has ended by its own date.
    LoginEnded {
        /// When.
        at: Timestamp,
    },
    /// Its links could not be looked at.
    LinksUnknown {
        /// Why.
        why: String,
    },
    /// Its links are wrong, and it is not ours to put them right.
    LinksWrong {
        /// What stands there.
        why: String,
    },
    /// The last swap from the active account to it failed.
    CoolingDown {
        /// The active account.
        from: AccountName,
        /// When the pair may be tried again.
        until: Timestamp,
    },
    /// The pool came from there a short while ago.
    JustLeft {
        /// When going back is no longer back and forth.
        until: Timestamp,
    },
    /// Nothing is known of a window that must be known.
    Unread {
        /// Which window.
        window: WindowKind,
        /// Why.
        why: Ignorance,
    },
    /// The reading of a window that must be known is too old.
    Stale {
        /// Which window.
        window: WindowKind,
        /// What was used then; no less is used now.
        used: Percent,
        /// How old the reading is.
        age: Duration,
    },
    /// Too much of a window is used.
    Full {
        /// Which window.
        window: WindowKind,
        /// How much.
        used: Percent,
        /// Set when the reading is old, so that more may be used.
        or_more: bool,
        /// The most that is allowed of a target; the threshold of the active account.
        limit: Percent,
        /// When it begins anew, if that is known.
        resets_at: Option<Timestamp>,
    },
}

impl Refusal {
    /// When it ends by itself, if it does and that is known.
    const fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::CoolingDown { until, .. } | Self::JustLeft { until } => Some(*until),
            Self::Full { resets_at, .. } => *resets_at,
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned { reason, actor } => write!(f, "cordoned by {actor} ({reason}); uncordon it to use it again"),
            Self::Latched { object, reason } => write!(f, "{object} is latched ({reason}); look at it, then clear it"),
            Self::LoginUnknown => f.write_str("it is not known whether its login works"),
            Self::LoginMissing => f.write_str("its home has no login; log in there with the official CLI"),
            Self::LoginDead { reason } => write!(f, "its login no longer works ({reason}); log in there with the official CLI"),
            Self::LoginEnded { at } => write!(f, "its login ended at {at:.0}; log in there with the official CLI"),
            Self::LinksUnknown { why } => write!(f, "its shared links could not be looked at ({why})"),
            Self::LinksWrong { why } => write!(f, "its shared links are wrong and need a person ({why})"),
            Self::CoolingDown { from, until } => {
                write!(f, "the last swap from {from} to it failed; not tried again before {until:.0} unless the pool is cleared")
            }
            Self::JustLeft { until } => write!(f, "the pool came from there; going back before {until:.0} would be back and forth"),
            Self::Unread { window, why } => write!(f, "{window} is unknown ({why})"),
            Self::Stale { window, used, age } => {
                write!(f, "{window} was last read {} ago ({used} or more), too long to act on", Span(*age))
            }
            Self::Full { window, used, or_more, limit, resets_at } => {
                let or_more = if *or_more { " or more" } else { "" };
                write!(f, "{window} is at {used}{or_more}, the limit is {limit}, ")?;
                match resets_at {
                    Some(at) => write!(f, "it begins anew at {at:.0}"),
                    None => f.write_str("when it begins anew is not known"),
                }
            }
        }
    }
}

/// How every declared account stands.
pub(super) fn all(grounds: &Grounds<'_>) -> BTreeMap<AccountName, Standing> {
    let active = grounds.memory.active.as_ref().map(|active| &active.account);
    let standing = |account: &Account| {
        if active == Some(&account.name) { of_active(grounds, account) } else { of_target(grounds, account, active) }
    };
    grounds.spec.accounts.iter().map(|account| (account.name.clone(), standing(account))).collect()
}

/// What speaks for leaving the active account. Nothing that is unknown does.
fn of_active(grounds: &Grounds<'_>, account: &Account) -> Standing {
    let login = login_refusal(grounds, account).filter(|refusal| matches!(refusal, Refusal::LoginMissing | Refusal::LoginDead { .. }));
    let windows = readings(grounds, &account.name).filter_map(|(window, reading)| {
        let limit = account.thresholds.of(window);
        let known = burn::effective(Some(reading), grounds.now, grounds.spec.quota.stale_after);
        let used = known.at_least().filter(|used| *used >= limit || is_hit(reading, known))?;
        Some(Refusal::Full { window: window.clone(), used, or_more: known.fresh().is_none(), limit, resets_at: reading.resets_at })
    });
    Standing { active: true, refusals: login.into_iter().chain(windows).collect() }
}

/// What speaks against going to an account.
fn of_target(grounds: &Grounds<'_>, account: &Account, active: Option<&AccountName>) -> Standing {
    let mut refusals = Vec::new();
    if let Some(cordon) = grounds.memory.cordoned.get(&ObjectRef::Account(account.name.clone())) {
        refusals.push(Refusal::Cordoned { reason: cordon.reason.clone(), actor: cordon.actor.clone() });
    }
    for (object, latch) in &grounds.memory.latches {
        if matches!(object, ObjectRef::Account(name) | ObjectRef::Link(name, _) if *name == account.name) {
            refusals.push(Refusal::Latched { object: object.clone(), reason: latch.reason.clone() });
        }
    }
    refusals.extend(login_refusal(grounds, account));
    refusals.extend(links_refusal(grounds, account));
    if let Some(from) = active {
        if let Some(until) = history::cooling_down(grounds, from, &account.name) {
            refusals.push(Refusal::CoolingDown { from: from.clone(), until });
        }
        if let Some(until) = history::just_left(grounds, from, &account.name) {
            refusals.push(Refusal::JustLeft { until });
        }
    }
    refusals.extend(window_refusals(grounds, account));
    Standing { active: false, refusals }
}

/// What is wrong with an account's login.
fn login_refusal(grounds: &Grounds<'_>, account: &Account) -> Option<Refusal> {
    match grounds.homes.get(&account.name).map(|home| &home.login) {
        None | Some(LoginView::Unknown) => Some(Refusal::LoginUnknown),
        Some(LoginView::Missing) => Some(Refusal::LoginMissing),
        Some(LoginView::Dead { reason }) => Some(Refusal::LoginDead { reason: reason.clone() }),
        Some(LoginView::Valid { expires_at }) => expires_at.filter(|at| *at <= grounds.now.wall).map(|at| Refusal::LoginEnded { at }),
    }
}

/// What is wrong with an account's links.
fn links_refusal(grounds: &Grounds<'_>, account: &Account) -> Option<Refusal> {
    match grounds.homes.get(&account.name).map(|home| &home.links) {
        None => Some(Refusal::LinksUnknown { why: "not looked at yet".to_owned() }),
        Some(LinksState::Unknown { why }) => Some(Refusal::LinksUnknown { why: why.clone() }),
        Some(LinksState::Wrong { why }) => Some(Refusal::LinksWrong { why: why.clone() }),
        Some(LinksState::Right | LinksState::Repairable) => None,
    }
}

/// What is wrong with the windows of a target: the 5-hour and the weekly one must be known and fresh, and no window may be fuller than the
/// threshold minus the headroom. A model window of which nothing recent is known does not count: sources that know it tell of all at once.
fn window_refusals(grounds: &Grounds<'_>, account: &Account) -> Vec<Refusal> {
    let stale_after = grounds.spec.quota.stale_after;
    let required = [WindowKind::FiveHour, WindowKind::Weekly];
    let known: BTreeMap<&WindowKind, &WindowReading> = readings(grounds, &account.name).collect();
    let others = known.keys().copied().filter(|window| !required.contains(window));
    let refusal = |window: &WindowKind| {
        let reading = known.get(window).copied();
        let threshold = account.thresholds.of(window);
        let limit = threshold.saturating_sub(account.thresholds.headroom);
        let must_be_known = required.contains(window);
        let state = burn::effective(reading, grounds.now, stale_after);
        // Without any headroom the limit is the threshold itself, at which the account would be left again.
        let is_too_full = state.at_least().is_some_and(|used| used > limit || used >= threshold);
        match state {
            Effective::Known(used) | Effective::LowerBound { used, .. } if is_too_full => Some(Refusal::Full {
                window: window.clone(),
                used,
                or_more: state.fresh().is_none(),
                limit,
                resets_at: reading.and_then(|reading| reading.resets_at),
            }),
            Effective::LowerBound { used, age } if must_be_known => Some(Refusal::Stale { window: window.clone(), used, age }),
            Effective::Unknown(why) if must_be_known => Some(Refusal::Unread { window: window.clone(), why }),
            Effective::Known(_) | Effective::LowerBound { .. } | Effective::Unknown(_) => None,
        }
    };
    required.iter().chain(others).filter_map(refusal).collect()
}

/// Whether the sessions of the account cannot work on: a limit record stands until its window begins anew, any other reading only while fresh.
pub(super) fn is_hit(reading: &WindowReading, known: Effective) -> bool {
    match known {
        Effective::Known(used) => used >= Percent::FULL,
        Effective::LowerBound { .. } => reading.source == ReadingSource::LimitRecord,
        Effective::Unknown(_) => false,
    }
}

/// The readings of an account.
pub(super) fn readings<'a>(grounds: &Grounds<'a>, account: &AccountName) -> impl Iterator<Item = (&'a WindowKind, &'a WindowReading)> {
    grounds.usage.get(account).into_iter().flat_map(|usage| &usage.windows)
}
