//! Symbolic links: what a run's folder holds, and where libtorch lies.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Points `link` at `target`, replacing what it pointed at.
pub fn relink(target: &Path, link: &Path) -> Result<()> {
    if let Some(parent) = link.parent() {
        fs_err::create_dir_all(parent)?;
    }
    if link.symlink_metadata().is_ok() {
        fs_err::remove_file(link)?;
    }
    #[cfg(unix)]
    fs_err::os::unix::fs::symlink(target, link)?;
    #[cfg(windows)]
    if target.is_dir() {
        std::os::windows::fs::symlink_dir(target, link)?;
    } else {
        std::os::windows::fs::symlink_file(target, link)?;
    }
    Ok(())
}

/// Removes all links in `folder` but those to keep, likewise in its folders that are one of `own` or below one, and
/// `folder` itself if nothing is left.
pub fn remove(folder: &Path, own: &[PathBuf], keep: &[PathBuf]) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && own.iter().any(|own| path.starts_with(own)) {
            remove(&path, own, keep)?;
        } else if kind.is_symlink() && !keep.contains(&path) {
            fs_err::remove_file(path)?;
        }
    }
    if fs_err::read_dir(folder)?.next().is_none() {
        fs_err::remove_dir(folder)?;
    }
    Ok(())
}
