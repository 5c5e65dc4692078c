//! Golden files of every diagnostic, as a person and as a program see it.

use std::collections::BTreeSet;

use claude_failover::spec::{Code, Diagnostics, SourceText, load};

use crate::support::{BODY, HEAD, load_text, place, source, spec_with};

/// The findings of some sources, whether they refuse the spec or not.
fn findings(sources: &[SourceText]) -> Diagnostics {
    match load(sources, &place()) {
        Ok(loaded) => loaded.warnings,
        Err(rejected) => rejected.diagnostics,
    }
}

/// Specs with one kind of mistake each: what is wrong, and the sources.
fn mistakes() -> Vec<(&'static str, Vec<SourceText>)> {
    let whole = |text: &str| vec![source("pool.yaml", text)];
    let with = |fields: &str| vec![source("pool.yaml", spec_with(fields))];
    let accounts = |accounts: &str| whole(&format!("{HEAD}  accounts:\n{accounts}  sessions:\n    - {{ names: ccl, workdir: /work }}\n"));
    let sessions = |sessions: &str| {
        whole(&format!(
            "{HEAD}  accounts:\n    - {{ name: a, home: /accounts/a }}\n    - {{ name: b, home: /accounts/b }}\n  sessions:\n{sessions}"
        ))
    };
    vec![
        ("too large", whole(&format!("{}# {}\n", spec_with(""), "x".repeat(300_000)))),
        ("too complex", whole(&"[".repeat(1_000))),
        ("not yaml", whole("apiVersion: claude-failover/v1\nkind: 'Pool\nspec:\n")),
        ("tab", whole("spec:\n\tprune: true\n")),
        ("two documents", whole(&format!("{}---\n{}", spec_with(""), spec_with("")))),
        ("control characters in the source", whole("kind: \u{9b}31mPool\u{1b}[0m\n")),
        ("empty", whole("# nothing yet\n")),
        ("not a map", whole("- kind: Pool\n")),
        ("duplicate key", with("  prune: true\n  tmux: { width: 100 }\n  prune: false\n")),
        ("set twice", vec![source("pool.yaml", spec_with("  prune: true\n")), source("pool.d/10-host.yaml", "spec:\n  prune: true\n")]),
        ("unknown field", with("  swap:\n    drian: 5m\n")),
        ("unknown field of another level", with("  drain: 5m\n")),
        ("unknown field without a likeness", with("  tmux:\n    zzz: 1\n")),
        ("unknown field for an absent one", whole(&format!("{HEAD}{}", BODY.replace("home: ~/.claude-accounts/backup", "hom: ~/backup")))),
        ("missing fields", whole("kind: Pool\nspec:\n  accounts:\n    - name: a\n  sessions: []\n")),
        (
            "wrong type",
            with("  thresholds: { fiveHour: 85% }\n  prune: yes\n  swap: { drain: 10 }\n  activeLink: ~\n  agent: { command: claude }\n"),
        ),
        ("wrong type of a name", accounts("    - { name: 1, home: /accounts/a }\n    - { name: true, home: /accounts/b }\n")),
        ("unknown word", with("  swap: { failback: onreset }\n")),
        ("wrong version", whole(&spec_with("").replace("failover/v1", "failover/v2"))),
        ("out of range", with("  thresholds: { fiveHour: 120 }\n  swap: { canary: 0 }\n")),
        ("empty pool", whole(&format!("{HEAD}  accounts: []\n  sessions: []\n"))),
        ("bad names", accounts("    - { name: a.b, home: /accounts/a }\n    - { name: é, home: /accounts/b }\n")),
        ("bad name of the pool", whole(&spec_with("").replace("agents", "\"my pool\""))),
        ("reserved names", accounts("    - { name: all, home: /accounts/a }\n    - { name: b, home: /accounts/b }\n")),
        ("reserved name of the pool", whole(&spec_with("").replace("agents", "default"))),
        ("duplicate account", accounts("    - { name: a, home: /accounts/a }\n    - { name: a, home: /accounts/b }\n")),
        ("duplicate link", with("  shared: { links: [projects, file-history, tasks, plans, plans] }\n")),
        ("bad path", with("  activeLink: ~root/.claude\n  shared: { root: \"/a\\x1b[31m\" }\n")),
        ("bad duration", with("  swap: { drain: 5 minutes, hardDrain: 400d, proveWithin: 0s }\n")),
        ("home too wide", accounts("    - { name: a, home: /accounts/a }\n    - { name: b, home: / }\n")),
        ("same home", accounts("    - { name: a, home: /accounts/a }\n    - { name: b, home: /accounts/./b/../a/ }\n")),
        ("home inside home", accounts("    - { name: a, home: /accounts/a/nested }\n    - { name: b, home: /accounts/a }\n")),
        ("home and root", with("  shared: { root: ~/.claude-accounts/primary/shared }\n")),
        ("home is the root", with("  shared: { root: ~/.claude-accounts/backup }\n")),
        ("home in the default root", accounts("    - { name: a, home: ~/.claude-shared/a }\n    - { name: b, home: /accounts/b }\n")),
        ("active link is a home", with("  activeLink: ~/.claude-accounts/primary\n")),
        ("active link around homes", with("  activeLink: ~/.claude-accounts\n")),
        ("active link in the root", with("  activeLink: ~/.claude-shared/active\n")),
        (
            "bad links",
            with("  shared:\n    links: [projects, file-history, tasks, ../up, a/b, .credentials.json, .claude.json, sessions]\n"),
        ),
        ("required link missing", with("  shared: { links: [projects, plans] }\n")),
        ("headroom leaves no target", with("  thresholds: { fiveHour: 80, headroom: 80 }\n")),
        (
            "headroom of one account leaves no target",
            accounts("    - { name: a, home: /accounts/a }\n    - { name: b, home: /accounts/b, thresholds: { weekly: 10 } }\n"),
        ),
        ("poll too often", with("  quota: { pollEvery: 1m }\n")),
        ("stale before poll", with("  quota: { pollEvery: 20m }\n")),
        ("sources incomplete", with("  quota: { sources: [file, command] }\n")),
        ("unused fields", with("  quota: { file: usage.json, command: [usage, --json] }\n")),
        ("bad commands", with("  agent: { command: [\"\"] }\n  quota: { sources: [command], command: [usage, \"a\\nb\"] }\n")),
        (
            "fields of a later version",
            with(
                "  projects: []\n  checkpoints: {}\n  janitor: {}\n  notify: []\n  control: {}\n  dispatch: true\n  tmux: { shards: auto }\n",
            ),
        ),
        (
            "managed variables",
            with(
                "  agent:\n    environment:\n      CLAUDE_CONFIG_DIR: /a\n      ANTHROPIC_API_KEY: secret\n      CLAUDE_CODE_OAUTH_TOKEN: secret\n      CLAUDE_CODE_MAX_RETRIES: \"3\"\n",
            ),
        ),
        ("bad variables", with("  agent:\n    environment: { \"A-B\": x, GOOD: \"line\\nbreak\" }\n")),
        (
            "bad patterns",
            sessions(
                "    - { names: \"a{0..9\", workdir: /w }\n    - { names: \"b{9..0}\", workdir: /w }\n    - { names: \"c{x}\", workdir: /w }\n",
            ),
        ),
        ("bad session names", sessions("    - { names: \"web.{1..3}\", workdir: /w }\n    - { names: all, workdir: /w }\n")),
        ("sessions overlap", sessions("    - { names: \"ccl-{0..9}\", workdir: /w }\n    - { names: \"ccl-{5..14}\", workdir: /w }\n")),
        ("a pattern overlaps itself", sessions("    - { names: \"ccl-{a,b,a}\", workdir: /w }\n")),
        ("too many sessions", sessions("    - { names: \"a-{0..99}-{0..999}\", workdir: /w }\n")),
        (
            "too many sessions together",
            sessions("    - { names: \"a-{1..6000}\", workdir: /w }\n    - { names: \"b-{1..6000}\", workdir: /w }\n"),
        ),
        ("single account", accounts("    - { name: a, home: /accounts/a }\n")),
        ("dwell too long", with("  swap: { minDwell: 6h }\n")),
        ("dwell too short", with("  swap: { minDwell: 1m }\n")),
        ("socket too long", with(&format!("  tmux: {{ socket: /run/{} }}\n", "x".repeat(120)))),
        (
            "duplicate project",
            with("  projects:\n    - { path: /src/api }\n    - { path: /src/api, name: other }\n    - { path: /old/api }\n"),
        ),
        ("project without a usable name", with("  projects:\n    - { path: \"/src/my api\" }\n")),
        ("projects of unknown sessions", with("  projects:\n    - { path: /src/api, sessions: [\"nobody-{0..1}\", \"s-0\", \"a{\"] }\n")),
        (
            "lease too short",
            with("  projects:\n    - { path: /src/api, lease: 1s }\n  checkpoints: { every: 1s }\n  janitor: { archiveDoneAfter: 1s }\n"),
        ),
        ("personal tmux server", with("  tmux: { socket: default }\n")),
    ]
}

