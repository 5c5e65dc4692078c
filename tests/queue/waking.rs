//! The real host is woken by what happens to tasks, and by nothing else in a queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use claude_failover::{
    host::{
        Host as _, Look, Wake,
        queue::MARKER_ENDING,
        real::{RealHost, Station},
    },
    model::{PoolId, ProjectName},
    observed::{QueueView, Seen, Snapshot},
    plan::{Memory, Outcome, QueueChange},
    spec::Spec,
};

use crate::{
    declared::declared,
    world::{World, name},
};

/// How long something that somebody else does may take.
const PATIENCE: Duration = Duration::from_secs(10);
const POOL: PoolId = PoolId(uuid::Uuid::from_u128(7));

fn spec(world: &World, projects: &[&Path]) -> Spec {
    let base = world.outside.display();
    let project = |(index, path): (usize, &&Path)| format!("    - {{ name: p{index}, path: {} }}\n", path.display());
    let projects = projects.iter().enumerate().map(project).collect::<Vec<_>>().concat();
    declared(format!(
        "apiVersion: claude-failover/v1\nkind: Pool\nmetadata: {{ name: agents }}\nspec:\n  accounts:\n    - {{ name: primary, home: {base}/a }}\n    - {{ name: backup, home: {base}/b }}\n  shared: {{ root: {base}/shared, links: [projects, file-history, tasks] }}\n  tmux: {{ socket: {base}/s }}\n  sessions:\n    - {{ names: \"s-{{0..1}}\", workdir: {base}, dispatch: true }}\n  projects:\n{projects}"
    ))
}

fn host(world: &World, projects: &[&Path]) -> RealHost {
    let station =
        Station { state: world.outside.clone(), runtime: world.outside.clone(), program: "/bin/true".into(), environment: BTreeMap::new() };
    let mut host = RealHost::new(station).expect("a host");
    host.configure(&spec(world, projects), POOL);
    host.listen();
    host
}

async fn look(host: &mut RealHost) -> BTreeMap<ProjectName, Seen<QueueView>> {
    let mut seen = Snapshot::default();
    host.observe(&Memory::new(POOL), &Look { queues: true, ..Look::default() }, &mut seen).await;
    seen.queues
}

async fn queue(host: &mut RealHost) -> QueueView {
    let seen = look(host).await;
    seen.values().next().and_then(Seen::value).cloned().expect("a queue")
}

/// What wakes the host within a time; a timer when nothing does.
async fn wake(host: &mut RealHost, within: Duration) -> BTreeSet<Wake> {
    let deadline = host.now().mono.plus(within);
    host.wake(deadline).await
}

/// Looks whenever woken, until the queue is as it should be.
async fn until(host: &mut RealHost, what: &str, holds: impl Fn(&QueueView) -> bool) -> QueueView {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let woken = wake(host, PATIENCE).await;
        assert!(woken.contains(&Wake::Queues), "{what}: woken by {woken:?}");
        let view = queue(host).await;
        if holds(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{what}: {view:?}");
    }
}

/// Takes whatever is left of earlier changes.
async fn calm(host: &mut RealHost) {
    let deadline = Instant::now() + PATIENCE;
    while wake(host, Duration::from_millis(100)).await != BTreeSet::from([Wake::Timer]) {
        queue(host).await;
        assert!(Instant::now() < deadline, "it never calms down");
    }
}

#[tokio::test]
async fn a_task_that_is_dropped_is_seen_within_a_moment() {
    let world = World::new();
    let mut host = host(&world, &[&world.project]);
    assert!(queue(&mut host).await.exists);
    calm(&mut host).await;
    let began = Instant::now();
    // It is seen although it has only just been written: the look is repeated once it has come to rest.
    fs::write(world.at("inbox/a.md"), "do it\n").expect("a file");
    until(&mut host, "dropped", |view| view.inbox.contains_key(&name("a.md"))).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    fs::rename(world.at("inbox/a.md"), world.at("done/a.md")).expect("moved");
    until(&mut host, "done", |view| view.done.contains_key(&name("a.md"))).await;
    fs::rename(world.at("done/a.md"), world.at("failed/a.md")).expect("moved");
    until(&mut host, "failed", |view| view.failed.contains_key(&name("a.md"))).await;
}

#[tokio::test]
async fn our_own_markers_and_what_others_write_wake_nobody() {
    let world = World::new();
    world.put("inbox/a.md", "do it\n");
    let mut host = host(&world, &[&world.project]);
    queue(&mut host).await;
    calm(&mut host).await;
    assert_eq!(host.perform(&[world.claim("a.md", "c1")]).await, [Outcome::Changed]);
    assert_eq!(host.perform(&[world.release("a.md", Some("c1"))]).await, [Outcome::Changed]);
    for other in ["status.json", "inbox/.a.md.swp", "inbox/a.md~", "failed/a.md.reason", "notes.txt"] {
        fs::write(world.at(other), "x").expect("a file");
    }
    fs::write(world.at(&format!("inbox/b.md{MARKER_ENDING}")), "x").expect("a file");
    fs::write(world.project.join("README.md"), "x").expect("a file");
    assert_eq!(wake(&mut host, Duration::from_millis(300)).await, BTreeSet::from([Wake::Timer]));
    fs::write(world.at("inbox/b.md"), "x").expect("a file");
    assert!(wake(&mut host, PATIENCE).await.contains(&Wake::Queues), "it still listens");
}

#[tokio::test]
async fn a_queue_that_is_made_later_is_listened_to() {
    let world = World::bare();
    let mut host = host(&world, &[&world.project]);
    assert!(!queue(&mut host).await.exists);
    let create = QueueChange::Create.at(&world.project);
    assert_eq!(host.perform(&[create]).await, [Outcome::Changed]);
    assert!(queue(&mut host).await.exists);
    calm(&mut host).await;
    fs::write(world.at("inbox/a.md"), "do it\n").expect("a file");
    until(&mut host, "dropped", |view| view.inbox.contains_key(&name("a.md"))).await;
    fs::remove_dir_all(world.project.join(".agent-queue")).expect("removed");
    until(&mut host, "removed", |view| !view.exists).await;
}

#[tokio::test]
async fn each_project_is_known_by_itself() {
    let (world, other) = (World::new(), World::bare());
    world.put("inbox/a.md", "do it\n");
    std::os::unix::fs::symlink(&other.outside, other.project.join(".agent-queue")).expect("a symlink");
    let mut host = host(&world, &[&world.project, &other.project]);
    let seen = look(&mut host).await;
    let of = |project: &str| &seen[&ProjectName::new(project).expect("a name")];
    assert!(of("p0").value().is_some_and(|view| view.inbox.contains_key(&name("a.md"))));
    assert!(of("p1").why_not().is_some_and(|why| why.to_string().contains("is a symlink")));
}
