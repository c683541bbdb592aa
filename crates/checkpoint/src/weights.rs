//! A checkpoint's weights, in whatever files they come, as one `model.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use spanwise_artifact::{UserError, columns};

use crate::tensor::{self, NamedTensor};
use crate::{pytorch_file, read_json};

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

/// An index of several files: `{"weight_map": {tensor: file}}`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

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
    let paths: Vec<PathBuf> = shards.iter().map(|file| directory.join(file)).collect();
    for path in &paths {
        ensure!(
            path.is_file(),
            UserError::new(format!(
                "{} is missing, but {} names it",
                path.display(),
                first.display()
            ))
            .hint(FETCH_AGAIN)
        );
    }
    Ok(paths)
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
        let inside = |component| matches!(component, Component::Normal(_));
        ensure!(
            Path::new(shard).components().all(inside),
            UserError::new(format!(
                "{} names {shard:?}, which is outside the checkpoint",
                path.display()
            ))
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
        let is_safetensors = file
            .extension()
            .is_some_and(|extension| extension == "safetensors");
        let read = if is_safetensors {
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
                UserError::new(format!("the checkpoint has two tensors named {name}"))
            );
        }
    }
    tensor::write(output, tensors.values())
}

fn read_safetensors(path: &Path) -> Result<Vec<NamedTensor>> {
    let map = columns::map(path)?;
    let tensors = SafeTensors::deserialize(&map).map_err(|error| {
        UserError::new(format!("{} is damaged: {error}", path.display())).hint(FETCH_AGAIN)
    })?;
    let named = |(name, view): (String, TensorView)| NamedTensor {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    Ok(tensors.tensors().into_iter().map(named).collect())
}

/// Returns the name that a tensor has today: checkpoints converted from TensorFlow call a layer
/// norm's weight `gamma` and its bias `beta`.
fn current_name(name: &str) -> String {
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
}
