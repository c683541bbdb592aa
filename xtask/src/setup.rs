//! `cargo xtask setup`: libtorch into `.libtorch/`, an ignored folder of the checkout.
//!
//! In this order: the directory `LIBTORCH` names, the active Python environment's torch, the pinned
//! wheel through pip. Whatever it is, builds and programs see it as `.libtorch/torch`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use fs_err::File;
use spanwise_artifact::UserError;
use zip::ZipArchive;

use spanwise_program::output::message;
use spanwise_program::pip;
use spanwise_runner::programs::has_nvidia_gpu;
use spanwise_runner::{links, workspace};

/// The release that is fetched: the one that burn-tch 0.22 is made for.
const VERSION: &str = "2.9.0";

/// What begins the releases that work. burn-tch calls none of the functions in which they differ.
const SUPPORTED: [&str; 3] = ["2.9.", "2.10.", "2.11."];

/// Wheels whose libraries libtorch's CPU half names, in the CUDA build that the package index has.
const CUDA_STUBS: [&str; 2] = [
    "nvidia-cuda-cupti-cu12==12.8.90",
    "nvidia-cuda-runtime-cu12==12.8.90",
];

/// Sets libtorch up, unless it is.
pub(crate) fn run(cuda: bool) -> Result<()> {
    let destination = workspace::libtorch();
    let has_cuda = destination.join("lib/libtorch_cuda.so").exists();
    let there = supported_version(&destination).filter(|_| workspace::has_libtorch());
    if let Some(version) = there.filter(|_| has_cuda || !cuda) {
        message(format_args!(
            "libtorch {version} is set up in {}",
            workspace::display(&destination)
        ));
        return Ok(());
    }
    let replaces = workspace::has_libtorch();
    if let Some((found, version)) = existing()? {
        message(format_args!(
            "using the libtorch {version} in {}",
            found.display()
        ));
        remove(&destination)?;
        links::replace(&found, &destination)?;
    } else if cuda || has_nvidia_gpu() {
        install_cuda(&destination)?;
    } else {
        install_cpu(&destination)?;
    }
    if replaces {
        // Their build scripts look at what lies in the folder once and do not notice another
        // libtorch.
        let stale = ["torch-sys", "burn-tch", "spanwise-ops"]
            .into_iter()
            .flat_map(|name| ["--package", name]);
        workspace::check(workspace::cargo().args(["clean", "--quiet"]).args(stale))?;
    }
    message(format_args!(
        "libtorch {} is set up in {}",
        version(&destination).unwrap_or_else(|| VERSION.to_owned()),
        workspace::display(&destination)
    ));
    Ok(())
}

/// A libtorch that works and that the user already has, with its version.
fn existing() -> Result<Option<(PathBuf, String)>> {
    if let Some(directory) = std::env::var_os("LIBTORCH")
        .map(PathBuf::from)
        .filter(|path| *path != workspace::libtorch())
    {
        let Some(found) = supported_version(&directory) else {
            let held = version(&directory).map_or_else(
                || "no libtorch".to_owned(),
                |found| format!("version {found}"),
            );
            let error = UserError::new(format!(
                "LIBTORCH names {}, which holds {held}, not libtorch 2.9, 2.10 or 2.11",
                directory.display()
            ));
            return Err(error
                .hint("unset LIBTORCH to have the right version fetched")
                .into());
        };
        return Ok(Some((directory, found)));
    }
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some()
        || std::env::var_os("VIRTUAL_ENV").is_some()
    {
        let script = "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')";
        let output = Command::new("python3")
            .args(["-c", script])
            .output()
            .context("start python3")?;
        let directory = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if let Some(found) = supported_version(&directory) {
            return Ok(Some((directory, found)));
        }
    }
    Ok(None)
}

/// The release of a libtorch directory, without its build tag: a wheel's `version.py` or an
/// archive's `build-version`.
pub(crate) fn version(directory: &Path) -> Option<String> {
    let text = fs_err::read_to_string(directory.join("version.py"))
        .or_else(|_| fs_err::read_to_string(directory.join("build-version")))
        .ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("__version__"))
        .unwrap_or(&text);
    let release = line.trim_start_matches(|c: char| !c.is_ascii_digit());
    Some(release.split(['+', '\'']).next()?.trim().to_owned())
}

