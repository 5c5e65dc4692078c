//! Conditions and rows: each kind with each status, and when it flips.

use std::collections::BTreeMap;

use super::*;
use crate::{
    model::{AccountName, Activity, ConditionKind, ObjectRef, StartDigest, Truth, WindowKind},
    observed::{ActivitySign, ActivitySource, LinkView, LoginView, ScreenView, Seen, Shown},
    plan::{
        Attempts, Cordon, Finding, Latch, Planned, Suspension,
        tests::world::{OTHER_POOL, World, account, at, home, link, object, session, unseen},
    },
    swap::Place,
};

/// A world with what the engine adds to it.
struct Pool {
    world: World,
    findings: Vec<Finding>,
    standing: BTreeMap<AccountName, (bool, String)>,
    quota: BTreeMap<AccountName, (bool, String)>,
    spec_state: SpecState,
    planned: Option<Planned>,
}

impl Pool {
    fn new() -> Self {
        let good = |words: &str| BTreeMap::from(["primary", "backup"].map(|name| (account(name), (true, words.to_owned()))));
        Self {
            world: World::converged(2),
            findings: Vec::new(),
            standing: good("it has room"),
            quota: good(""),
            spec_state: SpecState::default(),
            planned: None,
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let planned = self.planned.clone().unwrap_or_else(|| self.world.plan());
        use_it(&Inputs {
            spec: &self.world.spec,
            seen: &self.world.seen,
            memory: &self.world.memory,
            planned: &planned,
            findings: &self.findings,
            standing: &self.standing,
            quota: &self.quota,
            spec_state: &self.spec_state,
            now: self.world.now,
        })
    }

    fn conditions(&self, previous: &Conditions) -> Conditions {
        self.with(|inputs| conditions(inputs, previous))
    }

    fn status(&self) -> Status {
        self.with(|inputs| status(inputs, &conditions(inputs, &Conditions::new())))
    }
}

fn activity(pool: &mut Pool, activity: Activity) {
    pool.world.agent("s-0").activity = activity;
}

fn shows(pool: &mut Pool, does: Activity, shows: Shown) {
    activity(pool, does);
    pool.world.agent("s-0").screen = Some(ScreenView { shows, lines: Vec::new(), seen_at: at(0).wall, at_rest: true });
}

/// Only its screen says what it does.
fn by_pane(pool: &mut Pool, told: Activity) {
    activity(pool, Activity::Unknown);
    let sign = ActivitySign { source: ActivitySource::Pane, activity: told, says: String::new(), at: None };
    pool.world.agent("s-0").evidence = vec![sign];
}

/// What is changed in a pool where all is well, and what one condition says then.
type Case = (ConditionKind, fn(&mut Pool), Truth, &'static str);

fn check(of: &ObjectRef, cases: &[Case]) {
    for (number, (kind, change, status, reason)) in cases.iter().enumerate() {
        let mut pool = Pool::new();
        change(&mut pool);
        let conditions = pool.conditions(&Conditions::new());
        let found = &conditions[&(of.clone(), *kind)];
        assert_eq!((found.status, found.reason.as_str()), (*status, *reason), "case {number}: {found:?}");
        assert_eq!(found.observed_generation, pool.world.memory.generation);
    }
}

const WELL: fn(&mut Pool) = |_| {};

fn tmux_unknown(pool: &mut Pool) {
    pool.world.seen.tmux = unseen();
}

fn tmux_old(pool: &mut Pool) {
    pool.world.seen.tmux = Seen::known(pool.world.tmux().clone(), at(-181));
}

fn latch() -> Latch {
    Latch {
        reason: "PartialSwap".to_owned(),
        causes: vec!["flip".to_owned(), "unflip".to_owned()],
        evidence: String::new(),
        since: at(0).wall,
    }
}

fn lost(pool: &mut Pool, name: &str) {
    pool.world.open_swap(&["s-0", "s-1"]);
    let swap = pool.world.memory.swap.as_mut().expect("open");
    swap.moves.get_mut(&session(name)).expect("in the swap").place = Place::Lost;
}

#[test]
fn the_pool() {
    use ConditionKind as Kind;
    check(
        &ObjectRef::Pool,
        &[
            (Kind::SpecAccepted, WELL, Truth::True, "Valid"),
            (Kind::SpecAccepted, |pool| pool.spec_state.rejected = Some("line 3".to_owned()), Truth::False, "Invalid"),
            (Kind::Synced, WELL, Truth::True, "InSync"),
            (Kind::Synced, |pool| pool.world.close("s-0"), Truth::False, "ChangesPending"),
            (Kind::Synced, |pool| pool.world.pane("s-0").mark = None, Truth::False, "Conflicted"),
            (Kind::Synced, tmux_unknown, Truth::Unknown, "ServerUnknown"),
            (Kind::Synced, tmux_old, Truth::Unknown, "ServerUnknown"),
            (Kind::Synced, |pool| pool.world.open_swap(&["s-0", "s-1"]), Truth::False, "Swapping"),
            (Kind::Ready, WELL, Truth::True, "AllReady"),
            (Kind::Ready, |pool| pool.world.close("s-0"), Truth::False, "SessionsNotReady"),
            (Kind::Ready, tmux_unknown, Truth::True, "AllReady"),
            (Kind::Ready, |pool| drop(pool.world.seen.agents.insert(session("s-0"), unseen())), Truth::Unknown, "SessionsNotSeen"),
            (
                Kind::Ready,
                |pool| {
                    pool.world.seen.agents.insert(session("s-0"), unseen());
                    pool.world.close("s-1");
                },
                Truth::False,
                "SessionsNotReady",
            ),
            (Kind::Ready, |pool| pool.world.memory.active = None, Truth::False, "NoActiveAccount"),
            (Kind::Ready, |pool| pool.world.memory.exhausted_since = Some(at(-9).wall), Truth::False, "Exhausted"),
            (Kind::Ready, |pool| drop(pool.world.memory.latches.insert(ObjectRef::Pool, latch())), Truth::False, "Latched"),
            (Kind::Progressing, WELL, Truth::False, "Quiet"),
            (Kind::Progressing, |pool| pool.world.open_swap(&["s-0"]), Truth::True, "Swapping"),
            (Kind::Suspended, WELL, Truth::False, "NotSuspended"),
            (Kind::Suspended, |pool| pool.world.memory.suspended = Some(suspension(None)), Truth::True, "OperatorAsked"),
            (Kind::Suspended, |pool| pool.world.memory.suspended = Some(suspension(Some(0))), Truth::False, "NotSuspended"),
            (Kind::PartialSwap, WELL, Truth::False, "NotLatched"),
            (Kind::PartialSwap, |pool| drop(pool.world.memory.latches.insert(ObjectRef::Pool, latch())), Truth::True, "RollbackFailed"),
            (Kind::Exhausted, WELL, Truth::False, "AccountAvailable"),
            (Kind::Exhausted, |pool| pool.world.memory.exhausted_since = Some(at(-9).wall), Truth::True, "NoViableAccount"),
            (Kind::PlanRejected, WELL, Truth::False, "PlanSafe"),
            (
                Kind::PlanRejected,
                |pool| pool.findings = vec![Finding { object: "pool".to_owned(), rule: "a rule" }],
                Truth::True,
                "SafetyRule",
            ),
            (Kind::Degraded, WELL, Truth::False, "NoneDegraded"),
            (Kind::Degraded, |pool| lost(pool, "s-0"), Truth::True, "SessionsDegraded"),
        ],
    );
}

fn suspension(until: Option<i64>) -> Suspension {
    Suspension { reason: "work".to_owned(), actor: "ops".to_owned(), since: at(-60).wall, until: until.map(|until| at(until).wall) }
}

#[test]
fn an_account() {
    use ConditionKind as Kind;
    fn login(pool: &mut Pool, login: LoginView) {
        pool.world.home("backup").login = login;
    }
    check(
        &ObjectRef::Account(account("backup")),
        &[
            (Kind::LoginValid, WELL, Truth::True, "LoggedIn"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Valid { expires_at: Some(at(60).wall) }), Truth::True, "EndsSoon"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Valid { expires_at: Some(at(8 * 86_400).wall) }), Truth::True, "LoggedIn"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Valid { expires_at: Some(at(0).wall) }), Truth::False, "LoginEnded"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Missing), Truth::False, "LoginMissing"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Dead { reason: "revoked".to_owned() }), Truth::False, "LoginDead"),
            (Kind::LoginValid, |pool| login(pool, LoginView::Unknown), Truth::Unknown, "LoginUnknown"),
            (Kind::LoginValid, |pool| drop(pool.world.seen.homes.insert(account("backup"), unseen())), Truth::Unknown, "LoginUnknown"),
            (Kind::QuotaKnown, WELL, Truth::True, "Fresh"),
            (Kind::QuotaKnown, |pool| pool.quota.get_mut(&account("backup")).expect("there").0 = false, Truth::False, "NotFresh"),
            (Kind::QuotaKnown, |pool| pool.quota.clear(), Truth::Unknown, "NoReading"),
            (Kind::Available, WELL, Truth::True, "HasRoom"),
            (Kind::Available, |pool| pool.standing.get_mut(&account("backup")).expect("there").0 = false, Truth::False, "NotViable"),
            (Kind::Available, |pool| pool.standing.clear(), Truth::Unknown, "NotDecided"),
        ],
    );
}

