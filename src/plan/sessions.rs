//! Sessions: each declared one exists once, is ours, and runs what the spec says on the active account.

use super::{
    Attempts, Disruption, Effect, Launch, LaunchMode, Phase, SessionRecord, Verb,
    evidence::ACTIVE_UNKNOWN,
    link_needs, login_of,
    planner::{AgentNow, MAX_FACT_AGE, Planner, action},
    restoring::may_begin,
};
use crate::{
    model::{Activity, ConversationId, ObjectRef, ProcessId},
    observed::{Abreast, AgentView, Death, LoginView, PaneView, Seen, TmuxView},
    spec::{Account, Restart, Session, Spec},
};

/// Descriptors of a tmux server that are not for panes. Out of descriptors, tmux up to 3.5a spins for ever (facts/tmux.md, finding 6).
pub const RESERVED_DESCRIPTORS: u64 = 32;

/// Whether there is an agent to take over: a shell, or an agent that hangs in its first dialogs, has no conversation to be bound to.
fn runs_registered_agent(agent: &AgentNow<'_>) -> bool {
    matches!(agent, AgentNow::Seen(agent) if agent.process.is_some() && agent.register.is_some())
}

impl Planner<'_> {
    /// Plans every declared session that is not in the hands of an open swap.
    pub fn plan_sessions(&mut self) {
        let tmux = match &self.seen.tmux {
            Seen::Known(fact) if self.now.since(fact.at) <= MAX_FACT_AGE => &fact.value,
            Seen::Known(_) => {
                self.warn(ObjectRef::Server, "ServerStale", "tmux was last looked at too long ago; no session is touched");
                return;
            }
            Seen::Unknown(why) => {
                self.warn(ObjectRef::Server, "ServerUnknown", format!("tmux cannot be looked at ({why}); no session is touched"));
                return;
            }
        };
        let Some(account) = self.account else {
            self.wait_for_account();
            return;
        };
        let mut room = Room::of(tmux);
        let mut starts = false;
        let (mut panes, mut agents) = (Abreast::of(&tmux.panes), Abreast::of(&self.seen.agents));
        for session in self.spec.sessions.values() {
            if self.memory.is_moving(&session.name) {
                continue;
            }
            let (pane, agent) = (panes.get(session.name.as_str()), self.agent_now(agents.get(&session.name)));
            starts |= match pane {
                Some(pane) => self.plan_present(account, session, pane, agent),
                None => self.plan_absent(account, session, &agent, &mut room),
            };
        }
        if tmux.server.is_none() && starts {
            self.act(Phase::Server, action(ObjectRef::Server, Verb::Create, "start", "no server on the socket", Effect::StartServer));
        }
    }

    /// A session of this name has a pane. Answers whether something is started.
    fn plan_present(&mut self, account: &Account, session: &Session, pane: &PaneView, agent: AgentNow<'_>) -> bool {
        let object = ObjectRef::Session(session.name.clone());
        match &pane.mark {
            Some(_) if pane.is_of(self.memory.pool, &session.name) => {}
            Some(found) if found.pool == self.memory.pool => {
                self.warn(object, "Conflicted", format!("a tmux session of this name carries the mark of session {}", found.session));
                return false;
            }
            Some(found) => {
                self.warn(object, "Conflicted", format!("a tmux session of this name belongs to pool {}", found.pool));
                return false;
            }
            None if session.adopt && self.memory.swap.is_some() => {
                self.wait(object, "SwapOpen", "it is adopted after the swap");
                return false;
            }
            None if session.adopt && !runs_registered_agent(&agent) => {
                self.wait(object, "NothingToAdopt", "no agent that has registered itself runs in the tmux session of this name");
                return false;
            }
            None if session.adopt => {
                let mark = self.mark(session);
                let effect = Effect::AdoptSession { session_id: pane.session_id.clone(), pane: pane.pane.clone(), mark };
                self.act(Phase::Start, action(object, Verb::Adopt, "adopt", "it runs without our mark, adopt is set", effect));
                return false;
            }
            None => {
                let message =
                    format!("a tmux session of this name exists and is not ours; `claude-failover adopt {}` takes it over", session.name);
                self.warn(object, "Conflicted", message);
                return false;
            }
        }
        match agent {
            AgentNow::Seen(agent) => match agent.process {
                Some(process) => {
                    self.plan_running(account, session, pane, agent, process);
                    false
                }
                None => self.plan_ended(account, session, pane, agent),
            },
            AgentNow::Unknown(why) => {
                self.wait(object, "AgentUnknown", format!("its process cannot be looked at: {why}"));
                false
            }
            AgentNow::NotLooked => {
                self.wait(object, "AgentUnknown", "its process has not been looked at");
                false
            }
        }
    }

    /// Without a fit account nothing is started; what runs, runs on.
    fn wait_for_account(&mut self) {
        let (reason, message) = if self.undecided {
            (ACTIVE_UNKNOWN, "which account is active cannot be told; see the pool")
        } else {
            ("NoAccount", "no account is fit to start it under")
        };
        for name in self.spec.sessions.keys() {
            let runs = matches!(self.agent(name), AgentNow::Seen(agent) if agent.process.is_some());
            if !runs && !self.memory.is_moving(name) {
                self.wait(ObjectRef::Session(name.clone()), reason, message);
            }
        }
    }

    /// A session has no pane. Answers whether something is started.
    fn plan_absent(&mut self, account: &Account, session: &Session, agent: &AgentNow<'_>, room: &mut Room) -> bool {
        let object = ObjectRef::Session(session.name.clone());
        let record = self.memory.sessions.get(&session.name);
        // Its pane is gone, but a process that ignores the hang-up lives on (facts/tmux.md, section 4).
        let unknown = match agent {
            AgentNow::Seen(agent) => match agent.process {
                Some(process) if record.is_some() => {
                    self.plan_orphan(session, process);
                    return false;
                }
                Some(_) => true,
                None => false,
            },
            AgentNow::Unknown(_) => true,
            AgentNow::NotLooked => record.is_some_and(|record| record.process.is_some()),
        };
        if unknown {
            self.wait(object, "AgentUnknown", "its pane is gone, and whether its agent has ended is not known");
            return false;
        }
        let Some(launch) = self.launch(account, session, record) else { return false };
        if !room.take() {
            let message = format!("the tmux server may open {} descriptors; raise its limit (LimitNOFILE) and start it anew", room.limit);
            self.warn(object, "NoRoom", message);
            return false;
        }
        let why = if record.is_some() {
            self.drift(object.clone(), "the tmux session is gone");
            "its tmux session is gone"
        } else {
            "declared, not running"
        };
        let (what, mark) = (start_words(&launch), self.mark(session));
        let create = action(object, Verb::Create, what, why, Effect::CreateSession { launch, mark });
        self.act(Phase::Start, create.relying_on(&account.name));
        true
    }

    fn plan_orphan(&mut self, session: &Session, process: ProcessId) {
        let object = ObjectRef::Session(session.name.clone());
        let effect = Effect::StopAgent { session: session.name.clone(), process, grace: self.spec.agent.stop_grace };
        let what = format!("stop process {}", process.pid);
        let stop = action(object, Verb::Stop, what, "its pane is gone and the agent lives on", effect);
        self.act(Phase::Stop, stop.disturbing(Disruption::Working));
    }

    /// An agent runs: is it the right one?
    fn plan_running(&mut self, account: &Account, session: &Session, pane: &PaneView, agent: &AgentView, process: ProcessId) {
        let object = ObjectRef::Session(session.name.clone());
        let other_settings = pane.mark.as_ref().filter(|mark| mark.digest != *self.digest(session));
        let other_home = agent.home.as_deref().filter(|home| *home != account.home);
        let why = if let Some(mark) = other_settings {
            format!("it was started with other settings ({} instead of {})", mark.digest, self.digest(session))
        } else if let Some(home) = other_home {
            let message = format!("it runs under {}, the active account is {}", home.display(), account.name);
            self.drift(object.clone(), message.clone());
            message
        } else {
            return;
        };
        // What must not be started again is not stopped for a restart.
        if let Some((reason, message)) = self.start_hold(account, &object) {
            self.wait(object, reason, format!("it is to be restarted ({why}), but {message}"));
        } else if agent.activity.is_quiet() {
            let effect = Effect::StopAgent { session: session.name.clone(), process, grace: self.spec.agent.stop_grace };
            let stop = action(object, Verb::Restart, "stop, then start again with its conversation", why, effect);
            self.act(Phase::Stop, stop.disturbing(Disruption::Idle));
        } else {
            self.wait(object, "WaitsForIdle", format!("it is to be restarted ({why}) as soon as it is idle; it is {}", agent.activity));
        }
    }

    /// The agent of a pane of ours has ended.
    fn plan_ended(&mut self, account: &Account, session: &Session, pane: &PaneView, agent: &AgentView) -> bool {
        let object = ObjectRef::Session(session.name.clone());
        let death = agent.death.or(pane.dead).unwrap_or_default();
        let record = self.memory.sessions.get(&session.name);
        let stays = match session.restart {
            Restart::Always => false,
            Restart::OnFailure => death.code == Some(0),
            Restart::Never => true,
        };
        // The policy is about an end of its own. One that we stopped, that was last started with other settings, or under another account, was
        // ended to be started anew: a swap that went back may have left it so.
        let mark = self.mark(session);
        let is_as_it_was = |record: &SessionRecord| record.account == account.name && !record.stopped;
        let as_started = pane.mark.as_ref() == Some(&mark) && record.is_none_or(is_as_it_was);
        if stays && as_started {
            self.wait(
                object,
                "EndedByPolicy",
                format!("its agent ended ({}); restart is {}", death_words(death), restart_word(session.restart)),
            );
            return false;
        }
        let Some(launch) = self.launch(account, session, record) else { return false };
        let what = start_words(&launch);
        let why = format!("its agent ended ({})", death_words(death));
        let effect =
            Effect::RespawnAgent { session_id: pane.session_id.clone(), pane: pane.pane.clone(), expect_pid: pane.pid, launch, mark };
        self.act(Phase::Start, action(object, Verb::Restart, what, why, effect).relying_on(&account.name));
        true
    }

    /// What to start, or `None` with the reason in the report.
    fn launch(&mut self, account: &Account, session: &Session, record: Option<&SessionRecord>) -> Option<Launch> {
        let object = ObjectRef::Session(session.name.clone());
        if let Some((reason, message)) = self.start_hold(account, &object) {
            self.wait(object, reason, message);
            return None;
        }
        let conversation = record.map_or_else(|| self.memory.pool.conversation(&session.name, 1), |record| record.conversation);
        let rival = self.open(conversation).iter().find(|name| **name != session.name).cloned();
        if let Some(rival) = rival {
            let message =
                format!("its conversation {conversation} is open in session {rival}; it is started once that session has left it");
            self.wait(object, "ConversationOpen", message);
            return None;
        }
        if let (None, Err(message)) = (record, may_begin(self.seen, self.memory, &session.name)) {
            self.wait(object, "CheckpointsUnknown", message);
            return None;
        }
        let mode = if record.is_some() { self.conversation_mode(session, conversation)? } else { LaunchMode::Fresh };
        self.open(conversation).insert(session.name.clone());
        Some(launch(self.spec, account, session, conversation, mode))
    }

    /// Why nothing may be started in a session now, as reason and words.
    fn start_hold(&self, account: &Account, object: &ObjectRef) -> Option<(&'static str, String)> {
        if self.memory.swap.is_some() {
            return Some(("SwapOpen", "nothing new is begun while a swap is open".to_owned()));
        }
        if let Some(cordon) = self.memory.cordoned.get(object) {
            return Some(("Cordoned", format!("it is cordoned by {}: {}", cordon.actor, cordon.reason)));
        }
        if let Some(Attempts { quarantined: true, .. }) = self.memory.attempts.get(object) {
            let message =
                format!("its agent ends too often; look with `claude-failover explain {object}`, then `claude-failover clear {object}`");
            return Some(("Quarantined", message));
        }
        if login_of(self.seen, self.memory, &account.name) == LoginView::Missing {
            let message = format!("nobody is logged in at {}; run `{}`", account.home.display(), account.login_command());
            return Some(("LoginMissing", message));
        }
        let why = self.unfit.get(&account.name)?;
        Some(("AccountUnfit", format!("account {} is not fit: {why}", account.name)))
    }

    /// A conversation with a transcript goes on; one in which nothing was ever said begins with the same id.
    fn conversation_mode(&mut self, session: &Session, conversation: ConversationId) -> Option<LaunchMode> {
        match self.seen.transcripts.get(&session.name) {
            Some(Seen::Known(fact)) if self.now.since(fact.at) > MAX_FACT_AGE => {
                let message = format!("the transcript of conversation {conversation} was last looked at too long ago");
                self.wait(ObjectRef::Session(session.name.clone()), "TranscriptUnknown", message);
                None
            }
            Some(Seen::Known(fact)) if fact.value.mark.is_some() => Some(LaunchMode::Resume),
            Some(Seen::Known(_)) if self.memory.sessions.get(&session.name).is_some_and(|record| record.spoken) => {
                let object = ObjectRef::Session(session.name.clone());
                let message = format!(
                    "the transcript of conversation {conversation} is gone; bring it back, or begin a new conversation with \
                     `claude-failover clear {object}`"
                );
                self.warn(object, "TranscriptLost", message);
                None
            }
            Some(Seen::Known(_)) => Some(LaunchMode::Fresh),
            Some(Seen::Unknown(why)) => {
                let message = format!("the transcript of conversation {conversation} cannot be looked at: {why}");
                self.wait(ObjectRef::Session(session.name.clone()), "TranscriptUnknown", message);
                None
            }
            None => {
                let message = format!("the transcript of conversation {conversation} has not been looked at");
                self.wait(ObjectRef::Session(session.name.clone()), "TranscriptUnknown", message);
                None
            }
        }
    }
}

