//! Answers as outcomes: pure.

use super::{
    mark,
    op::{OpError, TmuxOp},
    script::Reply,
};
use crate::{
    model::Pid,
    observed::Mark,
    plan::{Failure, Happened, Outcome},
};

/// What an answer to [`super::lines::request`] means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is settled.
    Settled(Outcome),
    /// A creation failed: who has the name decides.
    LookAfter,
}

/// Judges the answer to an operation.
pub(super) fn judge(op: &TmuxOp, reply: &Reply) -> Verdict {
    if reply.word("done").is_some() {
        return Verdict::Settled(Outcome::Changed);
    }
    if reply.word("same").is_some() {
        return Verdict::Settled(Outcome::Unchanged);
    }
    if let Some(found) = reply.word("refused") {
        return Verdict::Settled(refused(op, found));
    }
    if let (TmuxOp::Type { pane, process, .. }, Some(found)) = (op, reply.word("untyped")) {
        let why = untyped(*process, found);
        return Verdict::Settled(OpError::NotTyped { pane: pane.clone(), why }.not_done());
    }
    match op {
        TmuxOp::Create { .. } => Verdict::LookAfter,
        // The text may stand there without its Enter.
        TmuxOp::Type { .. } if !reply.errors.is_empty() => {
            let error = OpError::Refused(reply.errors.join("; "));
            Verdict::Settled(Outcome::Failed(Failure::from_error(Happened::CannotTell, &error)))
        }
        // The act itself comes last in each line, so when something failed, it was not done.
        _ if !reply.errors.is_empty() => Verdict::Settled(OpError::Refused(reply.errors.join("; ")).not_done()),
        _ => Verdict::Settled(Outcome::Failed(Failure::from_error(Happened::CannotTell, &OpError::Silent))),
    }
}

/// Why nothing was typed; `found` is `PID|DEAD|MODE|OFF|SYNCHRONIZED|OURS|ATTACHED`.
fn untyped(process: Pid, found: &str) -> &'static str {
    let fields: Vec<&str> = found.split('|').collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let is_set = |at: usize| !matches!(field(at), "" | "0");
    match () {
        () if field(0).is_empty() => "it is not there",
        () if is_set(1) => "its process has ended",
        () if field(0).parse() != Ok(process.0) => "another process runs in it",
        () if !is_set(5) => "its session does not carry our mark",
        () if is_set(2) && is_set(6) => "somebody reads back in it (copy mode)",
        () if is_set(3) => "its input is off",
        () if is_set(4) => "what is typed into it would go to other panes too",
        () => "its screen has changed since it was looked at",
    }
}

/// The precondition did not hold; `found` is `SESSION|PID|DEAD|MARK`.
fn refused(op: &TmuxOp, found: &str) -> Outcome {
    let mut fields = found.splitn(4, '|');
    let (session, pid, dead, value) =
        (fields.next().unwrap_or(""), fields.next().unwrap_or(""), fields.next().unwrap_or(""), fields.next().unwrap_or(""));
    let gone = session.is_empty();
    let expected = match op {
        TmuxOp::Release { .. } if gone || value.is_empty() => return Outcome::Unchanged,
        TmuxOp::Close { .. } if gone => return Outcome::Unchanged,
        TmuxOp::Respawn { session_id, pane, expect_pid, mark, .. } => {
            let process = expect_pid.map_or_else(|| "without a process".to_owned(), |pid| format!("whose process {pid} has ended"));
            format!("pane {pane} of session {session_id}, {process}, with a mark of {}", mark.session)
        }
        TmuxOp::Adopt { session_id, pane, mark } => format!("pane {pane} of session {session_id}, named {}, with no mark", mark.session),
        TmuxOp::Release { session_id, mark } => format!("session {session_id} with the mark {}", written(mark)),
        TmuxOp::Close { session_id, mark } => format!("session {session_id} with the mark {} and the panes just seen", written(mark)),
        TmuxOp::Create { mark, .. } => format!("no session {}", mark.session),
        TmuxOp::Type { pane, process, .. } => format!("pane {pane} with the process {process}"),
    };
    let found = if gone {
        "nothing".to_owned()
    } else {
        let process = if dead == "1" { "dead process" } else { "process" };
        format!("session {session}, {process} {pid}, {}", marked(value))
    };
    OpError::Moved { expected, found }.not_done()
}

