//! The pure planner alone: a pool in which all is well.

use std::{path::PathBuf, time::Duration};

use claude_failover::{
    model::{Activity, Monotonic, Now, PaneId, Pid, PoolId, ProcessId, SessionName, TmuxSessionId},
    observed::{AgentView, HomeView, LinkView, LoginView, Mark, PaneView, RootView, Seen, ServerView, Snapshot, TargetView, TmuxView},
    plan::{Active, Memory, SessionRecord, link_needs, plan},
    spec::{LoadPlace, SourceText, Spec, load},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    Fallible,
    figures::{Place, Row, median, shown},
};

const SIZES: [usize; 3] = [1_000, 5_000, 10_000];
const SAMPLES: usize = 31;

pub fn rows() -> Fallible<Vec<Row>> {
    let mut took = Vec::new();
    for size in SIZES {
        took.push(planned(size)?);
    }
    let [small, middle, large] = took[..] else { return Err("three sizes are compared".into()) };
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    Ok(vec![Row {
        place: Place::Planning,
        what: format!("planning of {} sessions, processor time", SIZES[2]),
        ours: shown(large),
        floor: format!("{} ({} sessions)", shown(small), SIZES[0]),
        ratio: format!("{ratio:.1}"),
        goal: "< 20 ms, linear: ≤ 10".to_owned(),
        met: Some(large < Duration::from_millis(20) && ratio <= 10.0),
        // Where nothing fits the processor's caches any more, twice as many must take twice as long.
        beside: format!("{} sessions: {}", SIZES[1], shown(middle)),
    }])
}

fn planned(size: usize) -> Fallible<Duration> {
    let spec = spec(size)?;
    let now = Now { wall: jiff::Timestamp::now(), mono: Monotonic(Duration::from_secs(1_000)) };
    let (seen, memory) = (snapshot(&spec, now)?, memory(&spec, now));
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        // Of this thread alone: a pure function waits for nothing, and whoever else runs on the machine is none of its cost.
        let begun = clock_gettime(ClockId::ThreadCPUTime);
        let planned = plan(&spec, &seen, &memory, now);
        let ended = clock_gettime(ClockId::ThreadCPUTime);
        if !planned.plan.is_empty() {
            return Err(format!("something is to be done: {:?}", planned.plan).into());
        }
        samples.push((ended - begun).try_into()?);
    }
    Ok(median(&samples))
}

fn spec(size: usize) -> Fallible<Spec> {
    let text = format!(
        "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: {{ name: bench }}\nspec:\n  accounts:\n    - {{ name: primary, home: /bench/primary \
         }}\n    - {{ name: backup, home: /bench/backup }}\n  shared: {{ root: /bench/shared }}\n  sessions:\n    - {{ names: \"s{{1..{size}}}\", \
         workdir: /bench/work }}\n"
    );
    let place = LoadPlace { home: "/bench".into(), base: "/bench".into() };
    let loaded = load(&[SourceText { name: "pool.yaml".to_owned(), text }], &place);
    Ok(loaded.map_err(|rejected| rejected.diagnostics.render(false))?.spec)
}

const POOL: PoolId = PoolId(uuid::Uuid::from_u128(0xbe7c));

fn process(at: usize) -> Fallible<ProcessId> {
    Ok(ProcessId { pid: Pid(i32::try_from(at)? + 2), started: 100 })
}

fn snapshot(spec: &Spec, now: Now) -> Fallible<Snapshot> {
    let mut seen = Snapshot { shared_root: Seen::known(RootView::Marked(POOL), now), ..Snapshot::default() };
    let mut tmux = TmuxView {
        server: Some(ServerView { pid: Pid(1), version: "3.3a".to_owned(), descriptor_limit: Some(65_536) }),
        ..TmuxView::default()
    };
    for (at, session) in spec.sessions.values().enumerate() {
        let mark = Mark { pool: POOL, session: session.name.clone(), digest: spec.start_digest(session) };
        let process = process(at)?;
        let pane = PaneView {
            session_id: TmuxSessionId(format!("${at}")),
            pane: PaneId(format!("%{at}")),
            pid: Some(process.pid),
            dead: None,
            mark: Some(mark),
            attached: 0,
        };
        tmux.panes.insert(session.name.to_string(), pane);
        let agent = AgentView {
            process: Some(process),
            home: Some(spec.accounts[0].home.clone()),
            activity: Activity::Idle,
            ..AgentView::default()
        };
        seen.agents.insert(session.name.clone(), Seen::known(agent, now));
    }
    seen.tmux = Seen::known(tmux, now);
    for (at, account) in spec.accounts.iter().enumerate() {
        let home = HomeView {
            exists: true,
            identity: Some((1, at as u64 + 1)),
            unsafe_mode: None,
            onboarded: true,
            trusted: std::iter::once(PathBuf::from("/bench/work")).collect(),
            bypass_accepted: true,
            login: LoginView::Valid { expires_at: None },
        };
        seen.homes.insert(account.name.clone(), Seen::known(home, now));
        for (name, need) in spec.shared.links.iter().zip(link_needs(spec, account)) {
            let link = LinkView::Link { target: need.target, target_ok: true };
            seen.links.insert((account.name.clone(), name.clone()), Seen::known(link, now));
            seen.targets.insert(name.clone(), Seen::known(TargetView::Directory, now));
        }
    }
    Ok(seen)
}

fn memory(spec: &Spec, now: Now) -> Memory {
    let mut memory = Memory::new(POOL);
    memory.active = Some(Active { account: spec.accounts[0].name.clone(), since: now.wall });
    let record = |(at, (name, session)): (usize, (&SessionName, &claude_failover::spec::Session))| {
        let record = SessionRecord {
            conversation: POOL.conversation(name, 1),
            incarnation: 1,
            account: spec.accounts[0].name.clone(),
            digest: spec.start_digest(session),
            workdir: session.workdir.clone(),
            process: process(at).ok(),
            ended: false,
            stopped: false,
            spoken: false,
            started_at: now.wall,
            asked: None,
        };
        (name.clone(), record)
    };
    memory.sessions = spec.sessions.iter().enumerate().map(record).collect();
    memory
}
