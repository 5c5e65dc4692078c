//! Whether a session is proven to go on under an account with its conversation.
//!
//! "Restarted" is no proof. What counts is read from the process, the CLI's register, its start hook and the transcript; what we passed to
//! the process does not.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    model::{Activity, ConversationId},
    observed::{AgentView, Death, StartReport, TranscriptView},
};

/// How far the proof of a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Every part of it was seen.
    Proven,
    /// Nothing speaks against it, but these parts were not seen yet.
    Pending(Vec<Missing>),
    /// Something speaks against it that waiting does not change.
    Refuted(Refutation),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::Pending(missing) => {
                let missing: Vec<String> = missing.iter().map(Missing::to_string).collect();
                f.write_str(&missing.join(", "))
            }
            Self::Refuted(refutation) => refutation.fmt(f),
        }
    }
}

/// A part of the proof that was not seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// The process's own environment does not name a home. Between fork and exec it is still the parent's.
    Home,
    /// The register has no entry of the process.
    Register,
    /// The start hook of the process has not reported.
    StartHook,
    /// The transcript was not compared with its mark.
    Transcript,
    /// It is not known what the agent does, or it is still starting.
    Activity,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Home => "its environment names no home yet",
            Self::Register => "the register does not name it yet",
            Self::StartHook => "its start hook has not reported yet",
            Self::Transcript => "its transcript was not compared yet",
            Self::Activity => "what it does is not known yet",
        })
    }
}

/// Who says which conversation a process has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// The CLI's register of live processes.
    Register,
    /// The CLI's start hook.
    StartHook,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "the register",
            Self::StartHook => "the start hook",
        })
    }
}

/// What speaks against a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refutation {
    /// No agent process lives.
    #[error("its process ended{}", how(*death))]
    Ended {
        /// How it ended, if that is known.
        death: Option<Death>,
    },
    /// The process runs under another home.
    #[error("it runs under {found:?}, expected {expected:?}")]
    OtherHome {
        /// The account's home.
        expected: PathBuf,
        /// `CLAUDE_CONFIG_DIR` of the process.
        found: PathBuf,
    },
    /// The process opened another conversation.
    #[error("{witness} names the conversation {found}, expected {expected}")]
    OtherConversation {
        /// Who says so.
        witness: Witness,
        /// The conversation that the session is bound to.
        expected: ConversationId,
        /// The one that it has open.
        found: ConversationId,
    },
    /// The transcript is another file, or lost bytes that it had before the move.
    #[error("its transcript is not the file that it was, or lost bytes that it had")]
    TranscriptChanged,
    /// The account's window is exhausted.
    #[error("it ran into a usage limit")]
    LimitHit,
    /// The account's login is not accepted.
    #[error("its login is not accepted")]
    LoggedOut,
}

/// ` with exit code 1`, ` by signal 9`, or nothing when nobody knows.
fn how(death: Option<Death>) -> String {
    match death {
        Some(Death { signal: Some(signal), .. }) => format!(" by signal {signal}"),
        Some(Death { code: Some(code), .. }) => format!(" with exit code {code}"),
        _ => String::new(),
    }
}

/// What a session must show to be proven.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The conversation that it is bound to.
    pub conversation: ConversationId,
    /// The real home of the account.
    pub home: &'a Path,
    /// Whether it had a transcript when it was stopped. A conversation in which nothing was ever said has no bytes to keep.
    pub had_transcript: bool,
    /// Whether it goes back to where it was: then a limit or a dead login is no reason to lose it, since it had that there before.
    pub going_back: bool,
}

/// Judges one session by facts that were looked at after its agent was started.
///
/// An agent that waits for a person's answer is proven all the same: a turn that goes on by itself may ask for a permission. A dialog at
/// start-up is not, since the register does not name the process then (facts/claude-code.md, section 1).
pub fn prove(expected: Expected<'_>, agent: &AgentView, transcript: &TranscriptView) -> Proof {
    match refute(expected, agent, transcript) {
        Some(refutation) => Proof::Refuted(refutation),
        None => match missing(expected, agent, transcript) {
            missing if missing.is_empty() => Proof::Proven,
            missing => Proof::Pending(missing),
        },
    }
}

