//! The shared root and the links into it.

use std::path::Path;

use super::{
    ActiveEvidence, Effect, LinkNeed, Phase, TargetKind, Verb, active_evidence,
    evidence::ACTIVE_UNKNOWN,
    link_need, login_of,
    planner::{Planner, action, link_is_right},
};
use crate::{
    model::{LinkName, ObjectRef},
    observed::{LinkView, LoginView, RootView, Seen, TargetView},
    spec::{Account, AdoptMode},
};

impl Planner<'_> {
    /// Plans the shared root and what stands below it. A root that was ours and is not any more is an unmounted share, not an empty one.
    pub fn plan_shared_root(&mut self) {
        let root = &self.spec.shared.root;
        let shown = root.display();
        let was_ours = self.memory.links.iter().any(|link| self.spec.accounts.iter().any(|account| link.starts_with(&account.home)));
        let problem = match &self.seen.shared_root {
            Seen::Unknown(why) => Some(("RootUnknown", format!("{shown} cannot be looked at: {why}"))),
            Seen::Known(fact) => match &fact.value {
                RootView::Marked(pool) if *pool == self.memory.pool => None,
                RootView::Marked(other) => Some((
                    "RootForeign",
                    format!(
                        "{shown} carries the marker of pool {other}; give each pool a shared root of its own, or use that pool's state directory"
                    ),
                )),
                RootView::Absent | RootView::Empty | RootView::Unmarked if was_ours => Some((
                    "RootLost",
                    format!(
                        "{shown} has lost its marker, as an unmounted share would; nothing is started until it is back \
                         (a shared root is moved with all that it holds, its marker included)"
                    ),
                )),
                RootView::Unmarked => Some((
                    "RootUnmarked",
                    format!(
                        "{shown} holds something and has no marker; look at it and take it over with `claude-failover adopt shared-root`, or declare a directory of its own"
                    ),
                )),
                RootView::Absent | RootView::Empty => {
                    let effect = Effect::InitSharedRoot { root: root.clone(), pool: self.memory.pool };
                    self.act(
                        Phase::Shared,
                        action(ObjectRef::SharedRoot, Verb::Create, shown.to_string(), "declared, not marked as ours", effect),
                    );
                    None
                }
            },
        };
        if let Some((reason, message)) = problem {
            for account in &self.spec.accounts {
                self.unfit.entry(account.name.clone()).or_insert_with(|| message.clone());
            }
            self.warn(ObjectRef::SharedRoot, reason, message);
            return;
        }
        for name in &self.spec.shared.links {
            self.plan_target(name);
        }
    }

    fn plan_target(&mut self, name: &LinkName) {
        let root = &self.spec.shared.root;
        let target = root.join(name.as_str());
        let kind = if name.is_file() { TargetKind::File } else { TargetKind::Directory };
        let found = match self.seen.targets.get(name) {
            Some(Seen::Known(fact)) => fact.value,
            // Its links are unknown then too, which is said there.
            _ => return,
        };
        match (found, kind) {
            (TargetView::Directory, TargetKind::Directory) | (TargetView::File, TargetKind::File) => {}
            (TargetView::Absent, _) => {
                let effect = Effect::CreateTarget { root: root.clone(), target, kind };
                self.act(
                    Phase::Shared,
                    action(ObjectRef::SharedRoot, Verb::Create, name.to_string(), "shared name without a target", effect),
                );
            }
            (TargetView::Directory | TargetView::File | TargetView::Other, _) => {
                let message = format!("{} is not what the link {name} needs; move it away or rename the link", target.display());
                for account in &self.spec.accounts {
                    self.unfit.entry(account.name.clone()).or_insert_with(|| message.clone());
                }
                self.warn(ObjectRef::SharedRoot, "TargetConflicted", message);
            }
        }
    }

    /// Plans the links of every home that is fit.
    pub fn plan_links(&mut self) {
        for account in &self.spec.accounts {
            if self.unfit.contains_key(&account.name) {
                continue;
            }
            for name in &self.spec.shared.links {
                let need = link_need(self.spec, account, name);
                self.plan_link(account, name, &need);
            }
        }
    }

    fn plan_link(&mut self, account: &Account, name: &LinkName, need: &LinkNeed) {
        let object = ObjectRef::Link(account.name.clone(), name.clone());
        let shown = need.path.display();
        let view = match self.seen.links.get(&(account.name.clone(), name.clone())) {
            Some(Seen::Known(fact)) => &fact.value,
            Some(Seen::Unknown(why)) => {
                let message = format!("the link {shown} cannot be looked at: {why}");
                self.mark_unfit(&account.name, "LinkUnknown", message);
                return;
            }
            None => {
                self.mark_unfit(&account.name, "LinkUnknown", format!("the link {shown} has not been looked at"));
                return;
            }
        };
        let ours = self.memory.links.contains(&need.path);
        match view {
            found if link_is_right(found, &need.target) => {}
            LinkView::Link { target, .. } if *target == need.target => {
                // A target that is missing is made in the phase before; of one that is wrong its own warning tells.
                if !matches!(self.seen.targets.get(name), Some(Seen::Known(fact)) if fact.value == TargetView::Absent) {
                    let message = format!("what the link {shown} leads to cannot be looked at; it is not relied on");
                    self.mark_unfit(&account.name, "TargetUnknown", message);
                }
            }
            LinkView::Absent => {
                if ours {
                    self.drift(object.clone(), "the link is gone");
                }
                let why = if ours { "it was removed" } else { "declared, absent" };
                let effect = Effect::CreateLink { path: need.path.clone(), target: need.target.clone() };
                let what = format!("-> {}", need.target.display());
                self.act(Phase::Homes, action(object, Verb::Create, what, why, effect).relying_on(&account.name));
            }
            LinkView::Link { target, .. } if ours => {
                self.drift(object.clone(), format!("points to {}", target.display()));
                let effect = Effect::RepointLink { path: need.path.clone(), expect: target.clone(), target: need.target.clone() };
                let what = format!("-> {}", need.target.display());
                let why = format!("it points to {}", target.display());
                self.act(Phase::Homes, action(object, Verb::Repair, what, why, effect).relying_on(&account.name));
            }
            LinkView::Link { target, .. } => {
                let message = format!("{shown} is a symlink to {} that we did not make; remove it, and it is made anew", target.display());
                self.conflict(account, object, message);
            }
            LinkView::Directory { entries } if self.spec.shared.adopt == AdoptMode::Merge && need.kind == TargetKind::Directory => {
                self.plan_merge(account, object, need, *entries);
            }
            LinkView::Directory { entries } => {
                let message = format!(
                    "{shown} is a real directory with {entries} entries; set `shared.adopt: merge` to move them into {}, or move it away",
                    need.target.display()
                );
                self.conflict(account, object, message);
            }
            LinkView::File => {
                let message = format!(
                    "{shown} is a regular file, and its content may be needed; compare it with {}, then move it away",
                    need.target.display()
                );
                self.conflict(account, object, message);
            }
            LinkView::Other => self.conflict(account, object, format!("{shown} is neither link, file nor directory; move it away")),
        }
    }

    fn plan_merge(&mut self, account: &Account, object: ObjectRef, need: &LinkNeed, entries: usize) {
        if self.home_in_use(&account.home) {
            let message = "its directory is merged into the shared root once no agent runs in its home";
            self.unfit.entry(account.name.clone()).or_insert_with(|| message.to_owned());
            self.wait(object, "HomeInUse", message);
            return;
        }
        let effect = Effect::MergeDirectory {
            path: need.path.clone(),
            target: need.target.clone(),
            quarantine: self.spec.shared.root.join(QUARANTINE),
        };
        let what = format!("merge {entries} entries into {}, then link", need.target.display());
        let merge = action(object, Verb::Adopt, what, "a real directory stands there, adopt is merge", effect);
        self.act(Phase::Homes, merge.relying_on(&account.name));
    }

    fn conflict(&mut self, account: &Account, object: ObjectRef, message: String) {
        self.unfit.entry(account.name.clone()).or_insert_with(|| message.clone());
        self.warn(object, "Conflicted", message);
    }
}

