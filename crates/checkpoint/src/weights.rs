//! A checkpoint's weights, in whatever files they come, as one `model.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use spanwise_artifact::text::some_of;
use spanwise_artifact::{UserError, columns};
use spanwise_config::EncoderConfig;

use crate::tensor::{self, NamedTensor};
use crate::{foreign, pytorch_file, read_json};

/// The file that holds the weights of a checkpoint artifact.
pub const FILE: &str = "model.safetensors";

/// The files that may hold the weights of a source, or list those that do, in order of preference.
pub const CANDIDATES: [&str; 4] = [
    FILE,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

const FETCH_AGAIN: &str = "fetch the checkpoint again";

/// What training scripts put before the names of tensors: data-parallel and compiled models, and
/// models that are a field of another.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// An index of several files: `{"weight_map": {tensor: file}}`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Bytes of the longest header: a hundred for each tensor, of which the largest encoders have some
/// thousands.
const LONGEST_HEADER: u64 = 4 << 20;

/// Returns the weights files of a checkpoint directory; none if it has no weights.
///
/// # Errors
/// Fails with a [`UserError`] if an index cannot be read or names a file that is missing.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut candidates = CANDIDATES.iter().map(|file| directory.join(file));
    let Some(first) = candidates.find(|path| path.is_file()) else {
        return Ok(Vec::new());
    };
    let Some(shards) = shards(&first)? else {
        return Ok(vec![first]);
    };
    let path = |file: &String| directory.join(file);
    let missing: Vec<&String> = shards.iter().filter(|file| !path(file).is_file()).collect();
    let (is, it) = if missing.len() == 1 {
        ("is", "it")
    } else {
        ("are", "them")
    };
    ensure!(
        missing.is_empty(),
        UserError::new(format!(
            "{} {is} missing, but {} names {it}",
            some_of(&missing),
            first.display()
        ))
        .hint(FETCH_AGAIN)
    );
    Ok(shards.iter().map(path).collect())
}

/// Returns the files that an index names; `None` if `path` is not an index.
///
/// # Errors
/// Fails with a [`UserError`] if the index cannot be read or names a file outside its directory.
pub fn shards(path: &Path) -> Result<Option<BTreeSet<String>>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".index.json") {
        return Ok(None);
    }
    let index: Index = read_json(path)?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    for shard in &shards {
        // The hub's cache writes a file where its name says.
        let mut parts = Path::new(shard).components();
        let is_name = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
        ensure!(
            is_name,
            UserError::new(format!(
                "{} names {shard:?}, which is outside the checkpoint",
                path.display()
            ))
            .hint("fetch the checkpoint from its own source: this one was tampered with")
        );
    }
    Ok(Some(shards))
}

/// Writes the tensors of `files` to `output` as safetensors, under their current names.
///
/// # Errors
/// Fails with a [`UserError`] if a file is damaged or two files hold a tensor of the same name.
pub fn unify(files: &[PathBuf], output: &Path) -> Result<()> {
    let mut tensors: BTreeMap<String, NamedTensor> = BTreeMap::new();
    for file in files {
        foreign::refuse(file)?;
        // What a file is counts, not what it is called.
        let read = if foreign::is_safetensors(file)? {
            read_safetensors(file)?
        } else {
            pytorch_file::read(file).map_err(|error| {
                let message = format!("cannot read {}: {error}", file.display());
                UserError::new(message).hint(error.hint())
            })?
        };
        for mut tensor in read {
            tensor.name = current_name(&tensor.name);
            let name = tensor.name.clone();
            ensure!(
                tensors.insert(name.clone(), tensor).is_none(),
                UserError::new(format!("the checkpoint has two tensors named {name:?}"))
                    .hint(FETCH_AGAIN)
            );
        }
    }
    tensor::write(output, tensors.values())
}

fn read_safetensors(path: &Path) -> Result<Vec<NamedTensor>> {
    let map = columns::map(path)?;
    let damaged = |what: String| {
        UserError::new(format!("{} is damaged: {what}", path.display())).hint(FETCH_AGAIN)
    };
    let header = map
        .first_chunk()
        .map_or(0, |length| u64::from_le_bytes(*length));
    ensure!(
        header <= LONGEST_HEADER,
        damaged(format!(
            "its header has {header} bytes, which no encoder needs"
        ))
    );
    let tensors = SafeTensors::deserialize(&map).map_err(|error| damaged(error.to_string()))?;
    let named = |(name, view): (String, TensorView)| NamedTensor {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    Ok(tensors.tensors().into_iter().map(named).collect())
}

/// Refuses weights that are not those of the encoder that `config` describes: tensors that are
/// missing, or of another shape. Only the header of `directory`'s weights is read.
///
/// # Errors
/// Fails with a [`UserError`] that names the first few.
pub fn check(name: &str, directory: &Path, config: &EncoderConfig) -> Result<()> {
    let path = directory.join(FILE);
    let map = columns::map(&path)?;
    let tensors = SafeTensors::deserialize(&map).with_context(|| format!("{}", path.display()))?;
    config.refuse_other_tensors(name, |tensor| {
        Some(tensors.tensor(tensor).ok()?.shape().to_vec())
    })?;
    Ok(())
}

/// Returns the name that a tensor has today and without wrappers: checkpoints converted from
/// TensorFlow call a layer norm's weight `gamma` and its bias `beta`.
fn current_name(name: &str) -> String {
    let unwrapped = WRAPPERS
        .iter()
        .find_map(|wrapper| name.strip_prefix(wrapper));
    if let Some(name) = unwrapped {
        return current_name(name);
    }
    match name.rsplit_once('.') {
        Some((module, "gamma")) => format!("{module}.weight"),
        Some((module, "beta")) => format!("{module}.bias"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_tensors_of_old_checkpoints() {
        let check = |name: &str, expected: &str| assert_eq!(current_name(name), expected);
        check(
            "bert.embeddings.LayerNorm.gamma",
            "bert.embeddings.LayerNorm.weight",
        );
        check(
            "bert.embeddings.LayerNorm.beta",
            "bert.embeddings.LayerNorm.bias",
        );
        check("bert.pooler.dense.bias", "bert.pooler.dense.bias");
    }

    #[test]
    fn takes_wrappers_off() {
        let check = |name: &str, expected: &str| assert_eq!(current_name(name), expected);
        check("module.bert.pooler.dense.bias", "bert.pooler.dense.bias");
        check(
            "model._orig_mod.module.bert.LayerNorm.gamma",
            "bert.LayerNorm.weight",
        );
        check("models.bert.weight", "models.bert.weight");
    }
}
