//! Homes, and the account that is recorded as active.

use claude_failover::{
    observed::{HomeView, LoginView},
    plan::{Effect, Outcome, link_needs},
};

use crate::bench::{Bench, Stage, account, assert_refused, session};

impl<B: Bench> Stage<B> {
    fn home_view(&self, under: &str) -> &HomeView {
        self.seen.homes[&account(under)].value().expect("the home is known")
    }
}

pub async fn a_home_is_prepared_once<B: Bench>(mut stage: Stage<B>) {
    stage.look().await;
    let home = stage.home_view("primary").clone();
    assert!(home.exists && home.unsafe_mode.is_none() && !home.onboarded && home.trusted.is_empty(), "{home:?}");
    assert!(matches!(home.login, LoginView::Valid { .. } | LoginView::Unknown), "{home:?}");
    assert!(home.identity.is_some() && home.identity != stage.home_view("backup").identity);
    stage.done_once(&stage.prepare_home("primary")).await;
    stage.look().await;
    let workdir = &stage.spec.sessions[&session("web1")].workdir;
    assert!(stage.home_view("primary").onboarded && stage.home_view("primary").trusted.contains(workdir));
    assert!(!stage.home_view("backup").onboarded, "and only this one");
}

pub async fn a_home_in_use_is_not_prepared<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    stage.start("web1").await;
    let mut prepare = stage.prepare_home("primary");
    if let Effect::PrepareHome { accept_bypass, .. } = &mut prepare {
        *accept_bypass = true;
    }
    assert_refused(&stage.perform(&prepare).await);
    stage.look().await;
    assert!(!stage.home_view("primary").bypass_accepted);
}

pub async fn an_account_is_recorded_only_over_right_links<B: Bench>(mut stage: Stage<B>) {
    stage.prepare().await;
    let declared = stage.spec.accounts[0].clone();
    let record = Effect::RecordActive { account: declared.name.clone(), needs: link_needs(&stage.spec, &declared) };
    assert_eq!(stage.perform(&record).await, Outcome::Changed);
    stage.bench.put_file(&declared.home.join("history.jsonl"), "mine");
    assert_refused(&stage.perform(&record).await);
}
