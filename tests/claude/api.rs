//! The agent's API, played on loopback: the messages endpoint over plain HTTP, and everything else behind a proxy that ends TLS itself.
//!
//! # Guarantees
//! It listens on 127.0.0.1 only. The proxy opens no connection to anywhere: a host that is played here is answered here, every other one is
//! refused, and both are logged. All tokens are fakes, of the form `fake-at-NAME` and `fake-rt-NAME`, so that a request tells its account.
//!
//! # Does not
//! Judge what the CLI sends. What was seen of the real one stands in facts/claude-code.md, sections 5, 8 and 9.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    response::Response,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::answers;

/// The hosts that are played; facts/claude-code.md, section 9.
pub const PLAYED: [&str; 2] = ["api.anthropic.com", "platform.claude.com"];

/// No request of the CLI is larger.
const MAX_BODY: usize = 64 << 20;

/// How an account answers. It can be changed at any time.
#[derive(Debug, Clone)]
pub struct Account {
    /// What a prompt gets.
    pub reply: Reply,
    /// The share of the 5-hour and of the weekly window that is used, 0 to 1, and the seconds until each begins anew.
    pub windows: [(f64, u64); 2],
    /// Whether a refresh token is accepted.
    pub refreshes: bool,
}

impl Account {
    /// The windows as everybody tells them: what has hit its limit is used up.
    pub fn told_windows(&self) -> [(f64, u64); 2] {
        let [(five_hour, five_hour_left), (weekly, weekly_left)] = self.windows;
        match self.reply {
            Reply::Limit { claim: "five_hour" } => [(1.0, five_hour_left), (weekly, weekly_left)],
            Reply::Limit { .. } => [(five_hour, five_hour_left), (1.0, weekly_left)],
            _ => self.windows,
        }
    }
}

impl Default for Account {
    fn default() -> Self {
        Self { reply: Reply::Text, windows: [(0.42, 3600), (0.17, 4 * 86_400)], refreshes: true }
    }
}

/// What the messages endpoint does. The words `[[slow]]` and `[[tool]]` in a prompt choose those two for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// One line that tells how much of the conversation the request held: `REPLY users=N account=NAME: prompt | prompt`.
    Text,
    /// One word every 100 ms, for a minute.
    Slow,
    /// A call of the shell tool, and text once its result is there.
    Tool {
        /// The command line.
        command: String,
    },
    /// 429 with the headers of a usage limit.
    Limit {
        /// `five_hour`, `seven_day`, …
        claim: &'static str,
    },
    /// 401
    Unauthorized,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Empty for plain HTTP, else the host that was asked for through the proxy.
    pub host: String,
    pub method: String,
    /// With its query.
    pub path: String,
    /// The account that the token names.
    pub account: Option<String>,
    /// Whether there was a token, and not one of ours.
    pub foreign_token: bool,
    /// JSON, or null.
    pub body: Value,
}

impl Exchange {
    /// Whether it asks the model for a turn, and not for a title or a probe.
    pub fn is_turn(&self) -> bool {
        self.path.starts_with("/v1/messages")
            && self.body["stream"] == true
            && self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
    }
}

/// A wish to connect through the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Host and port, or the whole first line of something else.
    pub to: String,
    /// Whether it was answered, here; otherwise it was refused.
    pub played: bool,
}

/// What is known, behind one lock.
#[derive(Default)]
pub(crate) struct Shared {
    accounts: BTreeMap<String, Account>,
    exchanges: Vec<Exchange>,
    connects: Vec<Connect>,
}

