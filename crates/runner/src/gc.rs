//! Making room: artifacts that no run links to any more, and drafts of interrupted runs.

use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use fs_err::{self as fs, File};
use rustix::io::Errno;
use spanwise_artifact::draft::{self, STATE_PREFIX};
use spanwise_artifact::{Manifest, Stage, UserError, fingerprint};
use spanwise_program::output::message;
use spanwise_program::signals;

use crate::programs::JOB_PREFIX;
use crate::{links, lock, session, workspace};

/// What is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope {
    /// Nothing: what would be is listed.
    pub dry_run: bool,
    /// What interrupted trainings resume from, too.
    pub states: bool,
}

/// Removes them below `output`.
pub fn run(output: &Path, scope: Scope, out: &mut dyn Write) -> Result<()> {
    let Scope { dry_run, states } = scope;
    let artifacts = output.join("artifacts");
    if !artifacts.is_dir() {
        writeln!(out, "there are no artifacts yet")?;
        return Ok(());
    }
    let _lock = if dry_run { None } else { Some(alone(output)?) };
    if !dry_run {
        let runs = output.join("runs");
        if runs.is_dir() {
            remove_left(&runs)?;
        }
    }
    let unused = unused(&artifacts, &output.join("runs"), states)?;
    let mut bytes = 0;
    for directory in &unused {
        let size = size(directory)?;
        bytes += size;
        let shown = workspace::display(directory);
        writeln!(out, "{:>8} {shown}", megabytes(size))?;
        if !dry_run {
            fs::remove_dir_all(directory)?;
        }
    }
    if !dry_run {
        remove_files(&artifacts)?;
    }
    let done = if dry_run {
        "would be removed"
    } else {
        "removed"
    };
    let (size, count) = (megabytes(bytes), unused.len());
    writeln!(out, "{size:>8} in {count} directories {done}")?;
    Ok(())
}

