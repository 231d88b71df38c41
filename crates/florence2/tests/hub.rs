//! Models of a hub server that runs in the test: complete, resumed and partial downloads, repairs,
//! concurrent callers, and errors.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use florence2::{Florence2, Hub};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "microsoft/tiny";
const FOLDER: &str = "models--microsoft--tiny";

/// The behaviour of the server.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    /// Returns the whole file for every range.
    WithoutRanges,
    /// Compresses whole files.
    Gzip,
    /// Closes the connection in the middle of the weights at the first request.
    CutOnce,
    /// Sends content that differs from its checksum.
    Corrupt,
    /// Redirects requests for the weights to another server, as the hub does for large files.
    Redirect,
    /// Requires a token.
    Private,
    /// Sends 16 KiB of the weights per 10 ms, and waits before the rest of a file.
    Slow,
    /// Returns an error for the first two requests for each path.
    FailsTwice(&'static str),
    /// Returns an error for every request.
    Fails(&'static str),
}

/// A received request: its path, and its headers with names in lower case.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
}

type Files = BTreeMap<String, Vec<u8>>;

struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        Self::serve(manner, small_model())
    }

    fn serve(manner: Manner, files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own) = (Arc::clone(&requests), endpoint.clone());
        let files = Arc::new(files);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, own, files) = (Arc::clone(&seen), own.clone(), Arc::clone(&files));
                std::thread::spawn(move || answer(stream.unwrap(), manner, &own, &files, &seen));
            }
        });
        Self { endpoint, requests }
    }

    fn hub(&self, cache: &Path) -> Hub {
        let mut hub = Hub::new(&self.endpoint, cache);
        hub.retry_wait = Duration::from_millis(5);
        hub
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The paths of all requests.
    fn paths(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| request.path.clone())
            .collect()
    }

    /// The ranges requested of a file.
    fn ranges(&self, file: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|request| request.path.ends_with(file))
            .filter_map(|request| request.headers.get("range").cloned())
            .collect()
    }
}

fn read_request(reader: &mut impl BufRead) -> Request {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
            return Request { path, headers };
        }
        let (name, value) = line.split_once(':').unwrap();
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn answer(
    mut stream: TcpStream,
    manner: Manner,
    endpoint: &str,
    files: &Files,
    seen: &Mutex<Vec<Request>>,
) {
    let request = read_request(&mut BufReader::new(&stream));
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        let same = seen.iter().filter(|old| old.path == request.path);
        same.count() - 1
    };
    let bytes = response_to(&request, manner, before, endpoint, files);
    let is_slow = manner == Manner::Slow && request.path.ends_with(".safetensors");
    let resumes = request
        .headers
        .get("range")
        .is_some_and(|range| !range.starts_with("bytes=0-"));
    if is_slow && resumes {
        std::thread::sleep(Duration::from_millis(300));
    }
    for piece in bytes.chunks(if is_slow { 1 << 14 } else { usize::MAX }) {
        // A client that needs no more bytes may close the connection first.
        if stream.write_all(piece).is_err() {
            return;
        }
        if is_slow {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn response_to(
    request: &Request,
    manner: Manner,
    before: usize,
    endpoint: &str,
    files: &Files,
) -> Vec<u8> {
    let token = request.headers.get("authorization");
    match manner {
        Manner::Private if token.is_none_or(|token| token != "Bearer secret") => {
            return response("401 Unauthorized", "", b"");
        }
        Manner::Fails(status) => return refused(status),
        Manner::FailsTwice(status) if before < 2 => return refused(status),
        _ => {}
    }
    let described = request
        .path
        .strip_prefix(&format!("/api/models/{ID}/revision/"));
    if let Some(revision) = described.and_then(|path| path.strip_suffix("?blobs=true")) {
        let known = ["main", COMMIT, "refs%2Fpr%2F6"].contains(&revision);
        return if known {
            response("200 OK", "", model_info(files).as_bytes())
        } else {
            response("404 Not Found", "x-error-code: RevisionNotFound\r\n", b"")
        };
    }
    let resolved = request
        .path
        .strip_prefix(&format!("/{ID}/resolve/{COMMIT}/"));
    let name = resolved.or(request.path.strip_prefix("/storage/"));
    let Some((name, content)) = name.and_then(|name| files.get_key_value(name)) else {
        return response("404 Not Found", "", b"");
    };
    let mut content = content.clone();
    let is_large = is_weights(name);
    if manner == Manner::Redirect && is_large && resolved.is_some() {
        let elsewhere = endpoint.replace("127.0.0.1", "localhost");
        let location = format!("location: {elsewhere}/storage/{name}\r\n");
        return response("302 Found", &location, b"");
    }
    if manner == Manner::Corrupt && is_large {
        let last = content.len() - 1;
        content[last] ^= 1;
    }
    let mut bytes = match request.headers.get("range") {
        Some(range) if manner != Manner::WithoutRanges => {
            let range = range.strip_prefix("bytes=").unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            let header = format!("content-range: bytes {from}-{to}/{}\r\n", content.len());
            response("206 Partial Content", &header, &content[from..=to])
        }
        _ if manner == Manner::Gzip => {
            response("200 OK", "content-encoding: gzip\r\n", &gzip(&content))
        }
        _ => response("200 OK", "", &content),
    };
    if manner == Manner::CutOnce && is_large && before == 0 {
        bytes.truncate(bytes.len() / 2);
    }
    bytes
}

/// An error response: a status, and headers on the lines after it.
fn refused(status: &str) -> Vec<u8> {
    let (status, headers) = status.split_once('\n').unwrap_or((status, ""));
    response(status, headers, b"")
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A gzip file of stored blocks.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = content.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        file.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    let crc = content.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    });
    file.extend((!crc).to_le_bytes());
    file.extend((content.len() as u32).to_le_bytes());
    file
}

