//! A run that lasts as long as a command: its folder is removed at the end, or, where the command
//! was killed, by the next one.

use std::path::Path;

use anyhow::{Context, Result};

use crate::lock::{self, Lock};
use crate::owner;

/// What the names of sessions' folders begin with. No run's folder does.
const PREFIX: &str = ".session-";

/// A folder of links below `runs`.
pub(crate) struct Session {
    folder: tempfile::TempDir,
    /// Tells the folder from one that a killed session has left.
    _lock: Lock,
}

impl Session {
    /// Begins one in `parent`: each has a folder of its own, since there may be several at once.
    pub(crate) fn begin(parent: &Path) -> Result<Self> {
        fs_err::create_dir_all(parent)?;
        remove_left(parent)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = Lock::take(folder.path(), |_| Ok(()))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The name of its run: its folder below `runs`.
    pub(crate) fn name(&self, runs: &Path) -> Result<String> {
        let name = self.folder().strip_prefix(runs)?.to_str();
        Ok(name.context("the path is not UTF-8")?.to_owned())
    }
}

/// Removes the folders of sessions in `parent` that were killed, as Ctrl-C does.
pub(crate) fn remove_left(parent: &Path) -> Result<()> {
    for entry in fs_err::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let lock = lock::path_of(&path);
        let is_left = name.starts_with(PREFIX)
            && !owner::is_claimed(&path)
            && lock.exists()
            && lock::is_nobodys(&lock)?;
        if is_left {
            fs_err::remove_dir_all(&path)?;
            fs_err::remove_file(&lock)?;
        }
    }
    Ok(())
}
