//! Accounts: names, homes, thresholds.

use std::{collections::BTreeMap, path::PathBuf};

use super::{Checked, Reported, Rules, paths, thresholds};
use crate::{
    model::AccountName,
    spec::{
        diagnostic::{Code, Diagnostic, quoted},
        document,
        load::FieldPath,
        pool::{Account, Thresholds},
    },
};

/// Words that commands use for no account or for all of them.
const RESERVED: [&str; 2] = ["all", "none"];

/// An account as far as it is right.
pub(super) struct Draft {
    /// What messages call it.
    pub(super) title: String,
    /// Its home, if that could be resolved.
    pub(super) home: Option<PathBuf>,
    /// Where its home is written.
    pub(super) home_at: FieldPath,
    /// The account, if all of it is right.
    pub(super) value: Checked<Account>,
}

/// Checks each account, and that their names are distinct.
pub(super) fn resolve(wanted: &[document::Account], pool: Option<&Thresholds>, at: &FieldPath, rules: &mut Rules<'_>) -> Vec<Draft> {
    let mut first = BTreeMap::<&str, FieldPath>::new();
    let mut drafts = Vec::with_capacity(wanted.len());
    for (index, account) in wanted.iter().enumerate() {
        let at = at.item(index);
        let name_at = at.field("name");
        if rules.present(&name_at).is_err() {
            // Two accounts without a name do not have the same one.
        } else if let Some(earlier) = first.get(account.name.as_str()) {
            let diagnostic = Diagnostic::new(Code::DuplicateEntry, format!("two accounts are called {}", quoted(&account.name)))
                .at(rules.place(&name_at))
                .related(rules.place(earlier), "first here");
            rules.findings.report(diagnostic.hint("rename one of them"));
        } else {
            first.insert(&account.name, name_at.clone());
        }
        drafts.push(draft(account, pool, &at, rules));
    }
    if let [_] = wanted {
        let message = "the pool has a single account, so that it cannot move when that one is used up";
        rules.findings.report(Diagnostic::new(Code::SingleAccount, message).at(rules.place(&at.item(0))).hint("add a second account"));
    }
    drafts
}

/// Checks one account.
fn draft(account: &document::Account, pool: Option<&Thresholds>, at: &FieldPath, rules: &mut Rules<'_>) -> Draft {
    let (name_at, home_at) = (at.field("name"), at.field("home"));
    let name = rules.present(&name_at).and_then(|()| name(&account.name, &name_at, rules));
    let home = rules.present(&home_at).and_then(|()| paths::resolve(&account.home, &home_at, rules));
    let title = if account.name.is_empty() { at.title() } else { format!("account {}", quoted(&account.name)) };
    let thresholds = pool
        .ok_or(Reported)
        .and_then(|pool| thresholds::resolve_overrides(&account.thresholds, pool, &title, &at.field("thresholds"), rules));
    let value = match (name, &home, thresholds) {
        (Ok(name), Ok(home), Ok(thresholds)) => Ok(Account { name, home: home.clone(), thresholds }),
        _ => Err(Reported),
    };
    Draft { title, home: home.ok(), home_at, value }
}

/// Checks an account's name.
fn name(name: &str, at: &FieldPath, rules: &mut Rules<'_>) -> Checked<AccountName> {
    if RESERVED.contains(&name) {
        let message = format!("an account cannot be called {}: commands use that word", quoted(name));
        return Err(rules.refuse(Code::ReservedName, at, message, "choose another name"));
    }
    AccountName::new(name)
        .map_err(|error| rules.refuse(Code::BadName, at, error.to_string(), "rename the account, for example to `primary`"))
}
