//! Whose folder below `runs` it is: a folder is named after its pipeline file, and two files may
//! have one name.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spanwise_artifact::UserError;

use crate::pipeline_file::Pipeline;
use crate::{links, workspace};

/// Holds the path of the pipeline file, in a run's folder.
const FILE: &str = ".pipeline-file";

/// Whether a folder is a run's.
pub(crate) fn is_claimed(run: &Path) -> bool {
    run.join(FILE).exists()
}

/// Refuses a run's folder that another pipeline file has made, as long as that is there.
pub(crate) fn check(run: &Path, pipeline: &Pipeline) -> Result<()> {
    let Ok(owner) = fs_err::read_to_string(run.join(FILE)) else {
        return Ok(());
    };
    let owner = Path::new(owner.trim_end());
    match fs_err::canonicalize(workspace::resolve(owner)) {
        Ok(there) if there.is_file() && there != absolute(pipeline) => {}
        // It is this file, or was moved; or a power cut has left nothing of its name.
        _ => return Ok(()),
    }
    let (run, owner) = (workspace::display(run), owner.display());
    Err(UserError::new(format!(
        "{run} is the folder of {owner}, which has the same name"
    ))
    .hint(format!("rename {}, or remove {run}", pipeline.file))
    .into())
}

/// Makes a run's folder that of a pipeline file.
pub(crate) fn claim(run: &Path, pipeline: &Pipeline) -> Result<()> {
    check(run, pipeline)?;
    workspace::create_folder(run)?;
    // From the root where it lies below, so that the checkout can be moved.
    let path = absolute(pipeline);
    let root = fs_err::canonicalize(workspace::root())?;
    let path = path.strip_prefix(&root).unwrap_or(&path);
    links::write(&run.join(FILE), &format!("{}\n", path.display()))
}

/// Where the pipeline file lies, found as it was when it was read.
fn absolute(pipeline: &Pipeline) -> PathBuf {
    let typed = Path::new(&pipeline.file);
    fs_err::canonicalize(typed)
        .or_else(|_| fs_err::canonicalize(workspace::resolve(typed)))
        .unwrap_or_else(|_| typed.to_owned())
}