#[test]
fn a_session() {
    use ConditionKind as Kind;
    fn attempts(pool: &mut Pool, attempts: Attempts) {
        pool.world.memory.attempts.insert(object("s-0"), attempts);
    }
    check(
        &object("s-0"),
        &[
            (Kind::Synced, WELL, Truth::True, "InSync"),
            (Kind::Synced, |pool| pool.world.close("s-0"), Truth::False, "ChangePending"),
            (Kind::Synced, |pool| drop(pool.world.seen.agents.insert(session("s-0"), unseen())), Truth::False, "AgentUnknown"),
            (Kind::Synced, tmux_unknown, Truth::Unknown, "ServerUnknown"),
            (Kind::Synced, tmux_old, Truth::Unknown, "ServerUnknown"),
            (Kind::Synced, |pool| pool.world.open_swap(&["s-0", "s-1"]), Truth::False, "Swapping"),
            (Kind::Synced, |pool| pool.world.open_swap(&["s-1"]), Truth::True, "InSync"),
            (Kind::Synced, |pool| lost(pool, "s-0"), Truth::True, "InSync"),
            (Kind::Conflicted, WELL, Truth::False, "NoConflict"),
            (Kind::Conflicted, |pool| pool.world.pane("s-0").mark = None, Truth::True, "NotOurs"),
            (Kind::Ready, WELL, Truth::True, "Running"),
            (Kind::Ready, |pool| activity(pool, Activity::Working), Truth::True, "Running"),
            (Kind::Ready, |pool| activity(pool, Activity::NeedsInput), Truth::False, "NotUsable"),
            (Kind::Ready, |pool| activity(pool, Activity::LimitHit), Truth::False, "NotUsable"),
            (Kind::Ready, |pool| activity(pool, Activity::Unknown), Truth::Unknown, "ActivityUnknown"),
            (Kind::Ready, |pool| pool.world.end_agent("s-0"), Truth::False, "NotRunning"),
            (Kind::Ready, |pool| pool.world.close("s-0"), Truth::False, "NotRunning"),
            (Kind::Ready, |pool| drop(pool.world.seen.agents.insert(session("s-0"), unseen())), Truth::Unknown, "NotSeen"),
            (
                Kind::Ready,
                |pool| {
                    let agent = pool.world.agent("s-0").clone();
                    pool.world.seen.agents.insert(session("s-0"), Seen::known(agent, at(-181)));
                },
                Truth::Unknown,
                "NotSeen",
            ),
            (
                Kind::Ready,
                |pool| {
                    pool.world.close("s-0");
                    tmux_unknown(pool);
                },
                Truth::Unknown,
                "NotSeen",
            ),
            (Kind::Drifted, WELL, Truth::False, "AsStarted"),
            (
                Kind::Drifted,
                |pool| pool.world.pane("s-0").mark.as_mut().expect("marked").digest = StartDigest("0".to_owned()),
                Truth::True,
                "SettingsChanged",
            ),
            (
                Kind::Drifted,
                |pool| {
                    let mark = pool.world.pane("s-0").mark.as_mut().expect("marked");
                    (mark.digest, mark.pool) = (StartDigest("0".to_owned()), OTHER_POOL);
                },
                Truth::False,
                "AsStarted",
            ),
            (Kind::Drifted, |pool| pool.world.agent("s-0").home = Some(home("backup")), Truth::True, "ChangedOutside"),
            (Kind::Drifted, tmux_unknown, Truth::Unknown, "ServerUnknown"),
            (Kind::NeedsInput, WELL, Truth::False, "NothingAsked"),
            (Kind::NeedsInput, |pool| activity(pool, Activity::NeedsInput), Truth::True, "WaitsForPerson"),
            (Kind::NeedsInput, |pool| activity(pool, Activity::Unknown), Truth::Unknown, "ActivityUnknown"),
            (Kind::NeedsInput, |pool| activity(pool, Activity::LimitHit), Truth::False, "NothingAsked"),
            (Kind::NeedsInput, |pool| shows(pool, Activity::LimitHit, Shown::LimitMenu { limit: None }), Truth::True, "LimitMenu"),
            (Kind::NeedsInput, |pool| shows(pool, Activity::NeedsInput, Shown::LimitMenu { limit: None }), Truth::True, "LimitMenu"),
            (Kind::NeedsInput, |pool| shows(pool, Activity::LimitHit, Shown::LimitWait { until: None }), Truth::False, "NothingAsked"),
            (Kind::NeedsInput, |pool| activity(pool, Activity::LoggedOut), Truth::True, "LoginNeeded"),
            (Kind::NeedsInput, |pool| shows(pool, Activity::LoggedOut, Shown::Login), Truth::True, "LoginNeeded"),
            (Kind::NeedsInput, |pool| by_pane(pool, Activity::LoggedOut), Truth::True, "LoginNeeded"),
            (Kind::NeedsInput, |pool| by_pane(pool, Activity::Idle), Truth::Unknown, "ActivityUnknown"),
            (Kind::Ready, |pool| by_pane(pool, Activity::Idle), Truth::Unknown, "ActivityUnknown"),
            (Kind::NeedsInput, |pool| pool.world.close("s-0"), Truth::False, "NothingAsked"),
            (Kind::Degraded, WELL, Truth::False, "Healthy"),
            (Kind::Degraded, |pool| attempts(pool, Attempts { failures: 2, ..Attempts::default() }), Truth::False, "Healthy"),
            (Kind::Degraded, |pool| attempts(pool, Attempts { failures: 3, ..Attempts::default() }), Truth::True, "FailsRepeatedly"),
            (Kind::Degraded, |pool| attempts(pool, Attempts { quarantined: true, ..Attempts::default() }), Truth::True, "Quarantined"),
            (Kind::Degraded, |pool| lost(pool, "s-0"), Truth::True, "GivenUp"),
        ],
    );
}