fn refute(expected: Expected<'_>, agent: &AgentView, transcript: &TranscriptView) -> Option<Refutation> {
    if agent.process.is_none() || agent.activity == Activity::Exited {
        return Some(Refutation::Ended { death: agent.death });
    }
    if let Some(found) = agent.home.as_ref().filter(|home| *home != expected.home) {
        return Some(Refutation::OtherHome { expected: expected.home.to_owned(), found: found.clone() });
    }
    let registered = agent.register.as_ref().map(|register| (Witness::Register, register.conversation));
    let reported = own_report(agent).map(|report| (Witness::StartHook, report.conversation));
    for (witness, found) in [registered, reported].into_iter().flatten() {
        if found != expected.conversation {
            return Some(Refutation::OtherConversation { witness, expected: expected.conversation, found });
        }
    }
    if expected.had_transcript && transcript.keeps == Some(false) {
        return Some(Refutation::TranscriptChanged);
    }
    match agent.activity {
        _ if expected.going_back => None,
        Activity::LimitHit => Some(Refutation::LimitHit),
        Activity::LoggedOut => Some(Refutation::LoggedOut),
        _ => None,
    }
}

fn missing(expected: Expected<'_>, agent: &AgentView, transcript: &TranscriptView) -> Vec<Missing> {
    let parts = [
        (Missing::Home, agent.home.is_some()),
        (Missing::Register, agent.register.is_some()),
        (Missing::StartHook, own_report(agent).is_some()),
        (Missing::Transcript, !expected.had_transcript || transcript.keeps.is_some()),
        (Missing::Activity, !matches!(agent.activity, Activity::Unknown | Activity::Starting)),
    ];
    parts.into_iter().filter(|&(_, seen)| !seen).map(|(part, _)| part).collect()
}

