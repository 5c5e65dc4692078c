//! What a spec becomes: defaults, resolved paths, expanded names, and the text that says all of it.

use std::{path::Path, time::Duration};

use claude_failover::{
    model::{AccountName, Percent, PoolName},
    spec::{
        AdoptMode, Failback, FieldPath, LoadPlace, Origin, PermissionMode, QuotaSource, REQUIRED_LINKS, Restart, SocketSpec, Starter, load,
        render_effective,
    },
};
use proptest::prelude::*;

use crate::support::{BODY, HEAD, load_right, numbered, place, source, spec_with};

/// A spec in which every field is written, none as its default.
pub const FULL: &str = r#"apiVersion: claude-failover/v1
kind: Pool
metadata:
  name: agents
spec:
  accounts:
    - name: primary
      home: ~/.claude-accounts/primary
    - name: backup
      home: /srv/accounts/backup
      thresholds: { fiveHour: 80.5, headroom: 20 }
  activeLink: ~/.claude
  shared:
    root: ./shared
    links: [plans, tasks, projects, history.jsonl, file-history]
    adopt: merge
  thresholds: { fiveHour: 90, weekly: 97, headroom: 10 }
  quota:
    sources: [file, command, api]
    pollEvery: 4m
    staleAfter: 1h30m
    file: usage.json
    command: [./usage, --json, "it's"]
  swap:
    drain: 0s
    hardDrain: 1500ms
    canary: 2
    batch: 8
    proveWithin: 90s
    minDwell: 1h
    failback: never
  agent:
    command: [~/bin/claude, "--add-dir", "/a b"]
    permissionMode: plan
    trustWorkdirs: false
    environment: { HTTPS_PROXY: "http://127.0.0.1:3128", EMPTY: "", "NO": "yes" }
    statusLine: [~/bin/line, "--short"]
    stopGrace: 30s
  sessions:
    - names: "ccl-{0..2}"
      workdir: ~/work
    - names: "{api,web}-{08..10}"
      workdir: src/../src
      restart: onFailure
      adopt: true
      dispatch: true
  tmux: { socket: run/tmux.sock, width: 200, height: 60, historyLimit: 2000 }
  projects:
    - path: ~/src/api
      priority: 5
      sessions: ["api-{08..10}"]
      maxInFlight: 2
      completion: turn
      attempts: 1
      timeout: 30m
      lease: 1m
    - { path: /srv/docs, name: manual }
  checkpoints: { every: 30s, keep: 5, maxAge: 1d }
  janitor: { archiveDoneAfter: 30d, staleMarkerAfter: 1h }
  prune: true
  maxPrune: 3
"#;

#[test]
fn the_smallest_spec_gets_every_default() {
    let loaded = load_right(&spec_with(""));
    let spec = &loaded.spec;
    assert_eq!(spec.pool, PoolName::new("agents").expect("a name"));
    assert_eq!(spec.accounts[0].home, Path::new("/home/user/.claude-accounts/primary"));
    assert_eq!(spec.accounts[1].thresholds.five_hour, Percent::whole(85));
    assert_eq!(spec.accounts[1].thresholds.weekly, Percent::whole(95));
    assert_eq!(spec.accounts[1].thresholds.headroom, Percent::whole(15));
    assert_eq!(spec.active_link, None);
    assert_eq!(spec.shared.root, Path::new("/home/user/.claude-shared"));
    assert_eq!(spec.shared.adopt, AdoptMode::Never);
    assert_eq!(spec.quota.sources, [QuotaSource::Statusline, QuotaSource::Cli]);
    assert_eq!((spec.quota.poll_every, spec.quota.stale_after), (Duration::from_mins(5), Duration::from_mins(15)));
    assert_eq!((spec.swap.drain, spec.swap.hard_drain), (Duration::from_mins(10), Duration::from_mins(1)));
    assert_eq!((spec.swap.canary, spec.swap.batch, spec.swap.failback), (1, 4, Failback::OnReset));
    assert_eq!((spec.swap.prove_within, spec.swap.min_dwell), (Duration::from_mins(1), Duration::from_mins(45)));
    assert_eq!(spec.agent.command, ["claude"]);
    assert_eq!((spec.agent.permission_mode, spec.agent.trust_workdirs), (PermissionMode::AcceptEdits, true));
    assert_eq!(spec.agent.stop_grace, Duration::from_secs(15));
    assert_eq!(spec.sessions.len(), 10);
    assert!(spec.sessions.values().all(|session| session.workdir == Path::new("/home/user/work") && session.restart == Restart::Always));
    assert_eq!(spec.tmux.socket, SocketSpec::Name("agents".to_owned()));
    assert_eq!((spec.tmux.width, spec.tmux.height, spec.tmux.history_limit), (150, 50, 10_000));
    assert_eq!((spec.prune, spec.max_prune), (false, 1));
    assert!(loaded.warnings.is_empty());
}

