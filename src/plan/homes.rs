//! Account homes: there, safe, apart from each other, and ready for unattended starts.

use std::collections::BTreeMap;

use super::{
    Effect, Phase, Verb,
    planner::{Planner, action},
};
use crate::{
    model::{AccountName, ObjectRef},
    observed::{HomeView, LoginView, Seen},
    spec::{Account, PermissionMode},
};

impl Planner<'_> {
    /// Checks each home and plans its preparation. What is wrong with a home makes its account unfit; nothing here repairs a home that a
    /// person must make or mend.
    pub fn plan_homes(&mut self) {
        let mut by_identity: BTreeMap<(u64, u64), AccountName> = BTreeMap::new();
        for account in &self.spec.accounts {
            let home = match self.seen.homes.get(&account.name) {
                Some(Seen::Known(fact)) => &fact.value,
                Some(Seen::Unknown(why)) => {
                    self.mark_unfit(&account.name, "HomeUnknown", format!("its home cannot be looked at: {why}"));
                    continue;
                }
                None => {
                    self.mark_unfit(&account.name, "HomeUnknown", "its home has not been looked at");
                    continue;
                }
            };
            if let Some(identity) = home.identity
                && let Some(other) = by_identity.insert(identity, account.name.clone())
            {
                let message = format!("its home is the same directory as that of account {other}; each login needs a home of its own");
                self.mark_unfit(&account.name, "HomeShared", message);
                continue;
            }
            self.plan_home(account, home);
        }
    }

    fn plan_home(&mut self, account: &Account, home: &HomeView) {
        let shown = account.home.display();
        if !home.exists {
            let message = format!(
                "its home {shown} does not exist; make it with `claude-failover init --account {}` and log in there with the official CLI",
                account.name
            );
            self.mark_unfit(&account.name, "HomeMissing", message);
            return;
        }
        if let Some(problem) = &home.unsafe_mode {
            self.mark_unfit(&account.name, "HomeUnsafe", format!("its home {shown} is not safe: {problem}"));
            return;
        }
        if matches!(home.login, LoginView::Missing) {
            let message = format!("nobody is logged in at {shown}; run `{}`", account.login_command());
            self.warn(ObjectRef::Account(account.name.clone()), "LoginMissing", message);
        }
        self.plan_keys(account, home);
    }

    /// Without these keys the CLI would wait for a person on its first screens (facts/claude-code.md, section 1).
    fn plan_keys(&mut self, account: &Account, home: &HomeView) {
        let wants_trust = self.spec.agent.trust_workdirs;
        let mut trust: Vec<_> = self
            .spec
            .sessions
            .values()
            .map(|session| &session.workdir)
            .filter(|workdir| wants_trust && !home.trusted.contains(*workdir))
            .cloned()
            .collect();
        trust.sort();
        trust.dedup();
        let accept_bypass = self.spec.agent.permission_mode == PermissionMode::BypassPermissions && !home.bypass_accepted;
        if home.onboarded && trust.is_empty() && !accept_bypass {
            return;
        }
        let object = ObjectRef::Account(account.name.clone());
        if self.home_in_use(&account.home) {
            self.wait(object, "HomeInUse", "its onboarding and trust keys are set once no agent runs in its home");
            return;
        }
        let mut missing = Vec::new();
        if !home.onboarded {
            missing.push("onboarding".to_owned());
        }
        if !trust.is_empty() {
            missing.push(format!("trust in {}", trust.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")));
        }
        if accept_bypass {
            missing.push("the bypass-permissions notice".to_owned());
        }
        let effect = Effect::PrepareHome { account: account.name.clone(), home: account.home.clone(), trust, accept_bypass };
        let what = format!("set {}", missing.join(", "));
        let prepared = action(object, Verb::Repair, what, "the CLI would ask a person", effect).relying_on(&account.name);
        self.act(Phase::Homes, prepared);
    }
}
