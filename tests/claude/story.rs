//! The whole story: our daemon keeps a pool of real CLIs, and carries it to the next account by itself.

use crate::{
    api::Reply,
    lab::Lab,
    pool::{Pool, of, tell, truth},
};

/// The prompts that a request of the model held.
fn messages(exchange: &crate::api::Exchange) -> String {
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

    // The CLI's shell tool refuses a bare `sleep`.
    let command = "python3 -c 'import time; time.sleep(300)'".to_owned();
    lab.api.change("a", |account| account.reply = Reply::Tool { command });
    pool.say("busy", "use the tool");
    pool.wait_for("the running tool", || lab.processes().into_iter().find(|(_, name)| name == "python3"));
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
    let turns = lab.api.turns("b");
    assert_eq!(turns.len(), 1, "{turns:#?}");
    let asked = messages(&turns[0]);
    assert!(["remember the swan", "use the tool", "Exit code 137"].iter().all(|part| asked.contains(part)), "{asked}");
    pool.say("quiet", "what do you remember");
    pool.wait_screen("quiet", "account=b");
    let asked = messages(lab.api.turns("b").last().expect("a turn"));
    assert!(["remember the heron", "and the crane", "what do you remember"].iter().all(|part| asked.contains(part)), "{asked}");
    assert!(!asked.contains("swan"), "{asked}");
    assert_eq!(std::fs::read_link(lab.directory().join("active")).expect("a link"), lab.home("b"));
    assert_eq!(truth(&of(&after, "accounts", "b")["conditions"], "LoginValid"), "True");

    pool.stop();
}
