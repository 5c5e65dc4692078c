//! The links that an account's home must have.

use super::{LinkNeed, TargetKind};
use crate::{
    model::LinkName,
    spec::{Account, Spec},
};

/// The links of `account`, in the order in which they are made. Every target is absolute and lies directly below the shared root.
pub fn link_needs(spec: &Spec, account: &Account) -> Vec<LinkNeed> {
    spec.shared.links.iter().map(|name| link_need(spec, account, name)).collect()
}

/// One link of `account`.
pub fn link_need(spec: &Spec, account: &Account, name: &LinkName) -> LinkNeed {
    LinkNeed {
        path: account.home.join(name.as_str()),
        target: spec.shared.root.join(name.as_str()),
        kind: if name.is_file() { TargetKind::File } else { TargetKind::Directory },
    }
}
