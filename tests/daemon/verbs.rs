//! The verbs that need no daemon and change no session: what they write, and what they leave alone.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::pool::{BINARY, Ended, Pool};

/// Each verb of the CLI that people see.
fn verbs(pool: &Pool) -> Vec<String> {
    let help = pool.cli(&["--help"]).expect(0).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<_> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned))
        .collect();
    assert!(verbs.len() > 20 && verbs.contains(&"apply".to_owned()), "{verbs:?}");
    verbs
}

/// The permission bits of a path.
fn mode(pool: &Pool, path: &str) -> u32 {
    fs::metadata(pool.path(path)).unwrap_or_else(|error| panic!("{path}: {error}")).permissions().mode() & 0o7777
}

/// A command of the CLI, with `PATH` beginning with the pool's `bin`.
fn with_own_programs(pool: &Pool, arguments: &[&str]) -> Ended {
    let path = format!("{}:{}", pool.path("bin").display(), std::env::var("PATH").expect("set"));
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}")).args(["timeout", "60", BINARY, "-f", "pool.yaml"]).args(arguments);
    pool.end(command)
}

/// A command of the CLI with another spec.
fn of(pool: &Pool, spec: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(BINARY);
    command.args(["-f", spec]).args(arguments);
    pool.end(command)
}

/// Puts a program into the pool's `bin`.
fn install(pool: &Pool, name: &str, script: &str) {
    fs::create_dir_all(pool.path("bin")).expect("made");
    pool.put(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(pool.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).expect("made runnable");
}

/// The verdict and the words of one of the doctor's checks.
fn finding(ended: &Ended, check: &str) -> (String, String) {
    let findings: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let found = findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("nothing of {check}: {ended:?}"));
    (found["verdict"].as_str().expect("a word").to_owned(), found["message"].as_str().expect("a text").to_owned())
}

