//! This test binary, run once more in a process of its own that carries out one effect.

use std::{
    env, fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
};

use claude_failover::plan::Effect;

use crate::world::run;

/// The variable that carries the effect, as JSON.
const EFFECT: &str = "CLAUDE_FAILOVER_TEST_EFFECT";

/// The variable that says that a test runs in a process of its own, as it is meant to.
pub const APART: &str = "CLAUDE_FAILOVER_TEST_APART";

/// The command that runs the test of that path in a process of its own, behind `before`, such as a tracer.
pub fn command(before: &[&str], test: &str) -> Command {
    let this = env::current_exe().expect("the path of this program");
    let mut words = before.iter().map(std::ffi::OsStr::new).chain([this.as_os_str()]);
    let mut command = Command::new(words.next().expect("at least this program"));
    command.args(words).args(["--exact", test, "--ignored", "--test-threads=1"]).env(APART, "1").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// What became of a process that a fault was injected into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The fault was never reached: there are fewer such calls.
    Unhit,
    /// It was hit, and said all the same that its effect is done.
    Done,
    /// It was hit, and was killed or said that its effect failed.
    Failed,
}

/// Carries out an effect in a process of its own, in which the `number`-th of each of `calls` is hit by `fault`, in strace's words.
pub fn under_strace(effect: &Effect, calls: &str, fault: &str, number: u32) -> Ended {
    let effect = serde_json::to_string(effect).expect("JSON");
    let log = tempfile::NamedTempFile::new().expect("a file for strace");
    let output = format!("--output={}", log.path().display());
    let (trace, inject) = (format!("--trace={calls}"), format!("--inject={calls}:{fault}:when={number}"));
    let strace = ["strace", "-f", "--quiet=all", &output, &trace, &inject];
    let status = command(&strace, "again::one_effect").env(EFFECT, effect).stderr(Stdio::null()).status().expect("strace");
    let hit = status.signal().is_some() || fs::read_to_string(log.path()).expect("what strace wrote").contains("INJECTED");
    match (hit, status.success()) {
        (false, _) => Ended::Unhit,
        (true, true) => Ended::Done,
        (true, false) => Ended::Failed,
    }
}

/// Whether strace is here and may trace. Where a continuous integration says so, it must be.
pub fn strace_works() -> bool {
    let works = Command::new("strace").args(["--output=/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = works.is_ok_and(|status| status.success());
    assert!(works || env::var_os("CI").is_none(), "install strace, and allow it to trace");
    if !works {
        skipped("strace is not here, or may not trace");
    }
    works
}

/// Runs the test of that name in `mounted::inside` in a mount namespace of its own, where that is allowed; as another user than root it also
/// needs a user namespace.
pub fn in_own_namespace(test: &str) {
    let words = ["unshare", if rustix::process::geteuid().is_root() { "-m" } else { "-rm" }];
    let probe = Command::new(words[0]).args([words[1], "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skipped("mount namespaces are not allowed here");
    }
    passes(command(&words, &format!("mounted::inside::{test}")));
}

/// Runs a command that is one test, and asserts that it has passed.
pub fn passes(mut command: Command) {
    let output = command.stdout(Stdio::piped()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Says why a test has nothing to show here.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

#[test]
#[ignore = "it is run by other tests, in a process of its own"]
fn one_effect() {
    let effect = env::var(EFFECT).expect("an effect in the environment");
    let outcome = run(&serde_json::from_str(&effect).expect("an effect"));
    assert!(outcome.failure().is_none(), "{outcome:?}");
}