#[test]
fn a_link() {
    use ConditionKind as Kind;
    check(
        &ObjectRef::Link(account("backup"), link("tasks")),
        &[
            (Kind::Synced, WELL, Truth::True, "Right"),
            (Kind::Synced, |pool| pool.world.put_link("backup", "tasks", LinkView::Absent), Truth::False, "NotMade"),
            (Kind::Synced, |pool| pool.world.put_link("backup", "tasks", LinkView::File), Truth::False, "Wrong"),
            (
                Kind::Synced,
                |pool| drop(pool.world.seen.links.insert((account("backup"), link("tasks")), unseen())),
                Truth::Unknown,
                "NotSeen",
            ),
            (Kind::Conflicted, WELL, Truth::False, "NoConflict"),
            (Kind::Conflicted, |pool| pool.world.put_link("backup", "tasks", LinkView::File), Truth::True, "NotOurs"),
            (Kind::Conflicted, |pool| pool.world.put_link("backup", "tasks", LinkView::Absent), Truth::False, "NoConflict"),
            (
                Kind::Conflicted,
                |pool| {
                    // Held back because it failed: that is no conflict.
                    pool.world.put_link("backup", "tasks", LinkView::Absent);
                    let object = ObjectRef::Link(account("backup"), link("tasks"));
                    pool.world.memory.attempts.insert(object.clone(), Attempts::default().after_failure(&object, "no", at(0)));
                    pool.planned = Some(crate::plan::filter(pool.world.plan(), &pool.world.memory, at(0)));
                },
                Truth::False,
                "NoConflict",
            ),
        ],
    );
}

