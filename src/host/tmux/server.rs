//! One tmux server: looking, and the choice between the control connection and a client of its own for each call.

use std::{future::pending, path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    ANCHOR,
    breaker::Breaker,
    client::{Client, Exchange, Listener},
    control::Control,
    error::TmuxError,
    format,
    script::{Batch, Line, Reply, Request, Speaker, Tag},
    socket::Socket,
};
use crate::{
    host::process::{descriptor_limit, identity},
    model::{PaneId, ProcessId},
    observed::{ServerView, TmuxView},
};

/// How many of the server's descriptors are not for panes: its own, its clients', and a margin. tmux up to 3.5a spins for ever once it has
/// none left (`facts/tmux.md`, finding 6).
pub const PANE_RESERVE: u64 = 32;

/// A burst of notices is over when nothing was said for this long, or after [`BURST`].
const QUIET: Duration = Duration::from_millis(10);
const BURST: Duration = Duration::from_millis(100);

/// The most of a screen that [`TmuxServer::capture`] answers.
const CAPTURE_LIMIT: usize = 256 << 10;

/// Where the server is and how it is set up.
#[derive(Debug, Clone)]
pub struct TmuxConfig {
    /// The tmux program: an absolute path, or a name that is looked up in `PATH`.
    pub binary: PathBuf,
    /// The server's socket.
    pub socket: Socket,
    /// Columns and lines of our anchor session.
    pub size: (u16, u16),
    /// Lines of scrollback per pane, for a server that we start.
    pub history_limit: u32,
    /// How long one call may take.
    pub deadline: Duration,
}

impl TmuxConfig {
    /// The deadline that suits a server on the same host: one with 1,000 panes answers in 30 ms.
    pub const DEADLINE: Duration = Duration::from_secs(3);
}

/// A tmux server, whether it runs or not.
///
/// The control connection is opened with the first [`perform`](Self::perform) or [`notice`](Self::notice), because it needs our anchor
/// session: a program that only looks changes nothing and uses one client of its own for it.
#[derive(Debug)]
pub struct TmuxServer {
    pub(super) config: TmuxConfig,
    pub(super) client: Client,
    pub(super) tag: Tag,
    /// The number of the next request.
    next: u64,
    control: Option<Control>,
    breaker: Breaker,
    /// Whether a connection is wanted.
    listening: bool,
    /// Whether the connection was lost, or made, since the last look: something may have gone unheard.
    missed: bool,
    /// The server that answered last.
    pub(super) server: Option<ProcessId>,
    /// Whether the last call found no server.
    absent: bool,
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It shows the sessions.
    List,
    /// It changes nothing, so it may be asked again in another way.
    Look,
    /// It changes something. It is sent once.
    Act,
}

impl TmuxServer {
    /// Does nothing yet.
    pub fn new(config: TmuxConfig) -> Self {
        let client = Client { binary: super::client::found(&config.binary), socket: config.socket.path().to_owned() };
        Self {
            config,
            client,
            tag: Tag::random(),
            next: 0,
            control: None,
            breaker: Breaker::default(),
            listening: false,
            missed: false,
            server: None,
            absent: false,
        }
    }

    /// Whether the control connection is up. While it is not, each call starts a client of its own.
    pub const fn is_connected(&self) -> bool {
        self.control.is_some()
    }

    /// Lists the server and the oldest pane of each session, without our anchor. That no server runs is an answer.
    ///
    /// # Errors
    /// Nothing is known then: not that there are no sessions.
    pub async fn list(&mut self) -> Result<TmuxView, TmuxError> {
        let reply = match self.ask(format::request(&self.tag), Purpose::List).await {
            Err(TmuxError::NoServer { .. }) => return Ok(TmuxView::default()),
            reply => reply?,
        };
        let panes = format::panes(&reply, &self.tag).map_err(|row| TmuxError::Malformed {
            socket: self.client.socket.clone(),
            why: "a pane is not listed in the form that was asked for",
            line: super::error::shorten(&row),
        })?;
        let Speaker { pid, version } = reply.speaker;
        // An unreadable limit only means that it bounds nothing.
        let descriptor_limit = descriptor_limit(pid).ok().flatten();
        Ok(TmuxView { server: Some(ServerView { pid, version, descriptor_limit }), panes })
    }

