//! Checkpoints from the Hugging Face hub, kept in its own cache, which other programs share:
//! `models--ORG--NAME/{blobs,refs,snapshots}` as huggingface_hub lays it out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Bytes asked for at a time: a lost connection costs no more.
const PART: u64 = 64 << 20;
/// A part that takes longer has stalled.
const PART_TIME: Duration = Duration::from_mins(10);
const CONNECT_TIME: Duration = Duration::from_secs(20);
const RESPONSE_TIME: Duration = Duration::from_mins(1);
/// How often a part is asked for before the download fails.
const ATTEMPTS: u32 = 3;

/// A hub and the cache of what came from it.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Where it is, as `https://host`.
    pub endpoint: String,
    /// The folder of all cached models.
    pub cache: PathBuf,
    /// The user's access token, sent to the endpoint alone.
    pub token: Option<String>,
}

/// How far a download is.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes on the disk.
    pub received: u64,
    /// Bytes in all.
    pub size: u64,
}

/// The hub's answer about a model at a revision.
#[derive(Deserialize)]
struct ModelInfo {
    sha: String,
    siblings: Vec<RepositoryFile>,
}

#[derive(Deserialize)]
struct RepositoryFile {
    rfilename: String,
    #[serde(default)]
    size: u64,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
}

impl RepositoryFile {
    /// The name of its content, which is also its checksum.
    fn etag(&self) -> Option<&str> {
        match &self.lfs {
            Some(large) => Some(&large.sha256),
            None => self.blob_id.as_deref(),
        }
    }
}

impl Hub {
    /// The hub and cache that the environment names: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`,
    /// `HF_TOKEN` or the file `token` in `HF_HOME`.
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = set("HF_HOME").map_or_else(default_home, PathBuf::from);
        let token_file = || fs::read_to_string(home.join("token")).ok();
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: set("HF_TOKEN")
                .or_else(token_file)
                .map(|token| token.trim().to_owned()),
            cache: set("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
        }
    }

    /// Whether a name has the form `ORG/NAME`.
    pub fn is_id(name: &str) -> bool {
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        matches!(name.split_once('/'), Some((org, name)) if part(org) && part(name))
    }

    /// The folder of a model that was pulled before.
    pub fn cached(&self, id: &str, revision: &str) -> Option<PathBuf> {
        let folder = self.folder(id);
        let commit = fs::read_to_string(folder.join("refs").join(revision)).ok()?;
        let snapshot = folder.join("snapshots").join(commit.trim());
        snapshot.join("config.json").exists().then_some(snapshot)
    }

    /// Brings a model's files into the cache: what is there is kept, what was cut off goes on, and
    /// every file is checked against the hub's checksum. Gives the model's folder.
    ///
    /// # Errors
    /// [`Error::Hub`] naming the model or file that does not exist, cannot be reached or is not
    /// what the hub says it is.
    pub fn pull(
        &self,
        id: &str,
        revision: &str,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<PathBuf> {
        if !Self::is_id(id) || !is_revision(revision) {
            return Err(fail(
                id,
                "expected a model as ORG/NAME and a plain revision",
            ));
        }
        let agent = agent();
        let info = self.info(&agent, id, revision)?;
        if !is_hex(&info.sha) {
            return Err(fail(id, "the hub names no commit"));
        }
        let folder = self.folder(id);
        let snapshot = folder.join("snapshots").join(&info.sha);
        for file in wanted(&info.siblings) {
            let name = &file.rfilename;
            let named = |reason: String| fail(&format!("{id}/{name}"), reason);
            let etag = file
                .etag()
                .filter(|etag| is_hex(etag))
                .ok_or_else(|| named("the hub gives no checksum".to_owned()))?;
            let blob = folder.join("blobs").join(etag);
            if !blob.exists() {
                let url = format!("{}/{id}/resolve/{}/{name}", self.endpoint(), info.sha);
                self.fetch(&agent, &url, file, &blob, progress)
                    .map_err(named)?;
            }
            link(&blob, &snapshot.join(name)).map_err(|error| named(error.to_string()))?;
        }
        // Last: a name for the snapshot means that it is whole.
        write_whole(&folder.join("refs").join(revision), info.sha.as_bytes())
            .map_err(|error| fail(id, error.to_string()))?;
        Ok(snapshot)
    }

    fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.cache
            .join(format!("models--{}", id.replace('/', "--")))
    }

    fn info(&self, agent: &ureq::Agent, id: &str, revision: &str) -> Result<ModelInfo> {
        let url = format!(
            "{}/api/models/{id}/revision/{revision}?blobs=true",
            self.endpoint()
        );
        let mut response = self
            .get(agent, &url, None)
            .map_err(|reason| fail(id, reason))?;
        let body = response
            .body_mut()
            .read_to_vec()
            .map_err(|error| fail(id, error.to_string()))?;
        serde_json::from_slice(&body)
            .map_err(|error| fail(id, format!("the hub's answer is not a model: {error}")))
    }

    fn get(
        &self,
        agent: &ureq::Agent,
        url: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Response, String> {
        let mut request = agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((from, to)) = range {
            request = request.header("range", format!("bytes={from}-{to}"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::StatusCode(401 | 403) => {
                format!("{url}: access denied: a token in HF_TOKEN may be needed")
            }
            ureq::Error::StatusCode(404) => format!("{url}: not found"),
            error => format!("{url}: {error}"),
        })
    }

    /// Downloads a file beside its blob, checks it, and gives it the blob's name.
    fn fetch(
        &self,
        agent: &ureq::Agent,
        url: &str,
        file: &RepositoryFile,
        blob: &Path,
        progress: &mut dyn FnMut(Download<'_>),
    ) -> Result<(), String> {
        let incomplete = blob.with_extension("incomplete");
        let size = file.size;
        let mut output = open_to_append(&incomplete).map_err(|error| error.to_string())?;
        let mut attempts = 0;
        loop {
            let received = output.metadata().map_err(|error| error.to_string())?.len();
            progress(Download {
                file: &file.rfilename,
                received,
                size,
            });
            if received >= size {
                break;
            }
            match self.part(agent, url, received, size, &mut output) {
                Ok(()) => attempts = 0,
                Err(reason) if attempts + 1 == ATTEMPTS => return Err(reason),
                Err(_) => attempts += 1,
            }
        }
        drop(output);
        let matches = verify(&incomplete, file).map_err(|error| error.to_string())?;
        if !matches {
            // What is wrong must not be built upon by the next attempt.
            fs::remove_file(&incomplete).map_err(|error| error.to_string())?;
            return Err("the checksum is not the hub's: the download was dropped".to_owned());
        }
        fs::rename(&incomplete, blob).map_err(|error| error.to_string())
    }

    /// One part, appended to what is there.
    fn part(
        &self,
        agent: &ureq::Agent,
        url: &str,
        from: u64,
        size: u64,
        output: &mut File,
    ) -> Result<(), String> {
        let to = size.min(from + PART) - 1;
        let mut response = self.get(agent, url, Some((from, to)))?;
        let expected = match response.status().as_u16() {
            206 => to + 1 - from,
            // This server gives whole files only.
            _ => {
                output.set_len(0).map_err(|error| error.to_string())?;
                size
            }
        };
        // One byte more than expected tells a longer file.
        let mut body = response.body_mut().as_reader().take(expected + 1);
        let copied = io::copy(&mut body, output).map_err(|error| format!("{url}: {error}"))?;
        match copied == expected {
            true => Ok(()),
            false => {
                let found = match copied > expected {
                    true => "more".to_owned(),
                    false => copied.to_string(),
                };
                if copied > expected {
                    output.set_len(0).map_err(|error| error.to_string())?;
                }
                Err(format!("{url}: found {found} bytes, expected {expected}"))
            }
        }
    }
}

type Response = ureq::http::Response<ureq::Body>;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIME))
        .timeout_recv_response(Some(RESPONSE_TIME))
        .timeout_recv_body(Some(PART_TIME))
        .user_agent(concat!("libflorence2/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn fail(what: &str, reason: impl Into<String>) -> Error {
    Error::Hub {
        what: what.to_owned(),
        reason: reason.into(),
    }
}

/// `~/.cache/huggingface`, as huggingface_hub has it.
fn default_home() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    cache.unwrap_or_else(|| ".cache".into()).join("huggingface")
}

