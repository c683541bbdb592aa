//! One file of a commit into the cache: resumed, checked, and fetched by one process at a time.
//!
//! The cache has the layout of Python's `huggingface_hub`, and its locks: `blobs/<digest>` holds a
//! file's bytes, `snapshots/<commit>/<name>` links to them.

use std::fs::TryLockError;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::{File, OpenOptions};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spanwise_program::progress::Progress;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

/// How often a download resumes after a dropped connection before it fails.
const RETRIES: u32 = 3;

/// The wait before a download resumes, times the number of failures.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// How many redirects within one host lead to a file.
const MOST_REDIRECTS: usize = 10;

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The connection, or the hub's answer.
    #[error(transparent)]
    Request(#[from] ureq::Error),
    /// The connection broke while bytes arrived.
    #[error("the connection broke: {0}")]
    Connection(io::Error),
    /// The cache cannot be read or written.
    #[error(transparent)]
    Cache(#[from] io::Error),
    /// The answer lacks what a hub sends.
    #[error("it does not answer as a model hub does: {0}")]
    NoHub(&'static str),
    /// The bytes are not those that were announced.
    #[error("its digest is wrong")]
    Damaged,
}

/// Where the files of one checkpoint are kept.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// The cache.
    cache: PathBuf,
    /// The checkpoint's folder in it.
    name: String,
}

impl Folder {
    /// Names the folder of checkpoint `id` in the cache `cache`.
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        Self {
            cache: cache.to_owned(),
            name: format!("models--{}", id.replace('/', "--")),
        }
    }

    /// The files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.cache.join(&self.name).join("snapshots").join(commit)
    }

    /// Keeps the commit of a revision, so that it is found by the revision's name.
    pub(super) fn remember(&self, revision: &str, commit: &str) -> io::Result<()> {
        let reference = self.reference(revision);
        create_parent(&reference)?;
        fs_err::write(reference, commit)
    }

    /// The file that holds the commit of a revision.
    pub(super) fn reference(&self, revision: &str) -> PathBuf {
        self.cache.join(&self.name).join("refs").join(revision)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.cache.join(&self.name).join("blobs").join(digest)
    }

    fn lock(&self, digest: &str) -> PathBuf {
        let file = format!("{digest}.lock");
        self.cache.join(".locks").join(&self.name).join(file)
    }
}

/// Fetches files of one checkpoint.
pub(super) struct Download<'a> {
    /// Follows redirects.
    pub(super) agent: &'a Agent,
    /// Follows none.
    pub(super) direct: &'a Agent,
    /// Sent to the hub, if there is one.
    pub(super) token: Option<&'a str>,
    /// Where the files are kept.
    pub(super) folder: &'a Folder,
}

