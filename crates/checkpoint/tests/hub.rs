//! Fetching from a working and from a faulty hub.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spanwise_artifact::UserError;
use spanwise_checkpoint::hub::{Hub, Snapshot};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ID: &str = "someone/tiny";

/// A configuration that this version builds, and a vocabulary that fits it.
const CONFIG: &str = r#"{"model_type": "bert", "vocab_size": 6, "hidden_size": 4, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 4, "max_position_embeddings": 8}"#;
const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n1\n";

/// The fault of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// Drops the connection in the middle of the weights, this many times.
    Drops(usize),
    /// Sends other weights than it announced.
    Other,
    /// Answers every request with this status.
    Status(u16),
    /// Answers requests without this token with status 401.
    Token(&'static str),
    /// Names this as the commit.
    Commit(&'static str),
    /// Announces this as the digest of every file.
    Digest(&'static str),
}

/// What the server serves, and what was requested from it.
#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    fault: Fault,
    /// `method path`, with the range where one was requests for.
    requests: Vec<String>,
}

/// A hub on this machine. Large files are redirected, as on the real one.
struct Server {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start(fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let weights: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let files = [
            ("config.json", CONFIG.as_bytes().to_vec()),
            ("vocab.txt", VOCABULARY.as_bytes().to_vec()),
            ("pytorch_model.bin", b"never fetched".to_vec()),
            ("model.safetensors", weights),
            ("flax_model.msgpack", b"never fetched".to_vec()),
        ];
        let files = files.map(|(name, bytes)| (name.to_owned(), bytes)).into();
        let state = Arc::new(Mutex::new(State {
            files,
            fault,
            ..State::default()
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // A client may close the connection; the error does not matter here.
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        Ok(Self { endpoint, state })
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub::new(self.endpoint.clone(), cache.to_owned(), None, false)
    }

    fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// Requests since the last call.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

/// Answers the requests of one connection.
fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let range = headers.get("range").cloned();
        let mut state = state.lock().unwrap();
        let shown = range
            .as_deref()
            .map_or(String::new(), |range| format!(" {range}"));
        state.requests.push(format!("{path}{shown}"));
        let refused = match state.fault {
            Fault::Status(status) => Some(status),
            Fault::Token(token) => {
                let sent = headers.get("authorization").map(String::as_str);
                (sent != Some(&format!("Bearer {token}"))).then_some(401)
            }
            _ => None,
        };
        if let Some(status) = refused {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        if path.starts_with("/api/") {
            let names = state.files.keys().map(|name| json!({"rfilename": name}));
            let commit = match state.fault {
                Fault::Commit(commit) => commit,
                _ => COMMIT,
            };
            let body = json!({"sha": commit, "siblings": names.collect::<Vec<_>>()}).to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )?;
            continue;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some(bytes) = state.files.get(name).cloned() else {
            write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            )?;
            continue;
        };
        let large = name == "model.safetensors";
        let commit = format!("X-Repo-Commit: {COMMIT}\r\n");
        if large && !path.starts_with("/storage/") {
            let etag = format!("{:x}", Sha256::digest(&bytes));
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: http://{}/storage/{name}\r\nX-Linked-Etag: \"{etag}\"\r\n{commit}Content-Length: 0\r\n\r\n",
                stream.local_addr()?
            )?;
            continue;
        }
        let digest = Sha1::new()
            .chain_update(format!("blob {}\0", bytes.len()))
            .chain_update(&bytes)
            .finalize();
        let etag = match state.fault {
            Fault::Digest(digest) => digest.to_owned(),
            _ => format!("{digest:x}"),
        };
        if bytes.is_empty() {
            // It has no range.
            let status = if range.is_some() {
                "416 Range Not Satisfiable"
            } else {
                "200 OK"
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nETag: \"{etag}\"\r\n{commit}Content-Length: 0\r\n\r\n"
            )?;
            continue;
        }
        let range = range.unwrap_or_default();
        let (first, last) = range
            .trim_start_matches("bytes=")
            .split_once('-')
            .unwrap_or(("0", ""));
        let first: usize = first.parse().unwrap_or(0);
        let last = last.parse().unwrap_or(bytes.len() - 1);
        let mut body = bytes[first..=last].to_vec();
        if large && state.fault == Fault::Other {
            body.fill(7);
        }
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nETag: \"{etag}\"\r\n{commit}Content-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n\r\n",
            bytes.len(),
            body.len()
        )?;
        if let Fault::Drops(left @ 1..) = state.fault
            && large
            && body.len() > 1000
        {
            state.fault = Fault::Drops(left - 1);
            stream.write_all(&body[..body.len() / 2])?;
            return stream.shutdown(std::net::Shutdown::Both);
        }
        stream.write_all(&body)?;
    }
}

/// For checkpoints whose small files are not looked at.
#[expect(clippy::unnecessary_wraps, reason = "a check may fail")]
fn unchecked(_: &Path) -> Result<()> {
    Ok(())
}

fn check_snapshot(snapshot: &Snapshot, server: &Server) -> Result<()> {
    assert_eq!(snapshot.commit, COMMIT);
    let mut names: Vec<String> = fs_err::read_dir(&snapshot.directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "vocab.txt"]);
    let state = server.state.lock().unwrap();
    for name in names {
        assert!(
            fs_err::read(snapshot.directory.join(&name))? == state.files[&name],
            "{name}"
        );
    }
    Ok(())
}

