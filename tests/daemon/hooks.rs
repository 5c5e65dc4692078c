//! What agents run: whatever is wrong, a hook succeeds and says nothing, and the operator's own status line is shown.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::net::UnixDatagram,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::pool::{BINARY, Pool};

/// Runs a command of a hook with an input.
fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn assert_silent(output: &Output, what: &str) {
    assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{what}: {output:?}");
}

#[test]
fn a_hook_succeeds_and_says_nothing_whatever_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (socket, spool, dead, file) = (path("live.sock"), path("spool"), path("dead.sock"), path("file"));
    let listener = UnixDatagram::bind(&socket).expect("bound");
    drop(UnixDatagram::bind(&dead).expect("bound"));
    fs::write(&file, "no directory").expect("written");
    let ours = ["--socket", socket.as_str(), "--spool", spool.as_str()];
    for (what, arguments) in [
        ("nothing", vec![]),
        ("no socket", vec!["Stop"]),
        ("no value", vec!["Stop", "--socket"]),
        ("no spool", vec!["Stop", "--socket", &socket]),
        ("an unknown flag", vec!["Stop", "--frobnicate", "--help"]),
        ("an odd event", [&["../../x\n"][..], &ours].concat()),
        ("no such directory", vec!["Stop", "--socket", "/nowhere/s", "--spool", "/nowhere/spool"]),
        ("files for sockets", vec!["Stop", "--socket", &file, "--spool", &file]),
    ] {
        let arguments = [&["hook"][..], &arguments].concat();
        assert_silent(&run(&arguments, b"{\"session_id\":\"x\"}"), what);
    }
    let endless = vec![b'['; 9 << 20];
    let stop = [&["hook", "Stop"][..], &ours].concat();
    for (what, input) in [
        ("nothing", &b""[..]),
        ("garbage", b"\0\xff\x1b[2J not JSON"),
        ("half", b"{\"session_id\": \"0b0e7c1e"),
        ("another shape", b"[[[]]]"),
        ("odd types", b"{\"session_id\": 7, \"cwd\": {}, \"prompt\": [1]}"),
        ("a lot", &endless),
    ] {
        assert_silent(&run(&stop, input), what);
    }
    let closed = Command::new("sh").args(["-c", "exec \"$0\" \"$@\" <&-", BINARY]).args(&stop).output().expect("a shell");
    assert_silent(&closed, "no input at all");
    let closed = Command::new(BINARY).args(&stop).stdin(File::open(dir.path()).expect("opened")).output().expect("it starts");
    assert_silent(&closed, "an input that cannot be read");
    listener.set_nonblocking(true).expect("set");
    assert!(listener.recv(&mut vec![0; 65_536]).is_ok(), "and it is told all the same that something was said");

    // Nobody listens any more: it is kept for later.
    let body = b"{\"session_id\":\"0b0e7c1e-6f0f-4c58-9b52-1d6a3f2b9c10\"}";
    assert_silent(&run(&["hook", "Stop", "--socket", &dead, "--spool", &spool], body), "a dead socket");
    let kept = fs::read_dir(&spool).map_or_else(
        |_| fs::read(&spool).expect("kept"),
        |entries| entries.flat_map(|entry| fs::read(entry.expect("listed").path()).expect("read")).collect(),
    );
    assert!(String::from_utf8_lossy(&kept).contains("0b0e7c1e-6f0f-4c58-9b52-1d6a3f2b9c10"), "{kept:?}");
}

/// What the CLI says to a status line.
const BODY: &str = r#"{"session_id": "x", "said": "it's \"me\""}"#;

/// What the status line of the pool's agents prints, run as the CLI runs it.
fn shown(pool: &Pool) -> String {
    let settings: Value =
        serde_json::from_slice(&fs::read(pool.state_dir().join("agent-settings.json")).expect("there")).expect("settings");
    let command = settings["statusLine"]["command"].as_str().expect("a command");
    let body = pool.path("body.json");
    fs::write(&body, BODY).expect("written");
    let mut shell = Command::new("sh");
    pool.environ(&mut shell);
    let output = shell.args(["-c", command]).stdin(File::open(body).expect("opened")).output().expect("a shell");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The same, in a pool with that command for its status line.
fn shown_by(command: &Value) -> String {
    let mut pool = Pool::new(1);
    pool.edit(|spec| spec["agent"]["statusLine"] = command.clone());
    pool.cli(&["apply", "--yes"]).expect(0);
    shown(&pool)
}

#[test]
fn the_operators_status_line_is_shown_as_it_is() {
    // Words that a shell would take apart, and the CLI's own JSON on its input.
    let script = "printf '%s|' \"$@\"; cat";
    let words = json!(["/bin/sh", "-c", script, "sh", "it's $HOME", "a  b", "--", "*"]);
    assert_eq!(shown_by(&words), format!("it's $HOME|a  b|--|*|{BODY}"));
    // One that fails is not shown; ours is, and here it knows nothing.
    assert_eq!(shown_by(&json!(["/bin/sh", "-c", "echo half; exit 1"])), "\n");
}
