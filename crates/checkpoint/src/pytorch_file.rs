//! `pytorch_model.bin`: the state dictionary that `torch.save` writes, read without Python.
//!
//! The `pytorch-reader` crate interprets the pickle as data: nothing in it is imported or called,
//! and every length that a file declares is checked against the file. What it accepts beyond a
//! state dictionary of plausible size is refused here, and the checksums of whole archives are
//! compared.

use std::io::{self, BufReader, Read};
use std::path::Path;

use fs_err::File;
use pytorch_reader::{DType, PickleValue, PytorchError, PytorchReader};
use safetensors::tensor::Dtype;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::pickle;
use crate::tensor::NamedTensor;

/// Where a TAR archive holds [`TAR_MAGIC`], and the bytes to read of a file to see it.
const TAR_MAGIC_OFFSET: usize = 257;
const TAR_MAGIC: &[u8] = b"ustar";

/// How often the bytes of a file may occur in its tensors. Tensors share storages where weights are
/// tied or views overlap, twice in the checkpoints of the hub and never this often.
const LARGEST_EXPANSION: u64 = 16;

/// Bytes of tensors that are never too many: small files consist mostly of their headers.
const SMALL: u64 = 1 << 20;

/// Bytes of the longest pickle. A state dictionary has 200 for each tensor, and every byte may
/// become a value a hundred times as large.
pub(crate) const LONGEST_PICKLE: u64 = 2 << 20;

/// First bytes of an archive.
const ZIP_MAGIC: &[u8] = b"PK";

/// What training scripts call the state dictionary where they save more than it.
const WRAPPERS: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum PytorchFileError {
    /// The file cannot be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is damaged, is no such file, or holds what has no counterpart here.
    #[error(transparent)]
    Format(#[from] PytorchError),
    /// The archive around the pickle is damaged.
    #[error("its archive is damaged: {0}")]
    Archive(#[from] ZipError),
    /// What an archive holds is not what was put in.
    #[error("{0:?} in its archive is damaged: {1}")]
    Entry(String, io::Error),
    /// A pickle that no state dictionary needs.
    #[error("its pickle has more than {LONGEST_PICKLE} bytes")]
    LongPickle,
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
            Self::Format(_)
            | Self::Archive(_)
            | Self::Entry(..)
            | Self::LongPickle
            | Self::Tar
            | Self::Empty
            | Self::TooLarge { .. } => {
                "fetch the checkpoint again, or save it with transformers' save_pretrained"
            }
        }
    }
}

/// Reads every tensor of a state dictionary in the zip form (PyTorch 1.6 and later) or the older
/// form of several pickles, at the top or under a name that training scripts give it. Other entries
/// are left out.
///
/// # Errors
/// See [`PytorchFileError`]. Tensors are read only after all of them have been checked.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>, PytorchFileError> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    (&file)
        .take((TAR_MAGIC_OFFSET + TAR_MAGIC.len()) as u64)
        .read_to_end(&mut header)?;
    // The crate reads the entries of such an archive whole, and a sparse entry may declare any
    // size.
    if header.get(TAR_MAGIC_OFFSET..) == Some(TAR_MAGIC) {
        return Err(PytorchFileError::Tar);
    }
    let is_archive = header.starts_with(ZIP_MAGIC);
    if is_archive {
        check_archive(path, length)?;
    } else {
        pickle::check_lengths(path)?;
    }
    let reader = match wrapper(&PytorchReader::read_pickle_data(path, None)?)? {
        None => PytorchReader::new(path)?,
        Some(key) => PytorchReader::with_top_level_key(path, key)?,
    };

    let tensors = reader.into_tensors();
    // The crate's own bound, 10 GiB for each tensor, is meant for its address space and not for the
    // file.
    let total = tensors.values().fold(0, |total: u64, tensor| {
        total.saturating_add(tensor.byte_len() as u64)
    });
    if total > most_bytes(length) {
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
    let tensors = tensors
        .into_values()
        .map(read)
        .collect::<Result<Vec<_>, PytorchFileError>>()?;
    if is_archive {
        check_sums(path, length)?;
    }
    Ok(tensors)
}

/// Bytes that the tensors of a file of this length may have together.
fn most_bytes(length: u64) -> u64 {
    length.saturating_mul(LARGEST_EXPANSION).max(SMALL)
}

/// Refuses an archive whose pickle is longer than any state dictionary's.
fn check_archive(path: &Path, length: u64) -> Result<(), PytorchFileError> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let is_pickle = entry.name().is_ok_and(|name| name.ends_with("data.pkl"));
        if is_pickle && entry.size() > LONGEST_PICKLE.min(most_bytes(length)) {
            return Err(PytorchFileError::LongPickle);
        }
    }
    Ok(())
}

/// Reads every entry of an archive to its end, where its checksum is compared. The tensors' own
/// reader stops where a tensor does.
fn check_sums(path: &Path, length: u64) -> Result<(), PytorchFileError> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
    let mut left = most_bytes(length);
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        let unchecked = entry.crc32() == 0; // as `torch.save` without checksums writes
        let (size, name) = (entry.size(), entry.name()?.into_owned());
        drop(entry);
        // What no tensor needs may be of any size, and is not read.
        if unchecked || size > left {
            continue;
        }
        left -= size;
        let entry = archive.by_index(index)?;
        io::copy(&mut entry.take(size + 1), &mut io::sink())
            .map_err(|error| PytorchFileError::Entry(name, error))?;
    }
    Ok(())
}

/// Returns the key of the dictionary that holds the tensors; `None` where the outermost one does.
///
/// Tensors in other dictionaries or lists are refused. The crate joins their keys with dots, so that
/// a training state would bring its optimizer's tensors along, and two tensors could get one name.
fn wrapper(root: &PickleValue) -> Result<Option<&'static str>, PytorchFileError> {
    let PickleValue::Dict(entries) = root else {
        return Err(PytorchFileError::Empty);
    };
    if !entries.values().any(is_tensor) {
        let wrapped = WRAPPERS
            .into_iter()
            .find_map(|key| Some((key, entries.get(key).filter(|inner| holds_tensor(inner))?)));
        if let Some((key, inner)) = wrapped {
            return check_is_flat(inner).map(|()| Some(key));
        }
    }
    check_is_flat(root).map(|()| None)
}

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
