//! What a look shows, and when waiting ends.

use std::{collections::BTreeSet, time::Duration};

use claude_failover::{
    host::{Host as _, Look, Wake},
    model::LinkName,
    observed::{LinkView, RootView, Seen, TargetView},
    plan::{Effect, TargetKind},
};

use crate::bench::{Bench, POOL, Stage};

pub async fn what_stands_where_a_link_should_be<B: Bench>(mut stage: Stage<B>) {
    stage.done(&Effect::InitSharedRoot { root: stage.spec.shared.root.clone(), pool: POOL }).await;
    stage.done(&stage.target("projects", TargetKind::Directory)).await;
    stage.done(&stage.target("history.jsonl", TargetKind::File)).await;
    let (root, home) = (stage.spec.shared.root.clone(), stage.home("primary"));
    stage.bench.put_link(&home.join("projects"), &root.join("projects"));
    stage.bench.put_link(&home.join("tasks"), &root.join("tasks"));
    stage.bench.put_directory(&stage.home("backup").join("projects"), &[("a", "1"), ("b/c", "2")]);
    stage.bench.put_file(&stage.home("backup").join("tasks"), "text");
    // A directory is no target for the link of a file.
    stage.bench.put_link(&home.join("history.jsonl"), &root.join("projects"));
    stage.look().await;
    let link = |name: &str, target_ok| LinkView::Link { target: root.join(name), target_ok };
    assert_eq!(stage.link("primary", "projects"), &link("projects", true));
    assert_eq!(stage.link("primary", "tasks"), &link("tasks", false), "its target is missing");
    assert_eq!(stage.link("primary", "history.jsonl"), &link("projects", false));
    assert_eq!(stage.link("backup", "projects"), &LinkView::Directory { entries: 2 });
    assert_eq!(stage.link("backup", "tasks"), &LinkView::File);
    assert_eq!(stage.link("backup", "history.jsonl"), &LinkView::Absent);
    let target = |name: &str| stage.seen.targets[&LinkName::new(name).expect("a name")].value().copied();
    assert_eq!(target("projects"), Some(TargetView::Directory));
    assert_eq!(target("history.jsonl"), Some(TargetView::File));
    assert_eq!(target("tasks"), Some(TargetView::Absent));
    assert_eq!(stage.seen.active_link.value(), Some(&LinkView::Absent));
    let active = stage.spec.active_link.clone().expect("declared");
    stage.bench.put_link(&active, &home);
    stage.look().await;
    assert_eq!(stage.seen.active_link.value(), Some(&LinkView::Link { target: home, target_ok: true }));
}

pub async fn what_is_at_the_root<B: Bench>(mut stage: Stage<B>) {
    let root = stage.spec.shared.root.clone();
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&RootView::Absent));
    stage.bench.put_directory(&root, &[]);
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&RootView::Empty));
    stage.done(&Effect::InitSharedRoot { root: root.clone(), pool: POOL }).await;
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&RootView::Marked(POOL)));
    stage.bench.put_directory(&root, &[("precious", "text")]);
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&RootView::Unmarked));
}

pub async fn what_is_not_asked_for_keeps_its_age<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.look().await;
    let Seen::Known(homes) = stage.seen.homes.values().next().expect("a home").clone() else { panic!("unknown") };
    let deadline = stage.host.now().mono.plus(Duration::from_millis(200));
    while stage.host.now().mono < deadline {
        stage.host.wake(deadline).await;
    }
    let now = stage.host.now();
    stage.host.observe(&stage.memory, &Look { tmux: true, ..Look::default() }, &mut stage.seen).await;
    let Seen::Known(after) = stage.seen.homes.values().next().expect("a home").clone() else { panic!("unknown") };
    assert_eq!(after.at, homes.at);
    assert!(stage.seen.tmux_at().expect("known").mono >= now.mono);
}

pub async fn waiting_ends_with_the_timer<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let deadline = stage.host.now().mono.plus(Duration::from_secs(3));
    let (mut woken, mut waits) = (BTreeSet::new(), 0);
    while stage.host.now().mono < deadline {
        woken = stage.host.wake(deadline).await;
        // What is not looked at may be said again.
        stage.look().await;
        waits += 1;
        assert!(waits < 50, "woken again and again while nothing happens, last by {woken:?}");
    }
    assert!(woken.contains(&Wake::Timer), "{woken:?}");
    let late = stage.host.now().mono.since(deadline);
    assert!(late < Duration::from_secs(2), "{late:?} late");
}