fn is_weights(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|kind| kind == "safetensors")
}

/// The files of a model that the hub module accepts but the loader rejects.
fn small_model() -> Files {
    let mut files: Files = [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ]
    .map(|name| (name.to_owned(), format!("{{\"{name}\": 1}}").into_bytes()))
    .into();
    let mut state = 1_u32;
    let weights = (0..200_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    files.insert("model.safetensors".to_owned(), weights.collect());
    files
}

fn demo_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

/// The files in the demo model's folder that make it a crate.
const PACKAGE_FILES: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "lib.rs"];

fn demo_model() -> Files {
    let entries = fs::read_dir(demo_folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            path.is_file() && !PACKAGE_FILES.contains(&path.file_name().unwrap().to_str().unwrap())
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (name.to_owned(), fs::read(&path).unwrap())
        })
        .collect()
}

/// The hub's response for a model, with one file that must not be written.
fn model_info(files: &Files) -> String {
    let mut siblings = vec![serde_json::json!({
        "rfilename": "../../escaped.json", "size": 1, "blobId": COMMIT,
    })];
    for (name, content) in files {
        let mut file = serde_json::json!({
            "rfilename": name, "size": content.len(), "blobId": git_hash(content),
        });
        if is_weights(name) {
            file["lfs"] = serde_json::json!({ "sha256": hex(&Sha256::digest(content)) });
        }
        siblings.push(file);
    }
    serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string()
}

