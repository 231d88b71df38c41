//! Models of the Hugging Face hub, in the cache that is shared with huggingface_hub and other
//! programs.
//!
//! The crate hf-hub is not used. Its synchronous client (0.5) locks other files than
//! huggingface_hub, gives up on a lock after five seconds, does not check content, and appends a
//! whole file to a part if a server ignores ranges. Its successor (1.0) requires tokio, reqwest and
//! hf-xet, does not resume downloads, does not check content, and has no offline mode.

mod cache;
mod client;
mod contents;
mod download;
mod environment;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use cache::{Repository, is_commit, is_snapshot_intact};
use client::Client;
use contents::{Kind, Snapshot, is_index, shards};
use download::Downloader;

/// git reserves this suffix.
const LOCK_SUFFIX: &str = ".lock";

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

/// Progress of one file's download.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Download<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The number of bytes in the cache.
    pub received: u64,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The time that this call has waited for another process that downloads the file. `None` if
    /// there is no such process.
    pub waited: Option<Duration>,
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

    /// Creates a hub from environment variables by huggingface_hub's rules: `HF_ENDPOINT`;
    /// `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME`; `HF_TOKEN`,
    /// `HUGGING_FACE_HUB_TOKEN`, or the file of `HF_TOKEN_PATH`, unless
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set; `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`;
    /// `HF_HUB_DISABLE_SYMLINKS`. In paths, `~` and `$NAME` are expanded.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`Self::from_env`], with `get` in place of the variables of this process.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        environment::read(&get)
    }

    /// Returns true if a name has the form `ORG/NAME`.
    pub fn is_id(name: &str) -> bool {
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        matches!(name.split_once('/'), Some((org, name)) if part(org) && part(name))
    }

    /// Returns the folder of a model if all its required files are in the cache. No request is
    /// sent. `revision` is a branch, a tag, a commit or `refs/pr/N`.
    pub fn cached(&self, id: &str, revision: &str) -> Option<PathBuf> {
        let snapshot = self.find(id, revision).ok()??;
        let is_complete = snapshot.missing(Kind::Model).is_empty();
        is_complete.then_some(snapshot.folder)
    }

    /// Returns the folder of a model: the cached one if it is complete, otherwise that of
    /// [`Self::pull`].
    ///
    /// # Errors
    /// Those of [`Self::pull`].
    pub fn resolve(
        &self,
        id: &str,
        revision: &str,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        self.resolve_kind(Kind::Model, id, revision, progress)
    }

    /// Returns the folder of a LoRA adapter: the cached one if it is complete, otherwise downloads
    /// it.
    ///
    /// # Errors
    /// Those of [`Self::pull`].
    pub fn resolve_adapter(
        &self,
        id: &str,
        revision: &str,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        self.resolve_kind(Kind::Adapter, id, revision, progress)
    }

    /// Downloads the files of a model at a branch, tag, commit or `refs/pr/N` into the cache and
    /// returns their folder. Every file is verified against the hub's checksum: files in the cache
    /// are kept if they are correct and replaced otherwise, and an interrupted download is resumed.
    /// Several processes may pull one model at once. A complete snapshot of a full commit hash
    /// needs no request.
    ///
    /// # Errors
    /// [`Error::Hub`] naming the model, revision or file that does not exist, cannot be reached or
    /// differs from the hub's checksum; offline, naming each missing file.
    pub fn pull(
        &self,
        id: &str,
        revision: &str,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        let found = self.find(id, revision)?;
        if self.offline {
            return self.offline(Kind::Model, id, revision, found);
        }
        if is_commit(revision)
            && let Some(found) = found
            && found.missing(Kind::Model).is_empty()
            && found.is_settled(Kind::Model)
            && is_snapshot_intact(&found.folder).unwrap_or(false)
        {
            return Ok(found.folder);
        }
        let client = Client::new(self, id, revision);
        self.pull_kind(Kind::Model, id, revision, &client, progress)
    }

    fn resolve_kind(
        &self,
        kind: Kind,
        id: &str,
        revision: &str,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        let found = self.find(id, revision)?;
        if self.offline {
            return self.offline(kind, id, revision, found);
        }
        let complete = found.filter(|found| found.missing(kind).is_empty());
        let Some(found) = complete else {
            let client = Client::new(self, id, revision);
            return self.pull_kind(kind, id, revision, &client, progress);
        };
        if found.is_settled(kind) {
            return Ok(found.folder);
        }
        // Another program downloaded the required files. The optional files of the repository are
        // unknown. They are requested at the cached commit, even if the branch has a newer one.
        let commit = self.repository(id).commit(revision);
        let commit = commit.as_deref().unwrap_or(revision);
        let mut client = Client::new(self, id, commit);
        client.retries = false;
        let pulled = self.pull_kind(kind, id, commit, &client, progress);
        pulled.or_else(|error| {
            log::warn!("{error}; the files in the cache are used");
            Ok(found.folder)
        })
    }

    fn pull_kind(
        &self,
        kind: Kind,
        id: &str,
        revision: &str,
        client: &Client<'_>,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        let info = client.info().map_err(|reason| fail(id, reason))?;
        if !is_commit(&info.sha) {
            let reason = format!("found `{}` as commit, expected a hash", info.sha);
            return Err(fail(id, reason));
        }
        let repository = self.repository(id);
        let snapshot = repository.snapshot(&info.sha);
        let downloader = Downloader {
            hub: self,
            client,
            repository: &repository,
            commit: &info.sha,
            snapshot: &snapshot.folder,
        };
        let files: BTreeMap<&str, _> = info
            .siblings
            .iter()
            .map(|file| (file.name.as_str(), file))
            // Only top-level files belong to the model, and no name may lead to another folder.
            .filter(|(name, _)| !name.contains(['/', '\\', ':']))
            .collect();
        let mut bring = |name: &str| {
            let named = |reason: String| fail(&format!("{id}/{name}"), reason);
            let file = files.get(name).ok_or_else(|| {
                let reason =
                    "the index of the weights names it, and the repository has no such file";
                named(reason.to_owned())
            })?;
            downloader.bring(file, progress).map_err(named)
        };
        let names: BTreeSet<&str> = files.keys().copied().collect();
        for name in kind.select(&names) {
            bring(name)?;
            if is_index(name) {
                for shard in shards(&snapshot.folder.join(name)) {
                    bring(&shard)?;
                }
            }
        }
        note_absent(&snapshot, kind.known().filter(|name| !names.contains(name)));
        // The revision is recorded last, because it must refer to a complete snapshot.
        if revision != info.sha {
            let written = repository.write_ref(revision, &info.sha);
            written.map_err(|error| fail(id, format!("refs/{revision}: {error}")))?;
        }
        Ok(snapshot.folder)
    }

    /// Returns the cached snapshot of a model, or an error that names the missing files.
    fn offline(
        &self,
        kind: Kind,
        id: &str,
        revision: &str,
        found: Option<Snapshot>,
    ) -> Result<PathBuf> {
        let found = found.unwrap_or_else(|| Snapshot {
            folder: PathBuf::new(),
            absent: PathBuf::new(),
        });
        let missing = found.missing(kind);
        if missing.is_empty() {
            return Ok(found.folder);
        }
        let (missing, cache) = (missing.join(", "), self.cache.display());
        let reason = format!(
            "revision `{revision}` in the cache {cache} lacks {missing}, and HF_HUB_OFFLINE or \
             TRANSFORMERS_OFFLINE forbids requests"
        );
        Err(fail(id, reason))
    }

    /// Returns the snapshot of a revision, if its commit is in the cache.
    fn find(&self, id: &str, revision: &str) -> Result<Option<Snapshot>> {
        if !Self::is_id(id) {
            return Err(fail(id, "expected a model as ORG/NAME"));
        }
        if !is_revision(revision) {
            let expected = "expected a branch, tag, commit or refs/pr/N";
            return Err(fail(
                id,
                format!("revision: found `{revision}`, {expected}"),
            ));
        }
        let repository = self.repository(id);
        let commit = repository.commit(revision);
        Ok(commit.map(|commit| repository.snapshot(&commit)))
    }

    fn repository(&self, id: &str) -> Repository {
        Repository::new(&self.cache, id)
    }

    fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }
}

/// Records the files that the repository does not have, as huggingface_hub does.
fn note_absent<'a>(snapshot: &Snapshot, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let path = snapshot.absent.join(name);
        if path.exists() {
            continue;
        }
        let noted = cache::create_parent(&path).and_then(|()| std::fs::write(&path, []));
        if let Err(error) = noted {
            log::debug!("{}: {error}", path.display());
        }
    }
}

fn fail(what: &str, reason: impl Into<String>) -> Error {
    Error::Hub {
        what: what.to_owned(),
        reason: reason.into(),
    }
}

/// A name that git accepts for a branch, tag or other reference, or a commit.
fn is_revision(text: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(LOCK_SUFFIX);
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    text.split('/').all(part)
        && !text.contains(forbidden)
        && !text.contains("..")
        && !text.contains("@{")
        && Path::new(text).is_relative()
}