#[test]
fn a_watched_status_is_one_document_for_each_look() {
    let pool = Pool::running(1);
    let mut command = Command::new(BINARY);
    pool.environ(&mut command);
    command.args(["-f", "pool.yaml", "status", "--watch", "-o", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watching = command.spawn().expect("it starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("another look").expect("text");
        let status: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!((&status["pool"], &status["active"]), (&json!("try"), &json!("primary")), "{line}");
    }
    // Whoever goes away ends it: a closed pipe is a quiet end.
    drop(lines);
    assert!(watching.wait().expect("it ends").success());
}

#[test]
fn completions_and_manual_pages_name_each_verb() {
    let pool = Pool::new(1);
    let verbs = verbs(&pool);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = pool.cli(&["completions", shell]).expect(0).stdout;
        let missing: Vec<_> = verbs.iter().filter(|verb| !script.contains(verb.as_str())).collect();
        assert!(missing.is_empty(), "{shell} lacks {missing:?}");
    }
    let script = pool.cli(&["completions", "bash"]).expect(0).stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("piped").write_all(script.as_bytes()).expect("read");
    assert!(bash.wait().expect("it ends").success(), "bash reads what is meant for it");

    let page = pool.cli(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH claude-failover 1"), "{page}");
    pool.cli(&["man", "--out", "pages"]).expect(0);
    for verb in &verbs {
        assert!(page.contains(&verb.replace('-', "\\-")), "the main page lacks {verb}");
        if verb != "help" {
            let page =
                fs::read_to_string(pool.path(&format!("pages/claude-failover-{verb}.1"))).unwrap_or_else(|error| panic!("{verb}: {error}"));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
    }
}

#[test]
fn services_are_shown_and_installed_alike() {
    let mut pool = Pool::new(1);
    pool.edit(|spec| spec["tmux"] = json!({"historyLimit": 1234}));
    let shown = pool.cli(&["service", "show"]).expect(0).stdout;
    assert!(!pool.state_dir().exists() && !pool.path("home/.config").exists(), "showing writes nothing");
    // Others must not be let in, whatever the umask.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0022; exec \"$@\"", "sh", BINARY, "-f", "pool.yaml", "service", "install"]);
    let said = pool.end(command).expect(0);
    let units = pool.path("home/.config/systemd/user");
    let files =
        [units.join("claude-failover-tmux-try.service"), units.join("claude-failover-try.service"), pool.state_dir().join("tmux.conf")];
    let mut all = String::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        all.extend(["# ", &file.display().to_string(), "\n", &text, "\n"]);
        assert!(said.stdout.contains(&format!("wrote {}", file.display())), "{}", said.stdout);
    }
    assert_eq!(shown, all, "what is shown is what is written");
    assert_eq!(mode(&pool, "state/claude-failover/try"), 0o700);
    assert_eq!(mode(&pool, "state/claude-failover/try/tmux.conf"), 0o600);
    for wanted in
        ["Type=notify", "WatchdogSec=", "ExecReload=/bin/kill -HUP $MAINPID", "set-option -g history-limit 1234", "remain-on-exit on"]
    {
        assert!(all.contains(wanted), "no {wanted:?} in {all}");
    }
    let config = files[2].display().to_string();
    assert!(all.contains(&format!("-f {config}")) && all.contains(&format!("-S {}", pool.tmux_socket().display())), "{all}");
    // The daemon works with what was made, and again after a second installation.
    pool.cli(&["service", "install"]).expect(0);
    pool.start_daemon();
    pool.assert_whole("a", 1);
}

/// What systemd itself says of the units, where it is installed.
#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing must say so")]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("systemd-analyze is not installed: the units are not verified");
        return;
    }
    let pool = Pool::new(1);
    pool.cli(&["service", "install"]).expect(0);
    let units = pool.path("home/.config/systemd/user");
    let verify = |name: &str| {
        let mut command = Command::new("systemd-analyze");
        command.args(["--user", "--man=no", "--recursive-errors=no", "verify"]).arg(units.join(name));
        pool.end(command)
    };
    for name in ["claude-failover-tmux-try.service", "claude-failover-try.service"] {
        let ended = verify(name).expect(0);
        assert!(!ended.stderr.contains(name), "{}", ended.stderr);
    }
    let unit = fs::read_to_string(units.join("claude-failover-try.service")).expect("readable");
    fs::write(units.join("claude-failover-try.service"), unit.replace("Type=notify", "Type=no-such-type")).expect("written");
    assert!(verify("claude-failover-try.service").stderr.contains("no-such-type"), "it does look");
}

#[test]
fn a_server_that_systemd_starts_is_taken_as_ours_is() {
    let mut pool = Pool::new(1);
    pool.cli(&["service", "install"]).expect(0);
    let unit = fs::read_to_string(pool.path("home/.config/systemd/user/claude-failover-tmux-try.service")).expect("readable");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    // As systemd reads it: `$$` is one, and within quotes a backslash takes the next character as it is; the shell agrees with both.
    let line = line.replace("$$", "$");
    let (before, rest) = line.split_once('"').expect("one quoted word");
    let (script, after) = rest.rsplit_once('"').expect("its end");
    let script = script.replace("\\\"", "\"").replace("\\\\", "\\");
    let mut words: Vec<&str> = before.split_whitespace().collect();
    words.push(&script);
    words.extend(after.split_whitespace());
    let mut command = Command::new(words[0]);
    pool.environ(&mut command);
    // systemd makes the runtime directory.
    fs::create_dir_all(pool.path("run/claude-failover")).expect("made");
    command.args(&words[1..]).env("CLAUDE_CODE_OAUTH_TOKEN", "secret").env("ANTHROPIC_MODEL", "other").env("KEPT", "kept");
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    crate::waiting::wait_until("the server", || pool.tmux(&["show-environment", "-g"]).is_some());
    let environment = pool.tmux(&["show-environment", "-g"]).expect("asked");
    assert!(
        environment.contains("KEPT=kept") && !environment.contains("CLAUDE_CODE") && !environment.contains("ANTHROPIC"),
        "{environment}"
    );
    pool.cli(&["apply", "--yes"]).expect(0);
    pool.assert_whole("a", 1);
    assert_eq!(pool.tmux_pid(), i32::try_from(server.id()).ok(), "no other server was started");
    pool.start_daemon();
    assert_eq!(pool.condition("Synced"), "True");
    pool.stop_daemon(nix::sys::signal::Signal::SIGTERM);
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
fn init_leaves_what_exists_as_it_is() {
    let pool = Pool::new(1);
    let given = pool.path("my own");
    fs::create_dir(&given).expect("made");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o750)).expect("set");
    fs::write(given.join("mine"), "words").expect("written");
    let account = format!("one={}", given.display());
    let arguments = ["init", "--yes", "--account", &account, "--account", "two"];
    let said = of(&pool, "new.yaml", &arguments).expect(0);
    assert!(said.stderr.contains("exists and is left as it is"), "{said:?}");
    assert_eq!((mode(&pool, "my own"), fs::read_to_string(given.join("mine")).expect("there").as_str()), (0o750, "words"));
    assert_eq!(mode(&pool, "home/.claude-accounts/two"), 0o700);
    assert!(said.stdout.contains(&format!("CLAUDE_CONFIG_DIR='{}' claude auth login", given.display())), "{}", said.stdout);
    let text = fs::read_to_string(pool.path("new.yaml")).expect("written");
    assert!(text.contains(&given.display().to_string()), "{text}");
    of(&pool, "new.yaml", &["validate"]).expect(0);

    pool.put("new.yaml", "mine");
    of(&pool, "new.yaml", &arguments).expect(64).says("exists already");
    assert_eq!(fs::read_to_string(pool.path("new.yaml")).expect("there"), "mine", "never over a file");
    of(&pool, "other.yaml", &["init", "--yes", "--account", "No Name"]).expect(64);
    assert!(!pool.path("other.yaml").exists());
}

