//! The shared root, the links into it, and the active account with its link.

use super::{
    world::{ACTIVE_LINK, OTHER_POOL, at, unseen},
    *,
};
use crate::{
    model::ObjectRef,
    observed::{LinkView, LoginView, RootView, Seen, TargetView},
    spec::AdoptMode,
};

fn root(world: &mut World, view: RootView) {
    world.seen.shared_root = Seen::known(view, at(0));
}

fn target(world: &mut World, name: &str, view: TargetView) {
    world.seen.targets.insert(link(name), Seen::known(view, at(0)));
}

fn elsewhere() -> LinkView {
    LinkView::Link { target: "/elsewhere".into(), target_ok: true }
}

fn active_link(world: &mut World, view: LinkView) {
    world.seen.active_link = Seen::known(view, at(0));
}

#[test]
fn a_root_that_was_ours_and_is_not_any_more_is_not_made_anew() {
    for (name, view) in [("absent", RootView::Absent), ("empty", RootView::Empty), ("unmarked", RootView::Unmarked)] {
        let mut world = World::converged(2);
        world.end_agent("s-0");
        root(&mut world, view);
        assert_eq!(world.told(), ["waits session/s-0 AccountUnfit", "warns shared-root RootLost"], "{name}");
    }
    check(&[
        ("unknown", |world| world.seen.shared_root = unseen(), &["warns shared-root RootUnknown"]),
        ("of another pool", |world| root(world, RootView::Marked(OTHER_POOL)), &["warns shared-root RootForeign"]),
    ]);
}

#[test]
fn a_root_is_made_where_nothing_or_an_empty_directory_stands() {
    for (view, makes) in [(RootView::Absent, true), (RootView::Empty, true), (RootView::Unmarked, false)] {
        let mut world = World::bare(1);
        root(&mut world, view.clone());
        let told = world.told();
        assert_eq!(told.contains(&"Create shared-root: /shared".to_owned()), makes, "{view:?}");
        assert_eq!(told.contains(&"warns shared-root RootUnmarked".to_owned()), !makes, "{view:?}");
    }
}

#[test]
fn everything_is_made_from_nothing_in_the_order_of_the_phases() {
    let world = World::bare(1);
    assert_eq!(
        world.told(),
        [
            "Create shared-root: /shared",
            "Create shared-root: projects",
            "Create shared-root: tasks",
            "Create shared-root: history.jsonl",
            "Repair account/primary: set onboarding, trust in /work",
            "Repair account/backup: set onboarding, trust in /work",
            "Create link/primary/projects: -> /shared/projects",
            "Create link/primary/tasks: -> /shared/tasks",
            "Create link/primary/history.jsonl: -> /shared/history.jsonl",
            "Create link/backup/projects: -> /shared/projects",
            "Create link/backup/tasks: -> /shared/tasks",
            "Create link/backup/history.jsonl: -> /shared/history.jsonl",
            "Create account/primary: make it the active account",
            "Create active-link: -> /accounts/primary",
            "Create server: start",
            "Create session/s-0: start on primary",
        ]
    );
    assert_eq!(world.lint(&world.plan().plan), [] as [&str; 0]);
}

#[test]
fn targets_are_made_and_never_replaced() {
    check(&[
        ("absent", |world| target(world, "tasks", TargetView::Absent), &["Create shared-root: tasks"]),
        ("a file where a directory must be", |world| target(world, "tasks", TargetView::File), &["warns shared-root TargetConflicted"]),
        (
            "a directory where a file must be",
            |world| target(world, "history.jsonl", TargetView::Directory),
            &["warns shared-root TargetConflicted"],
        ),
        ("a socket", |world| target(world, "tasks", TargetView::Other), &["warns shared-root TargetConflicted"]),
        ("unknown", |world| drop(world.seen.targets.insert(link("tasks"), unseen())), &[]),
    ]);
}

