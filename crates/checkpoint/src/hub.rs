//! Checkpoints on the model hub, through its standard cache.
//!
//! The revision is resolved to a commit first, and every file comes from that commit. An
//! interrupted download resumes. A file is used only if its digest is the one that the hub
//! announced, under which the cache keeps it. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`
//! and `HF_HUB_OFFLINE` have the same meaning as for Python's `huggingface_hub`.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spanwise_artifact::UserError;
use spanwise_program::progress::Progress;

use crate::{directory, weights};

/// How often a download resumes after a dropped connection before it fails.
const RETRIES: usize = 3;

/// The hint for downloads that failed on the way.
const RESUMES: &str = "run it again: the download resumes where it stopped";

/// A checkpoint in the local cache.
pub struct Snapshot {
    /// Its directory, which holds only files of this commit.
    pub directory: PathBuf,
    /// The commit that the revision named.
    pub commit: String,
}

/// A model hub and the cache that its files are kept in.
pub struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    /// Reads the environment variables named above.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match variable("HF_HUB_CACHE") {
            Some(directory) => Cache::new(directory.into()),
            None => Cache::from_env(),
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: variable("HF_TOKEN").or_else(|| cache.token()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(|value| {
                !["0", "false", "no", "off"].contains(&&*value.to_lowercase())
            }),
            cache,
        }
    }

    /// Names the hub at the address `endpoint` and its cache directory `cache`. If `offline`, only
    /// the cache is used.
    pub fn new(endpoint: String, cache: PathBuf, token: Option<String>, offline: bool) -> Self {
        Self {
            endpoint,
            cache: Cache::new(cache),
            token,
            offline,
        }
    }

    /// Fetches the files of checkpoint `id` at `revision` into the cache, unless they are there.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if the hub does not have or serve them.
    pub fn fetch(&self, id: &str, revision: &str) -> Result<Snapshot> {
        if self.offline {
            return self.cached(id, revision);
        }
        let named = repository(id, revision);
        let api = ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .build()?;
        let info = api
            .repo(named.clone())
            .info()
            .map_err(|error| self.explain(error, id, revision))?;
        tracing::info!("{id} at commit {}", info.sha);
        let pinned = api.repo(repository(id, &info.sha));
        let directory = self.cache.repo(named.clone()).pointer_path(&info.sha);
        let offered: Vec<&str> = info
            .siblings
            .iter()
            .map(|file| file.rfilename.as_str())
            .collect();
        let get = |file: &str| {
            Self::get(&pinned, &directory, file).map_err(|error| self.explain_file(error, id, file))
        };
        for file in wanted(&offered) {
            let path = get(file)?;
            for shard in weights::shards(&path)?.into_iter().flatten() {
                get(&shard)?;
            }
        }
        // Offline runs, and Python, then find the same commit by the name of the revision.
        self.cache.repo(named).create_ref(&info.sha)?;
        Ok(Snapshot {
            directory,
            commit: info.sha,
        })
    }

    /// Returns what earlier runs, or Python, left in the cache.
    fn cached(&self, id: &str, revision: &str) -> Result<Snapshot> {
        let repo = repository(id, revision);
        let config = self
            .cache
            .repo(repo.clone())
            .get("config.json")
            .or_else(|| {
                // The cache has no reference for a revision that is a commit.
                let path = self
                    .cache
                    .repo(repo)
                    .pointer_path(revision)
                    .join("config.json");
                path.exists().then_some(path)
            });
        let Some(config) = config else {
            bail!(
                UserError::new(format!(
                    "{id} at {revision} is not in the cache {}, and HF_HUB_OFFLINE is set",
                    self.cache.path().display()
                ))
                .hint("unset HF_HUB_OFFLINE once to fetch it")
            );
        };
        let directory = config
            .parent()
            .context("a file has a directory")?
            .to_owned();
        let commit = directory.file_name().context("a snapshot has a name")?;
        Ok(Snapshot {
            commit: commit.to_string_lossy().into_owned(),
            directory,
        })
    }

    /// Returns the path of one file of a commit, from the cache or the hub, if its digest is right.
    fn get(repo: &ApiRepo, snapshot: &Path, file: &str) -> Result<PathBuf, FileError> {
        let path = snapshot.join(file);
        if path.exists() {
            if matches_its_name(&path)? {
                return Ok(path);
            }
            tracing::warn!("{file} in the cache is damaged; fetching it again");
            remove(&path)?;
        }
        tracing::info!("fetching {file}");
        let download = || repo.download_with_progress(file, Bytes::default());
        let path = match download() {
            // What an interrupted run left is at least as long as the file, so there is nothing to
            // resume.
            Err(error)
                if matches!(error, ApiError::InvalidResume) || status(&error) == Some(416) =>
            {
                remove_parts(snapshot)?;
                download()?
            }
            result => result?,
        };
        if !matches_its_name(&path)? {
            remove(&path)?;
            return Err(FileError::Damaged);
        }
        Ok(path)
    }

    fn explain(&self, error: ApiError, id: &str, revision: &str) -> anyhow::Error {
        let endpoint = &self.endpoint;
        match status(&error) {
            Some(401 | 403) => UserError::new(format!(
                "{endpoint} does not let you read {id}, or has no checkpoint of that name"
            ))
            .hint(
                "check the spelling; for a private or gated checkpoint, accept its terms on the hub and set HF_TOKEN",
            ),
            Some(404) => UserError::new(format!("{endpoint} has no {id} at revision {revision:?}"))
                .hint("check checkpoint.source and checkpoint.revision"),
            Some(status) => UserError::new(format!("{endpoint} answers {status} for {id}"))
                .hint("try again later, or name a mirror with HF_ENDPOINT"),
            None => UserError::new(format!("cannot reach {endpoint} for {id}: {error}")).hint(
                "check the connection, name a mirror with HF_ENDPOINT, set HF_HUB_OFFLINE=1 to use what was \
                 fetched before, or set checkpoint.source to a directory",
            ),
        }
        .into()
    }

    fn explain_file(&self, error: FileError, id: &str, file: &str) -> anyhow::Error {
        match error {
            FileError::Damaged => UserError::new(format!(
                "{file} of {id} arrived damaged: its digest is not the one {} announced",
                self.endpoint
            ))
            .hint("run it again; if that does not help, the hub or a proxy serves a damaged file")
            .into(),
            FileError::Api(ApiError::IoError(error)) | FileError::Io(error) => anyhow::Error::new(
                UserError::new(format!("fetching {file} of {id} failed: {error}")).hint(RESUMES),
            ),
            FileError::Api(ApiError::TooManyRetries(error)) => {
                self.explain_file(FileError::Api(*error), id, file)
            }
            FileError::Api(error) => match status(&error) {
                Some(status) => UserError::new(format!(
                    "{} answers {status} for {file} of {id}",
                    self.endpoint
                ))
                .hint(match status {
                    401 | 403 => "accept its terms on the hub and set HF_TOKEN",
                    404 => "the checkpoint is incomplete; choose another checkpoint.revision",
                    _ => RESUMES,
                }),
                None => {
                    UserError::new(format!("fetching {file} of {id} failed: {error}")).hint(RESUMES)
                }
            }
            .into(),
        }
    }
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its digest is wrong")]
    Damaged,
}

