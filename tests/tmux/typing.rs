//! Typing into panes: what arrives, and what keeps anything from arriving.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use claude_failover::{
    host::{
        agent::input_box::{InputBox, prepare},
        process::Exec,
        tmux::{PaneScreen, TmuxOp, TmuxServer},
    },
    model::{ClaimId, PaneId, Pid, SessionName},
    observed::PaneView,
    plan::{Happened, Outcome},
};

use crate::playground::*;

/// What shows an empty box as the CLI draws it, with the cursor in it.
const BOX: &str = "printf '\\033[?2004hready\\r\\n────────────\\r\\n❯ \\r\\n────────────\\033[A\\r\\033[2C'";

/// A program that writes down what is typed, byte by byte, and shows an empty box. It takes pastes in brackets, as the CLI does.
fn taker(playground: &Playground, session: &str) -> Exec {
    let file = playground.path(session);
    shell(&format!("stty raw -echo; {BOX}; exec cat > '{}'", file.display()))
}

/// The same, where what is typed also shows.
fn echoing(playground: &Playground, session: &str) -> Exec {
    shell(&format!("{BOX}; exec cat > '{}'", playground.path(session).display()))
}

/// Starts takers and waits until each shows its box.
async fn takers(playground: &Playground, server: &mut TmuxServer, names: &[String]) -> Vec<PaneView> {
    let ops: Vec<_> = names.iter().map(|name| create(name, taker(playground, name))).collect();
    assert_eq!(server.perform(&ops).await, vec![Outcome::Changed; names.len()]);
    ready(server, names).await
}

async fn ready(server: &mut TmuxServer, names: &[String]) -> Vec<PaneView> {
    let view = server.list().await.expect("a list");
    let panes: Vec<PaneView> = names.iter().map(|name| view.panes[name].clone()).collect();
    let ids: Vec<PaneId> = panes.iter().map(|pane| pane.pane.clone()).collect();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let screens = soon(server.survey(&ids)).await.expect("seen");
        assert!(Instant::now() < until, "no box is shown: {screens:?}");
        if screens.iter().flatten().filter(|screen| InputBox::read(&screen.text) == InputBox::Empty).count() == names.len()
            && panes.iter().all(|pane| runs(pane, "/bin/cat".as_ref()))
        {
            return panes;
        }
    }
}

async fn one(playground: &Playground, server: &mut TmuxServer, name: &str) -> PaneView {
    takers(playground, server, &[name.to_owned()]).await.pop().expect("one")
}

async fn look(server: &mut TmuxServer, pane: &PaneView) -> PaneScreen {
    server.survey(std::slice::from_ref(&pane.pane)).await.expect("seen").pop().flatten().expect("there")
}

fn typing(session: &str, pane: &PaneView, screen: &PaneScreen, pastes: &[&str]) -> TmuxOp {
    TmuxOp::Type {
        owner: (pool(), SessionName::new(session).expect("a name")),
        pane: pane.pane.clone(),
        process: pane.pid.expect("a process"),
        cursor: screen.cursor,
        pastes: pastes.iter().map(ToString::to_string).collect(),
    }
}

/// A paste in brackets as it reaches the program: tmux sends line ends as carriage returns.
fn bracketed(text: &str) -> String {
    format!("\u{1b}[200~{}\u{1b}[201~", text.replace('\n', "\r"))
}

async fn until_typed(path: &Path, expected: &str) {
    until(|| fs::read(path).is_ok_and(|bytes| bytes.len() >= expected.len())).await;
    assert_eq!(String::from_utf8_lossy(&fs::read(path).expect("written")), expected);
}

/// Nothing was typed, for this reason; the server and the pane are as they were.
async fn refused(server: &mut TmuxServer, op: TmuxOp, why: &str) {
    let outcome = perform(server, op).await;
    let failure = failure(&outcome);
    assert_eq!(failure.happened, Happened::No);
    assert!(failure.message().contains(why), "{}", failure.message());
}

