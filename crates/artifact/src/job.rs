//! What a stage program is started with: one JSON file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::UserError;
use crate::fingerprint;
use crate::manifest::Manifest;
use crate::settings::{Device, Settings};
use crate::stage::Stage;

/// One run of a stage. Written by the runner; just as well by hand or by a scheduler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The stage, checked against the program it is given to.
    pub stage: Stage,
    /// The stage's resolved settings.
    pub settings: Value,
    /// What it reads, by role.
    pub inputs: BTreeMap<String, Input>,
    /// Digests of what it reads, by role, where the runner knows them: a stage stops where it has
    /// read something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, String>,
    /// The artifact's final directory.
    pub output: PathBuf,
    /// The seed, for stages that use random numbers.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Where to compute, for stages that have a model.
    #[serde(default)]
    pub device: Option<Device>,
    /// Minutes between the states that a training saves to go on from: changes no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_minutes: Option<f64>,
    /// Digests of the stage's code, as the runner computed them.
    #[serde(default)]
    pub code: BTreeMap<String, String>,
    /// Where to keep a copy of the messages.
    #[serde(default)]
    pub log: Option<PathBuf>,
}

/// An artifact, or a file or directory of the user, that a stage reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// File or directory.
    pub path: PathBuf,
    /// The files that count, where not all of them do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<String>>,
}

impl Input {
    /// Digest of the content: by manifest for an artifact, by bytes for anything else.
    ///
    /// # Errors
    /// Fails if the input cannot be read.
    pub fn content(&self) -> Result<String> {
        let only: Option<Vec<&str>> = self
            .files
            .as_ref()
            .map(|files| files.iter().map(String::as_str).collect());
        if !self.path.is_dir() {
            return fingerprint::of_file(&self.path);
        }
        if let Some(manifest) = Manifest::read(&self.path)? {
            return Ok(manifest.content(only.as_deref()));
        }
        let mut digests = BTreeMap::new();
        for entry in fs_err::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let counts = only
                .as_ref()
                .is_none_or(|names| names.contains(&name.as_str()));
            if counts && entry.path().is_file() {
                digests.insert(name, fingerprint::of_file(&entry.path())?);
            }
        }
        Ok(fingerprint::of_named(&digests))
    }
}

impl Job {
    /// Reads a job file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not a job.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)
            .map_err(|error| UserError::new(format!("cannot read the job: {error}")))?;
        let job = serde_json::from_str(&text)
            .map_err(|error| UserError::new(format!("{}: not a job: {error}", path.display())))?;
        Ok(job)
    }

    /// Name of the artifact's directory.
    ///
    /// # Errors
    /// Fails if the output has no name, such as `/`.
    pub fn name(&self) -> Result<String> {
        let Some(name) = self.output.file_name() else {
            bail!(UserError::new(format!(
                "the output {} has no name",
                self.output.display()
            )));
        };
        Ok(name.to_string_lossy().into_owned())
    }

    /// The settings as the stage's own type.
    ///
    /// # Errors
    /// Fails if they are not of that type, or a value is out of bounds.
    pub fn settings<S: DeserializeOwned + Settings>(&self) -> Result<S> {
        let wrong =
            |what: String| UserError::new(format!("settings of the {} stage: {what}", self.stage));
        let settings: S = serde_json::from_value(self.settings.clone())
            .map_err(|error| wrong(error.to_string()))?;
        match settings.problems().first() {
            None => Ok(settings),
            Some(problem) => bail!(wrong(problem.to_string())),
        }
    }

    /// Path of a required input.
    ///
    /// # Errors
    /// Fails if the job has no input of that role.
    pub fn input(&self, role: &str) -> Result<&Path> {
        match self.inputs.get(role) {
            Some(input) => Ok(&input.path),
            None => bail!(UserError::new(format!(
                "the job of the {} stage has no input {role:?}",
                self.stage
            ))),
        }
    }

    /// Content digest per input.
    pub fn input_contents(&self) -> Result<BTreeMap<String, String>> {
        self.inputs
            .iter()
            .map(|(role, input)| Ok((role.clone(), input.content()?)))
            .collect()
    }
}
