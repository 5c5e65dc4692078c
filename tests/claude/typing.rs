//! Prompts that are typed as the controller does it.

use claude_failover::{
    host::{
        agent::input_box::{InputBox, holds_tag, prepare},
        tmux::{PaneScreen, RuntimeDirectory, Socket, TmuxConfig, TmuxOp, TmuxServer},
    },
    model::{ClaimId, Pid, PoolId, SessionName, StartDigest},
    observed::{Mark, PaneView},
    plan::{Happened, Outcome},
    spec::SocketSpec,
};
use uuid::Uuid;

use crate::{
    lab::{Lab, Session},
    waiting::{wait_for, wait_until},
};

/// Our view of the lab's tmux server, with the lab's session as ours.
struct Typist<'lab> {
    lab: &'lab Lab,
    session: Session<'lab>,
    server: TmuxServer,
    mark: Mark,
    pane: PaneView,
}

impl<'lab> Typist<'lab> {
    async fn at(lab: &'lab Lab) -> Self {
        let settings = lab.write_settings(false);
        let session = lab.start("a", &["--permission-mode", "acceptEdits", "--settings", &settings]);
        session.wait_status("idle");
        let socket = Socket::resolve(&SocketSpec::Path(lab.socket()), &RuntimeDirectory::of_this_process()).expect("a path");
        let mut server = TmuxServer::new(TmuxConfig {
            binary: "tmux".into(),
            socket,
            size: (150, 45),
            history_limit: 100,
            deadline: TmuxConfig::DEADLINE,
        });
        let (name, pane) = server.list().await.expect("a list").panes.pop_first().expect("a session");
        lab.tmux(&["rename-session", "-t", &format!("={name}"), "typed"]);
        let name = SessionName::new("typed").expect("a name");
        let mark = Mark { pool: PoolId(Uuid::from_u128(7)), session: name, digest: StartDigest("f".into()) };
        let adopt = TmuxOp::Adopt { session_id: pane.session_id.clone(), pane: pane.pane.clone(), mark: mark.clone() };
        assert_eq!(server.perform(&[adopt]).await, [Outcome::Changed]);
        Self { lab, session, server, mark, pane }
    }

    /// What the pane shows, with its colours.
    fn screen(&self) -> String {
        self.lab.tmux(&["capture-pane", "-p", "-e", "-t", &self.pane.pane.0])
    }

    /// The same as the controller sees it.
    async fn look(&mut self) -> PaneScreen {
        self.server.survey(std::slice::from_ref(&self.pane.pane)).await.expect("seen").pop().flatten().expect("there")
    }

    async fn perform(&mut self, screen: &PaneScreen, pastes: Vec<String>) -> Outcome {
        let op = TmuxOp::Type {
            owner: (self.mark.pool, self.mark.session.clone()),
            pane: self.pane.pane.clone(),
            process: Pid(self.session.pid),
            cursor: screen.cursor,
            pastes,
        };
        self.server.perform(&[op]).await.pop().expect("one outcome")
    }

    /// Types a prompt into an empty box, and gives what was typed.
    async fn type_in(&mut self, text: &str, claim: &ClaimId) -> String {
        let screen = self.look().await;
        assert_eq!(InputBox::read(&screen.text), InputBox::Empty, "{}", screen.text);
        let pastes = prepare(text, claim).expect("can be typed");
        assert_eq!(self.perform(&screen, pastes.clone()).await, Outcome::Changed);
        pastes.concat()
    }

    /// The prompts that the CLI took.
    fn prompts(&self) -> Vec<String> {
        let told = self.lab.told().into_iter().filter(|told| told.event == "UserPromptSubmit");
        told.filter_map(|told| told.input["prompt"].as_str().map(str::to_owned)).collect()
    }
}

#[tokio::test]
async fn a_prompt_arrives_whatever_its_length_and_its_words() {
    let Some(lab) = Lab::open() else { return };
    let mut typist = Typist::at(&lab).await;
    let texts = [
        "do it".to_owned(),
        "two lines\nwith #{pane_id}, #(id), $(id), `id`, \"$HOME\", ~ and \\; a tab\tand an Escape \u{1b}[201~ ;".to_owned(),
        // The box still shows it in full, and does not any more.
        "word ".repeat(115),
        "word ".repeat(400),
        "line\n".repeat(10),
        "a line of words\n".repeat(3000),
    ];
    for (at, text) in texts.iter().enumerate() {
        let claim = ClaimId(format!("{at:012x}"));
        let typed = typist.type_in(&format!("{} {text}", claim.tag()), &claim).await;
        let told = wait_for("the prompt", || typist.prompts().get(at).cloned());
        assert_eq!(told, typed);
        assert_eq!(ClaimId::all_in(&told), [claim]);
        wait_until("the end of the turn", || lab.told().iter().filter(|told| told.event == "Stop").count() > at);
        typist.session.wait_status("idle");
        wait_until("an empty box", || InputBox::read(&typist.screen()) == InputBox::Empty);
    }
    assert_eq!(typist.prompts().len(), texts.len(), "each was submitted once");
}

#[tokio::test]
async fn a_prompt_without_its_enter_is_known_by_its_tag_and_submitted() {
    let Some(lab) = Lab::open() else { return };
    let mut typist = Typist::at(&lab).await;
    let claim = ClaimId("0123456789ab".to_owned());
    let before = typist.look().await;
    for text in prepare(&format!("{} {}", claim.tag(), "line of words\n".repeat(100)), &claim).expect("can be typed") {
        lab.tmux(&["set-buffer", "-b", "prompt", "--", &text]);
        lab.tmux(&["paste-buffer", "-p", "-d", "-b", "prompt", "-t", &typist.pane.pane.0]);
    }
    wait_until("the draft", || matches!(InputBox::read(&typist.screen()), InputBox::Draft(draft) if draft.contains('+')));
    assert!(matches!(InputBox::read(&typist.screen()), InputBox::Draft(draft) if holds_tag(&draft, &claim)), "{}", typist.screen());

    // What was decided on before somebody typed is not done any more.
    let outcome = typist.perform(&before, vec!["another".to_owned()]).await;
    assert_eq!(outcome.failure().map(|failure| failure.happened), Some(Happened::No));

    let now = typist.look().await;
    assert_eq!(typist.perform(&now, Vec::new()).await, Outcome::Changed);
    let told = wait_for("the prompt", || typist.prompts().pop());
    assert_eq!(ClaimId::all_in(&told), [claim]);
    assert!(told.ends_with("line of words"));
}

#[tokio::test]
async fn what_a_person_types_is_seen_as_a_draft() {
    let Some(lab) = Lab::open() else { return };
    let typist = Typist::at(&lab).await;
    wait_until("an empty box", || InputBox::read(&typist.screen()) == InputBox::Empty);
    lab.tmux(&["send-keys", "-l", "-t", &typist.pane.pane.0, "what I think"]);
    wait_until("the draft", || InputBox::read(&typist.screen()) == InputBox::Draft("what I think".to_owned()));
}
