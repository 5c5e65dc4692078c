use std::{collections::BTreeSet, fs, path::PathBuf};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{host::usage::fuzz, model::WindowKind};

const NOW_MS: i64 = 1_800_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW_MS).expect("in range")
}

/// A home, and a stand-in for the CLI that does what `script` says.
struct Lab {
    dir: TempDir,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Lab {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("home")).expect("made");
        let command = ["/bin/sh", "-c", script, "claude"].map(str::to_owned).to_vec();
        Self { dir, command, environment: BTreeMap::new() }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What the home's cache holds before the run.
    fn holds(&self, config: &Value) {
        fs::write(self.home().join(CONFIG), config.to_string()).expect("written");
    }

    /// What the stand-in will put there.
    fn will_hold(&self, config: &Value) {
        fs::write(self.home().join("next"), config.to_string()).expect("written");
    }

    async fn read(&self) -> Result<AccountUsage, UsageError> {
        self.read_within(Duration::from_secs(10)).await
    }

    async fn read_within(&self, deadline: Duration) -> Result<AccountUsage, UsageError> {
        let (home, workdir) = (self.home(), self.dir.path().join("empty"));
        let poll = CliPoll { command: &self.command, environment: &self.environment, home: &home, workdir: &workdir, at: now(), deadline };
        read(&poll).await
    }
}

fn cache(fetched_ms: i64) -> Value {
    json!({
        "oauthAccount": {"accountUuid": "u-1"},
        "cachedUsageUtilization": {
            "fetchedAtMs": fetched_ms,
            "accountUuid": "u-1",
            "utilization": {
                "five_hour": {"utilization": 42.0, "resets_at": "2027-01-15T09:00:00.000000+00:00"},
                "seven_day": null,
                "limits": [{"kind": "weekly_scoped", "percent": 91, "resets_at": null, "scope": {"model": {"display_name": "Fable"}}}],
            },
        },
    })
}

const REFRESH: &str = r#"cp "$CLAUDE_CONFIG_DIR/next" "$CLAUDE_CONFIG_DIR/.claude.json""#;

#[tokio::test]
async fn new_figures_are_taken_with_the_time_at_which_they_were_fetched() {
    let lab = Lab::new(REFRESH);
    lab.holds(&cache(NOW_MS - 600_000));
    lab.will_hold(&cache(NOW_MS + 1_200));
    let usage = lab.read().await.expect("readable");
    let figures: Vec<_> = usage.windows.iter().map(|(window, reading)| (window.to_string(), reading.used.value())).collect();
    assert_eq!(figures, [("fiveHour".to_owned(), 42.0), ("weekly".to_owned(), 0.0), ("model:Fable".to_owned(), 91.0)]);
    let reading = &usage.windows[&WindowKind::FiveHour];
    assert_eq!((reading.measured_at.as_millisecond(), reading.source), (NOW_MS + 1_200, ReadingSource::Cli));
}

#[tokio::test]
async fn figures_that_stay_as_they_were_are_a_sign_to_back_off() {
    let lab = Lab::new("exit 0");
    assert!(matches!(lab.read().await, Err(UsageError::NotRefreshed { fetched_at: None })), "no file");
    lab.holds(&json!({"numStartups": 3, "cachedUsageUtilization": null}));
    assert!(matches!(lab.read().await, Err(UsageError::NotRefreshed { fetched_at: None })), "no cache");
    lab.holds(&cache(NOW_MS - 600_000));
    let error = lab.read().await.expect_err("old");
    assert_eq!(error.to_string(), "the CLI did not refresh its figures; they are those of 2027-01-15T07:50:00Z");
    assert_eq!(error.outcome(), crate::model::PollOutcome::NotRefreshed);
    lab.holds(&cache(NOW_MS - 30_000));
    assert!(lab.read().await.is_ok(), "somebody has just asked, so the CLI did not");
}

