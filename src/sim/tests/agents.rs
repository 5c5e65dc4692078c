//! How agents behave, and what their logins have left.

use super::*;
use crate::{
    host::Wake,
    model::{Activity, PollOutcome, ReadingSource, WindowKind},
    observed::{Death, LoginView},
    plan::SessionRecord,
};

fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

fn started(ground: &mut Ground, name: &str) {
    let create = ground.create(name, "primary");
    ground.done(&create);
    ground.advance(5);
}

#[test]
fn an_agent_starts_registers_and_reports() {
    let mut ground = Ground::ready(1);
    let create = ground.create("s-0", "primary");
    ground.done(&create);
    let early = ground.agent("s-0");
    assert_eq!((early.activity, early.register, early.started), (Activity::Starting, None, None));
    ground.advance(2);
    let agent = ground.agent("s-0");
    let conversation = POOL.conversation(&session("s-0"), 1);
    assert_eq!(agent.activity, Activity::Idle);
    assert_eq!(agent.home.as_deref(), Some(Path::new("/accounts/primary")));
    assert_eq!(agent.register.expect("registered").conversation, conversation);
    assert_eq!(agent.started.expect("reported").source, "startup");
}

#[test]
fn an_unprepared_home_holds_its_agent_up_until_a_person_answers() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().home_mut(Path::new("/accounts/primary")).expect("a home").trusted.clear();
    started(&mut ground, "s-0");
    ground.advance(60);
    let agent = ground.agent("s-0");
    assert_eq!((agent.activity, agent.register), (Activity::NeedsInput, None));
    ground.world.borrow_mut().person().answer("s-0");
    ground.advance(1);
    assert_eq!(ground.agent("s-0").activity, Activity::Idle);
}

#[test]
fn a_turn_is_in_the_transcript_that_the_homes_share() {
    let mut ground = Ground::ready(1);
    started(&mut ground, "s-0");
    assert_eq!(ground.read(&transcript("s-0")), None, "nothing was said yet");
    ground.world.borrow_mut().person().prompt("s-0", Duration::from_mins(1));
    assert_eq!(ground.agent("s-0").activity, Activity::Working);
    ground.advance(60);
    assert_eq!(ground.agent("s-0").activity, Activity::Idle);
    assert_eq!(ground.read(&transcript("s-0")).as_deref(), Some("user 1\nassistant\n"));
}

#[test]
fn an_interrupted_turn_goes_on_under_another_account() {
    let mut ground = Ground::ready(1);
    started(&mut ground, "s-0");
    ground.world.borrow_mut().person().prompt("s-0", Duration::from_mins(10));
    ground.advance(60);
    let stop = ground.stop("s-0");
    ground.done(&stop);
    assert_eq!(ground.pane("s-0").dead, Some(Death { code: Some(143), signal: None }));
    let respawn = ground.respawn("s-0", "backup");
    ground.done(&respawn);
    ground.advance(5);
    let agent = ground.agent("s-0");
    assert_eq!((agent.activity, agent.home.as_deref()), (Activity::Working, Some(Path::new("/accounts/backup"))));
    ground.advance(600);
    assert_eq!(ground.agent("s-0").activity, Activity::Idle);
    assert_eq!(ground.read(&transcript("s-0")).as_deref(), Some("user 1\ninterrupted\nassistant\n"));
    assert_eq!(ground.world.borrow().violations(), []);
}

#[test]
fn a_conversation_that_is_not_found_or_in_use_ends_its_agent() {
    let mut ground = Ground::ready(2);
    ground.with_transcript("s-0", "primary");
    let stop = ground.stop("s-0");
    ground.done(&stop);
    let mut respawn = ground.respawn("s-0", "primary");
    if let Effect::RespawnAgent { launch, .. } = &mut respawn {
        launch.mode = LaunchMode::Fresh;
    }
    ground.done(&respawn);
    let launch = ground.launch("s-1", "primary", LaunchMode::Resume);
    ground.done(&Effect::CreateSession { launch, mark: mark("s-1") });
    ground.advance(5);
    for name in ["s-0", "s-1"] {
        assert_eq!(ground.agent(name).death, Some(Death { code: Some(1), signal: None }), "{name}");
    }
}

#[test]
fn a_stubborn_agent_is_killed_after_the_grace() {
    let mut ground = Ground::ready(1);
    ground
        .world
        .borrow_mut()
        .set_manner(Who { session: Some(session("s-0")), account: None }, Manner { ignores_terminate: true, ..Manner::default() });
    started(&mut ground, "s-0");
    let stop = ground.stop("s-0");
    let before = ground.host.now();
    ground.done(&stop);
    assert_eq!(ground.host.now().since(before), Duration::from_secs(10));
    assert_eq!(ground.agent("s-0").death, Some(Death { code: None, signal: Some(9) }));
}

#[test]
fn agents_are_stopped_side_by_side() {
    let mut ground = Ground::ready(3);
    let names = ["s-0", "s-1", "s-2"];
    for name in names {
        started(&mut ground, name);
    }
    let stops = names.map(|name| ground.stop(name));
    let before = ground.host.now();
    assert_eq!(finish(ground.host.perform(&stops)), [const { Outcome::Changed }; 3]);
    assert_eq!(ground.host.now().since(before), Duration::from_millis(600));
}

