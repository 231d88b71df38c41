//! Pulling from a hub that runs here: whole, cut off, resumed, redirected, wrong.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use florence2::{Florence2, Hub};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "microsoft/tiny";

/// How the server treats the weights.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    /// Answers every range with the whole file.
    WithoutRanges,
    /// Closes the connection in the middle, the first time.
    CutOnce,
    /// Sends other bytes than it announced.
    Corrupt,
    /// Names another server, as the hub does for large files.
    Redirect,
    /// Needs a token.
    Private,
}

/// A request as it came: path, and headers in lower case.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
}

struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own) = (Arc::clone(&requests), endpoint.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&mut BufReader::new(&stream));
                let first = {
                    let mut seen = seen.lock().unwrap();
                    let first = seen.iter().all(|old: &Request| old.path != request.path);
                    seen.push(request.clone());
                    first
                };
                let answer = answer(&request, manner, first, &own);
                // A client that has enough may close first.
                let _ = stream.write_all(&answer);
            }
        });
        Self { endpoint, requests }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            endpoint: self.endpoint.clone(),
            cache: cache.to_owned(),
            token: None,
        }
    }

    /// The ranges asked of a file.
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

fn answer(request: &Request, manner: Manner, first: bool, endpoint: &str) -> Vec<u8> {
    let token = request.headers.get("authorization");
    if manner == Manner::Private && token.is_none_or(|token| token != "Bearer secret") {
        return response("401 Unauthorized", "", b"");
    }
    if request.path == format!("/api/models/{ID}/revision/main?blobs=true") {
        return response("200 OK", "", model_info().as_bytes());
    }
    let resolved = request
        .path
        .strip_prefix(&format!("/{ID}/resolve/{COMMIT}/"));
    let Some(name) = resolved.or(request.path.strip_prefix("/storage/")) else {
        return response("404 Not Found", "", b"");
    };
    let mut content = std::fs::read(model().join(name)).unwrap();
    let weights = Path::new(name)
        .extension()
        .is_some_and(|kind| kind == "safetensors");
    if manner == Manner::Redirect && weights && resolved.is_some() {
        let elsewhere = endpoint.replace("127.0.0.1", "localhost");
        let location = format!("location: {elsewhere}/storage/{name}\r\n");
        return response("302 Found", &location, b"");
    }
    if manner == Manner::Corrupt && weights {
        let last = content.len() - 1;
        content[last] ^= 1;
    }
    let mut bytes = match request.headers.get("range") {
        Some(range) if manner != Manner::WithoutRanges => {
            let range = range.strip_prefix("bytes=").unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            response("206 Partial Content", "", &content[from..=to])
        }
        _ => response("200 OK", "", &content),
    };
    if manner == Manner::CutOnce && weights && first {
        bytes.truncate(bytes.len() / 2);
    }
    bytes
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model")
}

