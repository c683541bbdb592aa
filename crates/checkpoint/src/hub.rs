//! Checkpoints on the model hub, through its standard cache.
//!
//! The revision is resolved to a commit first, and every file comes from that commit. Downloads are
//! resumed where they stopped, and a file counts only once its digest is the one the hub announced: the
//! cache keeps every file under its digest. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN` and
//! `HF_HUB_OFFLINE` mean what they mean to Python's `huggingface_hub`.

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

/// Attempts to go on after a dropped connection, before the user is told.
const RETRIES: usize = 3;

/// A checkpoint in the local cache.
pub struct Snapshot {
    /// Its directory, which holds nothing but files of this commit.
    pub directory: PathBuf,
    /// The commit that the revision named.
    pub commit: String,
}

/// Where the hub is and where its files are kept, from the environment.
pub struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    /// As the environment says.
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

    /// A hub at `endpoint` with its cache in `cache`.
    pub fn new(endpoint: String, cache: PathBuf, token: Option<String>, offline: bool) -> Self {
        Self {
            endpoint,
            cache: Cache::new(cache),
            token,
            offline,
        }
    }

    /// Brings the files of checkpoint `id` at `revision` into the cache.
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
            self.get(&pinned, &directory, file)
                .map_err(|error| self.explain_file(error, id, file))
        };
        for file in wanted(&offered) {
            let path = get(file)?;
            for shard in weights::shards(&path)?.into_iter().flatten() {
                get(&shard)?;
            }
        }
        // So that offline runs, and Python, find the same commit under the revision's name.
        self.cache.repo(named).create_ref(&info.sha)?;
        Ok(Snapshot {
            directory,
            commit: info.sha,
        })
    }

    /// What earlier runs, or Python, left in the cache.
    fn cached(&self, id: &str, revision: &str) -> Result<Snapshot> {
        let repo = repository(id, revision);
        let config = self
            .cache
            .repo(repo.clone())
            .get("config.json")
            .or_else(|| {
                // A revision may be a commit, which has no name in the cache.
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

    /// One file of a commit, from the cache or the hub; in either case only if it is whole.
    fn get(&self, repo: &ApiRepo, snapshot: &Path, file: &str) -> Result<PathBuf, FileError> {
        let path = snapshot.join(file);
        if path.exists() {
            if matches_its_name(&path)? {
                return Ok(path);
            }
            tracing::warn!("{file} in the cache is damaged and fetched again");
            remove(&path)?;
        }
        tracing::info!("fetching {file}");
        let download = || repo.download_with_progress(file, Bytes::default());
        let path = match download() {
            // What an interrupted run left is as long as the file or longer, so there is nothing to resume.
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
                "check the spelling; for a private or gated one, accept its terms on the hub and set HF_TOKEN",
            ),
            Some(404) => UserError::new(format!("{endpoint} has no {id} at revision {revision:?}"))
                .hint("check checkpoint.source and checkpoint.revision"),
            Some(status) => UserError::new(format!("{endpoint} answers {status} for {id}"))
                .hint("try again later, or name a mirror with HF_ENDPOINT"),
            None => UserError::new(format!("cannot ask {endpoint} for {id}: {error}")).hint(
                "check the connection; HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 uses what was fetched before, \
                 and checkpoint.source may be a directory",
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
            .hint("run it again; if that does not help, the hub or a proxy serves a broken file")
            .into(),
            FileError::Api(ApiError::IoError(error)) | FileError::Io(error) => anyhow::Error::new(
                UserError::new(format!("fetching {file} of {id} failed: {error}"))
                    .hint("run it again: it goes on where it stopped"),
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
                    _ => "run it again: it goes on where it stopped",
                }),
                None => UserError::new(format!("fetching {file} of {id} failed: {error}"))
                    .hint("run it again: it goes on where it stopped"),
            }
            .into(),
        }
    }
}

/// Why a file could not be had.
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

/// The files to fetch of those a checkpoint offers: what describes it, and one form of its weights.
fn wanted<'a>(offered: &[&'a str]) -> Vec<&'a str> {
    let weights = weights::CANDIDATES
        .iter()
        .find_map(|candidate| offered.iter().find(|file| *file == candidate));
    let small = offered
        .iter()
        .filter(|file| **file == "config.json" || directory::KEPT.contains(file));
    small.chain(weights).copied().collect()
}

/// Whether a cached file's content has the digest that its blob is named after: SHA-256 for large files,
/// git's blob digest for small ones. Names of other forms, as on systems without links, say nothing.
fn matches_its_name(path: &Path) -> io::Result<bool> {
    let blob = path.canonicalize()?;
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    if !name.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut file = std::fs::File::open(&blob)?;
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
    std::fs::remove_file(path)?;
    if blob.exists() {
        std::fs::remove_file(blob)?;
    }
    Ok(())
}

/// Removes unfinished downloads of the checkpoint whose commit is in `snapshot`.
fn remove_parts(snapshot: &Path) -> io::Result<()> {
    let Some(checkpoint) = snapshot.ancestors().nth(2) else {
        return Ok(());
    };
    for entry in std::fs::read_dir(checkpoint.join("blobs"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The progress of a download in our own bars.
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
