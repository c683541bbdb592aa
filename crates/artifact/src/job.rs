//! What a stage program is started with: one JSON file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::UserError;
use crate::fingerprint;
use crate::manifest::Manifest;
use crate::settings::{Device, Problem, Settings};
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
    /// Minutes between the states that a training saves to resume from: changes no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_minutes: Option<f64>,
    /// Tokens of the longest window of all models that start from this checkpoint, so that one that
    /// takes fewer is refused before its weights are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_window: Option<usize>,
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
        let problems: Vec<String> = settings.problems().iter().map(Problem::to_string).collect();
        ensure!(problems.is_empty(), wrong(problems.join("; ")));
        Ok(settings)
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

    /// Path of a required input that another stage wrote. What is no artifact has no splits, and
    /// would be taken for an empty one.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if the job has no input of that role, or it is no artifact.
    pub fn artifact(&self, role: &str) -> Result<&Path> {
        let path = self.input(role)?;
        let problem = match Manifest::read(path) {
            Ok(Some(_)) => return Ok(path),
            Ok(None) => format!("there is no {} in it", Manifest::FILE),
            Err(error) => format!("{error:#}"),
        };
        bail!(
            UserError::new(format!(
                "the input {role:?} of the {} stage, {}, is no artifact: {problem}",
                self.stage,
                path.display()
            ))
            .hint("it is a directory that a stage has written, such as artifacts/data/<name>")
        );
    }

    /// Content digest per input.
    pub fn input_contents(&self) -> Result<BTreeMap<String, String>> {
        self.inputs
            .iter()
            .map(|(role, input)| Ok((role.clone(), input.content()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{AnswersTable, DataJob, EnsembleJob, PredictJob, TrainJob, WindowsTable};

    /// Checks that a stage refuses a job whose settings are its own with `changes` applied.
    fn check<S: DeserializeOwned + Serialize + Settings + std::fmt::Debug>(
        stage: Stage,
        settings: &S,
        changes: Value,
        expected: &str,
    ) {
        let mut settings = serde_json::to_value(settings).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let job = json!({"stage": stage, "settings": settings, "inputs": {}, "output": "out/0"});
        let job: Job = serde_json::from_value(job).unwrap();
        let error = job.settings::<S>().expect_err(expected);
        let error = error.downcast_ref::<UserError>().expect(expected);
        assert!(error.message.contains(expected), "{error}");
    }

    #[test]
    fn only_what_a_stage_wrote_is_an_artifact() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let check = |path: &Path, expected: &str| {
            let inputs = json!({"data": {"path": path}});
            let job =
                json!({"stage": "windows", "settings": {}, "inputs": inputs, "output": "o/0"});
            let job: Job = serde_json::from_value(job).unwrap();
            let error = job.artifact("data").expect_err(expected);
            let error = error.downcast_ref::<UserError>().expect(expected);
            assert!(error.message.contains(expected), "{error}");
        };
        check(
            directory.path(),
            "is no artifact: there is no manifest.json",
        );
        let file = directory.path().join("file");
        fs_err::write(&file, "text")?;
        check(&file, "is no artifact: there is no manifest.json");
        check(&directory.path().join("none"), "is no artifact");
        fs_err::write(directory.path().join(Manifest::FILE), "{}")?;
        check(directory.path(), "manifest.json is damaged");
        Ok(())
    }

    #[test]
    fn settings_written_by_hand_are_held_to_the_bounds_of_the_pipeline_file() {
        let data = DataJob::default();
        let fold = json!({"train": ["t"], "dev": ["d"], "fold": {"count": 0}});
        check(Stage::Data, &data, fold, "fold.count = 0: must be at least");
        let windows = WindowsTable::default();
        check(
            Stage::Windows,
            &windows,
            json!({"stride": 0}),
            "windows.stride = 0: must be at least 1",
        );
        let train = TrainJob::default();
        for (change, expected) in [
            (json!({"epochs": u64::MAX}), "must be at most 10000"),
            (json!({"batch_size": 0}), "train.batch_size = 0: must be"),
            (json!({"batch_size": 1u64 << 60}), "must be at most 65536"),
            (
                json!({"micro_batch_size": 0}),
                "train.micro_batch_size = 0: must be at least 1",
            ),
            (
                json!({"learning_rate": -1.0}),
                "train.learning_rate = -1.0: must be more than 0",
            ),
            (json!({"learning_rate": 1e300}), "must be at most 10"),
            (json!({"max_minutes": 1e300}), "must be at most 1000000"),
            (
                json!({"negative_windows": i64::MAX}),
                "must be at most 1000",
            ),
            (
                json!({"eval_steps": 0, "batch_size": 0}),
                "must be at least 1; train.eval_steps = 0",
            ),
        ] {
            check(Stage::Train, &train, change, expected);
        }
        let predict = PredictJob {
            table: crate::settings::PredictTable::default(),
            splits: vec![crate::Split::Dev],
        };
        check(
            Stage::Predict,
            &predict,
            json!({"batch_size": 0}),
            "predict.batch_size = 0: must be at least 1",
        );
        check(
            Stage::Predict,
            &predict,
            json!({"splits": []}),
            "predict.splits = []: must not be empty",
        );
        check(
            Stage::Ensemble,
            &EnsembleJob::UNCHANGED,
            json!({"max_answer_length": u64::MAX}),
            "must be at most 100000",
        );
        check(
            Stage::Answers,
            &AnswersTable::default(),
            json!({"n_best_size": 1_000_000_000_000u64}),
            "answers.n_best_size = 1000000000000: must be at most 1000",
        );
    }
}