/// All that a start needs, from the spec.
pub fn launch(spec: &Spec, account: &Account, session: &Session, conversation: ConversationId, mode: LaunchMode) -> Launch {
    Launch {
        session: session.name.clone(),
        account: account.name.clone(),
        home: account.home.clone(),
        workdir: session.workdir.clone(),
        command: spec.agent.command.clone(),
        permission_mode: spec.agent.permission_mode,
        environment: spec.agent.environment.clone(),
        conversation,
        mode,
        size: (spec.tmux.width, spec.tmux.height),
        needs: link_needs(spec, account),
    }
}

/// How many panes the server still has room for.
struct Room {
    limit: u64,
    left: u64,
}

impl Room {
    fn of(tmux: &TmuxView) -> Self {
        let limit = tmux.server.as_ref().and_then(|server| server.descriptor_limit).unwrap_or(u64::MAX);
        let used = RESERVED_DESCRIPTORS.saturating_add(tmux.panes.len() as u64);
        Self { limit, left: limit.saturating_sub(used) }
    }

    const fn take(&mut self) -> bool {
        let fits = self.left > 0;
        self.left = self.left.saturating_sub(1);
        fits
    }
}

fn start_words(launch: &Launch) -> String {
    match launch.mode {
        LaunchMode::Fresh => format!("start on {}", launch.account),
        LaunchMode::Resume => format!("resume on {}", launch.account),
    }
}

/// `exit code 3`, `signal 9`, or that nobody knows.
pub fn death_words(death: Death) -> String {
    match (death.code, death.signal) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "exit status not known".to_owned(),
    }
}

const fn restart_word(restart: Restart) -> &'static str {
    match restart {
        Restart::Always => "always",
        Restart::OnFailure => "onFailure",
        Restart::Never => "never",
    }
}

/// The activity that a removal or a restart must wait for.
pub(super) const fn is_busy(activity: Activity) -> bool {
    !activity.is_quiet()
}
