//! The whole story: our daemon keeps a pool of real CLIs, and carries it to the next account by itself.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    api::{Exchange, Reply},
    lab::Lab,
    pool::{Pool, of, reason, tell, truth},
};

/// The prompts that a request of the model held.
fn messages(exchange: &Exchange) -> String {
    exchange.body["messages"].to_string()
}

#[test]
fn a_pool_converges_from_bare_homes_and_moves_at_its_threshold_with_every_conversation() {
    let Some(lab) = Lab::open_bare() else { return };
    let mut pool = Pool::start(&lab, &["quiet", "busy"], |_| {});
    pool.wait_ready("a", &[("quiet", "idle"), ("busy", "idle")]);
    tell("story: converged");

    pool.say("quiet", "remember the heron");
    pool.wait_screen("quiet", "REPLY users=1 account=a");
    pool.say("busy", "remember the swan");
    pool.wait_screen("busy", "REPLY users=1 account=a");
    let before = pool.wait_ready("a", &[("quiet", "idle"), ("busy", "idle")]);

    lab.answer_with_long_tool("a");
    pool.say("busy", "use the tool");
    pool.wait_for("the running tool", || lab.has_long_tool().then_some(()));
    pool.wait_ready("a", &[("quiet", "idle"), ("busy", "working")]);

    // The next answer says how much is used; the status line tells it to the daemon.
    lab.api.change("a", |account| {
        account.reply = Reply::Text;
        account.windows = [(0.93, 3600), (0.20, 4 * 86_400)];
    });
    pool.say("quiet", "and the crane");
    tell("story: over the threshold");
    let after = pool.wait_ready("b", &[("quiet", "idle"), ("busy", "idle")]);
    tell(&format!("story: {:?}", pool.events("SwapCommitted")));

    assert_eq!(pool.events("SwapCommitted").len(), 1);
    for name in ["quiet", "busy"] {
        let (was, is) = (of(&before, "sessions", name), of(&after, "sessions", name));
        assert_eq!(was["conversation"], is["conversation"], "{name}");
        assert_eq!(is["account"], "b", "{name}");
        assert_ne!(was["pid"], is["pid"], "{name}");
    }
    // The interrupted one has gone on by itself, and the idle one has asked for nothing.
    let turns = turns_of(&pool, &lab, "b");
    pool.wait_ready("b", &[("quiet", "idle"), ("busy", "idle")]);
    assert_eq!(lab.api.turns("b").len(), turns.len(), "only the interrupted turn goes on");
    let asked = messages(&turns[0]);
    assert!(["remember the swan", "use the tool", "Exit code 137"].iter().all(|part| asked.contains(part)), "{asked}");
    pool.say("quiet", "what do you remember");
    pool.wait_screen("quiet", "account=b");
    let asked = messages(lab.api.turns("b").last().expect("a turn"));
    assert!(["remember the heron", "and the crane", "what do you remember"].iter().all(|part| asked.contains(part)), "{asked}");
    assert!(!asked.contains("swan"), "{asked}");
    assert_eq!(std::fs::read_link(lab.directory().join("active")).expect("a link"), lab.home("b"));
    assert_eq!(truth(&of(&after, "accounts", "b")["conditions"], "LoginValid"), "True");

    // An agent that is killed is back with its conversation.
    let victim = of(&after, "sessions", "quiet")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it lives");
    let back = pool.wait("the killed agent", |status| {
        let row = of(status, "sessions", "quiet");
        row["activity"] == "idle" && row["pid"].is_i64() && row["pid"] != victim
    });
    assert_eq!(of(&back, "sessions", "quiet")["conversation"], of(&before, "sessions", "quiet")["conversation"]);
    let command_line = std::fs::read(format!("/proc/{}/cmdline", of(&back, "sessions", "quiet")["pid"])).expect("it lives");
    assert!(String::from_utf8_lossy(&command_line).contains("--resume"));
    pool.say("quiet", "and after the kill");
    pool.wait_for("the prompt after the kill", || {
        lab.api
            .turns("b")
            .into_iter()
            .find(|turn| messages(turn).contains("remember the heron") && messages(turn).contains("and after the kill"))
    });
    tell("story: killed and back");

    pool.stop();
    assert!(pool.screen("quiet").contains("and after the kill"), "sessions outlive the daemon");
}

/// The turns that an account was asked for, once there are any: an agent is proven before its turn goes on.
fn turns_of(pool: &Pool<'_>, lab: &Lab, account: &str) -> Vec<Exchange> {
    pool.wait_for("a turn under the other account", || Some(lab.api.turns(account)).filter(|turns| !turns.is_empty()))
}

/// The source of a window's reading in a status; empty when there is none.
fn source(status: &Value, account: &str, window: &str) -> String {
    let windows = of(status, "accounts", account)["windows"].as_array().into_iter().flatten();
    windows.filter(|row| row["window"] == window).filter_map(|row| row["source"].as_str()).collect()
}

