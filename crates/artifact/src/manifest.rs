//! The record every artifact carries.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fingerprint;
use crate::jsonl;
use crate::stage::Stage;

/// `manifest.json`: written last, so a directory without one does not count as an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The stage that wrote it.
    pub stage: Stage,
    /// Version of the stage's file layout.
    pub format: u32,
    /// The stage's resolved settings.
    pub settings: Value,
    /// The seed, for stages that use random numbers.
    pub seed: Option<u64>,
    /// Content digest per input.
    pub inputs: BTreeMap<String, String>,
    /// Digest per source file of the stage's code; empty for a job started by hand.
    pub code: BTreeMap<String, String>,
    /// Every file of the artifact.
    pub files: BTreeMap<String, FileRecord>,
    /// The device it was computed on, for stages that have a model.
    pub device: Option<String>,
    /// When it was finished, in UTC.
    pub created: String,
    /// How long that took, in seconds.
    pub wall_seconds: f64,
    /// Version of this project.
    pub tool_version: String,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// BLAKE3 of its bytes.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it only records how the run went, such as times and paths: it does not make a later
    /// stage stale.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
}

impl Manifest {
    /// File name of the manifest.
    pub const FILE: &str = "manifest.json";

    /// Reads an artifact's manifest; `None` if the directory is not a finished artifact.
    ///
    /// # Errors
    /// Fails if there is a manifest that cannot be read.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(Self::FILE);
        if path.exists() {
            jsonl::read_document(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Content digest of the artifact, or, with `only`, of those of the named files that exist.
    pub fn content(&self, only: Option<&[&str]>) -> String {
        let counts = |name: &str| only.is_none_or(|names| names.contains(&name));
        let digests = self
            .files
            .iter()
            .filter(|(name, file)| !file.log && counts(name))
            .map(|(name, file)| (name.clone(), file.digest.clone()))
            .collect();
        fingerprint::of_named(&digests)
    }
}
