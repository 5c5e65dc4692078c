//! The state of a repository, as `git status` tells it.
//!
//! # Guarantees
//! Read-only: no lock is taken and no index refreshed (`GIT_OPTIONAL_LOCKS=0`); no hook, no file system monitor, no pager and no submodule is run.
//! It ends within `WITHIN`, with its whole process group. No repository, no git, a slow one or an answer that is not understood: `None`.
//!
//! # Assumes
//! Filters that a repository's own configuration names run as git runs them; whoever can write that configuration is the same user.

use std::{env, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::observed::GitState;

/// How long git may take.
const WITHIN: Duration = Duration::from_secs(3);
/// How much of its answer is read; what differs beyond is not counted.
const LIMIT: usize = 256 * 1024;
/// The longest text that is kept.
const TEXT: usize = 300;
/// What it inherits: enough to find itself and the user's own configuration.
const KEPT: [&str; 4] = ["PATH", "HOME", "XDG_CONFIG_HOME", "LANG"];

/// The repository around `directory`.
pub async fn look(directory: &Path) -> Option<GitState> {
    let mut command = Command::new("git");
    command
        // Empty switches both off in every version: a monitor that is named "false" would be run by old ones.
        .args(["-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "--no-pager", "--no-optional-locks"])
        .args(["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=all", "--no-renames"])
        .env_clear()
        .envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().ok()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut output = Vec::new();
    let whole = async {
        let bound = u64::try_from(LIMIT).unwrap_or(u64::MAX) + 1;
        child.stdout.take()?.take(bound).read_to_end(&mut output).await.ok()?;
        if output.len() > LIMIT {
            return Some(true);
        }
        child.wait().await.ok()?.success().then_some(false)
    };
    let cut = tokio::time::timeout(WITHIN, whole).await.ok().flatten();
    if cut != Some(false)
        && let Some(group) = group
    {
        // It may have ended in between, which is what is wanted.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = child.wait().await;
    }
    parse(&output, cut?)
}

/// Reads `--porcelain=v2 --branch -z` (git-status(1)). `cut` says that the end is missing.
fn parse(output: &[u8], cut: bool) -> Option<GitState> {
    let mut state = GitState { more: cut, ..GitState::default() };
    let mut is_git = false;
    let mut lines = output.split(|&byte| byte == 0).collect::<Vec<_>>();
    // Behind the last separator stands nothing, or half a line.
    lines.pop();
    for line in lines {
        let line = String::from_utf8_lossy(line);
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        let path = match kind {
            "#" => {
                is_git = true;
                if let Some(head) = rest.strip_prefix("branch.oid ") {
                    state.head = Some(head).filter(|head| !head.starts_with('(')).map(cut_text);
                } else if let Some(branch) = rest.strip_prefix("branch.head ") {
                    state.branch = Some(branch).filter(|branch| *branch != "(detached)").map(cut_text);
                }
                continue;
            }
            // XY sub mH mI mW hH hI path
            "1" => rest.splitn(8, ' ').nth(7),
            // XY sub m1 m2 m3 mW h1 h2 h3 path
            "u" => rest.splitn(10, ' ').nth(9),
            "?" => Some(rest),
            _ => None,
        };
        if let Some(path) = path {
            state.dirty_count += 1;
            if state.dirty.len() < GitState::NAMED {
                state.dirty.push(cut_text(path));
            }
        }
    }
    is_git.then_some(state)
}

/// A text of at most [`TEXT`] characters.
fn cut_text(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    async fn git(directory: &Path, arguments: &[&str]) {
        let ended = Command::new("git")
            .args(["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .env("HOME", directory)
            .current_dir(directory)
            .output()
            .await
            .expect("git runs");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    #[tokio::test]
    async fn branch_head_and_changed_files_are_told_and_nothing_is_run() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        assert_eq!(look(path).await, None, "no repository");
        assert_eq!(look(&path.join("absent")).await, None, "no directory");
        git(path, &["init", "-q"]).await;
        let state = look(path).await.expect("a repository");
        assert_eq!((state.branch.as_deref(), state.head, state.dirty_count), (Some("main"), None, 0));
        fs::write(path.join("a file"), "one").expect("written");
        git(path, &["add", "."]).await;
        git(path, &["commit", "-qm", "one"]).await;
        fs::write(path.join("a file"), "two").expect("written");
        fs::write(path.join("new\n"), "new").expect("written");
        // A monitor that a repository names is a program that it would have us run.
        let trap = path.join("trap");
        let script = format!("#!/bin/sh\ntouch '{}'\n", path.join(".git/sprung").display());
        fs::write(&trap, script).expect("written");
        fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        git(path, &["config", "core.fsmonitor", &trap.to_string_lossy()]).await;
        let index = fs::metadata(path.join(".git/index")).expect("there").modified().expect("known");
        let _ = fs::remove_file(path.join(".git/sprung"));
        let state = look(path).await.expect("a repository");
        assert_eq!(state.head.as_deref().map(str::len), Some(40));
        assert_eq!(state.dirty, ["a file", "new\n", "trap"]);
        assert_eq!((state.dirty_count, state.more), (3, false));
        assert!(!path.join(".git/sprung").exists(), "the monitor was run");
        assert_eq!(fs::metadata(path.join(".git/index")).expect("there").modified().expect("known"), index, "the index was written");
        git(path, &["checkout", "-q", "--detach"]).await;
        assert_eq!(look(path).await.expect("a repository").branch, None);
    }

    #[test]
    fn no_more_files_are_named_than_the_bound() {
        let mut output = b"# branch.oid (initial)\0# branch.head main\0".to_vec();
        for number in 0..200 {
            output.extend(format!("? file {number}\0").bytes());
        }
        output.extend(b"? half a na");
        let state = parse(&output, true).expect("a repository");
        assert_eq!((state.dirty.len(), state.dirty_count, state.more), (GitState::NAMED, 200, true));
    }

    proptest! {
        #[test]
        fn no_answer_harms(output in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&output, false);
        }
    }
}