#[test]
fn doctor_finds_open_homes_and_states() {
    let pool = Pool::applied(1);
    let ended = pool.cli(&["doctor", "-o", "json"]);
    for check in
        ["home of primary", "home of backup", "state directory", "state", "login of primary", "inotify watches", "inotify instances"]
    {
        assert_eq!(finding(&ended, check).0, "ok", "{check}: {ended:?}");
    }
    fs::set_permissions(pool.path("b"), fs::Permissions::from_mode(0o777)).expect("set");
    fs::set_permissions(pool.state_dir(), fs::Permissions::from_mode(0o755)).expect("set");
    fs::remove_file(pool.path("a/.credentials.json")).expect("removed");
    let ended = pool.cli(&["doctor", "-o", "json"]).expect(1);
    let found = |check: &str| finding(&ended, check);
    assert_eq!(found("home of primary").0, "ok");
    assert_eq!(found("home of backup").0, "error");
    assert_eq!(found("state directory").0, "error");
    let login = found("login of primary");
    assert!(login.0 == "error" && login.1.contains("claude auth login"), "{login:?}");
}

#[test]
fn doctor_says_what_is_wrong_with_tmux_and_the_agent() {
    let mut pool = Pool::new(1);
    install(&pool, "tmux", "case \"$1\" in -V) echo 'tmux 2.8' ;; *) exit 1 ;; esac");
    let ended = with_own_programs(&pool, &["doctor", "-o", "json"]).expect(1);
    let (verdict, words) = finding(&ended, "tmux version");
    assert!(verdict == "error" && words.contains("2.8") && words.contains("3.2a"), "{verdict} {words}");
    fs::remove_file(pool.path("bin/tmux")).expect("removed");

    install(&pool, "claude", "echo '2.0.1 (Claude Code)'");
    pool.edit(|spec| spec["agent"]["command"] = json!(["claude"]));
    let ended = with_own_programs(&pool, &["doctor", "-o", "json"]);
    let (verdict, words) = finding(&ended, "agent");
    assert!(verdict == "warning" && words.contains("2.0.1") && words.contains("2.1.234"), "{verdict} {words}");
    pool.edit(|spec| spec["agent"]["command"] = json!(["no-such-program"]));
    let ended = pool.cli(&["doctor", "-o", "json"]).expect(1);
    let (verdict, words) = finding(&ended, "agent");
    assert!(verdict == "error" && words.contains("no-such-program"), "{verdict} {words}");
}
