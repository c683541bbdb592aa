//! Checkpoints on the model hub, through its standard cache.
//!
//! The revision is resolved to a commit first, and every file comes from that commit. An
//! interrupted download resumes. A file is used only if its digest is the one that the hub
//! announced, under which the cache keeps it. Environment variables have the same meaning as for
//! Python's `huggingface_hub`; `environment` lists them.

mod certificates;
mod download;
mod environment;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;
use spanwise_artifact::UserError;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::{RootCerts, TlsConfig};

use crate::hub::download::{Download, FileError, Folder};
use crate::hub::environment::Environment;
use crate::{directory, weights};

/// How long a hub may take to accept a connection, and to send anything at all.
const PATIENCE: Duration = Duration::from_mins(1);

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
    environment: Environment,
    authorities: RootCerts,
}

/// What a hub says about a revision.
#[derive(Deserialize)]
struct Info {
    /// Its commit.
    sha: String,
    /// Its files.
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// Reads the environment variables of Python's `huggingface_hub`, and those that name
    /// certificates.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if they do not say where to keep files, or name certificates that
    /// are not there.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            environment: Environment::read(|name| std::env::var(name).ok())?,
            authorities: certificates::authorities(|name| std::env::var_os(name))?,
        })
    }

    /// Names the hub at the address `endpoint` and its cache directory `cache`. If `offline`, only
    /// the cache is used.
    pub fn new(endpoint: String, cache: PathBuf, token: Option<String>, offline: bool) -> Self {
        Self {
            environment: Environment {
                endpoint,
                cache,
                token,
                offline: offline.then_some("HF_HUB_OFFLINE"),
            },
            authorities: RootCerts::WebPki,
        }
    }

    /// Fetches the files of checkpoint `id` at `revision` into the cache, unless they are there.
    /// `check` sees the directory with its configuration and its tokenizer before the weights are
    /// fetched.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if the hub does not have or serve them, and where `check` does.
    pub fn fetch(
        &self,
        id: &str,
        revision: &str,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Snapshot> {
        if let Some(variable) = self.environment.offline {
            let snapshot = self.cached(id, revision, variable)?;
            check(&snapshot.directory)?;
            self.refuse_damaged(id, &weights::files(&snapshot.directory)?, variable)?;
            return Ok(snapshot);
        }
        let files = self.files(id, revision)?;
        let directory = files.fetch_small()?;
        check(&directory)?;
        files.fetch_weights()?;
        // Offline runs, and Python, then find the same commit by the name of the revision.
        if let Err(error) = files.folder.remember(revision, &files.commit) {
            tracing::warn!("offline runs will not find {id} at {revision}: {error}");
        }
        Ok(Snapshot {
            directory,
            commit: files.commit,
        })
    }

    /// Lets `check` see the directory with the configuration and the tokenizer of checkpoint `id` at
    /// `revision`, without its weights.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if the hub does not have or serve them, and where `check` does.
    pub fn check(
        &self,
        id: &str,
        revision: &str,
        check: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        if let Some(variable) = self.environment.offline {
            return check(&self.cached(id, revision, variable)?.directory);
        }
        let files = self.files(id, revision)?;
        let directory = files.fetch_small()?;
        check(&directory)?;
        ensure!(
            files.weights().is_some(),
            directory::without_weights(id, &directory)
        );
        Ok(())
    }

    /// Asks the hub which commit a revision is, and for its files.
    fn files<'a>(&'a self, id: &'a str, revision: &str) -> Result<Files<'a>> {
        let Environment {
            endpoint, cache, ..
        } = &self.environment;
        let agent = self.agent(10);
        let Info { sha, siblings } = self
            .info(&agent, id, revision)
            .map_err(|error| self.explain(error, id, revision))?;
        // It names a directory of the cache.
        if sha.len() != 40 || !sha.chars().all(|c| c.is_ascii_hexdigit()) {
            bail!(UserError::new(format!(
                "{endpoint} does not answer as a model hub does: {sha:?} is no commit"
            )));
        }
        tracing::info!("{id} at commit {sha}");
        Ok(Files {
            hub: self,
            id,
            commit: sha,
            offered: siblings.into_iter().map(|file| file.rfilename).collect(),
            folder: Folder::new(cache, id),
            agent,
            direct: self.agent(0),
        })
    }

    fn agent(&self, redirects: u32) -> Agent {
        let tls = TlsConfig::builder().root_certs(self.authorities.clone());
        Agent::config_builder()
            .tls_config(tls.build())
            .max_redirects(redirects)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("spanwise/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    fn info(&self, agent: &Agent, id: &str, revision: &str) -> Result<Info, ureq::Error> {
        let Environment {
            endpoint, token, ..
        } = &self.environment;
        // A branch may have slashes in its name.
        let revision = revision.replace('/', "%2F");
        let mut request = agent.get(format!("{endpoint}/api/models/{id}/revision/{revision}"));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.call()?.body_mut().read_json()
    }

    /// Returns what earlier runs, or Python, left in the cache.
    fn cached(&self, id: &str, revision: &str, variable: &str) -> Result<Snapshot> {
        let folder = Folder::new(&self.environment.cache, id);
        let named = fs_err::read_to_string(folder.reference(revision));
        // The cache has no reference for a revision that is a commit.
        let commit = named.map_or(revision.to_owned(), |commit| commit.trim().to_owned());
        let directory = folder.snapshot(&commit);
        if !directory.join("config.json").exists() {
            bail!(
                UserError::new(format!(
                    "{id} at {revision} is not in the cache {}, and {variable} is set",
                    self.environment.cache.display()
                ))
                .hint(format!("unset {variable} once to fetch it"))
            );
        }
        let small: Vec<PathBuf> = small().map(|file| directory.join(file)).collect();
        self.refuse_damaged(id, &small, variable)?;
        Ok(Snapshot { directory, commit })
    }

    /// Refuses files of the cache that are not what the hub once announced.
    fn refuse_damaged(&self, id: &str, files: &[PathBuf], variable: &str) -> Result<()> {
        for path in files {
            if path.is_file() && !download::matches_its_name(path)? {
                let error = UserError::new(format!(
                    "{} of {id} is damaged in the cache {}, and {variable} is set",
                    path.file_name().unwrap_or_default().display(),
                    self.environment.cache.display()
                ));
                bail!(error.hint(format!("unset {variable} once to fetch it again")));
            }
        }
        Ok(())
    }

    fn explain(&self, error: ureq::Error, id: &str, revision: &str) -> anyhow::Error {
        let endpoint = &self.environment.endpoint;
        match error {
            ureq::Error::StatusCode(401 | 403) => UserError::new(format!(
                "{endpoint} does not let you read {id}, or has no checkpoint of that name"
            ))
            .hint(
                "check the spelling; for a private or gated checkpoint, accept its terms on the hub and set HF_TOKEN",
            ),
            ureq::Error::StatusCode(404) => {
                UserError::new(format!("{endpoint} has no {id} at revision {revision:?}"))
                    .hint("check checkpoint.source and checkpoint.revision")
            }
            ureq::Error::StatusCode(status) => {
                UserError::new(format!("{endpoint} answers {status} for {id}"))
                    .hint("try again later, or name a mirror with HF_ENDPOINT")
            }
            ureq::Error::Json(_) => UserError::new(format!(
                "{endpoint} does not answer as a model hub does: what it says of {id} is not JSON"
            ))
            .hint("a proxy or a login page may answer in its place; HF_ENDPOINT names the hub"),
            error => UserError::new(format!("cannot reach {endpoint} for {id}: {error}"))
                .hint(connection_hint(&error)),
        }
        .into()
    }

    fn explain_file(&self, error: FileError, id: &str, file: &str) -> anyhow::Error {
        let endpoint = &self.environment.endpoint;
        let failed = format!("fetching {file} of {id} failed: {error}");
        match error {
            FileError::Damaged => UserError::new(format!(
                "{file} of {id} arrived damaged: its digest is not the one {endpoint} announced"
            ))
            .hint("run it again; if that does not help, the hub or a proxy serves a damaged file"),
            FileError::Cache(error) => {
                UserError::new(format!("cannot keep {file} of {id}: {error}")).hint(format!(
                    "downloads are kept in {}: make room there, or name another directory with \
                     HF_HOME",
                    self.environment.cache.display()
                ))
            }
            FileError::Request(ureq::Error::StatusCode(status)) => UserError::new(format!(
                "{endpoint} answers {status} for {file} of {id}"
            ))
            .hint(match status {
                401 | 403 => "accept its terms on the hub and set HF_TOKEN",
                404 => "the checkpoint is incomplete; choose another checkpoint.revision",
                _ => RESUMES,
            }),
            FileError::NoHub(_) => UserError::new(failed)
                .hint("a proxy may answer in its place; HF_ENDPOINT names the hub"),
            FileError::Request(_) | FileError::Connection(_) => {
                UserError::new(failed).hint(RESUMES)
            }
        }
        .into()
    }
}

/// The files of a checkpoint at one commit, as a hub offers them.
struct Files<'a> {
    hub: &'a Hub,
    id: &'a str,
    commit: String,
    /// Their names.
    offered: Vec<String>,
    folder: Folder,
    /// Follows redirects.
    agent: Agent,
    /// Follows none.
    direct: Agent,
}

