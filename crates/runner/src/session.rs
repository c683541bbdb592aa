//! A run that lasts as long as a command: its folder is removed at the end, or, where the command
//! was killed, by the next one.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::lock::Lock;
use crate::{owner, workspace};

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
        workspace::create_folder(parent)?;
        remove_left(parent)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = Lock::take(folder.path(), |_| Ok(()))?;
        // Until it had its lock, another session may have taken it for one that was left.
        fs_err::create_dir_all(folder.path())?;
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
        if !name.starts_with(PREFIX) || owner::is_claimed(&path) {
            continue;
        }
        // One session removes it, and none that uses it.
        if let Ok(_lock) = Lock::take(&path, |_| bail!("it is used"))
            && path.exists()
        {
            fs_err::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn many_sessions_begin_where_others_were_killed() -> Result<()> {
        let runs = tempfile::tempdir()?;
        let left = |name: &str| runs.path().join(format!("{PREFIX}{name}"));
        for name in ["a", "b", "c"] {
            fs_err::create_dir(left(name))?;
        }
        // Killed before they had their locks.
        let used = Session::begin(runs.path())?;
        thread::scope(|scope| {
            let begin = || Session::begin(runs.path()).map(|session| session.folder().is_dir());
            let begun: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            for session in begun {
                assert!(session.join().expect("no panic").expect("it begins"));
            }
        });
        assert!(used.folder().is_dir());
        drop(used);
        assert_eq!(fs_err::read_dir(runs.path())?.count(), 0, "nothing is left");
        Ok(())
    }
}
