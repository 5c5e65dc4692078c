//! What a client may do to the socket, and what it gets.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream, process::CommandExt as _},
    process::Command as Process,
    thread,
    time::Instant,
};

use super::*;
use crate::{control::Client, engine::Command};

/// How long anything may take before a test gives it up.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server on a thread of its own, with an engine behind it that says which command it got.
struct Service {
    directory: tempfile::TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Service {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("cf-control-").tempdir_in("/tmp").expect("made");
        let socket = directory.path().join("control.sock");
        let (end, ended) = oneshot::channel();
        let (bound, ready) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
            runtime.block_on(async {
                let (commands, mut asked) = mpsc::channel::<Asked>(4);
                tokio::spawn(Server::bind(&socket).expect("bound").serve(commands));
                tokio::spawn(async move {
                    while let Some((request, reply)) = asked.recv().await {
                        let _ = reply.send(Answer::Done { lines: vec![request.id], changed: true, degraded: false });
                    }
                });
                bound.send(()).expect("awaited");
                let _ = ended.await;
            });
        });
        ready.recv_timeout(DEADLINE).expect("it listens");
        Self { directory, end: Some(end), thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream
    }

    /// What comes back for these bytes, until the connection is closed.
    fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered in time");
        answer
    }

    /// Asserts that a command is answered, as if nothing had been.
    #[track_caller]
    fn assert_serves(&self, id: &str) {
        let request = Request { id: id.to_owned(), actor: "a test".to_owned(), command: Command::Status };
        let answer = Client::connect(&self.socket()).expect("it listens").ask(&request, DEADLINE).expect("answered");
        assert!(matches!(&answer, Answer::Done { lines, .. } if lines == &[id]), "{answer:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn the_socket_is_for_its_owner_alone() {
    let service = Service::start();
    let seen = fs::metadata(service.socket()).expect("it is there");
    assert_eq!(seen.mode() & 0o777, 0o600, "whatever the umask");
    service.assert_serves("one");
}

#[test]
fn a_socket_that_was_left_behind_is_replaced() {
    let directory = tempfile::tempdir().expect("made");
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
    runtime.block_on(async {
        let server = Server::bind(&path).expect("bound once more");
        assert!(UnixStream::connect(&path).is_ok(), "somebody listens");
        drop(server);
        assert!(!path.exists(), "and it is gone with its owner");
    });
}

#[test]
fn what_is_no_command_is_refused_and_harms_nobody() {
    let service = Service::start();
    let garbage: [&[u8]; 5] =
        [b"\n", b"{}\n", b"{\"id\":\"x\"}\n", b"[[[[[[[[[[\n", b"{\"id\":\"1\",\"actor\":\"a\",\"command\":\"no-such\"}\n"];
    for bytes in garbage {
        assert!(service.say(bytes).contains("this is no command"), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(service.say(b"\xff\xfe\x00\n"), "", "what is no text gets no answer");
    service.assert_serves("after garbage");
}

/// A line of this many bytes that reads as a command, whose actor is long.
fn long_command(length: usize) -> Vec<u8> {
    let request = |actor: String| Request { id: "long".to_owned(), actor, command: Command::Status };
    let bare = serde_json::to_vec(&request(String::new())).expect("JSON").len() + 1;
    let mut line = serde_json::to_vec(&request("a".repeat(length - bare))).expect("JSON");
    line.push(b'\n');
    assert_eq!(line.len(), length);
    line
}

#[test]
fn a_command_has_a_longest_length() {
    let service = Service::start();
    let most = usize::try_from(MAX_REQUEST).expect("a small number");
    assert!(service.say(&long_command(most)).contains("long"), "one of that length is taken");
    // What is not read anymore makes the end of the connection a reset.
    let mut stream = service.connect();
    let _ = stream.write_all(&long_command(most + 100));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.contains("this is no command"), "a longer one is not: {answer}");
    service.assert_serves("after a long one");
}

#[test]
fn clients_that_say_nothing_are_sent_away_and_hold_up_nobody_for_long() {
    let service = Service::start();
    let begun = Instant::now();
    let silent: Vec<_> = (0..MAX_CLIENTS).map(|_| service.connect()).collect();
    // Every place is taken by one that never says anything, one byte of it or not.
    (&silent[0]).write_all(b"{").expect("sent");
    service.assert_serves("behind them");
    assert!(begun.elapsed() < READ_WITHIN * 3, "answered after {:?}", begun.elapsed());
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).expect("in time"), 0, "it was closed");
    }
    assert!(begun.elapsed() >= READ_WITHIN, "and not before its time");
}

#[test]
fn many_clients_are_all_answered() {
    let service = Service::start();
    thread::scope(|scope| {
        for number in 0..4 * MAX_CLIENTS {
            let service = &service;
            scope.spawn(move || service.assert_serves(&number.to_string()));
        }
    });
}

#[test]
fn only_the_owner_and_root_are_trusted() {
    assert!(is_trusted(1000, 1000) && is_trusted(0, 1000));
    assert!(!is_trusted(1001, 1000) && !is_trusted(65_534, 0));
}

/// The socket that the other user's process is to talk to.
const SOCKET_VARIABLE: &str = "CONTROL_SOCKET_OF_THE_TEST";
/// Nobody.
const OTHER_USER: u32 = 65_534;

/// With everything open, the peer's user is what is left between another user and the daemon.
#[test]
#[expect(clippy::print_stderr, reason = "a test that tests nothing must say so")]
fn another_user_gets_no_answer() {
    use std::os::unix::fs::PermissionsExt as _;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become another user: nothing is tested here");
        return;
    }
    let service = Service::start();
    for (path, mode) in [(service.directory.path().to_owned(), 0o755), (service.socket(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("opened");
    }
    // A copy, since the directories that we were built in may be closed to others.
    let program = service.directory.path().join("client");
    fs::copy(env::current_exe().expect("known"), &program).expect("copied");
    let client = |user: u32| {
        let mut process = Process::new(&program);
        process.args(["--exact", "control::server::tests::as_another_user", "--ignored", "--nocapture"]);
        process.env(SOCKET_VARIABLE, service.socket()).current_dir("/").uid(user).gid(user);
        let output = process.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(client(0).contains("answer: {"), "the same client is answered as root");
    assert!(client(OTHER_USER).contains("answer: \n"), "and not as another user");
}

/// Run by [`another_user_gets_no_answer`] as a process of its own.
#[test]
#[ignore = "it is part of another test"]
#[expect(clippy::print_stdout, reason = "its output is what the other process sees")]
fn as_another_user() {
    let mut stream = UnixStream::connect(env::var_os(SOCKET_VARIABLE).expect("given")).expect("it listens");
    // One that is refused may be gone before it has spoken.
    let _ = stream.write_all(&long_command(200));
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    println!("answer: {}", answer.trim_end());
}