/// The running API.
pub struct Api {
    shared: Arc<Mutex<Shared>>,
    port: u16,
    proxy_port: u16,
    authority: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts to listen, and writes the certificate of its authority into `directory`.
    pub fn start(directory: &Path) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (authority_pem, acceptor) = certificates();
        let authority = directory.join("authority.pem");
        std::fs::write(&authority, authority_pem).expect("a writable directory");
        let (stop, stopped) = oneshot::channel();
        let (tell_ports, ports) = std::sync::mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
                tell_ports.send((port(&http), port(&proxy))).expect("somebody waits");
                tokio::select! {
                    () = serve(http, proxy, acceptor, theirs) => {}
                    _ = stopped => {}
                }
            });
        });
        let (port, proxy_port) = ports.recv().expect("it listens");
        Self { shared, port, proxy_port, authority, stop: Some(stop), thread: Some(thread) }
    }

    /// For `ANTHROPIC_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// For `HTTPS_PROXY` and its like.
    pub fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy_port)
    }

    /// For `NODE_EXTRA_CA_CERTS`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Changes how an account answers.
    pub fn change(&self, account: &str, change: impl FnOnce(&mut Account)) {
        change(lock(&self.shared).accounts.entry(account.to_owned()).or_default());
    }

    /// What was asked so far, oldest first.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared).exchanges.clone()
    }

    /// The turns that an account was asked for, oldest first.
    pub fn turns(&self, account: &str) -> Vec<Exchange> {
        self.exchanges().into_iter().filter(|exchange| exchange.is_turn() && exchange.account.as_deref() == Some(account)).collect()
    }

    /// Who asked the proxy for what.
    pub fn connects(&self) -> Vec<Connect> {
        lock(&self.shared).connects.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // The receiver is gone only if the thread is.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A test that failed while it held the lock has left nothing half done.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// An authority in PEM form, and what shows a certificate that it has signed for every played host.
fn certificates() -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "loopback test authority");
    let authority_key = KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("signed").pem();
    let issuer = Issuer::new(authority, authority_key);

    let server = CertificateParams::new(PLAYED.map(str::to_owned)).expect("host names");
    let server_key = KeyPair::generate().expect("a key");
    let certificate = server.signed_by(&server_key, &issuer).expect("signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key))
        .expect("a usable certificate");
    (authority_pem, TlsAcceptor::from(Arc::new(config)))
}

/// Serves both doors until it is dropped.
async fn serve(http: TcpListener, proxy: TcpListener, acceptor: TlsAcceptor, shared: Arc<Mutex<Shared>>) {
    let (opened, streams) = mpsc::channel(64);
    let plain = axum::serve(http, router(&shared, ""));
    let secret = axum::serve(Opened(streams), router(&shared, "https"));
    let doors = async { tokio::join!(plain.into_future(), secret.into_future()) };
    let connects = async {
        while let Ok((stream, _)) = proxy.accept().await {
            tokio::spawn(connect(stream, acceptor.clone(), opened.clone(), Arc::clone(&shared)));
        }
    };
    tokio::select! {
        _ = doors => {}
        () = connects => {}
    }
}

fn router(shared: &Arc<Mutex<Shared>>, scheme: &'static str) -> Router {
    Router::new().fallback(handle).with_state((Arc::clone(shared), scheme))
}

/// Streams whose TLS has been ended here.
struct Opened(mpsc::Receiver<TlsStream<TcpStream>>);

impl axum::serve::Listener for Opened {
    type Io = TlsStream<TcpStream>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection to the proxy.
async fn connect(mut stream: TcpStream, acceptor: TlsAcceptor, opened: mpsc::Sender<TlsStream<TcpStream>>, shared: Arc<Mutex<Shared>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16_384 {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let to = match (words.next(), words.next()) {
        (Some("CONNECT"), Some(to)) => to,
        _ => line,
    };
    let played = to.strip_suffix(":443").is_some_and(|host| PLAYED.contains(&host));
    lock(&shared).connects.push(Connect { to: to.to_owned(), played });
    // Whoever has hung up needs no answer.
    if !played {
        let _ = stream.write_all(b"HTTP/1.1 502 Not played here\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        return;
    }
    if stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.is_ok()
        && let Ok(stream) = acceptor.accept(stream).await
    {
        let _ = opened.send(stream).await;
    }
}

/// Logs a request and answers it.
async fn handle(State((shared, scheme)): State<(Arc<Mutex<Shared>>, &'static str)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let bytes = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let bearer = header("authorization");
    let key = header("x-api-key");
    let token = bearer.strip_prefix("Bearer ").or_else(|| body["refresh_token"].as_str()).unwrap_or(&key).to_owned();
    let account = answers::account_of(&token);
    let exchange = Exchange {
        host: if scheme.is_empty() { String::new() } else { header("host") },
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        foreign_token: account.is_none() && !token.is_empty(),
        account: account.clone(),
        body,
    };
    let behaviour = {
        let mut shared = lock(&shared);
        shared.exchanges.push(exchange.clone());
        account.as_ref().and_then(|name| shared.accounts.get(name)).cloned().unwrap_or_default()
    };
    answers::answer(&exchange, &behaviour)
}

/// How often a slow reply sends a word.
pub(crate) const WORD_EVERY: Duration = Duration::from_millis(100);
