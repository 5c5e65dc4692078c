//! Warns of logins that end soon: once at 7, 3 and 1 days ahead of each end.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Memory, MemoryChange, absorb::Absorbed};
use crate::{
    model::{AccountName, EventReason, Now, ObjectRef, Severity},
    observed::{LoginView, Seen, Snapshot},
    spec::{Account, Spec},
};

/// How many days ahead of its end a login is warned of.
const STAGES: [u8; 3] = [1, 3, 7];
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The last warning of one login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginWarning {
    /// When that login ended, as it was known then.
    pub until: Timestamp,
    /// How many days ahead it was warned of.
    pub days: u8,
}

/// The warning that is due for a login that ends then: 7, 3 or 1 days ahead.
pub fn stage(until: Timestamp, now: Timestamp) -> Option<u8> {
    let left = until.duration_since(now);
    STAGES.into_iter().find(|days| left <= DAY * i32::from(*days)).filter(|_| left > SignedDuration::ZERO)
}

/// When a login ends, such as `in 2 days`, `in 5 hours` or `within the hour`.
pub fn ends_in(until: Timestamp, now: Timestamp) -> String {
    let hours = until.duration_since(now).as_hours();
    if hours < 1 {
        return "within the hour".to_owned();
    }
    let (count, unit) = if hours < 48 { (hours, "hour") } else { (hours / 24, "day") };
    format!("in {count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The warnings that are due, and what is to be remembered of them.
pub(super) fn absorb_logins(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now, absorbed: &mut Absorbed) {
    let mut warned: BTreeMap<AccountName, LoginWarning> = memory.logins_warned.clone();
    warned.retain(|name, _| spec.account(name).is_some());
    for account in &spec.accounts {
        let login = seen.homes.get(&account.name).and_then(Seen::value).map(|home| &home.login);
        let Some(LoginView::Valid { expires_at: Some(until) }) = login else { continue };
        let held = warned.get(&account.name);
        // The end may move on a little with every use of the login; only one that moves far is another login's.
        let held = held.filter(|held| until.duration_since(held.until) < DAY);
        match stage(*until, now.wall) {
            Some(days) if held.is_none_or(|held| days < held.days) => {
                warned.insert(account.name.clone(), LoginWarning { until: *until, days });
                warn(account, *until, days, now, absorbed);
            }
            None if held.is_none() => drop(warned.remove(&account.name)),
            _ => {}
        }
    }
    if warned != memory.logins_warned {
        absorbed.changes.push(MemoryChange::SetLoginsWarned(warned));
    }
}

fn warn(account: &Account, until: Timestamp, days: u8, now: Now, absorbed: &mut Absorbed) {
    let severity = if days == 1 { Severity::Critical } else { Severity::Warning };
    let message = format!("its login ends {}, at {until:.0}; run `{}` before", ends_in(until, now.wall), account.login_command());
    absorbed.event(now, ObjectRef::Account(account.name.clone()), EventReason::LoginEndsSoon, severity, message);
}