#[test]
fn the_date_of_a_login_is_said() {
    let day = 86_400;
    for (until, expected) in [
        (30 * day, format!("until {:.0}", at(30 * day).wall)),
        (
            3 * day,
            format!(
                "ends in 3 days, at {:.0}; run `CLAUDE_CONFIG_DIR={} claude auth login` before",
                at(3 * day).wall,
                home("backup").display()
            ),
        ),
        (-day, format!("it ended at {:.0}; run `CLAUDE_CONFIG_DIR={} claude auth login`", at(-day).wall, home("backup").display())),
    ] {
        let mut pool = Pool::new();
        pool.world.home("backup").login = LoginView::Valid { expires_at: Some(at(until).wall) };
        let made = pool.conditions(&Conditions::new());
        assert_eq!(made[&(ObjectRef::Account(account("backup")), ConditionKind::LoginValid)].message, expected);
        assert_eq!(pool.status().accounts[1].login_ends_at, Some(at(until).wall));
    }
}

#[test]
fn every_kind_is_computed() {
    let kinds: std::collections::BTreeSet<_> = Pool::new().conditions(&Conditions::new()).into_keys().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ConditionKind::ALL.iter().copied().collect());
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let key = (object("s-0"), ConditionKind::Ready);
    let mut pool = Pool::new();
    let look = |pool: &mut Pool, second: i64, activity: Activity, previous: &Conditions| {
        pool.world = World { now: at(second), ..pool.world.clone() };
        let mut agent = pool.world.agent("s-0").clone();
        agent.activity = activity;
        pool.world.seen.agents.insert(session("s-0"), Seen::known(agent, at(second)));
        pool.conditions(previous)
    };
    let since = |conditions: &Conditions| conditions[&key].last_transition_time;
    let first = look(&mut pool, 10, Activity::Idle, &Conditions::new());
    assert_eq!(since(&first), at(10).wall);
    let working = look(&mut pool, 20, Activity::Working, &first);
    assert_eq!((since(&working), working[&key].message.as_str()), (at(10).wall, "working"), "the words changed, the status did not");
    let asks = look(&mut pool, 30, Activity::NeedsInput, &working);
    assert_eq!((since(&asks), asks[&key].status), (at(30).wall, Truth::False));
    let unknown = look(&mut pool, 40, Activity::Unknown, &asks);
    assert_eq!((since(&unknown), unknown[&key].status), (at(40).wall, Truth::Unknown));
    let back = look(&mut pool, 50, Activity::Idle, &unknown);
    assert_eq!(since(&back), at(50).wall);
    assert_eq!(look(&mut pool, 60, Activity::Idle, &back), back, "nothing flips in a pool that is as before");
}

