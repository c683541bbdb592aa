//! Where things lie in the checkout, and how other programs are started in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use spanwise_artifact::UserError;
use spanwise_program::signals;

/// The checkout's root: of the package that cargo runs, else around the current directory, else
/// around this program. Where it was built does not count: a checkout may be copied or moved.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let places = [
            package,
            std::env::current_dir().ok(),
            std::env::current_exe().ok(),
        ];
        let root = places.iter().flatten().find_map(|place| root_around(place));
        root.unwrap_or_else(|| PathBuf::from("."))
    })
}

/// The checkout that a path lies in.
fn root_around(path: &Path) -> Option<PathBuf> {
    let is_root = |path: &&Path| path.join("crates/runner/Cargo.toml").is_file();
    path.ancestors().find(is_root).map(Path::to_owned)
}

/// Where `artifacts/` and `runs/` lie: the checkout, or the directory `SPANWISE_OUTPUT` names.
pub fn output() -> PathBuf {
    match std::env::var_os("SPANWISE_OUTPUT") {
        Some(directory) => resolve(directory),
        None => root().to_owned(),
    }
}

/// A file or folder in the system's folder for temporary ones, where it could be made.
pub(crate) fn temporary<T>(made: std::io::Result<T>) -> Result<T, UserError> {
    made.map_err(|error| {
        let folder = std::env::temp_dir();
        UserError::new(format!(
            "nothing can be made in {}: {error}",
            folder.display()
        ))
        .hint("TMPDIR names another folder for temporary files")
    })
}

/// Makes a folder that the user has named, or may have put a file in the place of.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    match fs_err::create_dir_all(folder) {
        Err(error)
            if [ErrorKind::AlreadyExists, ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            let message = format!("{}: a file is in its place", display(folder));
            Err(UserError::new(message).into())
        }
        result => Ok(result?),
    }
}

/// A path as the user writes it: relative ones start at the root.
pub fn resolve(path: impl AsRef<Path>) -> PathBuf {
    root().join(path)
}

/// A path as the user reads it: from the root where it lies below.
pub fn display(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Where `setup` puts libtorch, and where every build looks for it.
pub fn libtorch() -> PathBuf {
    root().join(".libtorch/torch")
}

/// Whether `setup` has run.
pub fn has_libtorch() -> bool {
    libtorch().join("lib").is_dir()
}

/// Cargo, started in the root. It finds libtorch through `.cargo/config.toml`.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .env_remove("LIBTORCH_USE_PYTORCH");
    // `cargo xtask` tells this program which package it is. Handed on, build scripts of
    // dependencies would take that for a change, and Burn would be built anew after every plain
    // `cargo build`.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo features that libtorch takes.
pub const LIBTORCH_FEATURES: &[&str] = &[
    "--features",
    "spanwise-model-tools/tch,spanwise-predict/tch,spanwise-pretrain/tch,spanwise-train/tch",
];

/// The cargo features that go with what is set up. Always the same ones, since a change rebuilds Burn.
pub fn features() -> &'static [&'static str] {
    if has_libtorch() {
        LIBTORCH_FEATURES
    } else {
        &[]
    }
}

/// Runs a command to its end; fails where it does.
pub fn check(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (_, status) = signals::run(command).with_context(|| format!("start {name}"))?;
    signals::check("")?;
    let status = status.with_context(|| format!("wait for {name}"))?;
    if !status.success() {
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        bail!("{name} {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_a_checkout_of_its_own() -> Result<()> {
        let copy = tempfile::tempdir()?;
        let package = copy.path().join("crates/runner");
        fs_err::create_dir_all(package.join("src"))?;
        assert_eq!(root_around(&package), None);
        fs_err::write(package.join("Cargo.toml"), "")?;
        assert_eq!(
            root_around(&package.join("src")),
            Some(copy.path().to_owned())
        );
        Ok(())
    }
}