#[test]
fn an_agent_that_outlives_its_pane_is_seen_when_it_is_remembered() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().set_manner(Who::default(), Manner { ignores_hang_up: true, ..Manner::default() });
    started(&mut ground, "s-0");
    let process = ground.process("s-0");
    let record = SessionRecord {
        conversation: POOL.conversation(&session("s-0"), 1),
        incarnation: 1,
        account: account("primary"),
        digest: mark("s-0").digest,
        workdir: "/work".into(),
        process: Some(process),
        started_at: ground.host.now().wall,
        ended: false,
        stopped: false,
        spoken: false,
        asked: None,
    };
    ground.memory.sessions.insert(session("s-0"), record);
    ground.world.borrow_mut().person().kill_server();
    ground.advance(60);
    ground.look();
    assert_eq!(ground.seen.tmux.value().expect("known").server, None);
    assert_eq!(ground.agent("s-0").process, Some(process));
    ground.done(&Effect::StopAgent { session: session("s-0"), process, grace: Duration::from_secs(1) });
    assert_eq!(ground.agent("s-0").process, None);
}

#[test]
fn a_limit_stops_a_turn_and_the_new_window_lets_it_go_on() {
    let mut ground = Ground::ready(1);
    {
        let mut world = ground.world.borrow_mut();
        world.set_used(&account("primary"), &WindowKind::FiveHour, 90.0, hours(2));
        let usage = world.usage_mut(&account("primary")).expect("an account");
        usage.windows.get_mut(&WindowKind::FiveHour).expect("a window").per_agent_hour = 20.0;
    }
    started(&mut ground, "s-0");
    ground.world.borrow_mut().person().prompt("s-0", hours(1));
    ground.world.borrow_mut().advance(Duration::from_mins(29));
    assert_eq!(ground.agent("s-0").activity, Activity::Working);
    ground.world.borrow_mut().advance(Duration::from_mins(2));
    let agent = ground.agent("s-0");
    assert_eq!(agent.activity, Activity::LimitHit);
    assert_eq!(agent.register.expect("registered").status, crate::observed::RegisterStatus::Idle, "the register does not show it");
    let reading = &ground.seen.usage[&account("primary")].windows[&WindowKind::FiveHour];
    assert_eq!((reading.used, reading.source), (Percent::FULL, ReadingSource::LimitRecord));
    let resets_at = reading.resets_at.expect("it says when");
    ground.world.borrow_mut().advance(Duration::from_mins(89));
    assert!(resets_at < ground.host.now().wall);
    assert_eq!(ground.agent("s-0").activity, Activity::Working, "it goes on by itself");
    ground.world.borrow_mut().advance(Duration::from_mins(40));
    assert_eq!(ground.agent("s-0").activity, Activity::Idle);
}

#[test]
fn a_poll_says_what_is_used_or_why_not() {
    let mut ground = Ground::ready(1);
    ground.world.borrow_mut().set_used(&account("backup"), &WindowKind::Weekly, 42.5, hours(30));
    ground.host.start_poll(&account("backup"), QuotaSource::Cli);
    assert!(ground.host.ended_polls().is_empty());
    let deadline = ground.host.now().mono.plus(Duration::from_mins(1));
    while !finish(ground.host.wake(deadline)).contains(&Wake::Readings) {}
    assert_eq!(ground.host.ended_polls(), [(account("backup"), QuotaSource::Cli, PollOutcome::Read)]);
    ground.look();
    let reading = &ground.seen.usage[&account("backup")].windows[&WindowKind::Weekly];
    assert_eq!((reading.used.value(), reading.source), (42.5, ReadingSource::Cli));

    let refused = PollOutcome::RateLimited { retry_after: Some(Duration::from_mins(5)) };
    ground.world.borrow_mut().usage_mut(&account("backup")).expect("an account").poll = refused;
    ground.host.start_poll(&account("backup"), QuotaSource::Cli);
    ground.advance(60);
    assert_eq!(ground.host.ended_polls(), [(account("backup"), QuotaSource::Cli, refused)]);
}

#[test]
fn a_login_that_ends_stops_its_turns() {
    let mut ground = Ground::ready(1);
    started(&mut ground, "s-0");
    ground.world.borrow_mut().person().prompt("s-0", Duration::from_mins(5));
    ground.world.borrow_mut().person().end_login(Path::new("/accounts/primary"), "revoked");
    assert_eq!(ground.agent("s-0").activity, Activity::LoggedOut);
    assert!(matches!(ground.seen.homes[&account("primary")].value().expect("known").login, LoginView::Dead { .. }));
    let stop = ground.stop("s-0");
    ground.done(&stop);
    let respawn = ground.respawn("s-0", "backup");
    ground.done(&respawn);
    ground.advance(5);
    assert_eq!(ground.agent("s-0").activity, Activity::Working, "the turn goes on where it can");
}

#[test]
fn a_wrong_wall_clock_does_not_move_intervals() {
    let ground = Ground::ready(1);
    let before = ground.host.now();
    ground.world.borrow_mut().set_skew(jiff::SignedDuration::from_hours(-20));
    ground.advance(10);
    assert_eq!(ground.host.now().since(before), Duration::from_secs(10));
    assert!(ground.host.now().wall < before.wall);
}

#[test]
fn a_crash_loop_is_a_manner_too() {
    let mut ground = Ground::ready(1);
    let manner = Manner { exits: Some((Duration::from_secs(3), 7)), ..Manner::default() };
    ground.world.borrow_mut().set_manner(Who { session: None, account: Some(account("primary")) }, manner);
    started(&mut ground, "s-0");
    assert_eq!(ground.agent("s-0").death, Some(Death { code: Some(7), signal: None }));
    let mut respawn = ground.respawn("s-0", "backup");
    if let Effect::RespawnAgent { launch, .. } = &mut respawn {
        launch.mode = LaunchMode::Fresh;
    }
    ground.done(&respawn);
    ground.advance(5);
    assert_eq!(ground.agent("s-0").activity, Activity::Idle, "only under that account");
}
