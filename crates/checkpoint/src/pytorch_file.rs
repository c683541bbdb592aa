//! `pytorch_model.bin`: the state dictionary that `torch.save` writes, read without Python.
//!
//! The `pytorch-reader` crate interprets the pickle as data: nothing in it is imported or called,
//! and every length that a file declares is checked against the file. What it accepts beyond a flat
//! state dictionary of plausible size is refused here.

use std::io::{self, Read};
use std::path::Path;

use fs_err::File;
use pytorch_reader::{DType, PickleValue, PytorchError, PytorchReader};
use safetensors::tensor::Dtype;

use crate::tensor::NamedTensor;

/// Where a TAR archive holds [`TAR_MAGIC`], and the bytes to read of a file to see it.
const TAR_MAGIC_OFFSET: usize = 257;
const TAR_MAGIC: &[u8] = b"ustar";

/// How often the bytes of a file may occur in its tensors. Tensors share storages where weights are
/// tied or views overlap, twice in the checkpoints of the hub and never this often.
const LARGEST_EXPANSION: u64 = 16;

/// Bytes of tensors that are never too many: small files consist mostly of their headers.
const SMALL: u64 = 1 << 20;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum PytorchFileError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is damaged, is no such file, or holds what has no counterpart here.
    #[error(transparent)]
    Format(#[from] PytorchError),
    /// A TAR archive, as PyTorch wrote them before version 0.1.10.
    #[error("it is a TAR archive, which PyTorch stopped writing in 2017")]
    Tar,
    /// No entry of the dictionary is a tensor.
    #[error("it holds no tensors")]
    Empty,
    /// The tensors do not lie in the outermost dictionary.
    #[error("its tensors are in {0:?}, not at the top: it is not a plain state dictionary")]
    Nested(String),
    /// The tensors are implausibly large for the file, as views that repeat a few bytes can be.
    #[error("its tensors would take {tensors} bytes, but the file has {file}")]
    TooLarge {
        /// Bytes of all tensors together.
        tensors: u64,
        /// Bytes of the file.
        file: u64,
    },
}

impl PytorchFileError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(_) => "check that the file can be read",
            Self::Nested(_) => {
                "save the state dictionary by itself: torch.save(model.state_dict(), \"pytorch_model.bin\")"
            }
            Self::Format(_) | Self::Tar | Self::Empty | Self::TooLarge { .. } => {
                "fetch the checkpoint again, or save it with transformers' save_pretrained"
            }
        }
    }
}

/// Reads every tensor of a state dictionary in the zip form (PyTorch 1.6 and later) or the older
/// form of several pickles. Other entries of the dictionary are left out.
///
/// # Errors
/// See [`PytorchFileError`]. Tensors are read only after all of them have been checked.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>, PytorchFileError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    file.take((TAR_MAGIC_OFFSET + TAR_MAGIC.len()) as u64)
        .read_to_end(&mut header)?;
    // The crate reads the entries of such an archive whole, and a sparse entry may declare any
    // size.
    if header.get(TAR_MAGIC_OFFSET..) == Some(TAR_MAGIC) {
        return Err(PytorchFileError::Tar);
    }
    check_is_flat(&PytorchReader::read_pickle_data(path, None)?)?;

    let tensors = PytorchReader::new(path)?.into_tensors();
    // The crate's own bound, 10 GiB for each tensor, is meant for its address space and not for the
    // file.
    let total = tensors.values().fold(0, |total: u64, tensor| {
        total.saturating_add(tensor.byte_len() as u64)
    });
    if total > length.saturating_mul(LARGEST_EXPANSION).max(SMALL) {
        return Err(PytorchFileError::TooLarge {
            tensors: total,
            file: length,
        });
    }
    let read = |tensor: pytorch_reader::Tensor| {
        Ok(NamedTensor {
            bytes: tensor.read()?,
            dtype: dtype(tensor.dtype()),
            shape: tensor.shape().to_vec(),
            name: tensor.name,
        })
    };
    tensors.into_values().map(read).collect()
}

/// Refuses tensors in dictionaries or lists within the dictionary. The crate joins their keys with
/// dots, so that a training state would bring its optimizer's tensors along, and two tensors could
/// get one name.
fn check_is_flat(root: &PickleValue) -> Result<(), PytorchFileError> {
    let PickleValue::Dict(entries) = root else {
        return Err(PytorchFileError::Empty);
    };
    let mut nested: Vec<&String> = entries
        .iter()
        .filter(|(_, value)| !is_tensor(value) && holds_tensor(value))
        .map(|(name, _)| name)
        .collect();
    nested.sort();
    match nested.first() {
        Some(name) => Err(PytorchFileError::Nested((*name).clone())),
        None if entries.values().any(is_tensor) => Ok(()),
        None => Err(PytorchFileError::Empty),
    }
}

fn is_tensor(value: &PickleValue) -> bool {
    matches!(value, PickleValue::Unsupported(kind) if kind == "torch.Tensor")
}

fn holds_tensor(value: &PickleValue) -> bool {
    match value {
        PickleValue::List(values) => values.iter().any(holds_tensor),
        PickleValue::Dict(entries) => entries.values().any(holds_tensor),
        other => is_tensor(other),
    }
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}
