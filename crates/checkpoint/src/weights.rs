//! A checkpoint's weights, in whatever files they come, as one `model.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use spanwise_artifact::{UserError, columns, jsonl};

use crate::torch_file;

/// File that the checkpoint artifact has them in.
pub const FILE: &str = "model.safetensors";

/// Where weights may lie, the best choice first: the file itself, or an index of several.
pub const CANDIDATES: [&str; 4] = [
    FILE,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Elements in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

/// An index of several files: `{"weight_map": {tensor: file}}`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weights files of a checkpoint directory; empty where it has none.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let Some(first) = CANDIDATES
        .iter()
        .map(|file| directory.join(file))
        .find(|path| path.is_file())
    else {
        return Ok(Vec::new());
    };
    match shards(&first)? {
        Some(shards) => Ok(shards.iter().map(|file| directory.join(file)).collect()),
        None => Ok(vec![first]),
    }
}

/// The files an index names; `None` where `path` is not an index.
pub fn shards(path: &Path) -> Result<Option<BTreeSet<String>>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".index.json") {
        return Ok(None);
    }
    let index: Index = jsonl::read_document(path)?;
    Ok(Some(index.weight_map.into_values().collect()))
}

/// Writes the tensors of `files` to `output`, under their current names. Refuses a tensor that two files have.
pub fn unify(files: &[PathBuf], output: &Path) -> Result<()> {
    let mut tensors: BTreeMap<String, NamedTensor> = BTreeMap::new();
    for file in files {
        let is_safetensors = file
            .extension()
            .is_some_and(|extension| extension == "safetensors");
        let read = if is_safetensors {
            read_safetensors(file)?
        } else {
            torch_file::read(file).map_err(|error| UserError::new(format!("{error:#}")))?
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
    let views = tensors
        .values()
        .map(|tensor| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?;
            Ok((tensor.name.as_str(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), output)
        .with_context(|| format!("write {}", output.display()))
}

fn read_safetensors(path: &Path) -> Result<Vec<NamedTensor>> {
    let map = columns::map(path)?;
    let damaged = |error| UserError::new(format!("{} is damaged: {error}", path.display()));
    let tensors = SafeTensors::deserialize(&map).map_err(damaged)?;
    let named = |(name, view): (String, TensorView)| NamedTensor {
        name,
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    Ok(tensors.tensors().into_iter().map(named).collect())
}

/// Today's name of a tensor: checkpoints converted from TensorFlow call a layer norm's weight `gamma` and
/// its bias `beta`.
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
    fn old_names_become_todays() {
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