/// The start report, if it is not about an earlier process of the session.
fn own_report(agent: &AgentView) -> Option<&StartReport> {
    agent.started.as_ref().filter(|report| agent.process.is_some_and(|process| process.pid == report.pid))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{Pid, ProcessId},
        observed::{RegisterStatus, RegisterView},
    };

    const BOUND: ConversationId = ConversationId(Uuid::from_u128(1));
    const OTHER: ConversationId = ConversationId(Uuid::from_u128(2));

    fn expected() -> Expected<'static> {
        Expected { conversation: BOUND, home: Path::new("/homes/backup"), had_transcript: true, going_back: false }
    }

    fn register(conversation: ConversationId) -> RegisterView {
        RegisterView {
            conversation,
            status: RegisterStatus::Idle,
            waiting_for: None,
            cwd: "/work".into(),
            version: "2.1.330".to_owned(),
            status_since: None,
        }
    }

    fn report(pid: i32, conversation: ConversationId) -> StartReport {
        StartReport { pid: Pid(pid), conversation, source: "resume".to_owned() }
    }

    /// An agent that shows everything that is asked.
    fn agent() -> AgentView {
        AgentView {
            process: Some(ProcessId { pid: Pid(7), started: 100 }),
            home: Some("/homes/backup".into()),
            register: Some(register(BOUND)),
            started: Some(report(7, BOUND)),
            activity: Activity::Idle,
            ..AgentView::default()
        }
    }

    const KEPT: TranscriptView = TranscriptView { mark: None, keeps: Some(true) };

    #[test]
    fn a_session_that_shows_everything_is_proven() {
        for activity in [Activity::Idle, Activity::Working, Activity::NeedsInput] {
            assert_eq!(prove(expected(), &AgentView { activity, ..agent() }, &KEPT), Proof::Proven, "{activity}");
        }
    }

    #[test]
    fn without_any_one_part_it_is_pending() {
        let pending = |agent: AgentView, transcript: TranscriptView| match prove(expected(), &agent, &transcript) {
            Proof::Pending(missing) => missing,
            other => panic!("{other:?}"),
        };
        assert_eq!(pending(AgentView { home: None, ..agent() }, KEPT), [Missing::Home]);
        assert_eq!(pending(AgentView { register: None, ..agent() }, KEPT), [Missing::Register]);
        assert_eq!(pending(AgentView { started: None, ..agent() }, KEPT), [Missing::StartHook]);
        assert_eq!(pending(AgentView { started: Some(report(6, BOUND)), ..agent() }, KEPT), [Missing::StartHook], "of an earlier process");
        assert_eq!(pending(agent(), TranscriptView { mark: None, keeps: None }), [Missing::Transcript]);
        for activity in [Activity::Unknown, Activity::Starting] {
            assert_eq!(pending(AgentView { activity, ..agent() }, KEPT), [Missing::Activity]);
        }
        let blank = AgentView { home: None, register: None, started: None, activity: Activity::Starting, ..agent() };
        let missing = pending(blank, TranscriptView { mark: None, keeps: None });
        assert_eq!(missing.len(), 5);
        assert_eq!(
            Proof::Pending(missing[..2].to_vec()).to_string(),
            "its environment names no home yet, the register does not name it yet"
        );
    }

    #[test]
    fn what_speaks_against_it_refutes_it_even_while_something_is_missing() {
        let found: PathBuf = "/homes/primary".into();
        let by = |witness| Refutation::OtherConversation { witness, expected: BOUND, found: OTHER };
        let death = Some(Death { code: Some(1), signal: None });
        let changed = TranscriptView { mark: None, keeps: Some(false) };
        let cases = [
            (AgentView { process: None, death, ..agent() }, KEPT, Refutation::Ended { death }),
            (AgentView { activity: Activity::Exited, ..agent() }, KEPT, Refutation::Ended { death: None }),
            (AgentView { home: Some(found.clone()), ..agent() }, KEPT, Refutation::OtherHome { expected: "/homes/backup".into(), found }),
            (AgentView { register: Some(register(OTHER)), ..agent() }, KEPT, by(Witness::Register)),
            (AgentView { started: Some(report(7, OTHER)), ..agent() }, KEPT, by(Witness::StartHook)),
            (agent(), changed, Refutation::TranscriptChanged),
            (AgentView { activity: Activity::LimitHit, ..agent() }, KEPT, Refutation::LimitHit),
            (AgentView { activity: Activity::LoggedOut, ..agent() }, KEPT, Refutation::LoggedOut),
        ];
        for (agent, transcript, refutation) in cases {
            assert_eq!(prove(expected(), &agent, &transcript), Proof::Refuted(refutation.clone()));
            // Not even the part that is missing is waited for.
            let (home, register) = (agent.home.clone().filter(|home| home != expected().home), agent.register.clone());
            let register = register.filter(|register| register.conversation != BOUND);
            let bare = AgentView { home, register, ..agent };
            assert_eq!(prove(expected(), &bare, &transcript), Proof::Refuted(refutation));
        }
    }

    #[test]
    fn on_the_way_back_an_account_at_its_end_is_where_the_session_was() {
        let back = Expected { going_back: true, ..expected() };
        for activity in [Activity::LimitHit, Activity::LoggedOut] {
            assert_eq!(prove(back, &AgentView { activity, ..agent() }, &KEPT), Proof::Proven, "{activity}");
        }
        let ended = AgentView { activity: Activity::Exited, ..agent() };
        assert!(matches!(prove(back, &ended, &KEPT), Proof::Refuted(_)));
    }

    #[test]
    fn a_report_of_an_earlier_process_proves_nothing_and_refutes_nothing() {
        let earlier = AgentView { started: Some(report(6, OTHER)), ..agent() };
        assert_eq!(prove(expected(), &earlier, &KEPT), Proof::Pending(vec![Missing::StartHook]));
    }

    #[test]
    fn a_conversation_without_a_word_has_no_bytes_to_keep() {
        let silent = Expected { had_transcript: false, ..expected() };
        for keeps in [None, Some(false)] {
            assert_eq!(prove(silent, &agent(), &TranscriptView { mark: None, keeps }), Proof::Proven);
        }
    }

    #[test]
    fn a_refutation_says_what_was_expected_and_what_was_found() {
        let ended = |code, signal| Refutation::Ended { death: Some(Death { code, signal }) }.to_string();
        assert_eq!(ended(Some(1), None), "its process ended with exit code 1");
        assert_eq!(ended(None, Some(9)), "its process ended by signal 9");
        assert_eq!(ended(None, None), "its process ended");
        let other = Refutation::OtherConversation { witness: Witness::StartHook, expected: BOUND, found: OTHER };
        assert_eq!(
            other.to_string(),
            "the start hook names the conversation 00000000-0000-0000-0000-000000000002, expected 00000000-0000-0000-0000-000000000001"
        );
    }
}