fn git_hash(content: &[u8]) -> String {
    let hash = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hex(&hash.chain_update(content).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn pull(hub: &Hub) -> florence2::Result<PathBuf> {
    hub.pull(ID, "main", &mut |_| ())
}

fn resolve(hub: &Hub) -> florence2::Result<PathBuf> {
    hub.resolve(ID, "main", &mut |_| ())
}

/// The blob of the small model's weights.
fn weights_blob(cache: &Path) -> PathBuf {
    let weights = &small_model()["model.safetensors"];
    let blobs = cache.join(FOLDER).join("blobs");
    blobs.join(hex(&Sha256::digest(weights)))
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Writes a cache like a program that requested only some files.
fn partial_cache(cache: &Path, names: &[&str]) {
    let folder = cache.join(FOLDER);
    write(&folder.join("refs/main"), COMMIT.as_bytes());
    for name in names {
        let path = folder.join("snapshots").join(COMMIT).join(name);
        write(&path, &small_model()[*name]);
    }
}

/// Asserts that the folder contains every file of a model except README.md, and that no incomplete
/// blob is left.
fn assert_whole(folder: &Path, files: &Files) {
    for (name, content) in files {
        if name == "README.md" {
            assert!(!folder.join(name).exists());
        } else {
            assert!(fs::read(folder.join(name)).unwrap() == *content, "{name}");
        }
    }
    let blobs = folder.join("../../blobs");
    for entry in fs::read_dir(blobs).into_iter().flatten() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension(), None, "{}", path.display());
    }
}

#[test]
fn a_model_is_pulled_once_and_loads() {
    let files = demo_model();
    let server = Server::serve(Manner::Plain, files.clone());
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    assert_eq!(hub.cached(ID, "main"), None);
    let mut whole = false;
    let folder = hub
        .pull(ID, "main", &mut |download| {
            whole |= download.received == download.size;
        })
        .unwrap();
    assert!(whole);
    assert_whole(&folder, &files);
    assert_eq!(hub.cached(ID, "main"), Some(folder.clone()));
    assert!(!cache.path().join("escaped.json").exists());
    Florence2::load(&folder).unwrap();
    let before = server.count();
    pull(&hub).unwrap();
    assert_eq!(server.count(), before + 1, "files came again");
    resolve(&hub).unwrap();
    assert_eq!(server.count(), before + 1, "a cached model was requested");
}

#[test]
fn an_interrupted_download_is_resumed() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let weights = &small_model()["model.safetensors"];
    let incomplete = weights_blob(cache.path()).with_extension("incomplete");
    write(&incomplete, &weights[..1000]);
    assert_whole(&pull(&server.hub(cache.path())).unwrap(), &small_model());
    let range = format!("bytes=1000-{}", weights.len() - 1);
    assert_eq!(server.ranges("model.safetensors"), [range]);
}

#[test]
fn a_wrong_part_is_downloaded_anew() {
    let weights = &small_model()["model.safetensors"];
    for wrong in [
        vec![0; 1000],
        vec![0; weights.len()],
        vec![0; weights.len() + 1],
    ] {
        let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
        write(
            &weights_blob(cache.path()).with_extension("incomplete"),
            &wrong,
        );
        assert_whole(&pull(&server.hub(cache.path())).unwrap(), &small_model());
    }
}

#[test]
fn servers_may_cut_compress_redirect_and_ignore_ranges() {
    for manner in [
        Manner::CutOnce,
        Manner::Gzip,
        Manner::Redirect,
        Manner::WithoutRanges,
    ] {
        for part in [0, 1000] {
            let (server, cache) = (Server::start(manner), tempfile::tempdir().unwrap());
            let weights = &small_model()["model.safetensors"];
            let incomplete = weights_blob(cache.path()).with_extension("incomplete");
            write(&incomplete, &weights[..part]);
            let mut hub = server.hub(cache.path());
            hub.token = Some("secret".to_owned());
            assert_whole(&pull(&hub).unwrap(), &small_model());
            for request in server.requests.lock().unwrap().iter() {
                let sent = request.headers.contains_key("authorization");
                assert_eq!(sent, !request.path.starts_with("/storage/"), "{request:?}");
            }
        }
    }
}

#[test]
fn wrong_content_is_removed_and_named() {
    let cache = tempfile::tempdir().unwrap();
    let corrupt = Server::start(Manner::Corrupt);
    let error = pull(&corrupt.hub(cache.path())).unwrap_err().to_string();
    assert!(
        error.contains("microsoft/tiny/model.safetensors"),
        "{error}"
    );
    assert!(error.contains("checksum"), "{error}");
    assert_eq!(corrupt.hub(cache.path()).cached(ID, "main"), None);
    let blob = weights_blob(cache.path());
    assert!(!blob.exists() && !blob.with_extension("incomplete").exists());
    let sound = Server::start(Manner::Plain);
    assert_whole(&pull(&sound.hub(cache.path())).unwrap(), &small_model());
}

#[test]
fn a_wrong_blob_is_replaced() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let size = small_model()["model.safetensors"].len();
    for (content, revision) in [
        (vec![0; 10], "main"),
        (vec![0; size], "main"),
        (vec![0; size], COMMIT),
    ] {
        pull(&hub).unwrap();
        fs::write(weights_blob(cache.path()), content).unwrap();
        let folder = hub.pull(ID, revision, &mut |_| ()).unwrap();
        assert_whole(&folder, &small_model());
    }
}