impl<'a> Planner<'a> {
    /// Plans the active account and the link that follows it. Left alone while a swap is open: the swap flips it.
    pub fn plan_active(&mut self) {
        let active = self.memory.active.as_ref().and_then(|active| self.spec.account(&active.account));
        let evidence = if self.memory.active.is_some() {
            ActiveEvidence::Nothing
        } else {
            active_evidence(self.spec, self.seen, self.memory, self.now)
        };
        let (taken_up, by) = match evidence {
            ActiveEvidence::Nothing => (None, String::new()),
            ActiveEvidence::Names(name, by) => (self.spec.account(&name), by),
            ActiveEvidence::Undecided(found) => {
                let message = format!(
                    "which account is active is not remembered and cannot be told ({found}); nothing is started, moved or given out; look at the \
                     sessions, then say it: `claude-failover adopt account/NAME`"
                );
                self.warn(ObjectRef::Pool, ACTIVE_UNKNOWN, message);
                self.undecided = true;
                return;
            }
        };
        let Some(account) = active.or(taken_up).or_else(|| self.first_fit_account()) else {
            self.warn(ObjectRef::Pool, "NoAccount", "no account is fit to start sessions under; see the accounts");
            return;
        };
        self.account = Some(account);
        if self.memory.swap.is_some() {
            return;
        }
        let fit = !self.unfit.contains_key(&account.name);
        if active.is_none() && fit {
            let effect = Effect::RecordActive { account: account.name.clone(), needs: super::link_needs(self.spec, account) };
            let why = if self.memory.active.is_some() {
                "the former account is not declared any more".to_owned()
            } else if taken_up.is_some() {
                by
            } else {
                "the first account that is fit".to_owned()
            };
            let record = action(ObjectRef::Account(account.name.clone()), Verb::Create, "make it the active account", why, effect);
            self.act(Phase::Active, record.relying_on(&account.name));
        }
        if let Some(path) = &self.spec.active_link
            && fit
        {
            self.plan_active_link(path, account);
        }
    }

