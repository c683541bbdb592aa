//! Checkpoints as the training stages pass them on.

use std::path::Path;

use anyhow::Result;
use spanwise_artifact::{Draft, Manifest};

/// Copies a checkpoint's files, except those named in `except`, into an artifact.
pub fn copy_files(checkpoint: &Path, draft: &Draft, except: &[&str]) -> Result<()> {
    for entry in fs_err::read_dir(checkpoint)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != Manifest::FILE && !except.contains(&name.as_str()) {
            fs_err::copy(entry.path(), draft.file(&name))?;
        }
    }
    Ok(())
}