#[test]
fn links_of_ours_are_put_right_and_others_are_left_alone() {
    check(&[
        (
            "removed",
            |world| world.put_link("backup", "tasks", LinkView::Absent),
            &["Create link/backup/tasks: -> /shared/tasks", "drift link/backup/tasks"],
        ),
        (
            "pointed elsewhere",
            |world| world.put_link("backup", "tasks", elsewhere()),
            &["Repair link/backup/tasks: -> /shared/tasks", "drift link/backup/tasks"],
        ),
        (
            "pointed elsewhere, not ours",
            |world| {
                world.memory.links.remove(&home("backup").join("tasks"));
                world.put_link("backup", "tasks", elsewhere());
            },
            &["warns link/backup/tasks Conflicted"],
        ),
        (
            "declared and absent",
            |world| {
                world.memory.links.remove(&home("backup").join("tasks"));
                world.put_link("backup", "tasks", LinkView::Absent);
            },
            &["Create link/backup/tasks: -> /shared/tasks"],
        ),
        (
            "a directory, never adopted",
            |world| world.put_link("backup", "tasks", LinkView::Directory { entries: 3 }),
            &["warns link/backup/tasks Conflicted"],
        ),
        ("a file", |world| world.put_link("backup", "tasks", LinkView::File), &["warns link/backup/tasks Conflicted"]),
        ("a socket", |world| world.put_link("backup", "tasks", LinkView::Other), &["warns link/backup/tasks Conflicted"]),
        (
            "cannot be looked at",
            |world| drop(world.seen.links.insert((account("backup"), link("tasks")), unseen())),
            &["warns account/backup LinkUnknown"],
        ),
        (
            "not looked at",
            |world| drop(world.seen.links.remove(&(account("backup"), link("tasks")))),
            &["warns account/backup LinkUnknown"],
        ),
        (
            "right, and its target is missing",
            |world| {
                target(world, "tasks", TargetView::Absent);
                world.put_link("backup", "tasks", LinkView::Link { target: "/shared/tasks".into(), target_ok: false });
            },
            &["Create shared-root: tasks"],
        ),
        (
            "right, and nobody knows what it leads to",
            |world| {
                world.seen.targets.insert(link("tasks"), unseen());
                world.put_link("backup", "tasks", LinkView::Link { target: "/shared/tasks".into(), target_ok: false });
            },
            &["warns account/backup TargetUnknown"],
        ),
    ]);
}

#[test]
fn a_directory_is_merged_when_that_is_asked_for_and_nobody_works_in_the_home() {
    fn merge(world: &mut World) {
        world.spec.shared.adopt = AdoptMode::Merge;
    }
    check(&[
        (
            "quiet home",
            |world| {
                merge(world);
                world.put_link("backup", "tasks", LinkView::Directory { entries: 3 });
            },
            &["Adopt link/backup/tasks: merge 3 entries into /shared/tasks, then link"],
        ),
        (
            "home in use: what would start there waits too",
            |world| {
                merge(world);
                world.put_link("primary", "tasks", LinkView::Directory { entries: 3 });
                world.end_agent("s-0");
            },
            &["waits link/primary/tasks HomeInUse", "waits session/s-0 AccountUnfit"],
        ),
        (
            "a directory where a file link must be",
            |world| {
                merge(world);
                world.put_link("backup", "history.jsonl", LinkView::Directory { entries: 0 });
            },
            &["warns link/backup/history.jsonl Conflicted"],
        ),
    ]);
}