#[test]
fn readings_come_from_the_status_line_and_from_the_cli_and_a_hard_limit_moves_the_pool_at_once() {
    let Some(lab) = Lab::open_bare() else { return };
    lab.api.change("a", |account| account.windows = [(0.63, 3000), (0.21, 200_000)]);
    let pool = Pool::start(&lab, &["quiet", "worker"], |spec| {
        // Neither holds up a hard limit.
        spec["swap"]["minDwell"] = json!("45m");
        spec["swap"]["drain"] = json!("10m");
        spec["quota"]["pollEvery"] = json!("3m");
    });
    pool.wait_ready("a", &[("quiet", "idle"), ("worker", "idle")]);
    // The window of one model is told by the CLI's own usage answer only. The first one may be lost: agents that are just starting write the
    // same file. Then the next one counts.
    pool.wait_within(Duration::from_mins(6), "readings of the CLI", |status| {
        let windows = [("a", "model:Fable"), ("b", "model:Fable"), ("b", "fiveHour"), ("b", "weekly")];
        windows.into_iter().all(|(account, window)| source(status, account, window) == "cli")
    });
    // What an agent is told from then on is newer.
    pool.say("worker", "remember the swan");
    pool.wait_screen("worker", "REPLY users=1 account=a");
    let status = pool.wait("a reading of the status line", |status| source(status, "a", "fiveHour") == "statusline");
    assert_eq!(source(&status, "a", "model:Fable"), "cli");
    let row =
        of(&status, "accounts", "a")["windows"].as_array().and_then(|rows| rows.iter().find(|row| row["window"] == "fiveHour")).cloned();
    assert_eq!(row.expect("known")["used"].as_f64(), Some(63.0));
    assert_eq!(truth(&of(&status, "accounts", "a")["conditions"], "QuotaKnown"), "True");
    tell("story: readings from both sources");

    let doctor = pool.doctor();
    for check in ["agent", "login of a", "login of b", "tmux server"] {
        assert_eq!(doctor.get(check).map(|(verdict, _)| verdict.as_str()), Some("ok"), "{check}: {doctor:#?}");
    }
    assert!(doctor["agent"].1.contains("2.1."), "{doctor:#?}");
    assert!(doctor["login of a"].1.starts_with("valid until"), "{doctor:#?}");

    pool.wait_ready("a", &[("quiet", "idle"), ("worker", "idle")]);
    lab.api.change("a", |account| account.reply = Reply::Limit { claim: "five_hour" });
    pool.say("worker", "this one is refused");
    pool.wait_ready("b", &[("quiet", "idle"), ("worker", "idle")]);
    tell(&format!("story: {:?}", pool.events("SwapCommitted")));
    assert!(pool.events("SwapStarted").iter().any(|message| message.contains("limit")), "{:?}", pool.events("SwapStarted"));
    // What was refused is answered without a key being typed.
    let turns = turns_of(&pool, &lab, "b");
    assert!(["remember the swan", "this one is refused"].iter().all(|part| messages(&turns[0]).contains(part)), "{}", messages(&turns[0]));
}

#[test]
fn a_limit_that_one_session_hits_moves_another_one_in_the_middle_of_a_tool_call() {
    let Some(lab) = Lab::open_bare() else { return };
    let pool = Pool::start(&lab, &["quiet", "busy"], |spec| spec["swap"]["minDwell"] = json!("45m"));
    let before = pool.wait_ready("a", &[("quiet", "idle"), ("busy", "idle")]);
    lab.answer_with_long_tool("a");
    pool.say("busy", "use the tool for the swan");
    pool.wait_for("the running tool", || lab.has_long_tool().then_some(()));
    pool.wait_ready("a", &[("quiet", "idle"), ("busy", "working")]);

    // What the busy one asked for was answered long ago: only the other one gets the 429.
    lab.api.change("a", |account| account.reply = Reply::Limit { claim: "five_hour" });
    pool.say("quiet", "this one is refused");
    let after = pool.wait_ready("b", &[("quiet", "idle"), ("busy", "idle")]);
    tell(&format!("story: {:?} {:?}", pool.events("SwapStarted"), pool.events("SwapCommitted")));
    assert!(pool.events("SwapStarted").iter().all(|message| message.contains("limit")), "{:?}", pool.events("SwapStarted"));
    assert_eq!(pool.events("SwapCommitted").len(), 1);
    for name in ["quiet", "busy"] {
        assert_eq!(of(&before, "sessions", name)["conversation"], of(&after, "sessions", name)["conversation"], "{name}");
    }
    assert!(!lab.has_long_tool(), "the tool ended with its agent");
    // Both go on by themselves, each with its own turn: the one that was cut, and the one that was refused.
    let wanted: [&[&str]; 2] = [&["use the tool for the swan", "Exit code 137"], &["this one is refused"]];
    for parts in wanted {
        pool.wait_for("both turns under the other account", || {
            lab.api.turns("b").into_iter().find(|turn| parts.iter().all(|part| messages(turn).contains(part)))
        });
    }
    pool.wait_ready("b", &[("quiet", "idle"), ("busy", "idle")]);
    assert_eq!(lab.api.turns("b").len(), 2, "and nothing is asked twice");
}

#[test]
fn a_login_that_dies_is_left() {
    let Some(lab) = Lab::open_bare() else { return };
    let pool = Pool::start(&lab, &["quiet", "worker"], |spec| spec["swap"]["minDwell"] = json!("45m"));
    pool.wait_ready("a", &[("quiet", "idle"), ("worker", "idle")]);
    lab.api.change("a", |account| {
        account.reply = Reply::Unauthorized;
        account.refreshes = false;
    });
    pool.say("worker", "remember the swan");
    let status = pool.wait_ready("b", &[("quiet", "idle"), ("worker", "idle")]);
    tell(&format!("story: {:?} {:?}", pool.events("SwapStarted"), pool.events("SwapCommitted")));
    assert!(pool.events("SwapStarted").iter().any(|message| message.contains("login")), "{:?}", pool.events("SwapStarted"));
    let conditions = &of(&status, "accounts", "a")["conditions"];
    assert_eq!((truth(conditions, "LoginValid"), reason(conditions, "LoginValid")), ("False", "LoginDead"));
    let turns = turns_of(&pool, &lab, "b");
    assert!(messages(&turns[0]).contains("remember the swan"), "{}", messages(&turns[0]));
    let doctor = pool.doctor();
    assert_eq!((doctor["login of a"].0.as_str(), doctor["login of b"].0.as_str()), ("error", "ok"), "{doctor:#?}");
}
