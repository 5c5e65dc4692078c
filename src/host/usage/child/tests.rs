use std::{fs, iter, time::Instant};

use super::*;

/// Long enough for a shell to have begun, and not for what it does then.
const TOO_SOON: Duration = Duration::from_secs(2);

/// A shell that runs `script`.
fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec()
}

fn run_of<'a>(command: &'a [String], dir: &'a Path, deadline: Duration) -> Run<'a> {
    let path = [("PATH", "/usr/bin:/bin")];
    Run {
        command,
        arguments: &["one", "two words"],
        environment: environment(iter::empty(), path),
        workdir: dir,
        deadline,
        grace: Duration::from_secs(10),
        output: Output::Read { limit: 1_000 },
    }
}

/// Whether the process has ended; one that nobody has reaped yet counts as ended.
fn has_ended(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    let mut poll = tokio::time::interval(Duration::from_millis(5));
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come about");
        poll.tick().await;
    }
}

#[tokio::test]
async fn output_comes_back_and_failures_are_told_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let soon = Duration::from_secs(10);
    let command = shell("printf '%s|' \"$@\"; pwd");
    let output = run(run_of(&command, dir.path(), soon)).await.expect("it ends well");
    let place = dir.path().canonicalize().expect("it exists");
    assert_eq!(String::from_utf8_lossy(&output), format!("one|two words|{}\n", place.display()));
    for (script, words) in [("exit 3", "exit code 3"), ("kill -9 $$", "signal 9")] {
        let command = shell(script);
        let error = run(run_of(&command, dir.path(), soon)).await.expect_err("it fails");
        assert!(matches!(&error, UsageError::Exited { ended, .. } if ended == words), "{error:?}");
    }
    for command in [vec![], vec!["/nowhere/at-all".to_owned()]] {
        let error = run(run_of(&command, dir.path(), soon)).await.expect_err("it cannot start");
        assert!(matches!(error, UsageError::Start { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn endless_output_is_cut_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = shell("echo $$ > pid; while :; do echo yes; done");
    let error = run(run_of(&command, dir.path(), Duration::from_secs(10))).await.expect_err("too much");
    assert!(matches!(error, UsageError::TooLarge { limit: 1_000, .. }), "{error:?}");
    let pid = fs::read_to_string(dir.path().join("pid")).expect("it wrote its number");
    until("its end", || has_ended(pid.trim())).await;
}

#[tokio::test]
async fn a_program_that_hangs_is_asked_to_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = shell("trap 'echo asked > asked; exit 0' TERM; while :; do sleep 0.05; done");
    let error = run(run_of(&command, dir.path(), TOO_SOON)).await.expect_err("too slow");
    assert!(matches!(error, UsageError::TimedOut { .. }), "{error:?}");
    assert!(dir.path().join("asked").exists());
}

#[tokio::test]
async fn one_that_does_not_listen_is_killed_with_what_it_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = shell("trap '' TERM; sleep 60 & echo $! > child; echo $$ > pid; wait");
    let impatient = Run { grace: Duration::from_millis(100), ..run_of(&command, dir.path(), TOO_SOON) };
    let error = run(impatient).await.expect_err("too slow");
    assert!(matches!(error, UsageError::TimedOut { .. }), "{error:?}");
    for file in ["pid", "child"] {
        let pid = fs::read_to_string(dir.path().join(file)).expect("it wrote its number");
        until("the end of all", || has_ended(pid.trim())).await;
    }
}

#[tokio::test]
async fn dropping_the_future_ends_the_group() {
    let dir = tempfile::tempdir().expect("a directory");
    let command = shell("sleep 60 & echo $! > child.new; mv child.new child; wait");
    let file = dir.path().join("child");
    {
        let running = run(run_of(&command, dir.path(), Duration::from_mins(1)));
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => panic!("it ended: {ended:?}"),
            () = until("its start", || file.exists()) => {}
        }
    }
    let pid = fs::read_to_string(file).expect("it wrote its number");
    until("the end of all", || has_ended(pid.trim())).await;
}

#[test]
fn only_named_variables_are_inherited() {
    let inherited = [
        ("HOME", "/home/op"),
        ("PATH", "/bin"),
        ("CLAUDECODE", "1"),
        ("CLAUDE_CODE_CHILD_SESSION", "1"),
        ("CLAUDE_CONFIG_DIR", "/elsewhere"),
        ("ANTHROPIC_API_KEY", "secret"),
        ("TELEGRAM_BOT_TOKEN", "secret"),
    ];
    let inherited = inherited.into_iter().map(|(name, value)| (name.into(), value.into()));
    let environment = environment(inherited, [("PATH", "/opt/bin"), ("OWN", "yes")]);
    let names: Vec<_> = environment.iter().map(|(name, value)| (name.to_str().expect("text"), value.to_str().expect("text"))).collect();
    assert_eq!(names, [("HOME", "/home/op"), ("OWN", "yes"), ("PATH", "/opt/bin")]);
}