#[test]
fn a_partial_snapshot_is_completed() {
    let required = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    for count in 0..required.len() {
        let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
        partial_cache(cache.path(), &required[..count]);
        let hub = server.hub(cache.path());
        assert_eq!(hub.cached(ID, "main"), None);
        assert_whole(&resolve(&hub).unwrap(), &small_model());
        assert!(hub.cached(ID, "main").is_some());
    }
}

#[test]
fn unknown_optional_files_are_requested_once() {
    let required = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    partial_cache(cache.path(), &required);
    // Without a connection, the cached files are used.
    let unreachable = Hub::new("http://127.0.0.1:9", cache.path());
    let folder = resolve(&unreachable).unwrap();
    assert!(!folder.join("generation_config.json").exists());
    let hub = server.hub(cache.path());
    assert_whole(&resolve(&hub).unwrap(), &small_model());
    let absent = cache.path().join(FOLDER).join(".no_exist").join(COMMIT);
    assert!(absent.join("added_tokens.json").exists());
    assert!(!absent.join("generation_config.json").exists());
    let before = server.count();
    resolve(&hub).unwrap();
    assert_eq!(server.count(), before);
}

#[test]
fn offline_uses_the_cache_alone() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let mut hub = server.hub(cache.path());
    hub.offline = true;
    for (present, missing) in [
        (
            &[][..],
            "config.json, preprocessor_config.json, tokenizer.json, model.safetensors",
        ),
        (
            &["config.json"][..],
            " preprocessor_config.json, tokenizer.json, model.safetensors",
        ),
        (
            &["config.json", "tokenizer.json"][..],
            " preprocessor_config.json, model.safetensors",
        ),
    ] {
        if !present.is_empty() {
            partial_cache(cache.path(), present);
        }
        for error in [pull(&hub), resolve(&hub)] {
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(missing) && error.contains("HF_HUB_OFFLINE"),
                "{error}"
            );
            assert!(
                !present
                    .iter()
                    .any(|name| error.contains(&format!(" {name},"))),
                "{error}"
            );
        }
    }
    assert_eq!(server.count(), 0);
    hub.offline = false;
    let folder = pull(&hub).unwrap();
    let before = server.count();
    hub.offline = true;
    assert_eq!(resolve(&hub).unwrap(), folder);
    assert_eq!(pull(&hub).unwrap(), folder);
    assert_eq!(server.count(), before);
}

#[test]
fn shards_and_other_layouts_are_complete_or_named() {
    let mut files = small_model();
    let weights = files.remove("model.safetensors").unwrap();
    files.remove("tokenizer.json");
    files.insert("vocab.json".to_owned(), b"{\"a\": 0}".to_vec());
    files.insert("merges.txt".to_owned(), b"#version: 0.2\n".to_vec());
    let index =
        serde_json::json!({ "weight_map": { "a": "one.safetensors", "b": "two.safetensors" } });
    files.insert(
        "model.safetensors.index.json".to_owned(),
        index.to_string().into_bytes(),
    );
    files.insert("one.safetensors".to_owned(), weights[..1000].to_vec());
    files.insert("two.safetensors".to_owned(), weights[1000..].to_vec());
    let mut others = files.clone();
    others.insert("training.safetensors".to_owned(), vec![1; 10]);
    others.insert("pytorch_model.bin".to_owned(), vec![1; 10]);
    let (server, cache) = (
        Server::serve(Manner::Plain, others),
        tempfile::tempdir().unwrap(),
    );
    let mut hub = server.hub(cache.path());
    let folder = pull(&hub).unwrap();
    assert_whole(&folder, &files);
    assert!(!folder.join("training.safetensors").exists());
    assert!(!folder.join("pytorch_model.bin").exists());
    hub.offline = true;
    for (removed, named) in [
        ("two.safetensors", "two.safetensors"),
        ("merges.txt", "merges.txt"),
    ] {
        assert_eq!(resolve(&hub).unwrap(), folder);
        fs::remove_file(folder.join(removed)).unwrap();
        let error = resolve(&hub).unwrap_err().to_string();
        assert!(error.contains(&format!("lacks {named}, and")), "{error}");
        hub.offline = false;
        assert_whole(&resolve(&hub).unwrap(), &files);
        hub.offline = true;
    }
}

