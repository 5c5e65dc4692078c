//! A base and its drop-ins.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use claude_failover::spec::{Code, Loaded, Rejected, SourceText, load};
use proptest::prelude::*;

use crate::support::{HEAD, place, source, spec_with};

/// Loads a base and drop-ins that are called `1`, `2`, ….
fn load_all(base: &str, drop_ins: &[&str]) -> Result<Loaded, Rejected> {
    let mut sources = vec![source("pool.yaml", base)];
    sources.extend(drop_ins.iter().enumerate().map(|(index, text)| source(&format!("pool.d/{}.yaml", index + 1), *text)));
    load(&sources, &place())
}

#[test]
fn maps_are_merged_at_every_depth() {
    let drop_in = "spec:\n  swap: { batch: 9 }\n  thresholds: { weekly: 90 }\n  agent: { environment: { B: two } }\n";
    let base = spec_with("  swap: { canary: 2 }\n  thresholds: { fiveHour: 80 }\n  agent: { environment: { A: one } }\n");
    let spec = load_all(&base, &[drop_in]).expect("a spec").spec;
    assert_eq!((spec.swap.canary, spec.swap.batch), (2, 9));
    assert_eq!(spec.accounts[0].thresholds.five_hour.to_string(), "80%");
    assert_eq!(spec.accounts[0].thresholds.weekly.to_string(), "90%");
    assert_eq!(spec.agent.environment.len(), 2);
}

#[test]
fn accounts_and_lines_are_merged_by_name() {
    let drop_in = r#"
apiVersion: claude-failover/v1
kind: Pool
spec:
  accounts:
    - name: backup
      thresholds: { fiveHour: 70 }
    - name: third
      home: ~/.claude-accounts/third
  sessions:
    - names: "ccl-{0..9}"
      restart: never
    - names: extra
      workdir: /w
"#;
    let spec = load_all(&spec_with(""), &[drop_in]).expect("a spec").spec;
    let names: Vec<&str> = spec.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["primary", "backup", "third"]);
    assert_eq!(spec.accounts[1].thresholds.five_hour.to_string(), "70%");
    assert_eq!(spec.accounts[1].home.to_str(), Some("/home/user/.claude-accounts/backup"));
    assert_eq!(spec.sessions.len(), 11);
}

#[test]
fn a_base_may_leave_the_rest_to_its_drop_ins() {
    let accounts = "spec:\n  accounts:\n    - { name: a, home: /a }\n    - { name: b, home: /b }\n";
    let sessions = "# which host this is\nspec:\n  sessions:\n    - { names: s, workdir: /w }\n";
    let base = HEAD.replace("spec:\n", "");
    assert!(load_all(&base, &[accounts, sessions]).is_ok());
    assert!(load_all(&base, &[accounts, "# nothing\n", sessions]).is_ok());
    let rejected = load_all(&base, &[accounts]).expect_err("no sessions");
    assert!(rejected.to_string().contains("`spec` lacks the field `sessions`"), "{rejected}");
}

#[test]
fn nothing_is_overridden_not_even_by_the_same_value() {
    for (base, drop_in, what) in [
        ("  prune: true\n", "spec:\n  prune: true\n", "`spec.prune`"),
        ("  prune: true\n", "spec:\n  prune: false\n", "`spec.prune`"),
        ("  swap: { drain: 1m }\n", "spec:\n  swap: { drain: 2m, batch: 2 }\n", "`spec.swap.drain`"),
        ("  shared: { links: [projects, file-history, tasks] }\n", "spec:\n  shared: { links: [plans] }\n", "`spec.shared.links`"),
        ("", "metadata: { name: agents }\n", "`metadata.name`"),
        ("", "spec:\n  accounts:\n    - { name: backup, home: /b }\n", "`spec.accounts[1].home`"),
        ("", "spec:\n  accounts: all\n", "`spec.accounts`"),
        ("  swap: { drain: 1m }\n", "spec:\n  swap: fast\n", "`spec.swap`"),
    ] {
        let rejected = load_all(&spec_with(base), &[drop_in]).expect_err(what);
        let twice: Vec<_> = rejected.diagnostics.iter().filter(|found| found.code == Code::SetTwice).collect();
        let [twice] = twice[..] else { panic!("{what}: {rejected}") };
        assert!(twice.message.starts_with(what), "{what}: {}", twice.message);
        let files =
            [twice.place.as_ref(), twice.related.first().map(|related| &related.place)].map(|place| place.map(|place| &*place.file));
        assert_eq!(files, [Some("pool.d/1.yaml"), Some("pool.yaml")], "{what}");
    }
}

