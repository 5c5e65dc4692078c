//! Sessions: what is started, restarted, stopped and left alone.

use super::{
    world::{OTHER_POOL, at, object, unseen},
    *,
};
use crate::{
    model::{Activity, Pid, ProcessId, StartDigest},
    observed::{Death, LoginView, Seen},
    spec::Restart,
};

const OTHER: ProcessId = ProcessId { pid: Pid(77), started: 1 };

fn cordon(world: &mut World, name: &str) {
    let cordon = Cordon { reason: "look at it".to_owned(), actor: "ops".to_owned(), since: at(-60).wall };
    world.memory.cordoned.insert(object(name), cordon);
}

fn quarantine(world: &mut World, name: &str) {
    world.memory.attempts.insert(object(name), Attempts { quarantined: true, ..Attempts::default() });
}

fn died(world: &mut World, name: &str, code: Option<i32>) {
    world.end_agent(name);
    world.agent(name).death = Some(Death { code, signal: None });
}

fn other_digest(world: &mut World, name: &str) {
    world.pane(name).mark.as_mut().expect("marked").digest = StartDigest("000000000000".to_owned());
}

#[test]
fn nothing_is_touched_on_facts_that_are_missing_or_old() {
    check(&[
        ("tmux is unknown", |world| world.seen.tmux = unseen(), &["warns server ServerUnknown"]),
        (
            "tmux was seen too long ago",
            |world| {
                world.close("s-0");
                world.seen.tmux = Seen::known(world.tmux().clone(), at(-181));
            },
            &["warns server ServerStale"],
        ),
        (
            "tmux was seen just in time",
            |world| {
                world.close("s-0");
                world.seen.tmux = Seen::known(world.tmux().clone(), at(-180));
            },
            &["Create session/s-0: resume on primary", "drift session/s-0"],
        ),
        ("its agent is unknown", |world| drop(world.seen.agents.insert(session("s-0"), unseen())), &["waits session/s-0 AgentUnknown"]),
        ("its agent was not looked at", |world| drop(world.seen.agents.remove(&session("s-0"))), &["waits session/s-0 AgentUnknown"]),
        (
            "its agent ended, as was seen too long ago",
            |world| {
                world.end_agent("s-0");
                let agent = world.agent("s-0").clone();
                world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
            },
            &["waits session/s-0 AgentUnknown"],
        ),
        (
            "it was idle, as was seen too long ago",
            |world| {
                other_digest(world, "s-0");
                let agent = world.agent("s-0").clone();
                world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
            },
            &["waits session/s-0 AgentUnknown"],
        ),
        (
            "its transcript is unknown",
            |world| {
                world.end_agent("s-0");
                world.seen.transcripts.insert(session("s-0"), unseen());
            },
            &["waits session/s-0 TranscriptUnknown"],
        ),
        (
            "its transcript was not looked at",
            |world| {
                world.end_agent("s-0");
                world.seen.transcripts.clear();
            },
            &["waits session/s-0 TranscriptUnknown"],
        ),
        (
            "its transcript was seen too long ago",
            |world| {
                world.end_agent("s-0");
                let view = world.seen.transcripts[&session("s-0")].value().expect("known").clone();
                world.seen.transcripts.insert(session("s-0"), Seen::known(view, at(-181)));
            },
            &["waits session/s-0 TranscriptUnknown"],
        ),
    ]);
}

#[test]
fn a_session_that_is_gone_comes_back_with_its_conversation() {
    check(&[
        ("with a transcript", |world| world.close("s-0"), &["Create session/s-0: resume on primary", "drift session/s-0"]),
        (
            "nothing was ever said in it",
            |world| {
                world.close("s-0");
                world.put_transcript("s-0", false);
            },
            &["Create session/s-0: start on primary", "drift session/s-0"],
        ),
        (
            "never started",
            |world| {
                world.close("s-0");
                world.memory.sessions.remove(&session("s-0"));
            },
            &["Create session/s-0: start on primary"],
        ),
        (
            "the server is gone with all",
            |world| {
                world.close("s-0");
                world.close("s-1");
                world.tmux().server = None;
            },
            &[
                "Create server: start",
                "Create session/s-0: resume on primary",
                "Create session/s-1: resume on primary",
                "drift session/s-0",
                "drift session/s-1",
            ],
        ),
    ]);
    let mut world = World::converged(1);
    world.close("s-0");
    let planned = world.plan();
    let Some(Effect::CreateSession { launch, mark }) = planned.plan.actions[0].1.effect.clone() else { panic!("{planned:?}") };
    assert_eq!((launch.conversation, launch.mode), (World::conversation("s-0"), LaunchMode::Resume));
    assert_eq!((mark.session, mark.digest), (session("s-0"), world.digest()));
    assert_eq!(launch.needs, link_needs(&world.spec, &world.spec.accounts[0]));
}