#[test]
fn files_that_a_repository_lacks_are_not_requested_for_ever() {
    let mut files = small_model();
    files.remove("tokenizer.json");
    let weights = files.remove("model.safetensors").unwrap();
    files.insert("other-name.safetensors".to_owned(), weights);
    let server = Server::serve(Manner::Plain, files.clone());
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    assert_whole(&resolve(&hub).unwrap(), &files);
    let before = server.count();
    resolve(&hub).unwrap();
    assert_eq!(server.count(), before);
}

#[test]
fn adapters_are_resolved() {
    let files: Files = [
        ("adapter_config.json".to_owned(), b"{}".to_vec()),
        ("adapter_model.safetensors".to_owned(), vec![1; 100]),
    ]
    .into();
    let server = Server::serve(Manner::Plain, files.clone());
    let cache = tempfile::tempdir().unwrap();
    let hub = server.hub(cache.path());
    for _ in 0..2 {
        let folder = hub.resolve_adapter(ID, "main", &mut |_| ()).unwrap();
        assert_whole(&folder, &files);
    }
    assert_eq!(server.count(), 3);
}

#[test]
fn revisions_are_branches_commits_and_pull_requests() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    let folder = hub.pull(ID, "refs/pr/6", &mut |_| ()).unwrap();
    assert!(server.paths()[0].contains("/revision/refs%2Fpr%2F6?"));
    let refs = cache.path().join(FOLDER).join("refs");
    assert_eq!(fs::read_to_string(refs.join("refs/pr/6")).unwrap(), COMMIT);
    assert_eq!(hub.cached(ID, "refs/pr/6"), Some(folder.clone()));
    assert_eq!(hub.cached(ID, "main"), None);
    // A complete snapshot of a commit needs neither a reference nor a request.
    let before = server.count();
    assert_eq!(hub.pull(ID, COMMIT, &mut |_| ()).unwrap(), folder);
    assert_eq!(hub.resolve(ID, COMMIT, &mut |_| ()).unwrap(), folder);
    assert_eq!(server.count(), before);
    let other = tempfile::tempdir().unwrap();
    let hub = server.hub(other.path());
    assert_whole(&hub.pull(ID, COMMIT, &mut |_| ()).unwrap(), &small_model());
    assert!(!other.path().join(FOLDER).join("refs").exists());
    for wrong in [
        "", "a/../b", "/a", "a//b", "a b", "a\\b", ".git", "a:b", "a\n",
    ] {
        let error = hub.pull(ID, wrong, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("refs/pr/N"), "{error}");
    }
}

#[test]
fn several_pull_one_model_at_once() {
    for pause in [0, 60] {
        let (server, cache) = (Server::start(Manner::Slow), tempfile::tempdir().unwrap());
        let hub = server.hub(cache.path());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    std::thread::sleep(Duration::from_millis(pause));
                    scope.spawn(|| pull(&hub).unwrap())
                })
                .collect();
            for thread in threads {
                assert_whole(&thread.join().unwrap(), &small_model());
            }
        });
        let downloads = server.paths();
        let weights = downloads
            .iter()
            .filter(|path| path.ends_with("model.safetensors"));
        assert_eq!(weights.count(), 1, "the lock did not hold");
    }
}

#[test]
fn a_lock_of_another_process_is_reported_and_waited_for() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let blob = weights_blob(cache.path());
    let etag = blob.file_name().unwrap().to_str().unwrap();
    let path = cache
        .path()
        .join(".locks")
        .join(FOLDER)
        .join(format!("{etag}.lock"));
    write(&path, b"");
    let mut lock = Some(fs::File::open(&path).unwrap());
    lock.as_ref().unwrap().lock().unwrap();
    let mut waited = 0;
    let folder = server.hub(cache.path()).pull(ID, "main", &mut |download| {
        if download.waited.is_some() {
            assert_eq!(download.file, "model.safetensors");
            waited += 1;
        }
        if waited == 2 {
            lock = None;
        }
    });
    assert_whole(&folder.unwrap(), &small_model());
    assert!(waited >= 2);
}