/// A second view of the server that never gets a connection.
fn unconnected(playground: &Playground) -> TmuxServer {
    let mut config = playground.config();
    config.binary = playground.wrapper("case \" $* \" in *' -C '*) echo %exit; exit 0;; esac");
    TmuxServer::new(config)
}

#[tokio::test]
async fn any_text_arrives_as_it_is_on_both_ways() {
    let (playground, mut server) = Playground::started().await;
    let mut fallback = unconnected(&playground);
    let pane = one(&playground, &mut server, "a").await;
    let claim = ClaimId("0123456789ab".to_owned());
    let controls: String = (0..=0x9f).filter_map(char::from_u32).filter(|c| c.is_control()).collect();
    let texts = [
        "one line".to_owned(),
        "#{pane_id} #(touch x) $(id) `id` \"$HOME\" ~ 'quoted' \\ \\; {a} % ;".to_owned(),
        ";".to_owned(),
        "-n x".to_owned(),
        "two lines\nand umlauts äöü, 日本, 🙂".to_owned(),
        format!("every{controls}control\u{1b}[201~character"),
        "x".repeat(64 << 10),
        "a line of words\n".repeat(2000),
    ];
    let mut expected = String::new();
    for text in &texts {
        for (connected, server) in [(true, &mut server), (false, &mut fallback)] {
            let screen = look(server, &pane).await;
            assert_eq!(InputBox::read(&screen.text), InputBox::Empty);
            let pastes = prepare(text, &claim).expect("can be typed");
            let op = typing("a", &pane, &screen, &pastes.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(perform(server, op).await, Outcome::Changed);
            assert_eq!(server.is_connected(), connected);
            expected.extend(pastes.iter().map(|text| bracketed(text)));
            expected.push('\r');
        }
    }
    until_typed(&playground.path("a"), &expected).await;
    assert_eq!(playground.person(&["list-buffers"]), "", "no buffer is left");
}

#[tokio::test]
async fn several_pastes_and_their_enter_stay_in_order() {
    let (playground, mut server) = Playground::started().await;
    let pane = one(&playground, &mut server, "a").await;
    let screen = look(&mut server, &pane).await;
    let op = typing("a", &pane, &screen, &["first", "", "second"]);
    assert_eq!(perform(&mut server, op).await, Outcome::Changed);
    // Nothing to paste: only Enter was due.
    assert_eq!(perform(&mut server, typing("a", &pane, &screen, &[])).await, Outcome::Changed);
    until_typed(&playground.path("a"), &format!("{}{}\r\r", bracketed("first"), bracketed("second"))).await;
}

#[tokio::test]
async fn a_control_character_never_gets_to_tmux() {
    let (playground, mut server) = Playground::started().await;
    let pane = one(&playground, &mut server, "a").await;
    let screen = look(&mut server, &pane).await;
    for text in ["a\u{1b}[201~b", "a\rb", "a\0b", "a\u{9b}b", "\t"] {
        refused(&mut server, typing("a", &pane, &screen, &[text]), "control character").await;
    }
    assert_eq!(fs::read(playground.path("a")).expect("there"), b"");
}

#[tokio::test]
async fn typing_into_a_dead_pane_harms_nobody() {
    let (playground, mut server) = Playground::started().await;
    let mut fallback = unconnected(&playground);
    let neighbour = running(&mut server, "b", sleeper()).await;
    let pane = one(&playground, &mut server, "a").await;
    let screen = look(&mut server, &pane).await;
    let pid = playground.server_pid();
    // At once, whether tmux has noticed it or not, and again when it has. tmux 3.3a would crash with every session.
    end(&pane).await;
    let outcome = perform(&mut server, typing("a", &pane, &screen, &["text"])).await;
    assert_ne!(outcome.failure().map(|failure| failure.happened), Some(Happened::CannotTell), "{outcome:?}");
    until_listed(&mut server, |view| view.panes["a"].dead.is_some()).await;
    for server in [&mut server, &mut fallback] {
        refused(server, typing("a", &pane, &screen, &["text"]), "its process has ended").await;
        assert!(look(server, &pane).await.dead);
    }
    assert_eq!((playground.server_pid(), lives(process_of(&neighbour))), (pid, true));
    assert_eq!(fs::read(playground.path("a")).expect("there"), b"");
}

#[tokio::test]
async fn a_pane_that_is_not_as_it_was_seen_is_left_alone() {
    let (playground, mut server) = Playground::started().await;
    let mut fallback = unconnected(&playground);
    let pane = one(&playground, &mut server, "a").await;
    let screen = look(&mut server, &pane).await;
    for server in [&mut server, &mut fallback] {
        let op = typing("a", &pane, &screen, &["text"]);
        let mut other = op.clone();
        if let TmuxOp::Type { process, .. } = &mut other {
            *process = Pid(i32::MAX);
        }
        refused(server, other, "another process").await;
        refused(server, typing("b", &pane, &screen, &["text"]), "our mark").await;
        let mut gone = pane.clone();
        gone.pane = PaneId("%99".into());
        refused(server, typing("a", &gone, &screen, &["text"]), "not there").await;
        gone.pane = PaneId("%0' ; kill-server".into());
        refused(server, typing("a", &gone, &screen, &["text"]), "none that tmux gives").await;

        playground.person(&["select-pane", "-d", "-t", "=a:"]);
        assert!(look(server, &pane).await.input_off);
        refused(server, op.clone(), "input is off").await;
        playground.person(&["select-pane", "-e", "-t", "=a:"]);
        playground.person(&["set-option", "-w", "-t", "=a:", "synchronize-panes", "on"]);
        assert!(look(server, &pane).await.synchronized);
        refused(server, op, "other panes").await;
        playground.person(&["set-option", "-w", "-t", "=a:", "synchronize-panes", "off"]);
    }
    assert_eq!(fs::read(playground.path("a")).expect("there"), b"");
}

#[tokio::test]
async fn what_a_person_types_meanwhile_stays_theirs() {
    let (playground, mut server) = Playground::started().await;
    let mut fallback = unconnected(&playground);
    assert_eq!(perform(&mut server, create("a", echoing(&playground, "a"))).await, Outcome::Changed);
    let pane = ready(&mut server, &["a".to_owned()]).await.pop().expect("one");
    let before = look(&mut server, &pane).await;
    playground.person(&["send-keys", "-l", "-t", "=a:", "a draft"]);
    // The terminal may show it piece by piece.
    let deadline = Instant::now() + PATIENCE;
    let screen = loop {
        let screen = look(&mut server, &pane).await;
        if InputBox::read(&screen.text) == InputBox::Draft("a draft".to_owned()) {
            break screen;
        }
        assert!(Instant::now() < deadline, "the draft is not seen: {screen:?}");
    };
    assert_ne!(screen.cursor, before.cursor);
    for server in [&mut server, &mut fallback] {
        refused(server, typing("a", &pane, &before, &["text"]), "its screen has changed").await;
    }
    assert!(look(&mut server, &pane).await.text.ends_with("a draft\n") || look(&mut server, &pane).await.text.contains("❯ a draft\n"));
}

/// A person at a terminal of their own, attached to a session. Its end detaches it.
struct Attached(Child);

impl Attached {
    async fn to(playground: &Playground, session: &str) -> Self {
        let attach = format!("exec tmux -S {} attach-session -t ={session}:", playground.socket.display());
        // script(1) gives it a terminal.
        let mut child = Command::new("script")
            .args(["-qfc", &attach, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed");
        let mut output = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while output.read(&mut bytes).is_ok_and(|count| count > 0) {}
        });
        let target = format!("={session}:");
        until(|| playground.person(&["display-message", "-p", "-t", &target, "#{session_attached}"]) == "1").await;
        Self(child)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_mode_that_was_left_is_ended_and_one_that_is_read_in_is_not() {
    let (playground, mut server) = Playground::started().await;
    let mut fallback = unconnected(&playground);
    let pane = one(&playground, &mut server, "a").await;
    let mode = || playground.person(&["display-message", "-p", "-t", "=a:", "#{pane_in_mode}"]);
    let mut expected = String::new();
    for server in [&mut server, &mut fallback] {
        playground.person(&["copy-mode", "-t", "=a:"]);
        let screen = look(server, &pane).await;
        assert!(screen.in_mode && InputBox::read(&screen.text) == InputBox::Empty, "what the program shows is seen behind it: {screen:?}");
        assert_eq!(perform(server, typing("a", &pane, &screen, &["text"])).await, Outcome::Changed);
        assert_eq!(mode(), "0");
        expected.extend([bracketed("text"), "\r".to_owned()]);
    }
    until_typed(&playground.path("a"), &expected).await;

    let person = Attached::to(&playground, "a").await;
    for server in [&mut server, &mut fallback] {
        // Somebody who only watches is no hindrance.
        let screen = look(server, &pane).await;
        assert_eq!(screen.attached, 1);
        assert_eq!(perform(server, typing("a", &pane, &screen, &["text"])).await, Outcome::Changed);
        expected.extend([bracketed("text"), "\r".to_owned()]);
        playground.person(&["copy-mode", "-t", "=a:"]);
        refused(server, typing("a", &pane, &screen, &["text"]), "copy mode").await;
        assert_eq!(mode(), "1");
        playground.person(&["copy-mode", "-q", "-t", "=a:"]);
    }
    until_typed(&playground.path("a"), &expected).await;
    drop(person);
}

#[tokio::test]
async fn fifty_panes_are_typed_into_in_one_go() {
    let (playground, mut server) = Playground::started().await;
    let names: Vec<String> = (0..50).map(|number| format!("s{number}")).collect();
    let panes = takers(&playground, &mut server, &names).await;
    let mut fallback = unconnected(&playground);
    for server in [&mut server, &mut fallback] {
        let ids: Vec<PaneId> = panes.iter().map(|pane| pane.pane.clone()).collect();
        let screens = server.survey(&ids).await.expect("seen");
        let ops: Vec<TmuxOp> = names
            .iter()
            .zip(&panes)
            .zip(&screens)
            .map(|((name, pane), screen)| typing(name, pane, screen.as_ref().expect("there"), &[&format!("for {name}")]))
            .collect();
        assert_eq!(server.perform(&ops).await, vec![Outcome::Changed; 50]);
    }
    for name in &names {
        until_typed(&playground.path(name), &format!("{0}\r{0}\r", bracketed(&format!("for {name}")))).await;
    }
}

#[tokio::test]
async fn panes_are_surveyed_in_their_order() {
    let (playground, mut server) = Playground::started().await;
    let names = ["a".to_owned(), "b".to_owned()];
    let panes = takers(&playground, &mut server, &names).await;
    let ids = [PaneId("%99".into()), panes[1].pane.clone(), PaneId("no pane".into()), panes[0].pane.clone()];
    let screens = server.survey(&ids).await.expect("seen");
    let pids: Vec<_> = screens.iter().map(|screen| screen.as_ref().and_then(|screen| screen.pid)).collect();
    assert_eq!(pids, [None, panes[1].pid, None, panes[0].pid]);
    assert_eq!(server.survey(&[]).await.expect("nothing is asked"), []);
}

#[tokio::test]
async fn a_server_that_does_not_answer_may_have_typed() {
    let (playground, mut server) = Playground::started().await;
    let pane = one(&playground, &mut server, "a").await;
    let screen = look(&mut server, &pane).await;
    let mut config = playground.config();
    config.deadline = std::time::Duration::from_millis(500);
    let mut hasty = TmuxServer::new(config);
    assert_eq!(perform(&mut hasty, typing("a", &pane, &screen, &["one"])).await, Outcome::Changed);
    playground.signal_server(nix::sys::signal::Signal::SIGSTOP);
    let outcome = perform(&mut hasty, typing("a", &pane, &screen, &["two"])).await;
    assert_eq!(failure(&outcome).happened, Happened::CannotTell);
    playground.signal_server(nix::sys::signal::Signal::SIGCONT);
}
