//! What has a name is on the disk: files and directories that a power cut leaves whole or not at
//! all.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err::File;

use crate::draft;

/// Renames the directory `new` to `name`, on the same file system, where nothing lies at `name`.
/// Everything in it is on the disk before it has the name, and the name is when this returns.
///
/// # Errors
/// Fails where something cannot be written or renamed. `name` is then not there.
pub fn rename(new: &Path, name: &Path) -> Result<()> {
    sync_tree(new)?;
    fs_err::rename(new, name)?;
    let parent = name.parent().context("a directory has a parent")?;
    sync(if parent == Path::new("") {
        Path::new(".")
    } else {
        parent
    })
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
        let [new, name] = ["new", "name"].map(|name| parent.path().join(name));
        fs_err::create_dir_all(new.join("folder"))?;
        fs_err::write(new.join("folder/file"), "content")?;
        rename(&new, &name)?;
        assert_eq!(fs_err::read_to_string(name.join("folder/file"))?, "content");
        remove(&name)?;
        assert_eq!(fs_err::read_dir(parent.path())?.count(), 0);
        Ok(())
    }
}