#[test]
fn the_required_links_are_one_constant() {
    assert_eq!(REQUIRED_LINKS, ["projects", "file-history", "tasks"]);
    for (text, more) in [(spec_with(""), &[][..]), (FULL.to_owned(), &["plans", "history.jsonl"][..])] {
        let shared = load_right(&text).spec.shared;
        let names: Vec<&str> = shared.links.iter().map(claude_failover::model::LinkName::as_str).collect();
        assert_eq!(names, [&REQUIRED_LINKS[..], more].concat(), "required ones first, in their order");
        assert!(shared.root.is_absolute());
        for link in &shared.links {
            let target = shared.root.join(link.as_str());
            assert_eq!(target.parent(), Some(shared.root.as_path()), "{link} leaves the root");
        }
    }
}

#[test]
fn paths_are_resolved_where_they_are_written() {
    let spec = load_right(FULL).spec;
    assert_eq!(spec.active_link.as_deref(), Some(Path::new("/home/user/.claude")));
    assert_eq!(spec.shared.root, Path::new("/etc/pool/shared"));
    assert_eq!(spec.quota.file.as_deref(), Some(Path::new("/etc/pool/usage.json")));
    assert_eq!(spec.quota.command[0], "/etc/pool/usage");
    assert_eq!(spec.agent.command[0], "/home/user/bin/claude");
    assert_eq!(spec.tmux.socket, SocketSpec::Path("/etc/pool/run/tmux.sock".into()));
    let names: Vec<&str> = spec.sessions.keys().map(claude_failover::model::SessionName::as_str).collect();
    assert_eq!(names, ["api-08", "api-09", "api-10", "ccl-0", "ccl-1", "ccl-2", "web-08", "web-09", "web-10"]);
    assert!(spec.sessions.values().filter(|session| session.adopt).all(|session| session.workdir == Path::new("/etc/pool/src")));
}

#[test]
fn a_home_that_is_not_usable_is_said() {
    use std::os::unix::ffi::OsStringExt as _;
    let home = std::ffi::OsString::from_vec(b"/home/\xff".to_vec()).into();
    let places = [LoadPlace { home, base: "/".into() }, LoadPlace { home: "".into(), base: "/".into() }];
    for place in places {
        let rejected = load(&[source("pool.yaml", spec_with(""))], &place).expect_err("homes that cannot be resolved");
        assert!(rejected.to_string().contains("cannot be resolved"), "{rejected}");
    }
}

#[test]
fn the_effective_spec_is_printed_with_and_without_origins() {
    insta::assert_snapshot!("smallest-with-origins", render_effective(&load_right(&spec_with("")), true));
    insta::assert_snapshot!("full-with-origins", render_effective(&load_right(FULL), true));
    insta::assert_snapshot!("full", render_effective(&load_right(FULL), false));
}