/// Judges the look after a creation that failed with `said`; `found` is `SESSION|MARK`, empty when nobody has the name.
pub(super) fn judge_creation(wanted: &Mark, said: &[String], found: &str) -> Outcome {
    let (session, value) = found.split_once('|').unwrap_or((found, ""));
    if session.is_empty() {
        return OpError::Refused(said.join("; ")).not_done();
    }
    if mark::encode(wanted).is_some_and(|wanted| wanted == value) {
        return Outcome::Unchanged;
    }
    OpError::Exists { name: wanted.session.to_string(), found: format!("as {session}, {}", marked(value)) }.not_done()
}

fn written(mark: &Mark) -> String {
    mark::encode(mark).unwrap_or_default()
}

/// A mark as it stands in a message; escaped, for it may be anybody's.
fn marked(value: &str) -> String {
    if value.is_empty() { "with no mark".to_owned() } else { format!("with the mark {:?}", super::error::shorten(value)) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        host::tmux::script::{Line, Speaker},
        model::{PaneId, Pid, PoolId, SessionName, StartDigest, TmuxSessionId},
    };

    fn mark() -> Mark {
        Mark { pool: PoolId(Uuid::from_u128(7)), session: SessionName::new("a").expect("a name"), digest: StartDigest("f".into()) }
    }

    fn reply(lines: &[&str], errors: &[&str]) -> Reply {
        Reply {
            lines: lines.iter().map(|line| Line::Ours((*line).to_owned())).collect(),
            errors: errors.iter().map(ToString::to_string).collect(),
            speaker: Speaker { pid: Pid(1), version: "3.3a".into() },
        }
    }

    fn happened(verdict: Verdict) -> Happened {
        match verdict {
            Verdict::Settled(Outcome::Failed(failure)) => failure.happened,
            other => panic!("no failure: {other:?}"),
        }
    }

    #[test]
    fn an_answer_of_a_spawned_client_is_done_whatever_failed_elsewhere() {
        let release = TmuxOp::Release { session_id: TmuxSessionId("$1".into()), mark: mark() };
        assert_eq!(judge(&release, &reply(&["done"], &["duplicate session: b"])), Verdict::Settled(Outcome::Changed));
    }

    #[test]
    fn silence_cannot_tell() {
        let close = TmuxOp::Close { session_id: TmuxSessionId("$1".into()), mark: mark() };
        assert_eq!(happened(judge(&close, &reply(&[], &[]))), Happened::CannotTell);
        assert_eq!(happened(judge(&close, &reply(&[], &["no space"]))), Happened::No);
    }

    #[test]
    fn what_is_gone_or_unmarked_already_needs_no_release() {
        let release = TmuxOp::Release { session_id: TmuxSessionId("$1".into()), mark: mark() };
        let close = TmuxOp::Close { session_id: TmuxSessionId("$1".into()), mark: mark() };
        let adopt = TmuxOp::Adopt { session_id: TmuxSessionId("$1".into()), pane: PaneId("%1".into()), mark: mark() };
        for gone in ["refused |||", "refused"] {
            assert_eq!(judge(&release, &reply(&[gone], &[])), Verdict::Settled(Outcome::Unchanged));
            assert_eq!(judge(&close, &reply(&[gone], &[])), Verdict::Settled(Outcome::Unchanged));
            assert_eq!(happened(judge(&adopt, &reply(&[gone], &[]))), Happened::No);
        }
        assert_eq!(judge(&release, &reply(&["refused $1|5|0|"], &[])), Verdict::Settled(Outcome::Unchanged));
        assert_eq!(happened(judge(&close, &reply(&["refused $1|5|0|"], &[]))), Happened::No);
        assert_eq!(happened(judge(&release, &reply(&["refused $1|5|0|other|with|bars"], &[]))), Happened::No);
    }

    #[test]
    fn a_name_that_is_taken_is_ours_only_with_the_very_mark() {
        let value = mark::encode(&mark()).expect("plain");
        let said = ["duplicate session: a".to_owned()];
        assert_eq!(judge_creation(&mark(), &said, &format!("$1|{value}")), Outcome::Unchanged);
        for found in ["$1|", &format!("$1|{value}0"), "", "|"] {
            assert!(judge_creation(&mark(), &said, found).failure().is_some_and(|failure| failure.happened == Happened::No), "{found:?}");
        }
    }
}