    /// What a pane shows, 256 KiB of it at most, with control characters left out by tmux. Untrusted text.
    ///
    /// # Errors
    /// As [`list`](Self::list), and [`TmuxError::Unanswered`] with tmux's words when there is no such pane.
    pub async fn capture(&mut self, pane: &PaneId) -> Result<String, TmuxError> {
        let refused = |said: String| TmuxError::Unanswered { socket: self.client.socket.clone(), said };
        if !format::is_id(&pane.0, '%') {
            return Err(refused(format!("{:?} is no pane", pane.0)));
        }
        // Not through the connection: there, a screen that imitates the protocol could throw it out of step.
        let request = Request::line(format!("capture-pane -p -J -t '{pane}'"));
        let exchange = self.run_client(&[request], self.config.deadline).await;
        let reply = self.one(exchange)?;
        if !reply.errors.is_empty() {
            return Err(TmuxError::Unanswered {
                socket: self.client.socket.clone(),
                said: super::error::shorten(&reply.errors.join("; ")),
            });
        }
        let mut screen = String::new();
        for line in &reply.lines {
            if let Line::Raw(text) = line
                && screen.len() + text.len() < CAPTURE_LIMIT
            {
                screen.push_str(text);
                screen.push('\n');
            }
        }
        Ok(screen)
    }

    /// Waits until another look is due: the server said that a session was made, closed or renamed, or the connection was lost. A burst is
    /// told once.
    ///
    /// Cancel-safe: what was said is kept until the next [`list`](Self::list) that is answered. Without a server it waits for ever.
    pub async fn notice(&mut self) {
        self.listening = true;
        if self.control.is_none() && !self.absent {
            if let Some(at) = self.breaker.retry_at() {
                sleep_until(at).await;
            }
            // Dropped half-way, this leaves nothing behind but a client that is killed.
            self.connect(Instant::now() + self.config.deadline).await;
            self.missed = true;
        }
        if self.missed {
            return;
        }
        let Some(control) = &mut self.control else { return pending().await };
        let mut burst_ends: Option<Instant> = None;
        let lost = loop {
            let within = match burst_ends {
                None if control.look_again => {
                    burst_ends = Some(Instant::now() + BURST);
                    continue;
                }
                None => None,
                Some(end) => Some(QUIET.min(end - Instant::now())),
            };
            match control.listen(within).await {
                Ok(true) => {}
                Ok(false) => break false,
                Err(_) => break true,
            }
        };
        if lost {
            self.control = None;
            self.missed = true;
        }
    }

    /// Asks one thing.
    pub(super) async fn ask(&mut self, request: Request, purpose: Purpose) -> Result<Reply, TmuxError> {
        let exchange = self.exchange(&[request], purpose).await;
        self.one(exchange)
    }

    /// The answer to a single request.
    pub(super) fn one(&self, exchange: Exchange) -> Result<Reply, TmuxError> {
        let unanswered = || TmuxError::Unanswered { socket: self.client.socket.clone(), said: String::new() };
        match exchange {
            Exchange { error: Some(error), .. } => Err(error),
            Exchange { mut replies, .. } => replies.pop().ok_or_else(unanswered),
        }
    }

    /// Sends requests in one go: through the connection, or through a client of its own when there is none. A look that the connection did
    /// not answer is asked again through a client; an act never is.
    pub(super) async fn exchange(&mut self, requests: &[Request], purpose: Purpose) -> Exchange {
        let (full, third) = (self.config.deadline, self.config.deadline / 3);
        let deadline = Instant::now() + full;
        if purpose == Purpose::Act {
            self.listening = true;
        }
        let exchange = match self.through_connection(requests, purpose, deadline - third).await {
            Some(exchange) if exchange.error.is_none() || (purpose == Purpose::Act && exchange.begun > 0) => exchange,
            _ if purpose == Purpose::Act => self.run_client(requests, full).await,
            // The connection had two thirds of the time.
            _ => self.run_client(requests, third.max(deadline - Instant::now())).await,
        };
        self.absent = matches!(exchange.error, Some(TmuxError::NoServer { .. }));
        if let Some(reply) = exchange.replies.last() {
            self.remember(&reply.speaker);
        }
        if purpose == Purpose::List && exchange.error.is_none() {
            self.missed = false;
        }
        exchange
    }

