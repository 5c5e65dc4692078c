//! Homes: what is prepared, what is refused, and what waits.

use super::{
    world::{at, unseen},
    *,
};
use crate::{
    observed::{LoginView, Seen},
    spec::PermissionMode,
};

/// The agents have ended, so that no home is in use.
fn quiet(world: &mut World) {
    for name in ["s-0", "s-1"] {
        world.end_agent(name);
    }
}

const RESUMED: [&str; 2] = ["Restart session/s-0: resume on primary", "Restart session/s-1: resume on primary"];

#[test]
fn each_home_is_there_safe_and_its_own() {
    check(&[
        ("not looked at", |world| drop(world.seen.homes.remove(&account("backup"))), &["warns account/backup HomeUnknown"]),
        ("cannot be looked at", |world| drop(world.seen.homes.insert(account("backup"), unseen())), &["warns account/backup HomeUnknown"]),
        ("absent", |world| world.home("backup").exists = false, &["warns account/backup HomeMissing"]),
        (
            "others may write there",
            |world| world.home("backup").unsafe_mode = Some("others may write to it".to_owned()),
            &["warns account/backup HomeUnsafe"],
        ),
        ("shared by two accounts", |world| world.home("backup").identity = Some((1, 1_000)), &["warns account/backup HomeShared"]),
        ("nobody is logged in", |world| world.home("backup").login = LoginView::Missing, &["warns account/backup LoginMissing"]),
        ("its identity is not known", |world| world.home("backup").identity = None, &[]),
    ]);
}

#[test]
fn a_session_does_not_start_in_a_home_that_is_not_fit() {
    check(&[
        (
            "absent",
            |world| {
                world.end_agent("s-0");
                world.home("primary").exists = false;
            },
            &["waits session/s-0 AccountUnfit", "warns account/primary HomeMissing"],
        ),
        (
            "shared: the account that comes later is the one that is not fit",
            |world| {
                world.end_agent("s-0");
                world.home("primary").identity = Some((1, 1_001));
            },
            &["Restart session/s-0: resume on primary", "warns account/backup HomeShared"],
        ),
    ]);
}

#[test]
fn keys_are_set_only_while_no_agent_runs_in_the_home() {
    let prepare = |what: &str| format!("Repair account/primary: set {what}");
    let cases: [(&str, Change, &str); 4] = [
        ("onboarding", |world| world.home("primary").onboarded = false, "onboarding"),
        ("trust", |world| world.home("primary").trusted.clear(), "trust in /work"),
        (
            "the notice of the bypass mode",
            |world| {
                world.spec.agent.permission_mode = PermissionMode::BypassPermissions;
                world.home("backup").bypass_accepted = true;
            },
            "the bypass-permissions notice",
        ),
        (
            "all of it",
            |world| {
                world.spec.agent.permission_mode = PermissionMode::BypassPermissions;
                world.home("backup").bypass_accepted = true;
                world.home("primary").onboarded = false;
                world.home("primary").trusted.clear();
            },
            "onboarding, trust in /work, the bypass-permissions notice",
        ),
    ];
    for (name, change, what) in cases {
        let mut world = World::converged(2);
        change(&mut world);
        assert!(world.told().contains(&"waits account/primary HomeInUse".to_owned()), "{name}: {:?}", world.told());
        quiet(&mut world);
        let told = world.told();
        assert_eq!(told[0], prepare(what), "{name}");
        assert_eq!(told[1..], RESUMED, "{name}");
        assert_eq!(world.lint(&world.plan().plan), [] as [&str; 0], "{name}");
    }
}

#[test]
fn trust_is_not_set_when_it_is_not_wanted() {
    let mut world = World::converged(2);
    world.spec.agent.trust_workdirs = false;
    world.home("primary").trusted.clear();
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn what_is_not_known_of_an_agent_counts_as_an_agent_in_the_home() {
    let changes: [(&str, Change); 7] = [
        ("tmux is unknown", |world| world.seen.tmux = unseen()),
        ("tmux was seen too long ago", |world| world.seen.tmux = Seen::known(world.tmux().clone(), at(-181))),
        ("an agent is unknown", |world| drop(world.seen.agents.insert(session("s-0"), unseen()))),
        ("an agent was seen too long ago", |world| {
            let agent = world.agent("s-0").clone();
            world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
        }),
        ("a pane was not looked into", |world| drop(world.seen.agents.remove(&session("s-0")))),
        ("a recorded process was not looked at", |world| {
            world.tmux().panes.remove("s-0");
            world.record("s-0").process = Some(crate::model::ProcessId { pid: crate::model::Pid(9), started: 1 });
            world.seen.agents.remove(&session("s-0"));
        }),
        ("a process whose home is not known", |world| {
            let process = crate::model::ProcessId { pid: crate::model::Pid(9), started: 1 };
            let agent = world.agent("s-0");
            (agent.process, agent.home) = (Some(process), None);
        }),
    ];
    for (name, change) in changes {
        let mut world = World::converged(2);
        quiet(&mut world);
        world.home("primary").onboarded = false;
        change(&mut world);
        let told = world.told();
        assert!(told.contains(&"waits account/primary HomeInUse".to_owned()), "{name}: {told:?}");
        assert!(!told.iter().any(|line| line.starts_with("Repair account")), "{name}: {told:?}");
    }
}

#[test]
fn an_agent_of_another_home_does_not_keep_a_home_from_being_prepared() {
    let mut world = World::converged(2);
    world.home("backup").onboarded = false;
    assert_eq!(world.told(), ["Repair account/backup: set onboarding"]);
    let pane = world.pane("s-0").clone();
    world.tmux().panes.insert("not a session's name".to_owned(), pane);
    assert_eq!(world.told(), ["Repair account/backup: set onboarding"]);
}