fn refused(result: Result<Snapshot>) -> UserError {
    let error = result.err().expect("must be refused");
    let error = error.downcast_ref::<UserError>();
    error.expect("a user error").clone()
}

#[test]
fn fetches_each_file_once() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let cache = tempfile::tempdir()?;
    check_snapshot(
        &server.hub(cache.path()).fetch(ID, "main", unchecked)?,
        &server,
    )?;
    let requests = server.requests();
    assert!(
        requests.contains(&format!("/api/models/{ID}/revision/main")),
        "{requests:?}"
    );
    assert!(
        !requests
            .iter()
            .any(|path| path.contains("flax") || path.contains("pytorch")),
        "{requests:?}"
    );

    check_snapshot(
        &server.hub(cache.path()).fetch(ID, "main", unchecked)?,
        &server,
    )?;
    assert_eq!(
        server.requests().len(),
        1,
        "only the commit is requested again"
    );

    let offline = Hub::new(
        "http://127.0.0.1:1".to_owned(),
        cache.path().to_owned(),
        None,
        true,
    );
    check_snapshot(&offline.fetch(ID, "main", unchecked)?, &server)?;
    check_snapshot(&offline.fetch(ID, COMMIT, unchecked)?, &server)?;
    let error = refused(offline.fetch(ID, "v2", unchecked));
    assert!(error.message.contains("HF_HUB_OFFLINE is set"), "{error}");
    Ok(())
}

#[test]
fn damaged_files_of_the_cache_are_not_read_offline() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let offline = |cache: &Path| Hub::new(server.endpoint.clone(), cache.to_owned(), None, true);
    for file in ["config.json", "vocab.txt", "model.safetensors"] {
        let cache = tempfile::tempdir()?;
        let snapshot = server.hub(cache.path()).fetch(ID, "main", unchecked)?;
        let blob = snapshot.directory.join(file).canonicalize()?;
        let mut bytes = fs_err::read(&blob)?;
        bytes[3] ^= 1;
        fs_err::write(blob, bytes)?;
        let error = refused(offline(cache.path()).fetch(ID, "main", unchecked));
        let expected = format!("{file} of {ID} is damaged in the cache");
        assert!(error.message.starts_with(&expected), "{error}");
    }
    Ok(())
}

#[test]
fn an_empty_file_is_fetched() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let empty = ("merges.txt".to_owned(), Vec::new());
    server.state.lock().unwrap().files.extend([empty]);
    let cache = tempfile::tempdir()?;
    let snapshot = server.hub(cache.path()).fetch(ID, "main", unchecked)?;
    let fetched = snapshot.directory.join("merges.txt");
    assert_eq!(fs_err::metadata(fetched)?.len(), 0);
    Ok(())
}

#[test]
fn weights_that_are_not_offered_are_missed_by_a_check() -> Result<()> {
    let server = Server::start(Fault::None)?;
    server
        .state
        .lock()
        .unwrap()
        .files
        .retain(|name, _| ["config.json", "vocab.txt"].contains(&name.as_str()));
    let cache = tempfile::tempdir()?;
    let error = server
        .hub(cache.path())
        .check(ID, "main", unchecked)
        .unwrap_err();
    let expected = format!("{ID} has no model.safetensors or pytorch_model.bin");
    assert!(error.to_string().starts_with(&expected), "{error}");
    Ok(())
}

