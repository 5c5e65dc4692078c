//! Carries out operations: all checks first, then everything in one go.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    TmuxOp, TmuxServer,
    client::Exchange,
    lines::{Prepared, look_after, look_before, request, variables},
    op::OpError,
    script::{Reply, Request},
    server::Purpose,
    verdict::{Verdict, judge, judge_creation},
};
use crate::{
    host::process::{Exec, ProcessState, environment_value, state},
    model::{PaneId, Pid},
    plan::{Failure, Happened, Outcome},
};

impl TmuxServer {
    /// Carries out operations on different sessions, pipelined, and answers one outcome for each, in order.
    ///
    /// Each operation may take the server's deadline from the answer to the one before it. One that is not answered is not repeated; its
    /// outcome is [`Happened::CannotTell`], because a server that hangs may still read it when it wakes up. Its precondition, which the server
    /// checks itself, holds then too.
    pub async fn perform(&mut self, ops: &[TmuxOp]) -> Vec<Outcome> {
        let mut work = Work { ops, outcomes: vec![None; ops.len()] };
        let files = check_all_files(ops);
        let mut prepared = self.prepare(&mut work).await;
        work.take_files(files, self.config.deadline).await;

        let requests = work.each(|at, op| request(op, &prepared.remove(&at).unwrap_or_default(), &self.tag).map(Some));
        let exchange = self.exchange_some(&requests, Purpose::Act).await;
        let mut taken: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (&(at, _), reply) in requests.iter().zip(&exchange.replies) {
            match judge(&ops[at], reply) {
                Verdict::Settled(outcome) => work.outcomes[at] = Some(outcome),
                Verdict::LookAfter => drop(taken.insert(at, reply.errors.clone())),
            }
        }
        work.unanswered(&requests, &exchange);

        self.settle_creations(&mut work, &taken).await;
        let silent = || Outcome::Failed(Failure::from_error(Happened::CannotTell, &OpError::Silent));
        work.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(silent)).collect()
    }

    /// Looks up what the operations need to know, and checks the processes that must be gone.
    async fn prepare(&mut self, work: &mut Work<'_>) -> BTreeMap<usize, Prepared> {
        let requests = work.each(|_, op| look_before(op, &self.tag));
        let exchange = self.exchange_some(&requests, Purpose::Look).await;
        let mut prepared = BTreeMap::new();
        for (&(at, _), reply) in requests.iter().zip(&exchange.replies) {
            match prepare_one(&work.ops[at], reply) {
                Ok(Ok(one)) => drop(prepared.insert(at, one)),
                Ok(Err(outcome)) => work.outcomes[at] = Some(outcome),
                Err(error) => work.outcomes[at] = Some(error.not_done()),
            }
        }
        // A look that brought nothing changed nothing.
        let none_begun = Exchange { begun: 0, ..exchange };
        work.unanswered(&requests, &none_begun);
        prepared
    }

    /// A creation that failed is unchanged when the session is there with the very mark.
    async fn settle_creations(&mut self, work: &mut Work<'_>, taken: &BTreeMap<usize, Vec<String>>) {
        let requests = work.each(|at, op| match op {
            TmuxOp::Create { mark, .. } if taken.contains_key(&at) => Ok(Some(look_after(&mark.session, &self.tag))),
            _ => Ok(None),
        });
        let exchange = self.exchange_some(&requests, Purpose::Look).await;
        for (&(at, _), reply) in requests.iter().zip(&exchange.replies) {
            if let (TmuxOp::Create { mark, .. }, Some(said)) = (&work.ops[at], taken.get(&at)) {
                work.outcomes[at] = Some(judge_creation(mark, said, reply.word("found").unwrap_or_default()));
            }
        }
    }

    /// Sends requests, if there are any.
    async fn exchange_some(&mut self, requests: &[(usize, Request)], purpose: Purpose) -> Exchange {
        if requests.is_empty() {
            return Exchange { replies: Vec::new(), begun: 0, error: None };
        }
        let requests: Vec<Request> = requests.iter().map(|(_, request)| request.clone()).collect();
        self.exchange(&requests, purpose).await
    }
}

/// Operations with their outcomes as far as they are settled.
struct Work<'ops> {
    ops: &'ops [TmuxOp],
    outcomes: Vec<Option<Outcome>>,
}

