//! The usage endpoint over HTTPS, with the home's own access token. Opt-in: `quota.sources` must name `api`.
//!
//! # Guarantees
//! The token is read for the call, wiped after it as far as the HTTP library lets go of it (its copy of the header lives until the request is
//! dropped), and goes to one https address only: redirects are refused, a proxy of the environment is ignored, certificates are checked.
//! It is in no error, no `Debug` form and no log line.
//!
//! # Does not
//! Refresh a token: only the CLI does. Pose as another program: the agent string says who asks. The endpoint is known to answer 429 for ever
//! to strangers (facts/claude-code.md, section 5.2), which is one more reason to prefer the `cli` source.

use std::{path::Path, sync::Once, time::Duration};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Malformed, UsageError, answer,
    bounded::{self, Symlink},
    json,
};
use crate::model::{AccountUsage, ReadingSource};

/// Where usage is asked for.
const BASE: &str = "https://api.anthropic.com";
const PATH: &str = "/api/oauth/usage";
/// Who we are, as an HTTP agent.
const USER_AGENT: &str = concat!("claude-failover/", env!("CARGO_PKG_VERSION"));
/// The authentication scheme, with its blank.
const SCHEME: &str = "Bearer ";
/// The header by which the endpoint accepts an access token.
const BETA: (&str, &str) = ("anthropic-beta", "oauth-2025-04-20");

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// For the whole call, the body included.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest answer that is read.
const BODY_LIMIT: usize = 64 * 1024;
/// The longest wait that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Where the CLI keeps a home's login.
const CREDENTIALS: &str = ".credentials.json";
/// It may also hold the logins of other servers.
const CREDENTIALS_LIMIT: usize = 1024 * 1024;

/// Installs the cryptography that TLS uses, once for the process. Without it the first client that is built would panic, so `main` calls it
/// before anything else and [`ApiClient`] calls it again.
pub fn install_crypto_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It only fails when there is one already, which serves as well.
        let _other = rustls::crypto::ring::default_provider().install_default();
    });
}

/// The client for the usage endpoint. It keeps no connection, cookie or token between calls.
#[derive(Debug, Clone)]
pub struct ApiClient {
    client: Client,
    address: String,
    deadline: Duration,
}

impl ApiClient {
    /// The client for the real endpoint.
    ///
    /// # Errors
    /// [`UsageError::Client`] when the system's root certificates cannot be loaded.
    pub fn new() -> Result<Self, UsageError> {
        Self::build(BASE, Transport::Https, DEADLINE)
    }

    /// A client for another server.
    fn build(base: &str, transport: Transport, deadline: Duration) -> Result<Self, UsageError> {
        if transport == Transport::Https && !base.starts_with("https://") {
            return Err(UsageError::NotHttps);
        }
        install_crypto_provider();
        let builder = Client::builder()
            .https_only(transport == Transport::Https)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(deadline)
            .user_agent(USER_AGENT);
        let client = builder.build().map_err(|source| UsageError::Client { source: source.without_url() })?;
        Ok(Self { client, address: format!("{base}{PATH}"), deadline })
    }

    /// An error of the HTTP library, without the address that it would print.
    fn failure(&self, error: reqwest::Error) -> UsageError {
        if error.is_timeout() {
            return UsageError::TimedOut { what: "the usage endpoint".to_owned(), after: self.deadline };
        }
        UsageError::Unreachable { source: error.without_url() }
    }

    /// The body, within its bound.
    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, UsageError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(error))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(UsageError::TooLarge { what: "the answer of the usage endpoint".to_owned(), limit: BODY_LIMIT });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What the token may travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// TLS only.
    Https,
    /// Also plain HTTP, to a server in the same test.
    #[cfg(test)]
    Loopback,
}

/// Asks the endpoint for the usage of a home's login, at the time `at`, which becomes the time of the measurement.
///
/// # Errors
/// [`UsageError`].
pub async fn read(client: &ApiClient, home: &Path, at: Timestamp) -> Result<AccountUsage, UsageError> {
    let authorization = authorization(home, at).await?;
    let request = client.client.get(&client.address).header(AUTHORIZATION, authorization).header(ACCEPT, "application/json");
    let mut response = request.header(BETA.0, BETA.1).send().await.map_err(|error| client.failure(error))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(UsageError::Unauthorized { status: response.status().as_u16() }),
        StatusCode::TOO_MANY_REQUESTS => return Err(UsageError::RateLimited { retry_after: retry_after(response.headers(), at) }),
        status if status.is_server_error() => return Err(UsageError::Server { status: status.as_u16() }),
        status => return Err(UsageError::Unexpected { status: status.as_u16() }),
    }
    let body = client.body(&mut response).await?;
    let malformed = |source| UsageError::Malformed { what: "the answer of the usage endpoint".to_owned(), source };
    let answer: Value = json::parse(&body).map_err(malformed)?;
    answer::read(&answer, at, ReadingSource::Api).map_err(malformed)
}

/// `Retry-After` (RFC 9110, section 10.2.3) in either form, at most an hour. The date form is taken relative to the server's own clock if it
/// tells it.
fn retry_after(headers: &HeaderMap, at: Timestamp) -> Option<Duration> {
    let date = |text: &str| rfc2822::parse(text).ok().map(|date| date.timestamp());
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds is a very long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let now = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(date).unwrap_or(at);
        Duration::try_from(date(text)?.duration_since(now).max(SignedDuration::ZERO)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The part of `.credentials.json` that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    #[serde(borrow, default)]
    claude_ai_oauth: Option<Login<'a>>,
}

/// A login; the token is borrowed from the buffer, which is wiped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login<'a> {
    #[serde(default)]
    access_token: Option<&'a str>,
    #[serde(default)]
    expires_at: Option<f64>,
}

/// The header with the home's access token. A link is not followed: the CLI never makes one there, and it might lead to another login.
async fn authorization(home: &Path, at: Timestamp) -> Result<HeaderValue, UsageError> {
    let path = home.join(CREDENTIALS);
    let bytes = bounded::read::<Zeroizing<Vec<u8>>>(&path, CREDENTIALS_LIMIT, Symlink::Refuse).await?;
    let no_login = || UsageError::NoLogin { home: home.to_owned() };
    let bytes = bytes.ok_or_else(no_login)?;
    let malformed = |source: Malformed| UsageError::Malformed { what: path.display().to_string(), source };
    let credentials: Credentials<'_> = serde_json::from_slice(&bytes).map_err(|error| malformed(json::not_json(&error)))?;
    let login = credentials.claude_ai_oauth.ok_or_else(no_login)?;
    let token = login.access_token.filter(|token| !token.is_empty()).ok_or_else(no_login)?;
    if let Some(ended) = login.expires_at.and_then(json::from_epoch_millis).filter(|ended| *ended <= at) {
        return Err(UsageError::TokenEnded { home: home.to_owned(), at: ended });
    }
    // Room for all of it from the start: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SCHEME.len() + token.len()));
    text.push_str(SCHEME);
    text.push_str(token);
    let field = || Malformed::Field { field: "claudeAiOauth.accessToken", problem: "holds characters that no header may have" };
    let mut value = HeaderValue::from_str(&text).map_err(|_| malformed(field()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