#[test]
fn a_check_fetches_no_weights() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let cache = tempfile::tempdir()?;
    let mut seen = 0;
    server.hub(cache.path()).check(ID, "main", |directory| {
        seen = fs_err::read_dir(directory)?.count();
        Ok(())
    })?;
    assert_eq!(seen, 2, "config.json and vocab.txt");
    let requests = server.requests();
    let weights = requests.iter().any(|path| path.contains("safetensors"));
    assert!(!weights, "{requests:?}");
    Ok(())
}

#[test]
fn resumes_after_dropped_connection() -> Result<()> {
    let server = Server::start(Fault::Drops(2))?;
    let cache = tempfile::tempdir()?;
    check_snapshot(
        &server.hub(cache.path()).fetch(ID, "main", unchecked)?,
        &server,
    )?;
    let requests = server.requests();
    let resumed = requests.iter().filter(|path| {
        path.starts_with("/storage/model.safetensors bytes=") && !path.contains("=0-")
    });
    assert_eq!(resumed.count(), 2, "{requests:?}");
    Ok(())
}

#[test]
fn resumes_after_interrupted_run() -> Result<()> {
    let server = Server::start(Fault::Drops(usize::MAX))?;
    let cache = tempfile::tempdir()?;
    let error = refused(server.hub(cache.path()).fetch(ID, "main", unchecked));
    assert!(
        error
            .message
            .contains("fetching model.safetensors of someone/tiny failed"),
        "{error}"
    );
    assert!(
        !cache
            .path()
            .join("models--someone--tiny/snapshots")
            .join(COMMIT)
            .join("model.safetensors")
            .exists()
    );
    server.requests();
    server.set(Fault::None);
    check_snapshot(
        &server.hub(cache.path()).fetch(ID, "main", unchecked)?,
        &server,
    )?;
    let requests = server.requests();
    assert!(
        requests.iter().any(|path| path.starts_with("/storage/")
            && path.ends_with('-')
            && !path.ends_with("=0-")),
        "{requests:?}"
    );
    Ok(())
}

#[test]
fn never_uses_a_damaged_file() -> Result<()> {
    let server = Server::start(Fault::Other)?;
    let cache = tempfile::tempdir()?;
    let error = refused(server.hub(cache.path()).fetch(ID, "main", unchecked));
    assert!(
        error
            .message
            .contains("model.safetensors of someone/tiny arrived damaged"),
        "{error}"
    );

    server.set(Fault::None);
    let snapshot = server.hub(cache.path()).fetch(ID, "main", unchecked)?;
    check_snapshot(&snapshot, &server)?;

    // The same for a file that is damaged later, in the cache.
    fs_err::write(snapshot.directory.join("model.safetensors"), b"short")?;
    check_snapshot(
        &server.hub(cache.path()).fetch(ID, "main", unchecked)?,
        &server,
    )
}

#[test]
fn errors_hint_at_the_remedy() -> Result<()> {
    let cache = tempfile::tempdir()?;
    for (status, message, hint) in [
        (401, "does not let you read someone/tiny", "HF_TOKEN"),
        (
            404,
            "has no someone/tiny at revision \"main\"",
            "checkpoint.source",
        ),
        (503, "answers 503", "HF_ENDPOINT"),
    ] {
        let server = Server::start(Fault::Status(status))?;
        let error = refused(server.hub(cache.path()).fetch(ID, "main", unchecked));
        assert!(error.message.contains(message), "{status}: {error}");
        assert!(
            error
                .hint
                .as_deref()
                .is_some_and(|text| text.contains(hint)),
            "{status}: {error:?}"
        );
    }
    let nowhere = Hub::new(
        "http://127.0.0.1:1".to_owned(),
        cache.path().to_owned(),
        None,
        false,
    );
    let error = refused(nowhere.fetch(ID, "main", unchecked));
    assert!(
        error.message.contains("cannot reach http://127.0.0.1:1"),
        "{error}"
    );
    Ok(())
}

