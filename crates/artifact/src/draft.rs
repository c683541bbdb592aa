//! An artifact that is being written: beside its destination, and renamed to it once complete.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::durable;
use crate::error::UserError;
use crate::fingerprint;
use crate::manifest::{FileRecord, Manifest};
use crate::stage::Stage;

/// What the names of folders begin with that interrupted trainings resume from, beside their
/// artifacts.
pub const STATE_PREFIX: &str = ".state-";

/// What the names of folders begin with in which an artifact is being written or removed.
pub const PREFIX: &str = ".draft-";

/// What the names of folders begin with in which the artifact of a name is being written or
/// removed, beside it. Whoever is alone in making it may remove them.
pub fn prefix(artifact: &str) -> String {
    format!("{PREFIX}{artifact}-")
}

/// A directory that becomes an artifact on [`Draft::commit`] and disappears otherwise.
pub struct Draft {
    directory: tempfile::TempDir,
    destination: PathBuf,
    logs: Vec<String>,
    computing: Computing,
    began: Instant,
    earlier_seconds: f64,
}

/// What a stage with a model computes with, as it was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Computing {
    /// The device.
    pub device: Option<String>,
    /// Number format of matrix products.
    pub precision: Option<String>,
}

impl Draft {
    /// Starts an artifact of a stage for `destination`.
    ///
    /// # Errors
    /// Fails if no directory can be created beside the destination, or something lies there that is
    /// no artifact of the stage.
    pub fn create(stage: Stage, destination: &Path) -> Result<Self> {
        ensure!(
            is_replaceable(destination, stage)?,
            UserError::new(format!(
                "{} is no artifact of the {stage} stage",
                destination.display()
            ))
            .hint("the output must not be there, or be what the stage wrote before")
        );
        let parent = destination
            .parent()
            .context("the output directory has no parent")?;
        fs_err::create_dir_all(parent)?;
        let name = destination.file_name().context("the output has no name")?;
        let directory = tempfile::Builder::new()
            .prefix(&prefix(&name.to_string_lossy()))
            .tempdir_in(parent)
            .with_context(|| format!("create a directory in {}", parent.display()))?;
        Ok(Self {
            directory,
            destination: destination.to_owned(),
            logs: Vec::new(),
            computing: Computing::default(),
            began: Instant::now(),
            earlier_seconds: 0.0,
        })
    }

    /// Where to write the files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Path of a file to write.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Path of a file that only records how the run went and does not make a later stage stale.
    pub fn log_file(&mut self, name: &str) -> PathBuf {
        self.logs.push(name.to_owned());
        self.file(name)
    }

    /// What it is computed with, for the manifest.
    pub fn computing(&mut self) -> &mut Computing {
        &mut self.computing
    }

    /// Adds the seconds that interrupted runs have spent on it.
    pub fn add_seconds(&mut self, seconds: f64) {
        self.earlier_seconds += seconds;
    }

    /// Seconds spent on it so far.
    pub fn seconds(&self) -> f64 {
        self.earlier_seconds + self.began.elapsed().as_secs_f64()
    }

    /// Digests of all files written so far.
    ///
    /// # Errors
    /// Fails if one of them cannot be read.
    pub fn files(&self) -> Result<BTreeMap<String, FileRecord>> {
        let mut files = BTreeMap::new();
        for entry in fs_err::read_dir(self.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = fingerprint::of_file(&entry.path())?;
            let log = self.logs.contains(&name);
            files.insert(
                name,
                FileRecord {
                    digest,
                    bytes: entry.metadata()?.len(),
                    log,
                },
            );
        }
        Ok(files)
    }

    /// Writes the manifest and renames the directory to the destination, replacing the artifact
    /// there. Files are on the disk before they have the name.
    ///
    /// # Errors
    /// Fails if a file cannot be written or the directory cannot be renamed; the destination is then
    /// as it was, or, where the system cannot exchange two names, gone.
    pub fn commit(self, manifest: &Manifest) -> Result<()> {
        manifest.write(self.path())?;
        set_permissions(self.path())?;
        durable::rename(self.directory, &self.destination)
    }
}

/// Copies a file into a draft. The copy can be changed, also where what it is copied from is an
/// artifact's, which is read-only.
///
/// # Errors
/// Fails if a file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs_err::copy(from, to)?;
    Ok(fs_err::set_permissions(to, Permissions::from_mode(0o644))?)
}

/// Whether a stage may replace what lies at `path`: nothing, an empty directory, or its own
/// artifact.
fn is_replaceable(path: &Path, stage: Stage) -> Result<bool> {
    if !path.exists() {
        return Ok(true);
    }
    if !path.is_dir() {
        return Ok(false);
    }
    if let Ok(Some(manifest)) = Manifest::read(path) {
        return Ok(manifest.stage == stage);
    }
    Ok(fs_err::read_dir(path)?.next().is_none())
}

/// Makes an artifact readable for everyone, since temporary directories, and files that libraries
/// write through one, are private to their owner; and its files writable for nobody, since what
/// was derived from them would be wrong.
fn set_permissions(directory: &Path) -> Result<()> {
    let set = |path: &Path, mode| fs_err::set_permissions(path, Permissions::from_mode(mode));
    set(directory, 0o755)?;
    for entry in fs_err::read_dir(directory)? {
        set(&entry?.path(), 0o444)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_time_of_interrupted_runs() {
        let parent = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(Stage::Data, &parent.path().join("artifact")).unwrap();
        draft.add_seconds(1000.0);
        assert!(draft.seconds() >= 1000.0);
    }

    #[test]
    fn copies_of_what_is_read_only_can_be_changed() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let [from, to] = ["from", "to"].map(|name| parent.path().join(name));
        fs_err::write(&from, "content")?;
        fs_err::set_permissions(&from, Permissions::from_mode(0o444))?;
        copy(&from, &to)?;
        assert!(!fs_err::metadata(&to)?.permissions().readonly());
        Ok(())
    }

    #[test]
    fn nothing_of_the_users_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let thesis = parent.path().join("thesis");
        fs_err::create_dir(&thesis).unwrap();
        assert!(Draft::create(Stage::Data, &thesis).is_ok(), "it is empty");
        fs_err::write(thesis.join("thesis.txt"), "mine").unwrap();
        for path in [&thesis, &thesis.join("thesis.txt")] {
            let error = Draft::create(Stage::Data, path).err().unwrap();
            assert!(error.is::<UserError>(), "{error:#}");
        }
    }
}