#[test]
fn the_active_link_follows_the_active_account() {
    check(&[
        ("right", |_| {}, &[]),
        ("none declared", |world| world.spec.active_link = None, &[]),
        ("absent", |world| active_link(world, LinkView::Absent), &["Create active-link: -> /accounts/primary"]),
        (
            "at another account",
            |world| {
                world.memory.links.remove(std::path::Path::new(ACTIVE_LINK));
                active_link(world, LinkView::Link { target: home("backup"), target_ok: true });
            },
            &["Repair active-link: -> /accounts/primary", "drift active-link"],
        ),
        ("elsewhere, ours", |world| active_link(world, elsewhere()), &["Repair active-link: -> /accounts/primary", "drift active-link"]),
        (
            "elsewhere, not ours",
            |world| {
                world.memory.links.remove(std::path::Path::new(ACTIVE_LINK));
                active_link(world, elsewhere());
            },
            &["warns active-link Conflicted"],
        ),
        ("a directory", |world| active_link(world, LinkView::Directory { entries: 9 }), &["warns active-link Conflicted"]),
        ("a file", |world| active_link(world, LinkView::File), &["warns active-link Conflicted"]),
        ("unknown", |world| world.seen.active_link = unseen(), &["warns active-link LinkUnknown"]),
        (
            "left to the open swap",
            |world| {
                active_link(world, LinkView::Absent);
                world.open_swap(&["s-0", "s-1"]);
            },
            &[],
        ),
        (
            "left alone while the account is not fit",
            |world| {
                active_link(world, LinkView::Absent);
                world.put_link("primary", "tasks", LinkView::File);
            },
            &["warns link/primary/tasks Conflicted"],
        ),
    ]);
}

#[test]
fn the_first_account_is_one_that_is_fit_in_use_and_logged_in() {
    let chosen = |change: fn(&mut World)| {
        let mut world = World::bare(1);
        change(&mut world);
        world.told().into_iter().find(|line| line.ends_with("make it the active account"))
    };
    let make = |name: &str| Some(format!("Create account/{name}: make it the active account"));
    let cordon = || Cordon { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall };
    assert_eq!(chosen(|_| {}), make("primary"));
    assert_eq!(chosen(|world| world.home("primary").exists = false), make("backup"));
    assert_eq!(chosen(|world| world.home("primary").login = LoginView::Missing), make("backup"));
    assert_eq!(chosen(|world| world.home("primary").login = LoginView::Dead { reason: "revoked".to_owned() }), make("backup"));
    assert_eq!(chosen(|world| world.home("primary").login = LoginView::Unknown), make("primary"));
    let mut world = World::bare(1);
    world.memory.cordoned.insert(ObjectRef::Account(account("primary")), cordon());
    assert!(world.told().contains(&make("backup").expect("some")));
    world.home("backup").login = LoginView::Missing;
    let told = world.told();
    assert!(!told.iter().any(|line| line.ends_with("make it the active account")), "a login can be made; a cordon was meant: {told:?}");
    world.home("backup").exists = false;
    assert!(world.told().contains(&make("primary").expect("some")), "better than none");
}

#[test]
fn an_active_account_that_is_not_declared_any_more_is_replaced() {
    let mut world = World::converged(1);
    world.spec.accounts.remove(0);
    assert_eq!(
        world.told(),
        [
            "Create account/backup: make it the active account",
            "Repair active-link: -> /accounts/backup",
            "Restart session/s-0: stop, then start again with its conversation",
            "drift active-link",
            "drift session/s-0",
        ]
    );
    assert_eq!(world.lint(&world.plan().plan), [] as [&str; 0]);
    world.open_swap(&["s-0"]);
    assert_eq!(world.told(), [""; 0], "the swap decides");
}

#[test]
fn without_a_fit_account_nothing_starts_and_each_session_says_why() {
    let mut world = World::bare(2);
    for name in ["primary", "backup"] {
        world.home(name).exists = false;
    }
    let told = world.told();
    for wanted in ["waits session/s-0 NoAccount", "waits session/s-1 NoAccount", "warns pool NoAccount"] {
        assert!(told.contains(&wanted.to_owned()), "{told:?}");
    }
    assert!(!told.iter().any(|line| line.starts_with("Create session") || line.starts_with("Create server")), "{told:?}");
    let mut world = World::converged(1);
    world.memory.active = None;
    for name in ["primary", "backup"] {
        world.home(name).exists = false;
    }
    assert!(!world.told().iter().any(|line| line.starts_with("waits session")), "what runs, runs on: {:?}", world.told());
}