/// Weights are not fetched to look at texts in tokens.
#[test]
fn without_weights_the_small_files_are_fetched() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let home = tempfile::tempdir()?;
    let job = home.path().join("job.json");
    let settings = json!({"source": ID, "revision": "main", "tokenizer_only": true});
    let output = home.path().join("artifacts/checkpoint/one");
    let text = json!({"stage": "checkpoint", "settings": settings, "inputs": {}, "output": output});
    fs_err::write(&job, text.to_string())?;
    let ran = Command::new(env!("CARGO_BIN_EXE_spanwise-checkpoint"))
        .arg("--job")
        .arg(&job)
        .env("HF_ENDPOINT", &server.endpoint)
        .env("HF_HOME", home.path())
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("TRANSFORMERS_OFFLINE")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .output()?;
    let messages = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{messages}");
    let requests = server.requests();
    let of_weights = |request: &&String| request.contains("model");
    let weights: Vec<_> = requests
        .iter()
        .filter(|request| !request.starts_with("/api/"))
        .filter(of_weights)
        .collect();
    assert!(weights.is_empty(), "{weights:?}");
    assert!(output.join("tokenizer.json").exists());
    assert!(!output.join("model.safetensors").exists());
    Ok(())
}

/// Runs the stage program with the environment variables that it reads.
#[test]
fn reads_environment_variables() -> Result<()> {
    let server = Server::start(Fault::Token("secret"))?;
    let home = tempfile::tempdir()?;
    let job = home.path().join("job.json");
    let settings = json!({"source": ID, "revision": "main"});
    let output = home.path().join("artifacts/checkpoint/one");
    fs_err::write(
        &job,
        json!({"stage": "checkpoint", "settings": settings, "inputs": {}, "output": output})
            .to_string(),
    )?;
    let run = |token: &str, offline: &str, cache: &str| {
        Command::new(env!("CARGO_BIN_EXE_spanwise-checkpoint"))
            .arg("--job")
            .arg(&job)
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HOME", home.path())
            .env("HF_HOME", cache)
            .env("HF_TOKEN", token)
            .env("HF_HUB_OFFLINE", offline)
            .env_remove("HF_HUB_CACHE")
            .env_remove("HUGGINGFACE_HUB_CACHE")
            .env_remove("TRANSFORMERS_OFFLINE")
            .output()
    };
    let check = |token, offline, cache, expected: &str| -> Result<()> {
        let output = run(token, offline, cache)?;
        let messages = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{messages}");
        assert!(messages.contains(expected), "{messages}");
        Ok(())
    };
    check("secret", "1", "~/hf", "HF_HUB_OFFLINE is set")?;
    check("wrong", "", "~/hf", "does not let you read someone/tiny")?;
    // With the right token every file is fetched, and only then the weights prove to be none.
    check("secret", "0", "~/hf", "model.safetensors is damaged")?;
    let snapshot = home
        .path()
        .join("hf/hub/models--someone--tiny/snapshots")
        .join(COMMIT);
    assert!(snapshot.join("model.safetensors").exists());
    // A cache that cannot be written.
    let file = home.path().join("file");
    fs_err::write(&file, "")?;
    let expected = "cannot keep config.json of someone/tiny";
    check("secret", "0", &file.to_string_lossy(), expected)
}

#[test]
fn small_files_are_checked_before_the_weights_are_fetched() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let cache = tempfile::tempdir()?;
    let check = |directory: &Path| -> Result<()> {
        assert!(directory.join("config.json").exists());
        assert!(directory.join("vocab.txt").exists());
        bail!(UserError::new("not supported"))
    };
    let error = refused(server.hub(cache.path()).fetch(ID, "main", check));
    assert_eq!(error.message, "not supported");
    let requests = server.requests();
    let weights = |path: &String| path.contains("model.safetensors");
    assert!(!requests.iter().any(weights), "{requests:?}");
    Ok(())
}

