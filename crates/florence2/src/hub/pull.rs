//! Lookup of models and adapters in the cache, and their download into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cache::{Repository, create_parent};
use super::checksum::{is_commit, is_snapshot_intact};
use super::client::{Client, RepositoryFile};
use super::contents::{Kind, Snapshot, is_index, shards};
use super::download::{DownloadProgress, Downloader};
use super::settings::Hub;
use crate::error::{Error, Result};

/// git reserves this suffix.
const LOCK_SUFFIX: &str = ".lock";

impl Hub {
    /// Returns the folder of a model if all its required files are in the cache. No request is
    /// sent. `revision` is a branch, a tag, a commit or `refs/pr/N`.
    pub fn cached(&self, id: &str, revision: &str) -> Option<PathBuf> {
        let source = Source::new(self, Kind::Model, id, revision).ok()?;
        Some(source.complete()?.folder)
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
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<PathBuf> {
        Source::new(self, Kind::Model, id, revision)?.resolve(progress)
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
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<PathBuf> {
        Source::new(self, Kind::Adapter, id, revision)?.resolve(progress)
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
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<PathBuf> {
        Source::new(self, Kind::Model, id, revision)?.pull(progress)
    }
}

/// A model or an adapter of a hub, at a revision.
#[derive(Clone, Copy)]
struct Source<'a> {
    hub: &'a Hub,
    kind: Kind,
    id: &'a str,
    revision: &'a str,
}

impl<'a> Source<'a> {
    /// Returns an error if the id or the revision is malformed.
    fn new(hub: &'a Hub, kind: Kind, id: &'a str, revision: &'a str) -> Result<Self> {
        if !Hub::is_id(id) {
            return Err(fail(id, "expected a model as ORG/NAME"));
        }
        if !is_revision(revision) {
            let expected = "expected a branch, tag, commit or refs/pr/N";
            let reason = format!("revision: found `{revision}`, {expected}");
            return Err(fail(id, reason));
        }
        Ok(Self {
            hub,
            kind,
            id,
            revision,
        })
    }

    fn repository(&self) -> Repository {
        Repository::new(&self.hub.cache, self.id)
    }

    fn client(&self) -> Client<'a> {
        Client::new(self.hub, self.id, self.revision)
    }

    /// The snapshot of the revision, if the cache has its commit and all required files.
    fn complete(&self) -> Option<Snapshot> {
        let snapshot = self.cached()?;
        snapshot.missing(self.kind).is_empty().then_some(snapshot)
    }

    /// The snapshot of the revision, if the cache has its commit.
    fn cached(&self) -> Option<Snapshot> {
        let repository = self.repository();
        let commit = repository.commit(self.revision)?;
        Some(repository.snapshot(&commit))
    }

    fn resolve(&self, progress: &mut dyn FnMut(DownloadProgress<'_>)) -> Result<PathBuf> {
        if self.hub.offline {
            return self.offline();
        }
        let Some(found) = self.complete() else {
            return self.download(&self.client(), progress);
        };
        if found.is_settled(self.kind) {
            return Ok(found.folder);
        }
        // Another program downloaded the required files. The optional files of the repository are
        // unknown. They are requested at the cached commit, even if the branch has a newer one.
        let commit = self.repository().commit(self.revision);
        let at_commit = Source {
            revision: commit.as_deref().unwrap_or(self.revision),
            ..*self
        };
        let mut client = at_commit.client();
        client.retries = false;
        at_commit.download(&client, progress).or_else(|error| {
            log::warn!("{error}; the files in the cache are used");
            Ok(found.folder)
        })
    }

    fn pull(&self, progress: &mut dyn FnMut(DownloadProgress<'_>)) -> Result<PathBuf> {
        if self.hub.offline {
            return self.offline();
        }
        if is_commit(self.revision)
            && let Some(found) = self.complete()
            && found.is_settled(self.kind)
            && is_snapshot_intact(&found.folder).unwrap_or(false)
        {
            return Ok(found.folder);
        }
        self.download(&self.client(), progress)
    }

    /// Completes the snapshot of the revision's commit, and returns its folder.
    fn download(
        &self,
        client: &Client<'_>,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<PathBuf> {
        let info = client.info().map_err(|reason| fail(self.id, reason))?;
        if !is_commit(&info.sha) {
            let reason = format!("found commit `{}`, expected a commit hash", info.sha);
            return Err(fail(self.id, reason));
        }
        let repository = self.repository();
        let snapshot = repository.snapshot(&info.sha);
        let downloader = Downloader {
            hub: self.hub,
            client,
            repository: &repository,
            commit: &info.sha,
            snapshot: &snapshot.folder,
        };
        let files = top_level(&info.siblings);
        self.download_files(&downloader, &files, progress)?;
        let known = self.kind.known();
        record_absent(&snapshot, known.filter(|name| !files.contains_key(name)));
        // The revision is recorded last, because it must refer to a complete snapshot.
        if self.revision != info.sha {
            let written = repository.write_ref(self.revision, &info.sha);
            written.map_err(|error| fail(self.id, format!("refs/{}: {error}", self.revision)))?;
        }
        Ok(snapshot.folder)
    }

    /// Downloads those of a repository's files that belong to the model or the adapter.
    fn download_files(
        &self,
        downloader: &Downloader<'_>,
        files: &BTreeMap<&str, &RepositoryFile>,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<()> {
        let mut fetch = |name: &str| {
            let named = |reason: String| fail(&format!("{}/{name}", self.id), reason);
            let file = files.get(name).ok_or_else(|| {
                let reason = "the repository lacks this file, which the index of the weights names";
                named(reason.to_owned())
            })?;
            downloader.fetch(file, progress).map_err(named)
        };
        let names: BTreeSet<&str> = files.keys().copied().collect();
        for name in self.kind.select(&names) {
            fetch(name)?;
            if is_index(name) {
                for shard in shards(&downloader.snapshot.join(name)) {
                    fetch(&shard)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the folder of the cached snapshot, or an error that names the missing files.
    fn offline(&self) -> Result<PathBuf> {
        let found = self.cached().unwrap_or_else(|| Snapshot {
            folder: PathBuf::new(),
            absent: PathBuf::new(),
        });
        let missing = found.missing(self.kind);
        if missing.is_empty() {
            return Ok(found.folder);
        }
        let reason = format!(
            "revision `{}` in the cache {} lacks {}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE \
             forbids requests",
            self.revision,
            self.hub.cache.display(),
            missing.join(", ")
        );
        Err(fail(self.id, reason))
    }
}

/// The files in the top folder of a repository, by name. Only these belong to the model, and no name
/// may lead to another folder.
fn top_level(files: &[RepositoryFile]) -> BTreeMap<&str, &RepositoryFile> {
    files
        .iter()
        .map(|file| (file.name.as_str(), file))
        .filter(|(name, _)| !name.contains(['/', '\\', ':']))
        .collect()
}

/// Records the files that the repository does not have, as huggingface_hub does.
fn record_absent<'a>(snapshot: &Snapshot, names: impl Iterator<Item = &'a str>) {
    for name in names {
        let path = snapshot.absent.join(name);
        if path.exists() {
            continue;
        }
        let recorded = create_parent(&path).and_then(|()| std::fs::write(&path, []));
        if let Err(error) = recorded {
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
