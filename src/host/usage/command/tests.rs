use super::*;
use crate::{
    host::usage::Malformed,
    model::{Percent, WindowKind},
};

fn now() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().expect("a time")
}

async fn reads(script: &str) -> Result<AccountUsage, UsageError> {
    let dir = tempfile::tempdir().expect("a directory");
    let account = AccountName::new("primary").expect("a name");
    let command = ["/bin/sh", "-c", script].map(str::to_owned);
    read(&CommandPoll { command: &command, account: &account, workdir: dir.path(), at: now(), deadline: Duration::from_secs(10) }).await
}

#[tokio::test]
async fn what_it_prints_of_the_account_is_taken() {
    let script = r#"printf '{"%s": {"measuredAt": 1800000000, "weekly": {"usedPercent": 7}}}' "$CLAUDE_FAILOVER_ACCOUNT""#;
    let usage = reads(script).await.expect("readable");
    assert_eq!(usage.windows[&WindowKind::Weekly].used, Percent::whole(7));
    assert_eq!(usage.windows[&WindowKind::Weekly].source, ReadingSource::Command);
    assert_eq!(usage.windows.len(), 1);
}

#[tokio::test]
async fn what_it_prints_otherwise_is_an_error() {
    let error = reads("echo nothing useful").await.expect_err("malformed");
    assert!(matches!(error, UsageError::Malformed { source: Malformed::NotJson { .. }, .. }), "{error:?}");
    assert!(matches!(reads("echo '{}'; exit 1").await, Err(UsageError::Exited { .. })));
    assert_eq!(reads("echo '{}'").await.expect("readable"), AccountUsage::default());
}