#[test]
fn each_mistake_is_shown_with_its_place() {
    for (name, sources) in mistakes() {
        let found = findings(&sources);
        assert!(!found.is_empty(), "{name}: nothing was found");
        insta::assert_snapshot!(name.replace(' ', "-"), found.render(false));
    }
}

#[test]
fn every_code_has_its_golden_file() {
    let seen: BTreeSet<Code> =
        mistakes().iter().flat_map(|(_, sources)| findings(sources).iter().map(|found| found.code).collect::<Vec<_>>()).collect();
    // These come from looking at the disk; the tests of `host::specfile` show them.
    let elsewhere = [Code::WorkdirMissing, Code::ProjectMissing, Code::IgnoredFile];
    let unseen: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code) && !elsewhere.contains(code)).collect();
    assert!(unseen.is_empty(), "no mistake shows {unseen:?}");
}

/// Ten mistakes of all layers in one file.
const TEN: &str = r#"apiVersion: claude-failover/v1
kind: Pool
metadata:
  name: My Pool
spec:
  accounts:
    - name: primary
      home: ~/.claude-accounts/primary
      wieght: 3
    - name: primary
      hom: ~/.claude-accounts/backup
    - name: third
      home: ~/.claude-accounts/primary/third
      thresholds: { fiveHour: 300 }
  sessions:
    - names: "ccl-{0..9}"
      workdir: ~/work
    - names: "ccl-{9..12}"
      workdir: ~/work
  quota:
    pollEvery: 30s
  swap:
    drain: 10
    failback: always
  polcy: {}
