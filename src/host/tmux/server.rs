//! One tmux server: looking, and the choice between the control connection and a client of its own for each call.

use std::{future::pending, path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    ANCHOR,
    ahead::Ahead,
    breaker::Breaker,
    client::{Client, Exchange, Listener},
    control::{Control, INTRODUCTION},
    error::TmuxError,
    format,
    former::Former,
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

/// What the answer to [`TmuxServer::hello`] begins with.
pub(super) const HELLO: &str = "anchor";

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
    connection: Connection,
    breaker: Breaker,
    /// Whether a connection is wanted.
    listening: bool,
    /// Whether the connection was lost, or made, since the last look: something may have gone unheard.
    missed: bool,
    /// The last list that was read.
    listed: Option<Reply>,
    /// Until when notices are gathered; set with the first one after a look, so that nothing can put the wake-up off for longer.
    burst_ends: Option<Instant>,
    /// The server that answered last.
    pub(super) server: Option<ProcessId>,
    /// Whether the last call found no server.
    absent: bool,
    /// What a server that we just started answered, and when.
    pub(super) greeting: Option<(Reply, Instant)>,
    /// A list that was asked for ahead.
    pub(super) ahead: Option<Ahead>,
    /// Where our control client is recorded, if it is.
    pub(super) record: Option<PathBuf>,
}

/// The control connection. tmux crashes when one control client is being attached while another one ends, so there is never more than one,
/// and a pause of the breaker's between the end of one and the start of the next (`control.rs` tells the story).
#[derive(Debug, Default)]
enum Connection {
    /// There is none.
    #[default]
    Down,
    /// There is one.
    Up(Box<Control>),
    /// A call has it, or opens it. Found by another call, it means that the call was dropped, and the connection with it.
    Away,
}

