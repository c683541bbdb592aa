//! Who reads an artifact: until it is read, it is not replaced.
//!
//! Locks of its directory, which the system takes from a process that ends. Where a file system has
//! none, a stage that has read half of another artifact still stops: it compares what it has read.

use std::fs::TryLockError;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use anyhow::Result;
use fs_err::File;
use spanwise_program::signals;

use crate::lock::LOOK;

/// Held while an artifact is read, or while it is replaced.
pub(crate) struct Hold {
    _directory: Option<File>,
}

/// Waits until nobody replaces an artifact. `waiting` is called once if it is waited for.
pub(crate) fn read(artifact: &Path, waiting: impl FnMut() -> Result<()>) -> Result<Hold> {
    hold(artifact, File::try_lock_shared, waiting)
}

/// Waits until nobody reads or replaces an artifact. `waiting` is called once if it is waited for.
pub(crate) fn replace(artifact: &Path, waiting: impl FnMut() -> Result<()>) -> Result<Hold> {
    hold(artifact, File::try_lock, waiting)
}

fn hold(
    artifact: &Path,
    try_lock: fn(&File) -> Result<(), TryLockError>,
    mut waiting: impl FnMut() -> Result<()>,
) -> Result<Hold> {
    let mut said = false;
    loop {
        // One that is gone is found to be so where it is read.
        let Ok(directory) = File::open(artifact) else {
            return Ok(Hold { _directory: None });
        };
        match try_lock(&directory) {
            Ok(()) if is_still(artifact, &directory)? => {
                return Ok(Hold {
                    _directory: Some(directory),
                });
            }
            // It was replaced between the two.
            Ok(()) => {}
            Err(TryLockError::Error(_)) => return Ok(Hold { _directory: None }),
            Err(TryLockError::WouldBlock) => {
                signals::check("")?;
                if !std::mem::replace(&mut said, true) {
                    waiting()?;
                }
                thread::sleep(LOOK);
            }
        }
    }
}

/// Whether an artifact is still the directory that was opened.
fn is_still(artifact: &Path, directory: &File) -> Result<bool> {
    let opened = directory.metadata()?;
    let now = fs_err::metadata(artifact);
    Ok(now.is_ok_and(|now| (now.dev(), now.ino()) == (opened.dev(), opened.ino())))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_read_is_not_replaced() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let artifact = directory.path().join("artifact");
        fs_err::create_dir(&artifact)?;
        fs_err::write(artifact.join("file"), "old")?;
        let nobody = || anyhow::bail!("nobody is waited for");
        let (first, second) = (read(&artifact, nobody)?, read(&artifact, nobody)?);
        let (waits, waited) = mpsc::channel();
        let file = artifact.join("file");
        thread::scope(|scope| -> Result<()> {
            let replaced = scope.spawn(|| -> Result<()> {
                let hold = replace(&artifact, || Ok(waits.send(())?))?;
                fs_err::rename(&artifact, directory.path().join("before"))?;
                fs_err::create_dir(&artifact)?;
                fs_err::write(&file, "new")?;
                drop(hold);
                Ok(())
            });
            waited.recv_timeout(Duration::from_mins(1))?;
            drop(first);
            thread::sleep(2 * LOOK);
            assert_eq!(fs_err::read_to_string(&file)?, "old");
            drop(second);
            replaced.join().expect("no panic")
        })?;
        let _third = read(&artifact, nobody)?;
        assert_eq!(fs_err::read_to_string(&file)?, "new");
        Ok(())
    }

    #[test]
    fn readers_wait_for_what_replaces() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let artifact = directory.path().join("artifact");
        fs_err::create_dir(&artifact)?;
        let hold = replace(&artifact, || anyhow::bail!("nobody is waited for"))?;
        let (waits, waited) = mpsc::channel();
        thread::scope(|scope| -> Result<()> {
            let reader = scope.spawn(|| -> Result<u64> {
                let _hold = read(&artifact, || Ok(waits.send(())?))?;
                Ok(fs_err::metadata(&artifact)?.ino())
            });
            waited.recv_timeout(Duration::from_mins(1))?;
            fs_err::rename(&artifact, directory.path().join("before"))?;
            fs_err::create_dir(&artifact)?;
            drop(hold);
            let read = reader.join().expect("no panic")?;
            assert_eq!(read, fs_err::metadata(&artifact)?.ino(), "the new one");
            Ok(())
        })
    }
}
