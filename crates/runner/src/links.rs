//! Symbolic links: what a run's folder holds, and where libtorch lies.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err::os::unix::fs::symlink;
use spanwise_artifact::UserError;

/// Points `link` at `target`, replacing what it pointed at. An absolute target in the same tree is
/// linked relatively, so that the tree can be moved.
pub fn replace(target: &Path, link: &Path) -> Result<()> {
    let parent = link.parent().context("a link lies in a folder")?;
    fs_err::create_dir_all(parent)?;
    let target = if target.is_absolute() {
        relative(
            &fs_err::canonicalize(target)?,
            &fs_err::canonicalize(parent)?,
        )
    } else {
        target.to_owned()
    };
    ensure!(
        !link.is_dir() || link.is_symlink(),
        UserError::new(format!("{} is a directory", link.display()))
            .hint("a link to the run's artifact belongs there: move the directory elsewhere")
    );
    // Renamed into place: there is no moment without a link.
    let new = tempfile::Builder::new()
        .prefix(NEW)
        .make_in(parent, |path| symlink(&target, path))?;
    new.into_temp_path().persist(link)?;
    Ok(())
}

/// What a link's name begins with until it is renamed into place.
const NEW: &str = ".link-";

fn is_new(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(NEW)
}

/// The way from `folder` to `target`, both absolute; `target` itself where they have nothing but
/// the root in common.
fn relative(target: &Path, folder: &Path) -> PathBuf {
    let pairs = target.components().zip(folder.components());
    let common = pairs
        .take_while(|(target, folder)| target == folder)
        .count();
    if common < 2 {
        return target.to_owned();
    }
    let up = folder
        .components()
        .skip(common)
        .map(|_| Component::ParentDir);
    up.chain(target.components().skip(common)).collect()
}

/// Removes all links in `folder` but those to keep, likewise in its folders that are one of `own`
/// or below one, and `folder` itself if nothing is left.
pub fn remove_others(folder: &Path, own: &[PathBuf], keep: &[PathBuf]) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && own.iter().any(|own| path.starts_with(own)) {
            remove_others(&path, own, keep)?;
        } else if kind.is_symlink() && !keep.contains(&path) && !is_new(&entry.file_name()) {
            fs_err::remove_file(path)?;
        }
    }
    if fs_err::read_dir(folder)?.next().is_none() {
        fs_err::remove_dir(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_relative_within_a_tree() {
        let check = |target: &str, folder: &str, expected: &str| {
            assert_eq!(
                relative(Path::new(target), Path::new(folder)),
                Path::new(expected)
            );
        };
        check(
            "/w/artifacts/train/a",
            "/w/runs/demo",
            "../../artifacts/train/a",
        );
        check("/w/runs/demo/answers", "/w/runs/demo", "answers");
        check("/opt/torch", "/w/.libtorch", "/opt/torch");
    }

    #[test]
    fn links_survive_a_move_of_the_tree() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let [old, new] = ["old", "new"].map(|name| parent.path().join(name));
        fs_err::create_dir_all(old.join("artifacts/data/a"))?;
        fs_err::create_dir_all(old.join("artifacts/data/b"))?;
        let link = old.join("runs/demo/data");
        replace(&old.join("artifacts/data/a"), &link)?;
        replace(&old.join("artifacts/data/b"), &link)?;
        fs_err::rename(&old, &new)?;
        assert_eq!(
            fs_err::canonicalize(new.join("runs/demo/data"))?,
            fs_err::canonicalize(new.join("artifacts/data/b"))?
        );
        Ok(())
    }

    #[test]
    fn folders_of_others_stay() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let run = directory.path().join("run");
        let path = |name: &str| run.join(name);
        for name in ["data", "members/1/train", "members/2/train", "other/train"] {
            replace(Path::new("elsewhere"), &path(name))?;
        }
        remove_others(&run, &[path("members")], &[path("members/1/train")])?;
        let there = |name: &str| path(name).symlink_metadata().is_ok();
        assert!(there("members/1/train") && there("other/train"));
        assert!(!there("data") && !there("members/2"));
        Ok(())
    }
}
