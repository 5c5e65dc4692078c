//! The effects that make one account's links, or the active link, right: for the steps of a swap.

use super::{Effect, Memory, TargetKind, link_is_right, link_needs};
use crate::{
    observed::{LinkView, Seen, Snapshot, TargetView},
    spec::{Account, Spec},
};

/// A link that is wrong and not ours to put right, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongLink(pub String);

/// What makes the links of `account` right, in order; empty when they are.
///
/// # Errors
/// [`WrongLink`] for the first one that only a person may change, or that cannot be looked at.
pub fn ensure_links(spec: &Spec, seen: &Snapshot, memory: &Memory, account: &Account) -> Result<Vec<Effect>, WrongLink> {
    let mut effects = Vec::new();
    for (name, need) in spec.shared.links.iter().zip(link_needs(spec, account)) {
        let shown = need.path.display();
        let shown_target = need.target.display();
        match (seen.targets.get(name).and_then(Seen::value), need.kind) {
            (Some(TargetView::Directory), TargetKind::Directory) | (Some(TargetView::File), TargetKind::File) => {}
            (Some(TargetView::Absent), kind) => {
                effects.push(Effect::CreateTarget { root: spec.shared.root.clone(), target: need.target.clone(), kind });
            }
            (Some(_), _) => return Err(WrongLink(format!("{shown_target} is not what the link {name} needs"))),
            (None, _) => return Err(WrongLink(format!("{shown_target}, which the link {name} needs, cannot be looked at"))),
        }
        let view = match seen.links.get(&(account.name.clone(), name.clone())) {
            Some(Seen::Known(fact)) => &fact.value,
            Some(Seen::Unknown(why)) => return Err(WrongLink(format!("the link {shown} cannot be looked at: {why}"))),
            None => return Err(WrongLink(format!("the link {shown} has not been looked at"))),
        };
        match view {
            found if link_is_right(found, &need.target) => {}
            LinkView::Absent => effects.push(Effect::CreateLink { path: need.path, target: need.target }),
            LinkView::Link { target, .. } if *target == need.target => {}
            LinkView::Link { target, .. } if memory.links.contains(&need.path) => {
                effects.push(Effect::RepointLink { path: need.path, expect: target.clone(), target: need.target });
            }
            LinkView::Link { target, .. } => {
                return Err(WrongLink(format!("{shown} is a symlink to {} that we did not make", target.display())));
            }
            LinkView::Directory { entries } => return Err(WrongLink(format!("{shown} is a real directory with {entries} entries"))),
            LinkView::File => return Err(WrongLink(format!("{shown} is a regular file"))),
            LinkView::Other => return Err(WrongLink(format!("{shown} is neither link, file nor directory"))),
        }
    }
    Ok(effects)
}

/// What makes the active link lead to `account`; `None` when it does, or when none is declared.
///
/// # Errors
/// [`WrongLink`] when what stands there is not ours, or cannot be looked at.
pub fn ensure_active_link(spec: &Spec, seen: &Snapshot, account: &Account) -> Result<Option<Effect>, WrongLink> {
    let Some(path) = &spec.active_link else { return Ok(None) };
    let shown = path.display();
    match &seen.active_link {
        Seen::Unknown(why) => Err(WrongLink(format!("the active link {shown} cannot be looked at: {why}"))),
        Seen::Known(fact) => match &fact.value {
            found if link_is_right(found, &account.home) => Ok(None),
            LinkView::Absent => Ok(Some(Effect::CreateLink { path: path.clone(), target: account.home.clone() })),
            LinkView::Link { target, .. } if spec.account_at(target).is_some() => {
                Ok(Some(Effect::RepointLink { path: path.clone(), expect: target.clone(), target: account.home.clone() }))
            }
            LinkView::Link { target, .. } => {
                Err(WrongLink(format!("{shown} points to {}, which is no account of this pool", target.display())))
            }
            LinkView::Directory { .. } | LinkView::File | LinkView::Other => Err(WrongLink(format!("{shown} is not a symlink"))),
        },
    }
}