    /// `None` when there is no connection and none can be had until `deadline`.
    async fn through_connection(&mut self, requests: &[Request], purpose: Purpose, deadline: Instant) -> Option<Exchange> {
        self.hear().await;
        if self.control.is_none() {
            self.connect(deadline).await;
        }
        // A look leaves time for a second way. An act has its full time.
        let patience = if purpose == Purpose::Act { self.config.deadline } else { deadline - Instant::now() };
        // Taken out for the time being: were this future dropped, the connection would be out of step, and is dropped with it.
        let mut control = self.control.take()?;
        let batch = self.batch(requests);
        let exchange = control.exchange(&self.tag, &batch, patience, purpose == Purpose::List).await;
        match &exchange.error {
            None => {
                self.breaker.worked();
                self.control = Some(control);
            }
            Some(error) => {
                // One that ended may be had again at once; one that hangs or talks nonsense may not.
                if !matches!(error, TmuxError::Unanswered { .. }) {
                    self.breaker.failed(Instant::now());
                }
                self.missed = true;
            }
        }
        Some(exchange)
    }

    /// Reads what the connection said in the meantime, so that one that has ended is not used.
    async fn hear(&mut self) {
        let Some(mut control) = self.control.take() else { return };
        // Lets the runtime see what has arrived.
        tokio::task::yield_now().await;
        loop {
            match control.listen(Some(Duration::ZERO)).await {
                Ok(true) => {}
                Ok(false) => break self.control = Some(control),
                Err(_) => break self.missed = true,
            }
        }
    }

    /// Opens the connection, if one is wanted and the breaker allows it. Makes our anchor session when it is not there.
    async fn connect(&mut self, deadline: Instant) {
        let wanted = self.listening && self.breaker.allows(Instant::now()) && self.config.socket.check().is_ok();
        if !wanted || self.client.listener().await == Listener::Absent {
            return;
        }
        for attempt in 0..2 {
            let mut exchange = Exchange::none(TmuxError::NoServer { socket: self.client.socket.clone() });
            if let Ok(mut control) = Control::start(&self.client) {
                let hello = self.batch(&[Request::default()]);
                exchange = control.exchange(&self.tag, &hello, deadline - Instant::now(), false).await;
                if exchange.error.is_none() {
                    // Nothing was heard before it was there.
                    self.missed = true;
                    self.control = Some(control);
                    return;
                }
            }
            // It ended at once: most likely there is no anchor. One that hangs is not tried twice.
            let Some(TmuxError::Unanswered { .. }) = exchange.error else { break };
            if attempt == 0 {
                self.run_client(&[Request::line(self.anchor())], deadline - Instant::now()).await;
            }
        }
        self.breaker.failed(Instant::now());
    }

    /// The command that makes our anchor session. Its program costs nothing and outlives a century; tmux takes it as it is, without a shell.
    pub(super) fn anchor(&self) -> String {
        let (width, height) = self.config.size;
        format!("new-session -d -s {ANCHOR} -n {ANCHOR} -x {width} -y {height} -c / -- sleep 2147483647")
    }

    /// Sends requests through a client of their own.
    pub(super) async fn run_client(&mut self, requests: &[Request], patience: Duration) -> Exchange {
        if let Err(error) = self.config.socket.check() {
            return Exchange::none(error);
        }
        let batch = self.batch(requests);
        let exchange = self.client.run(&self.tag, &batch, patience).await;
        match exchange.error {
            // Its words are not looked at: the socket says itself whether there is nobody.
            Some(TmuxError::Unanswered { .. }) if exchange.replies.is_empty() && self.client.listener().await == Listener::Absent => {
                Exchange::none(TmuxError::NoServer { socket: self.client.socket.clone() })
            }
            _ => exchange,
        }
    }

    fn batch(&mut self, requests: &[Request]) -> Batch {
        let batch = Batch::new(&self.tag, self.next, requests);
        self.next += requests.len() as u64;
        batch
    }

    /// Remembers who answered.
    fn remember(&mut self, speaker: &Speaker) {
        if self.server.is_none_or(|server| server.pid != speaker.pid) {
            self.server = identity(speaker.pid).ok().flatten();
        }
    }

    /// Takes the connection down, because its server is being replaced.
    pub(super) fn forget(&mut self) {
        self.control = None;
        self.breaker.worked();
        self.absent = false;
    }
}
