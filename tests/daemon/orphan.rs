//! The control client of a daemon that was killed: it ends by itself, and when it cannot, the next daemon ends it.

use std::{fs, process::Stdio};

use nix::sys::signal::Signal;

use crate::{
    pool::{Pool, contains},
    waiting::{wait_for, wait_until},
};

/// Whether a process runs; one that has ended and was not collected does not.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// The processes whose arguments hold `word`.
fn with_argument(word: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("readable").flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let holds = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    };
    all.filter(|pid| holds(pid) && lives(*pid)).collect()
}

/// The daemon's control client, once it has one.
fn control_client(pool: &Pool) -> i32 {
    let socket = pool.tmux_socket();
    wait_for("the daemon's control client", || {
        with_argument("-C").into_iter().find(|pid| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            contains(&arguments, socket.to_str().expect("text"))
        })
    })
}

/// Has the server run commands, without waiting for it.
fn run_commands(pool: &Pool, commands: &str) -> std::process::Child {
    pool.put("commands.conf", commands);
    let mut command = std::process::Command::new("tmux");
    pool.environ(&mut command);
    command.arg("-S").arg(pool.tmux_socket()).args(["source-file", "commands.conf"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

fn assert_server_ends(pool: &Pool, server: i32) {
    let _ = pool.tmux(&["kill-server"]);
    wait_until("the server's end", || !lives(server));
}

#[test]
fn a_killed_daemon_leaves_no_control_client_behind() {
    let mut pool = Pool::running(1);
    let client = control_client(&pool);
    let server = pool.tmux_pid().expect("a server");
    // While the server works through this it gathers notices for the daemon, and writes them when nobody is there to read them.
    let sleeper = pool.path("sleeper").to_string_lossy().into_owned();
    std::os::unix::fs::symlink("/bin/sleep", &sleeper).expect("linked");
    let commands: Vec<_> = (0..300).map(|number| format!("new-session -d -s x{number} {sleeper} 2147483647")).collect();
    let mut burst = run_commands(&pool, &(commands.join("\n") + "\n"));
    wait_until("the server to be at it", || !with_argument(&sleeper).is_empty());
    pool.stop_daemon(Signal::SIGKILL);
    assert!(with_argument(&sleeper).len() < 300, "the daemon was killed in the midst of it; otherwise this tests nothing");
    wait_until("the client's end", || !lives(client));
    burst.wait().expect("ours");
    assert!(lives(server), "what runs on the server is left alone");
    assert_server_ends(&pool, server);
}

/// A client that has more to say than its pipe takes never ends, and no server ends before its clients.
#[test]
fn what_a_killed_daemon_left_behind_is_named_and_ended_by_the_next_one() {
    let mut pool = Pool::running(1);
    let before = pool.talk();
    let client = control_client(&pool);
    let server = pool.tmux_pid().expect("a server");
    pool.signal_daemon(Signal::SIGSTOP);
    let rename = |number: usize| format!("rename-session -t =x{} x{}\n", "y".repeat(10_000 + number), "y".repeat(10_001 + number));
    let flood: String = (0..300).map(rename).collect();
    let first = format!("new-session -d -s x{} sleep 2147483647\n", "y".repeat(10_000));
    assert!(run_commands(&pool, &(first + &flood)).wait().expect("ours").success());
    pool.stop_daemon(Signal::SIGKILL);
    assert_eq!(pool.tmux_pid(), Some(server), "the server has seen the daemon's end");
    pool.cli(&["doctor"]).says("tmux control client").says(&format!("process {client} "));
    let _ = pool.tmux(&["kill-server"]);
    assert!(lives(client) && lives(server), "it is held up; otherwise this tests nothing");

    pool.start_daemon();
    wait_until("the client's end", || !lives(client));
    wait_until("the server's end", || !lives(server));
    wait_until("the pool to be back", || pool.agents().len() == 1 && pool.sessions_ready());
    pool.assert_whole("a", 1);
    pool.assert_kept(&before);
    pool.cli(&["doctor"]).lacks("tmux control client");
}

/// The record of a process that is somebody else by now, or of a daemon that lives, ends nobody.
#[test]
fn nobody_else_is_taken_for_a_control_client() {
    let mut pool = Pool::running(1);
    let client = control_client(&pool);
    pool.cli(&["doctor"]).lacks("tmux control client");
    let record = wait_for("the record", || {
        let keys = fs::read_dir(pool.path("run/claude-failover")).expect("readable").flatten();
        keys.map(|entry| entry.path().join("control-client.json")).find(|path| path.is_file())
    });
    pool.stop_daemon(Signal::SIGKILL);
    wait_until("the client's end", || !lives(client));
    // The number was given to another process.
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().expect("it starts");
    let text = fs::read_to_string(&record).expect("readable").replace(&client.to_string(), &bystander.id().to_string());
    fs::write(&record, text).expect("written");
    pool.start_daemon();
    let next = control_client(&pool);
    assert_ne!(next, client);
    assert!(lives(bystander.id().try_into().expect("a pid")), "a process that is not ours was ended");
    bystander.kill().expect("ours");
    bystander.wait().expect("ours");
}