#[test]
fn a_row_says_what_the_process_says() {
    let mut pool = Pool::new();
    pool.world.agent("s-0").home = Some(home("backup"));
    pool.world.agent("s-1").home = Some("/elsewhere".into());
    pool.world.pane("s-0").attached = 2;
    let status = pool.status();
    let row = &status.sessions[0];
    assert_eq!((row.account.clone(), row.attached, row.pid.map(|pid| pid.0)), (Some(account("backup")), 2, Some(1_000)));
    assert_eq!((row.conversation, row.context_tokens), (Some(World::conversation("s-0")), Some(42_000)));
    assert_eq!(status.sessions[1].account, None, "a home of nobody is no account");
    pool.world.close("s-0");
    let row = &pool.status().sessions[0];
    assert_eq!((row.activity, row.account.clone(), row.pid), (Activity::Exited, Some(account("primary")), None), "as recorded");
    tmux_unknown(&mut pool);
    assert_eq!(pool.status().sessions[0].activity, Activity::Unknown);
}

#[test]
fn rows_of_accounts_links_and_the_open_swap() {
    let mut pool = Pool::new();
    pool.world.put_usage("primary", WindowKind::Weekly, 40);
    pool.world.put_usage("primary", WindowKind::FiveHour, 72);
    let cordon = Cordon { reason: "r".to_owned(), actor: "a".to_owned(), since: at(0).wall };
    pool.world.memory.cordoned.insert(ObjectRef::Account(account("backup")), cordon.clone());
    pool.world.memory.cordoned.insert(object("s-1"), cordon);
    assert!(pool.status().links.is_empty(), "only those that are not right");
    pool.world.put_link("backup", "tasks", LinkView::File);
    pool.world.put_link("primary", "tasks", LinkView::Absent);
    lost(&mut pool, "s-1");
    let swap = pool.world.memory.swap.as_mut().expect("open");
    swap.moves.get_mut(&session("s-0")).expect("there").place = Place::Proven(account("backup"));
    let status = pool.status();
    let windows: Vec<_> =
        status.accounts[0].windows.iter().map(|row| (row.window.to_string(), row.used.value(), row.threshold.value())).collect();
    assert_eq!(windows, [("fiveHour".to_owned(), 72.0, 85.0), ("weekly".to_owned(), 40.0, 95.0)]);
    assert_eq!(status.accounts.iter().map(|row| (row.active, row.cordoned)).collect::<Vec<_>>(), [(true, false), (false, true)]);
    assert_eq!(status.sessions.iter().map(|row| row.cordoned).collect::<Vec<_>>(), [false, true]);
    let links: Vec<_> = status.links.iter().map(|row| format!("{}/{}", row.account, row.link)).collect();
    assert_eq!(links, ["primary/tasks", "backup/tasks"]);
    let swap = status.swap.expect("open");
    assert_eq!((swap.proven, swap.lost, swap.total), (1, 1, 2));
    assert!(status.accounts.iter().all(|row| row.conditions.len() == 3));
    assert!(status.conditions.iter().all(|condition| condition.last_transition_time == at(0).wall));
}