impl Work<'_> {
    /// Settles the starts whose files are not in order, or do not answer.
    async fn take_files(&mut self, files: Option<Files>, within: Duration) {
        let Some((starts, look)) = files else { return };
        if let Ok(Ok(found)) = timeout(within, look).await {
            for (at, error) in starts.into_iter().zip(found).filter_map(|(at, found)| Some((at, found.err()?))) {
                self.outcomes[at] = Some(error.not_done());
            }
        } else {
            for (at, Exec { program, workdir, .. }) in starts.into_iter().filter_map(|at| Some((at, self.ops[at].exec()?.clone()))) {
                self.outcomes[at] = Some(OpError::NoAnswerFromFiles { program, workdir }.not_done());
            }
        }
    }

    /// Requests for the operations that are not settled. One that cannot be put into words is settled by that.
    fn each(&mut self, mut make: impl FnMut(usize, &TmuxOp) -> Result<Option<Request>, OpError>) -> Vec<(usize, Request)> {
        let mut requests = Vec::with_capacity(self.ops.len());
        for (at, op) in self.ops.iter().enumerate().filter(|&(at, _)| self.outcomes[at].is_none()).collect::<Vec<_>>() {
            match make(at, op) {
                Ok(Some(request)) => requests.push((at, request)),
                Ok(None) => {}
                Err(error) => self.outcomes[at] = Some(error.not_done()),
            }
        }
        requests
    }

    /// Settles what was not answered.
    fn unanswered(&mut self, requests: &[(usize, Request)], exchange: &Exchange) {
        let Some(error) = &exchange.error else { return };
        for (place, &(at, _)) in requests.iter().enumerate().skip(exchange.replies.len()) {
            let happened = if place < exchange.begun { Happened::CannotTell } else { Happened::No };
            self.outcomes[at] = Some(Outcome::Failed(Failure::from_error(happened, error)));
        }
    }
}

/// Reads what was looked up; the inner error is an outcome that is settled by it.
fn prepare_one(op: &TmuxOp, reply: &Reply) -> Result<Result<Prepared, Outcome>, OpError> {
    let server = reply.speaker.pid;
    match op {
        TmuxOp::Respawn { pane, expect_pid, .. } => {
            let gone = match *expect_pid {
                Some(pid) => is_gone_from_pane(pid, server, pane)?,
                None => true,
            };
            Ok(Ok(Prepared::Respawn { variables: variables(reply), gone }))
        }
        TmuxOp::Close { session_id, .. } => {
            let (found, pids) = reply.word("panes").and_then(|panes| panes.split_once('|')).unwrap_or_default();
            if found.is_empty() {
                return Ok(Err(Outcome::Unchanged));
            }
            for pid in pids.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).filter(|&pid: &i32| pid > 0).map(Pid) {
                if matches!(state(pid)?, ProcessState::Alive { parent, .. } if parent == server) {
                    return Err(OpError::Occupied { pid, session: session_id.clone() });
                }
            }
            Ok(Ok(Prepared::Close { pids: pids.to_owned() }))
        }
        TmuxOp::Create { .. } | TmuxOp::Adopt { .. } | TmuxOp::Release { .. } | TmuxOp::Type { .. } => Ok(Ok(Prepared::Nothing)),
    }
}

/// Whether the process that a pane had last has ended. `false` when the number belongs to somebody else by now: then tmux must say itself that
/// the pane is dead.
///
/// tmux calls a pane dead as soon as nobody has its terminal open, so that alone does not mean that the process has ended.
fn is_gone_from_pane(pid: Pid, server: Pid, pane: &PaneId) -> Result<bool, OpError> {
    let ProcessState::Alive { process, parent } = state(pid)? else { return Ok(true) };
    if parent != server {
        return Ok(false);
    }
    // The server's own child: the pane's process itself, unless tmux has given the number to the process of another pane, which then knows
    // that pane by name.
    match environment_value(process, "TMUX_PANE")? {
        Some(other) if other.as_encoded_bytes() != pane.0.as_bytes() => Ok(false),
        _ => Err(OpError::Alive { pid, pane: pane.clone() }),
    }
}

/// The places of the starts among the operations, and what is found about the files of each.
type Files = (Vec<usize>, JoinHandle<Vec<Result<(), OpError>>>);

/// Checks that what is to be started exists: tmux reports success for a program and for a directory that do not (`facts/tmux.md`, section 1). On
/// a thread of its own, for a directory may lie on a mount that hangs, and while tmux is asked.
fn check_all_files(ops: &[TmuxOp]) -> Option<Files> {
    let (starts, asked): (Vec<usize>, Vec<Exec>) = ops.iter().enumerate().filter_map(|(at, op)| Some((at, op.exec()?.clone()))).unzip();
    let look = move || asked.iter().map(check_files).collect();
    (!starts.is_empty()).then(|| (starts, spawn_blocking(look)))
}

/// Checks program and start directory.
fn check_files(exec: &Exec) -> Result<(), OpError> {
    let program = |why| OpError::Program { path: exec.program.clone(), why };
    let workdir = |why| OpError::Workdir { path: exec.workdir.clone(), why };
    if !exec.program.is_absolute() {
        return Err(program("its path is not absolute"));
    }
    match std::fs::metadata(&exec.program) {
        Err(_) => return Err(program("it does not exist")),
        Ok(found) if !found.is_file() => return Err(program("it is no file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 || !may_execute(&exec.program) => {
            return Err(program("it may not be executed"));
        }
        Ok(_) => {}
    }
    if !exec.workdir.is_absolute() {
        return Err(workdir("its path is not absolute"));
    }
    match std::fs::metadata(&exec.workdir) {
        Err(_) => Err(workdir("it does not exist")),
        Ok(found) if !found.is_dir() => Err(workdir("it is no directory")),
        Ok(_) if !may_execute(&exec.workdir) => Err(workdir("it may not be entered")),
        Ok(_) => Ok(()),
    }
}

/// Whether we may execute a file, or enter a directory (access(2)).
fn may_execute(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