#[test]
fn snapshots_hold_files_where_links_cannot_be_made() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let mut hub = server.hub(cache.path());
    hub.symlinks = false;
    let folder = pull(&hub).unwrap();
    assert_whole(&folder, &small_model());
    let weights = folder.join("model.safetensors");
    assert!(weights.symlink_metadata().unwrap().is_file());
    let before = server.count();
    pull(&hub).unwrap();
    assert_eq!(server.count(), before + 1);
    fs::write(&weights, [0; 10]).unwrap();
    pull(&hub).unwrap();
    assert_whole(&folder, &small_model());
}

#[test]
fn passing_failures_are_retried_and_others_are_not() {
    for status in [
        "503 Busy",
        "500 Error",
        "408 Late",
        "429 Slow\nretry-after: 0\r\n",
    ] {
        let (server, cache) = (
            Server::start(Manner::FailsTwice(status)),
            tempfile::tempdir().unwrap(),
        );
        assert_whole(&pull(&server.hub(cache.path())).unwrap(), &small_model());
    }
    for (status, expected) in [
        (
            "401 No\nx-error-code: RepoNotFound\r\n",
            "microsoft/tiny not found; if it is private",
        ),
        ("401 No", "hf auth login"),
        (
            "403 No\nx-error-code: GatedRepo\r\n",
            "gated: request access at http://127.0.0.1",
        ),
        ("403 No", "HF_TOKEN"),
        (
            "404 No\nx-error-code: RepoNotFound\r\n",
            "microsoft/tiny not found",
        ),
        (
            "404 No\nx-error-code: RevisionNotFound\r\n",
            "revision `main` not found",
        ),
        (
            "404 No\nx-error-code: EntryNotFound\r\n",
            "file not found in revision `main`",
        ),
        ("404 No\nx-error-message: gone today\r\n", "gone today"),
        ("404 No", "hf auth login"),
        ("429 Slow\nretry-after: 9999\r\n", "429"),
    ] {
        let (server, cache) = (
            Server::start(Manner::Fails(status)),
            tempfile::tempdir().unwrap(),
        );
        let error = pull(&server.hub(cache.path())).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert_eq!(server.count(), 1, "{status}");
    }
    let (server, cache) = (
        Server::start(Manner::Fails("503 Busy")),
        tempfile::tempdir().unwrap(),
    );
    let error = pull(&server.hub(cache.path())).unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
    assert_eq!(server.count(), 6);
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let private = Server::start(Manner::Private);
    let mut hub = private.hub(cache.path());
    let error = pull(&hub).unwrap_err().to_string();
    assert!(
        error.contains("HF_TOKEN") && error.contains("hf auth login"),
        "{error}"
    );
    hub.token = Some("other".to_owned());
    let error = pull(&hub).unwrap_err().to_string();
    assert!(
        error.contains("expected an access token with access"),
        "{error}"
    );
    hub.token = Some("secret".to_owned());
    assert_whole(&pull(&hub).unwrap(), &small_model());
    let error = hub
        .pull("microsoft/other", "main", &mut |_| ())
        .unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    for id in ["tiny", "../x/y", "a/.."] {
        assert!(hub.pull(id, "main", &mut |_| ()).is_err(), "{id}");
    }
    hub.endpoint = "http://127.0.0.1:9".to_owned();
    let error = pull(&hub).unwrap_err().to_string();
    for named in ["http://127.0.0.1:9", "HF_ENDPOINT", "HF_HUB_OFFLINE"] {
        assert!(error.contains(named), "{error}");
    }
}

/// The hub for some environment variables and a home folder.
fn from(variables: &[(&str, &str)]) -> Hub {
    let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    let variables: BTreeMap<&str, &str> = variables
        .iter()
        .copied()
        .chain([(home, "/home/u")])
        .collect();
    Hub::from_variables(|name| variables.get(name).map(|value| (*value).to_owned()))
}