"#;

#[test]
fn all_mistakes_are_reported_in_one_go() {
    let rejected = load_text(TEN).expect_err("ten mistakes");
    insta::assert_snapshot!("ten-mistakes", rejected.diagnostics.render(false));
    insta::assert_snapshot!("ten-mistakes-in-short", rejected);
    let json = serde_json::to_string_pretty(&rejected.diagnostics.to_json()).expect("JSON");
    insta::assert_snapshot!("ten-mistakes-as-json", json);
}

#[test]
fn colour_is_only_added() {
    let rejected = load_text(TEN).expect_err("ten mistakes");
    let (plain, coloured) = (rejected.diagnostics.render(false), rejected.diagnostics.render(true));
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains('\u{1b}'));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        stripped.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    assert_eq!(stripped + rest, plain);
}

#[test]
fn the_value_of_a_variable_is_never_shown() {
    for variable in
        ["ANTHROPIC_API_KEY: canary-4711", "\"A-B\": canary-4711", "LINES: \"canary-4711\\n\"", "é𝄞: canary-4711", "KEY: [canary-4711]"]
    {
        for environment in [format!("{{ {variable} }}"), format!("\n      {variable}")] {
            let rejected = load_text(&spec_with(&format!("  agent:\n    environment: {environment}\n"))).expect_err("a wrong variable");
            for shown in [rejected.diagnostics.render(false), rejected.diagnostics.to_json().to_string(), rejected.to_string()] {
                assert!(!shown.contains("canary") && !shown.contains("4711"), "{shown}");
            }
        }
    }
}
