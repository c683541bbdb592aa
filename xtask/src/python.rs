//! Python environments with torch and transformers, in `.libtorch/`: for the benchmark's peer, and
//! for checking that transformers reads what this project writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use spanwise_program::output::message;
use spanwise_runner::workspace;

/// Returns the interpreter of an environment with torch and transformers 4.57, made on first use.
///
/// # Errors
/// Fails if Python or a package cannot be had.
pub(crate) fn environment() -> Result<PathBuf> {
    let what = "torch and transformers (several GB)";
    make("peer", what, &["torch==2.9.0", "transformers<5", "numpy"])
}

/// As [`environment`], but without torch: enough for tokenizers.
pub(crate) fn without_torch() -> Result<PathBuf> {
    make("tokenizers", "transformers", &["transformers<5", "numpy"])
}

fn make(name: &str, what: &str, packages: &[&str]) -> Result<PathBuf> {
    let directory = workspace::root().join(".libtorch").join(name);
    let python = directory.join("bin/python");
    once(&directory, || {
        message(format_args!("creating a Python environment with {what}"));
        workspace::check(Command::new("python3").args(["-m", "venv"]).arg(&directory))?;
        workspace::check(install(&python).args(packages))
    })?;
    Ok(python)
}

/// Returns a folder with the newest transformers and what it needs besides torch, made on first use.
/// In `PYTHONPATH` it goes before the release of the environment.
///
/// # Errors
/// Fails if a package cannot be had.
pub(crate) fn newest(python: &Path) -> Result<PathBuf> {
    let directory = workspace::root().join(".libtorch/transformers");
    once(&directory, || {
        let mut install = install(python);
        install.arg("--target").arg(&directory);
        workspace::check(install.args(["transformers>=5.3", "numpy"]))
    })?;
    Ok(directory)
}

/// Compiling modules in advance takes longer than what is run here.
fn install(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile"]);
    pip
}

/// Fills a folder, unless that has been done to its end.
fn once(directory: &Path, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let ready = directory.join("ready");
    if !ready.exists() {
        if directory.exists() {
            fs_err::remove_dir_all(directory)?;
        }
        fill()?;
        fs_err::write(&ready, "")?;
    }
    Ok(())
}