#[test]
fn origins_name_the_file_of_each_value() {
    let base = source("pool.yaml", spec_with(""));
    let more = source("pool.d/host.yaml", "spec:\n  swap:\n    drain: 5m\n");
    let loaded = load(&[base, more], &place()).expect("a spec");
    let swap = FieldPath::root().field("spec").field("swap");
    let Origin::Written(drain) = loaded.origins.of(&swap.field("drain")) else { panic!("drain was written") };
    assert_eq!((&*drain.file, drain.line, drain.column), ("pool.d/host.yaml", 3, 12));
    assert_eq!(loaded.origins.of(&swap.field("batch")), Origin::Default);
    assert!(render_effective(&loaded, true).contains("drain: 5m  # pool.d/host.yaml:3:12\n"));
}

/// Loading what is printed gives the same spec and prints the same text, wherever it is loaded.
fn check_round_trip(text: &str) {
    let loaded = load_right(text);
    let printed = render_effective(&loaded, false);
    let elsewhere = LoadPlace { home: "/elsewhere".into(), base: "/other".into() };
    let again = match load(&[source("effective.yaml", printed.clone())], &elsewhere) {
        Ok(again) => again,
        Err(rejected) => panic!("{}\n{printed}", rejected.diagnostics.render(false)),
    };
    assert_eq!(again.spec, loaded.spec);
    assert_eq!(again.spec.digest(), loaded.spec.digest());
    assert_eq!(render_effective(&again, false), printed);
}

#[test]
fn the_effective_spec_loads_again() {
    check_round_trip(&spec_with(""));
    check_round_trip(FULL);
}

#[test]
fn the_largest_spec_loads_again() {
    let accounts = numbered(100, |index| format!("    - {{ name: a{index}, home: /accounts/{index} }}\n"));
    let sessions = numbered(1_000, |index| format!("    - {{ names: \"s{index}-{{0..9}}\", workdir: /work/{index} }}\n"));
    let variables = numbered(1_000, |index| format!("      V{index}: x\n"));
    check_round_trip(&format!("{HEAD}  accounts:\n{accounts}  sessions:\n{sessions}  agent:\n    environment:\n{variables}"));
}

proptest! {
    #[test]
    fn any_text_survives_the_round_trip(
        value in "[^\\p{Cc}]{0,20}", word in "[A-Za-z0-9_-]{1,8}", directory in "[^\\p{Cc}~/][^\\p{Cc}/]{0,12}",
    ) {
        let quoted = |text: &str| serde_json::to_string(text).expect("JSON");
        let name = format!("x{word}");
        let text = format!(
            "{HEAD}{}  agent:\n    environment: {{ V: {} }}\n    command: [claude, {}]\n",
            BODY.replace("~/work", &quoted(&format!("/w/{directory}"))).replace("primary }", "primary/p }").replace("name: backup", &format!("name: {}", quoted(&name))),
            quoted(&value), quoted(&value),
        );
        check_round_trip(&text);
    }
}

#[test]
fn the_first_spec_of_a_user_loads() {
    let account = |name: &str, home: &str| (AccountName::new(name).expect("a name"), home.to_owned());
    let starter = Starter {
        pool: PoolName::new("agents").expect("a name"),
        accounts: vec![account("primary", "~/.claude-accounts/primary"), account("no", "/home/a user/ÿ: #")],
        sessions: "ccl-{0..9}".to_owned(),
        workdir: "~/work".to_owned(),
    };
    let text = starter.render();
    insta::assert_snapshot!("starter", text);
    let loaded = load_right(&text);
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.spec.accounts[1].home, Path::new("/home/a user/ÿ: #"));
    assert_eq!(loaded.spec.sessions.len(), 10);

    // The comments say what holds without them: without their marks they change nothing, but for the active link, which is an offer.
    let fields: String = text
        .lines()
        .map(|line| line.strip_prefix("  # ").filter(|field| field.starts_with(' ') || field.contains(": ") || field.ends_with(':')))
        .zip(text.lines())
        .map(|(field, line)| {
            field.filter(|field| !field.contains(". ")).map_or_else(|| format!("{line}\n"), |field| format!("  {field}\n"))
        })
        .collect();
    let mut uncommented = load_right(&fields).spec;
    assert_eq!(uncommented.active_link.take().as_deref(), Some(Path::new("/home/user/.claude")));
    assert_eq!(uncommented, loaded.spec);
}