#[tokio::test]
async fn the_cli_is_started_as_the_facts_say() {
    let script = r#"printf '%s\n' "$@" > "$CLAUDE_CONFIG_DIR/arguments"; env > "$CLAUDE_CONFIG_DIR/environment"; ls -A > "$CLAUDE_CONFIG_DIR/listing""#;
    let mut lab = Lab::new(&format!("{script}; {REFRESH}"));
    lab.environment = [("OWN", "yes"), (SILENCES_USAGE, "1"), ("CLAUDE_CONFIG_DIR", "/elsewhere")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    lab.will_hold(&cache(NOW_MS));
    lab.read().await.expect("readable");
    let seen = |file: &str| fs::read_to_string(lab.home().join(file)).expect("written");
    assert_eq!(seen("arguments"), "-p\n/usage\n--safe-mode\n--no-session-persistence\n");
    assert_eq!(seen("listing"), "", "the directory is empty");
    let environment = seen("environment");
    let names: BTreeSet<&str> = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in ["OWN", "CLAUDE_CONFIG_DIR", "DISABLE_AUTOUPDATER"] {
        assert!(names.contains(name), "{name} is missing: {names:?}");
    }
    assert!(environment.contains(&format!("CLAUDE_CONFIG_DIR={}\n", lab.home().display())), "{environment}");
    let foreign =
        names.iter().filter(|name| (name.starts_with("CLAUDE") || name.starts_with("ANTHROPIC")) && **name != "CLAUDE_CONFIG_DIR");
    assert_eq!(foreign.count(), 0, "{names:?}");
}

#[tokio::test]
async fn failures_are_typed() {
    assert!(matches!(Lab::new("exit 1").read().await, Err(UsageError::Exited { .. })));
    let slow = Lab::new("exec sleep 60").read_within(Duration::from_millis(200)).await;
    assert!(matches!(slow, Err(UsageError::TimedOut { .. })), "{slow:?}");
    let lab = Lab::new(REFRESH);
    let mut other = cache(NOW_MS);
    other["oauthAccount"]["accountUuid"] = json!("u-2");
    lab.will_hold(&other);
    assert!(matches!(lab.read().await, Err(UsageError::OtherLogin { .. })));
    for wrong in [json!({"cachedUsageUtilization": "secret"}), json!({"cachedUsageUtilization": {"fetchedAtMs": "secret"}})] {
        let lab = Lab::new(REFRESH);
        lab.will_hold(&wrong);
        let error = lab.read().await.expect_err("malformed");
        assert!(matches!(error, UsageError::Malformed { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
    let lab = Lab::new(REFRESH);
    lab.will_hold(&cache(NOW_MS + 3_600_000));
    let error = lab.read().await.expect_err("from the future");
    assert!(matches!(error, UsageError::Malformed { source: Malformed::FromTheFuture { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_cache_that_was_torn_before_the_run_does_not_spoil_it() {
    let lab = Lab::new(REFRESH);
    fs::write(lab.home().join(CONFIG), "{\"cachedUsageUt").expect("written");
    lab.will_hold(&cache(NOW_MS));
    assert!(lab.read().await.is_ok());
}

#[test]
fn a_config_nested_too_deep_is_refused() {
    assert!(parse(&fuzz::deep(), now()).is_err());
    let inside = format!("{{\"cachedUsageUtilization\":{}", "[".repeat(100_000));
    assert!(parse(inside.as_bytes(), now()).is_err());
}

proptest! {
    #[test]
    fn nothing_panics(
        config in fuzz::json_of(&["cachedUsageUtilization", "fetchedAtMs", "utilization", "accountUuid", "oauthAccount", "five_hour"]),
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(Some(cached)) = parse(config.to_string().as_bytes(), now()) {
            prop_assert!(cached.fetched_at.as_millisecond() <= NOW_MS + 300_000);
            let _either = answer::read(&cached.utilization, cached.fetched_at, ReadingSource::Cli);
        }
        let _either = parse(&bytes, now());
    }
}
