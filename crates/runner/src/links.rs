//! Symbolic links, and what else a run's folder holds, replaced by renaming.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use spanwise_artifact::UserError;
use spanwise_program::output::message;

use crate::workspace;

/// Points `link` at `target`, replacing what it pointed at. An absolute target in the same tree is
/// linked relatively, so that the tree can be moved.
pub fn replace(target: &Path, link: &Path) -> Result<()> {
    ensure!(
        !link.is_dir() || link.is_symlink(),
        UserError::new(format!("{} is a directory", link.display()))
            .hint("a link to the run's artifact belongs there: move the directory elsewhere")
    );
    let parent = link.parent().context("a link lies in a folder")?;
    loop {
        fs_err::create_dir_all(parent)?;
        match again(|| put(target, parent, link)) {
            // Another run of the same pipeline has removed the empty folder meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound && !parent.exists() => {}
            result => return result.with_context(|| format!("link {}", link.display())),
        }
    }
}

/// Tries what makes something new and renames it into place, and tries it again where the new thing
/// was gone by then: beside a command that holds no artifact, `gc` takes it for what a killed run has
/// left.
fn again(put: impl Fn() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..2 {
        match put() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
    }
    put()
}

/// Renames a new link into place: there is no moment without a link.
fn put(target: &Path, parent: &Path, link: &Path) -> io::Result<()> {
    let target = if target.is_absolute() {
        relative(
            &fs_err::canonicalize(target)?,
            &fs_err::canonicalize(parent)?,
        )
    } else {
        target.to_owned()
    };
    if fs_err::read_link(link).is_ok_and(|there| there == target) {
        return Ok(());
    }
    let mut new = tempfile::Builder::new();
    match new
        .prefix(NEW)
        .make_in(parent, |path| symlink(&target, path))
    {
        Ok(new) => Ok(new.into_temp_path().persist(link)?),
        Err(error) if has_none(&error) => stand_in(&target, link),
        Err(error) => Err(error),
    }
}

/// Unlike `fs_err`'s, its error has the system's number, which [`has_none`] looks at.
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Whether a file system has refused a symbolic link since it has none.
fn has_none(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP])
}

/// Whether the system has ended a call with one of these numbers.
pub(crate) fn is_one_of(error: &io::Error, numbers: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| numbers.contains(&errno))
}

/// Puts a copy of a file in a link's place, or a file that names a directory.
fn stand_in(target: &Path, link: &Path) -> io::Result<()> {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let folder = workspace::display(link.parent().unwrap_or(link));
        message(format_args!(
            "{folder}: the file system has no symbolic links: copies of files and files that name \
             a directory stand for them"
        ));
    });
    let there = link.with_file_name(target);
    if there.is_file() {
        let new = tempfile::NamedTempFile::new_in(link.with_file_name(""))?;
        fs_err::copy(there, new.path())?;
        new.persist(link)?;
        return Ok(());
    }
    let text = [STAND_IN, target.as_os_str().as_bytes()].concat();
    write_bytes(link, &text)
}

/// What a file that stands for a link to a directory begins with.
const STAND_IN: &[u8] = b"link to ";

/// Where a link to a directory, or what stands for one, leads; `None` for anything else. Fails
/// where nothing is there.
pub fn follow(path: &Path) -> Option<io::Result<PathBuf>> {
    if path.is_symlink() {
        return Some(fs_err::canonicalize(path));
    }
    if !path.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = fs_err::File::open(path).ok()?;
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    let target = text.strip_prefix(STAND_IN)?;
    Some(fs_err::canonicalize(
        path.with_file_name(OsStr::from_bytes(target)),
    ))
}

/// More bytes than a path has.
const LONGEST: u64 = 1 << 13;

/// Writes a file of a run's folder, so that at no moment half of it is there.
pub fn write(path: &Path, text: &str) -> Result<()> {
    again(|| write_bytes(path, text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = tempfile::Builder::new()
        .prefix(NEW)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.with_file_name(""))?;
    new.write_all(bytes)?;
    // A power cut could leave an empty file otherwise.
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

/// What a link's or a file's name begins with until it is renamed into place.
const NEW: &str = ".new-";

/// Whether a link or a file has not got its name yet: where no run is, it is of one that was killed.
pub(crate) fn is_new(name: &OsStr) -> bool {
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

/// Removes all links into `artifacts`, and those that lead nowhere, from `folder`, but those to keep,
/// likewise in its folders that are one of `own` or below one, and `folder` itself if nothing is
/// left. Other links are the user's.
pub fn remove_others(
    folder: &Path,
    artifacts: &Path,
    own: &[PathBuf],
    keep: &[PathBuf],
) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && own.iter().any(|own| path.starts_with(own)) {
            remove_others(&path, artifacts, own, keep)?;
        } else if !keep.contains(&path)
            && !is_new(&entry.file_name())
            && follow(&path)
                .is_some_and(|target| target.map_or(true, |target| target.starts_with(artifacts)))
        {
            fs_err::remove_file(path)?;
        }
    }
    match fs_err::remove_dir(folder) {
        // It may be a link to the folder.
        Err(error)
            if [ErrorKind::DirectoryNotEmpty, ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(())
        }
        result => Ok(result?),
    }
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
    fn files_stand_for_links_where_there_are_none() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let path = |name: &str| parent.path().join(name);
        fs_err::create_dir_all(path("artifacts/data/a"))?;
        fs_err::write(path("artifacts/data/a/metrics.json"), "{}")?;
        fs_err::create_dir_all(path("run"))?;
        stand_in(Path::new("../artifacts/data/a"), &path("run/data"))?;
        stand_in(
            Path::new("../artifacts/data/a/metrics.json"),
            &path("run/metrics.json"),
        )?;
        assert_eq!(fs_err::read_to_string(path("run/metrics.json"))?, "{}");
        let followed = follow(&path("run/data")).context("it stands for a link")??;
        assert_eq!(followed, fs_err::canonicalize(path("artifacts/data/a"))?);
        assert!(follow(&path("run/metrics.json")).is_none());
        assert!(has_none(&io::Error::from_raw_os_error(1)));
        let refused = symlink(Path::new("a"), &path("run")).expect_err("it is there");
        assert!(refused.raw_os_error().is_some(), "{refused}");
        let artifacts = fs_err::canonicalize(path("artifacts"))?;
        remove_others(&path("run"), &artifacts, &[], &[])?;
        assert!(!path("run/data").exists() && path("run/metrics.json").exists());
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
        let mine = directory.path().join("mine");
        fs_err::create_dir(&mine)?;
        replace(&mine, &path("notes"))?;
        let artifacts = directory.path().join("artifacts");
        remove_others(
            &run,
            &artifacts,
            &[path("members")],
            &[path("members/1/train")],
        )?;
        assert!(path("notes").is_symlink(), "it is the user's");
        let there = |name: &str| path(name).symlink_metadata().is_ok();
        assert!(there("members/1/train") && there("other/train"));
        assert!(!there("data") && !there("members/2"));
        Ok(())
    }
}