/// A model's own files: configurations, the tokenizer, and the weights in one format.
fn wanted(files: &[RepositoryFile]) -> Vec<&RepositoryFile> {
    let ends = |file: &RepositoryFile, suffix: &str| file.rfilename.ends_with(suffix);
    let safe = files.iter().any(|file| ends(file, ".safetensors"));
    let weights = match safe {
        true => ".safetensors",
        false => ".bin",
    };
    let suffixes = [".json", ".txt", weights];
    let pickled_index = |file: &RepositoryFile| safe && ends(file, ".bin.index.json");
    files
        .iter()
        .filter(|file| !file.rfilename.contains(['/', '\\']))
        .filter(|file| suffixes.iter().any(|suffix| ends(file, suffix)))
        .filter(|file| !pickled_index(file))
        .collect()
}

fn is_hex(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A branch, tag or commit that is one path component.
fn is_revision(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(known)
}

fn open_to_append(path: &Path) -> io::Result<File> {
    create_parent(path)?;
    OpenOptions::new().create(true).append(true).open(path)
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Large files are named by their SHA-256, the others by git's SHA-1 of them.
fn verify(path: &Path, file: &RepositoryFile) -> io::Result<bool> {
    let found = match &file.lfs {
        Some(_) => digest(Sha256::new(), path)?,
        None => {
            let git = Sha1::new_with_prefix(format!("blob {}\0", path.metadata()?.len()));
            digest(git, path)?
        }
    };
    Ok(file
        .etag()
        .is_some_and(|etag| etag.eq_ignore_ascii_case(&found)))
}

fn digest(mut hasher: impl Digest, path: &Path) -> io::Result<String> {
    use std::fmt::Write as _;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let mut hex = String::new();
    for byte in hasher.finalize() {
        // INVARIANT: writing to a string cannot fail.
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    Ok(hex)
}

/// The snapshot's name for a blob.
fn link(blob: &Path, name: &Path) -> io::Result<()> {
    if name.exists() {
        return Ok(());
    }
    create_parent(name)?;
    // A link whose blob was deleted is there and does not exist.
    match fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    #[cfg(unix)]
    {
        let file = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(file), name)
    }
    #[cfg(not(unix))]
    fs::hard_link(blob, name).or_else(|_| fs::copy(blob, name).map(|_| ()))
}

/// Writes a file that nobody sees half.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    create_parent(path)?;
    let partial = path.with_extension("partial");
    File::create(&partial)?.write_all(content)?;
    fs::rename(&partial, path)
}
