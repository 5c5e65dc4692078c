//! Logins that look valid in the home and that the other side refuses: the agents' own word against the file's.
//!
//! # Guarantees
//! A login counts as refused only after every living agent of the active account was seen logged out for [`CONFIRM`] without a break. One
//! that works, or that cannot be looked at, is enough against it. Once it counts it is remembered, also when its agents have moved away:
//! until the home has another login, a turn ends well under it, or an operator clears the account.
//!
//! # Does not
//! Ask the provider.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{MAX_FACT_AGE, Memory, MemoryChange};
use crate::{
    model::{AccountName, Activity, Event, EventReason, Now, ObjectRef, Severity},
    observed::{AgentView, LoginView, Seen, Snapshot},
    spec::{Account, Spec},
};

/// How long all agents must have been logged out.
pub const CONFIRM: Duration = Duration::from_mins(2);

/// What is remembered of a login that agents say is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedLogin {
    /// Since when all agents were seen logged out; for a renewed login since when it is there.
    pub since: Timestamp,
    /// The login as the home showed it then: another one is a new chance.
    pub login: LoginView,
    /// How sure it is.
    pub state: Refused,
}

/// How sure it is that a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// All agents were seen logged out, but not for long enough.
    Suspected,
    /// It counts as dead.
    Confirmed,
    /// The home has another login, or an operator cleared the account. What agents were told before that counts no more.
    Renewed,
}

/// The login of an account, as its home and its agents tell together.
pub fn login_of(seen: &Snapshot, memory: &Memory, account: &AccountName) -> LoginView {
    let shown = seen.homes.get(account).and_then(Seen::value).map_or(LoginView::Unknown, |home| home.login.clone());
    match memory.refused_logins.get(account) {
        Some(refused) if refused.state == Refused::Confirmed && matches!(shown, LoginView::Valid { .. } | LoginView::Unknown) => {
            LoginView::Dead { reason: format!("all its agents were told so since {:.0}, though its file looks valid", refused.since) }
        }
        _ => shown,
    }
}

/// What the agents teach about the logins, with the events that tell of it.
pub(super) fn learn_logins(spec: &Spec, seen: &Snapshot, memory: &Memory, now: Now) -> (Option<MemoryChange>, Vec<Event>) {
    let mut next = BTreeMap::new();
    let mut events = Vec::new();
    for account in &spec.accounts {
        let before = memory.refused_logins.get(&account.name);
        let Some(home) = seen.homes.get(&account.name).and_then(Seen::value) else {
            next.extend(before.map(|before| (account.name.clone(), before.clone())));
            continue;
        };
        let word = agents_word(account, seen, memory, now);
        let after = step(before, &home.login, &word, now);
        if after.as_ref().is_some_and(|after| after.state == Refused::Confirmed)
            && before.is_none_or(|before| before.state != Refused::Confirmed)
        {
            let message = format!("all its agents are logged out, though its file looks valid; run `{}`", account.login_command());
            let object = ObjectRef::Account(account.name.clone());
            events.push(Event { at: now.wall, object, reason: EventReason::LoginRefused, severity: Severity::Warning, message });
        }
        next.extend(after.map(|after| (account.name.clone(), after)));
    }
    let change = (next != memory.refused_logins).then_some(MemoryChange::SetRefusedLogins(next));
    (change, events)
}

/// What the agents of an account say of its login.
enum Word {
    /// Nothing that counts: it is not the active account, none runs, one cannot be looked at, or a swap moves them.
    None,
    /// At least one is not logged out. When a turn last ended well, if one did.
    Mixed(Option<Timestamp>),
    /// All are logged out, the first of them since then, if they say.
    Refused(Option<Timestamp>),
}

fn agents_word(account: &Account, seen: &Snapshot, memory: &Memory, now: Now) -> Word {
    if memory.swap.is_some() || memory.active.as_ref().is_none_or(|active| active.account != account.name) {
        return Word::None;
    }
    let mut living: Vec<&AgentView> = Vec::new();
    for agent in seen.agents.values() {
        match agent.fresh(now, MAX_FACT_AGE) {
            None => return Word::None,
            Some(agent) if agent.process.is_none() => {}
            Some(agent) => match &agent.home {
                None => return Word::None,
                Some(home) if *home == account.home => living.push(agent),
                Some(_) => {}
            },
        }
    }
    if living.is_empty() {
        return Word::None;
    }
    let is_out = |agent: &&&AgentView| agent.activity == Activity::LoggedOut;
    if living.iter().all(|agent| is_out(&agent)) {
        return Word::Refused(living.iter().filter_map(|agent| agent.activity_since).min());
    }
    Word::Mixed(living.iter().filter(|agent| !is_out(agent)).filter_map(|agent| agent.turn_ended_at).max())
}

fn step(before: Option<&RefusedLogin>, login: &LoginView, word: &Word, now: Now) -> Option<RefusedLogin> {
    let made = |state| Some(RefusedLogin { since: now.wall, login: login.clone(), state });
    let Some(before) = before else {
        // A login whose own file says that it is dead needs no further word.
        return if matches!((login, word), (LoginView::Valid { .. }, Word::Refused(_))) { made(Refused::Suspected) } else { None };
    };
    if matches!(login, LoginView::Valid { .. }) && *login != before.login {
        return made(Refused::Renewed);
    }
    let kept = || Some(before.clone());
    match (before.state, word) {
        (Refused::Suspected, Word::Refused(_)) if now.since_wall(before.since) >= CONFIRM => {
            Some(RefusedLogin { state: Refused::Confirmed, ..before.clone() })
        }
        (Refused::Confirmed, Word::Mixed(Some(ended))) if *ended > before.since => None,
        (Refused::Renewed, Word::Refused(Some(since))) if *since > before.since => made(Refused::Suspected),
        // A suspicion lives by the agents' word alone, and a new login is done with once one agent works under it.
        (Refused::Suspected, Word::None | Word::Mixed(_)) | (Refused::Renewed, Word::Mixed(_)) => None,
        (Refused::Suspected | Refused::Confirmed | Refused::Renewed, _) => kept(),
    }
}
