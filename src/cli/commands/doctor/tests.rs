use super::*;
use crate::plan::tests::world::World;

/// A machine on which everything is well.
fn good() -> Machine {
    Machine {
        inotify_watches: Some(65_536),
        inotify_instances: Some(128),
        pseudo_terminals: Some(4_096),
        available_mib: Some(64_000),
        now: at("2026-11-22T12:00:00Z"),
        installed: Some(at("2026-11-01T12:00:00Z")),
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().expect("a time")
}

/// The verdict and the words of one check on `machine`, for a pool of four sessions.
fn judged(machine: &Machine, check: &str) -> (Verdict, String) {
    let mut findings = Findings::default();
    machine.judge(&World::bare(4).spec, &mut findings);
    let found = findings.0.into_iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("nothing is said of {check}"));
    (found.verdict, found.message)
}

#[test]
fn a_good_machine_is_well() {
    let mut findings = Findings::default();
    good().judge(&World::bare(4).spec, &mut findings);
    let bad: Vec<_> = findings.0.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert!(bad.is_empty() && findings.0.len() == 5, "{:?}", findings.0);
}

#[test]
fn what_a_machine_lacks_is_named_with_what_to_do() {
    let cases = [
        ("inotify watches", Machine { inotify_watches: Some(8), ..good() }, Verdict::Warning, "fs.inotify.max_user_watches"),
        ("inotify watches", Machine { inotify_watches: None, ..good() }, Verdict::Warning, "cannot be read"),
        ("inotify instances", Machine { inotify_instances: Some(2), ..good() }, Verdict::Warning, "fs.inotify.max_user_instances"),
        ("inotify instances", Machine { inotify_instances: None, ..good() }, Verdict::Warning, "cannot be read"),
        ("memory", Machine { available_mib: Some(500), ..good() }, Verdict::Warning, "500 MiB available; 4 agents need about 1200 MiB"),
        ("memory", Machine { available_mib: None, ..good() }, Verdict::Warning, "cannot be read"),
        ("pseudo-terminals", Machine { pseudo_terminals: Some(19), ..good() }, Verdict::Error, "19 allowed, 4 declared"),
        ("clock", Machine { now: at("1970-01-01T00:00:09Z"), ..good() }, Verdict::Error, "set the clock"),
    ];
    for (check, machine, verdict, words) in cases {
        let found = judged(&machine, check);
        assert!(found.0 == verdict && found.1.contains(words), "{check}: {found:?}");
    }
}

#[test]
fn old_tmux_is_judged_by_what_it_lacks() {
    let cases = [
        ("2.9", Verdict::Error),
        ("3.1c", Verdict::Error),
        ("3.2a", Verdict::Warning),
        ("3.5a", Verdict::Warning),
        ("3.6", Verdict::Ok),
        ("4.0-rc", Verdict::Ok),
        ("next-3.6", Verdict::Warning),
    ];
    for (version, verdict) in cases {
        assert_eq!(judge_tmux(version).0, verdict, "{version}");
    }
}