impl Download<'_> {
    /// Returns the path of a file, from the cache or from `url`, if its digest is right.
    pub(super) fn get(&self, url: &str, commit: &str, file: &str) -> Result<PathBuf, FileError> {
        let path = self.folder.snapshot(commit).join(file);
        if path.exists() && matches_its_name(&path)? {
            return Ok(path);
        }
        let digest = self.digest(url)?;
        let blob = self.folder.blob(&digest);
        create_parent(&blob)?;
        let _lock = lock(&self.folder.lock(&digest), file);
        // Another process may have fetched it again meanwhile.
        if path.exists() && !matches_its_name(&path)? {
            tracing::warn!("{file} in the cache is damaged; fetching it again");
            remove(&path)?;
        }
        if !blob.exists() || !matches_digest(&blob, &digest)? {
            tracing::info!("fetching {file}");
            let part = blob.with_extension("part");
            self.fetch(url, &part)?;
            if !matches_digest(&part, &digest)? {
                fs_err::remove_file(&part)?;
                return Err(FileError::Damaged);
            }
            fs_err::rename(&part, &blob)?;
        }
        link(&blob, &path)?;
        Ok(path)
    }

    /// Returns the digest that the hub announces for a file.
    fn digest(&self, url: &str) -> Result<String, FileError> {
        let mut url = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let request = self.request(self.direct, &url, 0);
            let response = match request.header("Range", "bytes=0-0").call() {
                // An empty file has no first byte.
                Err(ureq::Error::StatusCode(416)) => self.request(self.direct, &url, 0).call()?,
                response => response?,
            };
            let location = header(response.headers(), "location").filter(|to| to.starts_with('/'));
            if let (true, Some(to)) = (response.status().is_redirection(), location) {
                // A renamed checkpoint: the same host has it under another path.
                let host = url
                    .match_indices('/')
                    .nth(2)
                    .map_or(url.len(), |(end, _)| end);
                url = format!("{}{to}", &url[..host]);
                continue;
            }
            let tag = header(response.headers(), "x-linked-etag")
                .or_else(|| header(response.headers(), "etag"))
                .ok_or(FileError::NoHub("it announces no digest"))?;
            let digest = tag.trim_start_matches("W/").trim_matches('"');
            // It names a file in the cache.
            let is_name = digest
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-');
            if digest.is_empty() || digest.len() > 128 || !is_name {
                return Err(FileError::NoHub("what it announces is no digest"));
            }
            return Ok(digest.to_owned());
        }
        Err(FileError::NoHub("its redirects do not end"))
    }

    fn request(
        &self,
        agent: &Agent,
        url: &str,
        start: u64,
    ) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
        let mut request = agent.get(url);
        if let Some(token) = self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-"));
        }
        request
    }

    /// Fetches the bytes behind `url` into `part`, from where an earlier attempt stopped.
    fn fetch(&self, url: &str, part: &Path) -> Result<(), FileError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(part)?;
        let mut failures = 0;
        loop {
            match self.fetch_rest(url, &mut file) {
                Err(error) if failures < RETRIES && is_temporary(&error) => {
                    failures += 1;
                    std::thread::sleep(RETRY_AFTER * failures);
                }
                Ok(()) => {
                    // What has a name in the cache is on the disk.
                    file.sync_all()?;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn fetch_rest(&self, url: &str, file: &mut File) -> Result<(), FileError> {
        let start = file.seek(SeekFrom::End(0))?;
        let response = match self.request(self.agent, url, start).call() {
            // What is there is as long as the file, or longer: its digest decides.
            Err(ureq::Error::StatusCode(416)) => return self.start_anew(url, file),
            response => response?,
        };
        let (start, total) = extent(&response, start);
        let total = total.ok_or(FileError::NoHub("it does not say how long a file is"))?;
        file.set_len(start)?;
        file.seek(SeekFrom::Start(start))?;
        copy(response.into_body(), file, start, total)
    }

    fn start_anew(&self, url: &str, file: &mut File) -> Result<(), FileError> {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        let response = self.request(self.agent, url, 0).call()?;
        let (_, total) = extent(&response, 0);
        let total = total.ok_or(FileError::NoHub("it does not say how long a file is"))?;
        copy(response.into_body(), file, 0, total)
    }
}

/// Returns where the bytes of a response start in the file, of which `start` were asked for, and
/// how long the file is.
fn extent(response: &Response<Body>, start: u64) -> (u64, Option<u64>) {
    let range = header(response.headers(), "content-range");
    if let (206, Some(range)) = (response.status().as_u16(), range) {
        let range = range.trim_start_matches("bytes ");
        let begins = range.starts_with(&format!("{start}-"));
        let total = range
            .rsplit('/')
            .next()
            .and_then(|total| total.parse().ok());
        return if begins {
            (start, total)
        } else {
            (start, None)
        };
    }
    // The server does not resume: it sends the file from its start. An empty one has no body.
    let is_empty = header(response.headers(), "content-length") == Some("0");
    let length = response.body().content_length();
    (0, length.or(is_empty.then_some(0)))
}

/// Writes a body to `file`, `total` bytes with the `start` that it holds.
fn copy(body: Body, file: &mut File, start: u64, total: u64) -> Result<(), FileError> {
    let mut progress = Progress::bytes("fetch", total as usize).behind(start as usize);
    let mut reader = body.into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    let mut position = start;
    loop {
        let count = reader.read(&mut buffer).map_err(FileError::Connection)?;
        if count == 0 {
            break;
        }
        position += count as u64;
        if position > total {
            return Err(FileError::NoHub("it sends more than it announced"));
        }
        file.write_all(&buffer[..count])?;
        progress.advance(count);
    }
    if position < total {
        let early = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended early");
        return Err(FileError::Connection(early));
    }
    Ok(())
}

/// Whether trying again may help.
fn is_temporary(error: &FileError) -> bool {
    match error {
        FileError::Connection(_) => true,
        FileError::Request(error) => match error {
            ureq::Error::StatusCode(status) => *status == 429 || *status >= 500,
            ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
            _ => false,
        },
        _ => false,
    }
}

/// Waits until no other process fetches the same file, and says so. File systems without locks have
/// none: two processes then write the same bytes.
fn lock(path: &Path, file: &str) -> Option<File> {
    let open = || {
        create_parent(path)?;
        OpenOptions::new().create(true).append(true).open(path)
    };
    let lock = open().ok()?;
    match lock.try_lock() {
        Ok(()) => Some(lock),
        Err(TryLockError::WouldBlock) => {
            tracing::info!("waiting for another download of {file}");
            lock.lock().ok()?;
            Some(lock)
        }
        Err(TryLockError::Error(_)) => None,
    }
}

/// Links `path` to `blob`, relative so that the cache can be moved. Where the file system has no
/// links, the bytes themselves take its place.
fn link(blob: &Path, path: &Path) -> io::Result<()> {
    create_parent(path)?;
    let (Some(commit), Some(name)) = (path.parent(), blob.file_name()) else {
        return Ok(());
    };
    let to = Path::new("../../blobs").join(name);
    debug_assert!(commit.join("../../blobs").exists());
    match symlink(&to, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs_err::rename(blob, path),
        Ok(()) => Ok(()),
    }
}

#[cfg(unix)]
fn symlink(to: &Path, path: &Path) -> io::Result<()> {
    fs_err::os::unix::fs::symlink(to, path)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs_err::create_dir_all)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a cached file has the digest that its blob is named by.
pub(super) fn matches_its_name(path: &Path) -> io::Result<bool> {
    let blob = path.canonicalize()?;
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    matches_digest(&blob, &name)
}

/// Whether a file has a digest: SHA-256 for large files, git's blob digest for small ones. True for
/// other names, which are no digests, as on systems without links.
fn matches_digest(path: &Path, digest: &str) -> io::Result<bool> {
    if !digest.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut file = File::open(path)?;
    let found = match digest.len() {
        64 => {
            let mut hasher = Sha256::new();
            io::copy(&mut file, &mut hasher)?;
            format!("{:x}", hasher.finalize())
        }
        40 => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.metadata()?.len()));
            io::copy(&mut file, &mut hasher)?;
            format!("{:x}", hasher.finalize())
        }
        _ => return Ok(true),
    };
    Ok(found == digest)
}

/// Removes a cached file and the blob behind it.
fn remove(path: &Path) -> io::Result<()> {
    let blob = path.canonicalize()?;
    fs_err::remove_file(path)?;
    if blob.exists() {
        fs_err::remove_file(blob)?;
    }
    Ok(())
}
