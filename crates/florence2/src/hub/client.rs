//! Requests to the hub: the token, redirects, retries and the errors of failed requests.

use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Uri, header};

use super::settings::Hub;

/// The time limit of a response body. A body of 64 MiB that takes longer has stalled.
const BODY_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 10;

/// The maximum number of retries after an error of the server or a lost connection.
const MAX_RETRIES: u32 = 5;
/// The maximum number of retries of a connection that could not be made.
const MAX_CONNECT_RETRIES: u32 = 2;
/// The maximum wait before a retry, as a multiple of the first wait. Waits double up to it.
const MAX_BACKOFF: u32 = 8;
/// The maximum wait that a server may request.
const MAX_REQUESTED_WAIT: Duration = Duration::from_mins(5);

pub(super) type Response = ureq::http::Response<ureq::Body>;

/// The response to a request for a model at a revision.
#[derive(Deserialize)]
pub(super) struct ModelInfo {
    pub(super) sha: String,
    pub(super) siblings: Vec<RepositoryFile>,
}

#[derive(Deserialize)]
pub(super) struct RepositoryFile {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    pub(super) size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
}

impl RepositoryFile {
    /// The name of the file's blob, which is its checksum.
    pub(super) fn etag(&self) -> Option<&str> {
        let large = self.lfs.as_ref().map(|large| large.sha256.as_str());
        large.or(self.blob_id.as_deref())
    }
}

/// The error of a request, which determines whether a retry can help.
#[derive(Debug)]
pub(super) enum Failure {
    /// A retry gives the same result.
    Permanent(String),
    /// The server is overloaded, or the connection was lost. A server may request a wait.
    Transient(String, Option<Duration>),
    /// No connection to the hub.
    Unreachable(String),
}

impl Failure {
    /// An error of the connection or of a response's body.
    pub(super) fn of_transport(url: &str, error: ureq::Error) -> Self {
        use ureq::{Error, Timeout};
        let is_unreachable = match &error {
            Error::HostNotFound | Error::ConnectionFailed => true,
            Error::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
            Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        let reason = format!("{url}: {error}");
        match error {
            _ if is_unreachable => Self::Unreachable(reason),
            Error::Io(_) | Error::Timeout(_) | Error::Protocol(_) | Error::BodyStalled => {
                Self::Transient(reason, None)
            }
            _ => Self::Permanent(reason),
        }
    }
}

/// The retries of one request or download.
pub(super) struct Retries {
    first_wait: Duration,
    limit: u32,
    failed: u32,
}

impl Retries {
    /// Resets the number of failed attempts.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next attempt, or returns the error if there is none.
    pub(super) fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failed += 1;
        let (reason, limit, requested) = match &failure {
            Failure::Permanent(_) => return Err(failure),
            Failure::Transient(reason, wait) => (reason, MAX_RETRIES, *wait),
            Failure::Unreachable(reason) => (reason, MAX_CONNECT_RETRIES, None),
        };
        let doubled = 1 << (self.failed - 1).min(MAX_BACKOFF.ilog2());
        let wait = requested.unwrap_or(self.first_wait * doubled);
        if self.failed > limit.min(self.limit) || wait > MAX_REQUESTED_WAIT {
            return Err(failure);
        }
        log::warn!("{reason}: retry in {:.1} s", wait.as_secs_f64());
        std::thread::sleep(wait);
        Ok(())
    }
}

/// The maximum size of the hub's response about a model, in bytes.
const MAX_INFO_BYTES: u64 = 10 << 20;