/// Held while something is removed.
fn alone(output: &Path) -> Result<File> {
    let lock = lock_file(output)?;
    match lock.file().try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) if has_none(&error) => {
            // What is being made has a lock all the same.
            refuse_held(&output.join("artifacts"))?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => Err(UserError::new("a pipeline is running")
            .hint("what it writes is not linked yet; wait for its end")
            .into()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Held while a pipeline runs, by as many as there are.
pub fn keep_off(output: &Path) -> Result<File> {
    let lock = lock_file(output)?;
    let mut said = false;
    loop {
        match lock.file().try_lock_shared() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {
                signals::check("")?;
                if !std::mem::replace(&mut said, true) {
                    message("waiting for gc, which removes what no run needs");
                }
                thread::sleep(lock::LOOK);
            }
            Err(TryLockError::Error(error)) if has_none(&error) => {
                message(format_args!(
                    "{}: the file system locks no files: run gc only while no pipeline runs",
                    workspace::display(&output.join("artifacts"))
                ));
                return Ok(lock);
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Whether a file system has refused to lock a file since it cannot.
fn has_none(error: &io::Error) -> bool {
    links::is_one_of(error, &[Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK])
}

fn lock_file(output: &Path) -> Result<File> {
    let artifacts = output.join("artifacts");
    fs::create_dir_all(&artifacts)?;
    Ok(File::create(artifacts.join(".lock"))?)
}

/// The directories of every stage that nothing below `runs` links to: artifacts, drafts and, with
/// `states`, what interrupted trainings resume from.
fn unused(artifacts: &Path, runs: &Path, states: bool) -> Result<Vec<PathBuf>> {
    let mut used = BTreeSet::new();
    linked(runs, &fs::canonicalize(artifacts)?, &mut used)?;
    let mut unused = Vec::new();
    for stage in stages(artifacts) {
        for directory in directories(&stage)? {
            let is_kept = match Kind::of(&directory) {
                Kind::State => !states,
                Kind::Artifact | Kind::Draft => false,
                Kind::Other => true,
            };
            if !is_kept && !used.contains(&fs::canonicalize(&directory)?) {
                unused.push(directory);
            }
        }
    }
    unused.sort();
    Ok(unused)
}

/// The folders of stages that are there.
fn stages(artifacts: &Path) -> impl Iterator<Item = PathBuf> {
    let stages = Stage::ALL.map(|stage| artifacts.join(stage.name()));
    stages.into_iter().filter(|stage| stage.is_dir())
}

/// What a directory in the folder of a stage is.
enum Kind {
    /// An artifact, whatever is left of it.
    Artifact,
    /// What a run that was killed has left of one.
    Draft,
    /// What an interrupted training resumes from.
    State,
    /// Something of the user's.
    Other,
}

impl Kind {
    fn of(directory: &Path) -> Self {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(STATE_PREFIX) {
            Self::State
        } else if name.starts_with(draft::PREFIX) {
            Self::Draft
        } else if fingerprint::is_fingerprint(&name) || directory.join(Manifest::FILE).exists() {
            Self::Artifact
        } else {
            Self::Other
        }
    }
}

/// Adds what the links below `folder` point to, also where a link leads to another folder. Refuses
/// links to what is not there: where the output was moved without its artifacts or damaged, nothing
/// can be told to be unused.
fn linked(folder: &Path, artifacts: &Path, used: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            linked(&entry.path(), artifacts, used)?;
        } else if links::is_new(&entry.file_name()) {
            // Of a run that was killed: no other links to what it does.
        } else if let Some(target) = links::follow(&entry.path()) {
            let target = target.map_err(|_| {
                let link = workspace::display(&entry.path());
                UserError::new(format!("{link} links to what is not there"))
                    .hint("run its pipeline again, or remove the link if that run is not needed")
            })?;
            let is_new = used.insert(target.clone());
            if is_new && target.is_dir() && !target.starts_with(artifacts) {
                linked(&target, artifacts, used)?;
            }
        }
    }
    Ok(())
}

/// Refuses to go on while a run makes an artifact.
fn refuse_held(artifacts: &Path) -> Result<()> {
    for stage in stages(artifacts) {
        for entry in fs::read_dir(stage)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(lock::PREFIX) && !lock::is_nobodys(&path)? {
                return Err(UserError::new("a pipeline is running")
                    .hint("wait for its end")
                    .into());
            }
        }
    }
    Ok(())
}

/// Removes what runs and sessions that were killed have left in the folders of runs.
fn remove_left(folder: &Path) -> Result<()> {
    session::remove_left(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_left(&entry.path())?;
        } else if links::is_new(&entry.file_name()) || is_nobodys_lock(&entry.path())? {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file is a lock that a run that was killed has left.
fn is_nobodys_lock(path: &Path) -> Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(name.starts_with(lock::PREFIX) && lock::is_nobodys(path)?)
}

/// Removes locks and jobs of runs that were killed.
fn remove_files(artifacts: &Path) -> Result<()> {
    for stage in stages(artifacts) {
        for entry in fs::read_dir(stage)? {
            let entry = entry?;
            let is_job = entry.file_name().to_string_lossy().starts_with(JOB_PREFIX);
            if is_job || is_nobodys_lock(&entry.path())? {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn directories(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            directories.push(entry.path());
        }
    }
    Ok(directories)
}

fn size(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_links_to_stays() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (artifacts, runs) = (
            directory.path().join("artifacts"),
            directory.path().join("runs"),
        );
        let artifact = |name: &str| -> Result<PathBuf> {
            let path = artifacts.join(name);
            fs::create_dir_all(&path)?;
            fs::write(path.join("file"), "1234")?;
            Ok(path)
        };
        let data = artifact("data/a")?;
        let train = artifact("train/b")?;
        let old = artifact("train/0123456789abcdef0123")?;
        artifact("train/mine")?;
        let draft = artifact("train/.draft-x")?;
        fs::create_dir_all(runs.join("demo/members/1"))?;
        std::os::unix::fs::symlink(&data, runs.join("demo/data"))?;
        std::os::unix::fs::symlink(&train, runs.join("demo/members/1/train"))?;
        let state = artifact("train/.state-x")?;
        let all = [draft, state, old]; // and nothing of the user's
        assert_eq!(unused(&artifacts, &runs, true)?, all);
        assert_eq!(
            unused(&artifacts, &runs, false)?,
            [all[0].clone(), all[2].clone()]
        );
        assert_eq!(size(&all[2])?, 4);
        std::os::unix::fs::symlink(directory.path().join("gone"), runs.join("demo/answers"))?;
        let error = unused(&artifacts, &runs, true).expect_err("a link dangles");
        assert!(error.is::<UserError>(), "{error:#}");
        Ok(())
    }
}
