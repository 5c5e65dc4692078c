use std::{
    error::Error,
    fmt::Write,
    fs,
    os::unix::fs::symlink,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::header::HeaderName;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{
    host::usage::fuzz,
    model::{Percent, PollOutcome, WindowKind},
};

/// A token that must turn up nowhere but in the request.
const CANARY: &str = "sk-canary-5f1c0de5";

fn now() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().expect("a time")
}

/// A home with a login.
fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let ends = now().as_millisecond() + 3_600_000;
    let login =
        json!({"claudeAiOauth": {"accessToken": CANARY, "refreshToken": "never read", "expiresAt": ends, "scopes": []}, "mcpOAuth": {}});
    fs::write(home.path().join(CREDENTIALS), login.to_string()).expect("written");
    home
}

/// What the server does after it has said its piece.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It closes the connection.
    Close,
    /// It says nothing more and keeps the connection.
    Hang,
    /// It sends bytes without end.
    Flood,
}

/// A server on loopback that answers each connection in the same way and keeps what it was asked. It ends with the test.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    deadline: Duration,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn new(reply: String, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = head(&mut stream).await;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(head);
                let _gone = stream.write_all(reply.as_bytes()).await;
                match then {
                    Then::Close => {}
                    Then::Hang => std::future::pending().await,
                    Then::Flood => while stream.write_all(&[b' '; 4_096]).await.is_ok() {},
                }
            }
        });
        // Only a server that hangs is waited for.
        let deadline = if matches!(then, Then::Hang) { Duration::from_secs(1) } else { DEADLINE };
        Self { address, requests, deadline, task }
    }

    async fn says(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::new(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"), Then::Close).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it once.
    async fn read(&self) -> Result<AccountUsage, UsageError> {
        let client = ApiClient::build(&self.address, Transport::Loopback, self.deadline).expect("a client");
        read(&client, home().path(), now()).await
    }
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1_024];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error with its sources and its `Debug` form: all that could ever be logged of it.
fn everything_said(error: &UsageError) -> String {
    let mut said = format!("{error:?} | {error}");
    let mut source = error.source();
    while let Some(inner) = source {
        write!(said, " | {inner:?} | {inner}").expect("a text takes everything");
        source = inner.source();
    }
    said
}

const GOOD: &str = r#"{"five_hour": {"utilization": 42.5, "resets_at": "2027-01-15T09:00:00+00:00"}, "seven_day": null}"#;

#[tokio::test]
async fn a_good_answer_is_read_and_the_request_is_the_documented_one() {
    let server = Server::says("200 OK", "", GOOD).await;
    let usage = server.read().await.expect("readable");
    let five_hour = &usage.windows[&WindowKind::FiveHour];
    assert_eq!((five_hour.used, five_hour.measured_at), (Percent::new(42.5).expect("valid"), now()));
    assert_eq!(usage.windows[&WindowKind::Weekly].used, Percent::ZERO);
    let request = server.requests().concat().to_ascii_lowercase();
    assert!(request.starts_with("get /api/oauth/usage http/1.1\r\n"), "{request}");
    for line in [
        format!("authorization: bearer {CANARY}"),
        "anthropic-beta: oauth-2025-04-20".to_owned(),
        format!("user-agent: claude-failover/{}", env!("CARGO_PKG_VERSION")),
        "accept: application/json".to_owned(),
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{line} is missing in {request}");
    }
}

#[tokio::test]
async fn each_status_has_its_error() {
    let of = async |status: &str, headers: &str| Server::says(status, headers, "{}").await.read().await.expect_err("no reading");
    assert!(matches!(of("401 Unauthorized", "").await, UsageError::Unauthorized { status: 401 }));
    assert!(matches!(of("403 Forbidden", "").await, UsageError::Unauthorized { status: 403 }));
    assert!(matches!(of("500 Oops", "").await, UsageError::Server { status: 500 }));
    assert!(matches!(of("529 Overloaded", "").await, UsageError::Server { status: 529 }));
    assert!(matches!(of("404 Not Found", "").await, UsageError::Unexpected { status: 404 }));
    assert!(matches!(of("204 No Content", "").await, UsageError::Unexpected { status: 204 }));
    let limited = of("429 Too Many Requests", "").await;
    assert!(matches!(limited, UsageError::RateLimited { retry_after: None }), "{limited:?}");
    let limited = of("429 Too Many Requests", "retry-after: 120\r\n").await;
    assert_eq!(limited.outcome(), PollOutcome::RateLimited { retry_after: Some(Duration::from_mins(2)) });
}

#[tokio::test]
async fn the_wait_is_read_before_the_body() {
    let reply = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 1000\r\nretry-after: 7\r\n\r\n";
    let server = Server::new(reply.to_owned(), Then::Hang).await;
    let error = server.read().await.expect_err("no reading");
    assert!(matches!(error, UsageError::RateLimited { retry_after: Some(wait) } if wait == Duration::from_secs(7)), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::says("200 OK", "", GOOD).await;
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Server::says(status, &format!("location: {}/api/oauth/usage\r\n", elsewhere.address), "").await;
        assert!(matches!(server.read().await, Err(UsageError::Unexpected { status: 301..=308 })));
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new(), "the token did not travel");
}

#[tokio::test]
async fn a_server_that_lies_is_not_believed() {
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "{\"five_hour\": 3}",
        "{\"five_hour\": {\"utilization\": \"42\"}}",
        "{\"five_hour\": {\"utilization\": 1e999}}",
    ] {
        let error = Server::says("200 OK", "", body).await.read().await.expect_err("no reading");
        assert!(matches!(error, UsageError::Malformed { .. }), "{body} gave {error:?}");
    }
    let deep = String::from_utf8(fuzz::deep()).expect("text")[..60_000].to_owned();
    let error = Server::says("200 OK", "", &deep).await.read().await.expect_err("no reading");
    assert!(matches!(error, UsageError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    for head in ["", "content-length: 100000000\r\n"] {
        let server = Server::new(format!("HTTP/1.1 200 OK\r\n{head}\r\n"), Then::Flood).await;
        let error = server.read().await.expect_err("no reading");
        assert!(matches!(error, UsageError::TooLarge { limit: BODY_LIMIT, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_slow_server_is_left_and_a_cut_answer_is_no_answer() {
    for reply in ["", "HTTP/1.1 200 OK\r\ncontent-", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"five_hour\":"] {
        let error = Server::new(reply.to_owned(), Then::Hang).await.read().await.expect_err("no reading");
        assert!(matches!(error, UsageError::TimedOut { .. }), "{reply:?} gave {error:?}");
        let error = Server::new(reply.to_owned(), Then::Close).await.read().await.expect_err("no reading");
        assert!(matches!(error, UsageError::Unreachable { .. }), "{reply:?} gave {error:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let client = ApiClient::build(&format!("http://{nobody}"), Transport::Loopback, DEADLINE).expect("a client");
    assert!(matches!(read(&client, home().path(), now()).await, Err(UsageError::Unreachable { .. })));
}

#[tokio::test]
async fn a_certificate_that_nobody_signed_gets_no_token() {
    install_crypto_provider();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client =
        ApiClient::build(&format!("https://{}", listener.local_addr().expect("bound")), Transport::Https, DEADLINE).expect("a client");
    let home = home();
    let serve = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        acceptor.accept(stream).await.err().map(|error| error.to_string())
    };
    let (answer, refused) = tokio::join!(read(&client, home.path(), now()), serve);
    let error = answer.expect_err("no reading");
    assert!(matches!(error, UsageError::Unreachable { .. }), "{error:?}");
    assert!(everything_said(&error).contains("certificate"), "{}", everything_said(&error));
    assert!(refused.is_some(), "the handshake was finished");
}

#[test]
fn a_token_goes_over_tls_only() {
    assert!(matches!(ApiClient::build("http://127.0.0.1:1", Transport::Https, DEADLINE), Err(UsageError::NotHttps)));
    assert!(ApiClient::new().is_ok_and(|client| client.address.starts_with("https://api.anthropic.com/")));
    install_crypto_provider();
    assert!(rustls::crypto::CryptoProvider::get_default().is_some());
}

/// Runs one test of this file again, in a process whose environment names a proxy that nobody answers at.
#[test]
fn a_proxy_of_the_environment_is_ignored() {
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    let module = module_path!().split_once("::").map_or("", |(_, path)| path);
    again.arg("--exact").arg(format!("{module}::a_good_answer_is_read_and_the_request_is_the_documented_one"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, "http://127.0.0.1:9");
    }
    let output = again.env_remove("NO_PROXY").env_remove("no_proxy").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn both_forms_of_the_wait_are_read_and_capped() {
    let of = |wait: &str, date: Option<&str>| {
        let pairs = [(RETRY_AFTER, Some(wait)), (DATE, date)];
        let headers = pairs.into_iter().filter_map(|(name, value): (HeaderName, _)| Some((name, HeaderValue::from_str(value?).ok()?)));
        retry_after(&headers.collect(), now()).map(|wait| wait.as_secs())
    };
    assert_eq!(of("0", None), Some(0));
    assert_eq!(of(" 90 ", None), Some(90));
    assert_eq!(of("3601", None), Some(3_600));
    assert_eq!(of("99999999999999999999999999", None), Some(3_600));
    assert_eq!(of("Fri, 15 Jan 2027 08:05:00 GMT", None), Some(300));
    assert_eq!(of("Fri, 15 Jan 2027 07:00:00 GMT", None), Some(0), "over");
    assert_eq!(of("Fri, 15 Jan 2027 08:05:00 GMT", Some("Fri, 15 Jan 2027 08:04:00 GMT")), Some(60), "by the server's clock");
    assert_eq!(of("Sun, 15 Jan 2090 08:05:00 GMT", None), Some(3_600));
    for nonsense in ["", "-5", "1e9", "soon", "Fri, 99 Jan 2027 08:05:00 GMT"] {
        assert_eq!(of(nonsense, None), None, "{nonsense}");
    }
}

#[tokio::test]
async fn a_home_without_a_usable_login_is_told_apart() {
    let home = home();
    let path = home.path().join(CREDENTIALS);
    let of = async |content: Value| {
        fs::write(&path, content.to_string()).expect("written");
        authorization(home.path(), now()).await.expect_err("no token")
    };
    for none in [
        json!({}),
        json!({"claudeAiOauth": null}),
        json!({"claudeAiOauth": {}}),
        json!({"claudeAiOauth": {"accessToken": "", "expiresAt": 0}}),
    ] {
        let error = of(none).await;
        assert!(matches!(error, UsageError::NoLogin { .. }), "{error:?}");
    }
    let ended = of(json!({"claudeAiOauth": {"accessToken": CANARY, "expiresAt": now().as_millisecond()}})).await;
    assert!(matches!(ended, UsageError::TokenEnded { at, .. } if at == now()), "{ended:?}");
    for odd in [
        json!({"claudeAiOauth": CANARY}),
        json!({"claudeAiOauth": {"accessToken": [CANARY]}}),
        json!({"claudeAiOauth": {"accessToken": format!("{CANARY}\r\nx: y")}}),
    ] {
        let error = of(odd).await;
        assert!(matches!(error, UsageError::Malformed { .. }), "{error:?}");
        assert!(!everything_said(&error).contains(CANARY), "{error:?}");
    }
    fs::write(&path, vec![b' '; CREDENTIALS_LIMIT + 1]).expect("written");
    assert!(matches!(authorization(home.path(), now()).await, Err(UsageError::TooLarge { .. })));
    fs::remove_file(&path).expect("removed");
    assert!(matches!(authorization(home.path(), now()).await, Err(UsageError::NoLogin { .. })));
    fs::write(home.path().join("other"), "{}").expect("written");
    symlink(home.path().join("other"), &path).expect("linked");
    assert!(matches!(authorization(home.path(), now()).await, Err(UsageError::Path { .. })), "a link is not followed");
}

#[tokio::test]
async fn the_token_is_said_nowhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let writer = Arc::new(fs::File::create(&log).expect("a file"));
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(writer).finish();
    let logging = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is on");
    let header = authorization(home().path(), now()).await.expect("a token");
    assert!(header.is_sensitive() && !format!("{header:?}").contains(CANARY));
    let echo = format!("HTTP/1.1 200 OK\r\n\r\n{{\"five_hour\": \"{CANARY}\"}}");
    for (reply, then) in [
        (String::new(), Then::Close),
        (String::new(), Then::Hang),
        (echo, Then::Close),
        (format!("HTTP/1.1 302 Found\r\nlocation: https://{CANARY}.example/\r\ncontent-length: 0\r\n\r\n"), Then::Close),
        (format!("HTTP/1.1 401 {CANARY}\r\ncontent-length: 0\r\nx-echo: {CANARY}\r\n\r\n"), Then::Close),
        (format!("HTTP/1.1 429 Slow\r\ncontent-length: 0\r\nretry-after: {CANARY}\r\n\r\n"), Then::Close),
        (format!("nonsense {CANARY}\r\n\r\n"), Then::Close),
    ] {
        let server = Server::new(reply.clone(), then).await;
        let error = server.read().await.expect_err("no reading");
        let said = everything_said(&error);
        assert!(!said.contains(CANARY) && !said.contains("127.0.0.1"), "{reply:?} gave {said}");
    }
    drop(logging);
    let log = fs::read_to_string(log).expect("text");
    assert!(log.contains("the log is on") && !log.contains(CANARY), "{log}");
}
