//! What a swap does to make links right, and what it leaves to people.

use super::{
    world::{ACTIVE_LINK, at, unseen},
    *,
};
use crate::observed::{LinkView, Seen, TargetView};

fn ensured(world: &World) -> Result<Vec<Effect>, String> {
    ensure_links(&world.spec, &world.seen, &world.memory, &world.spec.accounts[1]).map_err(|wrong| wrong.0)
}

#[test]
fn right_links_need_nothing() {
    assert_eq!(ensured(&World::converged(1)), Ok(Vec::new()));
}

#[test]
fn what_is_ours_is_put_right_in_the_order_of_the_spec() {
    let mut world = World::converged(1);
    let now = at(0);
    world.seen.targets.insert(link("tasks"), Seen::known(TargetView::Absent, now));
    world.put_link("backup", "tasks", LinkView::Absent);
    world.put_link("backup", "projects", LinkView::Link { target: "/elsewhere".into(), target_ok: true });
    world.seen.targets.insert(link("history.jsonl"), Seen::known(TargetView::Absent, now));
    world.put_link("backup", "history.jsonl", LinkView::Link { target: "/shared/history.jsonl".into(), target_ok: false });
    let path = |name: &str| home("backup").join(name);
    let create = |name: &str, kind| Effect::CreateTarget { root: "/shared".into(), target: format!("/shared/{name}").into(), kind };
    assert_eq!(
        ensured(&world),
        Ok(vec![
            Effect::RepointLink { path: path("projects"), expect: "/elsewhere".into(), target: "/shared/projects".into() },
            create("tasks", TargetKind::Directory),
            Effect::CreateLink { path: path("tasks"), target: "/shared/tasks".into() },
            create("history.jsonl", TargetKind::File),
        ])
    );
}

#[test]
fn what_only_a_person_may_change_is_an_error() {
    let cases: [(&str, Change); 9] = [
        ("is a real directory with 3 entries", |world| world.put_link("backup", "tasks", LinkView::Directory { entries: 3 })),
        ("is a regular file", |world| world.put_link("backup", "tasks", LinkView::File)),
        ("is neither link, file nor directory", |world| world.put_link("backup", "tasks", LinkView::Other)),
        ("that we did not make", |world| {
            world.memory.links.clear();
            world.put_link("backup", "tasks", LinkView::Link { target: "/elsewhere".into(), target_ok: true });
        }),
        ("cannot be looked at: it did not answer", |world| {
            drop(world.seen.links.insert((account("backup"), link("tasks")), unseen()));
        }),
        ("has not been looked at", |world| drop(world.seen.links.remove(&(account("backup"), link("tasks"))))),
        ("/shared/tasks is not what the link tasks needs", |world| {
            world.seen.targets.insert(link("tasks"), Seen::known(TargetView::File, at(0)));
        }),
        ("/shared/history.jsonl is not what", |world| {
            world.seen.targets.insert(link("history.jsonl"), Seen::known(TargetView::Other, at(0)));
        }),
        ("/shared/tasks, which the link tasks needs, cannot be looked at", |world| {
            world.seen.targets.insert(link("tasks"), unseen());
        }),
    ];
    for (words, change) in cases {
        let mut world = World::converged(1);
        change(&mut world);
        let error = ensured(&world).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_active_link_is_led_to_the_account_unless_it_is_somebody_elses() {
    let lead = |view: Option<LinkView>| {
        let mut world = World::converged(1);
        world.seen.active_link = view.map_or_else(unseen, |view| Seen::known(view, at(0)));
        ensure_active_link(&world.spec, &world.seen, &world.spec.accounts[1])
    };
    let to = |target: &str| Some(LinkView::Link { target: target.into(), target_ok: true });
    assert_eq!(lead(to("/accounts/backup")), Ok(None));
    let flip = Effect::RepointLink { path: ACTIVE_LINK.into(), expect: home("primary"), target: home("backup") };
    assert_eq!(lead(to("/accounts/primary")), Ok(Some(flip)));
    let create = Effect::CreateLink { path: ACTIVE_LINK.into(), target: home("backup") };
    assert_eq!(lead(Some(LinkView::Absent)), Ok(Some(create)));
    for wrong in [to("/elsewhere"), Some(LinkView::Directory { entries: 1 }), Some(LinkView::File), Some(LinkView::Other), None] {
        assert!(lead(wrong.clone()).is_err(), "{wrong:?}");
    }
    let mut world = World::converged(1);
    world.spec.active_link = None;
    world.seen.active_link = unseen();
    assert_eq!(ensure_active_link(&world.spec, &world.seen, &world.spec.accounts[1]), Ok(None));
}
