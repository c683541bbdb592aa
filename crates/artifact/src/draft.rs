//! An artifact that is being written: beside its destination, and renamed to it once complete.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::fingerprint;
use crate::jsonl;
use crate::manifest::{FileRecord, Manifest};

/// A directory that becomes an artifact on [`Draft::commit`] and disappears otherwise.
pub struct Draft {
    directory: tempfile::TempDir,
    destination: PathBuf,
    logs: Vec<String>,
    began: Instant,
    earlier_seconds: f64,
}

impl Draft {
    /// Starts an artifact for `destination`.
    ///
    /// # Errors
    /// Fails if no directory can be created beside the destination.
    pub fn create(destination: &Path) -> Result<Self> {
        let parent = destination
            .parent()
            .context("the output directory has no parent")?;
        fs_err::create_dir_all(parent)?;
        let directory = tempfile::Builder::new()
            .prefix(".draft-")
            .tempdir_in(parent)
            .with_context(|| format!("create a directory in {}", parent.display()))?;
        Ok(Self {
            directory,
            destination: destination.to_owned(),
            logs: Vec::new(),
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

    /// Writes the manifest and renames the directory to the destination, replacing what is there.
    ///
    /// # Errors
    /// Fails if a file cannot be written or the directory cannot be renamed; the destination is then
    /// as it was, or gone.
    pub fn commit(self, manifest: &Manifest) -> Result<()> {
        jsonl::write_document(&self.file(Manifest::FILE), manifest)?;
        if self.destination.exists() {
            // A rename cannot replace a directory with content; move the old one away first so that
            // the destination is never half of anything.
            let old = tempfile::tempdir_in(self.destination.parent().expect("checked in create"))?;
            fs_err::rename(&self.destination, old.path().join("replaced"))?;
        }
        let written = self.directory.keep();
        set_readable(&written)?;
        fs_err::rename(&written, &self.destination)?;
        Ok(())
    }
}

/// Makes an artifact readable for everyone: temporary directories, and files that libraries write
/// through one, are private to their owner.
fn set_readable(directory: &Path) -> Result<()> {
    let set = |path: &Path, mode| fs_err::set_permissions(path, Permissions::from_mode(mode));
    set(directory, 0o755)?;
    for entry in fs_err::read_dir(directory)? {
        set(&entry?.path(), 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_time_of_interrupted_runs() {
        let parent = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(&parent.path().join("artifact")).unwrap();
        draft.add_seconds(1000.0);
        assert!(draft.seconds() >= 1000.0);
    }
}
