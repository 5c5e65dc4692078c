//! What a pane's process is given: variables, directory, arguments; and what it is not.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use claude_failover::{
    host::process::{ProcessError, environment_value},
    observed::PaneView,
    plan::Outcome,
};

use crate::playground::*;

fn variable(pane: &PaneView, name: &str) -> Option<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match environment_value(process_of(pane), name) {
            // For a moment, a program that is seen to run has no environment yet.
            Err(ProcessError::EnvironmentEmpty { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            value => return value.expect("readable").map(|value| value.into_string().expect("text")),
        }
    }
}

#[tokio::test]
async fn the_server_knows_no_account_and_passes_none_on() {
    let (playground, mut server) = Playground::started().await;
    let global = playground.person(&["show-environment", "-g"]);
    let mut names: Vec<&str> = global.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let allowed = ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "SHLVL", "OLDPWD", "_", "TERM", "TZ", "USER", "XDG_RUNTIME_DIR"];
    names.retain(|name| !allowed.contains(name) && !name.starts_with("LC_"));
    assert_eq!(names, [""; 0], "cargo gives the test many variables; none of them is here");

    let pane = running(&mut server, "a", sleeper()).await;
    assert_eq!(variable(&pane, "CLAUDE_CONFIG_DIR").as_deref(), Some("/home/first"));
    assert_eq!(variable(&pane, "CARGO_MANIFEST_DIR"), None);
    assert_eq!(variable(&pane, "TERM").as_deref(), Some("tmux-256color"));
}

#[tokio::test]
async fn a_person_who_respawns_the_pane_gets_the_same_account() {
    let (playground, mut server) = Playground::started().await;
    let first = running(&mut server, "a", sleeper()).await;
    end(&first).await;
    let mut exec = sleeper();
    exec.environment = BTreeMap::from([("CLAUDE_CONFIG_DIR".into(), "/home/second".into()), ("EXTRA".into(), "1".into())]);
    assert_eq!(perform(&mut server, respawn(&first, "a", exec)).await, Outcome::Changed);
    let second = pane(&mut server, "a").await;
    until(|| runs(&second, "/bin/sleep".as_ref())).await;
    assert_eq!(variable(&second, "CLAUDE_CONFIG_DIR").as_deref(), Some("/home/second"));

    playground.person(&["respawn-pane", "-k", "-t", &second.pane.0]);
    let third = until_listed(&mut server, |view| view.panes["a"].pid != second.pid).await.panes["a"].clone();
    until(|| runs(&third, "/bin/sleep".as_ref())).await;
    assert_eq!(variable(&third, "CLAUDE_CONFIG_DIR").as_deref(), Some("/home/second"));
    assert_eq!(variable(&third, "EXTRA").as_deref(), Some("1"));

    // A variable that is no longer wanted is no longer there.
    end(&third).await;
    assert_eq!(perform(&mut server, respawn(&third, "a", sleeper())).await, Outcome::Changed);
    let fourth = pane(&mut server, "a").await;
    until(|| runs(&fourth, "/bin/sleep".as_ref())).await;
    assert_eq!((variable(&fourth, "CLAUDE_CONFIG_DIR").as_deref(), variable(&fourth, "EXTRA")), (Some("/home/first"), None));
}

#[tokio::test]
async fn hostile_texts_arrive_as_they_are() {
    let (playground, mut server) = Playground::started().await;
    let evidence = playground.path("evidence");
    let command = format!("touch {}", evidence.display());
    let hostile = [
        "~/x",
        "~",
        "$HOME ${HOME} `id` $(id)",
        "#{pane_id} #(id) #[bold] ##",
        "a;b ; c;",
        ";",
        "\\;",
        "%H%M%%",
        "{ a }",
        "}",
        "it's \"quoted\"",
        "tab\tand\nline\r\nend",
        "\u{1b}[31m\u{7f}\u{1}",
        "\\",
        "\\\\n\\101",
        "é🦀",
        "-k",
        "--",
        "",
        " ",
        "'",
        "\"",
        "# no comment",
        &format!("#({command})"),
        &format!("'; run-shell '{command}' ; '"),
        &format!("\n run-shell '{command}'\n"),
    ];
    for (number, text) in hostile.iter().enumerate() {
        let mut exec = exec("/bin/sh", &["-c", "exec sleep infinity", "sh", text]);
        exec.environment.insert("HOSTILE".into(), (*text).to_owned());
        let name = format!("s{number}");
        assert_eq!(perform(&mut server, create(&name, exec.clone())).await, Outcome::Changed, "{text:?}");
        let created = pane(&mut server, &name).await;
        until(|| runs(&created, "/bin/sleep".as_ref())).await;
        assert_eq!(variable(&created, "HOSTILE").as_deref(), Some(*text));

        end(&created).await;
        assert_eq!(perform(&mut server, respawn(&created, &name, exec)).await, Outcome::Changed, "{text:?}");
        let respawned = pane(&mut server, &name).await;
        until(|| runs(&respawned, "/bin/sleep".as_ref())).await;
        assert_eq!(variable(&respawned, "HOSTILE").as_deref(), Some(*text));
        assert_eq!(variable(&respawned, "CLAUDE_CONFIG_DIR").as_deref(), Some("/home/first"), "no part of a value is a variable");
    }
    assert!(!evidence.exists(), "nothing was executed");
    assert!(server.is_connected());
}