    /// The first account that something can be started under; one that is in use and logged in is preferred.
    fn first_fit_account(&self) -> Option<&'a Account> {
        let fit = || self.spec.accounts.iter().filter(|account| !self.unfit.contains_key(&account.name));
        let in_use = |account: &&Account| !self.memory.cordoned.contains_key(&ObjectRef::Account(account.name.clone()));
        let login = |account: &Account| login_of(self.seen, self.memory, &account.name);
        let logged_in = |account: &&Account| !matches!(login(account), LoginView::Missing | LoginView::Dead { .. });
        let first = fit().filter(in_use).find(logged_in).or_else(|| fit().find(in_use)).or_else(|| fit().next());
        // Without any login nothing can be done there, and an account that is recorded as active would have to be left at once.
        first.filter(|account| login(account) != LoginView::Missing)
    }

    fn plan_active_link(&mut self, path: &Path, account: &Account) {
        let object = ObjectRef::ActiveLink;
        let view = match &self.seen.active_link {
            Seen::Known(fact) => &fact.value,
            Seen::Unknown(why) => {
                self.warn(object, "LinkUnknown", format!("{} cannot be looked at: {why}", path.display()));
                return;
            }
        };
        let what = format!("-> {}", account.home.display());
        match view {
            found if link_is_right(found, &account.home) => {}
            LinkView::Absent => {
                let effect = Effect::CreateLink { path: path.to_owned(), target: account.home.clone() };
                self.act(Phase::Active, action(object, Verb::Create, what, "declared, absent", effect).relying_on(&account.name));
            }
            LinkView::Link { target, .. } if self.memory.links.contains(path) || self.spec.account_at(target).is_some() => {
                self.drift(object.clone(), format!("points to {}", target.display()));
                let effect = Effect::RepointLink { path: path.to_owned(), expect: target.clone(), target: account.home.clone() };
                let why = format!("it points to {}", target.display());
                self.act(Phase::Active, action(object, Verb::Repair, what, why, effect).relying_on(&account.name));
            }
            LinkView::Link { target, .. } => {
                let message = format!(
                    "{} points to {}, which is no account of this pool; remove it, and it is made anew",
                    path.display(),
                    target.display()
                );
                self.warn(object, "Conflicted", message);
            }
            LinkView::Directory { .. } | LinkView::File | LinkView::Other => {
                let message = format!("{} is not a symlink; move it away (a home can be moved and declared as an account)", path.display());
                self.warn(object, "Conflicted", message);
            }
        }
    }
}

/// Where the losing side of a merge is kept, below the shared root.
pub const QUARANTINE: &str = ".quarantine";