#[test]
fn an_agent_that_ended_is_started_again_as_its_policy_says() {
    check(&[
        ("always", |world| died(world, "s-0", Some(0)), &["Restart session/s-0: resume on primary"]),
        (
            "never",
            |world| {
                died(world, "s-0", Some(3));
                world.declared("s-0").restart = Restart::Never;
            },
            &["waits session/s-0 EndedByPolicy"],
        ),
        (
            "never, and we stopped it",
            |world| {
                died(world, "s-0", Some(143));
                world.declared("s-0").restart = Restart::Never;
                world.record("s-0").stopped = true;
            },
            &["Restart session/s-0: resume on primary"],
        ),
        (
            "on failure, without one",
            |world| {
                died(world, "s-0", Some(0));
                world.declared("s-0").restart = Restart::OnFailure;
            },
            &["waits session/s-0 EndedByPolicy"],
        ),
        (
            "on failure, with one",
            |world| {
                died(world, "s-0", Some(3));
                world.declared("s-0").restart = Restart::OnFailure;
            },
            &["Restart session/s-0: resume on primary"],
        ),
        (
            "on failure, and nobody knows how it ended",
            |world| {
                died(world, "s-0", None);
                world.declared("s-0").restart = Restart::OnFailure;
            },
            &["Restart session/s-0: resume on primary"],
        ),
        (
            "tmux knows how it ended",
            |world| {
                world.end_agent("s-0");
                world.pane("s-0").dead = Some(Death { code: Some(0), signal: None });
                world.declared("s-0").restart = Restart::OnFailure;
            },
            &["waits session/s-0 EndedByPolicy"],
        ),
        (
            "never, and we stopped it for its new settings",
            |world| {
                died(world, "s-0", Some(143));
                other_digest(world, "s-0");
                world.declared("s-0").restart = Restart::Never;
            },
            &["Restart session/s-0: resume on primary"],
        ),
        (
            "never, and we stopped it because it ran under another account",
            |world| {
                died(world, "s-0", Some(143));
                world.record("s-0").account = account("backup");
                world.declared("s-0").restart = Restart::Never;
            },
            &["Restart session/s-0: resume on primary"],
        ),
    ]);
}

#[test]
fn what_may_not_be_started_waits_and_is_not_stopped_either() {
    fn unfit(world: &mut World) {
        world.home("primary").unsafe_mode = Some("group-writable".to_owned());
    }
    check(&[
        (
            "cordoned, ended",
            |world| {
                world.end_agent("s-0");
                cordon(world, "s-0");
            },
            &["waits session/s-0 Cordoned"],
        ),
        (
            "cordoned, other settings",
            |world| {
                other_digest(world, "s-0");
                cordon(world, "s-0");
            },
            &["waits session/s-0 Cordoned"],
        ),
        ("cordoned, running", |world| cordon(world, "s-0"), &[]),
        (
            "quarantined, gone",
            |world| {
                world.close("s-0");
                quarantine(world, "s-0");
            },
            &["waits session/s-0 Quarantined"],
        ),
        (
            "quarantined, other settings",
            |world| {
                other_digest(world, "s-0");
                quarantine(world, "s-0");
            },
            &["waits session/s-0 Quarantined"],
        ),
        (
            "account not fit, other settings",
            |world| {
                other_digest(world, "s-0");
                unfit(world);
            },
            &["waits session/s-0 AccountUnfit", "warns account/primary HomeUnsafe"],
        ),
    ]);
}

