//! The shared root, links and their targets.

use std::path::PathBuf;

use claude_failover::plan::{Effect, TargetKind};

use crate::bench::{Bench, OTHER_POOL, POOL, Stage, assert_refused};

impl<B: Bench> Stage<B> {
    fn root(&self) -> PathBuf {
        self.spec.shared.root.clone()
    }

    fn init_root(&self) -> Effect {
        Effect::InitSharedRoot { root: self.root(), pool: POOL }
    }

    async fn make_targets(&mut self) {
        self.done(&self.init_root()).await;
        self.done(&self.target("projects", TargetKind::Directory)).await;
        self.done(&self.target("tasks", TargetKind::Directory)).await;
    }
}

pub async fn a_root_is_made_once<B: Bench>(mut stage: Stage<B>) {
    stage.done_once(&stage.init_root()).await;
    assert!(stage.bench.exists(&stage.root()));
}

pub async fn a_root_of_another_pool_is_left_alone<B: Bench>(mut stage: Stage<B>) {
    stage.done(&Effect::InitSharedRoot { root: stage.root(), pool: OTHER_POOL }).await;
    assert_refused(&stage.perform(&stage.init_root()).await);
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&claude_failover::observed::RootView::Marked(OTHER_POOL)));
}

pub async fn a_root_with_content_is_left_alone<B: Bench>(mut stage: Stage<B>) {
    stage.bench.put_directory(&stage.root(), &[("precious", "text")]);
    assert_refused(&stage.perform(&stage.init_root()).await);
    stage.look().await;
    assert_eq!(stage.seen.shared_root.value(), Some(&claude_failover::observed::RootView::Unmarked));
}

pub async fn a_target_is_made_once<B: Bench>(mut stage: Stage<B>) {
    stage.done(&stage.init_root()).await;
    for (name, kind, other) in
        [("projects", TargetKind::Directory, TargetKind::File), ("history.jsonl", TargetKind::File, TargetKind::Directory)]
    {
        stage.done_once(&stage.target(name, kind)).await;
        assert_refused(&stage.perform(&stage.target(name, other)).await);
    }
    assert_eq!(stage.bench.read(&stage.root().join("history.jsonl")).as_deref(), Some(""));
}

pub async fn no_target_is_made_in_a_root_that_is_not_ours<B: Bench>(mut stage: Stage<B>) {
    stage.bench.put_directory(&stage.root(), &[]);
    assert_refused(&stage.perform(&stage.target("projects", TargetKind::Directory)).await);
    assert!(!stage.bench.exists(&stage.root().join("projects")), "an empty directory may be a share that is not mounted");
}

pub async fn a_link_is_made_once<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let (path, target) = (stage.home("primary").join("projects"), stage.root().join("projects"));
    stage.done_once(&Effect::CreateLink { path: path.clone(), target: target.clone() }).await;
    assert_eq!(stage.bench.read_link(&path), Some(target));
}

pub async fn a_link_is_never_made_over_anything<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let (path, target) = (stage.home("primary").join("projects"), stage.root().join("projects"));
    let create = Effect::CreateLink { path: path.clone(), target };
    stage.bench.put_file(&path, "precious");
    assert_refused(&stage.perform(&create).await);
    assert_eq!(stage.bench.read(&path).as_deref(), Some("precious"));
    stage.bench.put_directory(&path, &[("x", "precious")]);
    assert_refused(&stage.perform(&create).await);
    assert_eq!(stage.bench.read(&path.join("x")).as_deref(), Some("precious"));
    stage.bench.put_link(&path, &stage.root().join("tasks"));
    assert_refused(&stage.perform(&create).await);
    assert_eq!(stage.bench.read_link(&path), Some(stage.root().join("tasks")));
}

pub async fn a_link_to_nothing_is_not_made<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let path = stage.home("primary").join("projects");
    let gone = stage.root().join("gone");
    assert_refused(&stage.perform(&Effect::CreateLink { path: path.clone(), target: gone.clone() }).await);
    assert!(!stage.bench.exists(&path));
    let target = stage.root().join("projects");
    stage.bench.put_link(&path, &target);
    assert_refused(&stage.perform(&Effect::RepointLink { path: path.clone(), expect: target.clone(), target: gone }).await);
    assert_eq!(stage.bench.read_link(&path), Some(target));
}

pub async fn a_link_is_pointed_elsewhere<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let path = stage.home("primary").join("projects");
    let (before, after) = (stage.root().join("tasks"), stage.root().join("projects"));
    stage.bench.put_link(&path, &before);
    stage.done_once(&Effect::RepointLink { path: path.clone(), expect: before, target: after.clone() }).await;
    assert_eq!(stage.bench.read_link(&path), Some(after));
}

pub async fn a_link_that_changed_meanwhile_is_left_alone<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let path = stage.home("primary").join("projects");
    let repoint = Effect::RepointLink { path: path.clone(), expect: stage.root().join("tasks"), target: stage.root().join("projects") };
    assert_refused(&stage.perform(&repoint).await);
    assert!(!stage.bench.exists(&path), "it was removed meanwhile");
    stage.bench.put_link(&path, &stage.root());
    assert_refused(&stage.perform(&repoint).await);
    assert_eq!(stage.bench.read_link(&path), Some(stage.root()));
    stage.bench.put_file(&path, "precious");
    assert_refused(&stage.perform(&repoint).await);
    assert_eq!(stage.bench.read(&path).as_deref(), Some("precious"));
    stage.bench.put_directory(&path, &[("x", "precious")]);
    assert_refused(&stage.perform(&repoint).await);
    assert_eq!(stage.bench.read(&path.join("x")).as_deref(), Some("precious"));
}

pub async fn a_directory_is_merged_and_nothing_is_lost<B: Bench>(mut stage: Stage<B>) {
    stage.make_targets().await;
    let (path, target) = (stage.home("primary").join("projects"), stage.root().join("projects"));
    let quarantine = stage.root().join(".quarantine");
    stage.bench.put_directory(&target, &[("grown", "one"), ("same", "same"), ("deep/there", "there"), ("shorter", "one two")]);
    stage
        .bench
        .put_directory(&path, &[("grown", "one two"), ("same", "same"), ("deep/here", "here"), ("only", "only"), ("shorter", "one")]);
    let merge = Effect::MergeDirectory { path: path.clone(), target: target.clone(), quarantine };
    stage.done_once(&merge).await;
    assert_eq!(stage.bench.read_link(&path), Some(target.clone()));
    for (name, text) in
        [("grown", "one two"), ("same", "same"), ("deep/there", "there"), ("deep/here", "here"), ("only", "only"), ("shorter", "one two")]
    {
        assert_eq!(stage.bench.read(&target.join(name)).as_deref(), Some(text), "{name}");
    }
    stage.bench.put_file(&stage.home("backup").join("projects"), "precious");
    let merge =
        Effect::MergeDirectory { path: stage.home("backup").join("projects"), target, quarantine: stage.root().join(".quarantine") };
    assert_refused(&stage.perform(&merge).await);
    assert_eq!(stage.bench.read(&stage.home("backup").join("projects")).as_deref(), Some("precious"));
}
