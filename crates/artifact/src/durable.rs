//! What has a name is on the disk: files and directories that a power cut leaves whole or not at
//! all.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err::File;
use tempfile::TempDir;

use crate::draft;

/// Gives the directory `new` the name `name`, on the same file system, in place of a directory that
/// has it. Everything is on the disk before it has the name, and the name is when this returns.
///
/// # Errors
/// Fails where something cannot be written or renamed. Where that is the last step, the name may be
/// there and not on the disk.
pub fn rename(new: TempDir, name: &Path) -> Result<()> {
    sync_tree(new.path())?;
    if !exchange(new.path(), name) {
        if name.exists() {
            remove(name)?;
        }
        fs_err::rename(new.path(), name)?;
    }
    // What had the name has that of `new` now. Otherwise nothing is there.
    let _ = fs_err::remove_dir_all(new.keep());
    let parent = name.parent().context("a directory has a parent")?;
    sync(if parent == Path::new("") {
        Path::new(".")
    } else {
        parent
    })
}

/// Exchanges two names at once; `false` where one is not there, or the system cannot.
fn exchange(new: &Path, name: &Path) -> bool {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, new, CWD, name, RenameFlags::EXCHANGE).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    {
        let _ = (new, name);
        false
    }
}

/// Waits until a directory and everything in it is on the disk.
fn sync_tree(directory: &Path) -> Result<()> {
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(directory)
}

/// Waits until a file, or the names in a directory, are on the disk.
fn sync(path: &Path) -> Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems cannot be asked to, directories least of all.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Takes a directory away from its name, whole, and removes it: at no moment does half of it have
/// the name.
///
/// # Errors
/// Fails where it cannot be renamed or removed.
pub fn remove(directory: &Path) -> Result<()> {
    let parent = directory.parent().context("a directory has a parent")?;
    let name = directory.file_name().context("a directory has a name")?;
    let old = tempfile::Builder::new()
        .prefix(&draft::prefix(&name.to_string_lossy()))
        .tempdir_in(parent)?;
    fs_err::rename(directory, old.path().join("old"))?;
    old.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_renamed_and_removed_whole() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let name = parent.path().join("name");
        let new = tempfile::tempdir_in(&parent)?;
        fs_err::create_dir_all(new.path().join("folder"))?;
        fs_err::write(new.path().join("folder/file"), "content")?;
        rename(new, &name)?;
        assert_eq!(fs_err::read_to_string(name.join("folder/file"))?, "content");
        let new = tempfile::tempdir_in(&parent)?;
        fs_err::write(new.path().join("file"), "other content")?;
        rename(new, &name)?;
        assert_eq!(fs_err::read_to_string(name.join("file"))?, "other content");
        assert!(!name.join("folder").exists());
        remove(&name)?;
        assert_eq!(fs_err::read_dir(parent.path())?.count(), 0);
        Ok(())
    }
}