/// The release of a libtorch directory, if it is one that works.
fn supported_version(directory: &Path) -> Option<String> {
    let is_supported = |release: &String| SUPPORTED.iter().any(|begin| release.starts_with(begin));
    version(directory).filter(is_supported)
}

/// The version of CUDA that a libtorch directory's libraries are made for; `None` for those without
/// CUDA.
pub(crate) fn cuda_version(directory: &Path) -> Option<String> {
    if !directory.join("lib/libtorch_cuda.so").exists() {
        return None;
    }
    let text = fs_err::read_to_string(directory.join("version.py")).unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix("cuda: "));
    let quoted = named.and_then(|line| line.split('\'').nth(1));
    Some(quoted.unwrap_or("of unknown version").to_owned())
}

/// The whole CUDA build, in a Python environment of its own, where its libraries find each other.
fn install_cuda(destination: &Path) -> Result<()> {
    message(format_args!(
        "fetching libtorch {VERSION} with CUDA: 3.5 GB to fetch, 7 GB on disk"
    ));
    let environment = destination.with_file_name("python");
    workspace::check(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
    )?;
    let python = environment.join("bin/python");
    workspace::check(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        &format!("torch=={VERSION}"),
    ]))?;
    let script =
        "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let output = Command::new(&python).args(["-c", script]).output()?;
    let torch = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        torch.join("lib").is_dir(),
        "pip installed torch, but {} has no lib",
        torch.display()
    );
    remove(destination)?;
    links::replace(&torch, destination)
}

/// The parts of the wheel that computing on a CPU needs.
fn install_cpu(destination: &Path) -> Result<()> {
    let parent = destination.parent().expect("lies in .libtorch");
    fs_err::create_dir_all(parent)?;
    remove_leftovers(parent)?;
    let scratch = tempfile::Builder::new()
        .prefix(&format!("{FETCH}{}-", std::process::id()))
        .tempdir_in(parent)?;
    let root = scratch.path().join("root");
    message(format_args!("fetching libtorch {VERSION} for the CPU"));
    // The smaller CPU wheel, where the user's pip knows an index that has it.
    let wheel =
        pip::download(&format!("torch=={VERSION}+cpu"), scratch.path(), true).or_else(|_| {
            message(format_args!(
                "fetching the wheel: 0.9 GB, of which 0.5 GB are kept"
            ));
            pip::download(&format!("torch=={VERSION}"), scratch.path(), false)
        })?;
    extract(&wheel, &root, |name| {
        let kept = [
            "libtorch_cpu.",
            "libc10.",
            "libgomp",
            "libtorch.",
            "libomp",
            "libshm",
        ];
        name.starts_with("torch/include/")
            || name == "torch/version.py"
            || name
                .strip_prefix("torch/lib/")
                .is_some_and(|file| kept.iter().any(|prefix| file.starts_with(prefix)))
    })?;
    fs_err::remove_file(wheel)?;
    if needs_cuda_stubs(&root.join("torch/lib"))? {
        for requirement in CUDA_STUBS {
            let wheel = pip::download(requirement, scratch.path(), false)?;
            extract(&wheel, &root, |name| {
                name.starts_with("nvidia/") && name.contains("/lib/")
            })?;
            fs_err::remove_file(wheel)?;
        }
        replace_front_library(&root.join("torch/lib"))?;
    }
    for entry in fs_err::read_dir(&root)? {
        let entry = entry?;
        let target = parent.join(entry.file_name());
        remove(&target)?;
        fs_err::rename(entry.path(), target)?;
    }
    Ok(())
}

/// What begins the name of a folder that a setup fetches into; its process and some letters follow.
const FETCH: &str = ".fetch-";

