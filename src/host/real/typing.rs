//! Types prompts into panes.
//!
//! # Guarantees
//! Nothing is typed unless the agent says itself that it is idle, right before, and its input box is seen to be empty: keys in any other
//! place are answers to questions that nobody has read. What a person has begun to type stays. All panes are looked at together and typed
//! into together.

use std::path::PathBuf;

use super::{RealHost, perform::fill};
use crate::{
    host::{
        agent::{
            input_box::{self, InputBox, PromptError},
            register, screen,
        },
        process,
        tmux::{PaneScreen, TmuxOp},
    },
    model::{Activity, ClaimId, PaneId, PoolId, ProcessId, SessionName},
    observed::{RegisterStatus, Shown},
    plan::{Effect, Failure, Happened, Outcome},
};

/// Why nothing was typed.
#[derive(Debug, thiserror::Error)]
enum Untyped {
    #[error("the pool's tmux server cannot be used; see the log")]
    NoTmux,
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error("the agent of {0} has ended")]
    Ended(SessionName),
    #[error("the agent of {session} is not idle: its register says {status}")]
    Busy { session: SessionName, status: String },
    #[error("the agent of {session} is {activity}")]
    Held { session: SessionName, activity: Activity },
    #[error("{session} shows no input box; look at it with `attach {session}`")]
    NoBox { session: SessionName },
    #[error("{session} takes no prompt now: {shows}")]
    Blocked { session: SessionName, shows: Shown },
    #[error("somebody's draft stands in the input box of {session}; it is left alone")]
    Draft { session: SessionName },
    #[error("somebody reads back in the pane of {session} (copy mode)")]
    CopyMode { session: SessionName },
    #[error("the pane of {session} takes no input: {why}")]
    Closed { session: SessionName, why: &'static str },
    #[error("tmux did not show the panes")]
    Unseen(#[source] crate::host::tmux::TmuxError),
}

impl Untyped {
    /// Nothing has happened.
    fn outcome(&self) -> Outcome {
        Outcome::Failed(Failure::from_error(Happened::No, self))
    }
}

/// One prompt.
struct Prompt<'effect> {
    index: usize,
    session: &'effect SessionName,
    pane: &'effect PaneId,
    process: ProcessId,
    home: &'effect PathBuf,
    claim: &'effect ClaimId,
    pastes: Vec<String>,
}

impl RealHost {
    /// Types prompts, each into a pane of its own.
    pub(super) async fn type_prompts(&mut self, pool: PoolId, effects: &[(usize, &Effect)], outcomes: &mut [Option<Outcome>]) {
        let mut prompts = Vec::with_capacity(effects.len());
        for &(index, effect) in effects {
            let Effect::TypePrompt { session, pane, process, home, text, claim } = effect else { continue };
            let ready = input_box::prepare(text, claim).map_err(Untyped::from).and_then(|pastes| {
                let prompt = Prompt { index, session, pane, process: *process, home, claim, pastes };
                self.is_idle(&prompt).map(|()| prompt)
            });
            match ready {
                Ok(prompt) => prompts.push(prompt),
                Err(why) => outcomes[index] = Some(why.outcome()),
            }
        }
        if prompts.is_empty() {
            return;
        }
        let panes: Vec<PaneId> = prompts.iter().map(|prompt| prompt.pane.clone()).collect();
        let screens = match &mut self.tmux {
            Some(server) => server.survey(&panes).await.map_err(Untyped::Unseen),
            None => Err(Untyped::NoTmux),
        };
        let screens = match screens {
            Ok(screens) => screens,
            Err(why) => {
                for prompt in &prompts {
                    outcomes[prompt.index] = Some(why.outcome());
                }
                return;
            }
        };
        let (mut ops, mut indexes) = (Vec::new(), Vec::new());
        for (prompt, screen) in prompts.iter().zip(&screens) {
            // The screens took their time to come.
            match self.is_idle(prompt).and_then(|()| operation(pool, prompt, screen.as_ref())) {
                Ok(op) => {
                    ops.push(op);
                    indexes.push(prompt.index);
                }
                Err(why) => outcomes[prompt.index] = Some(why.outcome()),
            }
        }
        if let Some(server) = &mut self.tmux
            && !ops.is_empty()
        {
            fill(outcomes, &indexes, server.perform(&ops).await);
        }
    }

    /// Whether the very process lives and says now that it is idle, and nothing else is known of it that makes a prompt useless.
    fn is_idle(&self, prompt: &Prompt<'_>) -> Result<(), Untyped> {
        let session = prompt.session.clone();
        let lives =
            self.deaths.lives(prompt.process) || process::identity(prompt.process.pid).is_ok_and(|found| found == Some(prompt.process));
        if !lives {
            return Err(Untyped::Ended(session));
        }
        let status = match register::read(prompt.home, prompt.process) {
            Ok(Some(view)) => view.status,
            Ok(None) => return Err(Untyped::Busy { session, status: "nothing".to_owned() }),
            Err(error) => return Err(Untyped::Busy { session, status: format!("nothing that can be read ({error})") }),
        };
        if status != RegisterStatus::Idle {
            return Err(Untyped::Busy { session, status: format!("{status:?}").to_lowercase() });
        }
        // The register says `idle` also while a limit lasts and after the login died.
        let known = self.tracks.view(prompt.session).filter(|view| view.process == Some(prompt.process)).map(|view| view.activity);
        match known {
            Some(activity @ (Activity::LimitHit | Activity::LoggedOut)) => Err(Untyped::Held { session, activity }),
            _ => Ok(()),
        }
    }
}

/// What to type, by what the pane shows.
fn operation(pool: PoolId, prompt: &Prompt<'_>, pane: Option<&PaneScreen>) -> Result<TmuxOp, Untyped> {
    let session = || prompt.session.clone();
    let closed = |why| Err(Untyped::Closed { session: session(), why });
    let Some(pane) = pane else { return closed("it is not there") };
    if pane.dead {
        return Err(Untyped::Ended(session()));
    }
    if pane.pid != Some(prompt.process.pid) {
        return closed("another process runs in it");
    }
    if pane.in_mode && pane.attached > 0 {
        return Err(Untyped::CopyMode { session: session() });
    }
    if pane.input_off {
        return closed("its input is off");
    }
    if pane.synchronized {
        return closed("what is typed into it would go to other panes too");
    }
    // The box stands there also then, and the register says `idle`.
    let (shows, _) = screen::read(&pane.text);
    if matches!(shows, Shown::LimitWait { .. } | Shown::LoginExpired | Shown::NotLoggedIn) {
        return Err(Untyped::Blocked { session: session(), shows });
    }
    let pastes = match InputBox::read(&pane.text) {
        InputBox::Empty => prompt.pastes.clone(),
        // It was typed before, and its Enter was lost.
        InputBox::Draft(draft) if input_box::holds_tag(&draft, prompt.claim) => Vec::new(),
        InputBox::Draft(_) => return Err(Untyped::Draft { session: session() }),
        InputBox::Absent => return Err(Untyped::NoBox { session: session() }),
    };
    Ok(TmuxOp::Type { owner: (pool, session()), pane: prompt.pane.clone(), process: prompt.process.pid, cursor: pane.cursor, pastes })
}