#[test]
fn waits_for_another_download_of_the_same_file() -> Result<()> {
    let server = Server::start(Fault::None)?;
    let cache = tempfile::tempdir()?;
    // Another process holds the lock that Python takes too.
    let bytes = server.state.lock().unwrap().files["model.safetensors"].clone();
    let digest = format!("{:x}", Sha256::digest(&bytes));
    let locks = cache.path().join(".locks/models--someone--tiny");
    fs_err::create_dir_all(&locks)?;
    let lock = fs_err::File::create(locks.join(format!("{digest}.lock")))?;
    lock.lock()?;
    std::thread::scope(|scope| {
        let hub = server.hub(cache.path());
        let fetch = scope.spawn(move || hub.fetch(ID, "main", unchecked));
        // It has reached the weights, and does not fetch them.
        let announced =
            |path: &String| path.contains("resolve") && path.contains("model.safetensors");
        let mut requests = Vec::new();
        while !requests.iter().any(announced) {
            requests.extend(server.requests());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!fetch.is_finished());
        // What the other one has fetched is used.
        let blobs = cache.path().join("models--someone--tiny/blobs");
        fs_err::write(blobs.join(&digest), &bytes)?;
        lock.unlock()?;
        check_snapshot(&fetch.join().expect("no panic")?, &server)?;
        requests.extend(server.requests());
        assert!(
            !requests.iter().any(|path| path.starts_with("/storage/")),
            "{requests:?}"
        );
        Ok(())
    })
}

#[test]
fn names_of_files_in_the_cache_are_not_taken_from_the_hub_as_they_are() -> Result<()> {
    let cache = tempfile::tempdir()?;
    for (fault, expected) in [
        (Fault::Commit("../../../escape"), "is no commit"),
        (Fault::Digest("../../../escape"), "is no digest"),
        (Fault::Digest(""), "is no digest"),
    ] {
        let server = Server::start(fault)?;
        let error = refused(server.hub(cache.path()).fetch(ID, "main", unchecked));
        assert!(error.message.contains(expected), "{error}");
    }
    Ok(())
}

/// A company's proxy: its certificate comes from an authority that only this machine knows.
#[test]
fn trusts_the_authorities_that_the_environment_names() -> Result<()> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate()?)?;
    let key = rcgen::KeyPair::generate()?;
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(
        vec![certificate.der().clone()],
        rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    )?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("https://localhost:{}", listener.local_addr()?.port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Ok(mut connection) = rustls::ServerConnection::new(config.clone()) else {
                continue;
            };
            let mut stream = rustls::Stream::new(&mut connection, &mut stream);
            let mut request = [0; 4096];
            // A client that does not trust the authority hangs up.
            if std::io::Read::read(&mut stream, &mut request).is_ok() {
                let answer = b"HTTP/1.1 418 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });

    let home = tempfile::tempdir()?;
    let job = home.path().join("job.json");
    let settings = json!({"source": ID, "revision": "main"});
    let output = home.path().join("artifacts/checkpoint/one");
    let job_text =
        json!({"stage": "checkpoint", "settings": settings, "inputs": {}, "output": output});
    fs_err::write(&job, job_text.to_string())?;
    let file = home.path().join("authority.pem");
    fs_err::write(&file, authority.pem())?;
    let directory = home.path().join("authorities");
    fs_err::create_dir(&directory)?;
    fs_err::write(directory.join("12345678.0"), authority.pem())?;
    let empty = home.path().join("empty.pem");
    fs_err::write(&empty, "")?;

    let variables = [
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ];
    let check = |name: &str, value: &Path, expected: &str| -> Result<()> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_spanwise-checkpoint"));
        for variable in variables {
            program.env_remove(variable);
        }
        let output = program
            .arg("--job")
            .arg(&job)
            .env("HF_ENDPOINT", &endpoint)
            .env("HF_HOME", home.path())
            .env("NO_PROXY", "localhost")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("TRANSFORMERS_OFFLINE")
            .env(name, value)
            .output()?;
        let messages = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {messages}");
        assert!(messages.contains(expected), "{name}: {messages}");
        Ok(())
    };
    // It is reached, and answers.
    let reached = "answers 418 for someone/tiny";
    check("SSL_CERT_FILE", &file, reached)?;
    check("SSL_CERT_DIR", &directory, reached)?;
    check("REQUESTS_CA_BUNDLE", &file, reached)?;
    check("REQUESTS_CA_BUNDLE", &directory, reached)?;
    check("CURL_CA_BUNDLE", &file, reached)?;
    check(
        "UNRELATED",
        &file,
        "hint: behind a company's proxy, name the file of its",
    )?;
    check("SSL_CERT_FILE", &empty, "in which there is no certificate")?;
    check(
        "CURL_CA_BUNDLE",
        Path::new("/none"),
        "in which there is no certificate",
    )
}