/// Removes what setups have left that were killed.
fn remove_leftovers(parent: &Path) -> Result<()> {
    for entry in fs_err::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(owner) = name.strip_prefix(FETCH) else {
            continue;
        };
        let process = owner.split('-').next().unwrap_or_default();
        let is_running = !process.is_empty()
            && process.bytes().all(|byte| byte.is_ascii_digit())
            && Path::new("/proc").join(process).exists();
        if !is_running {
            message(format_args!(
                "removing {name}, which an interrupted setup has left"
            ));
            fs_err::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes a directory, or a link to one, if there is any.
fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs_err::remove_dir_all(path)?,
        Ok(_) => fs_err::remove_file(path)?,
        Err(_) => {}
    }
    Ok(())
}

fn extract(wheel: &Path, destination: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
    let mut archive = ZipArchive::new(File::open(wheel)?)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(name) = entry.enclosed_name() else {
            bail!("{} holds an unsafe path", wheel.display())
        };
        if entry.is_dir() || !keep(&name.to_string_lossy()) {
            continue;
        }
        let path = destination.join(name);
        fs_err::create_dir_all(path.parent().expect("joined to a directory"))?;
        io::copy(&mut entry, &mut File::create(&path)?)?;
    }
    Ok(())
}

/// Whether this is the CUDA build: its CPU half names CUDA's profiling library.
fn needs_cuda_stubs(libraries: &Path) -> Result<bool> {
    let path = libraries.join("libtorch_cpu.so");
    if !path.exists() {
        return Ok(false);
    }
    let bytes = fs_err::read(path)?;
    let name = b"libcupti.so";
    Ok(bytes.windows(name.len()).any(|window| window == name))
}

/// Puts an empty `libtorch.so` in place of the CUDA build's, which would load all of CUDA.
fn replace_front_library(libraries: &Path) -> Result<()> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut link = Command::new(compiler);
    link.current_dir(libraries)
        .args(["-shared", "-o", "libtorch.so", "-Wl,-soname,libtorch.so"]);
    link.args([
        "-Wl,--no-as-needed",
        "-Wl,--allow-shlib-undefined",
        "-L.",
        "-ltorch_cpu",
        "-Wl,-rpath,$ORIGIN",
    ]);
    workspace::check(&mut link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_work_are_known_by_their_files() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        let python = |release: &str, cuda: &str| {
            let text =
                format!("__version__ = '{release}'\ndebug = False\ncuda: Optional[str] = {cuda}\n");
            fs_err::write(path.join("version.py"), text)
        };
        assert_eq!((supported_version(path), cuda_version(path)), (None, None));
        for (release, supported) in [
            ("2.8.0", false),
            ("2.9.0+cpu", true),
            ("2.9.1", true),
            ("2.10.0+cu128", true),
            ("2.11.0+cu130", true),
            ("2.12.0", false),
            ("2.110.0", false),
            ("12.9.0", false),
        ] {
            python(release, "None")?;
            let number = release.split('+').next().map(str::to_owned);
            assert_eq!(version(path), number);
            assert_eq!(supported_version(path), number.filter(|_| supported));
        }
        // Of a wheel's CPU half, whose version.py is the CUDA build's.
        python("2.11.0+cu130", "'13.0'")?;
        assert_eq!(cuda_version(path), None);
        fs_err::create_dir(path.join("lib"))?;
        fs_err::write(path.join("lib/libtorch_cuda.so"), "")?;
        assert_eq!(cuda_version(path), Some("13.0".to_owned()));
        // An archive in place of a wheel.
        fs_err::remove_file(path.join("version.py"))?;
        fs_err::write(path.join("build-version"), "2.10.0+cu128\n")?;
        assert_eq!(supported_version(path), Some("2.10.0".to_owned()));
        assert_eq!(cuda_version(path), Some("of unknown version".to_owned()));
        Ok(())
    }

    #[test]
    fn what_killed_setups_have_left_is_removed() -> Result<()> {
        let parent = tempfile::tempdir()?;
        let own = format!("{FETCH}{}-abc", std::process::id());
        for name in [&own, ".fetch-U4Di5r", ".fetch-4194305-abc", "torch"] {
            fs_err::create_dir(parent.path().join(name))?;
        }
        remove_leftovers(parent.path())?;
        let mut left: Vec<_> = fs_err::read_dir(parent.path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        left.sort();
        assert_eq!(left, [own, "torch".to_owned()]);
        Ok(())
    }
}