/// A server that was just started needs no second greeting for so long.
const GREETING_LASTS: Duration = Duration::from_millis(500);

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
            connection: Connection::Down,
            breaker: Breaker::default(),
            listening: false,
            missed: false,
            listed: None,
            burst_ends: None,
            server: None,
            absent: false,
            greeting: None,
            ahead: None,
            record: None,
        }
    }

    /// Whether the control connection is up. While it is not, each call starts a client of its own.
    pub const fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Up(_))
    }

    /// Lists the server and the oldest pane of each session, without our anchor. That no server runs is an answer.
    ///
    /// # Errors
    /// Nothing is known then: not that there are no sessions.
    pub async fn list(&mut self) -> Result<TmuxView, TmuxError> {
        self.listed = None;
        Ok(self.list_changed().await?.unwrap_or_default())
    }

    /// As [`list`](Self::list); `None` when the same server shows the very lines that it showed last: most looks find what they found before, and
    /// to read a list takes longer than to compare it.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_changed(&mut self) -> Result<Option<TmuxView>, TmuxError> {
        let before = self.listed.take();
        let asked = match self.ahead.take().filter(|ahead| ahead.is_fresh() && !self.listening) {
            Some(ahead) => self.hear_ahead(ahead).await,
            None => self.ask(format::request(&self.tag), Purpose::List).await,
        };
        let reply = match asked {
            Err(TmuxError::NoServer { .. }) => return Ok(Some(TmuxView::default())),
            reply => reply?,
        };
        if before.as_ref() == Some(&reply) {
            self.listed = before;
            return Ok(None);
        }
        let panes = format::panes(&reply, &self.tag).map_err(|row| TmuxError::Malformed {
            socket: self.client.socket.clone(),
            why: "a pane is not listed in the form that was asked for",
            line: super::error::shorten(&row),
        })?;
        let Speaker { pid, version } = reply.speaker.clone();
        self.listed = Some(reply);
        // An unreadable limit only means that it bounds nothing.
        let descriptor_limit = descriptor_limit(pid).ok().flatten();
        Ok(Some(TmuxView { server: Some(ServerView { pid, version, descriptor_limit }), panes }))
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
        self.settle_connection();
        if matches!(self.connection, Connection::Down) && !self.absent {
            if let Some(at) = self.breaker.retry_at() {
                sleep_until(at).await;
            }
            // A server that does not answer is looked at again like any other change.
            let _ = self.connect(Instant::now() + self.config.deadline).await;
            self.missed = true;
        }
        if self.missed {
            return;
        }
        let Connection::Up(control) = &mut self.connection else { return pending().await };
        let lost = loop {
            let within = if control.look_again() {
                let ends = *self.burst_ends.get_or_insert_with(|| Instant::now() + BURST);
                Some(QUIET.min(ends.saturating_duration_since(Instant::now())))
            } else {
                None
            };
            match control.listen(within).await {
                Ok(true) => {}
                Ok(false) => break false,
                Err(_) => break true,
            }
        };
        if lost {
            self.lose();
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
        if purpose == Purpose::Act {
            self.listening = true;
        }
        let exchange = self.exchange_within(requests, purpose, Instant::now() + self.config.deadline).await;
        self.note(&exchange, purpose);
        exchange
    }

    /// Takes over what an answer, or its absence, says of the server.
    pub(super) fn note(&mut self, exchange: &Exchange, purpose: Purpose) {
        self.absent = matches!(exchange.error, Some(TmuxError::NoServer { .. }));
        if let Some(reply) = exchange.replies.last() {
            self.remember(&reply.speaker);
        }
        if purpose == Purpose::List {
            self.missed = false;
            self.burst_ends = None;
        }
    }

    async fn exchange_within(&mut self, requests: &[Request], purpose: Purpose, deadline: Instant) -> Exchange {
        let (full, third) = (self.config.deadline, self.config.deadline / 3);
        if let Err(error) = self.ready_connection(deadline - third).await {
            return Exchange::none(error);
        }
        let act = purpose == Purpose::Act;
        if let Some(mut control) = self.take_connection() {
            // A look leaves time for a second way. An act has its full time.
            let patience = if act { full } else { (deadline - third).saturating_duration_since(Instant::now()) };
            let batch = self.batch(requests);
            let exchange = control.exchange(&self.tag, &batch, patience, purpose == Purpose::List).await;
            if exchange.error.is_none() {
                self.breaker.worked();
                self.connection = Connection::Up(control);
                return exchange;
            }
            self.lose();
            if act && exchange.begun > 0 {
                return exchange;
            }
        }
        let patience = if act { full } else { third.max(deadline.saturating_duration_since(Instant::now())) };
        self.run_client(requests, patience).await
    }

    /// Sees to it that the connection is up, if one is wanted and can be had now.
    ///
    /// # Errors
    /// The server does not answer, so there is no point in asking it anything else.
    async fn ready_connection(&mut self, deadline: Instant) -> Result<(), TmuxError> {
        self.settle_connection();
        self.hear().await;
        match self.connection {
            Connection::Down => self.connect(deadline).await,
            Connection::Up(_) | Connection::Away => Ok(()),
        }
    }

    /// Takes the connection out for a call. Were the call dropped, the connection would be out of step, and is dropped with it.
    fn take_connection(&mut self) -> Option<Box<Control>> {
        match std::mem::take(&mut self.connection) {
            Connection::Up(control) => {
                self.connection = Connection::Away;
                Some(control)
            }
            _ => None,
        }
    }

    /// Notes that a call was dropped and took the connection with it.
    fn settle_connection(&mut self) {
        if matches!(self.connection, Connection::Away) {
            self.lose();
        }
    }

    /// There is no connection any more, and none for a while.
    fn lose(&mut self) {
        self.connection = Connection::Down;
        self.breaker.failed(Instant::now());
        self.missed = true;
    }

    /// Reads what the connection said in the meantime, so that one that has ended is not used.
    async fn hear(&mut self) {
        let Some(mut control) = self.take_connection() else { return };
        if control.has_ended() {
            return self.lose();
        }
        // Lets the runtime see what has arrived.
        tokio::task::yield_now().await;
        loop {
            match control.listen(Some(Duration::ZERO)).await {
                Ok(true) => {}
                Ok(false) => break self.connection = Connection::Up(control),
                Err(_) => break self.lose(),
            }
        }
    }

    /// Opens the connection, if one is wanted and the breaker allows it. Makes our anchor session when it is not there.
    ///
    /// # Errors
    /// The server does not answer. That the connection could not be had is none: there is another way.
    async fn connect(&mut self, deadline: Instant) -> Result<(), TmuxError> {
        if !self.listening || !self.breaker.allows(Instant::now()) {
            return Ok(());
        }
        let hello = match self.greeting.take().filter(|(_, at)| at.elapsed() < GREETING_LASTS) {
            Some((reply, _)) => Ok(reply),
            None => self.greet_within(deadline.saturating_duration_since(Instant::now())).await,
        };
        let reply = match hello {
            Ok(reply) => reply,
            // A server that does not answer must not be sent a control client.
            Err(error) => {
                // It hangs up on everybody while it shuts down, and waits for its clients.
                if matches!(error, TmuxError::Unanswered { .. }) {
                    self.end_former(INTRODUCTION).await;
                }
                self.lose();
                return Err(error);
            }
        };
        if reply.word(HELLO).is_none_or(str::is_empty) {
            self.run_client(&[Request::line(self.anchor())], deadline.saturating_duration_since(Instant::now())).await;
        }
        self.remember(&reply.speaker);
        if self.end_former(INTRODUCTION).await != Former::Gone {
            // Never soon after another one ended, nor beside it.
            self.lose();
            return Ok(());
        }
        self.connection = Connection::Away;
        let opened = match Control::start(&self.client) {
            Ok(mut control) => {
                self.record_client(control.pid());
                let batch = self.batch(&[Request::default()]);
                let hello = control.exchange(&self.tag, &batch, deadline.saturating_duration_since(Instant::now()), false).await;
                hello.error.is_none().then_some(control)
            }
            Err(_) => None,
        };
        if let Some(control) = opened {
            self.connection = Connection::Up(Box::new(control));
            // Nothing was heard before it was there.
            self.missed = true;
        } else {
            self.lose();
        }
        Ok(())
    }

    /// Whether a server answers, and whether it has our anchor.
    pub(super) async fn greet_within(&mut self, patience: Duration) -> Result<Reply, TmuxError> {
        let exchange = self.run_client(&[self.hello()], patience).await;
        self.one(exchange)
    }

    /// Asks whether our anchor session is there.
    pub(super) fn hello(&self) -> Request {
        Request::line(self.tag.print(Some(&format!("={ANCHOR}:")), &format!("{HELLO} #{{session_id}}")))
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
        if self.client.has_no_socket() {
            return Exchange::none(TmuxError::NoServer { socket: self.client.socket.clone() });
        }
        let batch = self.batch(requests);
        let exchange = self.client.run(&self.tag, &batch, patience).await;
        self.judged(exchange).await
    }

    /// What the answer of a client is, once it is known whether there is a server.
    pub(super) async fn judged(&self, exchange: Exchange) -> Exchange {
        match exchange.error {
            // Its words are not looked at: the socket says itself whether there is nobody.
            Some(TmuxError::Unanswered { .. }) if exchange.replies.is_empty() && self.client.listener().await == Listener::Absent => {
                Exchange::none(TmuxError::NoServer { socket: self.client.socket.clone() })
            }
            _ => exchange,
        }
    }

    pub(super) fn batch(&mut self, requests: &[Request]) -> Batch {
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

    /// Another server takes the place of the one that was known.
    pub(super) fn forget(&mut self) {
        self.greeting = None;
        self.connection = Connection::Down;
        self.breaker.worked();
        self.absent = false;
    }
}