fn repository(id: &str, revision: &str) -> Repo {
    Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned())
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}

/// Returns which of the offered files to fetch: the small ones, and one form of the weights.
fn wanted<'a>(offered: &[&'a str]) -> Vec<&'a str> {
    let weights = weights::CANDIDATES
        .iter()
        .find_map(|candidate| offered.iter().find(|file| *file == candidate));
    let small = offered
        .iter()
        .filter(|file| **file == "config.json" || directory::KEPT.contains(file));
    small.chain(weights).copied().collect()
}

/// Whether a cached file has the digest that its blob is named by: SHA-256 for large files, git's
/// blob digest for small ones. True for other names, which are no digests, as on systems without
/// links.
fn matches_its_name(path: &Path) -> io::Result<bool> {
    let blob = path.canonicalize()?;
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    if !name.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut file = fs_err::File::open(&blob)?;
    let found = match name.len() {
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
    Ok(found == *name)
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

/// Removes unfinished downloads of the checkpoint whose commit is in `snapshot`.
fn remove_parts(snapshot: &Path) -> io::Result<()> {
    let Some(checkpoint) = snapshot.ancestors().nth(2) else {
        return Ok(());
    };
    for entry in fs_err::read_dir(checkpoint.join("blobs"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

/// Shows the progress of a download.
#[derive(Default)]
struct Bytes(Option<Progress>);

impl hf_hub::api::Progress for Bytes {
    fn init(&mut self, size: usize, _file: &str) {
        self.0 = Some(Progress::bytes("fetch", size));
    }

    fn update(&mut self, size: usize) {
        if let Some(progress) = &mut self.0 {
            progress.advance(size);
        }
    }

    fn finish(&mut self) {
        self.0 = None;
    }
}