/// A client for requests about one model.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    agent: ureq::Agent,
    id: &'a str,
    revision: &'a str,
    /// Retry failed requests.
    pub(super) retries: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub, id: &'a str, revision: &'a str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("libflorence2/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self {
            hub,
            agent,
            id,
            revision,
            retries: true,
        }
    }

    pub(super) fn retries(&self) -> Retries {
        Retries {
            first_wait: self.hub.retry_wait,
            limit: if self.retries { u32::MAX } else { 0 },
            failed: 0,
        }
    }

    /// The commit and the files of the revision.
    pub(super) fn info(&self) -> Result<ModelInfo, String> {
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.hub.endpoint(),
            self.id,
            percent_encode(self.revision)
        );
        let body = self.get_bytes(&url, MAX_INFO_BYTES)?;
        serde_json::from_slice(&body).map_err(|error| {
            let expected = "expected the commit and the files of a model";
            format!("{url}: found an invalid response, {expected}: {error}")
        })
    }

    /// Downloads a response of at most `limit` bytes. Failed requests are retried. The error is a
    /// message.
    pub(super) fn get_bytes(&self, url: &str, limit: u64) -> Result<Vec<u8>, String> {
        let mut retries = self.retries();
        loop {
            let body = self.get(url, None).and_then(|mut response| {
                let body = response.body_mut().with_config().limit(limit);
                body.read_to_vec()
                    .map_err(|error| Failure::of_transport(url, error))
            });
            match body {
                Ok(body) => return Ok(body),
                Err(failure) => retries.wait(failure).map_err(|last| self.message(last))?,
            }
        }
    }

    /// The URL of a file at a commit.
    pub(super) fn file_url(&self, commit: &str, name: &str) -> String {
        let (endpoint, id) = (self.hub.endpoint(), self.id);
        format!("{endpoint}/{id}/resolve/{commit}/{}", percent_encode(name))
    }

    /// Sends a GET request and follows its redirects. The token is sent to the endpoint only.
    pub(super) fn get(&self, url: &str, range: Option<(u64, u64)>) -> Result<Response, Failure> {
        let endpoint = origin(self.hub.endpoint());
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            // Compressed responses do not support ranges.
            let mut request = self
                .agent
                .get(&url)
                .header(header::ACCEPT_ENCODING, "identity");
            if let Some(token) = &self.hub.token
                && origin(&url) == endpoint
            {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if let Some((from, to)) = range {
                request = request.header(header::RANGE, format!("bytes={from}-{to}"));
            }
            let response = request
                .call()
                .map_err(|error| Failure::of_transport(&url, error))?;
            match (response.status().as_u16(), location(&url, &response)) {
                (200..=299, _) => return Ok(response),
                (301 | 302 | 303 | 307 | 308, Some(next)) => url = next,
                (status, _) => return Err(self.status_error(&url, status, response.headers())),
            }
        }
        Err(Failure::Permanent(format!(
            "{url}: found more than {MAX_REDIRECTS} redirects, expected a response"
        )))
    }

    /// The error for a status, based on the hub's error code if the response has one.
    fn status_error(&self, url: &str, status: u16, headers: &HeaderMap) -> Failure {
        let text = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.lines().next().unwrap_or_default().to_owned())
        };
        let mut found = format!("{url}: found status {status}");
        if let Some(message) = text("x-error-message") {
            found = format!("{found}, {message}");
        }
        if matches!(status, 408 | 429 | 500..) {
            return Failure::Transient(found, requested_wait(headers));
        }
        let (id, revision) = (self.id, self.revision);
        let login = if self.hub.token.is_some() {
            "expected an access token with access to it: log in with `hf auth login` or set HF_TOKEN"
        } else {
            "if it is private or gated, log in with `hf auth login` or set HF_TOKEN to an access token"
        };
        let reason = match (text("x-error-code").as_deref(), status) {
            (Some("RevisionNotFound"), _) => {
                format!(
                    "revision `{revision}` not found: expected a branch, tag, commit or refs/pr/N"
                )
            }
            (Some("EntryNotFound"), _) => format!("file not found in revision `{revision}`"),
            (Some("GatedRepo"), _) => {
                let endpoint = self.hub.endpoint();
                format!("the model is gated: request access at {endpoint}/{id}; {login}")
            }
            (Some("RepoNotFound"), _) | (_, 404) => format!("model {id} not found; {login}"),
            (_, 401 | 403) => format!("access denied; {login}"),
            _ => return Failure::Permanent(found),
        };
        Failure::Permanent(format!("{reason} ({found})"))
    }

    /// The message of a failure that is not retried.
    pub(super) fn message(&self, failure: Failure) -> String {
        match failure {
            Failure::Permanent(reason) | Failure::Transient(reason, _) => reason,
            Failure::Unreachable(reason) => format!(
                "{reason}: expected a connection, the endpoint of a mirror in HF_ENDPOINT, or a complete \
                 model in the cache {} (HF_HUB_OFFLINE=1 uses the cache alone)",
                self.hub.cache.display()
            ),
        }
    }
}

/// The wait that a server requests: `Retry-After` in seconds, or `t` of the hub's `RateLimit`.
fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name: &str| headers.get(name)?.to_str().ok();
    let retry_after = seconds("retry-after").and_then(|value| value.trim().parse().ok());
    let reset = || {
        let limit = seconds("ratelimit").filter(|value| value.contains("r=0"))?;
        let field = limit
            .split(';')
            .find_map(|field| field.trim().strip_prefix("t="))?;
        Some(field.parse::<u64>().ok()?.saturating_add(1))
    };
    retry_after.or_else(reset).map(Duration::from_secs)
}

/// The URL that a redirect names, which may be relative to the URL of the request.
fn location(url: &str, response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    if location.starts_with("//") {
        let (scheme, _) = url.split_once("//")?;
        Some(format!("{scheme}{location}"))
    } else if location.starts_with('/') {
        let (scheme, authority) = origin(url)?;
        Some(format!("{scheme}://{authority}{location}"))
    } else {
        Some(location.to_owned())
    }
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    Some((scheme.to_owned(), authority.as_str().to_ascii_lowercase()))
}

/// Percent-encodes all but the unreserved characters.
fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            quoted.push(byte.into());
        } else {
            // INVARIANT: writing to a string cannot fail.
            write!(quoted, "%{byte:02X}").expect("a string is writable");
        }
    }
    quoted
}
