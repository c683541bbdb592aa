//! A tensor in memory, and writing tensors as safetensors.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Its elements in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

/// Writes tensors to the safetensors file `path`, with the metadata `format: pt` that transformers
/// expects. The order of `tensors` does not show in the file.
///
/// # Errors
/// Fails if the bytes of a tensor do not fit its type and shape, or the file cannot be written.
pub fn write<'a>(path: &Path, tensors: impl IntoIterator<Item = &'a NamedTensor>) -> Result<()> {
    let view = |tensor: &'a NamedTensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
            .with_context(|| format!("write {}", tensor.name))?;
        anyhow::Ok((tensor.name.as_str(), view))
    };
    let views = tensors.into_iter().map(view).collect::<Result<Vec<_>>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), path)
        .with_context(|| format!("write {}", path.display()))
}