impl Files<'_> {
    /// Fetches what tells of the weights; returns the directory that has it.
    fn fetch_small(&self) -> Result<PathBuf> {
        for file in small() {
            if self.offered.iter().any(|offered| offered == file) {
                self.fetch(file)?;
            }
        }
        Ok(self.folder.snapshot(&self.commit))
    }

    /// The file that holds the weights, or lists those that do, in one of the forms that are
    /// offered.
    fn weights(&self) -> Option<&'static str> {
        let offered = |candidate: &&str| self.offered.iter().any(|file| file == candidate);
        weights::CANDIDATES.into_iter().find(offered)
    }

    /// Fetches the weights in one of the forms that are offered.
    fn fetch_weights(&self) -> Result<()> {
        if let Some(file) = self.weights() {
            let path = self.fetch(file)?;
            for shard in weights::shards(&path)?.into_iter().flatten() {
                self.fetch(&shard)?;
            }
        }
        Ok(())
    }

    fn fetch(&self, file: &str) -> Result<PathBuf> {
        let Environment {
            endpoint, token, ..
        } = &self.hub.environment;
        let (id, commit) = (self.id, &self.commit);
        let download = Download {
            agent: &self.agent,
            direct: &self.direct,
            token: token.as_deref(),
            folder: &self.folder,
        };
        let url = format!("{endpoint}/{id}/resolve/{commit}/{file}");
        download
            .get(&url, commit, file)
            .map_err(|error| self.hub.explain_file(error, id, file))
    }
}

/// What may help where a hub cannot be reached.
fn connection_hint(error: &ureq::Error) -> String {
    if error.to_string().contains("certificate") {
        return format!(
            "behind a company's proxy, name the file of its certificate authority with {}",
            certificates::VARIABLES[0]
        );
    }
    "check the connection, name a mirror with HF_ENDPOINT, set HF_HUB_OFFLINE=1 to use what was \
     fetched before, or set checkpoint.source to a directory"
        .to_owned()
}

/// The files that are fetched before the weights.
fn small() -> impl Iterator<Item = &'static str> {
    std::iter::once("config.json").chain(directory::KEPT)
}
