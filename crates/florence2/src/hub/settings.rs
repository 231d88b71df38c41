//! The settings of a hub.

use std::path::PathBuf;
use std::time::Duration;

/// A hub and the cache of its models.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hub {
    /// The URL of the hub, such as `https://host`.
    pub endpoint: String,
    /// The folder of all cached models.
    pub cache: PathBuf,
    /// The user's access token. It is sent to the endpoint only.
    pub token: Option<String>,
    /// Use the cache only, and send no requests.
    pub offline: bool,
    /// Snapshots contain symbolic links to blobs. If false, or if a link cannot be created, they
    /// contain the files.
    pub symlinks: bool,
    /// The wait before the first retry of a failed request. Later waits double, up to eight times
    /// this.
    pub retry_wait: Duration,
}

impl Hub {
    /// Creates a hub with an endpoint and a cache, without a token.
    pub fn new(endpoint: &str, cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            symlinks: true,
            retry_wait: Duration::from_secs(1),
        }
    }

    /// Returns true if a name has the form `ORG/NAME`.
    pub fn is_id(name: &str) -> bool {
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        matches!(name.split_once('/'), Some((org, name)) if part(org) && part(name))
    }

    /// The endpoint without a trailing slash.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }
}