fn model_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(model()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

/// The hub's answer for the demo model, with a file that must not be written.
fn model_info() -> String {
    let mut siblings = vec![serde_json::json!({
        "rfilename": "../../escaped.json", "size": 1, "blobId": COMMIT,
    })];
    for path in model_files() {
        let content = std::fs::read(&path).unwrap();
        let mut file = serde_json::json!({
            "rfilename": path.file_name().unwrap().to_str().unwrap(),
            "size": content.len(),
            "blobId": hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(&content).finalize()),
        });
        if path.extension().is_some_and(|kind| kind == "safetensors") {
            file["lfs"] = serde_json::json!({ "sha256": hex(&Sha256::digest(&content)) });
        }
        siblings.push(file);
    }
    serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string()
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

/// Where the weights are while they come.
fn incomplete(cache: &Path) -> PathBuf {
    let weights = std::fs::read(model().join("model.safetensors")).unwrap();
    let blobs = cache.join("models--microsoft--tiny/blobs");
    blobs
        .join(hex(&Sha256::digest(&weights)))
        .with_extension("incomplete")
}

/// Every file that a model is made of, and no other.
fn assert_whole(folder: &Path) {
    assert!(!folder.join("README.md").exists());
    let read = |path: &PathBuf| !path.ends_with("README.md");
    for path in model_files().into_iter().filter(read) {
        let pulled = std::fs::read(folder.join(path.file_name().unwrap())).unwrap();
        assert_eq!(pulled, std::fs::read(&path).unwrap(), "{}", path.display());
    }
}

#[test]
fn a_model_is_pulled_once_and_loads() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let hub = server.hub(cache.path());
    assert_eq!(hub.cached(ID, "main"), None);
    let mut whole = false;
    let folder = hub
        .pull(ID, "main", &mut |download| {
            whole |= download.received == download.size;
        })
        .unwrap();
    assert!(whole);
    assert_whole(&folder);
    assert_eq!(hub.cached(ID, "main"), Some(folder.clone()));
    assert!(!cache.path().join("escaped.json").exists());
    Florence2::load(&folder).unwrap();
    let before = server.requests.lock().unwrap().len();
    pull(&hub).unwrap();
    assert_eq!(
        server.requests.lock().unwrap().len(),
        before + 1,
        "files came again"
    );
}

#[test]
fn what_was_cut_off_goes_on() {
    let (server, cache) = (Server::start(Manner::Plain), tempfile::tempdir().unwrap());
    let path = incomplete(cache.path());
    let weights = std::fs::read(model().join("model.safetensors")).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, &weights[..1000]).unwrap();
    assert_whole(&pull(&server.hub(cache.path())).unwrap());
    let range = format!("bytes=1000-{}", weights.len() - 1);
    assert_eq!(server.ranges("model.safetensors"), [range]);
}

#[test]
fn servers_may_cut_ignore_ranges_and_redirect() {
    for manner in [Manner::CutOnce, Manner::WithoutRanges, Manner::Redirect] {
        let (server, cache) = (Server::start(manner), tempfile::tempdir().unwrap());
        let path = incomplete(cache.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [0; 0]).unwrap();
        let hub = Hub {
            token: Some("secret".to_owned()),
            ..server.hub(cache.path())
        };
        assert_whole(&pull(&hub).unwrap());
        for request in server.requests.lock().unwrap().iter() {
            let told = request.headers.contains_key("authorization");
            assert_eq!(told, !request.path.starts_with("/storage/"), "{request:?}");
        }
    }
}

#[test]
fn wrong_content_is_dropped_and_named() {
    let cache = tempfile::tempdir().unwrap();
    let corrupt = Server::start(Manner::Corrupt);
    let error = pull(&corrupt.hub(cache.path())).unwrap_err().to_string();
    assert!(
        error.contains("microsoft/tiny/model.safetensors"),
        "{error}"
    );
    assert!(error.contains("checksum"), "{error}");
    assert_eq!(corrupt.hub(cache.path()).cached(ID, "main"), None);
    assert!(!incomplete(cache.path()).exists());
    let sound = Server::start(Manner::Plain);
    assert_whole(&pull(&sound.hub(cache.path())).unwrap());
}

#[test]
fn what_cannot_be_had_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let private = Server::start(Manner::Private);
    let hub = private.hub(cache.path());
    let error = pull(&hub).unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN"), "{error}");
    let hub = Hub {
        token: Some("secret".to_owned()),
        ..hub
    };
    assert_whole(&pull(&hub).unwrap());
    let error = hub
        .pull("microsoft/other", "main", &mut |_| ())
        .unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    for (id, revision) in [
        ("tiny", "main"),
        ("../x/y", "main"),
        ("a/..", "main"),
        (ID, "a/../b"),
    ] {
        assert!(
            hub.pull(id, revision, &mut |_| ()).is_err(),
            "{id} {revision}"
        );
    }
    let nobody = Hub {
        endpoint: "http://127.0.0.1:9".to_owned(),
        ..hub
    };
    assert!(pull(&nobody).is_err());
}