#[test]
fn the_published_form_reads_back() {
    let mut pool = Pool::new();
    pool.world.put_usage("primary", WindowKind::Model("Fable".to_owned()), 12);
    pool.world.memory.latches.insert(ObjectRef::Pool, latch());
    lost(&mut pool, "s-1");
    let status = pool.status();
    let json = serde_json::to_string(&status).expect("JSON");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("the same form"), status);
}

#[test]
fn the_message_says_what_is_asked() {
    let screen = |shows| Some(ScreenView { shows, lines: vec!["a".to_owned(), "b".to_owned()], seen_at: at(0).wall, at_rest: true });
    let trust = Shown::Trust { directory: Some("/work".to_owned()) };
    for (waiting_for, screen, expected) in [
        (None, None, ""),
        (Some("dialog open"), None, "dialog open"),
        (None, screen(trust), "it asks whether /work is trusted"),
        (Some("dialog open"), screen(Shown::Unknown), "dialog open: its screen shows nothing that is known; it ends with: a / b"),
    ] {
        let mut pool = Pool::new();
        pool.world.agent("s-0").activity = Activity::NeedsInput;
        let agent = pool.world.agent("s-0");
        agent.screen = screen;
        agent.register.as_mut().expect("registered").waiting_for = waiting_for.map(str::to_owned);
        let made = pool.conditions(&Conditions::new());
        assert_eq!(made[&(object("s-0"), ConditionKind::NeedsInput)].message, expected);
    }
}