#[tokio::test]
async fn a_start_puts_right_what_was_changed_in_the_environment_of_its_session() {
    let (playground, mut server) = Playground::started().await;
    let mut last = running(&mut server, "a", sleeper()).await;
    let changes: [&[&str]; 8] = [
        &["CLAUDE_CONFIG_DIR", "/elsewhere"],
        &["CLAUDE_CONFIG_DIR", "/home/first\nX=1"],
        &["CLAUDE_CONFIG_DIR", "/home/first\"; export CLAUDE_CONFIG_DIR;"],
        &["CLAUDE_CONFIG_DIR", ""],
        &["-u", "CLAUDE_CONFIG_DIR"],
        &["-r", "CLAUDE_CONFIG_DIR"],
        &["STRANGER", "CLAUDE_CONFIG_DIR=\"/home/first\"; export CLAUDE_CONFIG_DIR;"],
        &["-r", "STRANGER"],
    ];
    for change in changes {
        playground.person(&[&["set-environment", "-t", "=a:"], change].concat());
        end(&last).await;
        assert_eq!(perform(&mut server, respawn(&last, "a", sleeper())).await, Outcome::Changed, "{change:?}");
        last = pane(&mut server, "a").await;
        until(|| runs(&last, "/bin/sleep".as_ref())).await;
        assert_eq!(variable(&last, "CLAUDE_CONFIG_DIR").as_deref(), Some("/home/first"), "{change:?}");
        assert_eq!(variable(&last, "STRANGER"), None, "{change:?}");
        let session = playground.person(&["show-environment", "-t", "=a:"]);
        assert_eq!(session, "CLAUDE_CONFIG_DIR=/home/first", "{change:?}");
    }
}

#[tokio::test]
async fn hostile_arguments_and_directories_arrive_as_they_are() {
    let (playground, mut server) = Playground::started().await;
    let evidence = playground.path("evidence");
    let names =
        ["a b", "a#b", "a##b", "a###{z}", "#{pane_id}", "a#,b", "100%H%%", "it's", "~", "$HOME", "a;", "a}", "é", "line\nend", "-c"];
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.push("#(touch evidence)".into());
    for (number, name) in names.iter().enumerate() {
        let workdir = playground.path(name);
        std::fs::create_dir(&workdir).expect("made");
        let mut exec = exec("/bin/sh", &["-c", "printf %s \"$1\" > said; exec sleep infinity", "sh", name]);
        exec.workdir.clone_from(&workdir);
        let session = format!("s{number}");
        assert_eq!(perform(&mut server, create(&session, exec)).await, Outcome::Changed, "{name:?}");
        let created = pane(&mut server, &session).await;
        until(|| runs(&created, "/bin/sleep".as_ref())).await;
        let cwd: PathBuf = std::fs::read_link(format!("/proc/{}/cwd", process_of(&created).pid)).expect("readable");
        assert_eq!(cwd, workdir);
        assert_eq!(&std::fs::read_to_string(workdir.join("said")).expect("written"), name);
    }
    assert!(!evidence.exists() && !PathBuf::from("evidence").exists(), "no directory's name was executed");

    let mut exec = sleeper();
    exec.workdir = playground.path("a#[b]");
    std::fs::create_dir(&exec.workdir).expect("made");
    let outcome = perform(&mut server, create("style", exec)).await;
    assert!(outcome.failure().is_some(), "tmux cannot be told this one: refused, and not started elsewhere");
}

#[tokio::test]
async fn nothing_of_a_person_who_attaches_comes_into_a_session() {
    let (playground, mut server) = Playground::started().await;
    running(&mut server, "a", sleeper()).await;
    let session = playground.person(&["show-environment", "-t", "=a:"]);
    assert_eq!(session, "CLAUDE_CONFIG_DIR=/home/first");
    assert_eq!(playground.person(&["show-options", "-g", "update-environment"]), "update-environment");
}