#[test]
fn a_header_that_differs_is_an_error() {
    let rejected = load_all(&spec_with(""), &["apiVersion: claude-failover/v2\n"]).expect_err("two versions");
    assert!(rejected.to_string().contains("`apiVersion` is set in two files"), "{rejected}");
}

#[test]
fn a_broken_file_does_not_hide_the_mistakes_of_another() {
    let rejected = load_all(&spec_with("  polcy: {}\n"), &["spec: [\n", "spec:\n  swap: { drian: 1m }\n"]).expect_err("broken");
    let found: Vec<_> = rejected.diagnostics.iter().map(|found| (found.code, found.place.as_ref().map(|place| &*place.file))).collect();
    assert_eq!(
        found,
        [(Code::UnknownField, Some("pool.yaml")), (Code::NotYaml, Some("pool.d/1.yaml")), (Code::UnknownField, Some("pool.d/2.yaml")),]
    );
    // What the broken file may hold is not missed.
    let rejected = load_all(&HEAD.replace("spec:\n", ""), &["spec: [\n"]).expect_err("broken");
    assert_eq!(rejected.diagnostics.errors(), 1, "{}", rejected.diagnostics.render(false));
}

#[test]
fn too_many_files_are_refused() {
    let sources: Vec<SourceText> = (0..200).map(|index| source(&format!("{index}.yaml"), "")).collect();
    let rejected = load(&sources, &place()).expect_err("200 files");
    assert!(rejected.to_string().contains("200 files"), "{rejected}");

    // Many large ones cost no more than a few.
    let values = format!("spec: {{ sessions: [{}] }}", "{}, ".repeat(9_900));
    let sources: Vec<SourceText> = (0..100).map(|index| source(&format!("{index}.yaml"), values.clone())).collect();
    let start = Instant::now();
    let rejected = load(&sources, &place()).expect_err("a million values");
    assert!(rejected.diagnostics.iter().any(|found| found.code == Code::TooComplex), "{rejected}");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

proptest! {
    /// Splitting the fields of a spec over a base and drop-ins in any way gives the spec of the whole.
    #[test]
    fn it_does_not_matter_how_fields_are_split(parts in prop::collection::vec(0_usize..4, 8)) {
        let fields = [
            ("swap", "drain: 1m"), ("swap", "batch: 2"), ("thresholds", "weekly: 90"), ("thresholds", "headroom: 5"),
            ("tmux", "width: 99"), ("tmux", "height: 33"), ("quota", "pollEvery: 4m"), ("quota", "staleAfter: 9m"),
        ];
        let mut split = vec![BTreeMap::<&str, Vec<&str>>::new(); 4];
        for ((section, field), part) in fields.iter().zip(&parts) {
            split[*part].entry(section).or_default().push(field);
        }
        let body = |sections: &BTreeMap<&str, Vec<&str>>| -> String {
            sections.iter().map(|(section, fields)| format!("  {section}: {{ {} }}\n", fields.join(", "))).collect::<Vec<_>>().concat()
        };
        let whole = load_all(&spec_with("  swap: { drain: 1m, batch: 2 }\n  thresholds: { weekly: 90, headroom: 5 }\n  tmux: { width: 99, height: 33 }\n  quota: { pollEvery: 4m, staleAfter: 9m }\n"), &[]).expect("the whole");
        let drop_ins: Vec<String> = split[1..].iter().map(|sections| if sections.is_empty() { String::new() } else { format!("spec:\n{}", body(sections)) }).collect();
        let drop_ins: Vec<&str> = drop_ins.iter().map(String::as_str).collect();
        let merged = load_all(&spec_with(&body(&split[0])), &drop_ins).expect("the parts");
        prop_assert_eq!(merged.spec, whole.spec);
    }
}