#[test]
fn a_running_agent_with_other_settings_or_another_account_is_restarted_once_it_is_quiet() {
    const RESTART: &str = "Restart session/s-0: stop, then start again with its conversation";
    for (activity, stops) in [
        (Activity::Idle, true),
        (Activity::LimitHit, true),
        (Activity::LoggedOut, true),
        (Activity::Exited, true),
        (Activity::Working, false),
        (Activity::NeedsInput, false),
        (Activity::Starting, false),
        (Activity::Unknown, false),
    ] {
        let told = if stops { RESTART } else { "waits session/s-0 WaitsForIdle" };
        let mut world = World::converged(2);
        other_digest(&mut world, "s-0");
        world.agent("s-0").activity = activity;
        assert_eq!(world.told(), [told], "{activity}");
        let mut world = World::converged(2);
        world.agent("s-0").home = Some(home("backup"));
        world.agent("s-0").activity = activity;
        let mut wanted = vec![told, "drift session/s-0"];
        wanted.sort_unstable_by_key(|line| line.starts_with("waits"));
        assert_eq!(world.told(), wanted, "{activity}");
        assert_eq!(world.lint(&world.plan().plan), [] as [&str; 0], "{activity}");
    }
    let mut world = World::converged(1);
    world.agent("s-0").home = None;
    assert_eq!(world.told(), [""; 0], "a home that is not known is no wrong one");
}

#[test]
fn an_agent_whose_pane_is_gone_is_ended_before_another_is_started() {
    check(&[
        (
            "it lives on",
            |world| {
                world.tmux().panes.remove("s-0");
            },
            &["Stop session/s-0: stop process 1000"],
        ),
        (
            "it lives on and works",
            |world| {
                world.tmux().panes.remove("s-0");
                world.agent("s-0").activity = Activity::Working;
            },
            &["Stop session/s-0: stop process 1000"],
        ),
        (
            "nobody knows",
            |world| {
                world.tmux().panes.remove("s-0");
                world.seen.agents.insert(session("s-0"), unseen());
            },
            &["waits session/s-0 AgentUnknown"],
        ),
        (
            "nobody looked",
            |world| {
                world.tmux().panes.remove("s-0");
                world.seen.agents.remove(&session("s-0"));
            },
            &["waits session/s-0 AgentUnknown"],
        ),
        (
            "a process that we never recorded",
            |world| {
                world.tmux().panes.remove("s-0");
                world.agent("s-0").process = Some(OTHER);
                world.memory.sessions.remove(&session("s-0"));
            },
            &["waits session/s-0 AgentUnknown"],
        ),
        (
            "just started, its process not recorded yet",
            |world| {
                world.tmux().panes.remove("s-0");
                world.record("s-0").process = None;
            },
            &["Stop session/s-0: stop process 1000"],
        ),
    ]);
}

#[test]
fn what_is_not_ours_is_left_alone_until_it_is_to_be_adopted() {
    check(&[
        ("no mark", |world| world.pane("s-0").mark = None, &["warns session/s-0 Conflicted"]),
        (
            "no mark, to be adopted",
            |world| {
                world.pane("s-0").mark = None;
                world.declared("s-0").adopt = true;
            },
            &["Adopt session/s-0: adopt"],
        ),
        (
            "no mark, to be adopted, while a swap is open",
            |world| {
                world.pane("s-0").mark = None;
                world.declared("s-0").adopt = true;
                world.open_swap(&["s-1"]);
            },
            &["waits session/s-0 SwapOpen"],
        ),
        (
            "the mark of another pool",
            |world| {
                world.pane("s-0").mark.as_mut().expect("marked").pool = OTHER_POOL;
                world.declared("s-0").adopt = true;
            },
            &["warns session/s-0 Conflicted"],
        ),
        (
            "the mark of another session",
            |world| world.pane("s-0").mark.as_mut().expect("marked").session = session("s-1"),
            &["warns session/s-0 Conflicted"],
        ),
    ]);
}

#[test]
fn nothing_is_started_under_an_account_that_nobody_is_logged_in_at() {
    let mut world = World::converged(2);
    world.end_agent("s-0");
    world.home("primary").login = LoginView::Missing;
    assert_eq!(world.told(), ["waits session/s-0 LoginMissing", "warns account/primary LoginMissing"]);
    let mut world = World::bare(1);
    world.home("primary").login = LoginView::Missing;
    assert!(world.told().contains(&"Create account/backup: make it the active account".to_owned()), "{:?}", world.told());
    world.home("backup").login = LoginView::Missing;
    let told = world.told();
    assert!(told.contains(&"warns pool NoAccount".to_owned()) && told.contains(&"waits session/s-0 NoAccount".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("make it the active account")), "{told:?}");
}

#[test]
fn deaths_are_told_as_far_as_they_are_known() {
    let told = |code, signal| death_words(Death { code, signal });
    assert_eq!(told(Some(3), None), "exit code 3");
    assert_eq!(told(None, Some(9)), "signal 9");
    assert_eq!(told(Some(137), Some(9)), "signal 9");
    assert_eq!(told(None, None), "exit status not known");
}