#[test]
fn the_cache_is_where_huggingface_hub_has_it() {
    for (variables, expected) in [
        (&[][..], "/home/u/.cache/huggingface/hub"),
        (&[("XDG_CACHE_HOME", "/x")][..], "/x/huggingface/hub"),
        (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")][..], "/h/hub"),
        (&[("HF_HOME", "~/models")][..], "/home/u/models/hub"),
        (&[("HF_HOME", "~")][..], "/home/u/hub"),
        (
            &[("HF_HOME", "~nobody-of-this-name/m")][..],
            "~nobody-of-this-name/m/hub",
        ),
        (
            &[
                ("HF_HOME", "$DISK/${USER_1}/$NONE/$"),
                ("DISK", "/d"),
                ("USER_1", "u"),
            ][..],
            "/d/u/$NONE/$/hub",
        ),
        (
            &[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "~/old")][..],
            "/home/u/old",
        ),
        (
            &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "~/new")][..],
            "/home/u/new",
        ),
        (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/h")][..], "/h/hub"),
    ] {
        assert_eq!(from(variables).cache, Path::new(expected), "{variables:?}");
    }
}

/// `%NAME%` and `~user` on Windows.
#[test]
#[cfg(windows)]
fn the_cache_on_windows_is_where_huggingface_hub_has_it() {
    let user = |name| [("HF_HOME", "~ann/m"), ("USERNAME", name)];
    for (variables, expected) in [
        (
            &[
                ("HF_HOME", r"%DISK%\m%NONE%\100%"),
                ("DISK", r"D:\models and more"),
            ][..],
            r"D:\models and more\m%NONE%\100%\hub",
        ),
        (&user("ann")[..], "/home/u/m/hub"),
        (&user("u")[..], "/home/ann/m/hub"),
        (&user("other")[..], "~ann/m/hub"),
        (&[("HF_HOME", r"~\models")][..], "/home/u/models/hub"),
    ] {
        assert_eq!(from(variables).cache, Path::new(expected), "{variables:?}");
    }
}

#[test]
fn settings_are_read_as_huggingface_hub_reads_them() {
    for (value, expected) in [
        ("1", true),
        ("ON", true),
        ("yes", true),
        ("True", true),
        ("0", false),
        ("", false),
        ("2", false),
        ("no", false),
    ] {
        for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            assert_eq!(from(&[(name, value)]).offline, expected, "{name}={value}");
        }
        assert_eq!(
            from(&[("HF_HUB_DISABLE_SYMLINKS", value)]).symlinks,
            !expected
        );
    }
    assert!(!from(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    assert!(from(&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    assert_eq!(from(&[]).endpoint, "https://huggingface.co");
    assert_eq!(
        from(&[("HF_ENDPOINT", "http://mirror")]).endpoint,
        "http://mirror"
    );
    let home = tempfile::tempdir().unwrap();
    let (path, other) = (home.path().join("token"), home.path().join("other"));
    fs::write(&path, "of the file\r\n").unwrap();
    fs::write(&other, "of another file\n").unwrap();
    let (folder, other) = (home.path().to_str().unwrap(), other.to_str().unwrap());
    for (variables, expected) in [
        (&[][..], None),
        (&[("HF_HOME", folder)][..], Some("of the file")),
        (
            &[("HF_HOME", folder), ("HF_TOKEN_PATH", other)][..],
            Some("of another file"),
        ),
        (
            &[("HF_HOME", folder), ("HUGGING_FACE_HUB_TOKEN", "old")][..],
            Some("old"),
        ),
        (
            &[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new\n")][..],
            Some("new"),
        ),
        (
            &[("HF_TOKEN", "new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")][..],
            None,
        ),
    ] {
        assert_eq!(from(variables).token.as_deref(), expected, "{variables:?}");
    }
}

#[test]
fn a_file_is_fetched_into_memory() {
    let files = demo_model();
    let server = Server::serve(Manner::CutOnce, files.clone());
    let cache = tempfile::tempdir().unwrap();
    let mut hub = server.hub(cache.path());
    for name in ["config.json", "model.safetensors"] {
        let path = format!("{ID}/resolve/{COMMIT}/{name}");
        let url = format!("{}/{path}", hub.endpoint);
        assert!(hub.fetch(&path).unwrap() == files[name], "{name}");
        assert!(hub.fetch(&url).unwrap() == files[name], "{name}");
    }
    let missing = hub.fetch(&format!("{ID}/resolve/{COMMIT}/none.jpg"));
    assert!(missing.unwrap_err().to_string().contains("not found"));
    hub.offline = true;
    let error = hub.fetch("image.jpg").unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
}
